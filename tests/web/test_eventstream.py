"""Event streams: what goes over the wire, who is let go, and that nobody is waited for."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from poller.web import eventstream
from poller.web.eventstream import HEARTBEAT_SECONDS, SLOWEST_SECONDS, Event, Events, EventStreams
from poller.web.listening import SHUTDOWN_SECONDS


@pytest.mark.parametrize(
    ("event", "wire"),
    [
        (Event("a"), b"data: a\n\n"),
        (Event("a", "moved", "7"), b"id: 7\nevent: moved\ndata: a\n\n"),
        (Event(id="7"), b"id: 7\n\n"),
        (Event("a\nb\r\nc\rd\n"), b"data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"),
        (Event("a\x0b\x1c\x85\u2028b\0"), "data: a\x0b\x1c\x85\u2028b\0\n\n".encode()),
        (Event("half \ud800 a pair"), b"data: half ? a pair\n\n"),
    ],
)
def test_an_event_is_framed_as_the_standard_says(event: Event, wire: bytes) -> None:
    """Each of its lines is a field of its own; only what the standard calls a line end ends a line."""
    assert event.framed() == wire


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\0b"])
def test_an_id_or_a_name_that_would_break_the_framing_is_refused(text: str) -> None:
    """ValueError, before anything is sent."""
    with pytest.raises(ValueError, match="one line each"):
        Event("a", name=text)
    with pytest.raises(ValueError, match="one line each"):
        Event("a", id=text)


@given(st.text())
def test_no_text_breaks_an_event(text: str) -> None:
    """Whatever the text holds, the event ends where it ends, and has no field but its data."""
    wire = Event(text).framed()
    lines = wire.removesuffix(b"\n\n").split(b"\n")
    assert wire.endswith(b"\n\n")
    assert all(line.startswith(b"data: ") for line in lines if text)
    assert b"\r" not in wire


async def forever(text: str = "") -> Events:
    """An event, if there is a ``text``, and then nothing more."""
    if text:
        yield Event(text)
    await asyncio.Event().wait()


async def flood() -> Events:
    """Events without an end, as quickly as they are taken."""
    while True:
        yield Event("x" * 10_000)
        await asyncio.sleep(0)


@asynccontextmanager
async def served(streams: EventStreams, events: Callable[[], Events]) -> AsyncIterator[TestServer]:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await streams.serve(request, events())

    app = web.Application()
    app.router.add_get("/", handler, allow_head=False)
    app.on_shutdown.append(streams.close)
    server = TestServer(app, host="127.0.0.1", shutdown_timeout=SHUTDOWN_SECONDS)
    async with server:
        yield server


async def gone(streams: EventStreams) -> None:
    while len(streams):
        await asyncio.sleep(0.01)


async def test_a_stream_says_what_it_is_and_is_open_before_anything_happens() -> None:
    """Its type, that nothing may keep or hold it back, and a comment at once."""
    async with served(EventStreams(), forever) as server, aiohttp.ClientSession() as session:
        async with session.get(server.make_url("/")) as response:
            assert response.headers["Content-Type"] == "text/event-stream"
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["X-Accel-Buffering"] == "no"
            assert await response.content.readuntil(b"\n\n") == b":\n\n"


@pytest.mark.looptime
async def test_silence_is_broken_by_comments() -> None:
    """One in `HEARTBEAT_SECONDS`, give or take a look."""
    loop = asyncio.get_running_loop()
    async with served(EventStreams(), lambda: forever("first")) as server, aiohttp.ClientSession() as session:
        async with session.get(server.make_url("/"), timeout=aiohttp.ClientTimeout(None)) as response:
            assert await response.content.readuntil(b"first\n\n") == b":\n\ndata: first\n\n"
            start = loop.time()
            for _ in range(3):
                assert await response.content.readuntil(b"\n\n") == b":\n\n"
            assert loop.time() - start == pytest.approx(3 * HEARTBEAT_SECONDS, abs=3)


async def test_a_closed_door_ends_every_stream_at_once_and_lets_no_other_begin() -> None:
    """Readers see a proper end; who comes later is told why not."""
    streams = EventStreams()
    async with served(streams, forever) as server, aiohttp.ClientSession() as session:
        async with session.get(server.make_url("/")) as response:
            await response.content.readuntil(b"\n\n")
            await streams.close()
            assert await response.read() == b""
        await gone(streams)
        async with session.get(server.make_url("/")) as response:
            assert response.status == 503
            assert response.reason == "poller is stopping: ask again when it is back"


async def test_one_stream_too_many_is_refused_with_words() -> None:
    """503, and when another one ends there is room again."""
    streams = EventStreams(most=1)
    async with served(streams, forever) as server, aiohttp.ClientSession() as session:
        async with session.get(server.make_url("/")) as response:
            await response.content.readuntil(b"\n\n")
            async with session.get(server.make_url("/")) as refused:
                assert refused.status == 503
                assert "1 event streams are open already" in str(refused.reason)
            response.close()
        await gone(streams)
        assert len(streams) == 0


async def deaf(server: TestServer) -> socket.socket:
    """A client that asks for the stream and never reads."""
    client = socket.create_connection(("127.0.0.1", server.port))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    return client


async def test_a_reader_that_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while; until then no more waits for it than fits its buffers."""
    assert SLOWEST_SECONDS == 10
    monkeypatch.setattr(eventstream, "SLOWEST_SECONDS", 0.2)
    streams, sent = EventStreams(), 0

    async def counted() -> Events:
        nonlocal sent
        async for event in flood():
            sent += len(event.data)
            yield event

    async with served(streams, counted) as server:
        with await deaf(server):
            while not len(streams):
                await asyncio.sleep(0.01)
            await gone(streams)
    assert 0 < sent < 8_000_000


async def test_the_end_waits_for_no_reader_that_is_behind() -> None:
    """Its connection is cut, and the server has closed long before it would have been."""
    streams = EventStreams()
    loop = asyncio.get_running_loop()
    async with served(streams, flood) as server:
        with await deaf(server):
            while not len(streams):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            start = loop.time()
            await streams.close()
            await gone(streams)
            assert loop.time() - start < SLOWEST_SECONDS / 2


@pytest.mark.looptime
async def test_a_reader_that_hangs_up_is_noticed_without_anything_to_send() -> None:
    """Long before the next heartbeat would fail, and what fed it is closed."""
    streams, closed = EventStreams(), asyncio.Event()

    async def events() -> Events:
        try:
            yield Event("first")
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with served(streams, events) as server, aiohttp.ClientSession() as session:
        async with session.get(server.make_url("/")) as response:
            await response.content.readuntil(b"first\n\n")
            response.close()
        await asyncio.wait_for(closed.wait(), HEARTBEAT_SECONDS / 2)
        assert len(streams) == 0
