"""What is served: each endpoint with all that the OpenAPI document tells of it, in one place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

TEXT = "text/plain"
JSON = "application/json"

NAME_IN_PATH = "{name:.+}"
"""The name of a task or sink, which may hold slashes, percent-encoded or not."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a request may say beside its path: its ``shape`` is a type as pydantic knows it."""

    name: str
    about: str
    shape: Any = str
    place: Literal["query", "header"] = "query"
    many: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered: JSON of this ``shape``, or text of one of these ``media`` types; nothing if it has neither."""

    about: str
    shape: Any = None
    media: str | Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A method of a path, below whatever prefix. ``name`` is what programs call it.

    ``guarded``: only who has the bearer token of the config may. ``is_open``: nobody needs a login.
    """

    method: str
    path: str
    handler: Handler
    name: str
    about: str
    answers: Mapping[int, Answer]
    parameters: Sequence[Parameter] = ()
    body: Mapping[str, Any] | None = None
    guarded: bool = False
    is_open: bool = False

    def route(self, prefix: str = "") -> web.RouteDef:
        """The endpoint as the server serves it. A stream has no head to ask for."""
        options = {"allow_head": not self.streams} if self.method == hdrs.METH_GET else {}
        return web.RouteDef(self.method, prefix + self.path, self.handler, options)

    @property
    def streams(self) -> bool:
        """Whether its answer has no end."""
        return any("text/event-stream" in answer.media for answer in self.answers.values())
