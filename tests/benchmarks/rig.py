"""What is measured, and beside what: the canned server, the bare loop and the daemon, each a process of its own."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests.benchmarks.canned import COUNT_PATH
from tests.benchmarks.processes import BenchmarkError, Process, running
from tests.benchmarks.trainings import KIND, OPERATION, training_params

IN_FLIGHT = 32
"""Requests under way at once, at most: the daemon's default, and the coroutines of the bare loop."""
LONGEST_START = 120.0
"""Seconds that a daemon with many tasks may take to be ready, on a busy machine."""
_READY = r'"event": ?"(daemon.ready)"'


@dataclass(frozen=True, slots=True)
class Window:
    """What was counted while one client polled."""

    seconds: float
    requests: int
    cpu_seconds: float
    server_cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Server:
    """The canned server."""

    process: Process
    url: str

    def requests(self) -> int:
        """How many there were so far."""
        return int(get(self.url, COUNT_PATH))

    def window(self, client: Process, seconds: float) -> Window:
        """What ``client`` asks in so many seconds. BenchmarkError if that is nothing."""
        began, requests, cpu, server_cpu = self._sample(client)
        time.sleep(seconds)
        ended, requests_now, cpu_now, server_cpu_now = self._sample(client)
        if requests_now == requests:
            raise BenchmarkError(f"{client.name} asked for nothing in {seconds:g} s")
        return Window(ended - began, requests_now - requests, cpu_now - cpu, server_cpu_now - server_cpu)

    def until_asked(self, seconds: float, client: Process) -> None:
        """Waits for the next request of ``client``. BenchmarkError if none comes in so many seconds."""
        requests, deadline = self.requests(), time.monotonic() + seconds
        while self.requests() == requests:
            client.check()
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{client.name} asked for nothing in {seconds:g} s")
            time.sleep(0.01)

    def _sample(self, client: Process) -> tuple[float, int, float, float]:
        return time.monotonic(), self.requests(), client.cpu_seconds(), self.process.cpu_seconds()


@dataclass(frozen=True, slots=True)
class Daemon:
    """A daemon that is running, and where it is to be asked."""

    process: Process
    url: str

    def scrape(self) -> str:
        """The page of metrics."""
        return get(self.url, "/metrics")

    def check_answered(self) -> None:
        """BenchmarkError if it made anything of an answer but an answer: a failed poll costs something else."""
        outcomes = re.findall(r'poller_polls_total\{.*outcome="(\w+)".*\} (\S+)', self.scrape())
        counts = {outcome: float(count) for outcome, count in outcomes if float(count)}
        if set(counts) != {"answered"}:
            raise BenchmarkError(f"polls of the daemon did not bring answers: {counts}")

    def lag(self) -> Mapping[float, float]:
        """How many polls were sent up to so many seconds late, so far."""
        found = re.findall(r'poller_poll_lag_seconds_bucket\{.*le="([^"]+)".*\} (\S+)', self.scrape())
        return {float(bound): float(count) for bound, count in found}


def quantile(before: Mapping[float, float], after: Mapping[float, float], share: float) -> float:
    """The bucket's bound below which ``share`` of what was counted in between lies."""
    counts = {bound: after[bound] - before.get(bound, 0.0) for bound in sorted(after)}
    return next(bound for bound, count in counts.items() if count >= share * counts[float("inf")])


@contextmanager
def server(folder: Path, polls_to_progress: int = 0) -> Iterator[Server]:
    """The canned server while the context lasts; trainings come further every so many polls, or never."""
    arguments = [str(polls_to_progress)] if polls_to_progress else []
    with running("server", "tests.benchmarks.canned", *arguments, folder=folder) as process:
        yield Server(process, process.until_written(r"listening on (\S+)"))


@contextmanager
def bare_loop(url: str, tasks: int, pace: float, folder: Path) -> Iterator[Process]:
    """The bare loop at work while the context lasts; a pace of 0 is as fast as the answers come."""
    arguments = (url, str(tasks), str(pace), str(IN_FLIGHT))
    with running("bare", "tests.benchmarks.bare", *arguments, folder=folder) as process:
        yield process


@contextmanager
def starting_daemon(config: Path) -> Iterator[Process]:
    """A daemon that has been started, while the context lasts; beside its config lie its store and its log."""
    with running("daemon", "poller", "run", "-c", str(config), folder=config.parent) as process:
        yield process


def ready(process: Process) -> Daemon:
    """Waits until the daemon watches all."""
    process.until_written(_READY, LONGEST_START)
    return Daemon(process, process.until_written(r'"listen": ?"(http://[^"]+)"'))


@contextmanager
def daemon(config: Path) -> Iterator[Daemon]:
    """A daemon that is ready, while the context lasts."""
    with starting_daemon(config) as process:
        yield ready(process)


def write_config(folder: Path, url: str, tasks: int, every: float, rate: float, **more: object) -> Path:
    """A config with so many signed trainings at ``url``, each polled every so many seconds; ``more`` of its sections.

    ``rate`` are polls per second at most: over a little longer than all take by that, the first ones are spread, and
    all that follow lie as far apart.
    """
    delay = f"{max(1, round(every * 1_000))}ms"
    key = {"access_key_id": "bench-key-id", "access_key_secret": "bench-key-secret-of-a-usual-size"}
    search = {"kind": KIND, "endpoint": url, "credentials": key, "rate_limit": f"{rate:.0f}/s"}
    config = {
        "web": {"listen": "127.0.0.1:0"},
        "store": "sqlite:///poller.db",
        "log": {"format": "json"},
        # A forecast would let the polls come in twice as many in the first rounds, and then half as many.
        "schedule": {"initial": delay, "max": delay, "adaptive": False},
        "providers": {"search": {**search, "max_in_flight": IN_FLIGHT}},
        **({"include": ["tasks.jsonl"]} if tasks else {}),
        **more,
    }
    if tasks:
        write_tasks(folder, tasks)
    path = folder / "poller.yaml"
    # JSON is YAML.
    path.write_text(json.dumps(config), "utf-8")
    return path


def write_tasks(folder: Path, tasks: int, label: str = "") -> None:
    """The watchlist; a ``label`` is the first task's."""
    lines = [json.dumps(_entry(number)) for number in range(tasks)]
    if label:
        lines[0] = json.dumps({**_entry(0), "labels": {"bench": label}})
    # Put in place in one step, as editors do: a daemon that looks sees one or the other.
    written = folder / "tasks.jsonl.new"
    written.write_text("\n".join(lines), "utf-8")
    written.replace(folder / "tasks.jsonl")


def _entry(number: int) -> dict[str, object]:
    return {
        "name": f"training-{number}",
        "provider": "search",
        "operation": OPERATION,
        "params": training_params(number),
    }


def get(url: str, path: str) -> str:
    """The body of a GET. BenchmarkError if there is none."""
    connection = HTTPConnection(url.removeprefix("http://").rstrip("/"), timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    except (OSError, HTTPException) as error:
        raise BenchmarkError(f"no answer from {url}{path}: {error}") from None
    finally:
        connection.close()
