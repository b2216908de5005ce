"""Jobs are started through the command and the daemon, each once, and what was started is told to its end."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from poller.simulator import Simulator
from tests.daemon.process import (
    DaemonProcess,
    command_under_way,
    daemon,
    job,
    local_cloud,
    poller,
    providers,
    write_config,
)
from tests.ports import free_port

pytestmark = pytest.mark.e2e

INSTANCE = {"appGroupIdentity": "my-app", "functionName": "ctr", "instanceName": "ctr_test"}
LATEST = {
    "name": "ads/ctr-model",
    "provider": "search",
    "operation": "function-instance",
    "params": INSTANCE,
}
NAME = str(LATEST["name"])
ONE = {"name": "ctr-1", "provider": "search", "operation": "function-task", "params": {**INSTANCE, "generation": "1"}}
TOKEN = {"Authorization": "Bearer s3cret"}
LOST = {"kind": "lost", "only_starts": True}


@asynccontextmanager
async def cloud(**instance: Any) -> AsyncIterator[tuple[Simulator, str]]:
    """A local cloud with an instance whose first run ended long ago, unless told otherwise."""
    trained = {"runs": [{"duration": "0s"}], "on_start": {"duration": "1s"}, **instance}
    task = {"api": "function-instance", "name": "ctr", "params": INSTANCE, **trained}
    async with local_cloud(tasks=[task]) as found:
        yield found


def config(folder: Path, url: str, **provider: Any) -> Path:
    """Watches the instance, its first run, and a job that cannot be started; ``provider`` is of the connection."""
    known = providers(url)
    known["search"] |= {"timeout": "1s", **provider}
    return write_config(
        folder,
        url,
        [LATEST, ONE, job("j")],
        providers=known,
        web={"listen": f"127.0.0.1:{free_port()}", "api_token": "s3cret"},
        schedule={"initial": "200ms", "max": "500ms"},
    )


async def start(running: DaemonProcess, name: str = NAME, **headers: str) -> tuple[int, dict[str, Any]]:
    """Asks a daemon to start; status and answer."""
    path = f"/api/v1/tasks/{name}/start"
    async with aiohttp.ClientSession() as session, session.post(running.url + path, headers=headers or TOKEN) as answer:
        return answer.status, await answer.json()


async def ended(running: DaemonProcess, run: int) -> None:
    """Waits until the task has ended in that run."""
    async with asyncio.timeout(20):
        while not (task := (await running.tasks())[NAME])["terminal"] or task["run"] < run:
            await asyncio.sleep(0.05)


def ways(running: DaemonProcess) -> list[str]:
    """The instance's transitions in the store."""
    query = f"SELECT source, target, run FROM transitions WHERE task = '{NAME}' ORDER BY seq"  # noqa: S608
    rows = running.stored(query)
    return [f"{run}: {source} > {target}" for source, target, run in rows]


async def told_once(running: DaemonProcess) -> None:
    """Waits until the end of the second run is stored, and sees that there is one; it may never be seen running."""
    async with asyncio.timeout(20):
        while not ways(running)[-1].startswith("2:") or not ways(running)[-1].endswith("> succeeded"):
            await asyncio.sleep(0.05)
    first, *others = ways(running)
    assert first == "1: unknown > succeeded"
    assert others in (["2: succeeded > running", "2: running > succeeded"], ["2: succeeded > succeeded"])


# --- the command by itself -------------------------------------------------------------------------------------


async def test_a_job_is_started_and_followed_to_its_success(tmp_path: Path) -> None:
    """One request; a line for each state, the exit status of a success, and neither daemon nor store."""
    async with cloud() as (simulator, url):
        status, out, err = await poller("start", NAME, "-c", str(config(tmp_path, url)))
        assert (status, out) == (0, ""), err
        assert err.splitlines() == [
            f"{NAME}: generation 2 was started",
            f"{NAME}: running",
            f"{NAME}: succeeded after 1s",
        ]
        assert simulator.starts["ctr"] == 1
    assert not list(tmp_path.glob("poller.db*"))


async def test_a_job_is_followed_to_its_failure(tmp_path: Path) -> None:
    """Exit status 1, and why; programs get an object a line. Any entry of the instance will do."""
    plan = {"duration": "1s", "ends": "failed", "message": "recall 0.41"}
    async with cloud(on_start=plan) as (simulator, url):
        status, out, err = await poller("start", "ctr-1", "-c", str(config(tmp_path, url)), "--json")
        assert status == 1
        begun, *_, end = map(json.loads, out.splitlines())
        assert (begun["run"], begun["already_running"]) == ("2", False)
        assert (end["state"], end["terminal"], end["message"]) == ("failed", True, "recall 0.41")
        assert "recall 0.41" in err
        assert simulator.starts["ctr"] == 1


async def test_a_run_under_way_is_followed_as_long_as_there_is_time(tmp_path: Path) -> None:
    """Task.IsRunning is no error. Exit status 124 when the time is over: the job goes on."""
    async with cloud(runs=[{"duration": "1h"}]) as (simulator, url):
        status, _, err = await poller("start", NAME, "-c", str(config(tmp_path, url)), "--timeout", "1500ms")
        assert status == 124
        first, *_, last = err.splitlines()
        assert first == f"{NAME}: generation 1 is under way already"
        assert last == f"{NAME}: not ended within 1.5s; the job goes on"
        assert simulator.starts["ctr"] == 1


async def test_a_start_whose_answer_is_lost_is_found(tmp_path: Path) -> None:
    """It is looked for before anything else, and never sent again."""
    async with cloud(faults=[LOST]) as (simulator, url):
        status, _, err = await poller("start", NAME, "-c", str(config(tmp_path, url)))
        assert status == 0, err
        assert err.startswith(f"{NAME}: generation 2 was started\n")
        assert simulator.starts["ctr"] == 1


async def test_a_refused_start_is_told(tmp_path: Path) -> None:
    """Exit status 1, why, and that nothing was started: the request is not repeated."""
    async with cloud(faults=[{"kind": "throttle", "only_starts": True}]) as (simulator, url):
        status, out, err = await poller("start", NAME, "-c", str(config(tmp_path, url)))
        assert (status, out) == (1, "")
        assert err.startswith(f"poller: {NAME} at search: ")
        assert "nothing was started" in err
        assert "Traceback" not in err
        assert simulator.starts["ctr"] == 1


async def test_ctrl_c_ends_the_following_and_not_the_job(tmp_path: Path) -> None:
    """Exit status 130, as after any Ctrl-C."""
    async with cloud(on_start={"duration": "1h"}) as (simulator, url):
        command = command_under_way("start", NAME, "-c", str(config(tmp_path, url)))
        async with command as process, asyncio.timeout(30):
            assert process.stderr is not None
            while b"running" not in await process.stderr.readline():
                pass
            process.send_signal(signal.SIGINT)
            rest = await process.stderr.read()
            assert await process.wait() == 130
        assert rest.decode() == f"{NAME}: not followed any longer; the job goes on\n"
        assert simulator.starts["ctr"] == 1


# --- the daemon ------------------------------------------------------------------------------------------------


async def test_a_daemon_starts_for_whoever_has_the_token(tmp_path: Path) -> None:
    """Nothing happens without it; a task that had ended is watched for the new run; others who ask get that one."""
    async with (
        cloud(faults=[LOST], on_start={"duration": "3s"}) as (simulator, url),
        daemon(config(tmp_path, url)) as running,
    ):
        await ended(running, 1)
        assert (await start(running, Authorization="Bearer wrong"))[0] == 401
        assert (await start(running, "nobody"))[0] == 404
        status, answer = await start(running, "j")
        assert (status, answer["error"]["code"]) == (409, "conflict")
        assert simulator.starts["ctr"] == 0
        answers = await asyncio.gather(start(running), start(running), start(running, NAME.replace("/", "%2F")))
        assert sorted(status for status, _ in answers) == [200, 200, 202]
        assert {(told["run"], told["watched_run"]) for _, told in answers} == {("2", 2)}
        await ended(running, 2)
        assert simulator.starts["ctr"] == 1
        await told_once(running)
        assert {line["run_id"] for line in running.logged("task.start_requested")} == {"2"}
        assert (await start(running, "ctr-1"))[1]["watched_run"] is None
        assert (await running.tasks())["ctr-1"]["run"] == 1


async def test_a_refused_start_is_told_by_the_daemon(tmp_path: Path) -> None:
    """502, with what the provider said; the task stays ended, and the next poll of it never comes."""
    fault = {"kind": "throttle", "retry_after": "1s", "only_starts": True}
    async with cloud(faults=[fault]) as (simulator, url), daemon(config(tmp_path, url)) as running:
        await ended(running, 1)
        status, answer = await start(running)
        assert (status, answer["error"]["code"]) == (502, "bad_gateway")
        assert "nothing was started" in answer["error"]["message"]
        assert answer["error"]["details"]["outcome"] == "throttled"
        task = (await running.tasks())[NAME]
        assert (task["awaits_run"], task["next_poll_at"], simulator.starts["ctr"]) == (False, None, 1)


async def test_the_command_has_a_daemon_start_and_follows_it_there(tmp_path: Path) -> None:
    """With the token in a file or in the environment; without one it says so."""
    async with cloud() as (simulator, url), daemon(config(tmp_path, url)) as running:
        await ended(running, 1)
        (tmp_path / "token").write_text("s3cret\n", "utf-8")
        status, _, err = await poller("start", NAME, "--url", running.url, "--token-file", str(tmp_path / "token"))
        assert status == 0, err
        assert err.splitlines()[0] == f"{NAME}: generation 2 was started"
        assert err.splitlines()[-1] == f"{NAME}: succeeded"
        status, _, err = await poller("start", NAME, "--url", running.url)
        assert status == 1
        assert "POLLER_TOKEN" in err
        assert simulator.starts["ctr"] == 1


async def test_a_daemon_killed_during_a_start_tells_of_the_run_afterwards(tmp_path: Path) -> None:
    """SIGKILL while the answer is awaited: the next life watches for the run, tells it once, and starts nothing."""
    async with cloud(faults=[LOST], on_start={"duration": "3s"}) as (simulator, url):
        async with daemon(config(tmp_path, url, timeout="20s")) as running:
            await ended(running, 1)
            asking = asyncio.ensure_future(start(running))
            async with asyncio.timeout(10):
                while not simulator.starts["ctr"]:
                    await asyncio.sleep(0.01)
            await running.kill()
            await asyncio.gather(asking, return_exceptions=True)
            await running.start()
            await ended(running, 2)
            await told_once(running)
            assert simulator.starts["ctr"] == 1
            assert await running.stop() == 0


async def test_a_signal_during_a_start_lets_it_finish(tmp_path: Path) -> None:
    """The answer is waited for and told; then the daemon leaves, and its next life tells of the run."""
    async with cloud(faults=[LOST], on_start={"duration": "3s"}) as (simulator, url):
        async with daemon(config(tmp_path, url)) as running:
            await ended(running, 1)
            asking = asyncio.ensure_future(start(running))
            async with asyncio.timeout(10):
                while not simulator.starts["ctr"]:
                    await asyncio.sleep(0.01)
            assert await running.stop() == 0
            assert (await asking)[1]["run"] == "2"
            events = [line["event"] for line in running.lines()]
            assert events.index("task.start_requested") < events.index("daemon.stopped")
            await running.start()
            await ended(running, 2)
            await told_once(running)
            assert simulator.starts["ctr"] == 1
