"""The server answers every path, protects its readers, and comes and goes quickly."""

import asyncio
import gzip
import itertools
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from poller.config.values import Address
from poller.domain.errors import PollerError
from poller.web.listening import SHUTDOWN_SECONDS, serve
from tests.emit.fakes import watched
from tests.web.fakes import Client, World

PATHS = [
    "/",
    "/connections",
    "/tasks/n",
    "/live.js",
    "/metrics",
    "/-/healthy",
    "/-/ready",
    "/api/v1/tasks",
    "/api/v1/tasks/n",
    "/api/v1/transitions",
]


async def test_metrics_come_in_the_format_asked_for(client: Client) -> None:
    async with client.get("/metrics", headers={"Accept": "this, that", "Accept-Encoding": "identity"}) as response:
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4"
        assert "Content-Encoding" not in response.headers
        assert await response.read() == b"# for this, that\n"


@pytest.mark.parametrize(
    ("accepted", "zipped"),
    [
        *[(accepted, True) for accepted in ("gzip", "deflate, gzip;q=0.5, br", "GZIP; q=1.0", "identity;q=0,gzip")],
        *[(accepted, False) for accepted in ("", "br", "gzip;q=0", "gzip;q=0.000", "x-gzip", "gzip2")],
    ],
)
async def test_metrics_are_compressed_for_those_who_can_read_it(client: Client, accepted: str, zipped: bool) -> None:
    async with client.get("/metrics", headers={"Accept": "x", "Accept-Encoding": accepted}) as response:
        body = await response.read()
        assert response.headers.get("Content-Encoding") == ("gzip" if zipped else None)
        assert (gzip.decompress(body) if zipped else body) == b"# for x\n"


async def test_a_page_that_cannot_be_finished_is_cut_off(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def render(_: str) -> tuple[str, Iterator[bytes]]:
        def pieces() -> Iterator[bytes]:
            yield b"half"
            raise RuntimeError("the other half")

        return "text/plain", pieces()

    world.render = render
    async with world.client() as client, client.get("/metrics", headers={"Accept-Encoding": "identity"}) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    (call,) = world.log.calls
    assert (call.method_name, call.kwargs["event"], call.kwargs["path"]) == ("error", "http.failed", "/metrics")
    assert caplog.records == []


async def test_others_have_their_turn_while_metrics_are_written(world: World) -> None:
    turns = 0

    def render(_: str) -> tuple[str, Iterator[bytes]]:
        return "text/plain", (f"{turns} ".encode() for _ in range(5))

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    world.render = render
    async with world.client() as client:
        counting = asyncio.create_task(count())
        async with client.get("/metrics", headers={"Accept-Encoding": "identity"}) as response:
            seen = (await response.text()).split()
        counting.cancel()
    assert len(set(seen)) == 5


async def test_health_is_a_matter_of_progress(world: World, client: Client) -> None:
    async with client.get("/-/healthy") as response:
        assert (response.status, await response.text()) == (200, "ok")
    world.watching.complaints += ["No poll was sent for 5m.", "Commits wait for 2m."]
    async with client.get("/-/healthy") as response:
        assert (response.status, await response.text()) == (503, "No poll was sent for 5m.\nCommits wait for 2m.")


async def test_readiness_is_a_matter_of_watchlist_and_store(world: World, client: Client) -> None:
    async with client.get("/-/ready") as response:
        assert response.status == 200
    world.watching.ready = False
    async with client.get("/-/ready") as response:
        assert (response.status, "not ready" in await response.text()) == (503, True)


@pytest.mark.parametrize("path", PATHS)
async def test_every_path_answers_head_as_get_without_a_body(world: World, client: Client, path: str) -> None:
    world.watching.shown.append(watched("n"))
    async with client.get(path) as got, client.head(path) as headed:
        assert (got.status, headed.status) == (200, 200)
        assert headed.headers["Content-Type"] == got.headers["Content-Type"]
        assert await headed.read() == b""
    async with client.get("/-/ready") as response:  # The connection is still in step.
        assert response.status == 200


@pytest.mark.parametrize("path", [*PATHS, "/nothing", "/api/v1/nothing", "/?state=x"])
async def test_every_answer_protects_its_reader(world: World, client: Client, path: str) -> None:
    world.watching.shown.append(watched("n"))
    async with client.get(path, headers={"Host": "evil.example"}) as response:
        headers = response.headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Server"] == "poller"
        assert b"evil" not in await response.read()


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/-/nothing", 404), ("/?state=x", 400)])
async def test_outside_the_api_errors_are_plain_text(client: Client, path: str, status: int) -> None:
    async with client.get(path) as response:
        assert (response.status, response.content_type) == (status, "text/plain")


async def test_a_fault_of_poller_is_logged_and_not_told(world: World) -> None:
    def render(_: str) -> tuple[str, Iterator[bytes]]:
        raise RuntimeError("a secret")

    world.render = render
    async with world.client() as client, client.get("/metrics") as response:
        assert response.status == 500
        assert "secret" not in await response.text()
    assert [call.kwargs["event"] for call in world.log.calls] == ["http.failed"]


def plain_app(handler: object = None) -> web.Application:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", handler or hello)  # type: ignore[arg-type]
    return app


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int) -> AsyncIterator[tuple[str, int]]:
    async with serve(app, [Address(host, port)]) as (bound,):
        assert isinstance(bound, Address)
        yield bound.host, bound.port


async def test_a_free_port_is_found_and_told() -> None:
    async with serving(plain_app(), "127.0.0.1", 0) as (host, port), aiohttp.ClientSession() as session:
        assert (host, port > 0) == ("127.0.0.1", True)
        async with session.get(f"http://{host}:{port}/") as response:
            assert await response.text() == "hello"


async def test_the_port_is_free_again_afterwards() -> None:
    async with serving(plain_app(), "127.0.0.1", 0) as (_, port):
        pass
    async with serving(plain_app(), "127.0.0.1", port) as (_, again):
        assert again == port


async def test_a_port_in_use_is_told_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            PollerError, match=f"^web.listen: cannot listen on 127.0.0.1:{port}: something else listens"
        ):
            async with serving(plain_app(), "127.0.0.1", port):
                pass


async def test_an_address_of_another_host_is_told_with_what_to_do() -> None:
    with pytest.raises(PollerError, match=r"cannot listen on 192\.0\.2\.1:0: .*set web.listen to an address"):
        async with serving(plain_app(), "192.0.2.1", 0):
            pass


async def test_closing_waits_for_nobody_for_long() -> None:
    entered = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        entered.set()
        await asyncio.sleep(60)
        return web.Response()

    async with serving(plain_app(slow), "127.0.0.1", 0) as (host, port):
        idle_reader, idle_writer = await asyncio.open_connection(host, port)
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await entered.wait()
        start = time.monotonic()
    assert time.monotonic() - start < 1.0
    assert (await idle_reader.read(), await reader.read()) == (b"", b"")
    for each in (idle_writer, writer):
        each.close()
        await each.wait_closed()


async def test_closing_does_not_wait_for_a_reader_that_stopped_reading(world: World) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    async with serving(plain_app(endless), "127.0.0.1", 0) as (host, port):
        reader, writer = await asyncio.open_connection(host, port, limit=1)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.read(1)
        await asyncio.sleep(0.05)
        start = time.monotonic()
    assert time.monotonic() - start < 1.0
    while await reader.read(1 << 20):
        pass
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(("error", "status"), [(web.HTTPTooManyRequests(), 429), (web.HTTPServiceUnavailable(), 503)])
async def test_any_refusal_keeps_its_status(world: World, error: web.HTTPException, status: int) -> None:
    def render(_: str) -> tuple[str, Iterator[bytes]]:
        raise error

    world.render = render
    async with world.client() as client, client.get("/metrics") as response:
        assert (response.status, await response.text()) == (status, f"{error.reason}\n")


async def test_a_client_that_has_gone_is_nothing_to_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    started = asyncio.Event()

    def render(_: str) -> tuple[str, Iterator[bytes]]:
        started.set()
        return "text/plain", itertools.repeat(b"x" * 65536)

    world.render = render
    async with serving(world.app(), "127.0.0.1", 0) as (host, port):
        _, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        await started.wait()
        writer.transport.abort()
        await asyncio.sleep(0.1)
        start = time.monotonic()
    assert time.monotonic() - start < SHUTDOWN_SECONDS
    assert (world.log.calls, caplog.records) == ([], [])


@pytest.fixture
async def below(world: World) -> AsyncIterator[Client]:
    world.prefix = "/a/poller"
    async with world.client() as client:
        yield client


@pytest.mark.parametrize("path", PATHS)
async def test_everything_is_below_the_prefix(world: World, below: Client, path: str) -> None:
    world.watching.shown += [watched("n")]
    async with below.get(f"/a/poller{path}") as response:
        assert response.status == 200
    async with below.get(path) as response:
        assert response.status == (200 if path.startswith("/-/") else 404)


async def test_a_task_below_the_prefix_is_found_by_its_name(world: World, below: Client) -> None:
    world.watching.shown += [watched("n/transitions")]
    async with below.get("/a/poller/api/v1/tasks/n%2Ftransitions") as response:
        assert (await response.json())["name"] == "n/transitions"


async def test_mistakes_below_the_prefix_are_json_where_the_api_is(below: Client) -> None:
    async with below.get("/a/poller/api/v1/nothing") as response:
        assert (response.status, response.content_type) == (404, "application/json")
    async with below.get("/api/v1/nothing") as response:
        assert (response.status, response.content_type) == (404, "text/plain")


async def test_the_prefix_without_its_slash_leads_to_the_page(below: Client) -> None:
    async with below.get("/a/poller?state=failed", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, "poller/?state=failed")
    async with below.get("/a/poller?state=failed") as response:
        assert (response.status, str(response.url.relative())) == (200, "/a/poller/?state=failed")
