"""What the API answers with, as types: those who make answers are checked against them, and the OpenAPI document tells
them.

Progress is 0 to 100, durations are seconds. Times are RFC 3339 in UTC, with milliseconds.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, with_config

# Python 3.11 has one of its own, which does not tell pydantic enough.
from typing_extensions import TypedDict

from poller.domain.observation import Outcome
from poller.domain.prospect import Basis
from poller.domain.state import State

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None
Percent = Annotated[float, Field(ge=0, le=100)] | None
Count = Annotated[int, Field(ge=0)]


class SubtasksJson(TypedDict):
    """The parts of a task."""

    total: int
    done: int
    failed: list[str]


class FailureJson(TypedDict):
    """The last poll that brought no answer."""

    outcome: Outcome
    message: str | None
    at: Time


class TaskJson(TypedDict):
    """A task that is watched, as it is now."""

    name: str
    provider: str
    operation: str
    params: dict[str, str]
    labels: dict[str, str]
    source: str
    owner: str | None
    ttl_seconds: float | None
    follow: bool
    state: State
    terminal: bool
    raw_status: str | None
    progress: Percent
    message: str | None
    subtasks: SubtasksJson | None
    run: int
    awaits_run: bool
    overdue: bool
    stalled: bool
    unreachable: bool
    late: bool
    started_at: Time
    ended_at: Time
    duration_seconds: float | None
    expected_end_at: Time
    expected_end_low_at: Time
    expected_end_high_at: Time
    expected_from: Basis | None
    first_seen_at: Time
    last_polled_at: Time
    next_poll_at: Time
    polls: Count
    consecutive_failures: Count
    last_failure: FailureJson | None


TransitionJson = TypedDict(
    "TransitionJson",
    {
        "transition_id": str,
        "task": str,
        "provider": str,
        "operation": str,
        "from": State,
        "to": State,
        "raw_status": str | None,
        "progress": Percent,
        "message": str | None,
        "at": Time,
        "started_at": Time,
        "ended_at": Time,
        "duration_seconds": float | None,
        "terminal": bool,
        "initial": bool,
        "run": int,
        "request_id": str | None,
        "labels": dict[str, str] | None,
    },
)


class RunJson(TypedDict):
    """A run that ended, and the transition that ended it."""

    task: str
    provider: str
    operation: str
    run: int
    state: State
    started_at: Time
    ended_at: Time
    duration_seconds: float | None
    transition_id: str


class PollJson(TypedDict):
    """A poll that changed something, without any secret."""

    at: Time
    outcome: Outcome
    state: State
    raw_status: str | None
    http_status: int | None
    code: str | None
    message: str | None
    rule: str | None
    saw: str | None
    request: str | None
    answer: str | None
    request_id: str | None


class TasksJson(TypedDict):
    """Some tasks, by name; ``next_cursor`` is null at the end."""

    tasks: list[TaskJson]
    next_cursor: str | None


class TransitionsJson(TypedDict):
    """Some transitions, newest first; ``next_cursor`` is null at the end."""

    transitions: list[TransitionJson]
    next_cursor: str | None


class RunsJson(TypedDict):
    """Some runs, newest first; ``next_cursor`` is null at the end."""

    runs: list[RunJson]
    next_cursor: str | None


class PollsJson(TypedDict):
    """The last polls that changed something, newest first."""

    polls: list[PollJson]
    next_cursor: str | None


class AddedJson(TypedDict):
    """How many tasks were new, how many differed from before, and how many did not."""

    added: Count
    changed: Count
    unchanged: Count


class RemovedJson(TypedDict):
    """A task that is watched no more; ``removed`` is false when that was so before."""

    task: str
    removed: bool


class RearmedJson(TypedDict):
    """A task that is watched anew."""

    task: str


class StartedJson(TypedDict):
    """A run that was started, or found under way; ``watched_run`` is the ``run`` of the task that it will be."""

    task: str
    run: str | None
    already_running: bool
    watched_run: int | None
    request_id: str | None
    message: str


class SinkJson(TypedDict):
    """How a sink does; ``kind`` is null for one that is no longer in the config."""

    name: str
    kind: str | None
    configured: bool
    delivered: Count
    waiting: Count
    oldest_waiting_at: Time
    dead: Count
    failing_since: Time
    last_error: str | None
    last_error_at: Time


class SinksJson(TypedDict):
    """The sinks, by name."""

    sinks: list[SinkJson]


class DeadLetterJson(TypedDict):
    """An event that was given up, why, and the transition in it; ``id`` is the event's, and the transition's."""

    id: str
    attempts: Count
    dead_at: Time
    error: str | None
    transition: TransitionJson


class DeadLettersJson(TypedDict):
    """Some dead letters, newest first; ``next_cursor`` is null at the end."""

    events: list[DeadLetterJson]
    next_cursor: str | None


@with_config(ConfigDict(extra="forbid"))
class RedeliverSome(TypedDict):
    """Deliver the events with these ids once more."""

    events: Annotated[list[str], Field(min_length=1)]


@with_config(ConfigDict(extra="forbid"))
class RedeliverAll(TypedDict):
    """Deliver all dead letters once more."""

    all: Literal[True]


Redelivery = RedeliverSome | RedeliverAll
"""What is to be delivered once more."""


class RedeliveredJson(TypedDict):
    """How many events wait anew; those that waited anyway, or are not kept, do not count."""

    sink: str
    redelivered: Count


class ExplainedJson(TypedDict):
    """What went wrong; ``code`` is for programs, ``message`` for people."""

    code: str
    message: str
    details: dict[str, Any]


class ErrorJson(TypedDict):
    """An error."""

    error: ExplainedJson
