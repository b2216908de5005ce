"""A real pgbouncer in front of a PostgreSQL: transactions of one client run on whichever connection is free."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest

from tests.ports import free_port
from tests.postgresql import AS_NOBODY, START_SECONDS, Address, PostgresServer, folder_of_nobody, until

# Debian's lies where only root's PATH leads.
PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")

CONFIG = """
[databases]
* = host={host} port={port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = users
pool_mode = transaction
default_pool_size = {pool_size}
server_login_retry = 1
"""


@dataclass(frozen=True)
class PgBouncer:
    """A pooler that listens."""

    address: Address

    def url(self, database: str) -> str:
        """The URL of a database behind it; ``database`` is a name or the URL that leads to it directly."""
        return self.address.url(Address.of(database).database if "://" in database else database)


@contextmanager
def running_pgbouncer(server: PostgresServer, pool_size: int = 3) -> Iterator[PgBouncer]:
    """Starts one in transaction mode, with so many connections for each database; gone afterwards whatever happens."""
    if PROGRAM is None:
        pytest.skip("no pgbouncer: install Debian's pgbouncer")
    address = replace(server.address, host="127.0.0.1", port=free_port())
    with folder_of_nobody() as folder:
        (folder / "users").write_text(f"{_quoted(address.user)} {_quoted(address.password)}\n")
        (folder / "pgbouncer.ini").write_text(
            CONFIG.format(
                host=server.address.host,
                port=server.address.port,
                listen_port=address.port,
                pool_size=pool_size,
            )
        )
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([PROGRAM, "pgbouncer.ini"], cwd=folder, stdout=log, stderr=log, **AS_NOBODY)
        try:
            until(lambda: _listens(process, address.port))
            yield PgBouncer(address)
        finally:
            process.terminate()
            process.wait(START_SECONDS)


@pytest.fixture
def pgbouncer(postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    """A pooler with three connections for each database."""
    with running_pgbouncer(postgres_server) as pooler:
        yield pooler


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    assert process.poll() is None, f"pgbouncer ended with {process.returncode}"
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
