"""How many tasks one daemon can watch: memory, starts, a reload, and what a poll costs among many.

Of a watchlist of JSON lines. Memory is that over a daemon that watches nothing. A start is measured from the command to
the first request, and to when all tasks are watched; the first time with all to be stored, the second time with all
stored already. A reload changes one label of one task.
"""

import argparse
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.benchmarks import polls
from tests.benchmarks.polls import Load
from tests.benchmarks.processes import BenchmarkError
from tests.benchmarks.rig import (
    LONGEST_START,
    Daemon,
    Server,
    daemon,
    get,
    quantile,
    ready,
    server,
    starting_daemon,
    write_config,
    write_tasks,
)

ABOUT = "memory, starts, reload and cost per poll with 100,000 tasks"

_FEW = 1_000
"""Tasks whose polls are compared with those of many, at the same pace."""
_SHARE = 0.99


@dataclass(frozen=True, slots=True)
class ScaleReport:
    """Bytes, seconds and CPU time as they were measured; the lag is the bound of 99 % of the polls about the reload.

    ``idle_share`` is the share of a CPU that the many take at rest, each polled once in ``idle_every`` seconds.
    """

    tasks: int
    bytes_per_task: float
    start_seconds: float
    start_whole_seconds: float
    restart_seconds: float
    restart_whole_seconds: float
    reload_seconds: float
    reload_lag_p99_seconds: float
    cpu_us_many: float
    cpu_us_few: float
    idle_every: float
    idle_share: float

    @property
    def ratio(self) -> float:
        """What a poll costs among many, in polls among few."""
        return self.cpu_us_many / self.cpu_us_few

    def as_json(self) -> dict[str, object]:
        """All of it, for programs."""
        return {**asdict(self), "ratio": self.ratio}

    def as_text(self) -> str:
        """A small table."""
        rows = (
            ("resident memory, bytes per task", f"{self.bytes_per_task:,.0f}"),
            ("start to the first poll, s", f"{self.start_seconds:.1f}"),
            ("start until all are watched, s", f"{self.start_whole_seconds:.1f}"),
            ("restart to the first poll, s", f"{self.restart_seconds:.1f}"),
            ("restart until all are watched, s", f"{self.restart_whole_seconds:.1f}"),
            ("reload that changes one task, s", f"{self.reload_seconds:.1f}"),
            ("99 % of polls about it late by, ms", f"{self.reload_lag_p99_seconds * 1e3:g}"),
            (f"CPU µs/poll, {self.tasks:,} tasks", f"{self.cpu_us_many:.1f}"),
            (f"CPU µs/poll, {_FEW:,} tasks", f"{self.cpu_us_few:.1f}"),
            ("ratio of these", f"{self.ratio:.2f}"),
            (f"of a CPU, polled every {self.idle_every:g} s", f"{self.idle_share:.1%}"),
        )
        return "\n".join((f"scale: {self.tasks:,} tasks", "", *(f"{what:<40}{value:>12}" for what, value in rows)))


def add_options(parser: argparse.ArgumentParser) -> None:
    """How many to watch, and how long to measure."""
    parser.add_argument("--tasks", type=int, default=100_000, help="tasks watched (%(default)s)")
    parser.add_argument("--runs", type=int, default=2, help="starts measured of each kind (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a window (%(default)s)")
    parser.add_argument("--every", type=float, default=300.0, help="seconds between two polls of a task (%(default)s)")


def run(options: argparse.Namespace) -> ScaleReport:
    """Measures."""
    if not (_FEW <= options.tasks <= 1_000_000 and 0 < options.runs <= 10 and 0 < options.every <= 3_600):
        raise BenchmarkError("allowed are 1000 to 1000000 tasks, up to 10 runs and intervals of up to an hour")
    pace = options.tasks / options.every
    with TemporaryDirectory(prefix="poller-bench-") as name:
        folder = Path(name)
        empty = _empty(folder)
        starts = [_start(options, folder) for _ in range(options.runs)]
    few = Load(tasks=_FEW, pace=max(round(pace), _FEW // 30 + 1), runs=options.runs, seconds=options.seconds)
    few_us = polls.measure(replace(few, warm_up=2.0)).daemon.cpu_us_per_request
    return ScaleReport(
        tasks=options.tasks,
        bytes_per_task=median((start.memory - empty) / options.tasks for start in starts),
        start_seconds=median(start.first.polled for start in starts),
        start_whole_seconds=median(start.first.whole for start in starts),
        restart_seconds=median(start.second.polled for start in starts),
        restart_whole_seconds=median(start.second.whole for start in starts),
        reload_seconds=median(start.reload for start in starts),
        reload_lag_p99_seconds=median(start.lag for start in starts),
        cpu_us_many=median(start.cpu_us for start in starts),
        cpu_us_few=few_us,
        idle_every=options.every,
        idle_share=median(start.share for start in starts),
    )


@dataclass(frozen=True, slots=True)
class _Times:
    """Seconds from the command to the first request, and until all tasks are watched."""

    polled: float
    whole: float


@dataclass(frozen=True, slots=True)
class _Start:
    first: _Times
    second: _Times
    memory: float
    reload: float
    lag: float
    cpu_us: float
    share: float


def _empty(folder: Path) -> int:
    with TemporaryDirectory(dir=folder) as name:
        with daemon(write_config(Path(name), "http://127.0.0.1:1", 0, 1.0, 100)) as idle:
            time.sleep(1)
            return idle.process.memory_bytes()


def _start(options: argparse.Namespace, folder: Path) -> _Start:
    # A server for each start: none lives for longer than ten minutes.
    with TemporaryDirectory(dir=folder) as name, server(Path(name)) as served:
        own = Path(name)
        rate = polls.HEADROOM * options.tasks / options.every
        config = write_config(own, served.url, options.tasks, options.every, rate)
        with _timed(config, served, options.every) as (_, first):
            pass
        with _timed(config, served, options.every) as (polling, second):
            # Until each has been polled once, every poll changes something.
            time.sleep(1.2 * options.every + 1)
            window = served.window(polling.process, options.seconds)
            memory = polling.process.memory_bytes()
            reload, lag = _reload(polling, own, options.tasks)
            polling.check_answered()
    cpu_us = window.cpu_seconds / window.requests * 1e6
    return _Start(first, second, memory, reload, lag, cpu_us, window.cpu_seconds / window.seconds)


@contextmanager
def _timed(config: Path, served: Server, every: float) -> Iterator[tuple[Daemon, _Times]]:
    """A daemon that watches all, and how long it took to be that."""
    began = time.monotonic()
    with starting_daemon(config) as process:
        served.until_asked(LONGEST_START + every, process)
        polled = time.monotonic() - began
        polling = ready(process)
        yield polling, _Times(polled, time.monotonic() - began)


def _reload(polling: Daemon, folder: Path, tasks: int) -> tuple[float, float]:
    """Seconds until a changed label is shown, and the bound of the lag of 99 % of the polls meanwhile."""
    before = polling.lag()
    write_tasks(folder, tasks, label="changed")
    began = time.monotonic()
    polling.process.popen.send_signal(signal.SIGHUP)
    while '"changed"' not in get(polling.url, "/api/v1/tasks/training-0"):
        if time.monotonic() - began > 60:
            raise BenchmarkError("the reload took more than a minute")
        time.sleep(0.05)
    took = time.monotonic() - began
    time.sleep(1)
    return took, quantile(before, polling.lag(), _SHARE)
