"""A server on 127.0.0.1 that says exactly the bytes it is told to, for what no well-behaved server would say."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeAlias

Behaviour: TypeAlias = "bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]"
"""What to answer with: bytes, or something that writes them."""


@dataclass(frozen=True)
class Received:
    """A request as it came over the wire."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    @property
    def target(self) -> str:
        """The request target, byte for byte."""
        return self.line.split(" ")[1]

    def header(self, name: str) -> str | None:
        """The value of a header that may be there once."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1
        return values[0] if values else None


def parse(head: bytes) -> Received:
    """The request that begins with ``head``."""
    line, *headers = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    split = (header.split(": ", 1) for header in headers)
    return Received(line, [(name, value) for name, value in split])


@dataclass
class Wire:
    """Answers each request with the next of ``answers``, in the end with the last one again and again."""

    answers: tuple[Behaviour, ...]
    requests: list[Received] = field(default_factory=list)
    url: str = ""
    """Where it listens, or listened."""
    connections: int = 0
    at_once: int = 0
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _handlers: set["asyncio.Task[None]"] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listens on a free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Hangs up on everyone."""
        assert self._server is not None
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        self._open.add(writer)
        self.connections += 1
        self.at_once = max(self.at_once, len(self._open))
        try:
            # A handler that ends as cancelled would be complained about by asyncio's streams.
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            self._open.discard(writer)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            received = parse(await reader.readuntil(b"\r\n\r\n"))
            body = await reader.readexactly(int(received.header("Content-Length") or 0))
            self.requests.append(replace(received, body=body))
            answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)


def http(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    """A whole answer; underscores in header names are dashes."""
    lines = {"content-length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body


def then_close(first: bytes = b"") -> Behaviour:
    """Says ``first`` and hangs up."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await writer.drain()
        writer.close()

    return behave


def then_reset(first: bytes = b"") -> Behaviour:
    """Says ``first`` and tears the connection down."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await writer.drain()
        await asyncio.sleep(0.01)
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return behave


def then_silence(first: bytes = b"") -> Behaviour:
    """Says ``first`` and nothing more."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await asyncio.sleep(60)

    return behave


def slowly(answer: bytes, pause: float) -> Behaviour:
    """Says ``answer`` byte by byte."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        for byte in answer:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(pause)

    return behave


@dataclass
class Endless:
    """Says ``first``, and then ``more`` for ever; ``written`` counts the bytes."""

    first: bytes
    more: bytes
    written: int = 0

    async def __call__(self, writer: asyncio.StreamWriter) -> None:
        writer.write(self.first)
        while True:
            writer.write(self.more)
            self.written += len(self.more)
            await writer.drain()
