"""The JSON API for reading: tasks, their transitions, the runs that ended, and their last polls.

A task's name may hold slashes, percent-encoded in a path or not, and may end in ``/transitions``, ``/runs`` or
``/polls``. Where both a task NAME and one called ``NAME/transitions`` are shown, ``…/tasks/NAME/transitions`` means the
transitions of the former, and ``…/tasks/NAME%2Ftransitions`` the latter; with the other two it is the same. A slash
that is percent-encoded always belongs to a name.
"""

import hashlib
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import unquote

from aiohttp import ETag, hdrs, web
from aiohttp.typedefs import Handler
from pydantic import Field

from poller.domain.errors import NoSuchTaskError
from poller.domain.events import EVERYTHING, Sought
from poller.domain.moments import rfc3339
from poller.domain.observation import Failure, Subtasks
from poller.domain.state import Flag, State
from poller.protocols import Census, History, PollRecord, TransitionPage, WatchedTask, Watching
from poller.web.endpoint import NAME_IN_PATH, Answer, Endpoint, Parameter
from poller.web.eventstream import EventStreams
from poller.web.feed import Feed
from poller.web.openapi import refusals
from poller.web.selection import MAX_LIMIT, BadQueryError, parse_page, parse_selection, parse_sought
from poller.web.shapes import (
    ErrorJson,
    FailureJson,
    PollJson,
    PollsJson,
    RunsJson,
    SubtasksJson,
    TaskJson,
    TasksJson,
    TransitionsJson,
)
from poller.web.told import json_bytes, run_json, transition_json

TASKS = "/api/v1/tasks"
"""The path of all tasks; below it are those of each."""

TRANSITIONS = "/api/v1/transitions"
EVENTS = "/api/v1/events"

_ONE = f"{TASKS}/{NAME_IN_PATH}"
_HISTORY, _RUNS, _POLLS = _PARTS = "/transitions", "/runs", "/polls"

_HEX_DIGIT = "3[0-9]"
_HEX_OF_NAMES = "(2[bdf]|3[0-9a]|4[0-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9a])"


def _cursor(pattern: str) -> Parameter:
    about = "The next_cursor of the page before."
    return Parameter("cursor", about, Annotated[str, Field(pattern=f"^{pattern}$")])


_LIMIT = Parameter(
    "limit",
    "How many at most; 100 unless told.",
    Annotated[int, Field(ge=1, le=MAX_LIMIT, json_schema_extra={"default": 100})],
)
_TASK_CURSOR = _cursor(f"6e616d653a{_HEX_OF_NAMES}{{1,200}}")
_ROW_CURSOR = _cursor(f"6265666f726520(3[1-9])({_HEX_DIGIT}){{0,17}}")
_LABEL = Parameter(
    "label", "A label that it has, key:value; all that are named.", Annotated[str, Field(pattern="^[^:]+:")], many=True
)
_KIND = (
    Parameter("provider", "One of these providers.", many=True),
    Parameter("operation", "One of these operations.", many=True),
    _LABEL,
)
_OF_TASKS = (
    Parameter("state", "In one of these states.", State, many=True),
    Parameter("flag", "With one of these flags.", Flag, many=True),
    *_KIND,
    Parameter("owner", "Watched for one of these.", many=True),
    Parameter("source", "From one of these: file, or api.", many=True),
    Parameter("q", "Text somewhere in the name, in whatever case."),
)
PAGE = (_LIMIT, _ROW_CURSOR)
"""What a request may say of which rows it asks for; `parse_page` reads it."""

_MOMENT = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
_OF_EVENTS = (
    Parameter("task", "Of one of these tasks.", many=True),
    Parameter("state", "To one of these states.", State, many=True),
    *_KIND,
)
_OF_TRANSITIONS = (
    *_OF_EVENTS,
    Parameter("since", "At that time or later.", _MOMENT),
    Parameter("until", "Before that time.", _MOMENT),
)
_RESUMING = (
    Parameter("Last-Event-ID", "The id of the last event that was read: go on behind it.", place="header"),
    Parameter("last_event_id", "The same, for clients that cannot set headers; a header wins."),
)
_IF_NONE_MATCH = Parameter(
    "If-None-Match", "The ETag of an earlier answer: 304 if it is still the same.", place="header"
)


def read_endpoint(
    path: str, handler: Handler, name: str, about: str, shape: Any, parameters: Sequence[Parameter] = ()
) -> Endpoint:
    """An endpoint that answers with JSON of this ``shape``."""
    bad = (400,) if parameters else ()
    missing = (404,) if NAME_IN_PATH in path else ()
    answers = {
        200: Answer("So it is.", shape),
        304: Answer("It is what it was."),
        **refusals(path, *bad, *missing, 503),
    }
    return Endpoint(hdrs.METH_GET, path, handler, name, about, answers, (*parameters, _IF_NONE_MATCH))


class Api:
    """Answers from what is watched, here and elsewhere, and from the store; below ``prefix``, which ends in no /."""

    def __init__(
        self, census: Census, watching: Watching, history: History, feed: Feed, streams: EventStreams, prefix: str = ""
    ) -> None:
        self._tasks = f"{prefix}{TASKS}/"
        self._census = census
        self._watching = watching
        self._past = history
        self._feed = feed
        self._streams = streams

    def endpoints(self) -> list[Endpoint]:
        """Every path of the API that reads, without the prefix."""
        one = self._one
        return [
            read_endpoint(TASKS, self._list, "listTasks", _ABOUT_TASKS, TasksJson, (*_OF_TASKS, _LIMIT, _TASK_CURSOR)),
            read_endpoint(
                f"{_ONE}{_HISTORY}", one, "listTransitionsOfTask", "A task's transitions.", TransitionsJson, PAGE
            ),
            read_endpoint(f"{_ONE}{_RUNS}", one, "listRunsOfTask", "A task's runs that ended.", RunsJson, PAGE),
            read_endpoint(f"{_ONE}{_POLLS}", one, "listPollsOfTask", _ABOUT_POLLS, PollsJson),
            read_endpoint(_ONE, one, "getTask", "One task, however long ago it ended.", TaskJson),
            read_endpoint(
                TRANSITIONS, self._transitions, "listTransitions", _ABOUT, TransitionsJson, (*_OF_TRANSITIONS, *PAGE)
            ),
            Endpoint(
                hdrs.METH_GET,
                EVENTS,
                self._events,
                "followTransitions",
                _ABOUT_EVENTS,
                _STREAM,
                (*_OF_EVENTS, *_RESUMING),
            ),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        selection = parse_selection(request.query)
        picked, cursor = await selection.pick(self._census.slices(selection.after))
        return tagged(request, TasksJson(tasks=[task_json(watched) for watched in picked], next_cursor=cursor))

    async def _one(self, request: web.Request) -> web.Response:
        name, part = await self._meant(request.rel_url.raw_path.removeprefix(self._tasks))
        if part in {_HISTORY, _RUNS}:
            return await self._history(request, name, runs=part == _RUNS)
        watched = await self._census.find(name)
        if watched is None:
            raise NoSuchTaskError(name)
        if part == _POLLS:
            polls = [poll_json(record) for record in self._watching.polls(name)]
            return tagged(request, PollsJson(polls=polls, next_cursor=None))
        return tagged(request, task_json(watched))

    async def _meant(self, raw: str) -> tuple[str, str | None]:
        """The task's name in the rest of a path, and which part of what is known of it is asked for; None for all."""
        part = next((part for part in _PARTS if raw.endswith(part)), None)
        name, parent = unquote(raw), unquote(raw.removesuffix(part or ""))
        if part is None or not parent:
            return name, None
        if await self._census.find(parent) is None and await self._census.find(name) is not None:
            return name, None
        return parent, part

    async def _history(self, request: web.Request, name: str, runs: bool) -> web.Response:
        page = await self._page(request, name, ends=runs)
        if not page.transitions and await self._census.find(name) is None:
            raise NoSuchTaskError(name)
        return tagged(request, _runs(page) if runs else _listed(page))

    async def _transitions(self, request: web.Request) -> web.Response:
        return tagged(request, _listed(await self._page(request, None, sought=parse_sought(request.query))))

    async def _page(
        self, request: web.Request, name: str | None, ends: bool = False, sought: Sought = EVERYTHING
    ) -> TransitionPage:
        limit, cursor = parse_page(request.query)
        try:
            return await self._past.transitions(name, limit, cursor, ends, sought)
        except ValueError as error:
            raise BadQueryError("cursor", str(error)) from error

    async def _events(self, request: web.Request) -> web.StreamResponse:
        sought = parse_sought(request.query, times=False)
        last_id = request.headers.get("Last-Event-ID") or request.query.get("last_event_id")
        start = await self._feed.start(last_id or None)
        return await self._streams.serve(request, self._feed.events(start, sought.matches))


_ABOUT_TASKS = """Tasks that are watched, by name.
Those that ended long ago are left out; each can still be asked for."""

_ABOUT_POLLS = """A task's last polls that changed something, without any secret.
Not all are kept, and only by the replica that sent them."""

_ABOUT = """Transitions of all tasks, newest first.
Where only some are asked for, a page may have fewer than its limit, or none, and not be the last: next_cursor tells."""

_ABOUT_EVENTS = """Transitions as they happen: server-sent events without an end.
Each is of the type transition, its data that of a transition in JSON. Ids mean nothing to others; who comes back with
the last one goes on behind it, in whichever replica, over restarts. An event of the type reset says that this cannot
be: its id is not known, or what came after it is no longer in the store. Events without data only tell a newer id.
Comments every 15 s show that the stream lives."""

_STREAM = {
    200: Answer("Events, until one of both sides ends them.", media="text/event-stream"),
    **refusals(EVENTS, 400, 503),
}


def _listed(page: TransitionPage) -> TransitionsJson:
    return {"transitions": [transition_json(each) for each in page.transitions], "next_cursor": page.next_cursor}


def _runs(page: TransitionPage) -> RunsJson:
    return {"runs": [run_json(each) for each in page.transitions], "next_cursor": page.next_cursor}


def task_json(watched: WatchedTask) -> TaskJson:
    """A task as the API shows it. Progress is 0 to 100, times are RFC 3339, durations seconds."""
    entry, status, contact, end = watched.task.entry, watched.task.status, watched.task.contact, watched.expected
    return {
        "name": entry.name,
        "provider": entry.provider,
        "operation": entry.operation,
        "params": dict(entry.params),
        "labels": dict(entry.labels),
        "source": entry.source,
        "owner": entry.owner,
        "ttl_seconds": entry.ttl,
        "follow": entry.follow,
        "state": status.state,
        "terminal": status.terminal,
        "raw_status": status.raw_status,
        "progress": status.progress,
        "message": status.message,
        "subtasks": _subtasks(status.subtasks),
        "run": status.run,
        "awaits_run": status.awaited_since is not None,
        "overdue": status.overdue,
        "stalled": status.stalled,
        "unreachable": status.unreachable,
        "late": status.late,
        "started_at": rfc3339(status.started_at),
        "ended_at": rfc3339(status.ended_at),
        "duration_seconds": status.duration,
        "expected_end_at": rfc3339(end.at if end else None),
        "expected_end_low_at": rfc3339(end.low_at if end else None),
        "expected_end_high_at": rfc3339(end.high_at if end else None),
        "expected_from": end.basis if end else None,
        "first_seen_at": rfc3339(status.first_seen_at),
        "last_polled_at": rfc3339(contact.last_polled_at),
        "next_poll_at": rfc3339(watched.next_poll_at),
        "polls": contact.polls,
        "consecutive_failures": contact.consecutive_failures,
        "last_failure": _failure(contact.last_failure),
    }


def poll_json(record: PollRecord) -> PollJson:
    """A poll that changed something as the API shows it."""
    return {
        "at": rfc3339(record.at),
        "outcome": record.outcome,
        "state": record.state,
        "raw_status": record.raw_status,
        "http_status": record.http_status,
        "code": record.code,
        "message": record.message,
        "rule": record.rule,
        "saw": record.saw,
        "request": record.request,
        "answer": record.answer,
        "request_id": record.request_id,
    }


def error_response(status: int, message: str, details: Mapping[str, Any]) -> web.Response:
    """An error as the API tells it."""
    code = HTTPStatus(status).phrase.lower().replace(" ", "_")
    error: ErrorJson = {"error": {"code": code, "message": message, "details": dict(details)}}
    return json_response(error, status)


def json_response(body: object, status: int = 200) -> web.Response:
    """``body`` as a JSON answer."""
    return web.Response(body=json_bytes(body), status=status, content_type="application/json")


def tagged(request: web.Request, body: object) -> web.Response:
    """``body`` as a JSON answer with an ETag (RFC 9110, 8.8.3); 304 without it for who has just that already."""
    content = json_bytes(body)
    tag = ETag(hashlib.blake2b(content, digest_size=12).hexdigest())
    known = request.if_none_match or ()
    if any(each.value in {tag.value, "*"} for each in known):
        response = web.Response(status=304)
    else:
        response = web.Response(body=content, content_type="application/json")
    response.etag = tag
    return response


def _subtasks(subtasks: Subtasks | None) -> SubtasksJson | None:
    if subtasks is None:
        return None
    return {"total": subtasks.total, "done": subtasks.done, "failed": list(subtasks.failed)}


def _failure(failure: Failure | None) -> FailureJson | None:
    if failure is None:
        return None
    return {"outcome": failure.outcome, "message": failure.message, "at": rfc3339(failure.at)}
