"""Several replicas on one PostgreSQL store: killing, stopping or starting any of them loses and doubles nothing.

With -s the figures are printed.
"""

import asyncio
import json
import os
import random
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from poller.runtime.membership import LOOK_EVERY
from tests.daemon.process import DaemonProcess, job
from tests.daemon.replicas import (
    Cloud,
    Replicas,
    assert_each_ended_once,
    cloud_of_replicas,
    metrics,
    task_series,
)
from tests.postgresql import PostgresServer

pytestmark = pytest.mark.e2e

TASKS = int(os.environ.get("POLLER_TEST_REPLICATED_TASKS", "2000"))
DISTURBED_SECONDS = float(os.environ.get("POLLER_TEST_REPLICATED_SECONDS", "20"))
CALM_SECONDS = 4.0
ENDLESS = [f"endless-{number}" for number in range(30)]
LEASE = 6.0
QUICK: dict[str, Any] = {"replicas": {"lease": "6s"}, "schedule": {"initial": "1s", "max": "3s"}}


def generated(count: int, seconds: str) -> dict[str, Any]:
    """Jobs that all run for a while, and end one after the other."""
    return {
        "api": "job",
        "count": count,
        "prefix": "job-",
        "pending": ["0s", "3s"],
        "duration": ["2s", seconds],
        "ends": {"succeeded": 0.8, "failed": 0.15, "stopped": 0.05},
    }


def names(count: int) -> list[str]:
    return [f"job-{number}" for number in range(1, count + 1)]


class Disturber:
    """Kills, stops and starts replicas at random, and starts the database anew once; remembers what it did."""

    def __init__(self, replicas: Replicas, server: PostgresServer, seed: int) -> None:
        self._replicas = replicas
        self._server = server
        self._draw = random.Random(seed)
        self.disturbed: list[tuple[float, int]] = []
        self.done: list[str] = []

    async def disturb(self, seconds: float) -> None:
        """At any time at least one replica is untouched, as behind a PodDisruptionBudget."""
        end, restart = time.monotonic() + seconds, time.monotonic() + seconds / 2
        while time.monotonic() < end:
            await asyncio.sleep(self._draw.uniform(0.5, 2.0))
            if restart and time.monotonic() > restart:
                restart = 0.0
                self.done.append("database")
                await asyncio.to_thread(self._server.restart)
            number = self._draw.randrange(len(self._replicas.daemons))
            what = self._draw.choice((self._kill, self._stop, self._leave))
            self._note(number, what.__name__)
            await what(self._replicas[number])
            self._note(number, "back")

    def _note(self, number: int, what: str) -> None:
        self.disturbed.append((time.monotonic(), number))
        self.done.append(what)

    async def _kill(self, running: DaemonProcess) -> None:
        await running.kill()
        await asyncio.sleep(self._draw.uniform(0.0, 1.5 * LEASE))
        await running.start()

    async def _stop(self, running: DaemonProcess) -> None:
        running.signal(signal.SIGSTOP)
        await asyncio.sleep(self._draw.uniform(0.5, 2.5 * LEASE))
        running.signal(signal.SIGCONT)

    async def _leave(self, running: DaemonProcess) -> None:
        assert await running.stop() == 0
        await asyncio.sleep(self._draw.uniform(0.0, 2.0))
        await running.start()


class Inspector:
    """Scrapes all replicas again and again: no task may be shown by two of them."""

    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas
        self.scrapes = 0
        self.twice: list[str] = []

    async def look(self) -> None:
        """Until cancelled."""
        while True:
            pages = await asyncio.gather(*(self._page(each) for each in self._replicas.daemons))
            shown = [name for page in pages for name in page]
            self.twice += {name for name in shown if shown.count(name) > 1} if len(shown) != len(set(shown)) else set()
            self.scrapes += 1
            await asyncio.sleep(0.5)

    async def _page(self, running: DaemonProcess) -> list[str]:
        try:
            async with asyncio.timeout(1.0):
                return task_series(await metrics(running))
        except TimeoutError:
            return []  # It is stopped.


@dataclass(frozen=True)
class Site:
    """Replicas on a database of their own, and the cloud that they poll."""

    server: PostgresServer
    database: str
    cloud: Cloud
    replicas: Replicas

    async def until_ended(self, count: int, seconds: float) -> None:
        """Waits until so many tasks have ended, as far as the store knows, and all that is stored was told."""
        ended = "SELECT count(*) FROM tasks WHERE state IN ('succeeded', 'failed', 'stopped')"
        untold = "SELECT count(*) FROM transitions WHERE told_at IS NULL"
        async with asyncio.timeout(seconds):
            while self._count(ended) < count or self._count(untold):
                await asyncio.sleep(0.2)

    def _count(self, query: str) -> int:
        found: int = self.server.execute(query, database=self.database)[0][0]
        return found


@asynccontextmanager
async def site(
    server: PostgresServer, folder: Path, count: int, seconds: str, replicas: int = 3, **scenario: Any
) -> AsyncIterator[Site]:
    """Replicas, yet to be started, that watch ``count`` jobs of at most so many ``seconds``, and some that do not end;
    killed afterwards.
    """
    database = server.create_database()
    endless = [{"api": "job", "name": name, "params": {"job_id": name}, "duration": "1h"} for name in ENDLESS]
    tasks = [job(name) for name in (*names(count), *ENDLESS)]
    scenario = {"generate": generated(count, seconds), **scenario, "tasks": [*endless, *scenario.get("tasks", ())]}
    async with cloud_of_replicas(**scenario) as cloud:
        async with Replicas(folder, replicas, cloud, database, tasks, **QUICK) as running:
            yield Site(server, database, cloud, running)


@pytest.mark.timeout(400)
async def test_replicas_killed_stopped_and_started_at_random(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """And the database restarted: each task ends once, told by somebody; no task is shown by two replicas, nor polled
    by two while nothing happens.
    """
    async with site(postgres_server, tmp_path, TASKS, f"{DISTURBED_SECONDS + 35:.0f}s") as there:
        replicas = there.replicas
        await replicas.start()
        disturber, inspector = Disturber(replicas, postgres_server, seed=6), Inspector(replicas)
        looking = asyncio.create_task(inspector.look())
        calm = [await calm_time()]
        await disturber.disturb(DISTURBED_SECONDS)
        await replicas.until_shared(range(3), 60)
        calm.append(await calm_time())
        await there.until_ended(TASKS, 120)
        looking.cancel()
        for each in replicas.daemons:
            assert await each.stop() == 0
    count = assert_each_ended_once(postgres_server, there.database, replicas, set(names(TASKS)))
    assert inspector.scrapes > 10
    assert inspector.twice == []
    for begin, end in calm:
        assert there.cloud.polls(begin, end) > 0
        assert there.cloud.polled_by_several(begin, end) == []
    assert_calm(replicas)
    fenced = len(replicas.logged("commit.fenced"))
    figures = f"{count} transitions, {len(there.cloud.asked)} polls, {fenced} fenced, {inspector.scrapes} scrapes"
    print(figures, *disturber.done)  # noqa: T201 - figures for people


async def calm_time() -> tuple[float, float]:
    """Lets some time pass in which nothing happens: from when to when. What is under way at first may end before."""
    await asyncio.sleep(1.0)
    begin = time.monotonic()
    await asyncio.sleep(CALM_SECONDS)
    return begin, time.monotonic()


def assert_calm(replicas: Replicas) -> None:
    """No traceback, and no fault of poller's own."""
    for each in replicas.daemons:
        text = each.log.read_text("utf-8")
        assert "Traceback" not in text, text[text.index("Traceback") - 500 :][:3000]
        assert "never retrieved" not in text


async def test_after_sigkill_the_others_take_over_within_the_lease(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """And after SIGTERM within a second or so: everything is polled and shown again, by one each."""
    count = 60
    async with site(postgres_server, tmp_path, count, "10m") as there:
        replicas = there.replicas
        await replicas.start()
        killed = time.monotonic()
        await replicas[0].kill()
        await replicas.until_shared((1, 2))
        left = time.monotonic()
        assert await replicas[1].stop() == 0
        await replicas.until_shared((2,))
        figures = f"taken over {left - killed:.1f} s after SIGKILL, {time.monotonic() - left:.2f} s after SIGTERM"
        print(figures)  # noqa: T201 - figures for people
        await replicas[0].start()
        await replicas.until_shared((0, 2))
        await replicas.until_shown((0, 2), [*names(count), *ENDLESS])
    assert replicas.logged("replica.died")


async def test_a_replica_that_comes_back_from_a_long_stop_commits_and_tells_nothing(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """Its leases are stale: what it has is dropped, it says so, and joins anew."""
    count = 60
    async with site(postgres_server, tmp_path, count, "20s", replicas=2) as there:
        replicas = there.replicas
        await replicas.start()
        replicas[0].signal(signal.SIGSTOP)
        await replicas.until_shared((1,))
        await there.until_ended(count, 60)
        told = len(replicas[0].logged("task.transition"))
        replicas[0].signal(signal.SIGCONT)
        await replicas[0].until_logged("replica.lost_leases")
        await replicas.until_shared((0, 1))
        await asyncio.sleep(3 * LOOK_EVERY)
    assert len(replicas[0].logged("task.transition")) == told
    assert_each_ended_once(postgres_server, there.database, replicas, set(names(count)))


async def test_any_replica_answers_for_all_tasks_and_takes_changes_of_the_watchlist(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """What is added through one is polled within a moment by whoever holds its partition, and shown by all."""
    count, more = 20, [f"added-{number}" for number in range(20)]
    scripted = [{"api": "job", "name": name, "params": {"job_id": name}, "duration": "10m"} for name in more]
    async with site(postgres_server, tmp_path, count, "10m", tasks=scripted) as there:
        replicas, everything = there.replicas, sorted([*names(count), *ENDLESS, *more])
        replicas.rewrite("web:\n", "web:\n  api_token: s3cret\n")
        await replicas.start()
        async with aiohttp.ClientSession(headers={"Authorization": "Bearer s3cret"}) as session:
            added = "\n".join(json.dumps(job(name)) for name in more)
            headers = {"Content-Type": "application/x-ndjson"}
            async with session.post(f"{replicas[0].url}/api/v1/tasks", data=added, headers=headers) as answer:
                assert (answer.status, (await answer.json())["added"]) == (201, len(more))
            for each in replicas.daemons:
                async with asyncio.timeout(30):
                    while any(task["state"] == "unknown" for task in (await each.tasks()).values()):
                        await asyncio.sleep(0.05)
                assert sorted(await each.tasks()) == everything
                await assert_pages_show(each, everything, replicas=len(replicas.daemons))
            async with session.delete(f"{replicas[1].url}/api/v1/tasks/{more[0]}") as answer:
                assert answer.status == 200
            async with session.delete(f"{replicas[2].url}/api/v1/tasks/job-1") as answer:
                assert answer.status == 409
        for each in replicas.daemons:
            assert more[0] not in await each.tasks()
    assert there.cloud.jobs == set(everything)


async def assert_pages_show(replica: DaemonProcess, tasks: list[str], replicas: int) -> None:
    """All tasks, and all replicas, of which one is marked as this; a task that another polls has a page too."""
    _, page = await replica.get("/?sort=name")
    assert re.findall(r'<tr role="row" data-key="([^"]+)"', page) == tasks
    _, page = await replica.get("/connections")
    assert (page.count('aria-label="Share of '), page.count("shows this page")) == (replicas, 1)
    pages = [await replica.get(f"/tasks/{name}") for name in tasks]
    assert {status for status, _ in pages} == {200}
    assert any("They are known to the replica that polls it." in page for _, page in pages)


async def test_the_watchlist_last_loaded_wins_during_a_rollout(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """A replica with another config comes: all follow its watchlist, and what stays is polled without a gap."""
    count = 20
    newer = [*names(count)[5:], *ENDLESS]
    async with site(postgres_server, tmp_path, count, "10m", replicas=2) as there:
        (tmp_path / "new").mkdir()
        tasks = [job(name) for name in newer]
        async with Replicas(tmp_path / "new", 1, there.cloud, there.database, tasks, **QUICK) as second:
            await there.replicas.start()
            await second[0].start()
            async with asyncio.timeout(60):
                while True:
                    running = (*there.replicas.daemons, *second.daemons)
                    shown = [name for each in running for name in task_series(await metrics(each))]
                    if sorted(shown) == sorted(newer):
                        break
                    await asyncio.sleep(0.1)
            for each in there.replicas.daemons:
                assert await each.stop() == 0
            await second.until_shared((0,))
            await second.until_shown((0,), newer)


async def test_before_the_first_answer_one_poll_at_a_time_goes_out_whoever_sends_it(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """Three replicas begin at once with wrong credentials, and the provider takes its time: never are two polls under
    way, and each replica asks once before it pauses.
    """
    async with site(postgres_server, tmp_path, 60, "10m", latency=["2s", "2s"]) as there:
        there.replicas.rewrite("bearer: ", "bearer: wrong-")
        await there.replicas.start()
        for each in there.replicas.daemons:
            await each.until_logged("provider.paused")
    assert there.cloud.most_at_once == 1
    assert len(there.cloud.asked) <= len(there.replicas.daemons)
