"""Requests that change something: allowed to whoever has the bearer token of the config, and to nobody without one."""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import unquote

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from poller.domain.errors import ConfigError, PollerError, StartError, StoppingError, UnstartableError
from poller.protocols import Watchlist
from poller.web.api import TASKS, error_response, json_response
from poller.web.body import sent_tasks

Reload = Callable[[], Awaitable[object]]
"""Reads the config again; PollerError, and everything as it was, when that cannot be done."""

StartJob = Callable[[str], Awaitable[Mapping[str, Any]]]
"""Starts the job behind the task of that name; what was started. NoSuchTaskError, StartError or StoreError."""

_START, _REARM = "/start", "/rearm"


class Control:
    """The endpoints that change something. ``token`` gives the bearer token as it is now, None for none.

    Without a ``watchlist`` there are no endpoints that change it.
    """

    def __init__(
        self,
        reload: Reload,
        token: Callable[[], str | None],
        start: StartJob,
        watchlist: Watchlist | None = None,
    ) -> None:
        self._reload = reload
        self._token = token
        self._start = start
        self._watchlist = watchlist
        self._tasks = f"{TASKS}/"

    def routes(self, prefix: str = "") -> list[web.RouteDef]:
        """The paths, without the ``prefix`` below which they are served."""
        self._tasks = f"{prefix}{TASKS}/"
        return [
            web.post("/-/reload", self.reload),
            web.post(f"{TASKS}/{{name:.+}}{_START}", self.guarded(self.start)),
            *self._changes(),
        ]

    def _changes(self) -> list[web.RouteDef]:
        if self._watchlist is None:
            return []
        changes = _Changes(self._watchlist, self._tasks)
        return [
            web.post(TASKS, self.guarded(changes.add)),
            web.delete(f"{TASKS}/{{name:.+}}", self.guarded(changes.remove)),
            web.post(f"{TASKS}/{{name:.+}}{_REARM}", self.guarded(changes.rearm)),
        ]

    def guarded(self, change: Handler) -> Handler:
        """Answers only whoever has the token; the body of others is not even read."""

        async def handler(request: web.Request) -> web.StreamResponse:
            denial = self._denial(request)
            return await change(request) if denial is None else _challenged(error_response(*denial, {}))

        return handler

    async def reload(self, request: web.Request) -> web.Response:
        """Reloads: 200, or 400 with every mistake and the old config still running."""
        denial = self._denial(request)
        if denial is not None:
            status, text = denial
            return _challenged(web.Response(status=status, text=f"{text}\n"))
        try:
            await self._reload()
        except ConfigError as error:
            return web.Response(status=400, text=f"{error}\n")
        except PollerError as error:
            return web.Response(status=503, text=f"{error}\n")
        return web.Response(text="reloaded\n")

    async def start(self, request: web.Request) -> web.Response:
        """Starts the job behind a task: 202, or 200 when it is under way already; 409 when it has nothing to start."""
        name = _name(request, self._tasks, _START)
        try:
            told = await self._start(name)
        except StartError as error:
            return error_response(_status(error), str(error), {"task": name, **_provider_said(error)})
        return json_response(told, 200 if told["already_running"] else 202)

    def _denial(self, request: web.Request) -> tuple[int, str] | None:
        """Why a request may change nothing: 403 without a token in the config, 401 without its token."""
        token = self._token()
        if token is None:
            return 403, "web.api_token is not set: requests that change something are refused"
        scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode()):
            return None
        return 401, "the bearer token of web.api_token is needed"


class _Changes:
    """The endpoints that change the watchlist; paths of tasks begin with ``below``."""

    def __init__(self, watchlist: Watchlist, below: str) -> None:
        self._watchlist = watchlist
        self._below = below

    async def add(self, request: web.Request) -> web.Response:
        """Adds tasks: 201 when one is new, else 200; 400 with every mistake, and none was added."""
        added = await self._watchlist.add(await sent_tasks(request))
        return json_response(asdict(added), 201 if added.added else 200)

    async def remove(self, request: web.Request) -> web.Response:
        """Takes a task away: 200, also when it was away already. The whole path is its name."""
        name = _name(request, self._below)
        return json_response({"task": name, "removed": await self._watchlist.remove(name)})

    async def rearm(self, request: web.Request) -> web.Response:
        """Watches a missing or expired task anew: 200; 409 when it is neither."""
        name = _name(request, self._below, _REARM)
        await self._watchlist.rearm(name)
        return json_response({"task": name})


def _name(request: web.Request, below: str, what: str = "") -> str:
    """The name of the task in a path that ends with ``what``; its slashes may be percent-encoded."""
    return unquote(request.rel_url.raw_path.removeprefix(below).removesuffix(what))


def _challenged(response: web.Response) -> web.Response:
    if response.status == 401:
        response.headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="poller"'
    return response


def _status(error: StartError) -> int:
    match error:
        case UnstartableError():
            return 409
        case StoppingError():
            return 503
    return 502


def _provider_said(error: StartError) -> dict[str, Any]:
    seen = error.seen
    if seen is None:
        return {}
    return {
        "outcome": seen.outcome,
        "code": seen.code,
        "http_status": seen.http_status,
        "request_id": seen.request_id,
    }
