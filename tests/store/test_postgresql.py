"""What the store does on PostgreSQL beyond the contract, and what it says when it cannot work there."""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import trustme
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from poller.config.secret import Secret
from poller.domain.errors import StoreError
from poller.protocols import Batch, Change, Pulse, Store
from poller.store import SqlStore, migrations, open_store
from poller.store.postgresql import PostgresqlDatabase
from poller.store.schema import metadata
from tests.faultproxy import FaultProxy
from tests.ports import free_port
from tests.postgresql import Address, PostgresServer
from tests.store.lives import T0, batch_of, ended, entry

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]


@asynccontextmanager
async def opened(url: str, password: Callable[[], str | None] = lambda: None) -> AsyncIterator[SqlStore]:
    """A store, opened."""
    store = open_store(url, password)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture(autouse=True)
def no_noise(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever went wrong was told to the caller, and nothing of it to asyncio's log or the pool's."""
    yield
    gc.collect()
    noise = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert noise == []


@pytest.fixture
def fresh_url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """The URL of an empty store whose schema a test may alter."""
    postgres_server.start()
    url = postgres_server.create_database(postgres_template)
    yield url
    postgres_server.drop_database(url)


async def refusal(url: str, password: Callable[[], str | None] = lambda: None) -> str:
    """Why the store could not be opened, behind its place."""
    store = open_store(url, password)
    with pytest.raises(StoreError) as caught:
        await store.open()
    await store.close()
    place, _, words = str(caught.value).partition(": ")
    assert place == store.place
    return words


async def works(store: Store, name: str = "works") -> None:
    """The store takes a commit, and gives it back."""
    before = len(await store.untold())
    await store.commit(batch_of(name))
    assert len(await store.untold()) == before + 1


# Schema


def differences(connection: Connection) -> list[Any]:
    """Where the schema is another than the one that the program works with."""
    options = {"version_table": migrations.VERSION_TABLE, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


@pytest.mark.parametrize("revision", [None, "0001", "0002", "0003"])
async def test_every_older_store_comes_to_todays_schema(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, revision: str | None
) -> None:
    """And an empty database; alembic finds nothing to add."""
    if revision is not None:
        with monkeypatch.context() as patch:
            patch.setattr(migrations, "HEAD", revision)
            patch.setattr("poller.store.sql.HEAD", revision)
            async with opened(postgres_url):
                pass
    assert await open_store(postgres_url).revision() == revision
    async with opened(postgres_url) as store:
        await works(store)
        assert [it.partition for it in await _leases(postgres_url)] == list(range(1024))
    engine = PostgresqlDatabase(postgres_url).engine()
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def _leases(url: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    rows: list[Any] = await connection.fetch("SELECT partition FROM leases ORDER BY partition")
    await connection.close()
    return [type("Lease", (), dict(row)) for row in rows]


async def test_two_that_start_at_once_on_an_empty_database_migrate_it_once(postgres_url: str) -> None:
    """The second waits for the first and finds nothing to do."""
    stores = [open_store(postgres_url) for _ in range(3)]
    await asyncio.gather(*(store.open() for store in stores))
    for number, store in enumerate(stores):
        await works(store, f"{number}")
        await store.close()


async def test_the_store_of_a_newer_version_is_left_alone(postgres_server: PostgresServer, fresh_url: str) -> None:
    """What to do is said."""
    postgres_server.execute("UPDATE poller_schema SET version_num = '9999'", database=fresh_url)
    words = await refusal(fresh_url)
    assert words.startswith(
        f"was written by a newer version of poller (schema 9999, this one knows up to {migrations.HEAD})"
    )
    assert postgres_server.execute("SELECT version_num FROM poller_schema", database=fresh_url)[0][0] == "9999"


async def test_tables_of_others_under_our_names_are_left_alone(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    """Nothing is made beside them."""
    postgres_server.execute("CREATE TABLE tasks (id int)", database=postgres_url)
    assert await refusal(postgres_url) == "holds another program's tables (tasks): name another place for the store"
    tables = postgres_server.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'", database=postgres_url
    )
    assert [row[0] for row in tables] == ["tasks"]


async def test_it_lives_beside_tables_of_others(postgres_server: PostgresServer, postgres_url: str) -> None:
    """Which may have an Alembic of their own."""
    postgres_server.execute("CREATE TABLE alembic_version AS SELECT 'abc' AS version_num", database=postgres_url)
    async with opened(postgres_url) as store:
        await works(store)
    assert postgres_server.execute("SELECT version_num FROM alembic_version", database=postgres_url)[0][0] == "abc"


# Passwords and TLS


def without_password(url: str) -> str:
    """The URL without its password."""
    return url.replace(f":{urlsplit(url).password}@", "@")


async def test_a_password_comes_from_a_file_and_may_change(postgres_store_url: str, tmp_path: Path) -> None:
    """A wrong one is told and not quoted, nor is the one of the URL."""
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    secret = Secret.from_file("password", tmp_path, {})
    words = await refusal(without_password(postgres_store_url), secret.reveal)
    assert words == "this user may not log in: check user, password and pg_hba.conf"
    file.write_text(f"{Address.of(postgres_store_url).password}\n")
    async with opened(without_password(postgres_store_url), secret.reveal) as store:
        await works(store)


async def test_a_certificate_is_verified(
    postgres_server: PostgresServer, postgres_store_url: str, tmp_path: Path
) -> None:
    """As the URL says; one of another authority is refused, and so is a server without TLS."""
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    with postgres_server.tls() as root:
        async with opened(f"{postgres_store_url}?sslmode=verify-full&sslrootcert={root}") as store:
            await works(store)
        assert "certificate" in await refusal(f"{postgres_store_url}?sslmode=verify-full&sslrootcert={other}")
        missing = await refusal(f"{postgres_store_url}?sslmode=verify-full&sslrootcert={tmp_path}/none.pem")
        assert missing.startswith("no such file or directory: see the socket's folder, or the files that sslrootcert")
    assert await refusal(f"{postgres_store_url}?sslmode=require") != ""


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@127.0.0.1:1/db?sslmode=never",
        "postgresql://u:hunter2@127.0.0.1:1/db?sslmode=verify-full&sslrootcert=/none.pem",
        "postgresql://u:hunter2@127.0.0.1:1/db?port=hunter2",
        "postgresql://u:hunter2@127.0.0.1:1/db?passfile=/none&target_session_attrs=never",
        "postgresql://u:hunter2@[::1]:1/db?host=a,b&port=1,2,3",
        "postgresql://u:hunter2@127.0.0.1:1/db?unknown_option=hunter2",
        "postgresql://u:hunter2@nowhere.invalid/db",
        "postgres://u:hunter2@127.0.0.1:1/db?sslcert=/none&sslkey=/none&sslmode=require",
    ],
)
async def test_options_that_cannot_work_are_told_without_a_password(url: str) -> None:
    """As an error of the store, whatever the driver makes of them."""
    words = await refusal(url)
    assert words
    assert "hunter2" not in words


# What goes wrong while it works


async def failure(work: Any) -> str:
    """What is said of ``work``, behind the store's place."""
    with pytest.raises(StoreError) as caught:
        await work
    return str(caught.value).partition(": ")[2]


async def test_a_server_that_is_away_is_told_and_no_more_than_that(
    postgres_server: PostgresServer, postgres_store_url: str
) -> None:
    """Whether it refuses or was never there; afterwards the first read and the first write go through."""
    assert (await refusal(f"postgresql://tester@127.0.0.1:{free_port()}/db")).startswith("cannot be reached")
    async with opened(postgres_store_url) as store:
        await works(store, "a")
        postgres_server.stop()
        assert (await failure(store.untold())).startswith("cannot be reached")
        assert (await failure(store.commit(batch_of("b")))).startswith("cannot be reached")
        postgres_server.start()
        await works(store, "c")


@pytest.mark.parametrize("crash", [False, True])
async def test_what_comes_first_after_a_restart_goes_through(
    postgres_server: PostgresServer, postgres_store_url: str, crash: bool
) -> None:
    """Connections that lay idle meanwhile are made anew, for a read and for a write."""
    async with opened(postgres_store_url) as store:
        for number in range(2):
            await works(store, f"before-{number}")
            (postgres_server.crash if crash else postgres_server.stop)()
            postgres_server.start()
            if number:
                await store.commit(batch_of("after"))
            else:
                assert len(await store.untold()) == 1


async def test_a_black_hole_is_given_up(postgres_store_url: str) -> None:
    """In seconds, within a commit and at a new connection; when the network is there again, so is the store."""
    address = Address.of(postgres_store_url)
    async with FaultProxy(address.host, address.port) as proxy:
        url = replace(address, port=proxy.port).url(address.database)
        async with opened(url) as store:
            await works(store, "a")
            await proxy.blackhole()
            began = time.monotonic()
            assert await failure(store.commit(batch_of("b"))) == "does not answer in time"
            assert await failure(store.untold()) == "does not answer in time"
            assert await refusal(url) == "does not answer in time"
            assert time.monotonic() - began < 45
            await proxy.heal()
            await works(store, "c")


async def test_a_connection_that_is_reset_or_cut_is_told(postgres_store_url: str) -> None:
    """In the middle of anything; the next thing goes through."""
    address = Address.of(postgres_store_url)
    async with FaultProxy(address.host, address.port) as proxy:
        async with opened(replace(address, port=proxy.port).url(address.database)) as store:
            await works(store, "a")
            for count in (1, 40, 120):
                await proxy.cut_after(count)
                words = await failure(store.commit(batch_of(f"cut-{count}")))
                assert words.startswith(("the connection to it broke", "cannot be reached")), words
                await proxy.heal()
                await works(store, f"after-{count}")
            await proxy.reset()
            assert (await failure(store.untold())).startswith(("the connection to it broke", "cannot be reached"))
            await proxy.heal()
            await works(store, "z")


async def test_a_server_that_only_reads_is_told(postgres_server: PostgresServer, postgres_store_url: str) -> None:
    """What can be read is read."""
    async with opened(postgres_store_url) as store:
        await works(store, "a")
        with postgres_server.read_only():
            words = await failure(store.commit(batch_of("b")))
            assert words == "cannot be written, it is read-only: a standby perhaps, or an administrator's doing"
            assert len(await store.untold()) == 1
        await works(store, "b")


async def test_a_transaction_that_waits_for_another_gives_up(
    postgres_server: PostgresServer, postgres_store_url: str
) -> None:
    """Some seconds, and nothing of it is done."""
    async with opened(postgres_store_url) as store:
        await store.watch([entry("a")], T0)
        other = await asyncpg.connect(postgres_store_url)
        transaction = other.transaction()
        await transaction.start()
        await other.execute("UPDATE tasks SET polls = 99")
        assert await failure(store.commit(batch_of("a"))) == "another transaction holds what this one needs"
        await transaction.rollback()
        await other.close()
        await works(store, "a")


async def test_a_statement_that_takes_too_long_is_ended(postgres_server: PostgresServer, fresh_url: str) -> None:
    """By the server itself."""
    raising(postgres_server, fresh_url, "PERFORM pg_sleep(30)")
    async with opened(fresh_url) as store:
        assert await failure(store.commit(batch_of("a"))) == "took too long"
        postgres_server.execute("DROP TRIGGER trouble ON transitions", database=fresh_url)
        await works(store, "a")


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("53100", "cannot be written, its disk is full: make room on it"),
        ("53300", "takes no more connections: raise max_connections, or put a pooler between"),
        ("40001", "a transaction lost against another one"),
        ("57P03", "is starting up, or shutting down"),
        ("42501", "this user may not do that: give it the right to create and write tables in the schema"),
        ("XX001", "secret hint"),
    ],
)
async def test_what_the_server_says_is_told_in_words(
    postgres_server: PostgresServer, fresh_url: str, state: str, said: str
) -> None:
    """And what to do; nothing was written, and the store works when the trouble is over."""
    text = "secret hint" if said == "secret hint" else "no words of ours"
    raising(postgres_server, fresh_url, f"RAISE EXCEPTION '{text}' USING ERRCODE = '{state}', DETAIL = 'row (a)'")
    async with opened(fresh_url) as store:
        assert await failure(store.commit(batch_of("a"))) == said
        assert list(await store.untold()) == []
        postgres_server.execute("DROP TRIGGER trouble ON transitions", database=fresh_url)
        await works(store, "a")


def raising(server: PostgresServer, url: str, statement: str) -> None:
    """Lets each new transition end in ``statement``."""
    body = f"CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {statement}; RETURN NEW; END $$"
    server.execute(body, database=url)
    trigger = "CREATE TRIGGER trouble BEFORE INSERT ON transitions FOR EACH ROW EXECUTE FUNCTION trouble()"
    server.execute(trigger, database=url)


async def test_who_is_chosen_to_end_a_deadlock_is_told(
    postgres_server: PostgresServer, postgres_store_url: str
) -> None:
    """It may be either; the other one goes through, and so does the next commit."""
    async with opened(postgres_store_url) as store:
        await store.watch([entry("a"), entry("b")], T0)
        other = await asyncpg.connect(postgres_store_url)
        # It notices a deadlock later than we do, so that we are the one to end it.
        await other.execute("SET deadlock_timeout = '30s'")
        transaction = other.transaction()
        await transaction.start()
        await other.execute("UPDATE tasks SET polls = 9 WHERE name = 'b'")
        commit = asyncio.ensure_future(failure(store.commit(batch_of("a", "b"))))
        await asyncio.sleep(0.3)
        await other.execute("UPDATE tasks SET polls = 9 WHERE name = 'a'")
        await transaction.commit()
        await other.close()
        assert await commit == "a transaction was in deadlock with another one"
        await works(store, "c")


# Nothing of a row in an error


SECRET = "hunter2"

bad_values = st.sampled_from(
    [
        {"run": 2**80},
        {"run": SECRET},
        {"since": SECRET},
        {"message": 12345.678},
        {"state_text": None},
        {"first_seen_at": None},
        {"overdue": SECRET},
        {"overdue": None},
        {"progress": {SECRET: SECRET}},
    ]
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bad=bad_values, name=st.sampled_from([SECRET, f"{SECRET}/x"]))
async def test_no_error_quotes_what_is_in_a_row(postgres_store_url: str, bad: dict[str, Any], name: str) -> None:
    """Whoever refuses it, the driver, SQLAlchemy or the server; the store goes on."""
    async with opened(postgres_store_url) as store:
        change = ended(name)
        values = {key: value for key, value in bad.items() if key != "state_text"} | {"raw_status": SECRET}
        broken = Change(replace(change.task, status=replace(change.task.status, **values)), change.transition)
        if "state_text" in bad:
            assert change.transition is not None
            broken = Change(change.task, replace(change.transition, at=None, message=SECRET))  # type: ignore[arg-type]
        with pytest.raises(StoreError) as caught:
            await store.commit(Batch(T0, [broken]))
        assert SECRET not in str(caught.value)
        assert "12345.678" not in str(caught.value)
        assert str(2**80) not in str(caught.value)
        await store.commit(Batch(T0, pulses=[Pulse("nobody", change.task.contact, None)]))


async def test_a_row_that_breaks_a_rule_is_not_quoted(postgres_server: PostgresServer, fresh_url: str) -> None:
    """Not even in the detail that the server sends along."""
    rule = f"ALTER TABLE transitions ADD CONSTRAINT rule CHECK (task != '{SECRET}')"
    postgres_server.execute(rule, database=fresh_url)
    async with opened(fresh_url) as store:
        words = await failure(store.commit(batch_of(SECRET)))
        assert words == "a row breaks a rule of its table"
        await works(store)


# What keeps it quick


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("SELECT * FROM transitions WHERE told_at IS NULL ORDER BY seq", "ix_transitions_untold"),
        ("SELECT * FROM transitions WHERE task = 'a' AND seq < 9 ORDER BY seq DESC LIMIT 9", "ix_transitions_task_seq"),
        ("SELECT * FROM transitions WHERE (at, seq) > (9, 9) ORDER BY at, seq LIMIT 9", "ix_transitions_at"),
        (
            "DELETE FROM transitions WHERE seq IN (SELECT seq FROM transitions WHERE at < 9 AND told_at IS NOT NULL"
            " ORDER BY at LIMIT 9 FOR UPDATE SKIP LOCKED)",
            "ix_transitions_at",
        ),
        (
            "DELETE FROM tasks WHERE name IN (SELECT name FROM tasks WHERE unwatched_at < 9 AND name NOT IN"
            " (SELECT task FROM transitions WHERE told_at IS NULL) ORDER BY unwatched_at LIMIT 9"
            " FOR UPDATE SKIP LOCKED)",
            "ix_tasks_unwatched_at",
        ),
        (
            "DELETE FROM runs WHERE transition_id IN (SELECT transition_id FROM runs WHERE ended_at < 9"
            " ORDER BY ended_at LIMIT 9 FOR UPDATE SKIP LOCKED)",
            "ix_runs_ended_at",
        ),
        ("SELECT * FROM tasks WHERE revision > 9", "ix_tasks_revision"),
        ("SELECT * FROM tasks WHERE unwatched_at IS NULL AND name > 'a' ORDER BY name LIMIT 9", "pk_tasks"),
        ("SELECT name FROM tasks WHERE expires_at <= 9 AND unwatched_at IS NULL", "ix_tasks_expires_at"),
    ],
)
async def test_what_is_asked_often_is_found_by_an_index(postgres_store_url: str, query: str, index: str) -> None:
    """However long the history; what the planner would do with a small table is left out."""
    connection = await asyncpg.connect(postgres_store_url)
    await connection.execute("SET enable_seqscan = off")
    await connection.execute("SET enable_bitmapscan = off")
    plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {query}"))
    await connection.close()
    assert index in plan
