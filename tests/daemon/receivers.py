"""A receiver of webhooks that behaves as badly as it is told to, and checks every signature."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook

from tests.ports import free_port

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver:
    """Takes events at ``url``, but for the share of ``faults``; ``taken`` are those that it took, repeats included."""

    def __init__(self, seed: int = 7) -> None:
        self.port = free_port()
        self.faults = 0.0
        self.hangs = False
        self.taken: list[dict[str, Any]] = []
        self.requests = 0
        self.broken: list[str] = []
        self._failed = False
        self._draw = random.Random(seed)
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?key=hunter2"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/hook", self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        try:
            body = await request.read()
            told = Webhook(SECRET).verify(body, dict(request.headers))
            if told["id"] != request.headers["webhook-id"] or request.query["key"] != "hunter2":
                raise ValueError("another event than its headers say")
        except Exception as error:
            self.broken.append(repr(error))
            raise
        if self.hangs:
            await asyncio.sleep(60)
        if self._draw.random() < self.faults:
            return await self._fail(request, told)
        self.taken.append(told)
        return web.Response(status=self._draw.choice((200, 202, 204)))

    async def _fail(self, request: web.Request, told: dict[str, Any]) -> web.StreamResponse:
        """Does not take it; or takes it, and nobody hears of that."""
        faults = ("error", "busy", "cut", "hang", "redirect", "lost")
        match self._draw.choice(faults) if self._failed else "lost":
            case "busy":
                return web.Response(status=429, headers={"Retry-After": "1"})
            case "lost":
                self._failed = True
                self.taken.append(told)
                assert request.transport is not None
                request.transport.abort()
            case "cut":
                assert request.transport is not None
                request.transport.abort()
            case "hang":
                await asyncio.sleep(2)
            case "redirect":
                return web.Response(status=307, headers={"Location": self.url})
        return web.Response(status=500)


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """One that listens, and is gone afterwards."""
    running = Receiver()
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


def first_of_each(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is left when repeats are dropped by their id, as receivers do; a repeat is the same to the last byte."""
    found: dict[str, dict[str, Any]] = {}
    for each in events:
        assert found.setdefault(each["id"], each) == each
    return list(found.values())


def ways(events: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """The ids of each task's events, in order."""
    found: dict[str, list[str]] = {}
    for each in events:
        found.setdefault(each["subject"], []).append(each["id"])
    return found
