"""Tasks to try things on, and whole lives of them: observations and lapses in a row.

Moments are whole seconds, so that every sum of them is exact and a test may compare without tolerance.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from hypothesis import strategies as st

from poller.domain.lifecycle import Step, advance, begin, lapse
from poller.domain.observation import Observation, Outcome
from poller.domain.state import State
from poller.domain.task import Contact, Entry, Policy, Status, Task

T0 = 1_700_000_000.0
NAME = "import-traffic"
BRISK = Policy(
    initial=1.0,
    max=8.0,
    deadline=40.0,
    unreachable_after=15.0,
    stalled_after=5.0,
    give_up_after=45.0,
    missing_polls=3,
    missing_time=10.0,
)
"""Conclusions within a minute, so that a random life comes to some."""

LATE_AGE = 30.0
"""Seconds from which on the runs of a random life are late."""

CALM = replace(BRISK, deadline=1e6, unreachable_after=1e6)
"""The same without flags, for tests of everything else."""

ALIVE = (State.UNKNOWN, State.PENDING, State.RUNNING)
REPORTED_ENDS = (State.SUCCEEDED, State.FAILED, State.STOPPED)
ANSWERABLE = (State.PENDING, State.RUNNING, *REPORTED_ENDS)
SILENT = (Outcome.UNREACHABLE, Outcome.THROTTLED, Outcome.UNAUTHORIZED)
REPLIES_WITHOUT_STATUS = (Outcome.UNRECOGNIZED, Outcome.REJECTED)
NO_ANSWER = (*REPLIES_WITHOUT_STATUS, *SILENT)


def entry(follow: bool = False, policy: Policy = CALM, **told: Any) -> Entry:
    """An entry of the watchlist."""
    return Entry(NAME, "studio", "system-task", follow=follow, policy=policy, **told)


def task_in(
    state: State, *, follow: bool = False, policy: Policy = CALM, contact: Contact | None = None, **known: Any
) -> Task:
    """A task first seen at `T0` and now in ``state``, with whatever else is ``known`` of it."""
    status = Status(**{"first_seen_at": T0, "since": T0, "run_since": T0, "state": state, **known})
    return Task(entry(follow, policy), status, contact or Contact())


def answer(state: State, **told: Any) -> Observation:
    """A poll that was told ``state``."""
    return Observation(Outcome.ANSWERED, state, **told)


def poll(task: Task, *polls: tuple[float, Observation]) -> Task:
    """The task after ``polls``, each so many seconds after `T0`."""
    for after, seen in polls:
        task = advance(task, seen, T0 + after).task
    return task


@dataclass(frozen=True, slots=True)
class Moment:
    """A poll, or a lapse, ``gap`` seconds after the last; ``held``: a closed connection holds a poll back."""

    gap: float
    seen: Observation | None = None
    held: bool = False


@dataclass(frozen=True, slots=True)
class Lived:
    """One moment of a life and what became of it."""

    moment: Moment
    now: float
    held_since: float | None
    before: Task
    step: Step

    @property
    def after(self) -> Status:
        """The status the moment left behind."""
        return self.step.task.status


def live(start: Task, moments: Iterable[Moment]) -> Sequence[Lived]:
    """What becomes of ``start``, first seen at `T0`, through all ``moments``."""
    lived: list[Lived] = []
    task, now, held_since = start, T0, None
    for moment in moments:
        held_since = (now if held_since is None else held_since) if moment.held else None
        now += moment.gap
        step = _happen(task, moment, now, held_since)
        lived.append(Lived(moment, now, held_since, task, step))
        task = step.task
    return lived


def _happen(task: Task, moment: Moment, now: float, held_since: float | None) -> Step:
    if moment.seen is None:
        return lapse(task, now, held_since, LATE_AGE)
    return advance(task, moment.seen, now, LATE_AGE)


_ANSWERS = tuple(
    answer(state, progress=progress, run_id=run_id, started_at=started_at)
    for state in (*ANSWERABLE, State.PENDING, State.RUNNING, State.RUNNING)
    for progress in (10.0, 20.0, None)
    for run_id in ("a", "b", None)
    for started_at in (None, 0.0, T0 - 20.0)
)
_MISS = Observation(Outcome.MISSING, code="no-such-task", message="there is no such task")
_FAILURES = tuple(Observation(outcome, message=f"{outcome}!") for outcome in NO_ANSWER)
_POLLS = (*_ANSWERS, *[_MISS] * 100, *_FAILURES * 40)
_SPELLS = tuple(
    (moment,) * times
    for gap in (5.0, 1.0, 0.0, 9.0, 14.0)
    for times in (1, 2, 4, 6)
    for moment in (
        *(Moment(gap, seen) for seen in _POLLS),
        *[Moment(gap), Moment(gap, held=True)] * 40,
    )
)

moments = st.lists(st.sampled_from(_SPELLS), min_size=1, max_size=30).map(lambda spells: [*chain(*spells)])
"""Whatever may happen to a task, some of it several times in a row."""

lives = st.builds(
    live, st.sampled_from([True, True, False]).map(lambda follow: begin(entry(follow, BRISK), T0)), moments
)
"""Whole lives, of followed tasks and others."""
