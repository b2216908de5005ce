"""What polls cost at rest and when something changes, how many there can be, and how late they are at half of that.

The costs are those of `polls`, of 10,000 tasks. Then the daemon polls as fast as it can, beside the bare loop as fast
as that can; and then at half its rate, where the share of polls that were sent late is read from its own histogram.
"""

import argparse
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import sleep

from tests.benchmarks import polls
from tests.benchmarks.polls import Load
from tests.benchmarks.rig import Server, bare_loop, daemon, quantile, server, write_config

ABOUT = "what polls cost with and without changes, how many there can be, and how late they are"

CHANGES = 20
"""One in so many polls tells another progress, where something changes."""
_MANY = 2_000
"""Tasks that are polled as fast as it goes; more would only wait longer."""
_SHARE = 0.99


@dataclass(frozen=True, slots=True)
class ThroughputReport:
    """The two reports on cost, requests per second of both flat out, and the bound of 99 % of the lags at half that."""

    unchanged: polls.Report
    changing: polls.Report
    daemon_per_second: float
    bare_per_second: float
    pace: float
    lag_p99_seconds: float

    @property
    def share(self) -> float:
        """Of the bare loop's requests, how many the daemon makes."""
        return self.daemon_per_second / self.bare_per_second

    def as_json(self) -> dict[str, object]:
        """All of it, for programs."""
        told = {**asdict(self), "share": self.share}
        return {**told, "unchanged": self.unchanged.as_json(), "changing": self.changing.as_json()}

    def as_text(self) -> str:
        """The tables of both reports, and two lines."""
        return "\n\n".join(
            (
                self.unchanged.as_text(),
                self.changing.as_text(),
                f"flat out: {self.daemon_per_second:,.0f} polls/s, the bare loop {self.bare_per_second:,.0f}: "
                f"{self.share:.2f} of that",
                f"at {self.pace:,.0f} polls/s, 99 % are sent at most {self.lag_p99_seconds * 1e3:g} ms late",
            )
        )


def add_options(parser: argparse.ArgumentParser) -> None:
    """How much to poll and to measure."""
    default = Load(tasks=10_000)
    parser.add_argument("--tasks", type=int, default=default.tasks, help="tasks watched (%(default)s)")
    parser.add_argument("--pace", type=int, default=default.pace, help="polls per second, all together (%(default)s)")
    parser.add_argument("--runs", type=int, default=default.runs, help="windows measured of each (%(default)s)")
    parser.add_argument("--seconds", type=float, default=default.seconds, help="length of a window (%(default)s)")


def run(options: argparse.Namespace) -> ThroughputReport:
    """Measures."""
    load = Load(tasks=options.tasks, pace=options.pace, runs=options.runs, seconds=options.seconds)
    unchanged, changing = polls.measure(load), polls.measure(replace(load, changes=CHANGES))
    with TemporaryDirectory(prefix="poller-bench-") as name:
        folder = Path(name)
        with server(folder) as served:
            pairs = [(_daemon_rate(load, served, folder), _bare_rate(load, served, folder)) for _ in range(load.runs)]
            per_second, bare = (median(rates) for rates in zip(*pairs, strict=True))
            lags = [_lag(load, per_second / 2, served, folder) for _ in range(load.runs)]
    return ThroughputReport(unchanged, changing, per_second, bare, per_second / 2, median(lags))


def _daemon_rate(load: Load, served: Server, folder: Path) -> float:
    tasks = min(load.tasks, _MANY)
    with TemporaryDirectory(dir=folder) as name:
        # Each is due again at once, and no rate holds it up.
        config = write_config(Path(name), served.url, tasks, 0.001, 100_000)
        with daemon(config) as polling:
            sleep(2 + load.warm_up)
            window = served.window(polling.process, load.seconds)
            polling.check_answered()
            return window.requests / window.seconds


def _bare_rate(load: Load, served: Server, folder: Path) -> float:
    with bare_loop(served.url, load.tasks, 0, folder) as process:
        served.until_asked(polls.LONGEST_INTERVAL, process)
        sleep(load.warm_up)
        window = served.window(process, load.seconds)
        return window.requests / window.seconds


def _lag(load: Load, pace: float, served: Server, folder: Path) -> float:
    with TemporaryDirectory(dir=folder) as name:
        interval = load.tasks / pace
        config = write_config(Path(name), served.url, load.tasks, interval, polls.HEADROOM * pace)
        with daemon(config) as polling:
            # The first polls all bring news, and take so much longer that others have to wait.
            sleep(3 * interval + load.warm_up)
            before = polling.lag()
            sleep(load.seconds)
            return quantile(before, polling.lag(), _SHARE)
