"""Why the next poll of a task is when it is, in a sentence or two for people. Pure; `cadence.py` is what decides."""

from dataclasses import dataclass

from poller.domain.backoff import backoff
from poller.domain.circuit import Phase
from poller.domain.durations import format_duration
from poller.domain.moments import foreseen
from poller.domain.observation import Outcome
from poller.domain.prospect import Basis, ExpectedEnd
from poller.domain.state import State
from poller.domain.task import Task

_KNOWN_BY = {
    Basis.HISTORY: "earlier runs took about as long",
    Basis.PROGRESS: "its progress, and how earlier runs came to their end, foretell it",
    Basis.PACE: "its own progress goes at that pace",
}


@dataclass(frozen=True, slots=True)
class Gate:
    """What a due poll finds at its connection.

    ``reason`` is the refusal that closed it, ``until`` when a pause is over, epoch seconds. ``rate`` polls per second
    are allowed, of the ``full_rate`` that is configured. ``slots`` polls may be under way at once, ``in_flight`` are.
    ``waiting`` polls are due.
    """

    phase: Phase
    reason: Outcome | None
    until: float | None
    rate: float
    full_rate: float
    in_flight: int
    slots: int
    waiting: int


def why_next(
    task: Task, now: float, next_poll_at: float | None, expected: ExpectedEnd | None, gate: Gate | None
) -> str:
    """Why ``task`` is polled ``next_poll_at``, epoch seconds, and not sooner or later; without, why it is not.

    ``expected`` is the end that is foreseen of its run. ``gate`` is that of its connection; None where this process
    has none, or another one polls the task.
    """
    if task.over:
        return _why_never(task)
    if next_poll_at is None:
        return "When it is polled next is not known here: the process that polls it has not told yet."
    if next_poll_at <= now:
        return f"It has been due for {format_duration(now - next_poll_at)}{_held_by(gate, now)}"
    return f"{_why_planned(task, now, expected)}{_distance(task, next_poll_at)}{_shut_then(gate, next_poll_at, now)}"


def _why_never(task: Task) -> str:
    match task.status.state:
        case State.MISSING:
            return "It is polled no more: the provider says that there is no such task. It can be rearmed."
        case State.EXPIRED:
            silence = format_duration(task.entry.policy.give_up_after)
            return f"It is polled no more: no poll told its status for {silence} (give_up_after). It can be rearmed."
        case state:
            return f"It is polled no more: it has ended ({state})."


def _held_by(gate: Gate | None, now: float) -> str:
    if gate is None:
        return "."
    if gate.phase is Phase.PAUSED:
        return f" and waits: {_pause(gate, now)}."
    if gate.phase is Phase.PROBING and gate.waiting:
        after = "before its first answer" if gate.reason is None else f"after a pause ({gate.reason})"
        return f" and waits: {after} a connection lets out one poll at a time, until one is answered."
    if gate.in_flight >= gate.slots:
        return f" and waits for a slot: all {gate.slots} polls that may be under way at once are (max_in_flight)."
    if gate.waiting:
        return f" and waits for its turn: {_polls(gate.waiting)} due, and {_rate(gate)} may go."
    return ": it is under way."


def _pause(gate: Gate, now: float) -> str:
    rest = "" if gate.until is None else f", for {format_duration(max(0.0, gate.until - now))} more"
    return f"the connection is paused ({gate.reason}){rest}"


def _polls(count: int) -> str:
    return "1 poll is" if count == 1 else f"{count:,} polls are"


def _rate(gate: Gate) -> str:
    rate = f"{gate.rate:.3g} a second"
    return rate if gate.rate >= gate.full_rate else f"{rate}, of {gate.full_rate:.3g}, since it was throttled,"


def _why_planned(task: Task, now: float, expected: ExpectedEnd | None) -> str:
    status, contact, policy = task.status, task.contact, task.entry.policy
    longest = format_duration(policy.max)
    if not contact.polls:
        return "It has not been polled yet: first polls are spread over a short time."
    if status.settled:
        return f"This run has ended, and the task is followed: the next run is looked for every {longest} (max)."
    if contact.consecutive_failures:
        why = contact.last_failure.outcome if contact.last_failure else "no answer"
        return f"The last poll did not tell its status ({why}), so forecasts rest. {_backoff(task)}"
    if expected is None:
        return _unforeseen(task)
    end = foreseen(expected.at, expected.low_at, expected.high_at, now)
    return f"It is polled where its end is likely. That is expected {end}: {_KNOWN_BY[expected.basis]}."


def _unforeseen(task: Task) -> str:
    if task.entry.policy.adaptive:
        return f"When it will end cannot be foretold yet. {_backoff(task)}"
    return f"Forecasts are off for it (adaptive: false). {_backoff(task)}"


def _backoff(task: Task) -> str:
    policy, step = task.entry.policy, max(1, task.contact.attempt)
    delay = backoff(policy.initial, policy.max, policy.growth, step - 1)
    if delay >= policy.max:
        return f"Back-off has grown to its longest, {format_duration(policy.max)} (max)."
    grows = f"growing by {policy.growth:g} to {format_duration(policy.max)}"
    return f"Back-off: step {step} in this state, {format_duration(delay)}, {grows}."


def _distance(task: Task, next_poll_at: float) -> str:
    last = task.contact.last_polled_at
    if last is None or next_poll_at <= last:
        return ""
    return f" With jitter that makes {format_duration(next_poll_at - last)} after the last poll."


def _shut_then(gate: Gate | None, next_poll_at: float, now: float) -> str:
    if gate is None or gate.phase is not Phase.PAUSED or gate.until is None or gate.until <= next_poll_at:
        return ""
    return f" But {_pause(gate, now)}: it will wait."
