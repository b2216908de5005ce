"""SQLite: everything in which it differs from other databases. The daemon owns its file, alone.

A write-ahead log lets pages be read while commits go on. Every commit is on the disk before it is told
(``synchronous=FULL``). Less would do for a killed process, but after a power cut a store that forgot what was told
would number its next transitions as the lost ones were: receivers that know an id already would take news for a repeat.
"""

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy import URL, Connection, event
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, StaticPool

from poller.domain.errors import StoreError, StoreLockedError
from poller.store.failures import RefusedError
from poller.store.lock import FileLock

ALLOWED = (
    "postgresql://USER@HOST/DATABASE, sqlite:///relative.db, sqlite:////absolute.db, or sqlite:// for a store in memory"
)

_SCHEME = "sqlite://"
_MAGIC = b"SQLite format 3\0"

_PATIENCE = 5.0
"""Seconds to wait for another program, such as a backup or a person with a shell, to let go of the file."""

_ON_CONNECT = (
    "PRAGMA synchronous = FULL",
    "PRAGMA cache_size = -16384",  # KiB: the tasks of a long watchlist are updated in no order
    "PRAGMA journal_size_limit = 16777216",  # a log grown by one long transaction shrinks again
)

_WORDS: Mapping[int, str] = {
    sqlite3.SQLITE_NOTADB: "is not an SQLite database: name another file for the store",
    sqlite3.SQLITE_CORRUPT: "is damaged: put a backup in its place, or move it away to start with an empty store",
    sqlite3.SQLITE_READONLY: "cannot be written: make the file, its folder and its disk writable for this user",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: see that it is a file in a folder that this user may write",
    sqlite3.SQLITE_PERM: "cannot be opened: this user may not",
    sqlite3.SQLITE_FULL: "cannot be written, the disk is full: make room on it",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write it: see the system's log",
    sqlite3.SQLITE_BUSY: "is locked by another program, a backup or a shell perhaps: end that one",
}


class SqliteDatabase:
    """The file, or memory, that ``url`` names. StoreError, which tells what is allowed, if it names neither.

    ``place`` is what people call it. ``has_one_connection``: readers and writers have to take turns. ``is_shared``:
    others may write at the same time. ``foreign`` are errors of the driver that SQLAlchemy does not know. ``under_way``
    asks for the ``oldest`` transaction under way and the ``coming`` one; None where rows appear in their order.
    """

    is_shared = False
    under_way: Any = None
    foreign: tuple[type[BaseException], ...] = ()

    def __init__(self, url: str) -> None:
        file = _file_in(url)
        self._file = file
        self._lock = FileLock(file.with_name(f"{file.name}.lock")) if file else None
        self.place = str(file) if file else _SCHEME
        self.has_one_connection = file is None

    @property
    def exists(self) -> bool:
        """Whether there is something that another program may have stored."""
        return self._file is not None and self._file.exists()

    @staticmethod
    def insert(table: Any) -> Insert:
        """An INSERT that can say what to do on conflict."""
        return insert(table)

    def take(self) -> None:
        """Keeps other daemons off. StoreLockedError if one is there, RefusedError or OSError if no store can be."""
        if self._file is None or self._lock is None:
            return
        _check_folder(self._file)
        if not self._lock.acquire():
            holder = self._lock.holder()
            raise StoreLockedError(
                f"{self._file}: another poller{f' (process {holder})' if holder else ''} works on it: "
                "stop that one, or name another file for this store"
            )
        # Not before: were the file open here already, closing it once more would drop SQLite's own locks on it.
        _check_file(self._file)

    def release(self) -> None:
        """Lets other daemons come; no harm if they were never kept off."""
        if self._lock is not None:
            self._lock.release()

    def cut(self) -> bool:
        """A file ends what is under way on it by itself."""
        return False

    def engine(self) -> AsyncEngine:
        """A new engine. With the execution option ``only_reads`` its transactions wait for none that writes."""
        if self._file is None:
            engine = create_async_engine(
                URL.create("sqlite+aiosqlite"),
                poolclass=StaticPool,
                hide_parameters=True,
                connect_args={"isolation_level": None},
            )
        else:
            engine = create_async_engine(
                URL.create("sqlite+aiosqlite", database=str(self._file)),
                poolclass=AsyncAdaptedQueuePool,
                pool_size=2,  # one that writes and one that reads
                max_overflow=0,
                hide_parameters=True,
                connect_args={"isolation_level": None, "timeout": _PATIENCE},
            )
        event.listen(engine.sync_engine, "connect", _prepare)
        event.listen(engine.sync_engine, "begin", _begin)
        return engine

    async def bound(self, connection: AsyncConnection) -> None:
        """Bounds the time of the transaction that ``connection`` is in: a file needs none."""

    def explain(self, error: BaseException) -> str:
        """What a driver's error means and what to do about it."""
        cause: BaseException | None = error
        while cause is not None:
            code = getattr(cause, "sqlite_errorcode", None)
            if code is not None and code & 0xFF in _WORDS:
                return _WORDS[code & 0xFF]
            cause = cause.__cause__
        return _of_file(error) if isinstance(error, OSError) else str(error)


def _of_file(error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    return f"cannot use {error.filename}: {reason}" if error.filename else reason


def _file_in(url: str) -> Path | None:
    rest = url.removeprefix(_SCHEME)
    if rest == url or "?" in rest or "\0" in rest or not (rest == "" or rest.startswith("/")):
        _refuse(url)
    path = rest[1:]
    if rest and (path in {"", ":memory:"} or path.endswith("/")):
        _refuse(url)
    # Two names for one file must come to the same lock.
    return Path(os.path.realpath(path)) if path else None


def _refuse(url: str) -> NoReturn:
    scheme = url.partition(":")[0]
    # Not the whole of a foreign URL: there may be a password in it.
    harmless = "@" not in url if scheme == "sqlite" else ":" not in url
    found = url if harmless else f"{scheme}:…"
    raise StoreError(f"store: found {found!r}, allowed are {ALLOWED}")


def _check_folder(file: Path) -> None:
    if not file.parent.is_dir():
        raise RefusedError(f"there is no folder {file.parent}: make it, or name another place for the store")


def _check_file(file: Path) -> None:
    if not file.exists():
        return
    if not file.is_file():
        raise RefusedError("is no file: name another place for the store")
    if not os.access(file, os.R_OK | os.W_OK):
        raise RefusedError(
            "cannot be written by this user: change its owner or mode, or name another place for the store"
        )
    # SQLite itself would take a short file for an empty database, and write over it.
    with file.open("rb") as content:
        if content.read(len(_MAGIC)) not in {b"", _MAGIC}:
            raise RefusedError(_WORDS[sqlite3.SQLITE_NOTADB])


def _prepare(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in _ON_CONNECT:
        cursor.execute(pragma)
    cursor.close()


def _begin(connection: Connection) -> None:
    """Begins a transaction: the driver's own way of doing that would leave the DDL of migrations outside."""
    if connection.get_execution_options().get("only_reads"):
        connection.exec_driver_sql("BEGIN")
        return
    # At the first write, not on connecting: it changes the file, and what poller refuses stays as it is.
    if not connection.info.get("logs_ahead"):
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        connection.info["logs_ahead"] = True
    connection.exec_driver_sql("BEGIN IMMEDIATE")
