"""A family: the runs of what is the same thing, from one run to the next, and what they teach. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from poller.domain.forecast import MOST_RUNS, Outlook, outlook
from poller.domain.progress import Curve, Mark

LATE_SHARE = 0.95
"""Share of a family's runs that are over before one is late."""
_LEAST_LATE = 5
"""Finished runs from which on one can be late."""
_STALE = 10
"""One in so many new runs makes what is known of a family worth working out again."""


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: its duration in seconds, and the progress that was seen on its way."""

    duration: float
    marks: tuple[Mark, ...] = ()


class Family:
    """What the finished runs of a family teach, oldest first. Worked out when asked for, not with every run."""

    def __init__(self, runs: Sequence[Run] = ()) -> None:
        self._durations: list[float] = []
        self._curve = Curve()
        self._outlook: Outlook | None = None
        self._unread = 0
        for run in runs:
            self.add(run)

    def add(self, run: Run) -> None:
        """Takes note of a run that has ended."""
        if not run.duration > 0:
            return
        self._durations.append(run.duration)
        del self._durations[:-MOST_RUNS]
        self._curve = self._curve.learned(run.marks, run.duration)
        self._unread += 1

    @property
    def curve(self) -> Curve:
        """What their progress teaches."""
        return self._curve

    def outlook(self, running: Sequence[float] = ()) -> Outlook | None:
        """What their durations teach; None without any. ``running`` are the ages of runs under way, in seconds."""
        if self._unread * _STALE >= len(self._durations) and self._unread:
            self._outlook = outlook(self._durations, running)
            self._unread = 0
        return self._outlook

    def late_age(self) -> float | None:
        """The age from which on a run is late for its family; None while too little is known."""
        known = self.outlook() if len(self._durations) >= _LEAST_LATE else None
        return None if known is None else known.quantile(LATE_SHARE)
