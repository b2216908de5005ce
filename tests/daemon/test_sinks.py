"""Other systems are told of every transition, in order for each task, whatever becomes of them and of the daemon.

With -s the figures are printed.
"""

import asyncio
import json
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from tests.daemon.process import DaemonProcess, daemon, job, local_cloud, write_config
from tests.daemon.receivers import SECRET, first_of_each, receiver, ways
from tests.daemon.replicas import Replicas, cloud_of_replicas
from tests.ports import free_port
from tests.postgresql import PostgresServer

pytestmark = pytest.mark.e2e

TASKS = 40


def hook(url: str, **more: Any) -> dict[str, Any]:
    return {"kind": "webhook", "url": url, "secret": SECRET, "timeout": "500ms", **more}


def jobs(count: int = TASKS, longest: str = "8s") -> dict[str, Any]:
    """Jobs that end one after the other."""
    ends = {"succeeded": 0.8, "failed": 0.2}
    return {
        **{"api": "job", "count": count, "prefix": "job-", "ends": ends},
        **{"pending": ["0s", "3s"], "duration": ["1s", longest]},
    }


def names(count: int = TASKS) -> list[str]:
    return [f"job-{number}" for number in range(1, count + 1)]


def lines(*files: Path) -> list[dict[str, Any]]:
    """The events in files of which every line is one."""
    texts = [path.read_text("utf-8") for path in files]
    assert all(text.endswith("\n") for text in texts if text)
    return [json.loads(line) for text in texts for line in text.splitlines()]


async def until_outbox_empty(running: DaemonProcess, sinks: Iterable[str], seconds: float = 60.0) -> None:
    """Waits until nothing waits for these sinks."""
    wanted = ", ".join(f"'{sink}'" for sink in sinks)
    query = f"SELECT count(*) FROM deliveries WHERE sink IN ({wanted}) AND delivered_at IS NULL"  # noqa: S608
    async with asyncio.timeout(seconds):
        while running.stored(query) != [(0,)]:
            await asyncio.sleep(0.1)


def stored_ways(running: DaemonProcess) -> dict[str, list[str]]:
    """The ids of each task's transitions, in order."""
    found: dict[str, list[str]] = {}
    for task, transition_id in running.stored("SELECT task, transition_id FROM transitions ORDER BY seq"):
        found.setdefault(task, []).append(transition_id)
    return found


def rotate(running: DaemonProcess, file: Path, old: Path) -> None:
    """Moves a file away and says so, as logrotate does."""
    file.rename(old)
    running.signal(signal.SIGHUP)


def assert_as_logged(running: DaemonProcess, events: Iterable[dict[str, Any]]) -> None:
    """What each event carries is what the log says of its transition; and no secret is in the log."""
    logged = {line["transition_id"]: line for line in running.logged("task.transition")}
    for event in events:
        assert event["data"] == {key: logged[event["id"]][key] for key in event["data"]}
    text = running.log.read_text("utf-8")
    assert "hunter2" not in text
    assert SECRET not in text


@pytest.mark.timeout(300)
async def test_everything_is_told_through_failures_of_the_receiver_and_kills_of_the_daemon(tmp_path: Path) -> None:
    """A receiver that fails, hangs, takes and does not say so, dies and comes back; a daemon that is killed twice.

    Each transition comes, by webhook and in the file, under one id, and those of a task in order; a receiver that never
    answers keeps neither polls nor other sinks.
    """
    rotated = tmp_path / "events.jsonl.1"
    async with local_cloud(generate=jobs()) as (_, url), receiver() as hooks, receiver() as dead:
        hooks.faults, dead.hangs = 0.5, True
        sinks = {"ops": hook(hooks.url), "dead": hook(dead.url), "audit": {"kind": "file", "path": "events.jsonl"}}
        config = write_config(tmp_path, url, [job(name) for name in names()], sinks=sinks)
        running = DaemonProcess(config)
        await running.start()
        await asyncio.sleep(2.5)
        await running.kill()
        await hooks.stop()
        await running.start()
        rotate(running, tmp_path / "events.jsonl", rotated)
        await asyncio.sleep(1.5)
        await running.kill()
        await hooks.start()
        hooks.faults = 0.2
        async with daemon(config) as last:
            await last.until_all_over(TASKS, 120)
            hooks.faults = 0.0
            await until_outbox_empty(last, ("ops", "audit"))
            assert await last.stop() == 0
    events = first_of_each(hooks.taken)
    assert (hooks.broken, len(hooks.taken) > len(events)) == ([], True), "some came twice"
    assert ways(events) == stored_ways(last)
    assert ways(first_of_each(lines(rotated, tmp_path / "events.jsonl"))) == stored_ways(last)
    assert (dead.taken, dead.requests > 0) == ([], True)
    assert_as_logged(last, events)
    figures = (
        f"{hooks.requests} requests, {len(hooks.taken)} taken, {len(events)} events, {dead.requests} to a dead one"
    )
    print(f"\nsinks: {figures}")  # noqa: T201 - figures for people


async def api(running: DaemonProcess) -> dict[str, dict[str, Any]]:
    """How each sink does, as the API tells it."""
    _, text = await running.get("/api/v1/sinks")
    return {sink["name"]: sink for sink in json.loads(text)["sinks"]}


async def until(running: DaemonProcess, sink: str, **wanted: int) -> dict[str, Any]:
    """Waits until a sink does so."""
    async with asyncio.timeout(30):
        while True:
            found = (await api(running)).get(sink, {})
            if found.items() >= wanted.items():
                return found
            await asyncio.sleep(0.05)


def rewrite(config: Path, old: str, new: str) -> None:
    text = config.read_text("utf-8")
    assert old in text
    config.write_text(text.replace(old, new), "utf-8")


async def redeliver(running: DaemonProcess, sink: str, wanted: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Asks for a redelivery: status, and what is told."""
    url = f"{running.url}/api/v1/sinks/{quote(sink, safe='')}/redeliver"
    headers = {"Authorization": "Bearer s3cret"}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.post(URL(url, encoded=True), json=wanted) as response:
            return response.status, await response.json()


GONE = "http://127.0.0.1:9/hook?key=hunter2"


def config_with_sinks(folder: Path, cloud: str, **sinks: Any) -> Path:
    """A daemon that watches three jobs, of which the last had ended before."""
    web = {"listen": f"127.0.0.1:{free_port()}", "api_token": "s3cret"}
    return write_config(folder, cloud, [job("a"), job("b"), job("c")], web=web, sinks=sinks)


def three_jobs() -> list[dict[str, Any]]:
    return [
        {"api": "job", "name": name, "params": {"job_id": name}, "pending": "0s", "duration": duration}
        for name, duration in (("a", "1h"), ("b", "1h"), ("c", "0s"))
    ]


async def test_what_was_given_up_is_delivered_again_when_the_config_is_mended(tmp_path: Path) -> None:
    """By a reload; dead letters are listed, and asked for again one by one or all, under a name with a slash."""
    async with local_cloud(tasks=three_jobs()) as (_, url), receiver() as hooks:
        ops, silent = hook(GONE, give_up_after="1s", initial=False), hook(GONE, states=["stopped"])
        config = config_with_sinks(tmp_path, url, **{"team/ops": ops, "silent": silent})
        async with daemon(config) as running:
            found = await until(running, "team/ops", dead=2, waiting=0, delivered=0)
            assert found["last_error"] == "127.0.0.1:9 refused the connection: nothing listens there"
            assert (await api(running))["silent"]["waiting"] == 0, "its filter lets nothing through"
            letters = json.loads((await running.get("/api/v1/sinks/team/ops/dead"))[1])["events"]
            assert {each["transition"]["task"] for each in letters} == {"a", "b"}
            rewrite(config, GONE, hooks.url)
            await running.until_logged("config.reloaded")
            status, told = await redeliver(running, "team/ops", {"events": [letters[0]["id"]]})
            assert (status, told) == (200, {"sink": "team/ops", "redelivered": 1})
            await until(running, "team/ops", dead=1, delivered=1)
            assert (await redeliver(running, "team/ops", {"all": True}))[0] == 200
            await until(running, "team/ops", dead=0, delivered=2)
            _, metrics = await running.get("/metrics")
            assert await running.stop() == 0
    assert {each["id"] for each in hooks.taken} == {each["id"] for each in letters}
    assert 'poller_sink_deliveries_total{sink="team/ops",outcome="delivered"} 2.0' in metrics
    assert {line["event"] for line in running.lines()} >= {"sink.failing", "sink.dead_letter", "sink.recovered"}
    assert_as_logged(running, hooks.taken)


async def test_what_is_outstanding_of_a_sink_taken_away_waits_until_it_is_put_back(tmp_path: Path) -> None:
    """The others go on; until then it is shown as one that the config no longer has, and gets nothing new."""
    async with local_cloud(tasks=three_jobs()) as (_, url), receiver() as hooks:
        audit = {"kind": "file", "path": "events.jsonl"}
        config = config_with_sinks(tmp_path, url, ops=hook(GONE), audit=audit)
        async with daemon(config) as running:
            await until(running, "ops", waiting=3)
            rewrite(config, "  ops:", "  other:")
            rewrite(config, GONE, hooks.url)
            await until(running, "other", waiting=0, configured=True)
            was = await until(running, "ops", waiting=3, configured=False)
            assert was["kind"] is None
            assert (await redeliver(running, "ops", {"all": True}))[0] == 404
            assert hooks.taken == []
            rewrite(config, "  other:", "  ops:")
            await until(running, "ops", waiting=0, delivered=3)
            assert (await api(running))["audit"]["delivered"] == 3
            assert await running.stop() == 0
    assert {each["subject"] for each in hooks.taken} == {"a", "b", "c"}


@pytest.mark.timeout(300)
async def test_a_replica_that_takes_over_goes_on_with_what_is_outstanding(
    tmp_path: Path, postgres_server: PostgresServer, postgres_store_url: str
) -> None:
    """One is killed while the receiver is down; the other delivers all that both have found out, in order."""
    async with cloud_of_replicas(generate=jobs(30, "3s")) as cloud, receiver() as hooks:
        await hooks.stop()
        tasks = [job(name) for name in names(30)]
        more: dict[str, Any] = {"replicas": {"lease": "4s"}, "sinks": {"ops": hook(hooks.url)}}
        async with Replicas(tmp_path, 2, cloud, postgres_store_url, tasks, **more) as replicas:
            await replicas.start()
            await replicas[1].until_all_over(30, 60)
            await replicas[0].kill()
            await hooks.start()
            database = postgres_store_url.rpartition("/")[2].partition("?")[0]
            async with asyncio.timeout(90):
                while postgres_server.execute("SELECT 1 FROM deliveries WHERE delivered_at IS NULL", database=database):
                    await asyncio.sleep(0.2)
            query = "SELECT task, transition_id FROM transitions ORDER BY task, ordinal"
            rows = postgres_server.execute(query, database=database)
    expected: dict[str, list[str]] = {}
    for row in rows:
        expected.setdefault(row["task"], []).append(row["transition_id"])
    assert set(expected) == set(names(30))
    assert hooks.broken == []
    assert ways(first_of_each(hooks.taken)) == expected
