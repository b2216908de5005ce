"""The watchlist of a running daemon is changed, over HTTP and by the command, and what was added outlives it."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.daemon.process import DaemonProcess, daemon, job, local_cloud, poller, write_config
from tests.ports import free_port

pytestmark = pytest.mark.e2e

GENERATED = {"api": "job", "count": 20, "prefix": "job-", "duration": ["1h", "2h"]}
TOKEN = {"Authorization": "Bearer s3cret"}
SECONDS = 30.0
"""How long something may take on a busy machine."""


def write(folder: Path, cloud: str, tasks: list[dict[str, Any]], **schedule: Any) -> Path:
    """A config with a token, that is quick to believe that a task is missing."""
    quick = {"initial": "200ms", "max": "500ms", "missing_after": {"polls": 2, "time": "200ms"}, **schedule}
    web = {"listen": f"127.0.0.1:{free_port()}", "api_token": "s3cret"}
    return write_config(folder, cloud, tasks, web=web, schedule=quick)


def rewrite(config: Path, tasks: list[dict[str, Any]]) -> None:
    """Replaces the tasks of the config, at once."""
    other = config.with_suffix(".new")
    other.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text("utf-8")), "tasks": tasks}), "utf-8")
    other.replace(config)


async def ask(running: DaemonProcess, method: str, path: str, *tasks: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and answer; several tasks go as one line each."""
    kind = "application/json" if len(tasks) == 1 else "application/x-ndjson"
    data = "\n".join(map(json.dumps, tasks))
    headers = {**TOKEN, "Content-Type": kind}
    async with aiohttp.ClientSession() as session:
        async with session.request(method, f"{running.url}/api/v1/tasks{path}", data=data, headers=headers) as answer:
            return answer.status, await answer.json()


async def add(running: DaemonProcess, *tasks: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return await ask(running, "POST", "", *tasks)


def counts(added: int = 0, changed: int = 0, unchanged: int = 0) -> dict[str, int]:
    return {"added": added, "changed": changed, "unchanged": unchanged}


async def until(
    running: DaemonProcess, shown: Callable[[dict[str, dict[str, Any]]], bool]
) -> dict[str, dict[str, Any]]:
    """Waits until the tasks are as they should be."""
    async with asyncio.timeout(SECONDS):
        while not shown(tasks := await running.tasks()):
            await asyncio.sleep(0.05)
        return tasks


async def reloaded(running: DaemonProcess) -> None:
    async with aiohttp.ClientSession() as session, session.post(f"{running.url}/-/reload", headers=TOKEN) as answer:
        assert answer.status == 200, await answer.text()


async def test_a_task_is_added_watched_changed_and_removed(tmp_path: Path) -> None:
    """Each of it as often as one likes."""
    async with local_cloud(generate=GENERATED) as (simulator, cloud):
        async with daemon(write(tmp_path, cloud, [])) as running:
            task = job("job-1", owner="Ann", ttl="1h")
            assert await add(running, task) == (201, counts(added=1))
            shown = (await until(running, lambda tasks: tasks["job-1"]["state"] == "running"))["job-1"]
            assert (shown["source"], shown["owner"], shown["ttl_seconds"]) == ("api", "Ann", 3600.0)
            assert await add(running, task) == (200, counts(unchanged=1))
            assert await add(running, {**task, "labels": {"team": "ads"}}) == (200, counts(changed=1))
            shown = (await running.tasks())["job-1"]
            assert (shown["labels"], shown["state"]) == ({"team": "ads"}, "running")
            assert await ask(running, "DELETE", "/job-1") == (200, {"task": "job-1", "removed": True})
            assert await running.tasks() == {}
            assert await ask(running, "DELETE", "/job-1") == (200, {"task": "job-1", "removed": False})
            before = simulator.requests["job/job-1"]
            await asyncio.sleep(1.5)
            assert simulator.requests["job/job-1"] <= before + 1


async def test_what_is_refused_changes_nothing(tmp_path: Path) -> None:
    """Another task of that name, a file's task, what is not there, and entries with mistakes."""
    async with local_cloud(generate=GENERATED) as (_, cloud):
        async with daemon(write(tmp_path, cloud, [job("job-1")])) as running:
            assert (await add(running, job("job-2")))[0] == 201
            other = job("job-2", params={"job_id": "job-3"})
            for task in (other, {**other, "name": "job-1"}):
                status, told = await add(running, job("job-4"), task)
                assert (status, told["error"]["details"]) == (409, {"tasks": [task["name"]]})
            status, told = await ask(running, "DELETE", "/job-1")
            assert (status, told["error"]["details"]) == (409, {"tasks": ["job-1"]})
            assert "poller.yaml" in told["error"]["message"]
            assert (await ask(running, "DELETE", "/nobody"))[0] == 404
            assert (await ask(running, "POST", "/job-2/rearm"))[0] == 409
            status, told = await add(running, job("job-4"), job("job-5", operation="jbo"), job("job-6", params={}))
            assert status == 400
            assert [(wrong["line"], wrong["key"]) for wrong in told["error"]["details"]["mistakes"]] == [
                (2, "operation"),
                (3, "params.job_id"),
            ]
            assert set(await running.tasks()) == {"job-1", "job-2"}


async def test_a_ttl_ends_by_itself_and_begins_anew_with_each_adding(tmp_path: Path) -> None:
    """The task is then gone, as if someone had removed it."""
    async with local_cloud(generate=GENERATED) as (_, cloud):
        async with daemon(write(tmp_path, cloud, [])) as running:
            await add(running, job("job-1", ttl="3s"), job("job-2", ttl="3s"), job("job-3"))
            await asyncio.sleep(2)
            await add(running, job("job-2", ttl="1h"))
            assert set(await until(running, lambda tasks: "job-1" not in tasks)) == {"job-2", "job-3"}
            assert (await ask(running, "DELETE", "/job-1"))[1] == {"task": "job-1", "removed": False}


async def test_a_missing_task_is_rearmed(tmp_path: Path) -> None:
    """It is asked for again, and concluded anew."""
    async with local_cloud(generate=GENERATED) as (_, cloud):
        async with daemon(write(tmp_path, cloud, [])) as running:
            await add(running, job("gone"))
            await until(running, lambda tasks: tasks["gone"]["state"] == "missing")
            assert await ask(running, "POST", "/gone/rearm") == (200, {"task": "gone"})
            async with asyncio.timeout(SECONDS):
                while True:
                    _, text = await running.get("/api/v1/tasks/gone/transitions")
                    if [each["to"] for each in json.loads(text)["transitions"]].count("missing") == 2:
                        break
                    await asyncio.sleep(0.1)


async def test_what_was_added_outlives_kill_and_reload(tmp_path: Path) -> None:
    """With owner, ttl and state; what was removed stays away."""
    async with local_cloud(generate=GENERATED) as (_, cloud):
        config = write(tmp_path, cloud, [job("job-1")])
        async with daemon(config) as running:
            await add(running, job("team/job-2", params={"job_id": "job-2"}, owner="Ann", ttl="1h"), job("job-3"))
            await ask(running, "DELETE", "/job-3")
            await running.kill()
            await running.start()
            tasks = await until(running, lambda tasks: tasks["team/job-2"]["state"] == "running")
            assert set(tasks) == {"job-1", "team/job-2"}
            assert (tasks["team/job-2"]["owner"], tasks["team/job-2"]["ttl_seconds"]) == ("Ann", 3600.0)
            rewrite(config, [job("job-4")])
            await reloaded(running)
            assert set(await running.tasks()) == {"job-4", "team/job-2"}


async def test_a_files_task_takes_over_one_of_its_name(tmp_path: Path) -> None:
    """From then on it is the file's, without losing its state."""
    async with local_cloud(generate=GENERATED) as (_, cloud):
        config = write(tmp_path, cloud, [])
        async with daemon(config) as running:
            await add(running, job("job-1", owner="Ann"))
            await until(running, lambda tasks: tasks["job-1"]["state"] == "running")
            rewrite(config, [job("job-1", labels={"from": "file"})])
            await reloaded(running)
            shown = (await running.tasks())["job-1"]
            assert (shown["source"], shown["owner"], shown["labels"]) == ("poller.yaml", None, {"from": "file"})
            assert shown["state"] == "running"
            assert (await ask(running, "DELETE", "/job-1"))[0] == 409


@pytest.mark.timeout(240)
async def test_ten_thousand_tasks_are_added_by_the_command(tmp_path: Path) -> None:
    """In one request, while the daemon stays healthy; and are there after a restart."""
    generated = {"api": "job", "count": 10_000, "prefix": "job-", "duration": ["1h", "2h"]}
    async with local_cloud(generate=generated) as (_, cloud):
        config = write(tmp_path, cloud, [], max="5m")
        file = tmp_path / "tasks.jsonl"
        file.write_text("".join(f"{json.dumps(job(f'job-{number}'))}\n" for number in range(1, 10_001)))
        async with daemon(config) as running:
            for told in ("added 10,000, changed 0, 0 unchanged\n", "added 0, changed 0, 10,000 unchanged\n"):
                assert await poller("watch", "add", "--file", str(file), "-c", str(config)) == (0, "", told)
                assert (await running.get("/-/healthy"))[0] == 200
            await running.kill()
            await running.start()
            assert len(await every_name(running)) == 10_000


async def every_name(running: DaemonProcess) -> set[str]:
    _, out, _ = await poller("watch", "list", "--source", "api", "--json", "--url", running.url)
    return {json.loads(line)["name"] for line in out.splitlines()}


async def test_the_command_adds_lists_and_removes(tmp_path: Path) -> None:
    """With nothing but the daemon's config, which tells address and token."""
    async with local_cloud(generate=GENERATED) as (_, cloud):
        config = write(tmp_path, cloud, [job("job-1")])
        async with daemon(config):
            place = ("-c", str(config))
            options = ("--provider", "jobs", "--operation", "job", "--param", "job_id=job-2", "--owner", "Ann")
            assert await poller("watch", "add", "a/b", *options, *place) == (0, "", "a/b: added\n")
            status, out, _ = await poller("watch", "list", "--owner", "Ann", *place)
            assert (status, [line.split()[0] for line in out.splitlines()]) == (0, ["TASK", "a/b"])
            status, out, err = await poller("watch", "remove", "a/b", "job-1", *place)
            assert (status, out, err.splitlines()[0]) == (1, "", "a/b: removed")
            assert "poller.yaml" in err.splitlines()[1]
