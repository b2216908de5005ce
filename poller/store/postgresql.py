"""PostgreSQL, 13 and later: everything in which it differs from other databases. Several replicas may work on one.

Nothing here outlives a transaction, so that a pooler in transaction mode may stand between: no named prepared
statements, no session settings, no session locks.
"""

import os
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit
from weakref import WeakSet

import asyncpg
from sqlalchemy import BigInteger, Connection, Text, cast, event, func, select, text
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from poller.domain.errors import StoreError
from poller.store.leases import IDLE_SECONDS

ALLOWED = "postgresql://USER[:PASSWORD]@HOST[:PORT]/DATABASE, with options like ?sslmode=verify-full behind it"

_CONNECT_SECONDS = 5.0
_COMMAND_SECONDS = 10.0
"""For one command; a database that takes longer is in trouble, and what it was to do is done later."""

_BOUNDS = text(
    f"SELECT set_config('idle_in_transaction_session_timeout', '{IDLE_SECONDS}000', true),"
    " set_config('lock_timeout', '4000', true), set_config('statement_timeout', '9000', true)"
)
"""A replica that is stopped within a transaction must not keep what it has locked from the others, milliseconds."""

_SNAPSHOT = func.pg_current_snapshot()
_UNDER_WAY = select(
    cast(cast(func.pg_snapshot_xmin(_SNAPSHOT), Text), BigInteger).label("oldest"),
    cast(cast(func.pg_snapshot_xmax(_SNAPSHOT), Text), BigInteger).label("coming"),
)
"""Numbers of transactions. Every one has its number before it numbers a row: it writes the row's task first."""

_WORDS: Mapping[str, str] = {
    "08": "the connection to it broke",
    "22": "a value does not fit where it is to be stored",
    "23": "a row breaks a rule of its table",
    "25006": "cannot be written, it is read-only: a standby perhaps, or an administrator's doing",
    "25P03": "ended a transaction that stood still",
    "28": "this user may not log in: check user, password and pg_hba.conf",
    "3D000": "there is no such database: create it, or name another one",
    "40001": "a transaction lost against another one",
    "40P01": "a transaction was in deadlock with another one",
    "42501": "this user may not do that: give it the right to create and write tables in the schema",
    "53100": "cannot be written, its disk is full: make room on it",
    "53300": "takes no more connections: raise max_connections, or put a pooler between",
    "55P03": "another transaction holds what this one needs",
    "57014": "took too long",
    "57P01": "ended the connection: it is shutting down, or this replica stood still",
    "57P02": "has crashed, and is recovering",
    "57P03": "is starting up, or shutting down",
}
"""By SQLSTATE, or the class that it begins with."""


class PostgresqlDatabase:
    """The database that ``url`` names, in libpq's form (RFC 3986); ``password`` is asked with every connection.

    StoreError, which tells what is allowed, if it names none. ``place`` is what people call it, without secrets.
    ``has_one_connection``: readers and writers have to take turns. ``is_shared``: others may write at the same time.
    ``foreign`` are errors of the driver that SQLAlchemy does not know. ``under_way`` asks for the ``oldest``
    transaction under way and the ``coming`` one, neither of which is seen yet.
    """

    has_one_connection = False
    is_shared = True
    exists = True
    under_way: Any = _UNDER_WAY
    foreign: tuple[type[BaseException], ...] = (
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
    )

    def __init__(self, url: str, password: Callable[[], str | None] = lambda: None) -> None:
        self._url = url
        self._password = password
        self._connections: WeakSet[asyncpg.Connection] = WeakSet()
        self.place = _place(url)

    @staticmethod
    def insert(table: Any) -> Insert:
        """An INSERT that can say what to do on conflict."""
        return insert(table)

    def take(self) -> None:
        """Keeps nobody off: replicas share the database."""

    def release(self) -> None:
        """Lets nobody come who was kept off."""

    def cut(self) -> bool:
        """Ends every connection at once, whatever is under way on it: a server that hangs would not let go of one."""
        for connection in list(self._connections):
            connection.terminate()
        return True

    def engine(self) -> AsyncEngine:
        """A new engine. With the execution option ``only_reads`` its transactions change nothing."""
        engine = create_async_engine(
            "postgresql+asyncpg://",
            poolclass=AsyncAdaptedQueuePool,
            pool_size=4,  # one that writes, one that reads, one that keeps the leases, one to spare
            max_overflow=0,
            pool_timeout=_CONNECT_SECONDS,
            hide_parameters=True,
            connect_args={
                "async_creator_fn": self._connect,
                # All three, the third in `_connect`: so nothing is prepared that outlives its transaction.
                "prepared_statement_cache_size": 0,
                "prepared_statement_name_func": lambda: "",
            },
        )
        event.listen(engine.sync_engine, "begin", _begin)
        return engine

    async def bound(self, connection: AsyncConnection) -> None:
        """Bounds the time of the transaction that ``connection`` is in."""
        await connection.execute(_BOUNDS)

    def explain(self, error: BaseException) -> str:
        """What a driver's error means and what to do about it."""
        cause: BaseException | None = error
        while cause is not None:
            state = getattr(cause, "sqlstate", None)
            if isinstance(state, str) and (words := _WORDS.get(state) or _WORDS.get(state[:2])):
                return words
            if isinstance(cause, asyncpg.InterfaceError) and "closed" in str(cause):
                return _WORDS["08"]
            if isinstance(cause, OSError):
                return _of_network(cause)
            cause = cause.__cause__
        # The first line: those below quote values.
        return (str(error).splitlines() or [type(error).__name__])[0].removeprefix("<class ").strip()

    async def _connect(self, *_: object, **__: object) -> Any:
        password = self._password()
        given = {} if password is None else {"password": password}
        connection = await asyncpg.connect(
            self._url,
            timeout=_CONNECT_SECONDS,
            command_timeout=_COMMAND_SECONDS,
            statement_cache_size=0,
            **given,
        )
        self._connections.add(connection)
        return connection


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get("only_reads"):
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")


def _of_network(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "does not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted: {error.verify_message}: see sslmode and sslrootcert in its URL"
    if isinstance(error, FileNotFoundError | PermissionError):
        return f"{_reason(error)}: see the socket's folder, or the files that sslrootcert, sslcert and sslkey name"
    return f"cannot be reached: {_reason(error)}: see that it runs, and that host and port are right"


def _reason(error: OSError) -> str:
    """Without the address, which drivers put there: it is told already."""
    is_system = error.errno is not None and not isinstance(error, socket.gaierror | ssl.SSLError)
    return (os.strerror(error.errno or 0) if is_system else error.strerror or str(error)).lower()


def _place(url: str) -> str:
    """The URL without what may be secret."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        _refuse()
    database = unquote(parts.path.removeprefix("/"))
    if not database or "/" in database:
        _refuse()
    host = parts.hostname or "local socket"
    return f"postgresql://{host}{f':{port}' if port else ''}/{database}"


def _refuse() -> NoReturn:
    raise StoreError(f"store: a PostgreSQL URL that is none, allowed is {ALLOWED}")
