"""Requests that change something: allowed to whoever has the bearer token of the config, and to nobody without one."""

import hmac
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from poller.domain.errors import ConfigError, PollerError

Reload = Callable[[], Awaitable[object]]
"""Reads the config again; PollerError, and everything as it was, when that cannot be done."""


class Control:
    """The endpoints that change something. ``token`` gives the bearer token as it is now, None for none."""

    def __init__(self, reload: Reload, token: Callable[[], str | None]) -> None:
        self._reload = reload
        self._token = token

    def routes(self) -> list[web.RouteDef]:
        """The paths."""
        return [web.post("/-/reload", self.reload)]

    async def reload(self, request: web.Request) -> web.Response:
        """Reloads: 200, or 400 with every mistake and the old config still running."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        try:
            await self._reload()
        except ConfigError as error:
            return web.Response(status=400, text=f"{error}\n")
        except PollerError as error:
            return web.Response(status=503, text=f"{error}\n")
        return web.Response(text="reloaded\n")

    def _refusal(self, request: web.Request) -> web.Response | None:
        """The answer to a request that may change nothing: 403 without a token in the config, 401 without its token."""
        token = self._token()
        if token is None:
            text = "web.api_token is not set: requests that change something are refused\n"
            return web.Response(status=403, text=text)
        scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode()):
            return None
        challenge = {hdrs.WWW_AUTHENTICATE: 'Bearer realm="poller"'}
        return web.Response(status=401, text="the bearer token of web.api_token is needed\n", headers=challenge)
