"""Tasks to try things on, and whole lives of them: observations and lapses in a row.

Moments are whole seconds, so that every sum of them is exact and a test may compare without tolerance.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
    stalled_after=12.0,
    give_up_after=45.0,
    missing_polls=3,
    missing_time=10.0,
)
"""Conclusions within a minute, so that a random life comes to some."""

ALIVE = (State.UNKNOWN, State.PENDING, State.RUNNING)
REPORTED_ENDS = (State.SUCCEEDED, State.FAILED, State.STOPPED)
ANSWERABLE = (State.PENDING, State.RUNNING, *REPORTED_ENDS)
SILENT = (Outcome.UNREACHABLE, Outcome.THROTTLED, Outcome.UNAUTHORIZED)
REPLIES_WITHOUT_STATUS = (Outcome.UNRECOGNIZED, Outcome.REJECTED)
NO_ANSWER = (*REPLIES_WITHOUT_STATUS, *SILENT)


def entry(follow: bool = False, policy: Policy = BRISK, **told: Any) -> Entry:
    """An entry of the watchlist with brisk conclusions."""
    return Entry(NAME, "studio", "system-task", follow=follow, policy=policy, **told)


def task_in(
    state: State, *, follow: bool = False, policy: Policy = BRISK, contact: Contact | None = None, **known: Any
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
    """What happens ``gap`` seconds after the last: a poll, or a lapse; ``held``: a closed connection held a poll back."""

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
        return lapse(task, now, held_since)
    return advance(task, moment.seen, now)


_ANSWERS = tuple(
    answer(state, progress=progress, run_id=run_id, started_at=started_at)
    for state in ANSWERABLE
    for progress in (None, 10.0, 20.0)
    for run_id in (None, "a", "b")
    for started_at in (None, 0.0, T0 - 20.0)
)
_MISSES = (Observation(Outcome.MISSING, code="no-such-task", message="there is no such task"),)
_FAILURES = tuple(Observation(outcome, message=f"{outcome}!") for outcome in NO_ANSWER)
_GAPS = st.integers(0, 9).map(float)

_polls = st.sampled_from(_ANSWERS) | st.sampled_from(_MISSES) | st.sampled_from(_FAILURES)
_moments = st.builds(Moment, _GAPS, _polls) | st.builds(Moment, _GAPS, held=st.booleans())
_spells = st.lists(st.tuples(_moments, st.integers(1, 6)), min_size=1, max_size=12)

moments = _spells.map(lambda spells: [moment for moment, times in spells for _ in range(times)])
"""Whatever may happen to a task, some of it several times in a row."""

lives = st.builds(live, st.booleans().map(lambda follow: begin(entry(follow), T0)), moments)
"""Whole lives, of followed tasks and others."""
