"""When a task will probably end, and where its polls do the most good until then. Pure.

What is known is the distribution of the durations of earlier runs of the task's *family*. From a distribution follow
the times to ask at: for a given number of requests the expected delay is least when polls are as dense as the square
root of the hazard rate (the chance that a task which has not ended yet ends just now). That number, the budget, is what
the plain backoff would have spent: a forecast moves requests to where the end is likely, and adds none.

The square root comes of minimizing ``E[delay] + price * E[requests]`` over the density of polls: J. B. Keller, "Optimum
checking schedules for systems subject to random failure", Management Science 21 (1974).
"""

import math
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from poller.domain.backoff import backoff_polls
from poller.domain.task import Policy

MOST_RUNS = 100
"""Finished runs that a family remembers; older ones no longer say much."""

_HALF_LIFE = 50.0
"""Runs after which an older run counts half: families drift."""
_LEAST_WIDTH = 0.02
"""Of a kernel, in units of the logarithm of a duration: no history is so exact that it would not err by 2 %."""
_DOUBT = 0.004
"""Share of the ends that follow no history, failures above all: looked for from the start on, and for ever."""
_PRIOR_SPREAD, _PRIOR_RUNS = 0.3, 1.0
"""Spread of a family's durations (of their logarithms) before it is known, and how many runs that guess counts for."""
_LEAST_TRIED = 8
"""Durations from which on the width of the kernels is tried out."""
_MOST_TRIED = 50
"""Durations that it is tried out on."""
_FRACTIONS = (1.0, 0.6, 0.35, 0.2, 0.12)
_STRAY = 0.02
"""Share of the durations that may lie apart from all others."""
_LEAST_BUDGET = 0.05
"""Polls; where delays are many times longer than runs, not one in each run is meant."""
_POINTS = 160
"""Of a distribution's grid."""
_REACH = 4.0
"""Widths of a kernel beyond which there is nothing left of it."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """A distribution of durations on a grid: of each time in seconds, the share of tasks that has ended by then.

    ``effort`` is the integral of the square root of the hazard rate up to each time, ``whole`` how much of it a task
    lives through on average. Beyond the grid, what is left ends as in a log-logistic distribution of ``scale``.
    ``tenths`` are the middles of ten equal shares of the durations.
    """

    times: Sequence[float]
    ended: Sequence[float]
    effort: Sequence[float]
    whole: float
    scale: float
    tenths: Sequence[float]
    _budgets: dict[tuple[float, float, float], float] = field(default_factory=dict, compare=False, repr=False)

    def surviving(self, age: float) -> float:
        """The share of tasks that run for longer than ``age``."""
        last = self.times[-1]
        if age >= last:
            return (1.0 - self.ended[-1]) * (self.scale + last) / (self.scale + age)
        return 1.0 - between(age, self.times, self.ended)

    def quantile(self, share: float, age: float = 0.0) -> float:
        """The duration that ``share`` of the tasks do not exceed, among those that run for longer than ``age``."""
        left = self.surviving(age) * (1.0 - share)
        rest = 1.0 - self.ended[-1]
        if left < rest:
            return (self.scale + self.times[-1]) * rest / left - self.scale
        return max(age, between(1.0 - left, self.ended, self.times))

    def next_age(self, age: float, policy: Policy) -> float:
        """The age at which to look again after ``age``, with as many polls in all as ``policy``'s backoff spends."""
        return self._age_at(self._effort_at(age) + self.whole / self._budget(policy))

    def _budget(self, policy: Policy) -> float:
        key = (policy.initial, policy.max, policy.growth)
        if key not in self._budgets:
            polls = sum(backoff_polls(policy, duration) for duration in self.tenths) / len(self.tenths)
            self._budgets[key] = max(polls, _LEAST_BUDGET)
        return self._budgets[key]

    def _effort_at(self, age: float) -> float:
        last = self.times[-1]
        if age >= last:
            return self.effort[-1] + 2.0 * (math.sqrt(self.scale + age) - math.sqrt(self.scale + last))
        return between(age, self.times, self.effort)

    def _age_at(self, effort: float) -> float:
        last = self.effort[-1]
        if effort >= last:
            return ((effort - last) / 2.0 + math.sqrt(self.scale + self.times[-1])) ** 2 - self.scale
        return between(effort, self.effort, self.times)


def outlook(durations: Sequence[float], running: Sequence[float] = ()) -> Outlook | None:
    """What ``durations`` in seconds, oldest first, tell of the next one; None if there are none.

    ``running`` are the ages of tasks that have not ended yet: theirs will be longer than that (censored, as in the
    estimator of Kaplan and Meier: each counts for whatever durations are longer).
    """
    logs = [math.log(max(duration, 1e-3)) for duration in durations[-MOST_RUNS:]]
    if not logs:
        return None
    weights = _censored(logs, _recency(len(logs)), running)
    width = _width(logs, weights)
    low, high = min(logs) - _REACH * width, max(logs) + _REACH * width
    points = [low + (high - low) * i / (_POINTS - 1) for i in range(_POINTS)]
    times = [0.0, *map(math.exp, points)]
    scale = math.exp(_mean(logs, weights))
    known = [0.0, *(_kernels(point, logs, weights, width) for point in points)]
    ended = [(1.0 - _DOUBT) * share + _DOUBT * time / (scale + time) for share, time in zip(known, times, strict=True)]
    efforts, whole = _efforts(times, ended)
    tenths = tuple(between((index + 0.5) / 10.0, ended, times) for index in range(10))
    return Outlook(array("d", times), array("d", ended), array("d", efforts), whole, scale, tenths)


def _recency(count: int) -> list[float]:
    weights = [0.5 ** ((count - 1 - index) / _HALF_LIFE) for index in range(count)]
    total = sum(weights)
    return [weight / total for weight in weights]


def _censored(logs: Sequence[float], weights: list[float], running: Sequence[float]) -> list[float]:
    share = max(weights)
    moved = list(weights)
    for age in running:
        longer = [index for index, log in enumerate(logs) if log > math.log(max(age, 1e-3))]
        total = sum(weights[index] for index in longer)
        for index in longer:
            moved[index] += share * weights[index] / total
    whole = sum(moved)
    return [weight / whole for weight in moved]


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    return sum(weight * value for value, weight in zip(values, weights, strict=True))


def _width(logs: Sequence[float], weights: Sequence[float]) -> float:
    """Of the kernels: Silverman's rule of thumb, or the fraction of it under which each duration is likeliest by the
    others; that is narrower where there are several modes.
    """
    count = 1.0 / sum(weight * weight for weight in weights)
    mean = _mean(logs, weights)
    squares = sum(weight * (log - mean) ** 2 for log, weight in zip(logs, weights, strict=True))
    spread = math.sqrt((_PRIOR_RUNS * _PRIOR_SPREAD**2 + count * squares) / (_PRIOR_RUNS + count))
    widest = max(_LEAST_WIDTH, 0.9 * spread * math.pow(count, -0.2))
    if len(logs) < _LEAST_TRIED:
        return widest
    some = slice(None, None, -(-len(logs) // _MOST_TRIED))
    tried = [max(_LEAST_WIDTH, widest * fraction) for fraction in _FRACTIONS]
    gained = [_likelihood(logs[some], weights[some], width, spread) for width in tried]
    # By chance alone a narrower one looks a little better.
    return tried[max(range(len(tried)), key=lambda index: gained[index] - index / count)]


def _likelihood(logs: Sequence[float], weights: Sequence[float], width: float, spread: float) -> float:
    """The logarithm of how likely each of ``logs`` is by the kernels around the others."""
    scale, whole = -0.5 / (width * width), sum(weights)
    # What belongs to nothing has some chance too, or one outlier would make all kernels wide.
    stray = _STRAY * width / (spread + width)
    total = 0.0
    for log, own in zip(logs, weights, strict=True):
        near = sum([weight * math.exp(scale * (log - other) ** 2) for other, weight in zip(logs, weights, strict=True)])
        total += own * math.log(((near - own) / (whole - own) + stray) / width)
    return total


def _kernels(point: float, logs: Sequence[float], weights: Sequence[float], width: float) -> float:
    scaled = 1.0 / (width * math.sqrt(2.0))
    return math.fsum(
        [0.5 * weight * math.erfc((log - point) * scaled) for log, weight in zip(logs, weights, strict=True)]
    )


def _efforts(times: Sequence[float], ended: Sequence[float]) -> tuple[list[float], float]:
    spans = [after - before for before, after in pairwise(times)]
    alive = [1.0 - (before + after) / 2.0 for before, after in pairwise(ended)]
    ends = [after - before for before, after in pairwise(ended)]
    steps = [math.sqrt(max(0.0, end) * span / left) for span, left, end in zip(spans, alive, ends, strict=True)]
    return [0.0, *accumulate(steps)], sum(step * left for step, left in zip(steps, alive, strict=True))


def between(value: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """``ys`` at ``value`` of the increasing ``xs``, on the straight line between two points."""
    right = min(max(bisect_right(xs, value), 1), len(xs) - 1)
    left = right - 1
    if xs[right] <= xs[left]:
        return ys[right]
    share = (value - xs[left]) / (xs[right] - xs[left])
    return ys[left] + (ys[right] - ys[left]) * min(1.0, max(0.0, share))
