"""Several replicas on one PostgreSQL store: killing, stopping or starting any of them loses and doubles nothing.

With -s the figures are printed.
"""

import asyncio
import json
import os
import random
import signal
import time
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


async def until_ended(server: PostgresServer, database: str, count: int, seconds: float) -> None:
    """Waits until so many tasks have ended, as far as the store knows."""
    query = "SELECT count(*) FROM tasks WHERE state IN ('succeeded', 'failed', 'stopped')"
    async with asyncio.timeout(seconds):
        while server.execute(query, database=database)[0][0] < count:
            await asyncio.sleep(0.2)


async def until_told(server: PostgresServer, database: str, seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while server.execute("SELECT count(*) FROM transitions WHERE told_at IS NULL", database=database)[0][0]:
            await asyncio.sleep(0.1)


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


@pytest.mark.timeout(400)
async def test_replicas_killed_stopped_and_started_at_random(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """And the database restarted: each task ends once, told by somebody; no task is shown by two replicas, nor polled
    by two but when it goes from one to the other.
    """
    database = postgres_server.create_database()
    tasks = [job(name) for name in names(TASKS)]
    async with cloud_of_replicas(generate=generated(TASKS, f"{DISTURBED_SECONDS + 15:.0f}s")) as cloud:
        replicas = Replicas(tmp_path, 3, cloud, database, tasks, **QUICK)
        try:
            await replicas.start()
            disturber, inspector = Disturber(replicas, postgres_server, seed=6), Inspector(replicas)
            looking = asyncio.create_task(inspector.look())
            await disturber.disturb(DISTURBED_SECONDS)
            await replicas.until_shared(range(3), 60)
            await until_ended(postgres_server, database, TASKS, 120)
            await until_told(postgres_server, database)
            looking.cancel()
            for each in replicas.daemons:
                assert await each.stop() == 0
        finally:
            await replicas.stop()
    count = assert_each_ended_once(postgres_server, database, replicas, set(names(TASKS)))
    assert inspector.scrapes > 10
    assert inspector.twice == []
    assert_polled_by_one(cloud, disturber)
    assert_calm(replicas)
    fenced = len(replicas.logged("commit.fenced"))
    figures = f"{count} transitions, {len(cloud.asked)} polls, {fenced} fenced, {inspector.scrapes} scrapes"
    print(figures, *disturber.done)  # noqa: T201 - figures for people


def assert_polled_by_one(cloud: Cloud, disturber: Disturber) -> None:
    """A task goes back and forth between two replicas only while partitions go from hand to hand."""
    for name, at, before, after in cloud.hand_overs():
        near = [when for when, _ in disturber.disturbed if at - 4 * LEASE <= when <= at + LEASE]
        assert near, f"{name} went from replica {before} to {after} though nothing had happened"


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
    database = postgres_server.create_database()
    count = 60
    async with cloud_of_replicas(generate=generated(count, "10m")) as cloud:
        replicas = Replicas(tmp_path, 3, cloud, database, [job(name) for name in names(count)], **QUICK)
        try:
            await replicas.start()
            killed = time.monotonic()
            await replicas[0].kill()
            await replicas.until_shared((1, 2))
            took = time.monotonic() - killed
            left = time.monotonic()
            assert await replicas[1].stop() == 0
            await replicas.until_shared((2,))
            handed_over = time.monotonic() - left
            figures = f"taken over {took:.1f} s after SIGKILL, {handed_over:.2f} s after SIGTERM"
            print(figures)  # noqa: T201 - figures for people
            await replicas[0].start()
            await replicas.until_shared((0, 2))
            await replicas.until_shown((0, 2), names(count))
        finally:
            await replicas.stop()
    assert replicas.logged("replica.died")


async def test_a_replica_that_comes_back_from_a_long_stop_commits_and_tells_nothing(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """Its leases are stale: what it has is dropped, it says so, and joins anew."""
    database = postgres_server.create_database()
    count = 60
    async with cloud_of_replicas(generate=generated(count, "20s")) as cloud:
        replicas = Replicas(tmp_path, 2, cloud, database, [job(name) for name in names(count)], **QUICK)
        try:
            await replicas.start()
            replicas[0].signal(signal.SIGSTOP)
            await replicas.until_shared((1,))
            await until_ended(postgres_server, database, count, 60)
            await until_told(postgres_server, database)
            told = len(replicas[0].logged("task.transition"))
            replicas[0].signal(signal.SIGCONT)
            await replicas[0].until_logged("replica.lost_leases")
            await replicas.until_shared((0, 1))
            await asyncio.sleep(3 * LOOK_EVERY)
        finally:
            await replicas.stop()
    assert len(replicas[0].logged("task.transition")) == told
    assert_each_ended_once(postgres_server, database, replicas, set(names(count)))


async def test_any_replica_answers_for_all_tasks_and_takes_changes_of_the_watchlist(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """What is added through one is polled within a moment by whoever holds its partition, and shown by all."""
    database = postgres_server.create_database()
    count, token = 40, {"Authorization": "Bearer s3cret"}
    async with cloud_of_replicas(generate=generated(count, "10m")) as cloud:
        tasks = [job(name) for name in names(count)[: count // 2]]
        replicas = Replicas(tmp_path, 3, cloud, database, tasks, **QUICK)
        for each in replicas.daemons:
            text = each.config.read_text("utf-8").replace("web:\n", "web:\n  api_token: s3cret\n")
            each.config.write_text(text, "utf-8")
        try:
            await replicas.start()
            added = "\n".join(json.dumps(job(name)) for name in names(count)[count // 2 :])
            async with aiohttp.ClientSession(headers=token) as session:
                headers = {"Content-Type": "application/x-ndjson"}
                url = f"{replicas[0].url}/api/v1/tasks"
                async with session.post(url, data=added, headers=headers) as answer:
                    assert (answer.status, (await answer.json())["added"]) == (201, count // 2)
                for each in replicas.daemons:
                    async with asyncio.timeout(10):
                        while not all(
                            task["polls"] or task["state"] != "unknown" for task in (await each.tasks()).values()
                        ):
                            await asyncio.sleep(0.05)
                    assert sorted(await each.tasks()) == sorted(names(count))
                async with session.delete(f"{replicas[1].url}/api/v1/tasks/job-{count}") as answer:
                    assert answer.status == 200
                async with session.delete(f"{replicas[2].url}/api/v1/tasks/job-1") as answer:
                    assert answer.status == 409
            for each in replicas.daemons:
                assert len(await each.tasks()) == count - 1
        finally:
            await replicas.stop()
    assert set(cloud.pollers()) == set(names(count))


async def test_the_watchlist_last_loaded_wins_during_a_rollout(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """A replica with another config comes: all follow its watchlist, and what stays is polled without a gap."""
    database = postgres_server.create_database()
    count = 20
    async with cloud_of_replicas(generate=generated(count, "10m")) as cloud:
        first = Replicas(tmp_path, 2, cloud, database, [job(name) for name in names(count)[:15]], **QUICK)
        (tmp_path / "new").mkdir()
        second = Replicas(tmp_path / "new", 1, cloud, database, [job(name) for name in names(count)[5:]], **QUICK)
        try:
            await first.start()
            await second[0].start()
            async with asyncio.timeout(20):
                while True:
                    running = (*first.daemons, *second.daemons)
                    shown = [name for each in running for name in task_series(await metrics(each))]
                    if sorted(shown) == sorted(names(count)[5:]):
                        break
                    await asyncio.sleep(0.1)
            for each in first.daemons:
                assert await each.stop() == 0
            await second.until_shared((0,))
            await second.until_shown((0,), names(count)[5:])
        finally:
            await first.stop()
            await second.stop()


async def test_one_poll_at_a_time_goes_out_after_a_refusal_whoever_sends_it(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """Wrong credentials: three replicas together are refused a few times, not a few times each, then all pause."""
    database = postgres_server.create_database()
    count = 60
    async with cloud_of_replicas(generate=generated(count, "10m")) as cloud:
        tasks = [job(name) for name in names(count)]
        replicas = Replicas(tmp_path, 3, cloud, database, tasks, **QUICK)
        for each in replicas.daemons:
            text = each.config.read_text("utf-8")
            each.config.write_text(text.replace("bearer: ", "bearer: wrong-"), "utf-8")
        try:
            await replicas.start()
            for each in replicas.daemons:
                await each.until_logged("provider.paused")
            await asyncio.sleep(2.0)
        finally:
            await replicas.stop()
    assert 1 <= len(cloud.asked) <= 3
