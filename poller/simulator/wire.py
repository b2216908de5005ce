"""A request exactly as it was received, and an answer exactly as it will be sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import unquote

import orjson


@dataclass(frozen=True)
class RawRequest:
    """A request before any decoding: ``target`` is path and query as they stood in the request line.

    Not slotted, since what is derived from it is computed once and kept.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    @cached_property
    def path(self) -> str:
        """The path, still encoded."""
        return self.target.partition("?")[0]

    @cached_property
    def segments(self) -> tuple[str, ...]:
        """The path's segments, each decoded once: an encoded slash stays inside its segment."""
        return tuple(unquote(segment) for segment in self.path.removeprefix("/").split("/"))

    @cached_property
    def query(self) -> tuple[tuple[str, str], ...]:
        """Names and values of the query in the order received, decoded once; a plus is a plus."""
        pairs = [pair.partition("=") for pair in self.target.partition("?")[2].split("&") if pair]
        return tuple((unquote(name), unquote(value)) for name, _, value in pairs)

    @cached_property
    def folded(self) -> Mapping[str, str]:
        """Headers by lower-case name, values trimmed, repeated ones joined by a comma (RFC 9110, 5.3)."""
        found: dict[str, str] = {}
        for name, value in self.headers:
            key = name.lower()
            found[key] = f"{found[key]},{value.strip()}" if key in found else value.strip()
        return found

    def header(self, name: str) -> str | None:
        """The value of a header, its name in any case."""
        return self.folded.get(name.lower())

    def parameter(self, name: str, default: str) -> str:
        """The last value of a query parameter."""
        return dict(self.query).get(name, default)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is turned away: HTTP status, the provider's error code, and a message for people."""

    status: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back. ``code`` is the error code in it, empty on success."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    code: str = ""


def json_answer(status: int, body: object, *, headers: Mapping[str, str] | None = None, code: str = "") -> Answer:
    """An answer whose body is ``body`` as JSON."""
    return Answer(status, orjson.dumps(body), headers or {}, code=code)
