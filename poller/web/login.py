"""Basic auth (RFC 7617) against bcrypt hashes, as the Prometheus exporter-toolkit does it.

Looking at a password takes a fraction of a second, on purpose, and happens in a thread. What was right is remembered by
a digest that is worthless outside this process, so that a scrape costs nothing.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping

import anyio
import bcrypt
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

MOST_REMEMBERED = 100
"""Logins."""

MOST_AT_ONCE = 2
"""Passwords looked at at the same time: who guesses them must not take all processors away from polling."""

_LONGEST_PASSWORD = 72
_CHALLENGE = {hdrs.WWW_AUTHENTICATE: 'Basic realm="poller", charset="UTF-8"'}

Users = Callable[[], Mapping[str, str]]
"""Gives the bcrypt hashes of passwords by users' names, as they are now; none when no login is needed."""


class Login:
    """Tells who may come in. ``users`` is asked with every request, ``token`` gives a bearer token that is as good."""

    def __init__(self, users: Users, token: Callable[[], str | None] = lambda: None) -> None:
        self._users = users
        self._token = token
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._limiter: anyio.CapacityLimiter | None = None

    def middleware(self, open_paths: frozenset[str]) -> Middleware:
        """Asks for a login on every route but those of ``open_paths``. HTTPUnauthorized without one, or a wrong one."""

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            resource = request.match_info.route.resource
            is_open = resource is not None and resource.canonical in open_paths
            if is_open or await self._may_enter(request):
                return await handler(request)
            raise web.HTTPUnauthorized(text="a user and password are needed\n", headers=_CHALLENGE)

        return middleware

    def _may_enter(self, request: web.Request) -> Awaitable[bool]:
        return self.allows(request.headers.get(hdrs.AUTHORIZATION, ""))

    async def allows(self, authorization: str) -> bool:
        """Whether a request with this header may be answered."""
        users = self._users()
        if not users:
            return True
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return self._is_token(given.strip())
        named = _credentials(given) if scheme.lower() == "basic" else None
        return named is not None and await self._is_right(users, *named)

    def _is_token(self, given: str) -> bool:
        token = self._token()
        return token is not None and hmac.compare_digest(given.encode(errors="replace"), token.encode())

    async def _is_right(self, users: Mapping[str, str], user: str, password: bytes) -> bool:
        known = users.get(user)
        hashed = known or _dummy(users)
        digest = self._digest(user, hashed, password)
        if digest in self._right:
            self._right.move_to_end(digest)
            return True
        # An unknown user costs as much as a wrong password: the time it takes must not tell who there is.
        right = await self._check(password, hashed) and known is not None
        if right:
            self._remember(digest)
        return right

    async def _check(self, password: bytes, hashed: str) -> bool:
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(MOST_AT_ONCE)
        return await anyio.to_thread.run_sync(
            # Of more than 72 bytes, bcrypt heeds the first 72; other implementations drop the rest silently.
            lambda: bcrypt.checkpw(password[:_LONGEST_PASSWORD], hashed.encode()),
            limiter=self._limiter,
            abandon_on_cancel=True,
        )

    def _digest(self, user: str, hashed: str, password: bytes) -> bytes:
        """What a login is remembered by; another hash of the same user makes it another one."""
        digest = hashlib.blake2b(key=self._key)
        for part in (user.encode(errors="replace"), hashed.encode(), password):
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.digest()

    def _remember(self, digest: bytes) -> None:
        self._right[digest] = None
        if len(self._right) > MOST_REMEMBERED:
            self._right.popitem(last=False)


def _credentials(given: str) -> tuple[str, bytes] | None:
    """User and password in a header; None when they cannot be read."""
    try:
        decoded = base64.b64decode(given.strip(), validate=True)
        user, colon, password = decoded.partition(b":")
        return (user.decode(), password) if colon else None
    except (binascii.Error, ValueError):
        return None


def _dummy(users: Mapping[str, str]) -> str:
    """A hash that no password has in practice, as costly to check as the costliest of ``users``."""
    cost = max(hashed.split("$")[2] for hashed in users.values())
    return f"$2b${cost}${'.' * 53}"
