"""The local cloud on a port."""

import socket
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import orjson
from aiohttp import web

from poller.simulator.cloud import STRANGERS, Cloud
from poller.simulator.faults import FaultKind
from poller.simulator.inventory import between
from poller.simulator.scenario import Scenario
from poller.simulator.wire import Answer, RawRequest

_GRACE = 0.2
"""Seconds that answers still being made get when the simulator stops; those that hang by script never come."""

# SO_LINGER on, for 0 seconds: closing sends RST instead of FIN.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Simulator:
    """A scenario, played from the moment this is made, as an aiohttp application.

    ``clock`` gives epoch seconds; a test may hand in one that it moves by hand.
    """

    def __init__(self, scenario: Scenario, clock: Callable[[], float] = time.time) -> None:
        """Builds everything that the scenario lists and generates."""
        self._cloud = Cloud(scenario, clock)
        self._latency = scenario.latency
        self._received = 0
        self.app = web.Application()
        self.app.router.add_get("/-/healthy", _healthy)
        self.app.router.add_get("/-/requests", self._show_requests)
        self.app.router.add_route("*", "/{rest:.*}", self._handle)

    @property
    def requests(self) -> Counter[str]:
        """Requests received for each thing of the scenario, by name; STRANGERS for all else."""
        return self._cloud.requests

    @property
    def starts(self) -> Counter[str]:
        """Requests received to start a run, by the instance's name."""
        return self._cloud.starts

    @property
    def outcomes(self) -> Counter[str]:
        """Answers by error code, or by HTTP status where there is none; and what came instead of an answer."""
        return self._cloud.outcomes

    @property
    def key_locks(self) -> int:
        """How often a Huawei key was locked for failing too often."""
        return self._cloud.key_locks

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self._received += 1
        raw = await _raw(request)
        if delay := between(self._latency, f"latency/{self._received}"):
            await anyio.sleep(delay)
        answer = self._cloud.respond(raw)
        if isinstance(answer, Answer):
            return _response(answer)
        return await _silence(request, answer)

    async def _show_requests(self, request: web.Request) -> web.Response:
        del request
        known = {name: count for name, count in self.requests.items() if name != STRANGERS}
        body = {
            "requests": known,
            "strangers": self.requests[STRANGERS],
            "starts": dict(self.starts),
            "outcomes": dict(self.outcomes),
        }
        return web.Response(body=orjson.dumps(body), content_type="application/json")


@asynccontextmanager
async def serve(simulator: Simulator, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Listens while the context is open, and gives the base URL. Port 0 takes a free one. OSError if it cannot."""
    runner = web.AppRunner(simulator.app, access_log=None, handler_cancellation=True, shutdown_timeout=_GRACE)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield _base_url(runner)
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()


def _base_url(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _healthy(request: web.Request) -> web.Response:
    del request
    return web.Response(text="healthy\n")


async def _raw(request: web.Request) -> RawRequest:
    headers = tuple((name.decode("latin-1"), value.decode("utf-8", "replace")) for name, value in request.raw_headers)
    return RawRequest(request.method, request.raw_path, headers, await request.read())


def _response(answer: Answer) -> web.Response:
    return web.Response(
        status=answer.status, body=answer.body, headers=dict(answer.headers), content_type=answer.content_type
    )


async def _silence(request: web.Request, kind: FaultKind) -> web.Response:
    """Never answers, or cuts the connection; what it returns finds nobody to read it."""
    if kind is FaultKind.HANG:
        await anyio.sleep_forever()
    transport = request.transport
    if transport is not None:
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    return web.Response()
