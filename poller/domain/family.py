"""A family: the runs of what is the same thing, from one run to the next, and what they teach. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from poller.domain.forecast import MOST_RUNS, Outlook, outlook
from poller.domain.lifecycle import run_began
from poller.domain.observation import Observation, Outcome
from poller.domain.progress import Curve, Mark, marked
from poller.domain.prospect import Prospect, prospect
from poller.domain.state import ENDS, State
from poller.domain.task import Status, Task

LATE_SHARE = 0.95
"""Share of a family's runs that are over before one is late."""
_LEAST_RUNS = 3
"""Finished runs from which on they foretell the next: of one or two nobody knows whether they were like the others."""
_LEAST_LATE = 5
"""Finished runs from which on one can be late."""
_STALE = 10
"""One in so many runs being new makes what is known of a family worth working out again."""


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: its duration in seconds, and the progress that was seen on its way."""

    duration: float
    marks: tuple[Mark, ...] = ()


class Family:
    """What the finished runs of a family teach. Worked out when asked for, and not anew with every run."""

    __slots__ = ("_durations", "_late_age", "_new", "_outlook", "curve")

    def __init__(self, runs: Sequence[Run] = ()) -> None:
        """``runs`` are those finished so far, oldest first."""
        self.curve = Curve()
        self._durations: list[float] = []
        self._outlook: Outlook | None = None
        self._late_age: float | None = None
        self._new = 0
        for run in runs:
            self.add(run)

    def add(self, run: Run) -> None:
        """Takes note of a run that has ended."""
        if run.duration <= 0:
            return
        self._durations.append(run.duration)
        del self._durations[:-MOST_RUNS]
        self.curve = self.curve.learned(run.marks, run.duration)
        self._new += 1

    @property
    def is_stale(self) -> bool:
        """Whether so many runs are new that `look` has something to work out."""
        return self._new * _STALE >= len(self._durations) and self._new > 0

    def look(self, running: Sequence[float] = ()) -> Outlook | None:
        """What the durations teach; None while they are too few. ``running``: the ages of runs under way, seconds."""
        if self.is_stale:
            self._new = 0
            count = len(self._durations)
            self._outlook = known = outlook(self._durations, running) if count >= _LEAST_RUNS else None
            self._late_age = known.quantile(LATE_SHARE) if known is not None and count >= _LEAST_LATE else None
        return self._outlook

    @property
    def late_age(self) -> float | None:
        """The age in seconds from which on a run is late for its family; None while too little is known."""
        self.look()
        return self._late_age


UNKNOWN = Family()
"""The family of which no run has ended yet."""


def foresee(family: Family, task: Task, marks: Sequence[Mark], now: float) -> Prospect | None:
    """When the run of ``task`` will probably end; None where there is nothing to await, or nothing known."""
    policy = task.entry.policy
    if task.status.terminal or task.status.state is State.UNKNOWN or not policy.adaptive:
        return None
    age = max(0.0, now - run_began(task.status))
    return prospect(family.look(), family.curve, marks, age, policy, task.contact.attempt)


def marks_after(
    marks: tuple[Mark, ...], before: Status, after: Status, seen: Observation, now: float
) -> tuple[Mark, ...]:
    """``marks`` of a run's progress after ``seen`` made ``after`` of ``before``; another run begins with none."""
    kept = marks if after.run == before.run else ()
    if after.terminal or seen.outcome is not Outcome.ANSWERED or seen.progress is None:
        return kept
    return marked(kept, now - run_began(after), seen.progress)


def finished_run(before: Status, after: Status, marks: tuple[Mark, ...]) -> Run | None:
    """The run that ended as ``before`` became ``after``; None if none did, or if nobody knows how long it took.

    ``marks`` are those from before its end.
    """
    ended = after.state in ENDS and (before.state not in ENDS or after.run != before.run)
    if not ended:
        return None
    if after.duration is not None:
        duration: float | None = after.duration
    else:
        # Without a start that was told, only what was seen alive was timed.
        seen_alive = before.state not in (*ENDS, State.UNKNOWN)
        duration = after.ended_at - after.run_since if seen_alive and after.ended_at is not None else None
    return Run(duration, marks) if duration is not None and duration > 0 else None
