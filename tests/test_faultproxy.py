"""Each fault does what it says, to connections that are and to new ones, and goes when it is healed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from tests.faultproxy import FaultProxy

pytestmark = pytest.mark.timeout(30)

SOON = 5.0


class Client:
    """A client of an echo server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def echo(self, text: bytes, seconds: float = SOON) -> bytes:
        """What comes back; less than was sent where the connection ends."""
        self.writer.write(text)
        async with asyncio.timeout(seconds):
            try:
                return await self._reader.readexactly(len(text))
            except asyncio.IncompleteReadError as error:
                return error.partial


class Clients:
    """Clients that connect through the proxy."""

    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy
        self._all: list[Client] = []

    async def connect(self) -> Client:
        """One more."""
        client = Client(*await asyncio.open_connection("127.0.0.1", self._proxy.port))
        self._all.append(client)
        return client

    async def close(self) -> None:
        """All of them."""
        for client in self._all:
            client.writer.close()
            with suppress(OSError):
                await client.writer.wait_closed()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1000):
            writer.write(data)
    writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[FaultProxy]:
    """A proxy to an echo server."""
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    async with FaultProxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
        yield proxy
    server.close()


@pytest.fixture(autouse=True)
async def quiet() -> AsyncIterator[None]:
    """Nothing goes wrong in the background."""
    heard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    yield
    assert not heard


@pytest.fixture
async def clients(proxy: FaultProxy) -> AsyncIterator[Clients]:
    """None connected yet."""
    clients = Clients(proxy)
    yield clients
    await clients.close()


async def test_without_fault_everything_passes(clients: Clients) -> None:
    client = await clients.connect()
    assert await client.echo(b"hello") == b"hello"
    assert await client.echo(b"x" * 1_000_000) == b"x" * 1_000_000


async def test_latency_counts_in_both_directions(proxy: FaultProxy, clients: Clients) -> None:
    client = await clients.connect()
    await proxy.latency(0.1)
    begun = asyncio.get_running_loop().time()
    assert await client.echo(b"hello") == b"hello"
    assert asyncio.get_running_loop().time() - begun >= 0.2


async def test_a_black_hole_answers_nobody_and_heals(proxy: FaultProxy, clients: Clients) -> None:
    before = await clients.connect()
    assert await before.echo(b"hello") == b"hello"
    await proxy.blackhole()
    during = await clients.connect()
    for client in (before, during):
        with pytest.raises(TimeoutError):
            await client.echo(b"held", seconds=0.1)
    await proxy.heal()
    for client in (before, during):
        assert await client.echo(b"!!!!") == b"held"


async def test_a_reset_ends_connections_rudely(proxy: FaultProxy, clients: Clients) -> None:
    before = await clients.connect()
    assert await before.echo(b"hello") == b"hello"
    await proxy.reset()
    with pytest.raises(ConnectionResetError):
        await before.echo(b"hello")
    with pytest.raises(ConnectionResetError):
        await (await clients.connect()).echo(b"hello")
    await proxy.heal()
    assert await (await clients.connect()).echo(b"hello") == b"hello"


async def test_refused_are_only_new_connections(proxy: FaultProxy, clients: Clients) -> None:
    before = await clients.connect()
    assert await before.echo(b"hello") == b"hello"
    await proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await clients.connect()
    assert await before.echo(b"hello") == b"hello"
    await proxy.heal()
    assert await (await clients.connect()).echo(b"hello") == b"hello"


async def test_a_cut_lets_so_many_bytes_through(proxy: FaultProxy, clients: Clients) -> None:
    before = await clients.connect()
    assert await before.echo(b"hello") == b"hello"
    await proxy.cut_after(3)
    during = await clients.connect()
    for client in (before, during):
        assert await client.echo(b"hello") == b"hel"
    await proxy.heal()
    assert await (await clients.connect()).echo(b"hello") == b"hello"


async def test_a_server_that_is_gone_resets(proxy: FaultProxy) -> None:
    async with FaultProxy("127.0.0.1", proxy.port) as outer:
        await proxy.refuse()
        clients = Clients(outer)
        with pytest.raises(ConnectionResetError):
            await (await clients.connect()).echo(b"hello")
        await clients.close()
