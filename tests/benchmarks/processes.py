"""The processes of a benchmark: started, waited for, measured, and ended by their own id, whatever happens."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 20.0
"""How long a process may take to start on a busy machine."""
STOP_SECONDS = 5.0
"""How long a process may take to leave when asked to, before it is killed."""
LONGEST_LIFE = 600.0
"""Seconds after which the benchmarks' own processes leave by themselves, should nobody be left to ask them to."""

_ROOT = Path(__file__).parents[2]
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class BenchmarkError(Exception):
    """Why there are no figures."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process that is running, and the file with all that it writes."""

    name: str
    popen: subprocess.Popen[bytes]
    output: Path

    def until_written(self, pattern: str, seconds: float = START_SECONDS) -> str:
        """Waits for ``pattern`` in its output; what its first group matched. BenchmarkError if it does not come."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check()
            if found := re.search(pattern, self.output.read_text("utf-8")):
                return found[1]
            time.sleep(0.02)
        raise BenchmarkError(f"{self.name} did not get so far within {seconds:g} s: {self._last_words()}")

    def check(self) -> None:
        """BenchmarkError if it has ended."""
        if self.popen.poll() is not None:
            raise BenchmarkError(f"{self.name} ended with status {self.popen.returncode}: {self._last_words()}")

    def cpu_seconds(self) -> float:
        """CPU time of all its threads so far, in user mode and in the kernel."""
        self.check()
        # The clock of another process, as clock_getcpuclockid(3) makes it: exact, where /proc/PID/stat counts ticks.
        return time.clock_gettime((~self.popen.pid << 3) | 2)

    def memory_bytes(self) -> int:
        """Its resident memory now, what it shares with others included."""
        self.check()
        pages = int(Path(f"/proc/{self.popen.pid}/statm").read_text("utf-8").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> None:
        """Asks it to leave, and kills it if it does not."""
        try:
            self.popen.terminate()
            self.popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.popen.kill()
            self.popen.wait()

    def _last_words(self) -> str:
        return self.output.read_text("utf-8")[-2_000:].strip() or "it wrote nothing"


@contextmanager
def running(name: str, module: str, *arguments: str, folder: Path) -> Iterator[Process]:
    """``python -m module arguments`` while the context lasts; what it writes goes to a file in ``folder``."""
    process = None
    try:
        with _signals_kept():
            process = _start(name, module, arguments, folder / f"{name}.log")
        yield process
    finally:
        if process is not None:
            process.stop()


def _start(name: str, module: str, arguments: Iterable[str], output: Path) -> Process:
    with output.open("wb") as file:
        popen = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    return Process(name, popen, output)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Keeps SIGINT and SIGTERM until the context ends: in the middle of a start they would leave an orphan."""
    kept: list[int] = []
    handlers = {number: signal.signal(number, lambda got, _: kept.append(got)) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for got in kept:
        signal.raise_signal(got)
