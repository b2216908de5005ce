"""A store has the schema that the program works with, and gets it step by step."""

import asyncio
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from poller.domain.errors import StoreError
from poller.store import migrations, open_store
from poller.store.rows import task_values
from poller.store.schema import metadata
from tests.store.lives import ROOT, batch_of

_ALL_BUT_ALEMBICS_OWN = f"""
    SELECT type, name, sql FROM sqlite_master WHERE tbl_name != '{migrations.VERSION_TABLE}' AND sql IS NOT NULL
    ORDER BY type, name
"""  # noqa: S608 - our own constant


_OF_0004 = {
    *("owner", "ttl", "expires_at", "revision"),
    *("expected_basis", "expected_at", "expected_low_at", "expected_high_at"),
}


async def migrated(file: Path) -> Path:
    """Makes an empty store."""
    store = open_store(f"sqlite:///{file}")
    await store.open()
    await store.close()
    return file


async def test_the_migrations_come_to_the_schema_that_the_program_works_with(tmp_path: Path) -> None:
    """Alembic finds nothing to add, and the statements are the same to the letter."""
    file, direct = await migrated(tmp_path / "migrated.db"), tmp_path / "direct.db"
    engine = create_engine(f"sqlite:///{file}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": migrations.VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
    engine.dispose()
    engine = create_engine(f"sqlite:///{direct}")
    metadata.create_all(engine)
    engine.dispose()
    assert statements(file) == statements(direct)


def statements(file: Path) -> list[tuple[str, str, str]]:
    """What made the tables and indexes in ``file``."""
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute(_ALL_BUT_ALEMBICS_OWN).fetchall()
    # SQLite quotes the name of a table that was made anew under it.
    return [(kind, name, " ".join(sql.replace(f'"{name}"', name).split())) for kind, name, sql in found]


def test_the_revision_the_program_works_with_is_the_last_one() -> None:
    """There is one, and every step is found."""
    config = Config()
    config.set_main_option("script_location", "poller.store:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.HEAD]


async def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are made in the transaction too: the next start finds an empty file and begins anew."""
    file = tmp_path / "poller.db"
    migrate = migrations.migrate

    def migrate_and_fail(connection: object) -> None:
        migrate(connection)  # type: ignore[arg-type]
        raise OSError(5, "Input/output error")

    store = open_store(f"sqlite:///{file}")
    with monkeypatch.context() as patch:
        patch.setattr("poller.store.migrations.migrate", migrate_and_fail)
        with pytest.raises(StoreError, match="input/output error"):
            await store.open()
    assert statements(file) == []
    await store.open()
    await store.close()


async def test_the_store_of_an_older_version_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its revision is one of the steps, and not the last one."""
    file = await migrated(tmp_path / "poller.db")
    migrated_stores: list[object] = []
    monkeypatch.setattr(migrations, "HEAD", "9999")
    monkeypatch.setattr("poller.store.migrations.migrate", migrated_stores.append)
    await migrated(file)
    assert len(migrated_stores) == 1


@pytest.mark.parametrize(
    ("revision", "later"),
    [("0001", {"awaited_since", "late", "family"}), ("0002", {"late", "family"}), ("0003", set())],
)
async def test_what_an_older_version_stored_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revision: str, later: set[str]
) -> None:
    """A task comes back as it was, awaiting nothing, of no family of its own and not late; no run has ended yet."""
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "HEAD", revision)
        file = await migrated(tmp_path / "poller.db")
    task = batch_of("job-1").changes[0].task
    values = {name: value for name, value in task_values(task, 5.0).items() if name not in later | _OF_0004}
    with closing(sqlite3.connect(file)) as connection:
        names = ", ".join(values)
        places = ", ".join("?" * len(values))
        connection.execute(f"INSERT INTO tasks ({names}) VALUES ({places})", [*values.values()])  # noqa: S608
        connection.commit()
    store = open_store(f"sqlite:///{file}")
    await store.open()
    assert await store.watchlist() == [task.entry]
    await store.watch([task.entry], 6.0)
    (known,) = (await store.tasks()).tasks
    assert await store.runs(["studio/system-task"]) == {}
    await store.close()
    assert known.saved.status == task.status


async def test_a_store_that_is_up_to_date_opens_without_alembic(tmp_path: Path) -> None:
    """Which takes longer to import than everything else to start."""
    file = await migrated(tmp_path / "poller.db")
    program = (
        "import asyncio, sys; from poller.store import open_store; store = open_store(sys.argv[1]); "
        "asyncio.run(store.open()); sys.exit('alembic' in sys.modules)"
    )
    run = await asyncio.create_subprocess_exec(sys.executable, "-c", program, f"sqlite:///{file}", cwd=ROOT)
    assert await run.wait() == 0


async def test_opening_a_store_that_is_up_to_date_writes_nothing(tmp_path: Path) -> None:
    """Nor does closing it."""
    file = await migrated(tmp_path / "poller.db")
    before = file.read_bytes()
    await migrated(file)
    assert file.read_bytes() == before


async def test_what_is_stored_survives_being_opened_again_and_again(tmp_path: Path) -> None:
    """No start of the program is taken for the first one."""
    store = open_store(f"sqlite:///{tmp_path}/poller.db")
    for number in range(3):
        await store.open()
        await store.commit(batch_of(f"job-{number}"))
        await store.close()
    await store.open()
    assert len(await store.untold()) == 3
    await store.close()
