"""One exchange over HTTP: exactly what was signed goes out, once, and at most a megabyte comes back."""

import zlib
from typing import Protocol

import aiohttp
from yarl import URL

from poller.providers.request import Reply, Request

LONGEST_BODY = 1_048_576
"""Bytes read of an answer; none of the documented ones comes near."""
_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_NOT_BROUGHT = (aiohttp.ClientError, OSError, TimeoutError, ValueError, EOFError)


class NotBroughtError(Exception):
    """No answer came; its text says why, in words for the operator."""


class Transport(Protocol):
    """What carries requests and their replies."""

    async def exchange(self, request: Request) -> Reply:
        """The reply to ``request``, sent once. NotBroughtError when there is none."""
        ...

    async def close(self) -> None:
        """Lets go of its sockets."""
        ...


class _LostError(aiohttp.ClientError):
    """The connection broke. aiohttp would send the same request, nonce and all, once more on an error of its own."""


class HttpTransport:
    """A pool of sockets. Implements `Transport`; ``timeout`` is for the whole of one exchange, in seconds."""

    def __init__(self, *, timeout: float, max_in_flight: int) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._max_in_flight = max_in_flight
        self._session: aiohttp.ClientSession | None = None

    async def exchange(self, request: Request) -> Reply:
        """The reply to ``request``, sent once, its body decoded. NotBroughtError when there is none."""
        try:
            return await self._exchange(request)
        except _NOT_BROUGHT as error:
            raise NotBroughtError(_complaint(error, self._timeout.total)) from error

    async def close(self) -> None:
        """Closes the sockets."""
        if self._session is not None:
            await self._session.close()

    async def _exchange(self, request: Request) -> Reply:
        session = self._open_session()
        async with session.request(
            request.method,
            URL(request.url, encoded=True),
            headers={"Accept": "application/json", "Accept-Encoding": "identity", **request.headers},
            data=request.body or None,
            allow_redirects=False,
        ) as response:
            body = await _read(response)
            return Reply(response.status, response.headers, body)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._max_in_flight),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Content-Type",),
                headers={"User-Agent": "poller"},
                auto_decompress=False,
                middlewares=(_once,),
            )
        return self._session


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _LostError(_named(error)) from error


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    """The decoded content; None, and the rest is not read, when it is longer than LONGEST_BODY."""
    raw = bytearray()
    async for chunk in response.content.iter_any():
        raw += chunk
        if len(raw) > LONGEST_BODY:
            response.close()
            return None
    return _decoded(bytes(raw), response.headers.get("Content-Encoding", "identity").strip().lower())


def _decoded(raw: bytes, encoding: str) -> bytes | None:
    """``raw`` decompressed, without ever holding more than LONGEST_BODY of it; in an unknown encoding as it is."""
    if encoding not in _WINDOW_BITS:
        return raw
    try:
        decoder = zlib.decompressobj(_WINDOW_BITS[encoding])
        body = decoder.decompress(raw, LONGEST_BODY)
    except zlib.error:
        return b""
    return None if decoder.unconsumed_tail else body


def _complaint(error: BaseException, timeout: float | None) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} s"
    text = str(error) if isinstance(error, _LostError) else _named(error)
    return " ".join(text.split())


def _named(error: BaseException) -> str:
    # aiohttp makes an HTTP 400 of what is no HTTP at all; nobody has said that.
    text = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
