"""The end comes soon, whenever it is asked for."""

import asyncio
import json
import signal
import time
from pathlib import Path

import pytest

from tests.daemon.process import DaemonProcess, daemon, job, local_cloud, write_config

pytestmark = pytest.mark.e2e

LONGEST_STOP = 10.0
"""Seconds, the bound of the contract."""


async def test_a_signal_during_the_start_is_heard(tmp_path: Path) -> None:
    """A long watchlist need not be loaded to its end first; the exit status is 0 all the same."""
    config = write_config(tmp_path, "http://127.0.0.1:1", [job("a")], include=["many.jsonl"])
    lines = (json.dumps(job(f"job-{number}")) for number in range(30_000))
    (tmp_path / "many.jsonl").write_text("\n".join(lines), "utf-8")
    running = DaemonProcess(config)
    await running.start(wait=False)
    await running.until_logged("daemon.started")
    began = time.monotonic()
    assert await running.stop() == 0
    assert time.monotonic() - began < LONGEST_STOP
    assert not running.logged("daemon.ready")


async def test_a_reload_that_comes_too_early_waits_for_the_start(tmp_path: Path) -> None:
    """It is done, once there is something to reload."""
    async with local_cloud() as (_, url):
        running = DaemonProcess(write_config(tmp_path, url, [job("a")]))
        await running.start(wait=False)
        await running.until_logged("daemon.started")
        running.signal(signal.SIGHUP)
        await running.until_logged("config.reloaded")
        events = [line["event"] for line in running.lines()]
        assert events.index("daemon.ready") < events.index("config.reloaded")
        assert await running.stop() == 0


async def test_a_store_held_by_another_program_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """What could not be committed is told, and asked for again after the next start."""
    tasks = [{"api": "job", "name": "a", "params": {"job_id": "a"}, "starts_after": "3s", "duration": "1h"}]
    async with local_cloud(tasks=tasks) as (simulator, url):
        async with daemon(write_config(tmp_path, url, [job("a")])) as running:
            async with asyncio.timeout(20):
                while not simulator.requests["a"]:
                    await asyncio.sleep(0.02)
            with running.hold_store():
                told = len(running.logged("task.transition"))
                await asyncio.sleep(4)
                began = time.monotonic()
                assert await running.stop() == 0
                assert time.monotonic() - began < LONGEST_STOP
            assert running.logged("store.not_committed") or len(running.logged("task.transition")) == told
        async with daemon(running.config) as again:
            await again.until_logged("task.transition")
            assert again.stored("SELECT count(*) FROM transitions") == [(1,)]
            assert await again.stop() == 0
