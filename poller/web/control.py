"""Requests that change something: allowed to whoever has the bearer token of the config, and to nobody without one."""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from poller.config.watchlist import AddedEntry
from poller.domain.errors import ConfigError, PollerError, StartError, StoppingError, UnstartableError
from poller.protocols import Watchlist
from poller.web.api import TASKS, error_response, json_response
from poller.web.body import JSON, JSON_LINES, sent_tasks
from poller.web.endpoint import NAME_IN_PATH, TEXT, Answer, Endpoint
from poller.web.openapi import refusals
from poller.web.shapes import AddedJson, RearmedJson, RemovedJson, StartedJson

Reload = Callable[[], Awaitable[object]]
"""Reads the config again; PollerError, and everything as it was, when that cannot be done."""

StartJob = Callable[[str], Awaitable[StartedJson]]
"""Starts the job behind the task of that name; what was started. NoSuchTaskError, StartError or StoreError."""

_START, _REARM = "/start", "/rearm"
_ONE = f"{TASKS}/{NAME_IN_PATH}"


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

    def endpoints(self, prefix: str = "") -> list[Endpoint]:
        """The paths, without the ``prefix`` below which they are served."""
        self._tasks = f"{prefix}{TASKS}/"
        start = self.guarded(self.start)
        return [
            change_endpoint("/-/reload", self.reload, "reload", "Read the config again.", _RELOADED),
            change_endpoint(f"{_ONE}{_START}", start, "startTask", "Start the job behind a task, once.", _STARTED),
            *self._changes(),
        ]

    def _changes(self) -> list[Endpoint]:
        if self._watchlist is None:
            return []
        changes = _Changes(self._watchlist, self._tasks)
        add, remove, rearm = (self.guarded(each) for each in (changes.add, changes.remove, changes.rearm))
        return [
            replace(change_endpoint(TASKS, add, "addTasks", _ABOUT_ADDING, _ADDED), body=_BODY),
            replace(change_endpoint(_ONE, remove, "removeTask", _ABOUT_REMOVING, _REMOVED), method=hdrs.METH_DELETE),
            change_endpoint(f"{_ONE}{_REARM}", rearm, "rearmTask", "Watch a missing or expired task anew.", _REARMED),
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


_RELOADED = {200: Answer("It is in force.", media=TEXT), **refusals("/-/reload", 400, 503)}
_STARTED = {
    200: Answer("It was under way already.", StartedJson),
    202: Answer("It was started.", StartedJson),
    **refusals(_ONE, 404, 409, 502, 503),
}
_ADDED = {
    200: Answer("They were there already.", AddedJson),
    201: Answer("At least one is new.", AddedJson),
    **refusals(TASKS, 400, 409, 413, 415, 503),
}
_REMOVED = {200: Answer("It is watched no more.", RemovedJson), **refusals(_ONE, 404, 409, 503)}
_REARMED = {200: Answer("It is watched as never seen before.", RearmedJson), **refusals(_ONE, 404, 409, 503)}

_ABOUT_ADDING = """Watch a task, or many, one a line; all or none.
What is there already is changed to what is sent now."""

_ABOUT_REMOVING = """Watch a task no more that was added at runtime.
Tasks that stand in a file are taken away there."""

_BODY = {JSON: AddedEntry, JSON_LINES: str}


def change_endpoint(path: str, handler: Handler, name: str, about: str, answers: Mapping[int, Answer]) -> Endpoint:
    """An endpoint for whoever has the token."""
    denied = refusals(path, 403)
    return Endpoint(hdrs.METH_POST, path, handler, name, about, {**answers, **denied}, guarded=True)


class _Changes:
    """The endpoints that change the watchlist; paths of tasks begin with ``below``."""

    def __init__(self, watchlist: Watchlist, below: str) -> None:
        self._watchlist = watchlist
        self._below = below

    async def add(self, request: web.Request) -> web.Response:
        """Adds tasks: 201 when one is new, else 200; 400 with every mistake, and none was added."""
        added = await self._watchlist.add(await sent_tasks(request))
        body = AddedJson(added=added.added, changed=added.changed, unchanged=added.unchanged)
        return json_response(body, 201 if added.added else 200)

    async def remove(self, request: web.Request) -> web.Response:
        """Takes a task away: 200, also when it was away already. The whole path is its name."""
        name = _name(request, self._below)
        return json_response(RemovedJson(task=name, removed=await self._watchlist.remove(name)))

    async def rearm(self, request: web.Request) -> web.Response:
        """Watches a missing or expired task anew: 200; 409 when it is neither."""
        name = _name(request, self._below, _REARM)
        await self._watchlist.rearm(name)
        return json_response(RearmedJson(task=name))


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
