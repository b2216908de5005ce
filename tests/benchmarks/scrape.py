"""What a scrape costs: seconds for the page of metrics, and for how long it keeps the event loop from other work.

Then, while the page is written some more times, another connection asks for the daemon's health, again and again: the
longest that this takes is the longest that the loop was held, and a little more.
"""

import argparse
import threading
import time
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.benchmarks import polls
from tests.benchmarks.polls import Load
from tests.benchmarks.processes import BenchmarkError
from tests.benchmarks.rig import Daemon, daemon, server, write_config

ABOUT = "what a scrape costs, and how long it holds the event loop"


@dataclass(frozen=True, slots=True)
class ScrapeReport:
    """Medians over the scrapes; ``held`` is the longest that the loop did not answer during any of them."""

    tasks: int
    scrapes: int
    page_bytes: int
    first_seconds: float
    seconds: float
    held_seconds: float
    gzip_seconds: float

    def as_json(self) -> dict[str, object]:
        """All of it, for programs."""
        return asdict(self)

    def as_text(self) -> str:
        """A small table."""
        rows = (
            ("the first one, ms", f"{self.first_seconds * 1e3:.0f}"),
            ("each, ms", f"{self.seconds * 1e3:.0f}"),
            ("each, compressed, ms", f"{self.gzip_seconds * 1e3:.0f}"),
            ("loop held at most, ms", f"{self.held_seconds * 1e3:.0f}"),
        )
        head = f"scrape: {self.tasks:,} tasks, {self.page_bytes / 1e6:.1f} MB, medians of {self.scrapes}"
        return "\n".join((head, "", *(f"{what:<30}{value:>8}" for what, value in rows)))


def add_options(parser: argparse.ArgumentParser) -> None:
    """How many tasks, how often."""
    parser.add_argument("--tasks", type=int, default=10_000, help="tasks exported (%(default)s)")
    parser.add_argument("--pace", type=int, default=500, help="polls per second meanwhile (%(default)s)")
    parser.add_argument("--runs", type=int, default=15, help="scrapes of each kind (%(default)s)")


def run(options: argparse.Namespace) -> ScrapeReport:
    """Measures."""
    load = Load(tasks=options.tasks, pace=options.pace)
    if load.interval > polls.LONGEST_INTERVAL or not 0 < options.runs <= 1_000:
        raise BenchmarkError(f"allowed are intervals of up to {polls.LONGEST_INTERVAL:g} s, and 1000 scrapes")
    with TemporaryDirectory(prefix="poller-bench-") as name:
        folder = Path(name)
        with server(folder) as served:
            rate = polls.HEADROOM * load.pace
            more = {"metrics": {"max_tasks": options.tasks}}
            config = write_config(folder, served.url, load.tasks, load.interval, rate, **more)
            with daemon(config) as polling:
                time.sleep(2 * load.interval + load.warm_up)
                first, page = _scrape(polling)
                plain = [_scrape(polling)[0] for _ in range(options.runs)]
                zipped = [_scrape(polling, "gzip")[0] for _ in range(options.runs)]
                # Not before: who asks takes turns with who reads the page, in one process.
                with _Watching(polling) as watching:
                    for encoding in ("identity", "gzip") * options.runs:
                        _scrape(polling, encoding)
    return ScrapeReport(
        tasks=options.tasks,
        scrapes=options.runs,
        page_bytes=page,
        first_seconds=first,
        seconds=median(plain),
        held_seconds=watching.longest,
        gzip_seconds=median(zipped),
    )


def _scrape(polling: Daemon, encoding: str = "identity") -> tuple[float, int]:
    """Seconds and bytes of one scrape."""
    connection = HTTPConnection(polling.url.removeprefix("http://").rstrip("/"), timeout=30)
    began = time.monotonic()
    connection.request("GET", "/metrics", headers={"Accept-Encoding": encoding})
    length = len(connection.getresponse().read())
    took = time.monotonic() - began
    connection.close()
    return took, length


class _Watching:
    """Asks for the daemon's health all the time while the context lasts, and notes the longest it had to wait."""

    def __init__(self, polling: Daemon) -> None:
        self.longest = 0.0
        self._polling = polling
        self._over = threading.Event()
        self._asking = threading.Thread(target=self._ask)

    def __enter__(self) -> "_Watching":
        self._asking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._asking.join()

    def _ask(self) -> None:
        connection = HTTPConnection(self._polling.url.removeprefix("http://").rstrip("/"), timeout=30)
        while not self._over.wait(0.002):
            began = time.monotonic()
            connection.request("GET", "/-/healthy")
            connection.getresponse().read()
            self.longest = max(self.longest, time.monotonic() - began)
        connection.close()
