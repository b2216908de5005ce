"""The web server: its paths, its errors, its headers, and the socket it listens on.

No answer depends on the Host header: every link of the status page is relative.
"""

import asyncio
import errno
import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from structlog.typing import FilteringBoundLogger

from poller.domain.errors import PollerError, StoreError
from poller.protocols import Clock, Store, Watching
from poller.web.api import Api, NoSuchTaskError, json_response
from poller.web.control import Control
from poller.web.page import StatusPage
from poller.web.selection import BadQueryError

RenderMetrics = Callable[[str], tuple[str, Iterator[bytes]]]
"""Makes of an Accept header the content type and the page of metrics, in pieces, of which some may be empty."""

SHUTDOWN_SECONDS = 0.25
"""How long answers under way may still take when the server closes; aiohttp waits for it twice."""

_STARTED = web.RequestKey("started", bool)


def build_app(
    watching: Watching,
    store: Store,
    render_metrics: RenderMetrics,
    control: Control,
    clock: Clock,
    logger: FilteringBoundLogger,
) -> web.Application:
    """Everything that is answered over HTTP; ``logger`` hears of requests that failed for no fault of theirs."""
    page = StatusPage(watching, clock)
    app = web.Application(middlewares=[_errors(logger)])
    app.on_response_prepare.append(_headers(page.style_hash))
    app.add_routes(
        [
            web.get("/", page.show),
            web.get("/metrics", _metrics(render_metrics)),
            web.get("/-/healthy", _healthy(watching)),
            web.get("/-/ready", _ready(watching)),
            *control.routes(),
            *Api(watching, store).routes(),
        ]
    )
    return app


@asynccontextmanager
async def serve(app: web.Application, host: str, port: int) -> AsyncIterator[tuple[str, int]]:
    """Listens while the context lasts and gives the address; port 0 finds a free one. Closes within a second.

    Raises PollerError when the address cannot be listened on.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await _listen(runner, host, port)
        yield runner.addresses[0][:2]
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            advice = "something else listens there; stop it, or set web.listen to another port"
        else:
            advice = (
                f"{error.strerror or error}; set web.listen to an address of this host and a port allowed to this user"
            )
        raise PollerError(f"web.listen: cannot listen on {host}:{port}: {advice}") from error


def _metrics(render: RenderMetrics) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        content_type, pieces = render(",".join(request.headers.getall(hdrs.ACCEPT, ())))
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: content_type, hdrs.VARY: "Accept, Accept-Encoding"})
        if _takes_gzip(request):
            response.headers[hdrs.CONTENT_ENCODING] = "gzip"
            pieces = _zipped(pieces)
        await response.prepare(request)
        await _write(response, pieces if request.method != hdrs.METH_HEAD else ())
        return response

    return handler


async def _write(response: web.StreamResponse, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        # Writing no bytes would end a chunked answer.
        if piece:
            await response.write(piece)
        await asyncio.sleep(0)
    await response.write_eof()


def _takes_gzip(request: web.Request) -> bool:
    accepted = ",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, ())).lower()
    return bool(re.search(r"(?:^|,)\s*gzip\s*(?:;\s*q=(?:1|0\.\d*[1-9])[\d.]*\s*)?(?:,|$)", accepted))


def _zipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Compressed as little as zlib can: series differ so little that it is enough, and it is quick."""
    packer = zlib.compressobj(level=1, wbits=16 + zlib.MAX_WBITS)
    yield from map(packer.compress, pieces)
    yield packer.flush()


def _healthy(watching: Watching) -> Handler:
    async def handler(_request: web.Request) -> web.StreamResponse:
        stalled = watching.stalled()
        return web.Response(text="\n".join(stalled) or "ok", status=503 if stalled else 200)

    return handler


def _ready(watching: Watching) -> Handler:
    async def handler(_request: web.Request) -> web.StreamResponse:
        if watching.ready:
            return web.Response(text="ready")
        return web.Response(text="not ready: the watchlist is not loaded yet, or the store not open", status=503)

    return handler


def _headers(style_hash: str) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    policy = (
        f"default-src 'none'; style-src '{style_hash}'; img-src data:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    fixed = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": policy,
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "Server": "poller",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }

    async def add(request: web.Request, response: web.StreamResponse) -> None:
        request[_STARTED] = True
        response.headers.update(fixed)

    return add


def _errors(logger: FilteringBoundLogger) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except (web.HTTPException, BadQueryError, NoSuchTaskError, StoreError) as error:
            return _refusal(request, error)
        except ConnectionError:
            return _cut_off(request)  # The client has gone, which is its right.
        except Exception as error:
            logger.exception("http.failed", method=request.method, path=request.path)
            return _cut_off(request) if request.get(_STARTED) else _refusal(request, error)

    return middleware


def _cut_off(request: web.Request) -> web.Response:
    """Breaks the connection: nothing else tells a client that the rest of a page is missing."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _refusal(request: web.Request, error: Exception) -> web.Response:
    """What is answered instead: JSON under /api, plain text elsewhere."""
    status, message, details = _explained(request, error)
    response = web.Response(status=status, text=f"{message}\n")
    if request.path.startswith("/api/"):
        code = HTTPStatus(status).phrase.lower().replace(" ", "_")
        response = json_response({"error": {"code": code, "message": message, "details": details}}, status)
    if isinstance(error, web.HTTPMethodNotAllowed):
        response.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
    return response


def _explained(request: web.Request, error: Exception) -> tuple[int, str, dict[str, str]]:
    match error:
        case BadQueryError():
            return 400, str(error), {"parameter": error.parameter}
        case NoSuchTaskError():
            return 404, str(error), {"task": error.name}
        case StoreError():
            return 503, str(error), {}
        case web.HTTPMethodNotAllowed():
            return 405, f"{request.method} is not allowed here, {error.headers[hdrs.ALLOW]} is", {}
        case web.HTTPNotFound():
            return 404, "there is nothing at this path", {}
        case web.HTTPException():
            return error.status, error.reason, {}
        case _:
            return 500, "this is a fault of poller; its log says more", {}
