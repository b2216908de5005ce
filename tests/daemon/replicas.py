"""Several daemons on one PostgreSQL store, and a local cloud that knows which of them asked."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from poller.domain.state import TERMINAL
from tests.daemon.process import DaemonProcess, local_cloud, providers, write_config
from tests.postgresql import PostgresServer

PARTITIONS = 1024


@dataclass
class Cloud:
    """A local cloud that serves each replica below a path of its own, and remembers who asked for what, and when."""

    url: str
    asked: list[tuple[float, int, str]] = field(default_factory=list)
    """Monotonic time, number of the replica, name of the job."""
    under_way: int = 0
    most_at_once: int = 0

    def polled_by_several(self, begin: float, end: float) -> list[str]:
        """The jobs that more than one replica asked for between these moments."""
        found: dict[str, set[int]] = {}
        for at, replica, job in self.asked:
            if begin <= at <= end:
                found.setdefault(job, set()).add(replica)
        return [job for job, replicas in found.items() if len(replicas) > 1]

    def polls(self, begin: float, end: float) -> int:
        """How many polls came between these moments."""
        return sum(begin <= at <= end for at, _, _ in self.asked)

    @property
    def jobs(self) -> set[str]:
        """Every job that was asked for."""
        return {job for _, _, job in self.asked}


@asynccontextmanager
async def cloud_of_replicas(**scenario: Any) -> AsyncIterator[Cloud]:
    """The simulator, asked at ``{url}/N`` by replica N."""
    async with local_cloud(**scenario) as (simulator, url):
        cloud = Cloud(url)

        async def handler(request: web.Request) -> web.StreamResponse:
            number, _, rest = request.path.lstrip("/").partition("/")
            cloud.asked.append((time.monotonic(), int(number), rest.rpartition("/")[2]))
            cloud.under_way += 1
            cloud.most_at_once = max(cloud.most_at_once, cloud.under_way)
            try:
                return await simulator._handle(request.clone(rel_url=f"/{rest}"))
            finally:
                cloud.under_way -= 1

        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", handler)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            cloud.url = f"http://{host}:{port}"
            yield cloud
        finally:
            await runner.cleanup()


class Replicas:
    """Daemons numbered from 0, each with a folder and a port of its own."""

    def __init__(self, folder: Path, count: int, cloud: Cloud, store: str, tasks: Any, **sections: Any) -> None:
        self.daemons: list[DaemonProcess] = []
        for number in range(count):
            own = folder / f"replica-{number}"
            own.mkdir()
            here = providers(f"{cloud.url}/{number}")
            here["jobs"]["rate_limit"] = "200/s"
            config = write_config(own, cloud.url, tasks, store=store, providers=here, **sections)
            self.daemons.append(DaemonProcess(config))

    def __getitem__(self, number: int) -> DaemonProcess:
        return self.daemons[number]

    def rewrite(self, old: str, new: str) -> None:
        """Puts something else into the config of each."""
        for each in self.daemons:
            each.config.write_text(each.config.read_text("utf-8").replace(old, new), "utf-8")

    async def start(self) -> None:
        """Starts all of them at once, and waits until they share everything."""
        await asyncio.gather(*(each.start() for each in self.daemons))
        await self.until_shared(range(len(self.daemons)))

    async def __aenter__(self) -> "Replicas":
        return self

    async def __aexit__(self, *_: object) -> None:
        """Kills what is still there."""
        for each in self.daemons:
            if each.started and each.process.returncode is None:
                await each.kill()

    async def until_shared(self, numbers: Iterable[int], seconds: float = 60.0) -> list[int]:
        """Waits until these hold all partitions among them, each its fair share."""
        async with asyncio.timeout(seconds):
            while True:
                held = [int((await metrics(self[number])).get("poller_partitions_held", 0)) for number in numbers]
                if sum(held) == PARTITIONS and max(held) - min(held) <= 1:
                    return held
                await asyncio.sleep(0.05)

    async def until_shown(self, numbers: Iterable[int], tasks: Iterable[str], seconds: float = 10.0) -> None:
        """Waits until these show ``tasks`` among them, each once: what is held is yet to be read."""
        expected = sorted(tasks)
        async with asyncio.timeout(seconds):
            while sorted([name for number in numbers for name in task_series(await metrics(self[number]))]) != expected:
                await asyncio.sleep(0.05)

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The lines with that event of all of them."""
        return [line for each in self.daemons if each.log.exists() for line in each.logged(event)]


async def metrics(running: DaemonProcess) -> dict[str, float]:
    """The samples of its metrics page by name and labels; none where it does not answer."""
    try:
        _, text = await running.get("/metrics")
    except (aiohttp.ClientError, OSError):
        return {}
    lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {series: float(value) for series, _, value in lines}


def task_series(samples: Iterable[str]) -> list[str]:
    """The names of the tasks that are shown in a state."""
    prefix = 'poller_task_state{task="'
    return [series.removeprefix(prefix).partition('"')[0] for series in samples if series.startswith(prefix)]


def assert_each_ended_once(server: PostgresServer, database: str, replicas: Replicas, names: set[str]) -> int:
    """One terminal transition of each task is stored, its way there is unbroken, and somebody told of each step.

    How many transitions that were.
    """
    columns = "transition_id, task, source, target, told_at"
    rows = server.execute(f"SELECT {columns} FROM transitions ORDER BY task, ordinal", database=database)  # noqa: S608
    assert Counter(row["task"] for row in rows if row["target"] in TERMINAL) == dict.fromkeys(names, 1)
    at: dict[str, str] = {}
    for row in rows:
        assert at.get(row["task"], "unknown") == row["source"], row
        at[row["task"]] = row["target"]
    assert {line["transition_id"] for line in replicas.logged("task.transition")} == {row[0] for row in rows}
    assert all(row["told_at"] for row in rows)
    return len(rows)
