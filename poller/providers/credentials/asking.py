"""Asking the servers that give credentials out: one request, and an answer in JSON or the reason why there is none.

Everything sent and received here is secret. What goes wrong is told by the server's name, the HTTP status and the
error code and message in the answer, without what was sent should the answer repeat it; nothing else is quoted.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson
from yarl import URL

from poller.providers.classify import cut
from poller.providers.credentials.fetching import NotFetchedError
from poller.providers.credentials.source import Secret
from poller.providers.redaction import without
from poller.providers.request import Reply, Request
from poller.providers.transport import NotBroughtError, Transport

METADATA_TIMEOUT = 3.0
"""Seconds for one answer of an instance's metadata server, which is near or not there at all."""
METADATA_TOKEN_TTL = "21600"  # noqa: S105
"""Seconds that a token of a metadata server is asked to be good for, as the official SDKs do."""
_LONGEST_QUOTE = 300
"""Characters."""
_CODES = ("Code", "code", "error_code", "errorCode")
_MESSAGES = ("Message", "message", "error_msg", "errorMsg", "title")

Made = TypeVar("Made")


def request_to(
    base: str,
    path: str,
    method: str = "GET",
    *,
    query: Iterable[tuple[str, str]] = (),
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Request:
    """A request to ``path`` below ``base``, which is ``http[s]://host[:port][/prefix]``."""

    def build() -> Request:
        url = URL(base, encoded=True)
        return Request(method, str(url.origin()), url.raw_path.rstrip("/") + path, tuple(query), headers or {}, body)

    return built(base, build)


async def ask(transport: Transport, request: Request, secrets: Iterable[str] = ()) -> Reply:
    """The reply, whatever it is. NotFetchedError when none came; it shows none of the ``secrets`` in the request."""
    try:
        return await transport.exchange(request)
    except NotBroughtError as error:
        raise NotFetchedError(f"{request.origin}: {without(str(error), secrets)}") from None


async def ask_json(
    transport: Transport, request: Request, secrets: Iterable[str] = (), status: int = 200
) -> tuple[Mapping[str, Any], Reply]:
    """The mapping that an answer with that HTTP status holds. NotFetchedError for any other answer."""
    reply = await ask(transport, request, secrets)
    data = _mapping(reply)
    if reply.status != status:
        text = without(f"{request.origin}: {', '.join(_told(reply.status, data))}", secrets)
        raise NotFetchedError(text, refused=reply.status in (401, 403))
    if data is None:
        raise NotFetchedError(f"{request.origin}: no JSON mapping in the answer (HTTP {reply.status})")
    return data, reply


async def metadata_token(transport: Transport, base: str, path: str, ttl_header: str) -> str:
    """The token that the metadata server at ``base`` wants beside requests. NotFetchedError where there is none."""
    request = request_to(base, path, "PUT", headers={ttl_header: METADATA_TOKEN_TTL})
    reply = await ask(transport, request)
    token = (reply.body or b"").decode("utf-8", "replace").strip()
    if reply.status != 200 or not token:
        raise NotFetchedError(f"{request.origin}: no token, HTTP {reply.status}")
    return token


def part(data: Mapping[str, Any], *path: str) -> Any:
    """What stands at ``path``; None where nothing does."""
    value: Any = data
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def text_at(data: Mapping[str, Any], where: str, *path: str) -> str:
    """The text at ``path`` of an answer. NotFetchedError where there is none."""
    value = part(data, *path)
    if not isinstance(value, str) or not value.strip():
        raise NotFetchedError(f"{where}: {'.'.join(path)} is missing in the answer")
    return value


def moment_at(data: Mapping[str, Any], where: str, *path: str) -> float:
    """The time at ``path``, in epoch seconds; without a zone it is UTC. NotFetchedError where there is none."""
    try:
        moment = datetime.fromisoformat(text_at(data, where, *path))
    except ValueError:
        raise NotFetchedError(f"{where}: {'.'.join(path)} is no time") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def given(secret: Secret, what: str) -> str:
    """The value of a secret now. NotFetchedError when it has none."""
    value = secret.reveal()
    if not value:
        raise NotFetchedError(f"{what}: there is none")
    return value


def built(where: str, build: Callable[[], Made]) -> Made:
    """What ``build`` makes of an answer; NotFetchedError for what cannot be sent."""
    try:
        return build()
    except ValueError as error:
        raise NotFetchedError(f"{where}: {error}") from None


def _mapping(reply: Reply) -> Mapping[str, Any] | None:
    try:
        data = orjson.loads(reply.body or b"")
    except orjson.JSONDecodeError:
        return None
    return data if isinstance(data, dict) else None


def _told(status: int, data: Mapping[str, Any] | None) -> list[str]:
    """HTTP status, error code and message of an answer, each where there is one."""
    inner = part(data or {}, "error")
    layers = [layer for layer in (data, inner) if isinstance(layer, dict)]
    texts = (_first(layers, keys) for keys in (_CODES, _MESSAGES))
    return [f"HTTP {status}", *filter(None, texts)]


def _first(layers: Iterable[Mapping[str, Any]], keys: Iterable[str]) -> str:
    values = (layer.get(key) for layer in layers for key in keys)
    text = next((str(value) for value in values if value and isinstance(value, str | int)), "")
    return cut(" ".join(text.split()), _LONGEST_QUOTE) or ""
