"""Tasks are waited for by the command itself and through a daemon; the exit status tells what became of them."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.process import command_under_way, daemon, job, local_cloud, poller, write_config

pytestmark = pytest.mark.e2e

NAMES = ("short", "long", "bad")


def scripted(name: str, **plan: Any) -> dict[str, Any]:
    """A job of the local cloud."""
    return {"api": "job", "name": name, "params": {"job_id": name}, **plan}


TASKS = [
    scripted("short", duration="1s"),
    scripted("long", duration="1h"),
    scripted("bad", duration="1s", ends="failed", message="out of memory"),
]


async def test_tasks_are_followed_to_their_ends_without_a_daemon(tmp_path: Path) -> None:
    """A line for each state, the exit status of all, only those named are asked for, and no store is left behind."""
    async with local_cloud(tasks=TASKS) as (simulator, url):
        config = str(write_config(tmp_path, url, [job(name) for name in NAMES]))
        status, out, err = await poller("wait", "short", "-c", config)
        assert (status, out, err.splitlines()[-1]) == (0, "", "short: succeeded after 1s")
        status, out, err = await poller("wait", "bad", "short", "-c", config, "--json")
        assert status == 1
        ends = {end["task"]: (end["state"], end["terminal"]) for end in map(json.loads, out.splitlines())}
        assert ends == {"bad": ("failed", True), "short": ("succeeded", True)}
        assert "bad: failed after 1s: out of memory" in err
        assert simulator.requests["long"] == 0
    assert not list(tmp_path.glob("poller.db*"))


async def test_waiting_ends_with_the_time_or_the_first_end(tmp_path: Path) -> None:
    """Exit status 124 and what has not ended; with --any the first end decides. Without names: all."""
    async with local_cloud(tasks=TASKS) as (_, url):
        config = str(write_config(tmp_path, url, [job("short"), job("long")]))
        status, _, err = await poller("wait", "-c", config, "--timeout", "2s")
        assert (status, err.splitlines()[-1]) == (124, "long: not ended within 2s; the job goes on")
        assert (await poller("wait", "-c", config, "--any"))[0] == 0


async def test_ctrl_c_ends_the_waiting_alone(tmp_path: Path) -> None:
    """Exit status 130, one line, no traceback."""
    async with local_cloud(tasks=TASKS) as (_, url):
        config = write_config(tmp_path, url, [job("long")])
        async with command_under_way("wait", "-c", str(config)) as process, asyncio.timeout(30):
            assert process.stderr is not None
            assert await process.stderr.readline() == b"long: running\n"
            process.send_signal(signal.SIGINT)
            assert await process.stderr.read() == b"long: not followed any longer; the job goes on\n"
            assert await process.wait() == 130


async def test_a_daemons_tasks_are_waited_for_while_it_restarts(tmp_path: Path) -> None:
    """That nobody answers for a while is no end of any task; it is told once. Nobody asks the provider beside it."""
    tasks = [scripted("later", duration="12s"), *TASKS]
    async with local_cloud(tasks=tasks) as (_, url):
        async with daemon(write_config(tmp_path, url, [job("later"), job("short"), job("bad")])) as running:
            waiting = asyncio.ensure_future(poller("wait", "later", "short", "--url", running.url))
            await running.until_logged("task.transition")
            await asyncio.sleep(6.0)
            await running.kill()
            await asyncio.sleep(1.5)
            await running.start()
            status, _, err = await waiting
            assert status == 0, err
            assert err.count("it is asked again") <= 1
            assert err.splitlines()[-1].startswith("later: succeeded after ")
            status, _, err = await poller("wait", "--url", running.url, "--json")
            assert status == 1
            status, _, err = await poller("wait", "nobody", "--url", running.url)
            assert status == 2
            assert "not on the watchlist: nobody" in err
