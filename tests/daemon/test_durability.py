"""Nothing is lost and nothing happens twice, whenever the daemon dies."""

import asyncio
import os
import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from poller.domain.state import TERMINAL
from poller.simulator import STRANGERS
from tests.daemon.process import DaemonProcess, daemon, job, local_cloud, write_config

pytestmark = pytest.mark.e2e

TASKS = int(os.environ.get("POLLER_TEST_KILLED_TASKS", "200"))
KILLS = int(os.environ.get("POLLER_TEST_KILLS", "6"))


def assert_each_ended_once(running: DaemonProcess, names: set[str]) -> None:
    """Exactly one terminal transition for each task is stored, and all that is stored was logged under its id."""
    rows = running.stored("SELECT transition_id, task, source, target FROM transitions ORDER BY seq")
    ends = Counter(task for _, task, _, target in rows if target in TERMINAL)
    assert ends == dict.fromkeys(names, 1)
    logged = {line["transition_id"]: line for line in running.logged("task.transition")}
    assert set(logged) == {row[0] for row in rows}
    for transition_id, *way in rows:
        line = logged[transition_id]
        assert [line["task"], line["from"], line["to"]] == way


def assert_ways_are_unbroken(running: DaemonProcess) -> None:
    """Each transition of a task starts where the one before ended."""
    at: dict[str, str] = {}
    for task, source, target in running.stored("SELECT task, source, target FROM transitions ORDER BY seq"):
        assert at.get(task, "unknown") == source
        at[task] = target


@pytest.mark.timeout(600)
async def test_killed_at_random_each_task_ends_once(tmp_path: Path) -> None:
    """SIGKILL at any moment: each task has exactly one terminal transition, and each transition was logged."""
    names = {f"job-{number}" for number in range(1, TASKS + 1)}
    generator = {
        "api": "job",
        "count": TASKS,
        "prefix": "job-",
        "pending": ["0s", "3s"],
        "duration": ["1s", f"{4 + 2 * KILLS}s"],
        "ends": {"succeeded": 0.8, "failed": 0.15, "stopped": 0.05},
    }
    draw = random.Random(7)
    async with local_cloud(generate=generator) as (simulator, url):
        config = write_config(tmp_path, url, [job(name) for name in sorted(names)])
        running = DaemonProcess(config)
        for _ in range(KILLS):
            await running.start(wait=draw.random() < 0.8)
            await asyncio.sleep(draw.uniform(0.0, 2.5))
            await running.kill()
        async with daemon(config) as last:
            await last.until_all_over(TASKS, 120)
            assert await last.stop() == 0
        assert simulator.requests[STRANGERS] == 0
    assert_each_ended_once(running, names)
    assert_ways_are_unbroken(running)


async def test_a_restart_asks_nothing_about_what_has_ended(tmp_path: Path) -> None:
    """What had ended stays ended and costs no request; what had not goes on."""
    tasks = [
        {"api": "job", "name": name, "params": {"job_id": name}, "duration": d}
        for name, d in (("a", "0s"), ("b", "1h"))
    ]
    async with local_cloud(tasks=tasks) as (simulator, url):
        config = write_config(tmp_path, url, [job("a"), job("b")])
        async with daemon(config) as running:
            await running.until_logged("task.transition")
            async with asyncio.timeout(20):
                while len(running.logged("task.transition")) < 2:
                    await asyncio.sleep(0.02)
            assert await running.stop() == 0
        before = simulator.requests.copy()
        async with daemon(config) as again:
            async with asyncio.timeout(20):
                while simulator.requests["b"] < before["b"] + 3:
                    await asyncio.sleep(0.02)
            tasks_now = await again.tasks()
        assert simulator.requests["a"] == before["a"]
        assert (tasks_now["a"]["state"], tasks_now["b"]["state"]) == ("succeeded", "running")
        assert tasks_now["b"]["polls"] > before["b"], "the count of polls goes on"
        assert len(again.logged("task.transition")) == 2


async def test_what_was_committed_and_not_told_is_told_at_the_next_start(tmp_path: Path) -> None:
    """A transition that is committed but whose emitting was never marked is logged again, with the same id."""
    tasks = [{"api": "job", "name": "a", "params": {"job_id": "a"}, "duration": "0s"}]
    async with local_cloud(tasks=tasks) as (_, url):
        config = write_config(tmp_path, url, [job("a")])
        async with daemon(config) as running:
            first = await running.until_logged("task.transition")
            assert await running.stop() == 0
        assert running.stored("SELECT count(*) FROM transitions WHERE told_at IS NULL") == [(0,)]
        forget_telling(config.with_name("poller.db"))
        async with daemon(config) as again:
            await again.until_ready()
            assert await again.stop() == 0
    lines = again.logged("task.transition")
    assert [line["transition_id"] for line in lines] == [first["transition_id"]] * 2
    assert again.stored("SELECT count(*) FROM transitions") == [(1,)]


def forget_telling(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE transitions SET told_at = NULL")


async def test_a_second_daemon_on_the_same_store_is_refused(tmp_path: Path) -> None:
    """It says so and ends with 1, and the first one does not notice."""
    async with local_cloud() as (_, url):
        config = write_config(tmp_path, url, [job("a")])
        other = tmp_path / "other.yaml"
        text = config.read_text("utf-8")
        async with daemon(config) as running:
            other.write_text(text.replace(running.url.removeprefix("http://"), "127.0.0.1:0"), "utf-8")
            second = DaemonProcess(other)
            second.log = tmp_path / "second.log"
            await second.start(wait=False)
            assert await second.ended() == 1
            said = second.log.read_text("utf-8")
            assert "poller.db" in said
            assert "Traceback" not in said
            assert (await running.get("/-/healthy"))[0] == 200
            assert await running.stop() == 0
