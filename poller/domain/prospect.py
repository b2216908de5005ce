"""When the run of one task will probably end, and when to look: of all that is known of it, what is sharpest. Pure.

    basis      known from                                            when to look
    progress   what finished runs taught of the progress (`Curve`)   as dense as the square root of the hazard rate
    history    the durations of finished runs (`Outlook`)            the same
    pace       the latest pace of this run's own progress            ever closer to the end that it leads to
    (none)     -                                                     by the plain backoff

Whichever it is, it spends the requests that the backoff would have spent. A task that outlives what was expected of it
is asked less and less often again, down to the pace of the backoff.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, pairwise

from poller.domain.backoff import backoff, backoff_polls
from poller.domain.forecast import Outlook, between
from poller.domain.progress import Curve, Mark, is_steady, paced_end
from poller.domain.state import State
from poller.domain.task import Policy, Status

FAR, NEAR = 16.0, 4.0
"""How many times the delay of the backoff a run's own pace may stretch a delay to: steady from its start on, or not."""
_CLOSER = 0.7
"""Share of the time to the expected end after which to look again: a pace is no promise."""
_LATER = 0.5
"""The same of the time since then."""

_QUARTERS = 1.349
"""Deviations between the quartiles of a normal distribution; likewise from its median to its last tenth."""
_TENTH = 1.282
_LOWEST, _HIGHEST, _STEP = -6.0, 3.0, 0.05
"""Deviations around an expected end between which polls are placed, in such steps."""


class Basis(StrEnum):
    """What a prospect was made from."""

    HISTORY = "history"
    PROGRESS = "progress"
    PACE = "pace"


@dataclass(frozen=True, slots=True)
class Prospect:
    """The probable end of a run, as ages of it in seconds, and the age at which it is to be looked at next.

    Between ``low`` and ``high`` four of five ends come. ``next_age`` knows no bounds yet.
    """

    basis: Basis
    expected: float
    low: float
    high: float
    next_age: float


@dataclass(frozen=True, slots=True)
class ExpectedEnd:
    """When a run will probably end, epoch seconds. ``low_at`` and ``high_at`` are None where no spread is known."""

    basis: Basis
    at: float
    low_at: float | None
    high_at: float | None


def expected_end(status: Status, foreseen: Prospect | None, began_at: float) -> ExpectedEnd | None:
    """The ``foreseen`` end of the run that began ``began_at``; None where nobody knows, or no end is to come."""
    if foreseen is None or status.state not in (State.PENDING, State.RUNNING):
        return None
    at = began_at + foreseen.expected
    if foreseen.basis is Basis.PACE:
        return ExpectedEnd(foreseen.basis, at, None, None)
    return ExpectedEnd(foreseen.basis, at, began_at + foreseen.low, began_at + foreseen.high)


def prospect(
    outlook: Outlook | None, curve: Curve, marks: Sequence[Mark], age: float, policy: Policy, polls: int
) -> Prospect | None:
    """What there is to be said at ``age`` of a run of which ``marks`` of progress are known; None for nothing.

    ``polls`` are those already spent on it.
    """
    told = curve.duration(marks)
    if told is not None and _is_sharper(told, outlook, age):
        return _by_progress(*told, age, policy, polls)
    if outlook is not None:
        return _by_history(outlook, age, policy)
    return _by_pace(marks, age, policy, polls)


def _is_sharper(told: tuple[float, float], outlook: Outlook | None, age: float) -> bool:
    mean, deviation = told
    if age >= math.exp(mean + _HIGHEST * deviation):
        return False
    if outlook is None:
        return True
    return _QUARTERS * deviation * math.exp(mean) < outlook.quantile(0.75, age) - outlook.quantile(0.25, age)


def _by_history(outlook: Outlook, age: float, policy: Policy) -> Prospect:
    return Prospect(
        Basis.HISTORY,
        expected=outlook.quantile(0.5, age),
        low=outlook.quantile(0.1, age),
        high=outlook.quantile(0.9, age),
        next_age=outlook.next_age(age, policy),
    )


def _by_progress(mean: float, deviation: float, age: float, policy: Policy, polls: int) -> Prospect:
    expected = math.exp(mean)
    whole = backoff_polls(policy, expected)
    budget = max(whole - polls, whole / 3.0, 1.0)
    here = (math.log(age) - mean) / deviation if age > 0 else _LOWEST
    there = between(between(here, _DEVIATIONS, _EFFORT) + _WHOLE / budget, _EFFORT, _DEVIATIONS)
    return Prospect(
        Basis.PROGRESS,
        expected=max(age, expected),
        low=max(age, math.exp(mean - _TENTH * deviation)),
        high=max(age, math.exp(mean + _TENTH * deviation)),
        next_age=math.exp(mean + deviation * there),
    )


def _by_pace(marks: Sequence[Mark], age: float, policy: Policy, polls: int) -> Prospect | None:
    end = paced_end(marks)
    if end is None:
        return None
    usual = backoff(policy.initial, policy.max, policy.growth, polls - 1)
    if age < end:
        wait = min(_CLOSER * (end - age), usual * (FAR if is_steady(marks) else NEAR))
    else:
        wait = min(_LATER * (age - end), usual)
    expected = max(age, end)
    return Prospect(Basis.PACE, expected, expected, expected, age + wait)


def _effort() -> tuple[list[float], list[float], float]:
    """Of a normal distribution: deviations, the integral of the square root of the hazard rate, and its mean share."""
    deviations = [_LOWEST + _STEP * index for index in range(round((_HIGHEST - _LOWEST) / _STEP) + 1)]
    middles = [(before + after) / 2.0 for before, after in pairwise(deviations)]
    alive = [0.5 * math.erfc(middle / math.sqrt(2.0)) for middle in middles]
    densities = [math.exp(-middle * middle / 2.0) / math.sqrt(2.0 * math.pi) for middle in middles]
    steps = [_STEP * math.sqrt(density / left) for density, left in zip(densities, alive, strict=True)]
    return deviations, [0.0, *accumulate(steps)], sum(step * left for step, left in zip(steps, alive, strict=True))


_DEVIATIONS, _EFFORT, _WHOLE = _effort()
