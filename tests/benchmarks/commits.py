"""What a commit costs: transitions made durable per second, by batches of several sizes, on each kind of store.

The reference, in the same run, is the plainest way to make as many rows durable in as many transactions: an UPDATE and
an INSERT of a few columns with the driver alone, without leases and indexes. PostgreSQL runs with its usual durability
(``fsync`` on), on this machine; without its binaries only SQLite is measured.
"""

import argparse
import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import aiosqlite
import asyncpg

from poller.domain.lifecycle import advance, begin
from poller.domain.observation import Observation, Outcome
from poller.domain.shares import PARTITIONS
from poller.domain.state import State
from poller.domain.task import Entry, Task
from poller.protocols import Batch, Change
from poller.store import SqlStore, open_store
from tests.postgresql import running_server

ABOUT = "transitions made durable per second, compared with the driver alone"

_START = 1_790_000_000.0
_STATES = (State.RUNNING, State.PENDING)

Commit = Callable[[int, int], Awaitable[object]]
"""Makes a batch durable: its number, and how many tasks change in it."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the runs: commits and transitions per second, and the time of ours as a ratio to the driver's."""

    store: str
    batch: int
    commits_per_second: float
    transitions_per_second: float
    ratio: float


@dataclass(frozen=True, slots=True)
class CommitsReport:
    """What was found, a row for each store and size of batch."""

    rows: Sequence[Figures]

    def as_text(self) -> str:
        """A small table."""
        head = f"{'commits':<14}{'batch':>6}{'commits/s':>12}{'transitions/s':>15}{'÷ driver':>10}"
        lines = (
            f"{row.store:<14}{row.batch:>6}{row.commits_per_second:>12,.0f}{row.transitions_per_second:>15,.0f}"
            f"{row.ratio:>10.2f}"
            for row in self.rows
        )
        return "\n".join((head, *lines))

    def as_json(self) -> dict[str, object]:
        """The same for programs."""
        return {"stores": [asdict(row) for row in self.rows]}


def add_options(parser: argparse.ArgumentParser) -> None:
    """How long to measure."""
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds of each window (%(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="windows of each kind (%(default)s)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 20, 200], help="tasks in a commit (%(default)s)")


def run(options: argparse.Namespace) -> CommitsReport:
    """Measures both stores."""
    return CommitsReport(asyncio.run(_measure(options)))


async def _measure(options: argparse.Namespace) -> list[Figures]:
    rows: list[Figures] = []
    with TemporaryDirectory() as folder, running_server() as server:
        server.execute("ALTER SYSTEM SET fsync = on")
        server.restart()
        urls = {"sqlite": f"sqlite:///{folder}/poller.db", "postgresql": server.create_database()}
        for name, url in urls.items():
            bare = _bare_sqlite(Path(folder) / "bare.db") if name == "sqlite" else _bare_postgresql(url)
            async with _store(url) as ours, bare as driver:
                rows += [await _compare(name, ours, driver, batch, options) for batch in options.batches]
    return rows


async def _compare(name: str, ours: Commit, driver: Commit, batch: int, options: argparse.Namespace) -> Figures:
    measured = [
        (await _rate(ours, batch, options.seconds), await _rate(driver, batch, options.seconds))
        for _ in range(options.runs)
    ]
    rate = median(pair[0] for pair in measured)
    return Figures(name, batch, rate, rate * batch, median(theirs / own for own, theirs in measured))


async def _rate(commit: Commit, batch: int, seconds: float) -> float:
    """Commits per second."""
    began, done = time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds or not done:
        await commit(done, batch)
        done += 1
    return done / passed


class _Tasks:
    """Tasks that change their state with every batch they are in."""

    def __init__(self) -> None:
        life = secrets.token_hex(4)
        self._tasks = [begin(Entry(f"{life}-{number}", "jobs", "job"), _START) for number in range(1_000)]
        self._at = _START

    @property
    def entries(self) -> list[Entry]:
        return [task.entry for task in self._tasks]

    def batch(self, number: int, size: int, epochs: dict[int, int] | None) -> Batch:
        self._at += 1.0
        changes = [self._change((number * size + offset) % len(self._tasks)) for offset in range(size)]
        return Batch(self._at, changes, epochs=epochs)

    def _change(self, index: int) -> Change:
        task: Task = self._tasks[index]
        state = _STATES[task.status.transitions % 2]
        step = advance(task, Observation(Outcome.ANSWERED, state, raw_status=state), self._at)
        self._tasks[index] = step.task
        return Change(step.task, step.transition)


@asynccontextmanager
async def _store(url: str) -> AsyncIterator[Commit]:
    store, tasks = open_store(url), _Tasks()
    await store.open()
    try:
        await store.watch(tasks.entries, _START)
        epochs = await _epochs(store)

        async def commit(number: int, size: int) -> object:
            return await store.commit(tasks.batch(number, size, epochs))

        yield commit
    finally:
        await store.close()


async def _epochs(store: SqlStore) -> dict[int, int] | None:
    cluster = store.cluster()
    if cluster is None:
        return None
    await cluster.join("bench", 3_600.0)
    return dict(await cluster.take("bench", PARTITIONS))


_TABLES = (
    "CREATE TABLE bare_tasks (name TEXT PRIMARY KEY, state TEXT, at DOUBLE PRECISION)",
    "CREATE TABLE bare_transitions (id TEXT PRIMARY KEY, task TEXT, state TEXT, at DOUBLE PRECISION)",
)


@asynccontextmanager
async def _bare_sqlite(file: Path) -> AsyncIterator[Commit]:
    async with aiosqlite.connect(file, isolation_level=None) as connection:
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", *_TABLES):
            await connection.execute(statement)
        await connection.executemany("INSERT INTO bare_tasks VALUES (?, '', 0)", [(str(n),) for n in range(1_000)])

        async def commit(number: int, size: int) -> object:
            names = [str((number * size + offset) % 1_000) for offset in range(size)]
            await connection.execute("BEGIN IMMEDIATE")
            await connection.executemany(
                "UPDATE bare_tasks SET state = ?, at = ? WHERE name = ?", [("running", number, name) for name in names]
            )
            rows = [(secrets.token_hex(16), name, "running", number) for name in names]
            await connection.executemany("INSERT INTO bare_transitions VALUES (?, ?, ?, ?)", rows)
            return await connection.execute("COMMIT")

        yield commit


@asynccontextmanager
async def _bare_postgresql(url: str) -> AsyncIterator[Commit]:
    connection = await asyncpg.connect(url)
    try:
        for statement in _TABLES:
            await connection.execute(statement)
        await connection.executemany("INSERT INTO bare_tasks VALUES ($1, '', 0)", [(str(n),) for n in range(1_000)])

        async def commit(number: int, size: int) -> object:
            names = [str((number * size + offset) % 1_000) for offset in range(size)]
            async with connection.transaction():
                await connection.executemany(
                    "UPDATE bare_tasks SET state = $1, at = $2 WHERE name = $3",
                    [("running", float(number), name) for name in names],
                )
                rows = [(secrets.token_hex(16), name, "running", float(number)) for name in names]
                await connection.executemany("INSERT INTO bare_transitions VALUES ($1, $2, $3, $4)", rows)
            return None

        yield commit
    finally:
        await connection.close()
