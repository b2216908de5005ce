"""A real Prometheus watches the demo with the shipped rules, and answers what the shipped dashboard asks."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.dashboard import Query, queries
from tests.deploy.prometheus import SERVER, Prometheus, prometheus
from tests.ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(SERVER is None, reason="prometheus is not installed")]

SECONDS = 100.0
"""Until everything must have been seen. The demo's last task ends after 40."""

FAILED = "import-traffic-2"
HEALTHY = {"ctr-model-3", "import-traffic", "daily-report", "clean-v002"}
"""Tasks of the demo that succeed without ever raising a flag."""


async def test_a_failed_task_fires_a_healthy_one_does_not_and_every_panel_shows_something(tmp_path: Path) -> None:
    """The rule file is used as it is shipped: a failed task's alert waits for nothing that would need to be shortened.

    Prometheus is there first, as it is where a task is watched for hours: it must see the task alive.
    """
    address = f"127.0.0.1:{free_port()}"
    async with asyncio.timeout(SECONDS):
        async with prometheus(tmp_path, address) as server:
            while not await server.answers('up{job="poller"} == 0'):
                await asyncio.sleep(0.1)
            async with demo(address, tmp_path / "demo.log"):
                failed = await until_fires(server, "PollerTaskFailed", FAILED)
                assert failed["labels"]["severity"] == "critical"
                assert failed["labels"]["team"] == "traffic"
                assert failed["annotations"]["summary"] == f"Task {FAILED} failed"
                for query in queries():
                    await until_answered(server, query)
                await until_fires(server, "PollerTaskMissing", "export-legacy")
                alerted = {alert["labels"].get("task") for alert in await server.alerts()}
                assert not alerted & HEALTHY
                assert "PollerTaskFoundFailed" not in {alert["labels"]["alertname"] for alert in await server.alerts()}


@asynccontextmanager
async def demo(address: str, log: Path) -> AsyncIterator[None]:
    """The demo as a process, gone afterwards whatever happens. If it ends too soon, the block fails."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "poller", "demo", "--listen", address, stdout=output, stderr=output
        )
    try:
        async with asyncio.TaskGroup() as group:
            guard = group.create_task(goes_on(process, log))
            yield
            guard.cancel()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def goes_on(process: asyncio.subprocess.Process, log: Path) -> None:
    """Fails when the process ends."""
    status = await process.wait()
    pytest.fail(f"the demo ended with {status}: {log.read_text('utf-8')}")


async def until_fires(server: Prometheus, name: str, task: str) -> dict[str, Any]:
    """The alert of that name on ``task``, as soon as it fires."""
    while True:
        for alert in await server.alerts():
            labels = alert["labels"]
            if (alert["state"], labels["alertname"], labels.get("task")) == ("firing", name, task):
                return alert
        await asyncio.sleep(0.2)


async def until_answered(server: Prometheus, query: Query) -> None:
    """Waits until the query has an answer; its panel's name is in the failure if it never has."""
    try:
        while not await (server.answers if query.instant else server.answers_over_time)(query.text):
            await asyncio.sleep(0.2)
    except asyncio.CancelledError as late:
        late.add_note(f"no answer for the panel {query.panel!r}: {query.text}")
        raise
