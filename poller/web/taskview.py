"""What a task's own page says, in words. Pure; the templates only lay it out."""

from collections.abc import Sequence
from dataclasses import dataclass

from poller.domain.durations import format_duration
from poller.domain.events import Transition
from poller.domain.nextpoll import Gate, why_next
from poller.domain.observation import Outcome
from poller.domain.prospect import Basis
from poller.domain.state import State
from poller.domain.task import Task
from poller.protocols import ConnectionView, PollRecord, Stored, WatchedTask
from poller.web.plot import Plot, plot
from poller.web.view import Moment, Row, moment, row

MOST_STEPS = 100
"""Transitions, and runs, that the page shows; the API has all of them."""

_BASES = {
    Basis.HISTORY: "from how long earlier runs took",
    Basis.PROGRESS: "from its progress and that of earlier runs",
    Basis.PACE: "from the pace of its own progress",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """Something known of a task: as text, as the provider's own words (``code``), or as a point in time."""

    name: str
    text: str | None = None
    moment: Moment | None = None
    is_code: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything known of a task: how it stands, what is watched, and how."""

    status: Sequence[Fact]
    entry: Sequence[Fact]
    asking: Sequence[Fact]


@dataclass(frozen=True, slots=True)
class Step:
    """A transition, and how long the task had been in the state before; None for the first that is known."""

    transition_id: str
    at: Moment | None
    source: State
    target: State
    after: str | None
    run: int
    initial: bool
    raw_status: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Lasted:
    """How long a run took: ``as_told`` by the provider, or from the poll that first showed it to that of its end."""

    seconds: float
    as_told: bool


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that ended."""

    run: int
    state: State
    ended: Moment | None
    took: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A poll that changed something, and what decided."""

    at: Moment | None
    outcome: Outcome
    opens: bool
    state: State
    told: Sequence[Fact]
    request: str | None
    answer: str | None


@dataclass(frozen=True, slots=True)
class NextPoll:
    """When the task is polled next, and why then."""

    at: Moment | None
    why: str


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs that ended, newest first, and a plot of their durations."""

    runs: Sequence[FinishedRun]
    plot: Plot | None


@dataclass(frozen=True, slots=True)
class Past:
    """What the store remembers of a task, newest first; ``trouble`` when it cannot be read.

    ``newest`` tells it from that of another time: the task's first sight, and the number of its last transition.
    """

    transitions: Sequence[Transition] = ()
    runs: Sequence[Transition] = ()
    trouble: str | None = None
    newest: tuple[float, int] | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """The task at a glance; ``message`` and ``failure`` are whole. ``trouble`` is that of reading its past."""

    row: Row
    message: str | None
    failure: str | None
    trouble: str | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """The transitions, newest first; ``more`` may be older than these."""

    steps: Sequence[Step]
    more: bool


@dataclass(frozen=True, slots=True)
class Answers:
    """The last polls that changed something, newest first; none are known here of a task polled ``elsewhere``."""

    answers: Sequence[Answer]
    elsewhere: bool


def task_parts(
    watched: WatchedTask,
    now: float,
    connection: ConnectionView | None,
    past: Past,
    polls: Sequence[PollRecord],
) -> dict[str, object]:
    """Everything that the page of one task shows, as seen ``now``, by the part of the page that it stands in."""
    elsewhere = isinstance(watched, Stored)
    return {
        "head": _head(watched, now, past.trouble),
        "next": next_poll(watched, now, None if elsewhere else connection),
        "runs": _runs(past, now),
        "steps": Timeline(steps(past.transitions, now), len(past.transitions) >= MOST_STEPS),
        "answers": Answers([_answer(each, now) for each in polls], elsewhere),
        "facts": facts(watched, now),
    }


def _head(watched: WatchedTask, now: float, trouble: str | None) -> Head:
    task, failed = watched.task, watched.task.contact.last_failure
    silent = failed is not None and bool(task.contact.consecutive_failures) and not task.over
    return Head(
        row(watched, now), task.status.message or None, (failed.message if failed and silent else None), trouble
    )


def next_poll(watched: WatchedTask, now: float, connection: ConnectionView | None) -> NextPoll:
    """When a task is polled next, and why."""
    gate = gate_of(connection) if connection else None
    why = why_next(watched.task, now, watched.next_poll_at, watched.expected, gate)
    return NextPoll(moment(watched.next_poll_at, now), why)


def gate_of(connection: ConnectionView) -> Gate:
    """What a due poll finds at its connection."""
    return Gate(
        phase=connection.phase,
        reason=Outcome(connection.paused) if connection.paused else None,
        until=connection.paused_until,
        rate=connection.rate,
        full_rate=connection.share_of_rate,
        in_flight=connection.in_flight,
        slots=connection.slots,
        waiting=connection.due,
    )


def facts(watched: WatchedTask, now: float) -> Facts:
    """Everything known of a task, but for what is not known."""
    task = watched.task
    return Facts(_known(_status(watched, now)), _known(_entry(task, now)), _known(_asking(watched, now)))


def _known(found: Sequence[Fact]) -> list[Fact]:
    return [fact for fact in found if fact.text is not None or fact.moment is not None]


def _status(watched: WatchedTask, now: float) -> list[Fact]:
    status, end = watched.task.status, watched.expected
    parts = status.subtasks
    return [
        Fact("State since", moment=moment(status.since, now)),
        Fact("Provider says", status.raw_status, is_code=True),
        Fact("Run", str(status.run)),
        Fact("Run id", status.run_id, is_code=True),
        Fact("Started", moment=moment(status.started_at, now)),
        Fact("Ended", moment=moment(status.ended_at, now)),
        Fact("Took", None if status.duration is None else format_duration(status.duration)),
        Fact("Expected end", moment=moment(end.at, now) if end else None),
        Fact("Four of five end from", moment=moment(end.low_at, now) if end else None),
        Fact("to", moment=moment(end.high_at, now) if end else None),
        Fact("Expected", _BASES[end.basis] if end else None),
        Fact("Progress moved", moment=moment(status.progress_moved_at, now)),
        Fact("Parts", f"{parts.done} of {parts.total}" if parts else None),
        Fact("Failed parts", ", ".join(parts.failed) or None if parts else None),
        Fact("A run is awaited since", moment=moment(status.awaited_since, now)),
    ]


def _entry(task: Task, now: float) -> list[Fact]:
    entry, policy = task.entry, task.entry.policy
    shortest, longest = format_duration(policy.initial), format_duration(policy.max)
    return [
        Fact("Provider", entry.provider),
        Fact("Operation", entry.operation),
        *(Fact(f"Parameter {key}", value, is_code=True) for key, value in sorted(entry.params.items())),
        Fact("Family", entry.family),
        Fact("Followed", "run after run" if entry.follow else None),
        Fact("Added by", "the API" if entry.added else "the config"),
        Fact("Owner", entry.owner),
        Fact("Leaves after", None if entry.ttl is None else format_duration(entry.ttl)),
        Fact("Polled every", f"{shortest} to {longest}"),
        Fact("Deadline", format_duration(policy.deadline)),
        Fact("First seen", moment=moment(task.status.first_seen_at, now)),
    ]


def _asking(watched: WatchedTask, now: float) -> list[Fact]:
    contact, failed = watched.task.contact, watched.task.contact.last_failure
    return [
        Fact("Polls", f"{contact.polls:,}"),
        Fact("Last poll", moment=moment(contact.last_polled_at, now)),
        Fact("Next poll", moment=moment(watched.next_poll_at, now)),
        Fact("Failed in a row", f"{contact.consecutive_failures:,}" if contact.consecutive_failures else None),
        Fact("Last failure", moment=moment(failed.at, now) if failed else None),
        Fact("It was", failed.outcome if failed else None),
        Fact("No status since", moment=moment(contact.unanswered_since, now)),
        Fact("No reply since", moment=moment(contact.silent_since, now)),
    ]


def steps(transitions: Sequence[Transition], now: float) -> list[Step]:
    """The transitions of a task, newest first, each with how long what it ended had lasted."""
    before = [each.at for each in transitions[1:]]
    lasted = [each.at - at for each, at in zip(transitions, before, strict=False)]
    return [
        _step(each, after, now)
        for each, after in zip(transitions, [*lasted, *([None] if transitions else [])], strict=True)
    ]


def _step(transition: Transition, after: float | None, now: float) -> Step:
    return Step(
        transition_id=transition.transition_id,
        at=moment(transition.at, now),
        source=transition.source,
        target=transition.target,
        after=None if after is None else format_duration(max(0.0, after)),
        run=transition.run,
        initial=transition.initial,
        raw_status=transition.raw_status,
        message=transition.message,
    )


def _runs(past: Past, now: float) -> Runs:
    lasted = durations(past)
    runs = [_run(each, lasted.get(each.transition_id), now) for each in past.runs]
    timed = [(each, lasted[each.transition_id].seconds) for each in past.runs if each.transition_id in lasted]
    return Runs(runs, plot(timed))


def durations(past: Past) -> dict[str, Lasted]:
    """How long finished runs took, by the id of the transition that ended each: as told, else as it was seen."""
    began: dict[int, float] = {}
    for step in past.transitions:
        if step.source is not State.UNKNOWN or not step.terminal:
            began[step.run] = step.at
    found = {}
    for end in past.runs:
        if end.duration is not None:
            found[end.transition_id] = Lasted(end.duration, as_told=True)
        elif end.run in began and began[end.run] < end.at:
            found[end.transition_id] = Lasted(end.at - began[end.run], as_told=False)
    return found


def _run(transition: Transition, lasted: Lasted | None, now: float) -> FinishedRun:
    ended = transition.at if transition.ended_at is None else transition.ended_at
    took = None if lasted is None else f"{'' if lasted.as_told else '~'}{format_duration(lasted.seconds)}"
    return FinishedRun(transition.run, transition.target, moment(ended, now), took, transition.message)


def _answer(record: PollRecord, now: float) -> Answer:
    told = [
        Fact("Rule", record.rule),
        Fact("It saw", record.saw, is_code=True),
        Fact("HTTP status", None if record.http_status is None else str(record.http_status)),
        Fact("Code", record.code, is_code=True),
        Fact("Status", record.raw_status, is_code=True),
        Fact("Message", record.message),
        Fact("Request id", record.request_id, is_code=True),
    ]
    opens = record.outcome is Outcome.ANSWERED
    at = moment(record.at, now)
    return Answer(at, record.outcome, opens, record.state, _known(told), record.request, record.answer)
