"""The servers that tests start do what their fixtures promise."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import trustme

from tests.pgbouncer import PgBouncer
from tests.postgresql import Address, PostgresServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that a pooler in transaction mode can take."""
    connection = await asyncpg.connect(url, timeout=5, statement_cache_size=0)
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


async def test_each_test_has_an_empty_database(postgres_url: str) -> None:
    async with connected(postgres_url) as connection:
        assert await connection.fetchval("SELECT current_database()") == Address.of(postgres_url).database
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0


async def test_the_password_is_asked_for(postgres_server: PostgresServer, postgres_url: str) -> None:
    wrong = postgres_url.replace("s3cret", "wrong")
    if wrong == postgres_url:
        pytest.skip("the server of POLLER_TEST_PG_DSN has another password")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(wrong, timeout=5)


@pytest.mark.parametrize("crash", [False, True])
async def test_a_restart_sends_clients_away_and_keeps_data(
    postgres_server: PostgresServer, postgres_url: str, crash: bool
) -> None:
    async with connected(postgres_url) as connection:
        await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        (postgres_server.crash if crash else postgres_server.stop)()
        with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError)):
            await connection.fetch("SELECT 1")
        with pytest.raises(ConnectionRefusedError):
            await asyncpg.connect(postgres_url, timeout=5)
        postgres_server.start()
    async with connected(postgres_url) as connection:
        assert await connection.fetchval("SELECT answer FROM kept") == 42


async def test_read_only_is_for_a_while_and_for_open_connections_too(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    async with connected(postgres_url) as connection:
        with postgres_server.read_only():
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                await connection.execute("CREATE TABLE refused ()")
        await connection.execute("CREATE TABLE taken ()")


async def test_tls_can_be_verified(postgres_server: PostgresServer, postgres_url: str, tmp_path: Path) -> None:
    with postgres_server.tls() as root:
        async with connected(f"{postgres_url}?sslmode=verify-full&sslrootcert={root}") as connection:
            assert await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        other = tmp_path / "other.pem"
        trustme.CA().cert_pem.write_to_path(other)
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncpg.connect(f"{postgres_url}?sslmode=verify-full&sslrootcert={other}", timeout=5)
    with pytest.raises(ConnectionError):
        await asyncpg.connect(f"{postgres_url}?sslmode=require", timeout=5)


async def test_the_pooler_gives_one_connection_to_many_clients(pgbouncer: PgBouncer, postgres_url: str) -> None:
    url = pgbouncer.url(postgres_url)

    async def backend() -> int:
        async with connected(url) as connection, connection.transaction():
            await connection.execute("SELECT pg_sleep(0.05)")
            pid: int = await connection.fetchval("SELECT pg_backend_pid()")
            return pid

    async with asyncio.timeout(20):
        backends = await asyncio.gather(*(backend() for _ in range(12)))
    assert 1 <= len(set(backends)) <= 3


async def test_the_pooler_takes_statements_to_whichever_connection_is_free(
    pgbouncer: PgBouncer, postgres_url: str
) -> None:
    """What makes transaction mode hard: two transactions of one client, two backends."""
    url = pgbouncer.url(postgres_url)
    async with connected(url) as client, connected(url) as other:
        first = await client.fetchval("SELECT pg_backend_pid()")
        async with other.transaction():
            assert await other.fetchval("SELECT pg_backend_pid()") == first
            assert await client.fetchval("SELECT pg_backend_pid()") != first
