"""The JSON API of the sinks: how they do, what was given up, and once more with it."""

from collections.abc import Callable
from dataclasses import replace

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from poller.domain.moments import rfc3339
from poller.protocols import DeadLetter, SinkDesk, SinkRecord
from poller.web.api import PAGE, json_response, read_endpoint, tagged
from poller.web.body import JSON, BadBodyError, sent_bytes
from poller.web.control import change_endpoint
from poller.web.endpoint import NAME_IN_PATH, Answer, Endpoint
from poller.web.openapi import refusals
from poller.web.selection import BadQueryError, parse_page
from poller.web.shapes import DeadLetterJson, DeadLettersJson, RedeliveredJson, Redelivery, SinkJson, SinksJson
from poller.web.told import transition_json

SINKS = "/api/v1/sinks"
"""The path of all sinks; below it are those of each."""

_DEAD = f"{SINKS}/{NAME_IN_PATH}/dead"
_REDELIVER = f"{SINKS}/{NAME_IN_PATH}/redeliver"


class SinkApi:
    """Answers from what ``desk`` knows; ``guarded`` makes of a handler one that is only for whoever has the token."""

    def __init__(self, desk: SinkDesk, guarded: Callable[[Handler], Handler]) -> None:
        self._desk = desk
        self._guarded = guarded

    def endpoints(self) -> list[Endpoint]:
        """Every path of the sinks, without the prefix below which they are served."""
        redeliver = self._guarded(self._redeliver)
        change = change_endpoint(_REDELIVER, redeliver, "redeliverEvents", _ABOUT_REDELIVERY, _REDELIVERED)
        return [
            read_endpoint(SINKS, self._list, "listSinks", _ABOUT_SINKS, SinksJson),
            read_endpoint(_DEAD, self._dead, "listDeadLettersOfSink", "A sink's dead letters.", DeadLettersJson, PAGE),
            replace(change, body={JSON: Redelivery}),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        return tagged(request, SinksJson(sinks=[sink_json(record) for record in await self._desk.records()]))

    async def _dead(self, request: web.Request) -> web.Response:
        limit, cursor = parse_page(request.query)
        try:
            page = await self._desk.dead(request.match_info["name"], limit, cursor)
        except ValueError as error:
            raise BadQueryError("cursor", str(error)) from error
        letters = [letter_json(each) for each in page.letters]
        return tagged(request, DeadLettersJson(events=letters, next_cursor=page.next_cursor))

    async def _redeliver(self, request: web.Request) -> web.Response:
        """Delivers events once more: those of ``{"events": [ID, …]}``, or with ``{"all": true}`` all dead letters."""
        name, ids = request.match_info["name"], _wanted(await sent_bytes(request))
        return json_response(RedeliveredJson(sink=name, redelivered=await self._desk.redeliver(name, ids)))


_ABOUT_SINKS = """How the sinks do, by name.
Those that are no longer in the config are told of while something is kept for them."""

_ABOUT_REDELIVERY = """Deliver events of a sink once more: some, or all dead letters.
They keep their ids. What waits anyway is left as it is."""

_REDELIVERED = {
    200: Answer("So many wait anew.", RedeliveredJson),
    **refusals(_REDELIVER, 400, 404, 413, 503),
}


def sink_json(record: SinkRecord) -> SinkJson:
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


def letter_json(letter: DeadLetter) -> DeadLetterJson:
    """A dead letter: its id, why it was given up, and the transition in it."""
    return {
        "id": letter.transition.transition_id,
        "attempts": letter.attempts,
        "dead_at": rfc3339(letter.dead_at),
        "error": letter.error,
        "transition": transition_json(letter.transition),
    }


def _wanted(body: bytes) -> list[str] | None:
    """The ids that are asked for, None for all; BadBodyError for what is no `Redelivery`."""
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
