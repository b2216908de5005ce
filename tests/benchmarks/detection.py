"""How soon an end is noticed at the price of how many requests: ours beside the schedules of others, and the optimum.

Every schedule asks for a task at its start. Then the others wait as they do; ours is given ``initial``, ``growth`` and
``max`` such that it spends at most as many requests. Everything runs on a virtual clock, with the domain code of the
daemon.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from statistics import median

from poller.domain.forecast import outlook
from poller.domain.task import Policy
from tests.benchmarks.detecting.optimum import optimum
from tests.benchmarks.detecting.replay import Figures, at_times, ours
from tests.benchmarks.detecting.workload import Workload, built_in, read

ABOUT = "how soon an end is noticed with how many requests, compared with the schedules of others"

_LEAST_HISTORY = 10
"""Finished runs from which on there is an optimum to be compared with."""
_ROUNDS = 11
_CLOSE = 0.993
"""Share of the requests allowed that is near enough."""
_LEAST = 2.0
"""Requests that every schedule needs: at the start, and after the end."""
_STEP = 2.0
_HEAD = f"{'requests':>10}{'delay s':>10}{'p95':>8}"


def _every(seconds: float) -> Callable[[], Iterator[float]]:
    return lambda: (seconds * number for number in count(1))


def _google() -> Iterator[float]:
    time, delay = 0.0, 1.0
    while True:
        time += delay
        yield time
        delay = min(20.0, delay * 1.5)


POLICIES: Mapping[str, Callable[[], Iterator[float]]] = {
    "botocore, azure-core: 30 s": _every(30.0),
    "terraform huaweicloud: 10 s": _every(10.0),
    "airflow: 60 s": _every(60.0),
    "google-api-core: 1 s × 1.5 up to 20 s": _google,
}
"""The schedules of others: the times at which they ask, seconds after the start."""

SHAPES: tuple[Callable[[float], Policy], ...] = (
    lambda pace: Policy(initial=pace, max=pace, growth=1.0),
    lambda pace: Policy(initial=pace / 4, max=pace * 4, growth=1.5),
    lambda pace: Policy(initial=pace / 16, max=pace * 16, growth=1.1),
    lambda pace: Policy(initial=pace / 8, max=pace * 30, growth=1.02),
)
"""What a user would try: an even pace, the default's growth, and two that grow more slowly for longer."""


@dataclass(frozen=True, slots=True)
class Row:
    """One schedule on one workload, and ours with at most as many requests."""

    policy: str
    theirs: Figures
    ours: Figures | None
    optimum: Figures | None

    @property
    def ratio(self) -> float:
        """Our mean delay by theirs."""
        return math.nan if self.ours is None else self.ours.delay_mean / self.theirs.delay_mean

    @property
    def excess(self) -> float | None:
        """Our mean delay by the optimum."""
        return None if self.optimum is None or self.ours is None else self.ours.delay_mean / self.optimum.delay_mean

    def as_json(self) -> dict[str, object]:
        """All of it, for programs."""
        return {
            "policy": self.policy,
            **asdict(self.theirs),
            "ours": None if self.ours is None else asdict(self.ours),
            "optimum": None if self.optimum is None else asdict(self.optimum),
        }


@dataclass(frozen=True, slots=True)
class Table:
    """Every schedule on one workload."""

    workload: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Every schedule on every workload."""

    tables: tuple[Table, ...]

    def as_json(self) -> list[dict[str, object]]:
        """All of it, for programs."""
        return [{"workload": t.workload, "rows": [row.as_json() for row in t.rows]} for t in self.tables]

    def as_text(self) -> str:
        """A table for each workload."""
        return "\n\n".join("\n".join(_lines(table)) for table in self.tables)


def _lines(table: Table) -> Iterator[str]:
    yield f"{table.workload:<40}{_HEAD}   ours: {_HEAD}{'ratio':>7}{'÷ optimum':>11}"
    for row in table.rows:
        theirs, own = row.theirs, row.ours
        shown = f"{row.policy:<40}{_numbers(theirs)}"
        if own is not None:
            shown += f"{'':>9}{_numbers(own)}{row.ratio:>7.2f}"
        yield shown + (f"{row.excess:>11.2f}" if row.excess is not None else f"{'-':>11}")


def _numbers(figures: Figures) -> str:
    return f"{figures.requests:>10.1f}{figures.delay_mean:>10.2f}{figures.delay_p95:>8.1f}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What to replay."""
    parser.add_argument("--workload", type=Path, metavar="FILE", help="a workload in JSON instead of the built-in ones")


def run(options: argparse.Namespace) -> Report:
    """Replays. BenchmarkError for a file that is no workload."""
    if options.workload is not None:
        return Report((compare(read(options.workload)),))
    with ProcessPoolExecutor() as processes:
        return Report(tuple(processes.map(_built_in, range(len(built_in())))))


def _built_in(index: int) -> Table:
    # Not handed over: the true distribution is a function, which cannot be sent to another process.
    return compare(built_in()[index])


def compare(workload: Workload) -> Table:
    """Every schedule on ``workload``."""
    rows = []
    for name, times in POLICIES.items():
        theirs = at_times(workload, times)
        survival = workload.survival or _smoothed(workload)
        best = optimum(workload, survival, theirs.requests) if survival else None
        rows.append(Row(name, theirs, _tuned(workload, theirs.requests), best))
    return Table(workload.name, tuple(rows))


def _smoothed(workload: Workload) -> Callable[[float], float] | None:
    """The distribution behind one family's durations, all of them smoothed; None where there is no history."""
    if len(workload.families) != 1 or len(workload.families[0].history) < _LEAST_HISTORY:
        return None
    kin = workload.families[0]
    known = outlook([*kin.history, *(job.duration for job in kin.jobs)])
    return None if known is None else known.surviving


def _tuned(workload: Workload, most: float) -> Figures | None:
    """Ours with at most ``most`` requests, in the shape that notices soonest."""
    usual = median(job.duration for job in workload.jobs) / max(1.0, most - 1.0)
    found = [figures for shape in SHAPES if (figures := _paced(workload, shape, most, usual)) is not None]
    return min(found, key=lambda figures: figures.delay_mean, default=None)


def _paced(workload: Workload, shape: Callable[[float], Policy], most: float, usual: float) -> Figures | None:
    """Ours in one shape, with as many requests as it may have and hardly any less."""
    pace, tight, wide, best = usual, 0.0, math.inf, None
    for _ in range(_ROUNDS):
        figures = ours(workload, shape(pace))
        if figures is not None and figures.requests <= most:
            best, wide = figures if best is None or figures.requests > best.requests else best, pace
            if figures.requests - _LEAST >= (most - _LEAST) * _CLOSE:
                break
        else:
            tight = pace
        # Fewer requests with a wider pace as a rule: widened or narrowed until both sides are known, then halved.
        pace = math.sqrt(tight * wide) if tight and wide < math.inf else pace * _STEP if tight else pace / _STEP
    return best
