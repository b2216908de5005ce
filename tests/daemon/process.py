"""The daemon as a process of its own, and the local cloud it polls, for the tests that look at both from outside."""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from poller.simulator import (
    ALIBABA_DEMO_KEY,
    HUAWEI_DEMO_KEY,
    JOBS_DEMO_BEARER,
    Scenario,
    Simulator,
    serve,
)
from tests.ports import free_port

START_SECONDS = 30.0
"""How long a process may take to be ready on a busy machine, before the test gives up."""

JOB_SPEC = {
    "operations": {
        "job": {
            "path": "/v1/jobs/{job_id}",
            "status": "status",
            "states": {
                "pending": ["queued"],
                "running": ["in_progress"],
                "succeeded": ["success"],
                "failed": ["failed"],
                "stopped": ["cancelled"],
            },
            "progress": "percent",
            "message": "error.message",
            "started_at": "created",
            "ended_at": "finished",
            "missing": "error.code == 'not_found'",
        }
    }
}
PROJECT = "b384b9e9ab9b4ee8994c8633aabc9505"


def providers(cloud: str) -> dict[str, Any]:
    """All four providers, at the local cloud."""
    alibaba = {"access_key_id": ALIBABA_DEMO_KEY.id, "access_key_secret": ALIBABA_DEMO_KEY.secret}
    huawei = {"access_key": HUAWEI_DEMO_KEY.id, "secret_key": HUAWEI_DEMO_KEY.secret}
    return {
        "search": {"kind": "alibaba-opensearch", "endpoint": cloud, "credentials": alibaba},
        "studio": {"kind": "huawei-dlf", "endpoint": cloud, "credentials": huawei, "params": {"project_id": PROJECT}},
        "modelarts": {
            "kind": "huawei-modelarts",
            "endpoint": cloud,
            "credentials": huawei,
            "params": {"project_id": PROJECT},
        },
        "jobs": {"kind": "http", "endpoint": cloud, "credentials": {"bearer": JOBS_DEMO_BEARER}, "spec": JOB_SPEC},
    }


def job(job_id: str, **more: Any) -> dict[str, Any]:
    """An entry of the watchlist for the jobs API."""
    return {"name": job_id, "provider": "jobs", "operation": "job", "params": {"job_id": job_id}, **more}


def write_config(folder: Path, cloud: str, tasks: list[dict[str, Any]], **sections: Any) -> Path:
    """A config file that watches ``tasks`` quickly; ``sections`` take the place of its own."""
    config = {
        "web": {"listen": f"127.0.0.1:{free_port()}"},
        "store": "sqlite:///poller.db",
        "log": {"format": "json"},
        "schedule": {"initial": "200ms", "max": "1s"},
        "providers": providers(cloud),
        "tasks": tasks,
        **sections,
    }
    path = folder / "poller.yaml"
    path.write_text(yaml.safe_dump(config), "utf-8")
    return path


@asynccontextmanager
async def local_cloud(**scenario: Any) -> AsyncIterator[tuple[Simulator, str]]:
    """The simulator in this process, and its address."""
    simulator = Simulator(Scenario.model_validate(scenario))
    async with serve(simulator) as url:
        yield simulator, url


class DaemonProcess:
    """`poller run` as a process. Its log goes to a file that outlives it: several lives may write to the same one."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.log = config.with_name("poller.log")
        self.url = f"http://{yaml.safe_load(config.read_text('utf-8'))['web']['listen']}"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *, wait: bool = True) -> None:
        """Starts it and waits until it is ready."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "poller", "run", "-c", str(self.config), stderr=log, stdout=log
            )
        if wait:
            await self.until_ready()

    async def until_ready(self) -> None:
        """Waits until /-/ready says so; fails when the process ends first."""
        async with asyncio.timeout(START_SECONDS):
            while not await self._is_ready():
                assert self.process.returncode is None, self.log.read_text("utf-8")
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """SIGKILL: no chance to do anything."""
        self.process.kill()
        await self.process.wait()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Asks it to end; its exit status."""
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        """Waits for its end; its exit status."""
        async with asyncio.timeout(START_SECONDS):
            return await self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self.process.send_signal(number)

    @property
    def started(self) -> bool:
        """Whether it was started at all."""
        return self._process is not None

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The process that was started last."""
        assert self._process is not None
        return self._process

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and text of a page."""
        async with aiohttp.ClientSession() as session, session.get(self.url + path, headers=headers) as response:
            return response.status, await response.text()

    async def tasks(self) -> dict[str, dict[str, Any]]:
        """Every task that its API tells, by name."""
        _, text = await self.get("/api/v1/tasks?limit=1000")
        return {task["name"]: task for task in json.loads(text)["tasks"]}

    async def transitions(self) -> list[dict[str, Any]]:
        """Everything that its API tells of the past, oldest first."""
        found, cursor = [], ""
        while True:
            page = json.loads((await self.get(f"/api/v1/transitions?limit=1000&cursor={cursor}"))[1])
            found += page["transitions"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found[::-1]

    async def until_all_over(self, count: int, seconds: float) -> dict[str, dict[str, Any]]:
        """Waits until all of ``count`` tasks have ended, and their ends are stored: they are shown a little before."""
        async with asyncio.timeout(seconds):
            while True:
                tasks = await self.tasks()
                over = {name for name, task in tasks.items() if task["terminal"]}
                if len(over) == count:
                    stored = {each["task"] for each in await self.transitions() if each["terminal"]}
                    if over <= stored:
                        return tasks
                await asyncio.sleep(0.1)

    async def until_logged(self, event: str, seconds: float = START_SECONDS) -> dict[str, Any]:
        """Waits for the first line with that event."""
        async with asyncio.timeout(seconds):
            while not (found := self.logged(event)):
                await asyncio.sleep(0.02)
        return found[0]

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The lines logged with that event, over all lives. A line that a kill cut short is not one."""
        return [line for line in self.lines() if line.get("event") == event]

    def stored(self, query: str) -> list[tuple[Any, ...]]:
        """What the SQLite file answers."""
        with closing(sqlite3.connect(self.config.with_name("poller.db"))) as connection:
            return connection.execute(query).fetchall()

    @contextmanager
    def hold_store(self) -> Iterator[None]:
        """Keeps the SQLite file locked, as a backup or a shell would."""
        with closing(sqlite3.connect(self.config.with_name("poller.db"), isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    def lines(self) -> list[dict[str, Any]]:
        """Every line of the log, over all lives."""
        lines = []
        for text in self.log.read_text("utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                continue
        return lines

    async def _is_ready(self) -> bool:
        try:
            status, _ = await self.get("/-/ready")
        except aiohttp.ClientError:
            return False
        return status == 200


@asynccontextmanager
async def daemon(config: Path) -> AsyncIterator[DaemonProcess]:
    """A daemon that is ready, and gone afterwards whatever happens."""
    running = DaemonProcess(config)
    try:
        await running.start()
        yield running
    finally:
        if running.process.returncode is None:
            await running.kill()


async def poller(*arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Runs a command to its end: exit status, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "poller", *arguments),
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(90):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def command_under_way(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command that heeds Ctrl-C, with a pipe for its standard error; gone afterwards whatever happens."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "poller", *arguments),
        stderr=asyncio.subprocess.PIPE,
        # Whoever runs the tests in the background has them ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
