"""Requests that change something: allowed to whoever has the bearer token of the config, and to nobody without one."""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import unquote

from aiohttp import hdrs, web

from poller.domain.errors import ConfigError, PollerError, StartError, StoppingError, UnstartableError
from poller.web.api import TASKS, error_response, json_response

Reload = Callable[[], Awaitable[object]]
"""Reads the config again; PollerError, and everything as it was, when that cannot be done."""

StartJob = Callable[[str], Awaitable[Mapping[str, Any]]]
"""Starts the job behind the task of that name; what was started. NoSuchTaskError, StartError or StoreError."""

_START = "/start"


class Control:
    """The endpoints that change something. ``token`` gives the bearer token as it is now, None for none."""

    def __init__(self, reload: Reload, token: Callable[[], str | None], start: StartJob) -> None:
        self._reload = reload
        self._token = token
        self._start = start
        self._tasks = f"{TASKS}/"

    def routes(self, prefix: str = "") -> list[web.RouteDef]:
        """The paths, without the ``prefix`` below which they are served."""
        self._tasks = f"{prefix}{TASKS}/"
        return [
            web.post("/-/reload", self.reload),
            web.post(f"{TASKS}/{{name:.+}}{_START}", self.start),
        ]

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
        denial = self._denial(request)
        if denial is not None:
            return _challenged(error_response(*denial, {}))
        name = unquote(request.rel_url.raw_path.removeprefix(self._tasks).removesuffix(_START))
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
