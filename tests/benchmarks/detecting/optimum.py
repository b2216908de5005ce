"""The best that any schedule can do that knows the true distribution of durations, and nothing of a single task.

Few requests: dynamic programming over a grid of times, with a price for each request. Many: the density of polls that
the calculus of variations gives, the square root of the hazard rate, which that tends to as they get many.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, count, pairwise

from tests.benchmarks.detecting.replay import Figures, at_times
from tests.benchmarks.detecting.workload import Workload

_POINTS = 320
_FURTHEST = 60
"""Points of the grid that a step may span."""
_ROUNDS = 18


def optimum(workload: Workload, survival: Callable[[float], float], most: float) -> Figures | None:
    """The least mean delay with at most ``most`` requests for a task on average."""
    grid = _grid(survival)
    alive = [survival(time) for time in grid]
    found = [
        figures
        for plan in (_programmed, _dense)
        if (figures := _cheapest(workload, lambda price, plan=plan: plan(grid, alive, price), most)) is not None  # type: ignore[misc]
    ]
    return min(found, key=lambda figures: figures.delay_mean, default=None)


def _grid(survival: Callable[[float], float]) -> list[float]:
    low = high = 1.0
    while survival(low) < 0.9999:
        low /= 1.1
    while survival(high) > 0.0001:
        high *= 1.1
    return [0.0, *(low * (high / low) ** (index / (_POINTS - 1)) for index in range(_POINTS))]


def _cheapest(workload: Workload, plan: Callable[[float], list[float]], most: float) -> Figures | None:
    low, high, best = 1e-6, 1e9, None
    for _ in range(_ROUNDS * 2):
        price = math.sqrt(low * high)
        figures = at_times(workload, _then_doubling(plan(price)))
        if figures.requests <= most:
            best, high = figures, price
        else:
            low = price
    return best


def _then_doubling(times: Sequence[float]) -> Callable[[], Iterator[float]]:
    """``times``, and beyond them ever longer steps."""

    def generate() -> Iterator[float]:
        yield from times
        last = times[-1]
        step = max(last / 50.0, 1e-3)
        for _ in count():
            last += step
            step *= 1.5
            yield last

    return generate


def _programmed(grid: Sequence[float], alive: Sequence[float], price: float) -> list[float]:
    """The times that minimize price × requests + delay, of those on the grid."""
    spans = [
        (right - left) * (before + after) / 2
        for (left, right), (before, after) in zip(pairwise(grid), pairwise(alive), strict=True)
    ]
    lived = [0.0, *accumulate(spans)]
    last = len(grid) - 1
    cost, following = [price * share for share in alive], [last] * len(grid)
    for here in range(last - 1, -1, -1):
        ends = range(here + 1, min(last, here + _FURTHEST) + 1)
        costs = [
            alive[here] * (grid[there] - grid[here]) - (lived[there] - lived[here]) + cost[there] for there in ends
        ]
        least = min(costs)
        cost[here] = price * alive[here] + least
        following[here] = ends[costs.index(least)]
    times, here = [], 0
    while here < last:
        here = following[here]
        times.append(grid[here])
    return times


def _dense(grid: Sequence[float], alive: Sequence[float], price: float) -> list[float]:
    """Times as dense as the square root of the hazard rate."""
    pairs = zip(pairwise(grid), pairwise(alive), strict=True)
    steps = [
        math.sqrt(max(0.0, before - after) * (right - left) / max((before + after) / 2, 1e-12))
        for (left, right), (before, after) in pairs
    ]
    effort = [0.0, *accumulate(steps)]
    step, times = math.sqrt(2.0 * price), []
    for number in range(1, min(20_000, int(effort[-1] / step)) + 1):
        wanted = number * step
        right = min(max(bisect_right(effort, wanted), 1), len(effort) - 1)
        span = effort[right] - effort[right - 1]
        share = (wanted - effort[right - 1]) / span if span > 0 else 1.0
        times.append(grid[right - 1] + share * (grid[right] - grid[right - 1]))
    return times or [grid[bisect_left([-share for share in alive], -0.01) - 1]]
