"""Commands that look at a running daemon, on a terminal and off it."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import terminal
from tests.daemon.process import DaemonProcess, daemon, job, local_cloud, poller, write_config

pytestmark = pytest.mark.e2e

ESCAPE = "\x1b"
NOWHERE = "http://127.0.0.1:1"


def cloud_task(name: str, duration: str, **more: Any) -> dict[str, Any]:
    return {"api": "job", "name": name, "params": {"job_id": name}, "duration": duration, **more}


async def until_ended(process: DaemonProcess, count: int) -> None:
    async with asyncio.timeout(30):
        while sum(task["terminal"] for task in (await process.tasks()).values()) < count:
            await asyncio.sleep(0.1)


@asynccontextmanager
async def followed(*arguments: str) -> AsyncIterator[list[dict[str, Any]]]:
    """The lines of JSON of a command that goes on, as they come; Ctrl-C ends it, and it said one thing to people."""
    told: list[dict[str, Any]] = []
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "poller", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )

    async def read() -> None:
        nonlocal told
        assert process.stdout is not None
        async for line in process.stdout:
            told += [json.loads(line)]

    reading = asyncio.ensure_future(read())
    try:
        yield told
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(10):
            await reading
            assert await process.wait() == 130
        assert process.stderr is not None
        said = (await process.stderr.read()).decode().splitlines()
        assert len(said) == 1
        assert said[0].endswith("; it is asked again")
    finally:
        reading.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def with_one_ended(folder: Path) -> AsyncIterator[DaemonProcess]:
    """A daemon of which one task has ended, and another goes on."""
    async with local_cloud(tasks=[cloud_task("a", "1s"), cloud_task("b", "1h")]) as (_, url):
        async with daemon(write_config(folder, url, [job("a"), job("b")])) as process:
            await until_ended(process, 1)
            yield process


async def test_what_happened_is_told_for_people_and_for_programs(tmp_path: Path) -> None:
    """Oldest first, since when one wants; plain text off a terminal, lines of JSON if asked for."""
    async with with_one_ended(tmp_path) as process:
        at = ("--url", process.url)
        status, out, err = await poller("events", *at)
        lines = [line.split("  ", 1)[1] for line in out.splitlines()]
        assert (status, err, ESCAPE in out) == (0, "", False)
        assert any(line.startswith("a: ") and " -> succeeded after 1" in line for line in lines)
        assert "b: unknown -> running" in lines
        status, out, _ = await poller("events", "--since", "1h", "--json", *at)
        told = [json.loads(line) for line in out.splitlines()]
        history = json.loads((await process.get("/api/v1/transitions"))[1])["transitions"]
        assert (status, told) == (0, history[::-1])
        assert await poller("events", "--since", "2030-01-01T00:00:00Z", *at) == (0, "", "")
        assert (await poller("events", "--since", "soon", *at))[0] == 2


async def test_on_a_terminal_there_is_colour_and_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    """What is watched is painted in one place, which is left as it was last; exit status 130, no traceback."""
    async with with_one_ended(tmp_path) as process:
        at = ("--url", process.url)
        async with terminal("events", "--follow", "--since", "1h", *at) as shown:
            await shown.until(lambda text: "\x1b[32msucceeded\x1b[0m after 1" in text)
            status, text = await shown.interrupted()
            assert (status, "Traceback" in text) == (130, False)
        async with terminal("status", "--watch", *at, rows=8) as shown:
            await shown.until(lambda text: text.count("Ctrl-C ends") > 2)
            status, text = await shown.interrupted()
        assert (status, "Traceback" in text) == (130, False)
        assert "2 tasks (1 running, 1 succeeded) at " in text
        assert "\x1b[1A\x1b[2K" in text
        assert text.rstrip().endswith("\x1b[?25h")
        async with terminal("wait", "b", *at) as shown:
            await shown.until(lambda text: "running" in text and "\u2501" in text)
            status, text = await shown.interrupted()
        assert (status, "b: not followed any longer; the job goes on" in text) == (130, True)
        assert "Traceback" not in text


async def test_events_are_followed_over_a_restart(tmp_path: Path) -> None:
    """Each is told once, though the connection breaks; that it did is told as well, and no more than once."""
    tasks = [cloud_task(f"job-{n}", f"{n / 4:g}s") for n in range(1, 41)]
    async with local_cloud(tasks=tasks) as (_, url):
        config = write_config(tmp_path, url, [job(task["name"]) for task in tasks])
        async with daemon(config) as process:
            async with followed("events", "--follow", "--json", "--since", "1h", "--url", process.url) as told:
                async with asyncio.timeout(60):
                    while len(told) < 45:
                        await asyncio.sleep(0.05)
                    await process.stop()
                    await process.start()
                    await process.until_all_over(40, 60)
                    history = await process.transitions()
                    while len(told) < len(history):
                        await asyncio.sleep(0.05)
                assert told == history


async def test_changes_are_told_off_a_terminal(tmp_path: Path) -> None:
    """A line of JSON for each task that changes, and none for one that is only asked again."""
    async with local_cloud(tasks=[cloud_task("a", "3s")]) as (_, url):
        async with daemon(write_config(tmp_path, url, [job("a")])) as process:
            async with followed("status", "--watch", "--json", "--url", process.url) as told:
                await until_ended(process, 1)
                async with asyncio.timeout(10):
                    while not told or told[-1]["state"] != "succeeded":
                        await asyncio.sleep(0.05)
                count = len(told)
                await asyncio.sleep(2.5)
                assert len(told) == count
                await process.stop()
                await asyncio.sleep(1.5)
            assert {task["name"] for task in told} == {"a"}


@pytest.mark.parametrize("arguments", [["events"], ["events", "-f"], ["status"], ["status", "-w"], ["wait", "a"]])
async def test_no_daemon_is_told_in_words(arguments: list[str]) -> None:
    """And exit status 1."""
    status, out, err = await poller(*arguments, "--url", NOWHERE)
    assert (status, out) == (1, "")
    assert err.startswith(f"poller: no daemon answers at {NOWHERE}/")
    assert err.count("\n") == 1
