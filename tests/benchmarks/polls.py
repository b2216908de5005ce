"""What a poll costs: the CPU time of the daemon for each, beside that of a bare loop making the same requests.

Both get the same answers from the same server at the same pace, one after the other, several times. As a rule, nothing
ends and nothing changes in the window that is measured, but for the request ids: that is what almost every poll is
like. What the daemon does once a minute (it writes down when it polled last) is too rare to be seen in it.
"""

import argparse
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import sleep

from tests.benchmarks.processes import BenchmarkError
from tests.benchmarks.rig import Server, Window, bare_loop, daemon, server, write_config

ABOUT = "what a poll costs, compared with the same request made by a bare aiohttp loop"

FLAT_OUT_SECONDS = 2.0
"""Length of the one window without a pace, at most."""
LONGEST_INTERVAL = 30.0
"""Seconds between two polls of a task, at most: so long the daemon polls before it is measured."""
HEADROOM = 1.25
"""The rate that is allowed, in paces: so the first polls are spread over one interval."""


@dataclass(frozen=True, slots=True)
class Load:
    """``tasks`` are polled at a ``pace`` per second, and measured in so many ``runs`` of so many ``seconds``.

    ``warm_up`` is how long a client polls before it is measured, seconds; the daemon besides its first rounds. With
    ``changes``, one in so many polls tells another progress.
    """

    tasks: int = 2_000
    pace: int = 1_000
    runs: int = 3
    seconds: float = 4.0
    warm_up: float = 1.0
    changes: int = 0

    @property
    def interval(self) -> float:
        """Seconds between two polls of a task."""
        return self.tasks / self.pace


@dataclass(frozen=True, slots=True)
class Figures:
    """What one client did, the medians of its windows."""

    requests_per_second: float
    cpu_us_per_request: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the server can do: requests in a second of CPU time, and the largest share of a CPU that it needed."""

    requests_per_cpu_second: float
    used: float


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of both clients, and the proof that the server was in nobody's way.

    ``flat_out`` is the bare loop without a pace: where many answers come at once, each costs less.
    """

    load: Load
    daemon: Figures
    bare: Figures
    flat_out: Figures
    server: Capacity

    @property
    def ratio(self) -> float | None:
        """What a poll costs in bare requests; None if so little was measured that they cost nothing."""
        bare = self.bare.cpu_us_per_request
        return self.daemon.cpu_us_per_request / bare if bare else None

    def as_json(self) -> dict[str, object]:
        """All of it, for programs."""
        return {**asdict(self), "ratio": self.ratio}

    def as_text(self) -> str:
        """A small table."""
        load, used = self.load, self.server
        ratio = "-" if self.ratio is None else f"{self.ratio:.2f}"
        changes = f", one in {load.changes} with a change" if load.changes else ""
        return "\n".join(
            (
                f"polls: {load.tasks:,} tasks at {load.pace:,}/s{changes}, medians of {load.runs} × {load.seconds:g} s",
                "",
                f"{'':<20}{'requests/s':>12}{'CPU µs/request':>16}{'ratio':>8}",
                f"{'daemon':<20}{_numbers(self.daemon)}{ratio:>8}",
                f"{'bare loop':<20}{_numbers(self.bare)}{'1.00':>8}",
                f"{'the same, flat out':<20}{_numbers(self.flat_out)}",
                "",
                f"server: {used.requests_per_cpu_second:,.0f} requests per CPU second, {used.used:.0%} of a CPU",
            )
        )


def _numbers(figures: Figures) -> str:
    return f"{figures.requests_per_second:>12,.0f}{figures.cpu_us_per_request:>16.1f}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """How much to poll and to measure."""
    default = Load()
    parser.add_argument("--tasks", type=int, default=default.tasks, help="tasks watched (%(default)s)")
    parser.add_argument("--pace", type=int, default=default.pace, help="polls per second, all together (%(default)s)")
    parser.add_argument("--runs", type=int, default=default.runs, help="windows measured of each (%(default)s)")
    parser.add_argument("--seconds", type=float, default=default.seconds, help="length of a window (%(default)s)")
    parser.add_argument("--warm-up", type=float, default=default.warm_up, help="seconds before it (%(default)s)")
    parser.add_argument("--changes", type=int, default=default.changes, help="one in so many polls tells news, 0: none")


def run(options: argparse.Namespace) -> Report:
    """Measures."""
    return measure(Load(**{field.name: getattr(options, field.name) for field in fields(Load)}))


def measure(load: Load) -> Report:
    """Alternating runs of both clients against one server. BenchmarkError if one of them does something else."""
    _check(load)
    with TemporaryDirectory(prefix="poller-bench-") as name:
        folder = Path(name)
        with server(folder, load.changes) as served:
            flat_out = _bare_run(replace(load, seconds=min(load.seconds, FLAT_OUT_SECONDS)), 0, served, folder)
            bare, polled = [], []
            for _ in range(load.runs):
                bare.append(_bare_run(load, load.pace, served, folder))
                polled.append(_daemon_run(load, served, folder))
    capacity = _capacity(flat_out, bare + polled)
    return Report(load, _figures(polled), _figures(bare), _figures([flat_out]), capacity)


def _check(load: Load) -> None:
    if not Path("/proc/self/stat").exists():
        raise BenchmarkError("the CPU time of a process is read as only Linux tells it")
    if not (0 < load.tasks <= 100_000 and 0 < load.pace <= 50_000 and 0 < load.runs <= 20 and 0 < load.seconds <= 30):
        raise BenchmarkError("allowed are up to 100000 tasks, a pace of 50000, 20 runs and 30 seconds, none of them 0")
    if not (0 <= load.warm_up <= 30 and 0 <= load.changes <= 1_000):
        raise BenchmarkError("allowed are a warm-up of up to 30 seconds, and a change in up to 1000 polls")
    if load.interval > LONGEST_INTERVAL:
        raise BenchmarkError(f"{load.tasks} tasks need a pace of {load.tasks / LONGEST_INTERVAL:.0f} at least")


def _bare_run(load: Load, pace: int, served: Server, folder: Path) -> Window:
    with bare_loop(served.url, load.tasks, pace, folder) as process:
        served.until_asked(LONGEST_INTERVAL, process)
        sleep(load.warm_up)
        return served.window(process, load.seconds)


def _daemon_run(load: Load, served: Server, folder: Path) -> Window:
    with TemporaryDirectory(dir=folder) as name:
        config = write_config(Path(name), served.url, load.tasks, load.interval, HEADROOM * load.pace)
        with daemon(config) as polling:
            # The first polls all bring news, and cost more.
            sleep(2 * load.interval + load.warm_up)
            window = served.window(polling.process, load.seconds)
            polling.check_answered()
            return window


def _figures(windows: Iterable[Window]) -> Figures:
    measured = list(windows)
    return Figures(
        requests_per_second=median(window.requests / window.seconds for window in measured),
        cpu_us_per_request=median(window.cpu_seconds / window.requests * 1e6 for window in measured),
    )


def _capacity(flat_out: Window, others: Iterable[Window]) -> Capacity:
    used = max(window.server_cpu_seconds / window.seconds for window in others)
    return Capacity(flat_out.requests / max(flat_out.server_cpu_seconds, 1e-3), used)
