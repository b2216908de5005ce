"""What a request sends: tasks to be added, as JSON or as JSON Lines, by its content type."""

from collections.abc import Iterable

from aiohttp import web

from poller.config.textfile import MIB, Unreadable, decoded
from poller.config.watchlist import LONGEST_ADDED, json_lines, json_task
from poller.domain.errors import ConfigError, Problem

LARGEST_BODY = 16 * MIB
"""Bytes."""

MOST_LINES = 100_000

JSON = "application/json"
JSON_LINES = "application/x-ndjson"

_MANY = (JSON_LINES, "application/jsonl")


class BadBodyError(Exception):
    """A body that cannot be taken, whatever is in it; its text says what is allowed, ``status`` which error it is."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


async def sent_tasks(request: web.Request) -> Iterable[tuple[int, object]]:
    """The tasks in the body of ``request``, as `tasks_in` reads them.

    BadBodyError also for another content type, for a body that is too large, and one that cannot be read.
    """
    many = _holds_many(request.content_type)
    return tasks_in(await sent_bytes(request), many)


async def sent_bytes(request: web.Request) -> bytes:
    """The body of ``request``; BadBodyError for one that is too large, or cannot be read."""
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise BadBodyError(413, f"at most {LARGEST_BODY // MIB} MiB are allowed in one request; send parts") from None
    except web.RequestPayloadError:
        raise BadBodyError(400, "the body cannot be read: it breaks off, or its encoding is another one") from None


def tasks_in(data: bytes, many: bool) -> Iterable[tuple[int, object]]:
    """The task in ``data``, or ``many``, one a line: plain data with its line, or a Mistake where that is no JSON.

    They are read as they are asked for. BadBodyError for too many lines, ConfigError for bytes that are not UTF-8.
    """
    text = decoded(data)
    if isinstance(text, Unreadable):
        raise ConfigError([Problem("request", text.line, "", text.text)])
    if not many:
        return [json_task(text, LONGEST_ADDED)]
    if text.count("\n") > MOST_LINES:
        raise BadBodyError(413, f"at most {MOST_LINES:,} lines are allowed in one request; send parts")
    return json_lines(text, LONGEST_ADDED)


def _holds_many(content_type: str) -> bool:
    if content_type not in (JSON, *_MANY):
        text = f"content type {content_type}: {JSON} is allowed for one task, {JSON_LINES} for one task a line"
        raise BadBodyError(415, text)
    return content_type != JSON
