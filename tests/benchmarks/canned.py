"""A server that has one answer to everything: the training runs. It counts its requests, and costs little itself.

``python -m tests.benchmarks.canned [POLLS]`` listens on a free port of 127.0.0.1 and says on which; a GET of COUNT_PATH
tells how many other requests there were. With POLLS, a training has come further at every so-many-th request for it.
"""

import asyncio
import json
import sys
import time
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import cast

from tests.benchmarks.signals import run_until_told

COUNT_PATH = "/-/requests"

_HEAD_END = b"\r\n\r\n"
_COUNT_START = f"GET {COUNT_PATH} ".encode()
_DOCUMENTED = Path(__file__).parents[1] / "data" / "answers" / "alibaba-opensearch" / "function-task" / "running.json"
_PROGRESS = 11
"""Percent; two digits, for the length of the answer."""
_REQUEST_ID = "########-5F0B-5B0E-9B1F-0D7C1A2B3C4D"
"""All but its first part is the same in every answer; as the length is, the head can be canned too."""


class Canned:
    """The answers to come, and the number of those given."""

    def __init__(self, polls_to_progress: int = 0) -> None:
        self.requests = 0
        self._pace = polls_to_progress
        self._polls: dict[bytes, int] = {}
        self._before, self._between, after = _answer().encode().split(b"########")
        self._head, self._tail = after.split(b'"progress": %d' % _PROGRESS)

    def reply_to(self, head: bytes) -> bytes:
        """The reply to one request, given without the empty line that ends it."""
        if head.startswith(_COUNT_START):
            return _http(str(self.requests), "text/plain").encode()
        self.requests += 1
        number, progress = b"%08X" % self.requests, self._progress(head)
        parts = (self._before, number, self._between, number, self._head, b'"progress": %d' % progress, self._tail)
        return b"".join(parts)

    def _progress(self, head: bytes) -> int:
        if not self._pace:
            return _PROGRESS
        target = head.split(b" ", 2)[1]
        # Not all at once: each begins somewhere.
        polls = self._polls[target] = self._polls.get(target, hash(target) % self._pace) + 1
        return _PROGRESS + polls // self._pace % 80


class CannedProtocol(asyncio.Protocol):
    """One connection, kept open. What it understands are requests without a body."""

    def __init__(self, canned: Canned) -> None:
        self._canned = canned
        self._unread = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        *heads, self._unread = (self._unread + data).split(_HEAD_END)
        if heads and self._transport is not None:
            self._transport.write(b"".join(map(self._canned.reply_to, heads)))


def _answer() -> str:
    """The documented answer, with two places for the request id; of a training that began just now, so not overdue."""
    answer = json.loads(_DOCUMENTED.read_text("utf-8"))
    answer["requestId"] = _REQUEST_ID
    answer["result"]["progress"] = _PROGRESS
    answer["result"]["startTime"] = int(time.time() * 1_000)
    return _http(json.dumps(answer), "application/json;charset=utf-8", f"x-acs-request-id: {_REQUEST_ID}\r\n")


def _http(body: str, content_type: str, headers: str = "") -> str:
    return (
        "HTTP/1.1 200 OK\r\n"
        f"Date: {formatdate(usegmt=True)}\r\n"
        f"Content-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: keep-alive\r\n"
        f"{headers}\r\n"
        f"{body}"
    )


async def _serve(canned: Canned) -> None:
    server = await asyncio.get_running_loop().create_server(partial(CannedProtocol, canned), "127.0.0.1", 0)
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    run_until_told(_serve(Canned(*map(int, sys.argv[1:]))))
