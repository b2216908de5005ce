"""The web server: its paths, its errors and its headers.

No answer depends on the Host header: every link of the status page is relative.
"""

import asyncio
import functools
import re
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from importlib import metadata
from typing import Any

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from structlog.typing import FilteringBoundLogger

from poller.domain.errors import ConfigError, NoSuchSinkError, NoSuchTaskError, Problem, StoreError, WatchlistError
from poller.protocols import Watching
from poller.web.api import error_response, tagged
from poller.web.body import LARGEST_BODY, BadBodyError
from poller.web.endpoint import TEXT, Answer, Endpoint
from poller.web.login import Login
from poller.web.openapi import document, refusals
from poller.web.page import StatusPage
from poller.web.selection import BadQueryError

RenderMetrics = Callable[[str], tuple[str, Iterator[bytes]]]
"""Makes of an Accept header the content type and the page of metrics, in pieces, of which some may be empty."""

_STARTED = web.RequestKey("started", bool)


def build_app(
    watching: Watching,
    page: StatusPage,
    api: Sequence[Endpoint],
    render_metrics: RenderMetrics,
    logger: FilteringBoundLogger,
    login: Login | None = None,
    prefix: str = "/",
) -> web.Application:
    """Everything that is answered over HTTP: ``api``, and what is for people, for Prometheus and for supervisors.

    All of it is below the path ``prefix``. Health is told at its plain path as well, and needs no ``login``. ``logger``
    hears of requests that failed for no fault of theirs.
    """
    below = prefix.rstrip("/")
    health = frozenset(base + path for base in ("", below) for path in _HEALTH)
    asked = [] if login is None else [login.middleware(health)]
    app = web.Application(middlewares=[_errors(logger, f"{below}/api/", page), *asked], client_max_size=LARGEST_BODY)
    app.on_response_prepare.append(_headers(page.style_hash))
    app.on_shutdown.append(page.close)
    endpoints = [
        Endpoint(hdrs.METH_GET, "/", page.show_tasks, "showStatus", "The status page, for people.", _PAGE),
        Endpoint(hdrs.METH_GET, "/metrics", _metrics(render_metrics), "getMetrics", _ABOUT_METRICS, _METRICS),
        *(_told_health(path, answer(watching)) for path, answer in _HEALTH.items()),
        *api,
    ]
    endpoints.append(_description(endpoints, below or "/"))
    app.add_routes([endpoint.route(below) for endpoint in endpoints])
    app.add_routes([web.get(below + each.path, each.handler) for each in page.routes()])
    if below:
        # Health is told at its plain path as well.
        app.add_routes([web.get(path, answer(watching)) for path, answer in _HEALTH.items()])
        app.add_routes([web.get(below, _with_slash)])
    return app


async def _with_slash(request: web.Request) -> web.StreamResponse:
    """Sends a browser to the page, whose relative links need the slash; relative itself, for behind a proxy."""
    query = request.rel_url.raw_query_string
    location = f"{request.path.rpartition('/')[2]}/{'?' if query else ''}{query}"
    return web.Response(status=302, headers={hdrs.LOCATION: location})


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
        return web.Response(
            text="not ready: the watchlist is not loaded yet, or the store in trouble; the log says more", status=503
        )

    return handler


_HEALTH = {"/-/healthy": _healthy, "/-/ready": _ready}
_ABOUT_HEALTH = {"/-/healthy": "Whether polling makes progress.", "/-/ready": "Whether the watchlist is loaded."}

_PAGE = {200: Answer("It.", media="text/html"), **refusals("/", 400, 503)}
_ABOUT_METRICS = """Metrics for Prometheus.
By content negotiation in its text format, or in OpenMetrics."""
_OPENMETRICS = "application/openmetrics-text"
_METRICS = {200: Answer("All of them.", media=(TEXT, _OPENMETRICS))}


def _told_health(path: str, handler: Handler) -> Endpoint:
    name = path.rpartition("/")[2]
    answers = {status: Answer(text, media=TEXT) for status, text in ((200, "Yes."), (503, "No; the text tells why."))}
    about = _ABOUT_HEALTH[path]
    return Endpoint(hdrs.METH_GET, path, handler, f"is{name.title()}", about, answers, is_open=True)


def _description(endpoints: Sequence[Endpoint], server: str) -> Endpoint:
    """The endpoint that describes ``endpoints``, and itself."""

    async def handler(request: web.Request) -> web.Response:
        return tagged(request, described())

    answers = {200: Answer("It.", dict[str, Any]), 304: Answer("It is what it was.")}
    about = "This document: everything that is served."
    described_by = Endpoint(hdrs.METH_GET, "/api/v1/openapi.json", handler, "getDescription", about, answers)

    @functools.cache
    def described() -> dict[str, Any]:
        return document([*endpoints, described_by], metadata.version("poller"), server)

    return described_by


def _headers(style_hash: str) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    policy = (
        f"default-src 'none'; style-src '{style_hash}'; script-src 'self'; connect-src 'self'; img-src data:; "
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


_EXPLAINED = (
    *(web.HTTPException, BadQueryError, BadBodyError),
    *(ConfigError, NoSuchTaskError, NoSuchSinkError, WatchlistError, StoreError),
)


def _errors(logger: FilteringBoundLogger, api: str, page: StatusPage) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPMethodNotAllowed:
            refused = web.HTTPMethodNotAllowed(request.method, await _allowed(request))
            return await _refusal(request, refused, api, page)
        except _EXPLAINED as error:
            return await _refusal(request, error, api, page)
        except ConnectionError:
            return _cut_off(request)  # The client has gone, which is its right.
        except Exception as error:
            logger.exception("http.failed", method=request.method, path=request.path)
            return _cut_off(request) if request.get(_STARTED) else await _refusal(request, error, api, page)

    return middleware


async def _allowed(request: web.Request) -> set[str]:
    """The methods of the endpoint that a path means first of all, though all of it may be a task's name as well."""
    allowed: dict[str, set[str]] = {}
    for resource in request.app.router.resources():
        _, methods = await resource.resolve(request)
        if methods:
            allowed.setdefault(resource.canonical, set()).update(methods)
    return allowed[max(allowed, key=len)]


def _cut_off(request: web.Request) -> web.Response:
    """Breaks the connection: nothing else tells a client that the rest of a page is missing."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _refusal(request: web.Request, error: Exception, api: str, page: StatusPage) -> web.Response:
    """What is answered instead: JSON for a path that starts with ``api``, elsewhere a page for a browser, or text."""
    status, message, details = _explained(request, error)
    response = web.Response(status=status, text=f"{message}\n")
    if request.path.startswith(api):
        response = error_response(status, message, details)
    elif "text/html" in request.headers.get(hdrs.ACCEPT, ""):
        response = await page.error(request, status, message)
    for header in (hdrs.ALLOW, hdrs.WWW_AUTHENTICATE):
        if isinstance(error, web.HTTPException) and header in error.headers:
            response.headers[header] = error.headers[header]
    return response


def _explained(request: web.Request, error: Exception) -> tuple[int, str, dict[str, Any]]:
    match error:
        case web.HTTPException():
            return _explained_by_http(request, error)
        case BadQueryError():
            return 400, str(error), {"parameter": error.parameter}
        case NoSuchTaskError() | NoSuchSinkError():
            return 404, str(error), {"task" if isinstance(error, NoSuchTaskError) else "sink": error.name}
        case BadBodyError():
            return error.status, str(error), {}
        case ConfigError():
            return 400, _first(error.problems), {"mistakes": [_mistake(problem) for problem in error.problems]}
        case WatchlistError():
            return 409, str(error), {"tasks": list(error.tasks)}
        case StoreError():
            return 503, str(error), {}
        case _:
            return 500, "this is a fault of poller; its log says more", {}


def _explained_by_http(request: web.Request, error: web.HTTPException) -> tuple[int, str, dict[str, Any]]:
    match error:
        case web.HTTPMethodNotAllowed():
            return 405, f"{request.method} is not allowed here, {error.headers[hdrs.ALLOW]} is", {}
        case web.HTTPNotFound():
            return 404, "there is nothing at this path", {}
        case _:
            return error.status, error.reason, {}


def _first(problems: Sequence[Problem]) -> str:
    """The first mistake, and how many more there are."""
    more = f" (and {len(problems) - 1:,} more mistakes)" if len(problems) > 1 else ""
    return f"{problems[0]}{more}"


def _mistake(problem: Problem) -> dict[str, Any]:
    return {"line": problem.line or None, "key": problem.key, "message": problem.text}
