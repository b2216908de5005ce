"""What a poll costs: the CPU time of the daemon for each, beside that of a bare loop making the same requests.

Both get the same answers from the same server at the same pace, one after the other, several times. In the window that
is measured nothing ends and nothing changes: that is what almost every poll is like. What the daemon does once a minute
(it writes down when it polled last) is too rare to be seen in it.
"""

import argparse
import json
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.benchmarks.canned import COUNT_PATH
from tests.benchmarks.processes import BenchmarkError, Process, running
from tests.benchmarks.trainings import KIND, OPERATION, training_params

ABOUT = "what a poll costs, compared with the same request made by a bare aiohttp loop"

FLAT_OUT_SECONDS = 2.0
"""Length of the one window without a pace, at most."""
IN_FLIGHT = 32
"""Requests under way at once, at most: the daemon's default, and the coroutines of the bare loop."""
LONGEST_INTERVAL = 2.0
"""Seconds over which the daemon spreads its first polls; were tasks polled less often, they would come in waves."""


@dataclass(frozen=True, slots=True)
class Load:
    """``tasks`` are polled at a ``pace`` per second, and measured in so many ``runs`` of so many ``seconds``.

    ``warm_up`` is how long a client polls before it is measured, seconds; the daemon besides its first round.
    """

    tasks: int = 2_000
    pace: int = 1_000
    runs: int = 3
    seconds: float = 4.0
    warm_up: float = 1.0

    @property
    def interval(self) -> float:
        """Seconds between two polls of a task."""
        return self.tasks / self.pace


@dataclass(frozen=True, slots=True)
class Window:
    """What was counted while one client polled."""

    seconds: float
    requests: int
    cpu_seconds: float
    server_cpu_seconds: float


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
        load, server = self.load, self.server
        ratio = "-" if self.ratio is None else f"{self.ratio:.2f}"
        return "\n".join(
            (
                f"polls: {load.tasks:,} tasks at {load.pace:,}/s, medians of {load.runs} × {load.seconds:g} s",
                "",
                f"{'':<20}{'requests/s':>12}{'CPU µs/request':>16}{'ratio':>8}",
                f"{'daemon':<20}{_numbers(self.daemon)}{ratio:>8}",
                f"{'bare loop':<20}{_numbers(self.bare)}{'1.00':>8}",
                f"{'the same, flat out':<20}{_numbers(self.flat_out)}",
                "",
                f"server: {server.requests_per_cpu_second:,.0f} requests per CPU second, {server.used:.0%} of a CPU",
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


def run(options: argparse.Namespace) -> Report:
    """Measures."""
    given = {field.name: getattr(options, field.name) for field in fields(Load)}
    return measure(_checked(Load(**given)))


def measure(load: Load) -> Report:
    """Alternating runs of both clients against one server. BenchmarkError if one of them does something else."""
    with TemporaryDirectory(prefix="poller-bench-") as name:
        folder = Path(name)
        with _server(folder) as server:
            flat_out = _bare_run(replace(load, seconds=min(load.seconds, FLAT_OUT_SECONDS)), 0, server, folder)
            bare, daemon = [], []
            for _ in range(load.runs):
                bare.append(_bare_run(load, load.pace, server, folder))
                daemon.append(_daemon_run(load, server, folder))
    capacity = _capacity(flat_out, bare + daemon)
    return Report(load, _figures(daemon), _figures(bare), _figures([flat_out]), capacity)


def _checked(load: Load) -> Load:
    if not Path("/proc/self/stat").exists():
        raise BenchmarkError("CPU time is read from /proc, which only Linux has")
    if not (0 < load.tasks <= 100_000 and 0 < load.pace <= 50_000 and 0 < load.runs <= 20 and 0 < load.seconds <= 30):
        raise BenchmarkError("allowed are up to 100000 tasks, a pace of 50000, 20 runs and 30 seconds, none of them 0")
    if not 0 <= load.warm_up <= 30:
        raise BenchmarkError("allowed is a warm-up of up to 30 seconds")
    if load.interval > LONGEST_INTERVAL:
        raise BenchmarkError(f"{load.tasks} tasks need a pace of {load.tasks / LONGEST_INTERVAL:.0f} at least")
    return load


# --- the three processes -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Server:
    process: Process
    url: str

    def requests(self) -> int:
        """How many there were so far."""
        return int(_get(self.url, COUNT_PATH))


@contextmanager
def _server(folder: Path) -> Iterator[_Server]:
    with running("server", "tests.benchmarks.canned", folder=folder) as process:
        yield _Server(process, process.until_written(r"listening on (\S+)"))


def _bare_run(load: Load, pace: int, server: _Server, folder: Path) -> Window:
    arguments = (server.url, str(load.tasks), str(pace), str(IN_FLIGHT))
    started_at = server.requests()
    with running("bare", "tests.benchmarks.bare", *arguments, folder=folder) as process:
        _until_asked(server, started_at, process)
        time.sleep(load.warm_up)
        return _window(process, server, load.seconds)


def _daemon_run(load: Load, server: _Server, folder: Path) -> Window:
    with TemporaryDirectory(dir=folder) as name:
        config = _write_config(load, server.url, Path(name))
        with running("daemon", "poller", "run", "-c", str(config), folder=folder) as process:
            url = process.until_written(r'"listen": ?"(http://[^"]+)"')
            time.sleep(load.interval + load.warm_up)
            window = _window(process, server, load.seconds)
            _check_answered(url)
            return window


def _write_config(load: Load, endpoint: str, folder: Path) -> Path:
    every = f"{load.interval * 1_000:.0f}ms"
    key = {"access_key_id": "bench-key-id", "access_key_secret": "bench-key-secret-of-a-usual-size"}
    config = {
        "web": {"listen": "127.0.0.1:0"},
        "store": "sqlite:///poller.db",
        "log": {"format": "json"},
        "schedule": {"initial": every, "max": every},
        "providers": {
            "search": {
                "kind": KIND,
                "endpoint": endpoint,
                "credentials": key,
                "rate_limit": f"{10 * load.pace}/s",
                "max_in_flight": IN_FLIGHT,
            }
        },
        "include": ["tasks.jsonl"],
    }
    lines = (json.dumps(_entry(number)) for number in range(load.tasks))
    (folder / "tasks.jsonl").write_text("\n".join(lines), "utf-8")
    path = folder / "poller.yaml"
    # JSON is YAML.
    path.write_text(json.dumps(config), "utf-8")
    return path


def _entry(number: int) -> dict[str, object]:
    name, params = f"training-{number}", training_params(number)
    return {"name": name, "provider": "search", "operation": OPERATION, "params": params}


# --- measuring -----------------------------------------------------------------------------------------------------


def _window(process: Process, server: _Server, seconds: float) -> Window:
    began, requests, cpu, server_cpu = _sample(process, server)
    time.sleep(seconds)
    ended, requests_now, cpu_now, server_cpu_now = _sample(process, server)
    if requests_now == requests:
        raise BenchmarkError(f"{process.name} asked for nothing in {seconds:g} s")
    return Window(ended - began, requests_now - requests, cpu_now - cpu, server_cpu_now - server_cpu)


def _sample(process: Process, server: _Server) -> tuple[float, int, float, float]:
    return time.monotonic(), server.requests(), process.cpu_seconds(), server.process.cpu_seconds()


def _until_asked(server: _Server, requests: int, process: Process) -> None:
    """Waits for the first request of ``process``."""
    deadline = time.monotonic() + LONGEST_INTERVAL
    while server.requests() == requests and time.monotonic() < deadline:
        process.check()
        time.sleep(0.02)


def _check_answered(daemon_url: str) -> None:
    """BenchmarkError if the daemon made anything of an answer but an answer: a failed poll costs something else."""
    outcomes = re.findall(r'poller_polls_total\{.*outcome="(\w+)".*\} (\S+)', _get(daemon_url, "/metrics"))
    counts = {outcome: float(count) for outcome, count in outcomes if float(count)}
    if set(counts) != {"answered"}:
        raise BenchmarkError(f"polls of the daemon did not bring answers: {counts}")


def _figures(windows: Iterable[Window]) -> Figures:
    measured = list(windows)
    return Figures(
        requests_per_second=median(window.requests / window.seconds for window in measured),
        cpu_us_per_request=median(window.cpu_seconds / window.requests * 1e6 for window in measured),
    )


def _capacity(flat_out: Window, others: Iterable[Window]) -> Capacity:
    # A tick at least: a window may be too short for one.
    cpu_seconds = max(flat_out.server_cpu_seconds, 0.01)
    used = max(window.server_cpu_seconds / window.seconds for window in others)
    return Capacity(flat_out.requests / cpu_seconds, used)


def _get(url: str, path: str) -> str:
    connection = HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    except (OSError, HTTPException) as error:
        raise BenchmarkError(f"no answer from {url}{path}: {error}") from None
    finally:
        connection.close()
