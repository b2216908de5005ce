"""Transitions, and the runs that ended with them, as the API and exports tell them.

Times are RFC 3339, durations seconds, progress is 0 to 100.
"""

import json

import orjson

from poller.domain.events import Transition
from poller.domain.moments import rfc3339
from poller.web.shapes import RunJson, TransitionJson


def transition_json(transition: Transition) -> TransitionJson:
    """A transition as the API shows it."""
    return {
        "transition_id": transition.transition_id,
        "task": transition.task,
        "provider": transition.provider,
        "operation": transition.operation,
        "from": transition.source,
        "to": transition.target,
        "raw_status": transition.raw_status,
        "progress": transition.progress,
        "message": transition.message,
        "at": rfc3339(transition.at),
        "started_at": rfc3339(transition.started_at),
        "ended_at": rfc3339(transition.ended_at),
        "duration_seconds": transition.duration,
        "terminal": transition.terminal,
        "initial": transition.initial,
        "run": transition.run,
        "request_id": transition.request_id,
        "labels": None if transition.labels is None else dict(transition.labels),
    }


def run_json(end: Transition) -> RunJson:
    """The run that ended with the transition ``end``."""
    return {
        "task": end.task,
        "provider": end.provider,
        "operation": end.operation,
        "run": end.run,
        "state": end.target,
        "started_at": rfc3339(end.started_at),
        "ended_at": rfc3339(end.ended_at),
        "duration_seconds": end.duration,
        "transition_id": end.transition_id,
    }


def json_bytes(body: object) -> bytes:
    """``body`` as JSON on one line."""
    try:
        return orjson.dumps(body)
    except TypeError:
        # orjson refuses halves of surrogate pairs, which a provider's text may hold; this writes them as escapes.
        return json.dumps(body).encode()
