"""Server-sent events (WHATWG HTML, section 9.2): streams that end with the daemon and cost no more than they may.

A reader has no queue: it is sent an event only when the one before has left, or has its place in a buffer of bounded
size. One that takes nothing for `SLOWEST_SECONDS` is cut off; it may come again and say where it was.
"""

import re
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass

import anyio
from aiohttp import hdrs, web

HEARTBEAT_SECONDS = 15.0
"""So long nothing is sent, then a comment is: clients and proxies that are gone are noticed, others see us alive."""

SLOWEST_SECONDS = 10.0
"""How long a reader may take for what waits to be sent to it."""

BUFFER_BYTES = 64 * 1024
"""How much may wait for one reader in this process, and in the system about as much again."""

MOST_STREAMS = 200

_LOOK_SECONDS = 1.0
"""How soon it is noticed that a reader has hung up."""

_DEAD_MILLISECONDS = 30_000
"""How long a system that is gone may leave unacknowledged what was sent to it (RFC 5482)."""

_NO_LINGER = struct.pack("ii", 1, 0)
_HEARTBEAT = b":\n\n"
_LINE_END = re.compile("\r\n|\n|\r")
_HEADERS = {
    hdrs.CONTENT_TYPE: "text/event-stream",
    hdrs.CACHE_CONTROL: "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back until it has a buffer full of them
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event. Without ``data`` it only tells clients its ``id``, from which on they will resume.

    ``name`` and ``id`` must be one line without NUL; ValueError otherwise. ``data`` may be any text.
    """

    data: str = ""
    name: str | None = None
    id: str | None = None

    def __post_init__(self) -> None:
        for text in (self.name, self.id):
            if text is not None and ("\0" in text or _LINE_END.search(text)):
                raise ValueError(f"an event's name and id are one line each, found {text!r}")

    def framed(self) -> bytes:
        """The event as it goes over the wire. Half a surrogate pair, which UTF-8 does not know, becomes ?."""
        fields = [("id", self.id), ("event", self.name)]
        lines = [f"{field}: {text}" for field, text in fields if text is not None]
        if self.data:
            lines += [f"data: {line}" for line in _LINE_END.split(self.data)]
        return ("\n".join(lines) + "\n\n").encode(errors="replace")


Events = AsyncGenerator[Event]
"""What one reader is sent; closed when its stream ends."""


class EventStreams:
    """All event streams that are open, at most ``most`` at once."""

    def __init__(self, most: int = MOST_STREAMS) -> None:
        self._most = most
        self._open: set[anyio.CancelScope] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._open)

    async def close(self, _: web.Application | None = None) -> None:
        """Ends every stream at once, and lets no other begin."""
        self._closed = True
        for scope in list(self._open):
            scope.cancel()

    async def serve(self, request: web.Request, events: Events) -> web.StreamResponse:
        """Answers ``request`` with ``events`` until they end, the reader goes or is too slow, or all is closed.

        HTTPServiceUnavailable when there are too many streams already.
        """
        async with aclosing(events):
            self._check_room()
            response = web.StreamResponse(headers=_HEADERS)
            with anyio.CancelScope() as scope:
                self._open.add(scope)
                try:
                    await _Stream(request, response).run(events)
                finally:
                    self._open.discard(scope)
            await _end(request, response)
            return response

    def _check_room(self) -> None:
        if self._closed:
            raise web.HTTPServiceUnavailable(reason="poller is stopping: ask again when it is back")
        if len(self._open) >= self._most:
            reason = f"{self._most} event streams are open already, which is the most: close some, or ask again later"
            raise web.HTTPServiceUnavailable(reason=reason)


class _Stream:
    """One stream while it lasts."""

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self._request = request
        self._response = response
        self._sent_at = 0.0
        self._sending = False

    async def run(self, events: Events) -> None:
        """Sends ``events``, and heartbeats in between; returns when they end or the reader has gone."""
        with suppress(ConnectionError):
            await self._response.prepare(self._request)
            _bound_buffers(self._request)
            async with anyio.create_task_group() as group:
                group.start_soon(self._keep_alive, group.cancel_scope)
                await self._send_all(events)
                group.cancel_scope.cancel()

    async def _send_all(self, events: Events) -> None:
        # Something at once: the headers go out with it.
        if await self._send(_HEARTBEAT):
            async for event in events:
                if not await self._send(event.framed()):
                    return

    async def _keep_alive(self, stream: anyio.CancelScope) -> None:
        while not self._is_gone():
            await anyio.sleep(_LOOK_SECONDS)
            quiet = not self._sending and anyio.current_time() - self._sent_at >= HEARTBEAT_SECONDS
            if quiet and not await self._send(_HEARTBEAT):
                break
        stream.cancel()

    async def _send(self, frame: bytes) -> bool:
        """Sends ``frame``; False when the reader has gone, or has been cut off because it took nothing for too long."""
        self._sending, self._sent_at = True, anyio.current_time()
        try:
            with anyio.move_on_after(SLOWEST_SECONDS):
                await self._response.write(frame)
                return True
        except ConnectionError:
            return False
        finally:
            self._sending = False
        _cut(self._request)
        return False

    def _is_gone(self) -> bool:
        transport = self._request.transport
        return transport is None or transport.is_closing()


def _bound_buffers(request: web.Request) -> None:
    """What a reader does not take must wait somewhere, but not much of it."""
    transport = request.transport
    if transport is None:
        return
    transport.set_write_buffer_limits(high=BUFFER_BYTES)
    bound = transport.get_extra_info("socket")
    if bound is None:
        return
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    if bound.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_MILLISECONDS)


async def _end(request: web.Request, response: web.StreamResponse) -> None:
    """Ends the answer properly if that goes at once: nobody waits for a reader that is behind."""
    transport = request.transport
    if transport is None or transport.is_closing():
        return
    if transport.get_write_buffer_size():
        _cut(request)
    else:
        with suppress(ConnectionError):
            await response.write_eof()


def _cut(request: web.Request) -> None:
    """Breaks the connection, and has the system forget what waits in it."""
    transport = request.transport
    if transport is None:
        return
    bound = transport.get_extra_info("socket")
    if bound is not None:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
