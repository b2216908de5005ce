"""A provider that answers in every hostile way there is, and another one on the same daemon that notices nothing."""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from poller.runtime.failing import MOST_TOLD
from tests.daemon.process import JOB_SPEC, DaemonProcess, daemon, job, local_cloud, providers, write_config
from tests.providers.hostile import WAYS

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
MOST_MEMORY = 300 * 1024
"""KiB at the highest, of which an idle daemon takes a third."""
EVENTS = ("poll.failed", "poll.recovered", "provider.polls_failing", "provider.polls_failing_ended")


@asynccontextmanager
async def hostile_server() -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A process of its own, for what it writes without end would hold up the test."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.daemon.hostile_server", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield process, (await process.stdout.readline()).decode().strip()
    finally:
        process.kill()
        await process.wait()


def watched(way: str) -> dict[str, Any]:
    return {"name": way, "provider": "hostile", "operation": "job", "params": {"job_id": way}}


def most_memory(running: DaemonProcess) -> int:
    """KiB that the process has held at the highest."""
    lines = Path(f"/proc/{running.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def said(running: DaemonProcess) -> Counter[str]:
    return Counter(line["event"] for line in running.lines() if line["event"] in EVENTS)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of a process from /proc")
async def test_hostile_answers_hurt_nobody(tmp_path: Path) -> None:
    """No verdict, bounded memory, few lines at the beginning and the end; another provider's tasks end meanwhile."""
    good = [{"api": "job", "name": f"good-{n}", "params": {"job_id": f"good-{n}"}, "duration": "1s"} for n in range(10)]
    async with hostile_server() as (server, address), local_cloud(tasks=good) as (_, cloud):
        bad = {"kind": "http", "endpoint": address, "spec": JOB_SPEC, "timeout": "400ms", "rate_limit": "50/s"}
        config = write_config(
            tmp_path,
            cloud,
            [*map(watched, WAYS), *(job(f"good-{n}") for n in range(10))],
            providers={"jobs": providers(cloud)["jobs"], "hostile": bad},
        )
        async with daemon(config) as running:
            await until_polled(running, 2)
            tasks = await running.tasks()
            assert {name: tasks[name]["state"] for name in WAYS} == dict.fromkeys(WAYS, "unknown")
            assert {tasks[name]["last_failure"]["outcome"] for name in WAYS} == {"unreachable", "unrecognized"}
            assert {tasks[f"good-{n}"]["state"] for n in range(10)} == {"succeeded"}
            assert said(running) == {"poll.failed": 2 * MOST_TOLD, "provider.polls_failing": 2}
            server.send_signal(signal.SIGUSR1)
            await running.until_all_over(len(WAYS) + 10, 30)
            assert most_memory(running) < MOST_MEMORY
            assert await running.stop() == 0
    lines = said(running)
    assert (lines["poll.failed"], lines["provider.polls_failing"]) == (2 * MOST_TOLD, 2)
    # One line for a task that was told as failing now so, now so.
    assert MOST_TOLD <= lines["poll.recovered"] <= 2 * MOST_TOLD
    assert lines["provider.polls_failing_ended"] == 2
    assert not [line for line in running.lines() if line["level"] == "error"]
    assert "Traceback" not in running.log.read_text("utf-8")


async def until_polled(running: DaemonProcess, times: int) -> None:
    """Waits until each hostile job has been asked for so often, and the good ones have ended."""
    async with asyncio.timeout(30):
        while True:
            tasks = await running.tasks()
            ended = all(task["terminal"] for name, task in tasks.items() if name not in WAYS)
            if ended and all(tasks[name]["polls"] >= times for name in WAYS):
                return
            await asyncio.sleep(0.1)
