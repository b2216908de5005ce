"""What the progress of a task says of its end. Pure.

Progress is not linear, and some of it is a lie: it starts slowly or ends slowly, stands still at 99 %, jumps back. So a
family learns from its finished runs, at each level of progress, how much longer a run took than its progress promised,
and how far that strays (`Curve`). Where nothing is learned yet, the latest pace of the run itself has to do.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

LEVELS = (0.5, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 97.0, 98.0, 99.0, 99.5)
"""Percent, from which on a level begins; what lies below the first says nothing yet."""

MOST_MARKS = 40
"""Of one run: a mark for each level, and the latest ones."""

_LEAST_RUNS = 3
"""Finished runs from which on a level is believed."""
_MEMORY = 0.1
"""Share of the newest run in what is learned, at least: families drift."""
_EXACTNESS = 0.01
"""Of the logarithm of a duration: progress comes in whole percents, and is read late."""
_PRIOR = 0.3
"""Of the same, divided by the runs learned from."""
_STEADY = 1.15
"""Factor by which two estimates of an end may differ and still agree."""
_LEAST_STRETCH = 0.15
"""Share of a run's age that its latest pace is measured over, at least: a single step says too little."""


class Mark(NamedTuple):
    """When a level of progress was first seen: the run's age in seconds, and the percent."""

    age: float
    percent: float


class Strays(NamedTuple):
    """How the logarithm of (duration / promised duration) of finished runs is distributed."""

    runs: int
    mean: float
    variance: float


@dataclass(frozen=True, slots=True)
class Curve:
    """What finished runs taught of their progress, by level."""

    strays: Sequence[Strays | None] = (None,) * len(LEVELS)

    def learned(self, marks: Iterable[Mark], duration: float) -> "Curve":
        """The curve after one more run, which took ``duration`` seconds and left ``marks``."""
        strays = list(self.strays)
        for index, mark in _by_level(marks).items():
            strays[index] = _averaged(strays[index], math.log(duration / _promised(mark)))
        return Curve(tuple(strays))

    def duration(self, marks: Sequence[Mark]) -> tuple[float, float] | None:
        """How long a run with ``marks`` will take as a whole: mean and deviation of its logarithm; None if unknown."""
        index = level(marks[-1].percent) if marks else -1
        strays = self.strays[index] if index >= 0 else None
        if strays is None or strays.runs < _LEAST_RUNS:
            return None
        mean = math.log(_promised(_by_level(marks)[index])) + strays.mean
        known = strays.variance * (strays.runs + 1) / strays.runs
        return mean, math.sqrt(known + _EXACTNESS**2 + (_PRIOR / strays.runs) ** 2)


def level(percent: float) -> int:
    """The index of the level that ``percent`` is on; -1 below the first."""
    return bisect_right(LEVELS, percent) - 1


def marked(marks: tuple[Mark, ...], age: float, percent: float) -> tuple[Mark, ...]:
    """``marks`` after ``percent`` was read at ``age``. Progress that goes back begins anew: it was wrong before."""
    if age <= 0 or level(percent) < 0 or (marks and marks[-1].percent == percent):
        return marks
    if marks and percent < marks[-1].percent:
        return (Mark(age, percent),)
    if len(marks) < MOST_MARKS:
        return (*marks, Mark(age, percent))
    kept = list(_by_level(marks[:-10]).values())
    return (*kept, *marks[-10:], Mark(age, percent))


def paced_end(marks: Sequence[Mark]) -> float | None:
    """The age at which a run ends that goes on at its latest pace; None if it shows none."""
    if not marks:
        return None
    last = marks[-1]
    earlier = (mark for mark in reversed(marks[:-1]) if last.age - mark.age >= _LEAST_STRETCH * last.age)
    since = next(earlier, Mark(0.0, 0.0))
    return last.age + (100.0 - last.percent) * (last.age - since.age) / (last.percent - since.percent)


def is_steady(marks: Sequence[Mark]) -> bool:
    """Whether the latest pace of a run is that of the whole of it, as far as it has come."""
    end = paced_end(marks) if len(marks) >= _LEAST_RUNS else None
    return end is not None and 1.0 / _STEADY < end / _promised(marks[-1]) < _STEADY


def _by_level(marks: Iterable[Mark]) -> dict[int, Mark]:
    """The first mark of each level."""
    first: dict[int, Mark] = {}
    for mark in marks:
        first.setdefault(level(mark.percent), mark)
    return first


def _promised(mark: Mark) -> float:
    """The duration of a run whose progress were linear."""
    return mark.age * 100.0 / min(mark.percent, 100.0)


def _averaged(before: Strays | None, value: float) -> Strays:
    if before is None:
        return Strays(1, value, 0.0)
    share = max(1.0 / (before.runs + 1), _MEMORY)
    off = value - before.mean
    return Strays(before.runs + 1, before.mean + share * off, (1.0 - share) * (before.variance + share * off * off))
