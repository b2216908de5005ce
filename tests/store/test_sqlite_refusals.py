"""What an SQLite store says when it cannot work: which file, what is wrong, what to do. The file stays as it was."""

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from poller.domain.errors import StoreError
from poller.store import open_store
from poller.store.migrations import HEAD
from tests.store.lives import batch_of

GO_BACK = "run that version again, or name another place for the store"
ALLOWED = (
    "allowed are postgresql://USER@HOST/DATABASE, sqlite:///relative.db, sqlite:////absolute.db, "
    "or sqlite:// for a store in memory"
)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "found ''"),
        ("poller.db", "found 'poller.db'"),
        ("sqlite", "found 'sqlite'"),
        ("sqlite:poller.db", "found 'sqlite:poller.db'"),
        ("sqlite:/poller.db", "found 'sqlite:/poller.db'"),
        ("sqlite://poller.db", "found 'sqlite://poller.db'"),
        ("sqlite:///", "found 'sqlite:///'"),
        ("sqlite:////", "found 'sqlite:////'"),
        ("sqlite:////var/lib/", "found 'sqlite:////var/lib/'"),
        ("sqlite:///:memory:", "found 'sqlite:///:memory:'"),
        ("sqlite:///poller.db?mode=ro", "found 'sqlite:///poller.db?mode=ro'"),
        ("sqlite:///poller\0.db", r"found 'sqlite:///poller\x00.db'"),
        ("sqlite+aiosqlite:///poller.db", "found 'sqlite+aiosqlite:…'"),
        ("mysql://user:hunter2@host/db", "found 'mysql:…'"),
        ("sqlite://user:hunter2@host/db", "found 'sqlite:…'"),
        ("postgresql+asyncpg://user:hunter2@host/db", "found 'postgresql+asyncpg:…'"),
    ],
)
def test_a_url_that_names_no_store_is_refused_with_what_is_allowed(url: str, said: str) -> None:
    """Before anything is opened, and with no password in it."""
    with pytest.raises(StoreError) as caught:
        open_store(url)
    text = str(caught.value)
    assert text.startswith(f"store: {said}")
    assert text.endswith(ALLOWED)
    assert "hunter2" not in text


async def test_a_relative_url_is_relative_to_where_the_program_was_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it changes to before the store is opened."""
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///poller #1 100%.db")
    monkeypatch.chdir("/")
    await store.open()
    await store.close()
    assert (tmp_path / "poller #1 100%.db").exists()


def nothing(_: Path) -> None:
    """Leaves the file missing."""


def text_file(file: Path) -> None:
    """A file of another kind."""
    file.write_text("tasks:\n" * 1000)


def short_text_file(file: Path) -> None:
    """A file of another kind, shorter than any database."""
    file.write_text("x")


def another_program(file: Path) -> None:
    """Another program's SQLite database."""
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript("CREATE TABLE bookmarks (url); INSERT INTO bookmarks VALUES ('https://example.com')")


def newer_version(file: Path) -> None:
    """The store of a newer poller."""
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(
            "PRAGMA journal_mode = DELETE; CREATE TABLE poller_schema (version_num VARCHAR(32) NOT NULL);"
            "INSERT INTO poller_schema VALUES ('0099'); CREATE TABLE tasks (name TEXT)"
        )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (text_file, "is not an SQLite database: name another file for the store"),
        (short_text_file, "is not an SQLite database: name another file for the store"),
        (another_program, "holds another program's tables (bookmarks): name another place for the store"),
        (
            newer_version,
            f"was written by a newer version of poller (schema 0099, this one knows up to {HEAD}): {GO_BACK}",
        ),
    ],
)
async def test_a_file_that_is_no_store_of_ours_is_refused_and_left_as_it_was(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    """To the last byte, with no log beside it; and once it is out of the way, a store can be there."""
    file = tmp_path / "poller.db"
    make(file)
    before = file.read_bytes()
    store = open_store(f"sqlite:///{file}")
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            await store.open()
        assert str(caught.value) == f"{file}: {said}"
    assert file.read_bytes() == before
    assert set(os.listdir(tmp_path)) <= {"poller.db", "poller.db.lock"}  # noqa: PTH208 - quick, in a coroutine
    file.unlink()
    await store.open()
    await store.close()


async def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    """It is not made: it may be a disk that is not mounted."""
    file = tmp_path / "no" / "such" / "poller.db"
    with pytest.raises(StoreError) as caught:
        await open_store(f"sqlite:///{file}").open()
    assert (
        str(caught.value) == f"{file}: there is no folder {file.parent}: make it, or name another place for the store"
    )


async def test_a_folder_for_a_file_is_told(tmp_path: Path) -> None:
    """Nothing is written into it."""
    with pytest.raises(StoreError, match="is no file: name another place for the store"):
        await open_store(f"sqlite:///{tmp_path}").open()


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
async def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """With what the system says of the file that it refused."""
    file = tmp_path / "poller.db"

    def refuse(path: Any, *_: object) -> int:
        raise OSError(code, os.strerror(code), str(path))

    store = open_store(f"sqlite:///{file}")
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(StoreError) as caught:
            await store.open()
    assert str(caught.value) == f"{file}: cannot use {file}.lock: {os.strerror(code).lower()}"


async def test_a_file_that_cannot_be_written_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the first commit, hours later. (Root may write everywhere, so the system's answer is made up.)"""
    file = tmp_path / "poller.db"
    file.touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(StoreError) as caught:
        await open_store(f"sqlite:///{file}").open()
    assert str(caught.value) == (
        f"{file}: cannot be written by this user: change its owner or mode, or name another place for the store"
    )


async def filled(file: Path) -> None:
    """Makes a store of several pages."""
    store = open_store(f"sqlite:///{file}")
    await store.open()
    await store.commit(batch_of(*(f"job-{number}" for number in range(200))))
    await store.close()


async def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    """With what to do, and with none of SQLite's or SQLAlchemy's own words."""
    file = tmp_path / "poller.db"
    await filled(file)
    content = file.read_bytes()
    file.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    store = open_store(f"sqlite:///{file}")
    with pytest.raises(StoreError) as caught:
        await store.open()
    assert str(caught.value) == (
        f"{file}: is damaged: put a backup in its place, or move it away to start with an empty store"
    )


async def test_a_full_disk_is_told_and_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    """The commit is out as a whole, and goes in when there is room again."""
    file = tmp_path / "poller.db"
    store = open_store(f"sqlite:///{file}")
    await store.open()
    await store.commit(batch_of("a"))
    assert store._engine is not None
    batch = batch_of(*(f"job-{number}" for number in range(200)))
    async with store._engine.connect() as connection:
        await connection.exec_driver_sql("PRAGMA max_page_count = 1")
    with pytest.raises(StoreError) as caught:
        await store.commit(batch)
    assert str(caught.value) == f"{file}: cannot be written, the disk is full: make room on it"
    assert len(await store.untold()) == 1
    async with store._engine.connect() as connection:
        await connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    await store.commit(batch)
    assert len(await store.untold()) == 201
    await store.close()


async def test_a_file_locked_by_another_program_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some patience; and when that one lets go, the commit goes in."""
    monkeypatch.setattr("poller.store.sqlite._PATIENCE", 0.0)
    file = tmp_path / "poller.db"
    store = open_store(f"sqlite:///{file}")
    await store.open()
    with closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError) as caught:
            await store.commit(batch_of("a"))
    assert str(caught.value) == f"{file}: is locked by another program, a backup or a shell perhaps: end that one"
    await store.commit(batch_of("a"))
    await store.close()


async def test_no_value_of_a_row_stands_in_an_error(tmp_path: Path) -> None:
    """Nor the statement; a label may be nobody's business."""
    store = open_store(f"sqlite:///{tmp_path}/poller.db")
    await store.open()
    assert store._engine is not None
    async with store._engine.begin() as connection:
        await connection.exec_driver_sql("DROP TABLE transitions")
    with pytest.raises(StoreError) as caught:
        await store.commit(batch_of("hunter2"))
    assert str(caught.value) == f"{tmp_path}/poller.db: no such table: transitions"
    await store.close()
