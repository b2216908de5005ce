"""One exchange over HTTP: exactly what was signed goes out, once, and at most a megabyte comes back."""

import asyncio
import select
import ssl
import time
import zlib
from collections.abc import Iterable
from functools import lru_cache, partial
from importlib.metadata import version
from typing import Any, Protocol, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage
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
UNHEARD_SECONDS = 1.0
"""Seconds since its last use after which a connection is asked whether the server hung up unheard. Servers keep
connections open for longer; to ask each time would cost a system call for each poll."""
DNS_SECONDS = 10
"""Seconds for which a name's addresses are remembered."""
_HUNG_UP = getattr(select, "POLLRDHUP", 0)
_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_NOT_BROUGHT = (aiohttp.ClientError, HttpProcessingError, OSError, TimeoutError, ValueError, EOFError)
_USUAL_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": f"poller/{version('poller')}",
}


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


class HttpTransport:
    """A pool of sockets. Implements `Transport`; ``timeout`` is for the whole of one exchange, in seconds.

    ``connect_timeout`` is for getting a connection; left out, ``timeout`` holds. Without a ``proxy`` none is used,
    whatever the environment says.

    aiohttp makes the connections, keeps them and reads what comes; its client on top of that is not used. That would
    send a request a second time when a connection breaks, write the URL and the headers anew, and take as long for it
    as all the rest of a poll.
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
        self._pool: _Pool | None = None
        self._context: ClientContext | None = None
        longest = min(self._connect_timeout, timeout)
        self._limits = aiohttp.ClientTimeout(connect=longest, ceil_threshold=float("inf"))
        self._way: tuple[str, ssl.SSLContext | bool, aiohttp.ClientRequest] | None = None

    async def exchange(self, request: Request) -> Reply:
        """The reply to ``request``, sent once, its body decoded. NotBroughtError when there is none."""
        try:
            proxy = self._proxy()
        except ValueError as error:
            raise NotBroughtError(f"proxy: {error}") from error
        connection: Connection | None = None
        protocol: ResponseHandler | None = None
        pool = self._pool or self._open_pool()
        try:
            latest = pool.now() + self._timeout
            connection = await pool.connect(self._way_to(request.origin, proxy), [], self._limits)
            protocol = connection.protocol
            pool.patience.begin(protocol, latest)
            return await self._ask(connection, request, proxy)
        except _NOT_BROUGHT as error:
            cause = error
            if connection is None and isinstance(error, TimeoutError):
                cause = aiohttp.ConnectionTimeoutError()
            raise NotBroughtError(self._complaint(cause, self._route(request, proxy))) from error
        finally:
            pool.patience.end(protocol)
            if connection is not None:
                connection.close()  # Unless it was released.

    async def close(self) -> None:
        """Closes the sockets."""
        if self._pool is not None:
            await self._pool.close()

    def _open_pool(self) -> "_Pool":
        self._pool = _Pool(limit=self._max_in_flight, keepalive_timeout=IDLE_SECONDS, ttl_dns_cache=DNS_SECONDS)
        return self._pool

    def _way_to(self, origin: str, proxy: Proxy | None) -> aiohttp.ClientRequest:
        """Where a connection is to lead, and how, in aiohttp's terms."""
        encrypting = self._ssl(origin)
        if self._way is not None and self._way[:2] == (origin, encrypting) and proxy is None:
            return self._way[2]
        url = URL(origin, encoded=True)
        way = aiohttp.ClientRequest(
            "GET",
            url,
            loop=asyncio.get_running_loop(),
            ssl=encrypting,
            server_hostname=self._tls.server_name,
            proxy=None if proxy is None else proxy.url,
            proxy_headers=proxy.headers if proxy is not None and url.scheme == "https" else None,
        )
        # With a proxy, aiohttp writes down there what it told it.
        if proxy is None:
            self._way = (origin, encrypting, way)
        return way

    async def _ask(self, connection: Connection, request: Request, proxy: Proxy | None) -> Reply:
        protocol, transport = connection.protocol, connection.transport
        if protocol is None or transport is None or transport.is_closing():
            raise aiohttp.ServerDisconnectedError
        protocol.set_response_params(read_until_eof=True, auto_decompress=False)
        transport.write(_message(request, proxy))
        message, payload = await protocol.read()
        while 100 <= message.code < 200 and message.code != 101:
            # More is to come (RFC 9110, section 15.2), but from who changes to another protocol.
            message, payload = await protocol.read()
        if message.code == 407 and proxy is not None:
            raise NotBroughtError(proxy_login_refused(self._route(request, proxy)))
        body = await _read(payload)
        if body is None:
            return Reply(message.code, message.headers, None)
        connection.release()
        body = _decoded(body, message.headers.get("Content-Encoding", "identity").strip().lower())
        if body is not None and proxy is not None:
            body = proxy.hide_login(body)
        return Reply(message.code, message.headers, body)

    def _route(self, request: Request, proxy: Proxy | None) -> Route:
        return Route(URL(request.url, encoded=True), self._timeout, self._connect_timeout, self._tls, proxy)

    def _ssl(self, origin: str) -> ssl.SSLContext | bool:
        """What encrypts the connection. Connections are reused for as long as it is the same."""
        if self._tls_as_usual or not origin.startswith("https:"):
            return True
        if self._context is None:
            self._context = ClientContext(self._tls, asyncio.get_running_loop().time)
        try:
            return self._context.current()
        except UnusableError as error:
            raise NotBroughtError(self._context.problem) from error

    def _complaint(self, error: Exception, route: Route) -> str:
        """What went wrong; and why files could not be used, so that those from before stay in force: it may be that."""
        problem = "" if self._context is None else self._context.problem
        return complaint(error, route) + (f"; {problem}" if problem else "")


def _message(request: Request, proxy: Proxy | None) -> bytes:
    """The request as it goes over the wire (RFC 9112, sections 3 to 6), as it was signed."""
    plain_proxy = proxy is not None and request.origin.startswith("http:")
    lines = [f"{request.method} {request.url if plain_proxy else request.target} HTTP/1.1\r\nHost: {request.host}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in request.headers.items()]
    lines.append(_usual_headers(tuple(request.headers)))
    if request.body or request.method != "GET":
        lines.append(_length(request.headers, len(request.body)))
    if proxy is not None and plain_proxy:
        lines += [f"{name}: {value}\r\n" for name, value in proxy.headers.items()]
    lines.append("\r\n")
    return "".join(lines).encode() + request.body


def _length(given: Iterable[str], length: int) -> str:
    """The line that tells the length of the body, unless it is among the headers ``given``."""
    return "" if "content-length" in map(str.lower, given) else f"Content-Length: {length}\r\n"


@lru_cache(maxsize=256)
def _usual_headers(given: tuple[str, ...]) -> str:
    """Lines of headers that every request has, unless they are among those ``given``."""
    names = {name.lower() for name in given}
    return "".join(f"{name}: {value}\r\n" for name, value in _USUAL_HEADERS.items() if name.lower() not in names)


class _Pool(aiohttp.TCPConnector):
    """Connections, of which none is used again after the server hung up, though the event loop may not know it yet.

    So it is when the process, or the whole machine, stood still for a while.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # aiohttp has no public way to bound what its parser is fed.
        self._factory = cast("partial[ResponseHandler]", partial(_Bounded, loop=self._loop))
        self.patience = _Patience(self._loop)

    def now(self) -> float:
        """The event loop's time, seconds."""
        return self._loop.time()

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own
    ) -> Connection:
        """A connection for ``req``."""
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
        return connection


def _boot_time() -> float:
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class _Bounded(ResponseHandler):
    """Gives up a connection on which more comes than an answer can be: HTTP sets no end to what is not the body.

    Whatever ends an exchange reaches who waits for it, at the first line or in the middle of the body. aiohttp itself
    tells only who waits for the first line of what is no HTTP any more; its client has a clock of its own for the rest.
    """

    used_at: float | None = None
    """When it was last taken into use, on the clock that goes on while the machine sleeps."""
    _received = 0
    _body: aiohttp.StreamReader | None = None

    def set_response_params(self, **params: Any) -> None:
        """Another answer begins."""
        self._received, self._body = 0, None
        super().set_response_params(**params)

    def feed_data(self, data: tuple[RawResponseMessage, aiohttp.StreamReader], size: int = 0) -> None:
        """The head of an answer is there; its body may yet come."""
        self._body = data[1]
        super().feed_data(data, size)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """Nothing more comes: whoever waits for the answer gets ``exc``, unless it is there or said why it is not."""
        super().set_exception(exc, *cause)
        body = self._body
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(exc, *cause)

    def data_received(self, data: bytes) -> None:
        """Passes on what came, up to MOST_RECEIVED."""
        self._received += len(data)
        if self._received <= MOST_RECEIVED:
            super().data_received(data)
        else:
            self.give_up(EndlessError())

    def give_up(self, error: Exception) -> None:
        """Ends the exchange."""
        self.set_exception(error)
        if self.transport is not None:
            self.transport.abort()


class _Patience:
    """Gives up exchanges that take too long. One timer does for all of them: they cost more than they look."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._latest: dict[_Bounded, float] = {}
        self._look_at = float("inf")
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, protocol: ResponseHandler | None, latest: float) -> None:
        """Gives up the exchange over ``protocol`` at ``latest``, on the loop's clock, unless it ends before."""
        if isinstance(protocol, _Bounded):
            self._latest[protocol] = latest
            if latest < self._look_at:
                self._set_timer(latest)

    def end(self, protocol: ResponseHandler | None) -> None:
        """It has ended, if it ever began."""
        if isinstance(protocol, _Bounded):
            self._latest.pop(protocol, None)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._look_at, self._timer = at, self._loop.call_at(at, self._look)

    def _look(self) -> None:
        # uvloop knows whole milliseconds, and may be so much early.
        now = self._loop.time() + 1e-3
        self._look_at = float("inf")
        for protocol in [protocol for protocol, latest in self._latest.items() if latest <= now]:
            del self._latest[protocol]
            protocol.give_up(TimeoutError())
        if self._latest:
            self._set_timer(min(self._latest.values()))


def _is_hung_up(transport: asyncio.Transport | None) -> bool:
    """Whether the other side has closed its end; on systems that cannot tell, no."""
    sock = transport.get_extra_info("socket") if transport else None
    if not _HUNG_UP or sock is None:
        return False
    ends = select.poll()
    ends.register(sock.fileno(), _HUNG_UP)
    return bool(ends.poll(0))


async def _read(payload: aiohttp.StreamReader) -> bytes | None:
    """The content as it came; None, and the rest is not read, when it is longer than LONGEST_BODY."""
    chunks, length = [], 0
    while not payload.at_eof():
        chunks.append(await payload.readany())
        length += len(chunks[-1])
        if length > LONGEST_BODY:
            return None
    return b"".join(chunks)


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
