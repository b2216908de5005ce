"""Why a verdict was given, asked from outside: of the daemon, of `poller poll --explain`, of `poller check --probe`."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from time import time
from typing import Any

import pytest
from aiohttp import web

from poller.simulator import JOBS_DEMO_BEARER
from tests.daemon.process import (
    JOB_SPEC,
    DaemonProcess,
    daemon,
    job,
    local_cloud,
    poller,
    providers,
    write_config,
)
from tests.ports import free_port

pytestmark = pytest.mark.e2e


class StandIn:
    """A server whose clock is ten minutes slow: jobs in the state it is told, none called ``b``, and a login page."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer = {"status": "in_progress", "percent": 0}
        self.url = ""

    async def respond(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        slow = {"Date": formatdate(time() - 600, usegmt=True)}
        if request.path.startswith("/login"):
            return web.Response(text="<html>Log in</html>", content_type="text/html", headers=slow)
        if request.path.startswith("/v1/jobs/b"):
            return web.json_response({"error": {"code": "not_found"}}, status=404, headers=slow)
        return web.json_response(self.answer, headers=slow)


@asynccontextmanager
async def stand_in() -> AsyncIterator[StandIn]:
    """One that listens."""
    server, app = StandIn(), web.Application()
    app.router.add_route("*", "/{rest:.*}", server.respond)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()


async def until_polled(running: DaemonProcess, name: str, times: int) -> None:
    """Waits until a task was polled so many times more."""
    before = (await running.tasks())[name]["polls"]
    async with asyncio.timeout(30):
        while (await running.tasks())[name]["polls"] < before + times:
            await asyncio.sleep(0.05)


async def test_the_daemon_keeps_the_answers_that_changed_something(tmp_path: Path) -> None:
    """Each with its request, its answer and its reason, newest first; progress between them is not kept."""
    async with stand_in() as server:
        async with daemon(write_config(tmp_path, server.url, [job("a"), job("b/polls")])) as running:
            for percent in (10, 20):
                server.answer = {"status": "in_progress", "percent": percent}
                await until_polled(running, "a", 2)
            server.answer = {"status": "success", "percent": 100, "echo": JOBS_DEMO_BEARER}
            async with asyncio.timeout(30):
                while not (await running.tasks())["a"]["terminal"]:
                    await asyncio.sleep(0.05)
            status, text = await running.get("/api/v1/tasks/a/polls")
            _, of_other = await running.get("/api/v1/tasks/b/polls/polls")
            unknown, _ = await running.get("/api/v1/tasks/c/polls")
    assert (status, unknown) == (200, 404)
    page = json.loads(text)
    assert [poll["state"] for poll in page["polls"]] == ["succeeded", "running"]
    newest = page["polls"][0]
    assert newest["request"] == f"GET {server.url}/v1/jobs/a"
    assert json.loads(newest["answer"]) == {"status": "success", "percent": 100, "echo": "***"}
    assert (newest["rule"], newest["saw"]) == ("status success is succeeded", "status 'success'")
    assert {poll["outcome"] for poll in json.loads(of_other)["polls"]} == {"missing"}
    assert JOBS_DEMO_BEARER not in text


async def test_poll_explains(tmp_path: Path) -> None:
    """Request, answer and every rule, for people and for programs; nothing of the credentials."""
    scripted = {"api": "job", "name": "a", "params": {"job_id": "a"}, "duration": "1h"}
    async with local_cloud(tasks=[scripted]) as (_, url):
        config = str(write_config(tmp_path, url, [job("a"), job("b")]))
        status, people, _ = await poller("poll", "-c", config, "--explain")
        _, programs, _ = await poller("poll", "-c", config, "--explain", "--json", "b")
    assert status == 1
    assert f"a\n  request  GET {url}/v1/jobs/a\n" in people
    assert '\n             "status": "in_progress",\n' in people
    assert "\n           yes  status in_progress is running\n                saw status 'in_progress'\n" in people
    told = json.loads(programs)
    assert told["saw"] == "HTTP 404, found true"
    assert told["explanation"]["rules"][-1] == {"rule": told["reason"], "matched": True, "saw": told["saw"]}
    assert json.loads(told["explanation"]["answer"])["error"]["code"] == "not_found"
    assert JOBS_DEMO_BEARER not in people + programs


async def test_a_probe_asks_each_connection_once_and_tells_them_apart(tmp_path: Path) -> None:
    """Good, bad key, wrong host, clock off, a page in the way, and one that nobody asks for anything."""
    scripted = {"api": "job", "name": "good", "params": {"job_id": "good"}, "duration": "1h"}
    async with local_cloud(tasks=[scripted]) as (simulator, url), stand_in() as server:
        known: dict[str, Any] = {"good": providers(url)["jobs"], "studio": providers(url)["studio"]}
        known["studio"]["credentials"]["secret_key"] = "not-the-secret"
        for name, endpoint in (
            ("gone", f"http://127.0.0.1:{free_port()}"),
            ("slow", server.url),
            ("page", f"{server.url}/login"),
            ("idle", server.url),
        ):
            known[name] = {"kind": "http", "endpoint": endpoint, "spec": JOB_SPEC}
        tasks = [job(name, provider=name) for name in ("good", "gone", "slow", "page")]
        tasks += [job("other", provider="slow"), job("another", provider="good")]
        tasks.append({"name": "s", "provider": "studio", "operation": "system-task", "params": {"task_id": "1"}})
        config = write_config(tmp_path, url, tasks, providers=known)
        status, out, err = await poller("check", "-c", str(config), "--probe")
    assert status == 2
    table = {line.split()[0]: line for line in out[out.index("ASKED ABOUT") :].splitlines()[1:]}
    assert list(table) == ["gone", "good", "idle", "page", "slow", "studio"]
    for name, words in {
        "good": "ok  ",
        "gone": "refused  ",
        "idle": "unasked  ",
        "slow": "ok, clock off  ",
        "page": "something else  ",
        "studio": "credentials refused  ",
    }.items():
        assert words in table[name]
    mistakes = err.splitlines()
    assert [line.split(": ")[1] for line in mistakes] == [f"providers.{name}" for name in ("gone", "page", "studio")]
    assert all(line.startswith(f"{config}:") for line in mistakes)
    assert sorted(server.asked) == ["/login/v1/jobs/page", "/v1/jobs/slow"]
    assert sum(simulator.requests.values()) == 2
    assert "not-the-secret" not in out + err


async def test_a_probe_of_what_works_is_content(tmp_path: Path) -> None:
    """Exit status 0 and nothing on standard error; a task that is not there is no fault of the connection."""
    async with local_cloud() as (_, url):
        config = write_config(tmp_path, url, [job("nobody")])
        status, out, err = await poller("check", "-c", str(config), "--probe")
    assert (status, err) == (0, "")
    assert "it works, but does not know the task" in out
    status, out, err = await poller("check", "-c", str(config), "--probe", "--skip-secrets")
    assert (status, out) == (2, "")
    assert "--probe" in err
