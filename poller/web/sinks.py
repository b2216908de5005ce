"""The JSON API of the sinks: how they do, what was given up, and once more with it."""

from typing import Any

import orjson
from aiohttp import web

from poller.domain.errors import NoSuchSinkError
from poller.domain.moments import rfc3339
from poller.protocols import DeadLetter, SinkDesk, SinkRecord
from poller.web.api import error_response, json_response
from poller.web.body import BadBodyError
from poller.web.control import Control
from poller.web.selection import BadQueryError, parse_page
from poller.web.told import transition_json

SINKS = "/api/v1/sinks"
"""The path of all sinks; below it are those of each."""


class SinkApi:
    """Answers from what ``desk`` knows; changes are for whoever ``control`` lets."""

    def __init__(self, desk: SinkDesk, control: Control) -> None:
        self._desk = desk
        self._control = control

    def add_to(self, app: web.Application, below: str = "") -> None:
        """Serves every path in ``app``, below the path ``below``."""
        path = f"{below}{SINKS}"
        app.add_routes(
            [
                web.get(path, self._list),
                web.get(f"{path}/{{name:.+}}/dead", self._dead),
                web.post(f"{path}/{{name:.+}}/redeliver", self._control.guarded(self._redeliver)),
            ]
        )

    async def _list(self, _request: web.Request) -> web.Response:
        return json_response({"sinks": [sink_json(record) for record in await self._desk.records()]})

    async def _dead(self, request: web.Request) -> web.Response:
        limit, cursor = parse_page(request.query)
        try:
            page = await self._desk.dead(request.match_info["name"], limit, cursor)
        except NoSuchSinkError as error:
            return _unknown(error)
        except ValueError as error:
            raise BadQueryError("cursor", str(error)) from error
        return json_response({"events": [letter_json(each) for each in page.letters], "next_cursor": page.next_cursor})

    async def _redeliver(self, request: web.Request) -> web.Response:
        """Delivers events once more: those of ``{"events": [ID, …]}``, or with ``{"all": true}`` all dead letters."""
        name, ids = request.match_info["name"], _wanted(await request.read())
        try:
            count = await self._desk.redeliver(name, ids)
        except NoSuchSinkError as error:
            return _unknown(error)
        return json_response({"sink": name, "redelivered": count})


def sink_json(record: SinkRecord) -> dict[str, Any]:
    """How a sink does, as the API tells it."""
    backlog = record.backlog
    return {
        "name": record.name,
        "kind": record.kind,
        "configured": record.configured,
        "delivered": record.delivered,
        "waiting": backlog.waiting,
        "oldest_waiting_at": rfc3339(backlog.oldest_at),
        "dead": backlog.dead,
        "failing_since": rfc3339(record.failing_since),
        "last_error": record.last_error,
        "last_error_at": rfc3339(record.last_error_at),
    }


def letter_json(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter: its id, why it was given up, and the transition in it."""
    return {
        "id": letter.transition.transition_id,
        "attempts": letter.attempts,
        "dead_at": rfc3339(letter.dead_at),
        "error": letter.error,
        "transition": transition_json(letter.transition),
    }


def _unknown(error: NoSuchSinkError) -> web.Response:
    return error_response(404, str(error), {"sink": error.name})


def _wanted(body: bytes) -> list[str] | None:
    """The ids that are asked for, None for all. BadBodyError for anything else."""
    try:
        asked = orjson.loads(body)
    except orjson.JSONDecodeError:
        asked = None
    match asked:
        case {"all": True, **rest} if not rest:
            return None
        case {"events": [str(), *_] as ids, **rest} if not rest and all(isinstance(each, str) for each in ids):
            return [str(each) for each in ids]
    raise BadBodyError(400, 'body: neither of the two that are allowed, {"events": [ID, ...]} or {"all": true}')
