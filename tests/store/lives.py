"""Tasks for the tests of the store, and a program of its own that holds one and waits to be killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from poller.domain.lifecycle import advance, begin
from poller.domain.observation import Observation, Outcome
from poller.domain.state import State
from poller.domain.task import Entry
from poller.protocols import Batch, Change

T0 = 1_700_000_000.0
ROOT = Path(__file__).parents[2]


def entry(name: str) -> Entry:
    """An entry of the watchlist."""
    return Entry(name, "studio", "system-task", {"task_id": name})


def ended(name: str, at: float = T0 + 5) -> Change:
    """A task that has just been seen to have ended."""
    step = advance(begin(entry(name), T0), Observation(Outcome.ANSWERED, State.SUCCEEDED), at)
    return Change(step.task, step.transition)


def batch_of(*names: str) -> Batch:
    """A commit of tasks that have just ended."""
    return Batch(T0 + 5, [ended(name) for name in names])


_PROGRAM = """
import asyncio, itertools, sys
from poller.store import open_store
from tests.store.lives import batch_of

async def main():
    store = open_store(sys.argv[1])
    await store.open()
    for number in itertools.count():
        print(number, flush=True)
        if sys.argv[2] == "waits":
            await asyncio.Event().wait()
        await store.commit(batch_of(f"{number}a", f"{number}b"))

asyncio.run(main())
"""


@dataclass
class Daemon:
    """A process that works on a store. ``committed`` commits, each of two tasks, are known to have gone in."""

    process: subprocess.Popen[str]
    committed: int = 0

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def follow(self, commits: int) -> None:
        """Returns when it has made so many commits."""
        assert self.process.stdout is not None
        while self.committed < commits:
            self.committed = int(self.process.stdout.readline())

    def kill(self) -> None:
        """SIGKILL, in the middle of whatever it does. What it had told before counts as committed."""
        os.kill(self.pid, signal.SIGKILL)
        told, _ = self.process.communicate()
        whole = told.rpartition("\n")[0]
        if whole:
            self.committed = int(whole.splitlines()[-1])


@contextmanager
def daemon(url: str, does: str) -> Iterator[Daemon]:
    """A process that has opened the store and now ``waits``, or ``commits`` without end."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, url, does], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n", "it could not open the store"
        try:
            yield Daemon(process)
        finally:
            process.kill()
