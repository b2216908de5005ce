"""Trouble with the store: polls go on, changes wait and are committed in order, all are told, and the log is calm."""

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from poller.domain.state import TERMINAL
from poller.simulator import STRANGERS, Simulator
from tests.daemon.process import DaemonProcess, daemon, job, local_cloud, poller, write_config
from tests.faultproxy import FaultProxy
from tests.ports import free_port
from tests.postgresql import Address, PostgresServer

pytestmark = pytest.mark.e2e

JOBS = 60
LEASE = 3
SECONDS = 60.0
"""How long something may take on a busy machine."""
ENDLESS = "endless"
WAY = "SELECT transition_id, task, source, target, at FROM transitions ORDER BY seq"


@pytest.fixture(autouse=True)
def every_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Daemons tell what they leave open."""
    monkeypatch.setenv("PYTHONWARNINGS", "default")


@dataclass
class Site:
    """A daemon, the local cloud it polls, and the database behind a network that can be broken."""

    running: DaemonProcess
    simulator: Simulator
    proxy: FaultProxy
    server: PostgresServer
    url: str

    async def execute(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """Runs a statement in the daemon's database, past the broken network."""
        return await asyncio.to_thread(self.server.execute, sql, *arguments, database=self.url)

    async def until_in_trouble(self) -> None:
        """Waits until readiness and metrics tell of it; health does not, and polls go on."""
        asked = self.simulator.requests[ENDLESS]
        async with asyncio.timeout(SECONDS):
            while await standing(self.running) != (503, 0):
                await asyncio.sleep(0.1)
        await self.polled_since(asked)

    async def polled_since(self, asked: int, more: int = 3) -> None:
        """Waits until a task that has not ended has been asked for so many times again."""
        async with asyncio.timeout(SECONDS):
            while self.simulator.requests[ENDLESS] < asked + more:
                await asyncio.sleep(0.05)

    async def stay(self, seconds: float) -> int:
        """Lets the trouble go on, in which polls go on, changes wait and nobody is told; how many changes wait."""
        told = len(self.running.logged("task.transition"))
        asked = self.simulator.requests[ENDLESS]
        for _ in range(int(seconds)):
            await asyncio.sleep(1)
            assert await standing(self.running) == (503, 0)
        await self.polled_since(asked, int(seconds) // 2)
        assert len(self.running.logged("task.transition")) == told
        return await waiting(self.running)

    async def until_well(self) -> None:
        """Waits until readiness and metrics tell that the trouble is over."""
        async with asyncio.timeout(SECONDS):
            while await standing(self.running) != (200, 1) or await waiting(self.running) > JOBS // 4:
                await asyncio.sleep(0.1)

    async def until_over(self) -> None:
        """Waits until every job but the endless one has ended and is told; stops the daemon."""
        async with asyncio.timeout(2 * SECONDS):
            while len(set(ends(self.running.logged("task.transition")))) < JOBS:
                await asyncio.sleep(0.1)
        assert await self.running.stop() == 0

    async def assert_nothing_lost(self, lives: int = 1) -> None:
        """Each job ended once; what is stored was told, once by each life at most, and its ways are unbroken."""
        assert_in_order([tuple(row) for row in await self.execute(WAY)], self.running, lives)


async def standing(running: DaemonProcess) -> tuple[int, int]:
    """Status of readiness, and whether metrics say that the store is up; both are quick, and health is well."""
    async with asyncio.timeout(5):
        ready, _ = await running.get("/-/ready")
        healthy, told = await running.get("/-/healthy")
        up = await gauge(running, "poller_store_up")
    assert healthy == 200, told
    return ready, up


async def waiting(running: DaemonProcess) -> int:
    return await gauge(running, "poller_changes_waiting")


async def gauge(running: DaemonProcess, name: str) -> int:
    _, text = await running.get("/metrics")
    (value,) = [line.split()[1] for line in text.splitlines() if line.startswith(f"{name} ")]
    return int(float(value))


def ends(lines: list[dict[str, Any]]) -> list[str]:
    return [line["task"] for line in lines if line["to"] in TERMINAL]


def assert_in_order(rows: Sequence[tuple[Any, ...]], running: DaemonProcess, lives: int = 1) -> None:
    """Each job has one terminal transition; every transition was logged; each begins where and not before the last.

    A life of the daemon logs it once; the next does so again if the mark that it was told could not be stored.
    """
    counts = Counter(row[1] for row in rows if row[3] in TERMINAL)
    assert counts == {f"job-{number}": 1 for number in range(1, JOBS + 1)}
    logged = Counter(line["transition_id"] for line in running.logged("task.transition"))
    assert set(logged) == {row[0] for row in rows}
    assert max(logged.values()) <= lives
    last: dict[str, tuple[str, float]] = {}
    for _, task, source, target, at in rows:
        state, before = last.get(task, ("unknown", 0.0))
        assert (state, before <= at) == (source, True)
        last[task] = (target, at)


def assert_calm(running: DaemonProcess, troubles: int | None = 1, because: str = "") -> None:
    """The log tells once when a trouble began, once when it was over, and nothing else; it is whole lines of JSON."""
    texts = running.log.read_text("utf-8").splitlines()
    lines = [json.loads(text) for text in texts]
    assert [line for line in lines if "exception" in line or line.get("logger")] == []
    told = [line for line in lines if line["event"].startswith(("store.", "watchlist.", "polling.", "commit."))]
    events = [line["event"] for line in told]
    if troubles is None:
        troubles = len(events) // 2
    assert events == ["store.failing", "store.recovered"] * troubles
    assert all(because in line["error"] for line in told[::2])


@asynccontextmanager
async def site(folder: Path, server: PostgresServer, url: str, **sections: Any) -> AsyncIterator[Site]:
    """Everything, running."""
    port = Address.of(url).port
    generate = {
        "api": "job",
        "count": JOBS,
        "prefix": "job-",
        "pending": ["0s", "3s"],
        "duration": ["1s", "14s"],
        "ends": {"succeeded": 0.8, "failed": 0.15, "stopped": 0.05},
    }
    tasks = [{"api": "job", "name": ENDLESS, "params": {"job_id": ENDLESS}, "duration": "1h"}]
    names = [ENDLESS, *(f"job-{number}" for number in range(1, JOBS + 1))]
    async with local_cloud(generate=generate, tasks=tasks) as (simulator, cloud):
        async with FaultProxy("127.0.0.1", port) as proxy:
            store = url.replace(f":{port}/", f":{proxy.port}/")
            given = {"store": store, "replicas": {"lease": f"{LEASE}s"}, **sections}
            async with daemon(write_config(folder, cloud, [job(name) for name in names], **given)) as running:
                there = Site(running, simulator, proxy, server, url)
                async with asyncio.timeout(SECONDS):
                    while simulator.requests[ENDLESS] < 3:
                        await asyncio.sleep(0.05)
                yield there
        assert simulator.requests[STRANGERS] == 0


# --- the network -----------------------------------------------------------------------------------------------


async def test_a_database_that_does_not_answer(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str
) -> None:
    """For longer than the lease: all goes on, and what waited is committed as soon as it answers again."""
    async with site(tmp_path, postgres_server, postgres_url) as there:
        await there.proxy.blackhole()
        await there.until_in_trouble()
        assert await there.stay(2 * LEASE) > 0
        await there.proxy.heal()
        await there.until_well()
        await there.until_over()
    await there.assert_nothing_lost()
    assert_calm(there.running, because="does not answer in time")


async def test_a_database_that_cannot_be_reached(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str
) -> None:
    """Connections break, and new ones are refused for longer than the lease."""
    async with site(tmp_path, postgres_server, postgres_url) as there:
        await there.proxy.reset()
        await there.proxy.refuse()
        await there.until_in_trouble()
        assert await there.stay(2 * LEASE) > 0
        await there.proxy.heal()
        await there.until_well()
        await there.until_over()
    await there.assert_nothing_lost()
    assert_calm(there.running, because=f":{there.proxy.port}/")


async def test_a_database_far_away(tmp_path: Path, postgres_server: PostgresServer, postgres_url: str) -> None:
    """Everything takes long, and is done all the same: with a lease that fits there is no trouble at all."""
    async with site(tmp_path, postgres_server, postgres_url, replicas={"lease": "30s"}) as there:
        await there.proxy.latency(0.15)
        await there.until_over()
        assert await there.execute("SELECT count(*) FROM replicas") == [(0,)]
    await there.assert_nothing_lost()
    assert_calm(there.running, troubles=0)


async def test_connections_that_break_again_and_again(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str
) -> None:
    """At any moment, in the middle of a commit too: nothing is lost or twice, and no connection is left over."""
    draw = random.Random(7)
    async with site(tmp_path, postgres_server, postgres_url) as there:
        for _ in range(25):
            await there.proxy.reset()
            await asyncio.sleep(draw.uniform(0.0, 0.1))
            await there.proxy.cut_after(draw.randrange(200, 3000))
            await asyncio.sleep(draw.uniform(0.1, 0.6))
            await there.proxy.heal()
            await asyncio.sleep(draw.uniform(0.0, 0.3))
        await there.until_well()
        own = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        async with asyncio.timeout(SECONDS):
            while (await there.execute(own))[0][0] > 4:
                await asyncio.sleep(0.1)
        await there.until_over()
    await there.assert_nothing_lost()
    assert_calm(there.running, troubles=None)


# --- the server ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [PostgresServer.stop, PostgresServer.crash])
async def test_a_server_that_is_away_for_a_while(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str, end: Callable[[PostgresServer], None]
) -> None:
    """Stopped by its administrator, or crashed; it comes back with what was committed."""
    async with site(tmp_path, postgres_server, postgres_url) as there:
        await asyncio.to_thread(end, postgres_server)
        await there.until_in_trouble()
        assert await there.stay(2 * LEASE) > 0
        await asyncio.to_thread(postgres_server.start)
        await there.until_well()
        await there.until_over()
    await there.assert_nothing_lost()
    assert_calm(there.running)


async def test_a_server_that_cannot_be_written(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str
) -> None:
    """As a standby, or one whose disk is full."""
    async with site(tmp_path, postgres_server, postgres_url) as there:
        read_only = postgres_server.read_only()
        await asyncio.to_thread(read_only.__enter__)
        await there.until_in_trouble()
        assert await there.stay(2 * LEASE) > 0
        await asyncio.to_thread(read_only.__exit__, None, None, None)
        await there.until_well()
        await there.until_over()
    await there.assert_nothing_lost()
    assert_calm(there.running, because="read-only")


# --- other sessions --------------------------------------------------------------------------------------------


async def test_a_table_that_another_session_locks(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str
) -> None:
    """For longer than a commit waits: it is tried again, and nobody is kept off meanwhile."""
    async with site(tmp_path, postgres_server, postgres_url) as there:
        other = await asyncpg.connect(postgres_url)
        async with other.transaction():
            await other.execute("LOCK TABLE tasks IN EXCLUSIVE MODE")
            await there.until_in_trouble()
            await there.stay(2)
        await other.close()
        await there.until_well()
        await there.until_over()
    await there.assert_nothing_lost()
    assert_calm(there.running, because="another transaction holds what this one needs")


async def test_a_commit_that_loses_in_a_deadlock(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str
) -> None:
    """It is tried again as a whole."""
    async with site(tmp_path, postgres_server, postgres_url) as there:
        other = await asyncpg.connect(postgres_url)
        await other.execute("SET deadlock_timeout = '1min'")
        async with asyncio.timeout(SECONDS):
            while not await deadlocked(other):
                pass
        await other.close()
        await there.until_well()
        await there.until_over()
    await there.assert_nothing_lost()
    assert_calm(there.running, troubles=None)
    # On a busy machine it may have waited for too long before there was a deadlock; it is tried again all the same.
    reasons = ("was in deadlock", "another transaction holds what this one needs")
    assert any(reason in there.running.logged("store.failing")[-1]["error"] for reason in reasons)


async def deadlocked(other: asyncpg.Connection) -> bool:
    """Locks a task's row, and another one that a commit has locked which waits for the first: it loses, if any does."""
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    locked = "SELECT name FROM tasks WHERE name NOT IN (SELECT name FROM tasks FOR UPDATE SKIP LOCKED) ORDER BY name"
    transaction = other.transaction()
    await transaction.start()
    try:
        await other.execute("SELECT 1 FROM tasks WHERE name = 'job-9' FOR UPDATE")
        while not await other.fetchval(blocked):
            await asyncio.sleep(0.02)
        names = [row["name"] for row in await other.fetch(locked)]
        if not names:
            return False
        # Answered as soon as the other side has lost.
        await other.execute("UPDATE tasks SET name = name WHERE name = $1", names[0])
        return True
    finally:
        await transaction.rollback()


# --- the end ---------------------------------------------------------------------------------------------------


async def test_the_end_comes_soon_while_the_database_does_not_answer(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str
) -> None:
    """Within ten seconds; how much is not committed is told, and the next life finds it out again."""
    async with site(tmp_path, postgres_server, postgres_url) as there:
        await there.proxy.blackhole()
        await there.until_in_trouble()
        left = await there.stay(LEASE)
        there.running.signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await there.running.ended() == 0
        (told,) = there.running.logged("store.not_committed")
        assert told["changes"] >= left > 0
        assert [line for line in there.running.lines() if "exception" in line] == []
        await there.proxy.heal()
        await there.running.start()
        await there.until_over()
    await there.assert_nothing_lost(lives=2)


# --- a disk that is full ---------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own, on which little fits."""
    place = folder / "disk"
    place.mkdir()
    who = () if os.geteuid() == 0 else ("sudo", "-n")
    options = f"size={size},uid={os.geteuid()},gid={os.getegid()}"
    try:
        subprocess.run([*who, "mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small file system cannot be mounted here: {error}")
    try:
        yield place
    finally:
        subprocess.run([*who, "umount", "-l", place], check=True, capture_output=True)


def fill(disk: Path) -> None:
    """Leaves no room."""
    with (disk / "ballast").open("wb", buffering=0) as file:
        for size in (65536, 4096):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue


def make_room(disk: Path) -> None:
    (disk / "ballast").unlink(missing_ok=True)


@pytest.mark.timeout(300)
async def test_a_disk_that_is_full_at_times_and_kills_at_any_moment(tmp_path: Path) -> None:
    """SQLite: each task ends once, whatever was under way; a full disk may refuse the start, in words."""
    draw = random.Random(7)
    generate = {"api": "job", "count": JOBS, "prefix": "job-", "pending": ["0s", "9s"], "duration": ["1s", "40s"]}
    with small_disk(tmp_path, "6m") as disk:
        async with local_cloud(generate=generate) as (_, url):
            names = [f"job-{number}" for number in range(1, JOBS + 1)]
            config = write_config(tmp_path, url, [job(name) for name in names], store=f"sqlite:///{disk}/poller.db")
            running = DaemonProcess(config)
            lives = 5
            for life in range(lives):
                if life % 2:
                    fill(disk)
                await begun(running, disk)
                for _ in range(3):
                    fill(disk)
                    await asyncio.sleep(draw.uniform(0.5, 1.5))
                    make_room(disk)
                    await asyncio.sleep(draw.uniform(0.0, 1.5))
                if draw.random() < 0.5:
                    fill(disk)
                    await asyncio.sleep(draw.uniform(0.0, 1.0))
                await running.kill()
                make_room(disk)
            async with daemon(config) as last:
                await last.until_all_over(JOBS, 2 * SECONDS)
                assert await last.stop() == 0
            with closing(sqlite3.connect(disk / "poller.db")) as connection:
                rows = connection.execute(WAY).fetchall()
    assert_in_order(rows, running, lives)
    assert "Traceback" not in running.log.read_text("utf-8")
    assert any("disk is full" in line.get("error", "") for line in running.logged("store.failing"))


async def begun(running: DaemonProcess, disk: Path) -> None:
    """Starts a daemon; one that a full disk kept from it is started again when there is room."""
    await running.start(wait=False)
    ended = asyncio.ensure_future(running.process.wait())
    ready = asyncio.ensure_future(running.until_ready())
    await asyncio.wait([ended, ready], return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():
        await ready
        return
    await asyncio.gather(ready, return_exceptions=True)
    assert await ended == 1
    make_room(disk)
    await running.start()


# --- the start -------------------------------------------------------------------------------------------------


async def refused(config: Path) -> str:
    """What a daemon says that does not start: one line, and exit status 1."""
    status, out, err = await poller("run", "-c", str(config))
    assert (status, out) == (1, "")
    started, *said = err.splitlines()
    assert json.loads(started)["event"] == "daemon.started"
    (line,) = said
    assert line.startswith("poller: ")
    return line


def config_for(folder: Path, store: str) -> Path:
    return write_config(folder, "http://127.0.0.1:1", [job("a")], store=store)


async def test_a_start_without_a_database(tmp_path: Path, postgres_server: PostgresServer, postgres_url: str) -> None:
    """Nobody listens, the password is wrong, the database is missing: each is told, and no password is."""
    address = Address.of(postgres_url)
    nobody = await refused(config_for(tmp_path, postgres_url.replace(f":{address.port}/", f":{free_port()}/")))
    assert "connection refused" in nobody
    wrong = Address(port=address.port, user=address.user, password="wr0ng-secret", database=address.database)
    line = await refused(config_for(tmp_path, wrong.url(address.database)))
    assert "this user may not log in" in line
    assert "wr0ng" not in line
    missing = await refused(config_for(tmp_path, postgres_server.url("nowhere")))
    assert "there is no such database" in missing
    assert "/nowhere: " in missing


async def test_a_start_on_a_database_that_does_not_answer(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str
) -> None:
    """It does not wait for ever; and it heeds a signal while it waits."""
    del postgres_server
    port = Address.of(postgres_url).port
    async with FaultProxy("127.0.0.1", port) as proxy:
        await proxy.blackhole()
        config = config_for(tmp_path, postgres_url.replace(f":{port}/", f":{proxy.port}/"))
        assert "does not answer in time" in await refused(config)
        running = DaemonProcess(config)
        await running.start(wait=False)
        await running.until_logged("daemon.started")
        running.signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await running.ended() == 0
        assert [line["event"] for line in running.lines()] == ["daemon.started", "daemon.stopped"]


async def test_a_start_without_a_folder(tmp_path: Path) -> None:
    """A store in a file is not put into a folder that nobody made."""
    assert "there is no folder" in await refused(config_for(tmp_path, f"sqlite:///{tmp_path}/nowhere/poller.db"))


async def test_a_start_on_a_newer_store(tmp_path: Path, postgres_server: PostgresServer, postgres_url: str) -> None:
    """Of a version that this one does not know: it is left as it is."""
    newer = "UPDATE poller_schema SET version_num = '9999'"
    async with local_cloud() as (_, cloud):
        for store in (f"sqlite:///{tmp_path}/poller.db", postgres_url):
            async with daemon(write_config(tmp_path, cloud, [job("a")], store=store)) as running:
                assert await running.stop() == 0
        with closing(sqlite3.connect(tmp_path / "poller.db")) as connection, connection:
            connection.execute(newer)
        await asyncio.to_thread(postgres_server.execute, newer, database=postgres_url)
        for store in (f"sqlite:///{tmp_path}/poller.db", postgres_url):
            assert "newer" in await refused(config_for(tmp_path, store))
