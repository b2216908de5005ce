"""A sink as the config describes it, in front of real servers: what goes over the wire, and what is made of answers."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from poller.app.sinks import open_sink, sample
from poller.config.settings import Settings, Sink, parse_settings
from poller.config.values import Surroundings
from poller.domain.delivery import Answer
from poller.runtime.clock import LoopClock
from tests.providers.authority import Authority

NOW = 1_790_000_000.0


@dataclass
class Asked:
    """What a server was asked, and how it answers."""

    answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]] | None = None
    url: str = ""
    lines: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.lines.append(f"{request.method} {request.raw_path}")
        self.headers.append(request.headers)
        await request.read()
        return web.Response(status=204) if self.answer is None else await self.answer(request)


@asynccontextmanager
async def server(asked: Asked, **options: Any) -> AsyncIterator[Asked]:
    """Answers every request."""
    runner = web.ServerRunner(web.Server(asked.handle, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, **options).start()
        scheme = "https" if options else "http"
        asked.url = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
        yield asked
    finally:
        await runner.cleanup()


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    """A server that takes everything."""
    async with server(Asked()) as running:
        yield running


def settings(folder: Path = Path(), **keys: Any) -> Sink:
    """A webhook with these keys."""
    found, wrong = parse_settings({"sinks": {"ops": {"kind": "webhook", **keys}}}, Surroundings(folder, {}), Settings)
    assert wrong == ()
    return found.sinks["ops"]


async def delivered(sink: Sink, env: Mapping[str, str] | None = None) -> Answer:
    """What comes of one event."""
    async with AsyncExitStack() as stack:
        return await open_sink(sink, LoopClock(lambda: NOW), stack, env or {}).deliver([sample()])


async def test_path_and_query_arrive_as_they_stand_and_a_login_as_a_header(asked: Asked) -> None:
    """Webhook addresses hold keys in any of the three."""
    url = asked.url.replace("://", "://user:p%40ss@")
    assert await delivered(settings(url=f"{url}/a%2Fb/c?key=x%2By&flag=1")) == Answer()
    assert asked.lines == ["POST /a%2Fb/c?key=x%2By&flag=1"]
    assert asked.headers[0]["Authorization"] == f"Basic {base64.b64encode(b'user:p@ss').decode()}"


async def test_a_header_of_the_config_stands_against_the_login_in_the_address(asked: Asked) -> None:
    """One header of a name."""
    url = asked.url.replace("://", "://user:pass@")
    assert await delivered(settings(url=url, headers={"authorization": "Bearer t"})) == Answer()
    assert asked.headers[0].getall("Authorization") == ["Bearer t"]  # type: ignore[attr-defined]


async def test_a_redirect_is_not_followed() -> None:
    """What is signed is for one address."""

    async def redirect(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=308, headers={"Location": "/elsewhere"})

    async with server(Asked(redirect)) as asked:
        answer = await delivered(settings(url=asked.url))
    assert answer.error is not None
    assert answer.error.startswith("HTTP 308: a redirect")
    assert asked.lines == ["POST /"]


@pytest.mark.parametrize(("header", "seconds"), [("17", 17.0), (formatdate(NOW + 40, usegmt=True), 40.0), ("?", None)])
async def test_a_wish_to_be_left_alone_is_a_number_or_a_date(header: str, seconds: float | None) -> None:
    """RFC 9110, 10.2.3; anything else is none."""

    async def busy(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": header})

    async with server(Asked(busy)) as asked:
        answer = await delivered(settings(url=asked.url))
    assert (answer.retry_after, answer.whole) == (seconds, seconds is not None)


async def test_a_receiver_that_does_not_answer_in_time_is_given_up() -> None:
    """Its name is told, and nothing of the address that may be secret."""

    async def hang(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        while not request.transport.is_closing():
            await asyncio.sleep(0.01)
        return web.Response()

    async with server(Asked(hang)) as asked:
        answer = await delivered(settings(url=f"{asked.url}/hunter2?hunter2", timeout="200ms"))
    assert answer == Answer("no answer within 0.2 s")


async def test_nobody_who_listens_is_told_by_host_and_port_alone() -> None:
    """Neither path, query nor login."""
    answer = await delivered(settings(url="http://u:hunter2@127.0.0.1:9/hunter2?k=hunter2"))
    assert answer == Answer("127.0.0.1:9 refused the connection: nothing listens there")


async def test_a_secret_address_is_looked_up_for_each_event(asked: Asked, tmp_path: Path) -> None:
    """A file that changes takes effect at once; one that holds no address any more is told, and not quoted."""
    file = tmp_path / "url"
    file.write_text(f"{asked.url}/old", "utf-8")
    sink, answers = settings(tmp_path, url={"file": "url"}), []
    async with AsyncExitStack() as stack:
        opened = open_sink(sink, LoopClock(lambda: NOW), stack, {})
        for number, text in enumerate((f"{asked.url}/old", f"{asked.url}/new", "hunter2")):
            file.write_text(text, "utf-8")
            os.utime(file, ns=(0, number))
            answers.append(await opened.deliver([sample()]))
    assert asked.lines == ["POST /old", "POST /new"]
    assert answers[-1] == Answer("url: there is no address in it, https://host[:port]/path is allowed")


async def test_events_go_through_the_proxy_of_the_config_or_the_environment(asked: Asked) -> None:
    """As polls do."""
    url = "http://hooks.example.com/hook"
    assert await delivered(settings(url=url, proxy=asked.url)) == Answer()
    assert await delivered(settings(url=url), {"HTTP_PROXY": asked.url}) == Answer()
    assert asked.lines == ["POST http://hooks.example.com/hook"] * 2


async def test_certificates_are_verified(tmp_path: Path) -> None:
    """By the authorities that the config names."""
    authority = Authority(tmp_path)
    async with server(Asked(), ssl_context=authority.context()) as asked:
        assert await delivered(settings(tmp_path, url=asked.url, tls={"ca_file": authority.file.name})) == Answer()
        answer = await delivered(settings(tmp_path, url=asked.url))
    assert answer.error is not None
    assert "is not trusted" in answer.error
    assert len(asked.lines) == 1
