"""How long the runs of a task took, as bars side by side. Pure: lengths and places only, the template draws them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from poller.domain.durations import format_duration
from poller.domain.events import Transition
from poller.domain.state import State

WIDTH, HEIGHT = 600, 140
"""Of the whole, in its own units."""
_LEFT, _TOP, _BOTTOM = 64, 10, 8
_BROADEST = 36

_NICE_SECONDS = (
    *(1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    *(60.0 * minutes for minutes in (1, 2, 5, 10, 15, 30)),
    *(3600.0 * hours for hours in (1, 2, 3, 6, 12, 24)),
)


@dataclass(frozen=True, slots=True)
class Bar:
    """One run."""

    x: float
    y: float
    width: float
    height: float
    state: State
    run: int
    words: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line across, at a duration."""

    y: float
    words: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Bars of runs, oldest first, on lines at round durations. ``description`` says in words what is to be seen."""

    bars: Sequence[Bar]
    lines: Sequence[Line]
    description: str


def plot(runs: Sequence[tuple[Transition, float]]) -> Plot | None:
    """A plot of finished ``runs`` with their durations in seconds, newest first; None for one alone, or none."""
    timed = [(run, max(0.0, duration)) for run, duration in reversed(runs)]
    if len(timed) < 2:
        return None
    durations = [duration for _, duration in timed]
    step = _step(max(durations))
    highest = max(step, math.ceil(max(durations) / step) * step)
    scale, room = (HEIGHT - _TOP - _BOTTOM) / highest, min(_BROADEST, (WIDTH - _LEFT) / len(timed))
    width = room * 0.7
    bars = [
        Bar(
            x=round(_LEFT + (place + 0.5) * room - width / 2, 1),
            y=round(HEIGHT - _BOTTOM - max(1.0, duration * scale), 1),
            width=round(width, 1),
            height=round(max(1.0, duration * scale), 1),
            state=run.target,
            run=run.run,
            words=f"run {run.run}: {run.target} after {format_duration(duration)}",
        )
        for place, (run, duration) in enumerate(timed)
    ]
    lines = [
        Line(round(HEIGHT - _BOTTOM - count * step * scale, 1), format_duration(count * step))
        for count in range(round(highest / step) + 1)
    ]
    return Plot(bars, lines, _description(durations))


def _step(longest: float) -> float:
    """A round duration that goes into ``longest`` at most about four times."""
    whole_days = math.ceil(longest / 4 / 86_400.0) * 86_400.0
    return next((step for step in _NICE_SECONDS if longest / step <= 4), whole_days)


def _description(durations: Sequence[float]) -> str:
    known = sorted(durations)
    shortest, middle, longest = (format_duration(each) for each in (known[0], known[(len(known) - 1) // 2], known[-1]))
    return (
        f"{len(durations)} finished runs, oldest first: from {shortest} to {longest}, "
        f"half of them within {middle}; the last took {format_duration(durations[-1])}."
    )
