"""A running daemon takes over a changed config, and nothing of a bad one."""

import asyncio
import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families as parse_text

from poller.runtime.filewatch import LOOK_SECONDS, SETTLE_SECONDS
from tests.daemon.process import DaemonProcess, daemon, job, local_cloud, poller, write_config
from tests.ports import free_port

pytestmark = pytest.mark.e2e

GENERATED = {"api": "job", "count": 2100, "prefix": "job-", "duration": ["1h", "2h"]}


def rewrite(config: Path, **sections: Any) -> None:
    """Replaces sections of the config, at once."""
    data = yaml.safe_load(config.read_text("utf-8")) | sections
    other = config.with_suffix(".new")
    other.write_text(yaml.safe_dump(data), "utf-8")
    other.replace(config)


async def post_reload(running: DaemonProcess, token: str = "t0ken") -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as session, session.post(f"{running.url}/-/reload", headers=headers) as response:
        return response.status, await response.text()


async def counted(running: DaemonProcess) -> dict[str, float]:
    _, text = await running.get("/metrics")
    return {sample.name: sample.value for family in parse_text(text) for sample in family.samples if not sample.labels}


async def polls(running: DaemonProcess) -> float:
    _, text = await running.get("/metrics")
    return sum(s.value for f in parse_text(text) for s in f.samples if s.name == "poller_polls_total")


async def until_reloads(running: DaemonProcess, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(20):
        while len(running.logged("config.reloaded")) < count:
            await asyncio.sleep(0.02)
    return running.logged("config.reloaded")


async def test_a_changed_file_is_taken_over_by_itself(tmp_path: Path) -> None:
    """Without being asked; what was watched before goes on, counters and all."""
    async with local_cloud(generate=GENERATED) as (simulator, url):
        config = write_config(tmp_path, url, [job("job-1"), job("job-2")])
        async with daemon(config) as running:
            await running.until_logged("task.transition")
            before = await polls(running)
            rewrite(config, tasks=[job("job-1", labels={"team": "ads"}), job("job-3")])
            (line,) = await until_reloads(running, 1)
            assert (line["added"], line["changed"], line["removed"]) == (1, 1, 1)
            async with asyncio.timeout(20):
                while not simulator.requests["job/job-3"]:
                    await asyncio.sleep(0.02)
            tasks = await running.tasks()
            assert set(tasks) == {"job-1", "job-3"}
            assert tasks["job-1"]["labels"] == {"team": "ads"}
            assert await polls(running) >= before
            assert (await counted(running))["poller_config_last_reload_successful"] == 1


async def test_what_was_read_on_request_is_not_read_again(tmp_path: Path) -> None:
    """Nor what is included since; each is watched from then on."""
    more = tmp_path / "more.yaml"
    more.write_text(yaml.safe_dump({"tasks": [job("job-2")]}), "utf-8")
    async with local_cloud(generate=GENERATED) as (_, url):
        config = write_config(tmp_path, url, [job("job-1")])
        async with daemon(config) as running:
            rewrite(config, include=["more.yaml"])
            running.signal(signal.SIGHUP)
            await until_reloads(running, 1)
            await asyncio.sleep(2 * (LOOK_SECONDS + SETTLE_SECONDS))
            (line,) = running.logged("config.reloaded")
            assert (line["added"], line["removed"]) == (1, 0)
            more.write_text(yaml.safe_dump({"tasks": [job("job-3")]}), "utf-8")
            _, line = await until_reloads(running, 2)
            assert (line["added"], line["removed"]) == (1, 1)


async def test_a_bad_file_changes_nothing_and_says_why(tmp_path: Path) -> None:
    """To the caller, in the log and in a metric; and the next good one is taken over."""
    async with local_cloud(generate=GENERATED) as (_, url):
        config = write_config(tmp_path, url, [job("job-1")])
        web = yaml.safe_load(config.read_text("utf-8"))["web"] | {"api_token": "t0ken"}
        rewrite(config, web=web)
        async with daemon(config) as running:
            await running.until_logged("task.transition")
            rewrite(config, tasks=[job("job-2"), {"name": "x", "provider": "nobody", "operation": "job"}])
            status, text = await post_reload(running)
            assert status == 400
            assert "tasks[1].provider" in text
            assert set(await running.tasks()) == {"job-1"}
            assert (await counted(running))["poller_config_last_reload_successful"] == 0
            assert "tasks[1].provider" in (await running.until_logged("config.rejected"))["reason"]
            rewrite(config, tasks=[job("job-2")])
            assert await post_reload(running) == (200, "reloaded\n")
            assert set(await running.tasks()) == {"job-2"}
            assert (await post_reload(running, "wrong"))[0] == 401


async def test_sighup_reloads(tmp_path: Path) -> None:
    """As of old."""
    async with local_cloud(generate=GENERATED) as (_, url):
        config = write_config(tmp_path, url, [job("job-1")])
        async with daemon(config) as running:
            running.signal(signal.SIGHUP)
            (line,) = await until_reloads(running, 1)
            assert (line["added"], line["changed"], line["removed"]) == (0, 0, 0)
            assert (await running.get("/-/healthy"))[0] == 200


async def test_another_api_token_needs_no_restart(tmp_path: Path) -> None:
    """Neither another value of it nor another place."""
    async with local_cloud(generate=GENERATED) as (_, url):
        (tmp_path / "token").write_text("t0ken", "utf-8")
        listen = {"listen": f"127.0.0.1:{free_port()}"}
        web = {**listen, "api_token": {"file": "token"}}
        config = write_config(tmp_path, url, [job("job-1")], web=web)
        async with daemon(config) as running:
            (tmp_path / "token").write_text("0ther", "utf-8")
            running.signal(signal.SIGHUP)
            await until_reloads(running, 1)
            assert (await post_reload(running, "t0ken"))[0] == 401
            assert (await post_reload(running, "0ther"))[0] == 200
            rewrite(config, web={**listen, "api_token": "th1rd"})
            async with asyncio.timeout(20):
                while (await post_reload(running, "th1rd"))[0] != 200:
                    await asyncio.sleep(0.1)


async def test_what_needs_a_restart_is_refused(tmp_path: Path) -> None:
    """The key is named, and nothing else of the new config is taken over."""
    async with local_cloud(generate=GENERATED) as (_, url):
        config = write_config(tmp_path, url, [job("job-1")])
        async with daemon(config) as running:
            rewrite(config, store="sqlite:///elsewhere.db", tasks=[])
            line = await running.until_logged("config.rejected")
            assert "store: changed, this needs a restart" in line["reason"]
            assert set(await running.tasks()) == {"job-1"}


@pytest.mark.timeout(240)
async def test_a_storm_of_reloads_loses_no_poll_and_resets_no_counter(tmp_path: Path) -> None:
    """A hundred reloads in a row while 2,000 tasks are polled, some of the files bad."""
    names = [f"job-{number}" for number in range(1, 2001)]
    async with local_cloud(generate=GENERATED) as (simulator, url):
        async with daemon(write_storm_config(tmp_path, url, names)) as running:
            async with asyncio.timeout(60):
                while len(running.logged("task.transition")) < len(names):
                    await asyncio.sleep(0.1)
            await storm(running, tmp_path / "more.yaml")
            before = simulator.requests.copy()
            async with asyncio.timeout(30):
                while any(simulator.requests[f"job/{name}"] == before[f"job/{name}"] for name in names):
                    await asyncio.sleep(0.1)
            assert {task["state"] for task in (await running.tasks()).values()} == {"running"}
            assert await running.stop() == 0
    told = [line["task"] for line in running.logged("task.transition") if line["task"] in set(names)]
    assert sorted(told) == sorted(names)


def write_storm_config(folder: Path, url: str, names: list[str]) -> Path:
    (folder / "more.yaml").write_text(yaml.safe_dump({"tasks": [job("job-2100")]}), "utf-8")
    (folder / "many.jsonl").write_text("\n".join(json.dumps(job(name)) for name in names), "utf-8")
    config = write_config(folder, url, [], include=["many.jsonl", "more.yaml"])
    data = yaml.safe_load(config.read_text("utf-8"))
    data["providers"]["jobs"]["rate_limit"] = "2000/s"
    rewrite(config, providers=data["providers"], schedule={"initial": "2s", "max": "2s"})
    rewrite(config, web=data["web"] | {"api_token": "t0ken"})
    return config


async def storm(running: DaemonProcess, more: Path) -> None:
    """A hundred reloads asked for in ten seconds; every tenth file is bad. No counter ever goes back."""
    last, asked = await polls(running), []
    for number in range(100):
        tasks = [job("job-1"), job("job-1")] if number % 10 == 9 else [job(f"job-{2001 + number % 50}")]
        other = more.with_suffix(".new")
        other.write_text(yaml.safe_dump({"tasks": tasks}), "utf-8")
        other.replace(more)
        asked.append(asyncio.create_task(post_reload(running)))
        await asyncio.sleep(0.1)
        if number % 10 == 0:
            last, before = await polls(running), last
            assert last >= before
    answers = Counter([(await answer)[0] for answer in asked])
    assert set(answers) <= {200, 400}
    assert answers[200] > 0, "how many come before a bad file depends on the machine"
    more.write_text(yaml.safe_dump({"tasks": [job("job-2100")]}), "utf-8")
    assert (await post_reload(running))[0] == 200


async def test_check_tells_what_a_reload_would_do(tmp_path: Path) -> None:
    """From the store of the running daemon, without touching it."""
    async with local_cloud(generate=GENERATED) as (_, url):
        config = write_config(tmp_path, url, [job("a"), job("b"), job("c"), job("d")])
        async with daemon(config):
            assert (await poller("check", "--diff", "-c", str(config)))[1] == "nothing changes\n"
            other = tmp_path / "next.yaml"
            other.write_text(config.read_text("utf-8"), "utf-8")
            changed = [job("a"), job("b", labels={"x": "y"}), job("c") | {"params": {"job_id": "z"}}, job("e")]
            rewrite(other, tasks=changed)
            status, out, err = await poller("check", "--diff", "-c", str(other))
            assert (status, err) == (0, "")
            assert out.splitlines() == ["add      e", "change   b", "restart  c", "remove   d"]
