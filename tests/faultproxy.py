"""A TCP proxy whose network can be broken and healed while it runs."""

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self


@dataclass(eq=False)
class Link:
    """One connection, to both sides."""

    writers: list[asyncio.StreamWriter]
    left: int | None
    """Bytes that the server may still send before the link is cut."""
    task: asyncio.Task[None] = field(init=False)


class FaultProxy:
    """Forwards to a server, as long as no fault is set; each fault takes the place of the one before.

    async with FaultProxy("127.0.0.1", 5432) as proxy: connect to 127.0.0.1, proxy.port
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._links: set[Link] = set()
        self._server: asyncio.Server | None = None
        self._flows = asyncio.Event()
        self._latency = 0.0
        self._resets = False
        self._cut_after: int | None = None
        self.port = 0

    async def heal(self) -> None:
        """No fault. What a black hole held back arrives."""
        self._latency = 0.0
        self._resets = False
        self._cut_after = None
        for link in self._links:
            link.left = None
        self._flows.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def latency(self, seconds: float) -> None:
        """Whatever is sent arrives later, in both directions."""
        await self.heal()
        self._latency = seconds

    async def blackhole(self) -> None:
        """Connections are made and stay, but nothing arrives."""
        await self.heal()
        self._flows.clear()

    async def reset(self) -> None:
        """Connections end with RST: those that are, and each new one."""
        await self.heal()
        self._resets = True
        self._reset_links()

    async def refuse(self) -> None:
        """Nobody listens; connections that are stay (`reset` before ends them)."""
        await self.heal()
        self._stop_listening()

    async def cut_after(self, count: int) -> None:
        """Each connection ends as soon as so many more bytes came from the server."""
        await self.heal()
        self._cut_after = count
        for link in self._links:
            link.left = count

    async def __aenter__(self) -> Self:
        await self.heal()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop_listening()
        await asyncio.gather(*self._reset_links(), return_exceptions=True)
        await asyncio.sleep(0)  # in which the sockets are closed

    def _reset_links(self) -> list[asyncio.Task[None]]:
        tasks = []
        for link in self._links:
            _send_reset(link.writers)
            link.task.cancel()
            tasks.append(link.task)
        return tasks

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _accept(self, client: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._resets:
            _send_reset([writer])
            return
        link = Link([writer], self._cut_after)
        # A task of our own: streams report it as a fault when theirs is cancelled.
        link.task = asyncio.ensure_future(self._serve(link, client))
        self._links.add(link)
        link.task.add_done_callback(lambda _: self._links.discard(link))

    async def _serve(self, link: Link, client: asyncio.StreamReader) -> None:
        try:
            await self._forward(link, client)
        except OSError:
            _send_reset(link.writers)
        finally:
            for end in link.writers:
                end.close()

    async def _forward(self, link: Link, client: asyncio.StreamReader) -> None:
        """Until one side ends."""
        await self._flows.wait()
        server, writer = await asyncio.open_connection(*self._target)
        link.writers.append(writer)
        pumps = [
            asyncio.ensure_future(self._pump(client, writer)),
            asyncio.ensure_future(self._pump(server, link.writers[0], link)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counted: Link | None = None
    ) -> None:
        """Until its sender ends, or has sent what it may."""
        with suppress(OSError):
            while counted is None or counted.left != 0:
                data = await reader.read(65536)
                await asyncio.sleep(self._latency)
                await self._flows.wait()
                if not data:
                    return
                if counted is not None and counted.left is not None:
                    data = data[: counted.left]
                    counted.left -= len(data)
                writer.write(data)
                await writer.drain()


def _send_reset(writers: list[asyncio.StreamWriter]) -> None:
    for writer in writers:
        if not writer.transport.is_closing():
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
