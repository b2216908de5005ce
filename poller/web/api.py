"""The JSON API for reading: tasks, their transitions, the runs that ended, and their last polls.

A task's name may hold slashes, percent-encoded in a path or not, and may end in ``/transitions``, ``/runs`` or
``/polls``. Where both a task NAME and one called ``NAME/transitions`` are shown, ``…/tasks/NAME/transitions`` means the
transitions of the former, and ``…/tasks/NAME%2Ftransitions`` the latter; with the other two it is the same. A slash
that is percent-encoded always belongs to a name.
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import orjson
from aiohttp import web

from poller.domain.errors import NoSuchTaskError
from poller.domain.moments import rfc3339
from poller.domain.observation import Failure, Subtasks
from poller.domain.prospect import ExpectedEnd
from poller.protocols import Census, History, PollRecord, WatchedTask, Watching
from poller.web.selection import BadQueryError, parse_page, parse_selection
from poller.web.told import run_json, transition_json

TASKS = "/api/v1/tasks"
"""The path of all tasks; below it are those of each."""

_HISTORY, _RUNS, _POLLS = _PARTS = "/transitions", "/runs", "/polls"


class Api:
    """Answers from what is watched, here and elsewhere, and from the store; below ``prefix``, which ends in no /."""

    def __init__(self, census: Census, watching: Watching, history: History, prefix: str = "") -> None:
        self._tasks = f"{prefix}{TASKS}/"
        self._census = census
        self._watching = watching
        self._past = history

    def routes(self) -> list[web.RouteDef]:
        """Every path of the API, without the prefix."""
        return [
            web.get(TASKS, self._list),
            web.get(f"{TASKS}/{{name:.+}}", self._one),
            web.get("/api/v1/transitions", self._transitions),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        selection = parse_selection(request.query)
        picked, cursor = await selection.pick(self._census.slices(selection.after))
        return json_response({"tasks": [task_json(watched) for watched in picked], "next_cursor": cursor})

    async def _one(self, request: web.Request) -> web.Response:
        name, part = await self._meant(request.rel_url.raw_path.removeprefix(self._tasks))
        if part in {_HISTORY, _RUNS}:
            return await self._history(request, name, runs=part == _RUNS)
        watched = await self._census.find(name)
        if watched is None:
            raise NoSuchTaskError(name)
        if part == _POLLS:
            polls = [poll_json(record) for record in self._watching.polls(name)]
            return json_response({"polls": polls, "next_cursor": None})
        return json_response(task_json(watched))

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
        response, found = await self._page(request, name, runs)
        if not found and await self._census.find(name) is None:
            raise NoSuchTaskError(name)
        return response

    async def _transitions(self, request: web.Request) -> web.Response:
        response, _ = await self._page(request, None)
        return response

    async def _page(self, request: web.Request, name: str | None, runs: bool = False) -> tuple[web.Response, bool]:
        limit, cursor = parse_page(request.query)
        try:
            page = await self._past.transitions(name, limit, cursor, ends=runs)
        except ValueError as error:
            raise BadQueryError("cursor", str(error)) from error
        listed = [(run_json if runs else transition_json)(transition) for transition in page.transitions]
        key = "runs" if runs else "transitions"
        return json_response({key: listed, "next_cursor": page.next_cursor}), bool(listed)


def task_json(watched: WatchedTask) -> dict[str, Any]:
    """A task as the API shows it. Progress is 0 to 100, times are RFC 3339, durations seconds."""
    entry, status, contact = watched.task.entry, watched.task.status, watched.task.contact
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
        **_expected(watched.expected),
        "first_seen_at": rfc3339(status.first_seen_at),
        "last_polled_at": rfc3339(contact.last_polled_at),
        "next_poll_at": rfc3339(watched.next_poll_at),
        "polls": contact.polls,
        "consecutive_failures": contact.consecutive_failures,
        "last_failure": _failure(contact.last_failure),
    }


def poll_json(record: PollRecord) -> dict[str, Any]:
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
    return json_response({"error": {"code": code, "message": message, "details": dict(details)}}, status)


def json_response(body: object, status: int = 200) -> web.Response:
    """``body`` as a JSON answer."""
    try:
        content = orjson.dumps(body)
    except TypeError:
        # orjson refuses halves of surrogate pairs, which a provider's text may hold; this writes them as escapes.
        content = json.dumps(body).encode()
    return web.Response(body=content, status=status, content_type="application/json")


def _expected(end: ExpectedEnd | None) -> dict[str, Any]:
    return {
        "expected_end_at": rfc3339(end.at if end else None),
        "expected_end_low_at": rfc3339(end.low_at if end else None),
        "expected_end_high_at": rfc3339(end.high_at if end else None),
        "expected_from": end.basis if end else None,
    }


def _subtasks(subtasks: Subtasks | None) -> dict[str, Any] | None:
    if subtasks is None:
        return None
    return {"total": subtasks.total, "done": subtasks.done, "failed": subtasks.failed}


def _failure(failure: Failure | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    return {"outcome": failure.outcome, "message": failure.message, "at": rfc3339(failure.at)}
