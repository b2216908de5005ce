"""Transitions as server-sent events, as clients of a real daemon see them."""

import asyncio
import json
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, aclosing
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from poller.domain.place import Place
from poller.protocols import Batch
from poller.store import open_store
from tests.daemon.process import DaemonProcess, daemon, job, local_cloud, write_config
from tests.daemon.replicas import Replicas, cloud_of_replicas
from tests.ports import free_port
from tests.postgresql import PostgresServer
from tests.store.lives import T0, batch_of

pytestmark = pytest.mark.e2e


async def events(url: str, last_id: str | None = None) -> AsyncIterator[tuple[str | None, dict[str, Any]]]:
    """The id and the data of each transition, until the stream ends; read as the standard has it."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(None)) as session:
        async with session.get(f"{url}/api/v1/events", headers=headers) as response:
            assert response.status == 200, await response.text()
            fields: dict[str, str] = {}
            async for line in response.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "data":
                    fields["data"] = "\n".join([*([fields["data"]] if "data" in fields else []), value])
                elif name:
                    fields[name] = value
                else:
                    if fields.get("event") == "transition":
                        yield fields["id"], json.loads(fields["data"])
                    elif "id" in fields:
                        yield fields["id"], {}
                    fields = {}


class Follower:
    """A client that reconnects with the last id it has seen."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.last_id: str | None = None

    async def follow(self, *processes: DaemonProcess) -> None:
        """Follows one of them, and when its stream breaks the next one."""
        for process in cycle(processes):
            try:
                async with aclosing(events(process.url, self.last_id)) as stream:  # type: ignore[type-var]
                    async for last_id, transition in stream:
                        self.last_id = last_id
                        if transition:
                            self.told.append(transition)
            except (aiohttp.ClientError, AssertionError):
                await asyncio.sleep(0.05)


async def test_no_event_is_lost_and_none_repeated_over_restarts(tmp_path: Path) -> None:
    """However the daemon ends; a stop waits for no reader."""
    names = [f"job-{number}" for number in range(60)]
    tasks = [
        {"api": "job", "name": n, "params": {"job_id": n}, "duration": f"{1 + i / 10:g}s"} for i, n in enumerate(names)
    ]
    async with local_cloud(tasks=tasks) as (_, url):
        config = write_config(tmp_path, url, [job(name) for name in names])
        async with daemon(config) as process:
            follower = Follower()
            following = asyncio.ensure_future(follower.follow(process))
            async with asyncio.timeout(60):
                while follower.last_id is None or len(follower.told) < 5:
                    await asyncio.sleep(0.02)
                start = time.monotonic()
                assert await process.stop() == 0
                assert time.monotonic() - start < 5
                before = len(follower.told)
                await process.start()
                while len(follower.told) < before + 5:
                    await asyncio.sleep(0.02)
                await process.kill()
                await process.start()
                await process.until_all_over(len(names), 60)
                known = await process.transitions()
                while follower.told[-1] != known[-1]:
                    await asyncio.sleep(0.02)
            following.cancel()
            first = known.index(follower.told[0])
            assert follower.told == known[first:]
            await asyncio.wait([following])


async def test_replicas_tell_of_each_other_and_go_on_for_one_another(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """Whichever of them polls a task: each event comes once, also to who goes over from one that was killed."""
    names = [f"job-{number}" for number in range(60)]
    tasks = [
        {"api": "job", "name": n, "params": {"job_id": n}, "duration": f"{6 + i / 5:g}s"} for i, n in enumerate(names)
    ]
    database = postgres_server.create_database()
    async with cloud_of_replicas(tasks=tasks) as cloud:
        quick = {"replicas": {"lease": "6s"}, "schedule": {"initial": "200ms", "max": "1s"}}
        async with Replicas(tmp_path, 2, cloud, database, [job(name) for name in names], **quick) as replicas:
            await replicas.start()
            follower = Follower()
            following = asyncio.ensure_future(follower.follow(replicas[0], replicas[1]))
            async with asyncio.timeout(90):
                while follower.last_id is None or len(follower.told) < 10:
                    await asyncio.sleep(0.02)
                await replicas[0].kill()
                await replicas[1].until_all_over(len(names), 60)
                known = await replicas[1].transitions()
                ends = {each["transition_id"] for each in known if each["terminal"]}
                # A slow start may have left some behind before anybody listened.
                missed = {each["transition_id"] for each in known[: known.index(follower.told[0])]}
                while not ends - missed <= {each["transition_id"] for each in follower.told}:
                    await asyncio.sleep(0.02)
            following.cancel()
            await asyncio.wait([following])
            told = [each["transition_id"] for each in follower.told]
            assert len(told) == len(set(told))
            assert cloud.jobs >= set(names)


def resident(process: DaemonProcess) -> int:
    """Bytes of memory that the process has."""
    status = Path(f"/proc/{process.process.pid}/status").read_text("utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


async def fill(folder: Path, count: int) -> None:
    """Makes a store with a past."""
    store = open_store(f"sqlite:///{folder}/poller.db")
    await store.open()
    batch = batch_of(*(f"old-{number}" for number in range(count)))
    await store.commit(batch)
    ids = [change.transition.transition_id for change in batch.changes if change.transition]
    await store.commit(Batch(T0 + 6, told=ids))
    await store.close()


async def polls(process: DaemonProcess) -> int:
    return int((await process.tasks())["a"]["polls"])


async def test_readers_that_never_read_are_dropped_and_hold_up_nothing(tmp_path: Path) -> None:
    """A hundred that ask for a long history: memory stays bounded, polls go on, and a stop waits for none of them."""
    tasks = [{"api": "job", "name": "a", "params": {"job_id": "a"}, "duration": "1h"}]
    await fill(tmp_path, 3_000)
    async with local_cloud(tasks=tasks) as (_, url):
        config = write_config(tmp_path, url, [job("a")], history="36500d")
        async with daemon(config) as process:
            with ExitStack() as stack:
                before, polled = resident(process), await polls(process)
                waiting = [stack.enter_context(deaf(process.url)) for _ in range(100)]
                async with asyncio.timeout(60):
                    while waiting:
                        waiting = [each for each in waiting if not each.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)]
                        assert resident(process) - before < 80_000_000
                        await asyncio.sleep(0.2)
                assert await polls(process) > polled
                for _ in range(100):
                    stack.enter_context(deaf(process.url))
                await asyncio.sleep(0.5)
                start = time.monotonic()
                assert await process.stop(signal.SIGTERM) == 0
                assert time.monotonic() - start < 5


def deaf(url: str) -> socket.socket:
    """A client that asks for everything and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", int(url.rpartition(":")[2])))
    client.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: {Place()}\r\n\r\n".encode())
    return client


async def test_the_api_stands_up_to_whoever_takes_its_document_at_its_word(tmp_path: Path) -> None:
    """Schemathesis finds nothing; with the token, and but for tasks that the config knows nothing of."""
    tasks = [{"api": "job", "name": "a", "params": {"job_id": "a"}, "duration": "1s"}]
    async with local_cloud(tasks=tasks) as (_, url):
        web = {"listen": f"127.0.0.1:{free_port()}", "api_token": "s3cret"}
        sinks = {"audit": {"kind": "file", "path": "events.jsonl"}}
        (tmp_path / "schemathesis.toml").write_text(SCHEMATHESIS, "utf-8")
        async with daemon(write_config(tmp_path, url, [job("a")], web=web, sinks=sinks)) as process:
            checking = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "schemathesis.cli", "run", f"{process.url}/api/v1/openapi.json"),
                *("--exclude-path", "/api/v1/events", "--max-examples", "8", "--generation-deterministic"),
                *("--no-color", "-H", "Authorization: Bearer s3cret"),
                cwd=tmp_path,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            out, _ = await checking.communicate()
            assert checking.returncode == 0, out.decode()
            assert not process.logged("http.failed")


SCHEMATHESIS = """
warnings = false

[[operations]]
include-name = "POST /api/v1/tasks"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "409"]

[[operations]]
include-path-regex = "/sinks/.+"
parameters = { name = "audit" }
"""
