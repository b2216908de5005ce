"""One exchange over HTTP: exactly what was signed goes out, once, and at most a megabyte comes back."""

import asyncio
import select
import ssl
import time
import zlib
from functools import partial
from importlib.metadata import version
from typing import Any, Protocol, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from poller.config.certificates import UnusableError
from poller.config.settings import TlsClient
from poller.providers.failures import EndlessError, Route, complaint, proxy_login_refused
from poller.providers.proxy import Proxy, ProxySource, no_proxy
from poller.providers.request import Reply, Request
from poller.providers.tls import ClientContext

LONGEST_BODY = 1_048_576
"""Bytes read of an answer; none of the documented ones comes near."""
MOST_RECEIVED = 2 * LONGEST_BODY
"""Bytes that come for one exchange, all that is not the body included: HTTP sets no end to some of that."""
IDLE_SECONDS = 4.0
"""Seconds after which an idle connection is used no more. Many servers close theirs after five: a request that crosses
with that is lost, and is not sent a second time."""
UNHEARD_SECONDS = 0.05
"""Seconds since its last use after which a connection is asked whether the server hung up unheard. No server keeps
connections open for less; to ask each time would cost a system call for each poll."""
DNS_SECONDS = 10
"""Seconds for which a name's addresses are remembered."""
_HUNG_UP = getattr(select, "POLLRDHUP", 0)
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
    """A pool of sockets. Implements `Transport`; ``timeout`` is for the whole of one exchange, in seconds.

    ``connect_timeout`` is for getting a connection; left out, ``timeout`` holds. Without a ``proxy`` none is used,
    whatever the environment says.
    """

    def __init__(
        self,
        *,
        timeout: float,
        max_in_flight: int,
        connect_timeout: float | None = None,
        tls: TlsClient | None = None,
        proxy: ProxySource = no_proxy,
    ) -> None:
        self._timeout = timeout
        self._connect_timeout = timeout if connect_timeout is None else connect_timeout
        self._max_in_flight = max_in_flight
        self._tls = tls or TlsClient()
        self._tls_as_usual = self._tls == TlsClient()
        self._proxy = proxy
        self._session: aiohttp.ClientSession | None = None
        self._context: ClientContext | None = None
        self._connecting: set[asyncio.Task[Any] | None] = set()

    async def exchange(self, request: Request) -> Reply:
        """The reply to ``request``, sent once, its body decoded. NotBroughtError when there is none."""
        url = URL(request.url, encoded=True)
        try:
            proxy = self._proxy()
        except ValueError as error:
            raise NotBroughtError(f"proxy: {error}") from error
        try:
            return await self._exchange(request, url, proxy)
        except _NOT_BROUGHT as error:
            raise NotBroughtError(self._complaint(error, self._route(url, proxy))) from error
        finally:
            if self._connecting:
                self._connecting.discard(asyncio.current_task())

    async def close(self) -> None:
        """Closes the sockets."""
        if self._session is not None:
            await self._session.close()

    async def _exchange(self, request: Request, url: URL, proxy: Proxy | None) -> Reply:
        session = self._session or self._open_session()
        async with session.request(
            request.method,
            url,
            headers={**request.headers, **_for_plain_proxy(url, proxy)} if proxy else request.headers,
            data=request.body or None,
            allow_redirects=False,
            ssl=self._ssl(url),
            server_hostname=self._tls.server_name,
            **_by_proxy(url, proxy),
        ) as response:
            if response.status == 407 and proxy is not None:
                raise NotBroughtError(proxy_login_refused(self._route(url, proxy)))
            body = await _read(response)
            if body is not None and proxy is not None:
                body = proxy.hide_login(body)
            return Reply(response.status, response.headers, body)

    def _route(self, url: URL, proxy: Proxy | None) -> Route:
        return Route(url, self._timeout, self._connect_timeout, self._tls, proxy)

    def _ssl(self, url: URL) -> ssl.SSLContext | bool:
        """What encrypts the connection. Connections are reused for as long as it is the same."""
        if self._tls_as_usual or url.scheme != "https":
            return True
        if self._context is None:
            self._context = ClientContext(self._tls, asyncio.get_running_loop().time)
        try:
            return self._context.current()
        except UnusableError as error:
            raise NotBroughtError(self._context.problem) from error

    def _complaint(self, error: Exception, route: Route) -> str:
        """What went wrong; and why files could not be used, so that those from before stay in force: it may be that."""
        cause = error.__cause__ if isinstance(error, _LostError) else error
        if isinstance(error, TimeoutError) and asyncio.current_task() in self._connecting:
            cause = aiohttp.ConnectionTimeoutError()
        problem = "" if self._context is None else self._context.problem
        return complaint(cause or error, route) + (f"; {problem}" if problem else "")

    def _open_session(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=_Pool(
                self._connecting,
                limit=self._max_in_flight,
                keepalive_timeout=IDLE_SECONDS,
                ttl_dns_cache=DNS_SECONDS,
            ),
            timeout=aiohttp.ClientTimeout(
                total=self._timeout,
                connect=self._connect_timeout,
                ceil_threshold=float("inf"),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Content-Type",),
            headers={
                "User-Agent": f"poller/{version('poller')}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            auto_decompress=False,
            middlewares=(_once,),
            # No proxy and no .netrc but for what is passed in here.
            trust_env=False,
        )
        return self._session


class _Pool(aiohttp.TCPConnector):
    """Connections, of which none is used again after the server hung up, though the event loop may not know it yet.

    So it is when the process, or the whole machine, stood still for a while. ``connecting`` are the asyncio tasks that
    wait for a connection, and those that got none.
    """

    def __init__(self, connecting: set[asyncio.Task[Any] | None], **options: Any) -> None:
        super().__init__(**options)
        self._connecting = connecting
        # aiohttp has no public way to bound what its parser is fed.
        self._factory = cast("partial[ResponseHandler]", partial(_Bounded, loop=self._loop))

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own
    ) -> Connection:
        """A connection for ``req``."""
        waiting = asyncio.current_task()
        self._connecting.add(waiting)
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            if not isinstance(protocol, _Bounded):
                break
            before, protocol.used_at = protocol.used_at, _boot_time()
            # While the loop runs it hears of it when a server hangs up.
            if before is None or protocol.used_at - before < UNHEARD_SECONDS or not _is_hung_up(connection.transport):
                break
            connection.close()
        self._connecting.discard(waiting)
        return connection


def _boot_time() -> float:
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class _Bounded(ResponseHandler):
    """Gives up a connection on which more comes than an answer can be: HTTP sets no end to what is not the body."""

    used_at: float | None = None
    """When it was last taken into use, on the clock that goes on while the machine sleeps."""
    _received = 0

    def set_response_params(self, **params: Any) -> None:
        """Another answer begins."""
        self._received = 0
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Passes on what came, up to MOST_RECEIVED."""
        self._received += len(data)
        if self._received <= MOST_RECEIVED:
            super().data_received(data)
        elif self.transport is not None:
            error = EndlessError()
            self.set_exception(error)
            if self._payload is not None:
                self._payload.set_exception(error)
            self.transport.abort()


def _is_hung_up(transport: asyncio.Transport | None) -> bool:
    """Whether the other side has closed its end; on systems that cannot tell, no."""
    sock = transport.get_extra_info("socket") if transport else None
    if not _HUNG_UP or sock is None:
        return False
    ends = select.poll()
    ends.register(sock.fileno(), _HUNG_UP)
    return bool(ends.poll(0))


def _for_plain_proxy(url: URL, proxy: Proxy) -> dict[str, str]:
    """What a proxy is told with the request itself where that goes through it unencrypted."""
    return proxy.headers if url.scheme == "http" else {}


def _by_proxy(url: URL, proxy: Proxy | None) -> dict[str, Any]:
    if proxy is None:
        return {}
    return {"proxy": proxy.url, "proxy_headers": proxy.headers if url.scheme == "https" else None}


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _LostError from error


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    """The decoded content; None, and the rest is not read, when it is longer than LONGEST_BODY."""
    chunks, length = [], 0
    while not response.content.at_eof():
        chunks.append(await response.content.readany())
        length += len(chunks[-1])
        if length > LONGEST_BODY:
            response.close()
            return None
    return _decoded(b"".join(chunks), response.headers.get("Content-Encoding", "identity").strip().lower())


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
