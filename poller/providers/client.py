"""One attempt over HTTP: exactly what was signed goes out, and whatever comes back, or not, becomes an Observation.

There is no retry here: the schedule is the only one.
"""

import secrets
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

import aiohttp
import orjson
from yarl import URL

from poller.domain.observation import Observation, Outcome
from poller.domain.task import Entry
from poller.protocols import Clock
from poller.providers.classify import LONGEST_TEXT, Reply, classify, cut
from poller.providers.credentials.forms import Credentials
from poller.providers.request import Request, encode_segment
from poller.providers.signing import Signer
from poller.providers.spec import Operation, fill, template_params

LONGEST_BODY = 1_048_576
"""Bytes read of an answer; none of the documented ones comes near."""
_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_ECHOING = ("message", "raw_status", "code", "request_id", "run_id")
_SHORTEST_HIDDEN = 4
"""Characters from which on a secret is looked for; a shorter one would be found in every other word."""
_NOT_BROUGHT = (aiohttp.ClientError, OSError, TimeoutError, ValueError, EOFError)


class _LostError(aiohttp.ClientError):
    """The connection broke. aiohttp would send the same request, nonce and all, once more on an error of its own."""


class CredentialSource(Protocol):
    """Where a connection's credentials come from."""

    def current(self) -> Credentials:
        """The credentials to sign with now."""
        ...

    @property
    def version(self) -> int:
        """Changes when the credentials do."""
        ...


def build_request(operation: Operation, endpoint: URL, params: Mapping[str, str]) -> Request:
    """The request that asks for a task, unsigned. ``endpoint`` is ``https://host[:port][/prefix]``.

    ValueError for a parameter that cannot be sent, KeyError for one that is missing.
    """
    return Request(
        method=operation.method,
        origin=str(endpoint.origin()),
        path=endpoint.raw_path.rstrip("/") + fill(operation.path, params, encode_segment),
        query=tuple(_filled(operation.query, params).items()),
        headers=_filled(operation.headers, params),
    )


def _filled(templates: Mapping[str, str], params: Mapping[str, str]) -> dict[str, str]:
    """The lines whose parameters are given; the others are left out."""
    given = ((key, text) for key, text in templates.items() if params.keys() >= set(template_params(text)))
    return {key: fill(text, params) for key, text in given}


class HttpProvider:
    """A connection to one provider: its endpoint, credentials and pool of sockets.

    Implements `poller.protocols.Provider`.
    """

    def __init__(
        self,
        *,
        operations: Mapping[str, Operation],
        endpoint: URL,
        signer: Signer,
        credentials: CredentialSource,
        timeout: float,
        max_in_flight: int,
        clock: Clock,
        nonce: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._operations = operations
        self._endpoint = endpoint
        self._signer = signer
        self._credentials = credentials
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._max_in_flight = max_in_flight
        self._clock = clock
        self._nonce = nonce
        self._session: aiohttp.ClientSession | None = None

    @property
    def credentials_version(self) -> int:
        """A number that changes when the credentials do, as of their last use."""
        return self._credentials.version

    def renew_credentials(self) -> None:
        """Reads again the files that credentials come from."""
        self._credentials.current()

    async def poll(self, entry: Entry) -> Observation:
        """One attempt at asking for the status of ``entry``'s task.

        Never raises on account of the provider or the network.
        """
        operation = self._operations[entry.operation]
        credentials = self._credentials.current()
        try:
            request = self._signed(build_request(operation, self._endpoint, entry.params), credentials)
            reply = await self._exchange(request)
        except _NOT_BROUGHT as error:
            complaint = _complaint(error, self._timeout.total)
            seen = Observation(Outcome.UNREACHABLE, message=complaint, rule="no answer came")
        else:
            seen = classify(operation, reply, self._clock.now())
        return _redacted(seen, credentials)

    async def close(self) -> None:
        """Closes the sockets."""
        if self._session is not None:
            await self._session.close()

    def _signed(self, request: Request, credentials: Credentials) -> Request:
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        return request.with_headers(self._signer(request, credentials, now, self._nonce()))

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


def _complaint(error: BaseException, timeout: float | None) -> str | None:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} s"
    text = str(error) if isinstance(error, _LostError) else _named(error)
    return cut(" ".join(text.split()), LONGEST_TEXT)


def _named(error: BaseException) -> str:
    # aiohttp makes an HTTP 400 of what is no HTTP at all; nobody has said that.
    text = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _redacted(seen: Observation, credentials: Credentials) -> Observation:
    """``seen`` without any secret that the provider echoed."""
    hidden = _hidden(credentials.secrets) if credentials else []
    texts = {name: getattr(seen, name) for name in _ECHOING}
    clean: dict[str, Any] = {name: _without(text, hidden) for name, text in texts.items() if text}
    if seen.subtasks is not None:
        failed = tuple(_without(name, hidden) for name in seen.subtasks.failed)
        clean["subtasks"] = replace(seen.subtasks, failed=failed)
    return seen if all(getattr(seen, name) == value for name, value in clean.items()) else replace(seen, **clean)


def _hidden(secrets_: Iterable[str]) -> list[str]:
    """What must not be seen, as it is and as JSON writes it; the longest first, for one secret may hold another."""
    long = [secret for secret in secrets_ if len(secret) >= _SHORTEST_HIDDEN]
    return sorted({*long, *(orjson.dumps(secret).decode()[1:-1] for secret in long)}, key=len, reverse=True)


def _without(text: str, hidden: Iterable[str]) -> str:
    for secret in hidden:
        *shortened, rest = text.replace(secret, "***").split("…")
        text = "…".join([*(_without_start(part, secret) for part in shortened), rest])
    return text


def _without_start(text: str, secret: str) -> str:
    """``text``, which was cut at its end, without the start of ``secret`` where it was cut in the middle of that."""
    lengths = range(min(len(secret), len(text)), _SHORTEST_HIDDEN - 1, -1)
    length = next((length for length in lengths if text.endswith(secret[:length])), 0)
    return f"{text[:-length]}***" if length else text
