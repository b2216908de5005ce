"""How a task lives: what an observation, or time passing without one, makes of it. Pure.

The moves between states are this table; every other move changes nothing:

    from                         to                                             because of
    unknown, pending, running    pending, running, succeeded, failed, stopped   an answer that tells another state
    unknown, pending, running    missing                                        "no such task", often and long enough
    unknown, pending, running    expired                                        no answer for `give_up_after`
    succeeded, failed, stopped   any of the above, if the task is followed      the same; an answer begins a new run
    succeeded, failed, stopped   any of the above, if a run is awaited          the same; an answer begins that run
    missing, expired             pending, running, succeeded, failed, stopped   an answer, if it begins an awaited run
    missing, expired             -                                              nothing, if no run is awaited

A poll that brings no answer never moves a task. A followed task that shows another run's end under the same state
moves from that state to itself: a run began and ended between two polls.

A run is awaited from before it is asked to start (`await_run`) until it is seen. An answer that still shows the old end
(the same state, no other run id) does not begin it; after missing and expired, whose last end nobody knows, only an
answer that tells no end does, or another run id. The wait ends without a move when the start was refused
(`forget_run`) and after ``deadline``; and with missing and expired.

Beside the state stand flags. Each clears itself when its reason is gone, and all but unreachable with an end:

    flag           rises                                                     by
    overdue        `deadline` after the run began                            a poll, or time alone
    stalled        progress has moved before, but not for `stalled_after`    an answer
    unreachable    no reply of any kind for `unreachable_after`              a poll, or time alone
    late           the run is older than nearly all its family came to be    a poll, or time alone
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from poller.domain.events import FlagChange, Transition
from poller.domain.observation import OPENS, REFUSALS, TELLS_STATUS, Failure, Observation, Outcome
from poller.domain.state import CONCLUDED, ENDS, REPORTED, Flag, State
from poller.domain.task import Contact, Entry, Policy, Status, Task

_ALIVE = frozenset({State.UNKNOWN, State.PENDING, State.RUNNING})

MOVES: Mapping[State, frozenset[State]] = {
    **{state: (REPORTED | {State.MISSING, State.EXPIRED}) - {state} for state in _ALIVE},
    **{state: REPORTED | {State.MISSING, State.EXPIRED} for state in ENDS},
    State.MISSING: REPORTED,
    State.EXPIRED: REPORTED,
}
"""Where a task may go from each state; from an end only if it is followed or a run is awaited."""

LONGEST_BELIEVED_AGE = 10 * 365 * 86_400.0
"""A start reported to lie further back, seconds, is a placeholder (documented samples hold 1970): it proves nothing."""


@dataclass(frozen=True, slots=True)
class Step:
    """What became of a task: the task as it is now, and what there is to tell. ``changed``: it has another `Status`."""

    task: Task
    changed: bool = False
    transition: Transition | None = None
    flags: tuple[FlagChange, ...] = ()


def begin(entry: Entry, now: float) -> Task:
    """A task seen for the first time."""
    return Task(entry, Status(first_seen_at=now, since=now, run_since=now))


def resume(entry: Entry, status: Status, contact: Contact, saved_at: float, now: float) -> Task:
    """A task as it was stored at ``saved_at``: the time nobody polled is not held against it."""
    if contact.silent_since is None and contact.unanswered_since is None:
        return Task(entry, status, contact)
    gap = max(0.0, now - saved_at)
    shifted = replace(
        contact,
        silent_since=_later(contact.silent_since, gap),
        unanswered_since=_later(contact.unanswered_since, gap),
    )
    return Task(entry, status, shifted)


def advance(task: Task, observation: Observation, now: float, late_age: float | None = None) -> Step:
    """What ``observation``, made at ``now``, makes of ``task``. A task that is over stays as it is.

    From the age of ``late_age`` seconds on its run is late for its family; None while nobody knows.
    """
    if task.over:
        return Step(task)
    contact = _count(task.contact, observation, now)
    status = _conclude(task, contact, observation, now)
    return _step(task, status, contact, observation, now, late_age)


def lapse(task: Task, now: float, held_since: float | None = None, late_age: float | None = None) -> Step:
    """What the mere passing of time makes of ``task``.

    ``held_since``: since when a poll is due that its closed connection holds back, as silent as one that failed.
    ``late_age`` is that of `advance`.
    """
    if task.over:
        return Step(task)
    contact = task.contact
    if held_since is not None:
        contact = replace(
            contact,
            silent_since=held_since if contact.silent_since is None else contact.silent_since,
            unanswered_since=held_since if contact.unanswered_since is None else contact.unanswered_since,
        )
    status = _give_up(task, contact, now)
    return _step(task, status, contact, None, now, late_age)


def await_run(task: Task, now: float) -> Step:
    """``task`` as of ``now``, when another run of it is about to be asked to start: it is polled until that is seen."""
    contact = Contact(polls=task.contact.polls, last_polled_at=task.contact.last_polled_at)
    status = replace(task.status, awaited_since=now)
    return Step(Task(task.entry, status, contact if task.over else replace(task.contact, attempt=0)), changed=True)


def forget_run(task: Task) -> Step:
    """``task`` when the run that was asked to start has turned out not to come."""
    if task.status.awaited_since is None:
        return Step(task)
    return Step(replace(task, status=replace(task.status, awaited_since=None)), changed=True)


def next_lapse(task: Task, now: float, late_age: float | None = None) -> float | None:
    """When `lapse` should be asked next, epoch seconds; None for a task that is over."""
    if task.over:
        return None
    policy, status, contact = task.entry.policy, task.status, task.contact
    moments = [_or_now(contact.unanswered_since, now) + policy.give_up_after]
    if not status.unreachable:
        moments.append(_or_now(contact.silent_since, now) + policy.unreachable_after)
    if not status.overdue and not status.terminal:
        moments.append(run_began(status) + policy.deadline)
    if late_age is not None and not status.late and not status.terminal:
        moments.append(run_began(status) + late_age)
    if status.awaited_since is not None:
        moments.append(status.awaited_since + policy.deadline)
    return min(moments)


def _count(contact: Contact, seen: Observation, now: float) -> Contact:
    tells = seen.outcome in TELLS_STATUS
    missing = seen.outcome is Outcome.MISSING
    return Contact(
        polls=contact.polls + 1,
        attempt=contact.attempt + (seen.outcome not in REFUSALS),
        last_polled_at=now,
        silent_since=None if seen.outcome in OPENS else _or_now(contact.silent_since, now),
        unanswered_since=None if tells else _or_now(contact.unanswered_since, now),
        consecutive_failures=0 if tells else contact.consecutive_failures + 1,
        last_failure=contact.last_failure if tells else Failure(seen.outcome, now, seen.message),
        missing_polls=contact.missing_polls + 1 if missing else 0,
        missing_since=_or_now(contact.missing_since, now) if missing else None,
    )


def _conclude(task: Task, contact: Contact, seen: Observation, now: float) -> Status:
    if seen.outcome is Outcome.ANSWERED:
        return _read(task.status, seen, now)
    if seen.outcome is Outcome.MISSING:
        return _miss(task, contact, seen, now)
    return _give_up(task, contact, now)


def _read(before: Status, seen: Observation, now: float) -> Status:
    if seen.unchanged:
        return before
    state = seen.state
    if state is None:
        raise ValueError("an answered observation carries a state")
    if state not in REPORTED:
        return before
    begins = _begins_run(before, state, seen.run_id)
    if before.state in CONCLUDED and not begins:
        return before
    if state not in ENDS and _tells_the_same(before, seen):
        return before
    status = _next_run(before, now) if begins else before
    moved = _progress_moved(status, seen)
    read = replace(
        status,
        state=state,
        since=status.since if state is status.state else now,
        run_id=seen.run_id or status.run_id,
        raw_status=seen.raw_status,
        progress=seen.progress,
        progress_moved_at=now if moved else status.progress_moved_at,
        message=seen.message,
        started_at=seen.started_at if seen.started_at is not None else status.started_at,
        subtasks=seen.subtasks,
    )
    return _end(read, seen, _noticed(before, read, now)) if state in ENDS else read


def _tells_the_same(before: Status, seen: Observation) -> bool:
    """Whether all that ``seen`` tells of a run that goes on is known; most polls bring just that."""
    return (
        seen.state is before.state
        and seen.progress == before.progress
        and seen.raw_status == before.raw_status
        and seen.message == before.message
        and seen.subtasks == before.subtasks
        and seen.started_at in (None, before.started_at)
        and seen.run_id in (None, "", before.run_id)
    )


def _begins_run(status: Status, state: State, run_id: str | None) -> bool:
    if status.state in _ALIVE:
        return False
    shows_old_end = state in ENDS if status.state in CONCLUDED else state is status.state
    another = run_id and status.run_id and run_id != status.run_id
    return not shows_old_end or bool(another)


def _next_run(status: Status, now: float) -> Status:
    return Status(
        first_seen_at=status.first_seen_at,
        since=now,
        run_since=now,
        state=status.state,
        run=status.run + 1,
        transitions=status.transitions,
        unreachable=status.unreachable,
    )


def _progress_moved(status: Status, seen: Observation) -> bool:
    return None not in (status.progress, seen.progress) and status.progress != seen.progress


def _noticed(before: Status, read: Status, now: float) -> float | None:
    """When the end was noticed, as far as that tells when it was: at first sight it may have been long ago."""
    if before.state is read.state and before.run == read.run:
        return before.ended_at
    return None if before.state is State.UNKNOWN else now


def _end(read: Status, seen: Observation, noticed: float | None) -> Status:
    """Fills in the end: as reported, else start and duration, else when it was noticed."""
    started, ended, duration = read.started_at, seen.ended_at, seen.duration
    if duration is not None and not duration >= 0:
        duration = None
    if ended is None and started is not None and duration is not None:
        ended = started + duration
    if ended is None:
        ended = noticed
    if duration is None and started is not None and ended is not None:
        duration = _between(started, ended)
    return replace(read, ended_at=ended, duration=duration)


def _between(started: float, ended: float) -> float | None:
    duration = ended - started
    return duration if 0 <= duration < LONGEST_BELIEVED_AGE else None


def _miss(task: Task, contact: Contact, seen: Observation, now: float) -> Status:
    policy, since = task.entry.policy, _or_now(contact.missing_since, now)
    if contact.missing_polls < policy.missing_polls or now < since + policy.missing_time:
        return task.status
    return _concluded(task.status, State.MISSING, now, raw_status=seen.code, message=seen.message)


def _give_up(task: Task, contact: Contact, now: float) -> Status:
    since = contact.unanswered_since
    if since is None or now < since + task.entry.policy.give_up_after:
        return task.status
    failure = _failure(contact)
    message = failure.message if failure else "its connection was closed all the time"
    return _concluded(task.status, State.EXPIRED, now, raw_status=task.status.raw_status, message=message)


def _concluded(status: Status, state: State, now: float, raw_status: str | None, message: str | None) -> Status:
    """``status`` after a conclusion of poller's own: no run is awaited any longer, and a second one is no news."""
    if status.state in CONCLUDED:
        return replace(status, awaited_since=None)
    return replace(status, state=state, since=now, raw_status=raw_status, message=message, awaited_since=None)


def _failure(contact: Contact) -> Failure | None:
    """Why no answer comes now; an older failure, before the last answer, explains nothing."""
    return contact.last_failure if contact.consecutive_failures else None


def _step(
    task: Task, status: Status, contact: Contact, seen: Observation | None, now: float, late_age: float | None
) -> Step:
    before = task.status
    moved = status.state is not before.state or status.run != before.run
    if moved:
        status = replace(status, transitions=before.transitions + 1)
        contact = replace(contact, attempt=1)
    status = _flag(_patient(status, task.entry.policy, now), contact, task.entry.policy, seen, now, late_age)
    changed = status is not before and status != before
    after = Task(task.entry, status if changed else before, contact)
    return Step(
        after,
        changed,
        _transition(before, after, seen, now) if moved else None,
        _flag_changes(before, after, now) if changed else (),
    )


def _patient(status: Status, policy: Policy, now: float) -> Status:
    """Ends the wait for a run that never showed."""
    since = status.awaited_since
    return status if since is None or now < since + policy.deadline else replace(status, awaited_since=None)


def _flag(
    status: Status, contact: Contact, policy: Policy, seen: Observation | None, now: float, late_age: float | None
) -> Status:
    overdue = stalled = late = False
    if not status.terminal:
        overdue = now >= run_began(status) + policy.deadline
        late = late_age is not None and now >= run_began(status) + late_age
        stalled = _stalled(status, policy, seen, now)
    silent = contact.silent_since
    unreachable = silent is not None and now >= silent + policy.unreachable_after
    unreachable = unreachable and status.state is not State.EXPIRED
    if (overdue, stalled, unreachable, late) == (status.overdue, status.stalled, status.unreachable, status.late):
        return status
    return replace(status, overdue=overdue, stalled=stalled, unreachable=unreachable, late=late)


def _stalled(status: Status, policy: Policy, seen: Observation | None, now: float) -> bool:
    if seen is None or seen.outcome is not Outcome.ANSWERED:
        return status.stalled
    return status.progress_moved_at is not None and now >= status.progress_moved_at + policy.stalled_after


def run_began(status: Status) -> float:
    """When the run began, epoch seconds: as reported if that can be, else when it was first seen."""
    started = status.started_at
    believed = started is not None and status.since - started < LONGEST_BELIEVED_AGE
    return started if started is not None and believed else status.run_since


def _transition(before: Status, task: Task, seen: Observation | None, now: float) -> Transition:
    entry, status = task.entry, task.status
    return Transition(
        transition_id=_transition_id(entry.name, status),
        ordinal=status.transitions,
        task=entry.name,
        provider=entry.provider,
        operation=entry.operation,
        source=before.state,
        target=status.state,
        at=now,
        run=status.run,
        raw_status=status.raw_status,
        progress=status.progress,
        message=status.message,
        started_at=status.started_at,
        ended_at=status.ended_at,
        duration=status.duration,
        request_id=seen.request_id if seen else None,
        initial=before.state is State.UNKNOWN and status.state in ENDS,
        labels=entry.labels,
    )


def _transition_id(name: str, status: Status) -> str:
    seed = f"{name}\0{status.first_seen_at!r}\0{status.transitions}"
    return hashlib.blake2b(seed.encode(), digest_size=16).hexdigest()


def _flag_changes(before: Status, task: Task, now: float) -> tuple[FlagChange, ...]:
    entry, status, failure = task.entry, task.status, _failure(task.contact)
    flags = (
        (Flag.OVERDUE, before.overdue, status.overdue, None),
        (Flag.STALLED, before.stalled, status.stalled, None),
        (Flag.UNREACHABLE, before.unreachable, status.unreachable, failure.message if failure else None),
        (Flag.LATE, before.late, status.late, None),
    )
    return tuple(
        FlagChange(entry.name, entry.provider, entry.operation, flag, is_up, now, status.state, message)
        for flag, was_up, is_up, message in flags
        if is_up is not was_up
    )


def _or_now(moment: float | None, now: float) -> float:
    return now if moment is None else moment


def _later(moment: float | None, gap: float) -> float | None:
    return None if moment is None else moment + gap
