"""The daemon from outside: its start, its end, its pages, and what it never says."""

import asyncio
import json
import signal
import time
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from poller.simulator import ALIBABA_DEMO_KEY, HUAWEI_DEMO_KEY, JOBS_DEMO_BEARER
from tests.daemon.process import PROJECT, DaemonProcess, daemon, job, local_cloud, providers, write_config
from tests.ports import free_port

pytestmark = pytest.mark.e2e

SEARCH = {"appGroupIdentity": "my-app", "functionName": "ctr", "instanceName": "ctr_test"}
CLOUD_TASKS = [
    {"api": "function-task", "name": "gft", "params": {**SEARCH, "generation": 3}, "duration": "1s"},
    {
        "api": "function-instance",
        "name": "gfi",
        "params": {**SEARCH, "instanceName": "ctr_main"},
        "runs": [{"duration": "1s"}],
    },
    {"api": "system-task", "name": "dlf", "params": {"project_id": PROJECT, "task_id": "t1"}, "duration": "1s"},
    {"api": "processor-task", "name": "ma", "params": {"project_id": PROJECT, "task_id": "p1"}, "duration": "1s"},
    {
        "api": "job",
        "name": "job",
        "params": {"job_id": "odd name/ü%"},
        "duration": "1s",
        "ends": "failed",
        "message": "out of disk",
    },
]
WATCHED = [
    {"name": "gft", "provider": "search", "operation": "function-task", "params": {**SEARCH, "generation": 3}},
    {
        "name": "gfi",
        "provider": "search",
        "operation": "function-instance",
        "params": {**SEARCH, "instanceName": "ctr_main"},
    },
    {
        "name": "dlf",
        "provider": "studio",
        "operation": "system-task",
        "params": {"task_id": "t1"},
        "labels": {"team": "ads"},
    },
    {"name": "ma", "provider": "modelarts", "operation": "processor-task", "params": {"task_id": "p1"}},
    job("odd name/ü%") | {"name": "job"},
]


async def test_all_documented_apis_are_polled_to_their_end(tmp_path: Path) -> None:
    """Each task of each API ends as scripted, odd characters in parameters included, and all of it shows outside."""
    async with local_cloud(tasks=CLOUD_TASKS) as (_, url), daemon(write_config(tmp_path, url, WATCHED)) as running:
        tasks = await running.until_all_over(5, 60)
        assert {name: task["state"] for name, task in tasks.items()} == {
            "gft": "succeeded",
            "gfi": "succeeded",
            "dlf": "succeeded",
            "ma": "succeeded",
            "job": "failed",
        }
        assert tasks["job"]["message"] == "out of disk"
        await check_metrics(running)
        await check_api(running)
        assert (await running.get("/-/healthy"))[0] == 200
        assert await running.stop() == 0
    assert [line["level"] for line in running.logged("task.transition") if line["to"] == "failed"] == ["error"]
    assert [line["event"] for line in (running.logged("daemon.stopped"))] == ["daemon.stopped"]


async def check_metrics(running: DaemonProcess) -> None:
    _, text = await running.get("/metrics")
    samples = {(s.name, tuple(sorted(s.labels.items()))): s.value for f in parse_text(text) for s in f.samples}
    key = (("operation", "system-task"), ("provider", "studio"), ("state", "succeeded"), ("task", "dlf"))
    assert samples["poller_task_state", key] == 1
    states = [key for (name, key) in samples if name == "poller_task_state"]
    assert len(states) == 5, "one state for each task and no other"
    status, text = await running.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert status == 200
    names = {family.name for family in parse_openmetrics(text)}  # type: ignore[no-untyped-call]
    assert names >= {"poller_polls", "poller_task_state", "poller_build"}


async def check_api(running: DaemonProcess) -> None:
    _, text = await running.get("/api/v1/tasks?label=team:ads")
    assert [task["name"] for task in json.loads(text)["tasks"]] == ["dlf"]
    _, text = await running.get("/api/v1/tasks/dlf/transitions")
    ways = [(line["from"], line["to"]) for line in json.loads(text)["transitions"]]
    assert ways[0][1] == "succeeded"
    assert ways[-1][0] == "unknown"
    status, text = await running.get("/")
    assert status == 200
    assert "dlf" in text


async def test_secrets_show_nowhere(tmp_path: Path) -> None:
    """Not in the most talkative log, the store, a page, a metric or the API, even when keys are refused."""
    secrets = (ALIBABA_DEMO_KEY.secret, HUAWEI_DEMO_KEY.secret, JOBS_DEMO_BEARER, "wrong-secret-of-studio")
    async with local_cloud(tasks=CLOUD_TASKS) as (_, url):
        known = providers(url)
        known["studio"]["credentials"] = {"access_key": HUAWEI_DEMO_KEY.id, "secret_key": "wrong-secret-of-studio"}
        config = write_config(tmp_path, url, WATCHED, providers=known, log={"level": "debug", "format": "json"})
        async with daemon(config) as running:
            await running.until_all_over(4, 60)
            await running.until_logged("provider.paused")
            pages = [await running.get(p) for p in ("/", "/metrics", "/api/v1/tasks", "/api/v1/transitions")]
            assert await running.stop() == 0
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("poller.db*"))
    said = running.log.read_text("utf-8") + "".join(text for _, text in pages) + stored.decode("latin-1")
    assert not [secret for secret in secrets if secret in said]


async def test_wrong_keys_send_one_request(tmp_path: Path) -> None:
    """With 32 polls waiting one goes out: a row of refusals would lock the key."""
    listed = [
        {"api": "system-task", "name": f"t{i}", "params": {"project_id": PROJECT, "task_id": f"t{i}"}}
        for i in range(32)
    ]
    watched = [
        {"name": f"t{i}", "provider": "studio", "operation": "system-task", "params": {"task_id": f"t{i}"}}
        for i in range(32)
    ]
    async with local_cloud(tasks=listed) as (simulator, url):
        known = providers(url)
        known["studio"]["credentials"]["secret_key"] = "not-the-right-one"
        async with daemon(write_config(tmp_path, url, watched, providers=known)) as running:
            line = await running.until_logged("provider.paused")
            await asyncio.sleep(1.0)
            assert (line["provider"], line["reason"]) == ("studio", "unauthorized")
            assert (simulator.requests.total(), simulator.key_locks) == (1, 0)
            assert (await running.get("/-/healthy"))[0] == 200, "a provider that refuses is no reason to restart"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_at_once(tmp_path: Path, number: signal.Signals) -> None:
    """Polls under way are dropped: a provider that hangs does not hold up the end."""
    hang = {"apis": ["job"], "after": "0s", "kind": "hang"}
    tasks = [{"api": "job", "name": "a", "params": {"job_id": "a"}}]
    async with local_cloud(tasks=tasks, faults=[hang]) as (simulator, url):
        async with daemon(write_config(tmp_path, url, [job("a")])) as running:
            async with asyncio.timeout(20):
                while not simulator.requests["a"]:
                    await asyncio.sleep(0.02)
            began = time.monotonic()
            assert await running.stop(number) == 0
            assert time.monotonic() - began < 10, "the outermost bound of the contract, whatever the machine is doing"
    assert running.logged("daemon.stopped")[0]["reason"] == number.name


async def test_a_bad_config_is_told_whole_and_ends_with_2(tmp_path: Path) -> None:
    """Every mistake on a line of its own, with file and line, before anything is opened."""
    tasks = [
        job("a"),
        job("a"),
        {"name": "b", "provider": "serch", "operation": "job"},
        job("c") | {"operation": "jub"},
    ]
    config = write_config(tmp_path, "http://127.0.0.1:1", tasks, schedule={"growth": 0.5})
    running = DaemonProcess(config)
    await running.start(wait=False)
    assert await running.ended() == 2
    lines = running.log.read_text("utf-8").splitlines()
    assert len(lines) == 4
    assert all(line.startswith(f"{config}:") for line in lines)
    assert not list(tmp_path.glob("poller.db*"))


async def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    """In words, with exit status 1, and the store is let go of."""
    async with local_cloud() as (_, url):
        port = free_port()
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
        async with server:
            config = write_config(tmp_path, url, [job("a")], web={"listen": f"127.0.0.1:{port}"})
            running = DaemonProcess(config)
            await running.start(wait=False)
            assert await running.ended() == 1
    said = running.log.read_text("utf-8")
    assert f"127.0.0.1:{port}" in said
    assert "Traceback" not in said


async def test_an_outage_of_the_provider_changes_no_state(tmp_path: Path) -> None:
    """Seconds of 503 in the middle of a task: no transition comes of it, and the end is noticed afterwards."""
    outage = {"apis": ["job"], "after": "8s", "for": "4s", "kind": "error", "status": 503}
    tasks = [{"api": "job", "name": "a", "params": {"job_id": "a"}, "duration": "14s"}]
    async with local_cloud(tasks=tasks, faults=[outage]) as (_, url):
        async with daemon(write_config(tmp_path, url, [job("a")])) as running:
            await running.until_all_over(1, 60)
            assert await running.stop() == 0
    assert [line["to"] for line in running.logged("task.transition")] == ["running", "succeeded"]


async def test_api_errors_are_json(tmp_path: Path) -> None:
    """An unknown task is a 404 with code and message."""
    async with local_cloud() as (_, url), daemon(write_config(tmp_path, url, [job("a")])) as running:
        status, text = await running.get("/api/v1/tasks/nobody")
        assert status == 404
        assert set(json.loads(text)["error"]) == {"code", "message", "details"}
        async with aiohttp.ClientSession() as session, session.put(running.url + "/api/v1/tasks", json={}) as response:
            assert response.status == 405
