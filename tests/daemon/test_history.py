"""`poller migrate` and `poller export`, as a user runs them."""

import asyncio
import csv
import io
import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from poller.store import open_store
from poller.store.migrations import HEAD
from tests.daemon.process import daemon, job, local_cloud, poller, write_config
from tests.store.lives import batch_of

pytestmark = pytest.mark.e2e

TASK = {"api": "job", "name": "a", "params": {"job_id": "a"}, "duration": "1s"}
NOWHERE = "http://127.0.0.1:1"


def lines(text: str) -> list[dict[str, Any]]:
    """The objects, one a line."""
    return [json.loads(line) for line in text.splitlines()]


async def test_migrate_makes_a_store_and_says_so(tmp_path: Path) -> None:
    """Once; --check only tells whether it is needed."""
    config = write_config(tmp_path, NOWHERE, [job("a")])
    found = await poller("migrate", "--check", "-c", str(config))
    assert found == (1, f"{tmp_path}/poller.db: is not there yet\n", "")
    assert not list(tmp_path.glob("poller.db*"))
    found = await poller("migrate", "-c", str(config))
    assert found == (0, f"{tmp_path}/poller.db: made with schema {HEAD}\n", "")
    for more in ([], ["--check"]):
        found = await poller("migrate", "-c", str(config), *more)
        assert found == (0, f"{tmp_path}/poller.db: is up to date (schema {HEAD})\n", "")


async def test_migrate_is_refused_while_a_daemon_holds_the_file(tmp_path: Path) -> None:
    """It says which process; looking is allowed."""
    async with local_cloud(tasks=[TASK]) as (_, url):
        config = write_config(tmp_path, url, [job("a")])
        async with daemon(config):
            status, _, err = await poller("migrate", "-c", str(config))
            assert (status, "another poller (process" in err) == (1, True)
            assert (await poller("migrate", "--check", "-c", str(config)))[0] == 0


async def test_a_bad_config_is_told_as_everywhere(tmp_path: Path) -> None:
    """Exit status 2, and nothing is done. Of the secrets only the store's is needed."""
    config = write_config(tmp_path, NOWHERE, [job("a")], store="mysql://x")
    for command in (["migrate"], ["export", "--since", "7d"]):
        status, _, err = await poller(*command, "-c", str(config))
        assert (status, " store: " in err) == (2, True)
    store = {"url": "postgresql://127.0.0.1:1/db", "password": {"file": "none"}}
    config = write_config(tmp_path, NOWHERE, [job("a")], store=store)
    status, _, err = await poller("migrate", "-c", str(config))
    assert (status, " store.password: file 'none'" in err) == (2, True)


async def test_a_store_of_another_version_is_not_exported(tmp_path: Path) -> None:
    """Nor one that is not there: both say what to do."""
    config = write_config(tmp_path, NOWHERE, [job("a")])
    status, out, err = await poller("export", "--since", "7d", "-c", str(config))
    assert (status, out, "is not there yet" in err) == (1, "", True)
    await poller("migrate", "-c", str(config))
    with closing(sqlite3.connect(tmp_path / "poller.db")) as store:
        store.execute("UPDATE poller_schema SET version_num = '0003'")
        store.commit()
    status, out, err = await poller("export", "--since", "7d", "-c", str(config))
    assert (status, out, "run poller migrate" in err) == (1, "", True)
    status, out, _ = await poller("migrate", "--check", "-c", str(config))
    assert (status, f"is at schema 0003, {HEAD} is needed" in out) == (1, True)


async def test_the_history_is_exported_beside_a_daemon(tmp_path: Path) -> None:
    """With the API's keys, oldest first; runs with how long they took."""
    async with local_cloud(tasks=[TASK]) as (_, url):
        config = write_config(tmp_path, url, [job("a")])
        async with daemon(config) as process, aiohttp.ClientSession(process.url) as session:
            async with asyncio.timeout(30):
                while not (runs := (await _get(session, "/api/v1/tasks/a/runs"))["runs"]):
                    await asyncio.sleep(0.1)
            transitions = (await _get(session, "/api/v1/transitions"))["transitions"]
            status, out, err = await poller("export", "--since", "1h", "-c", str(config))
            assert (status, err, lines(out)) == (0, "", transitions[::-1])
            status, out, _ = await poller("export", "--since", "1h", "--kind", "runs", "-c", str(config))
            assert (status, lines(out)) == (0, runs)
    (run,) = runs
    assert (run["task"], run["run"], run["state"]) == ("a", 1, "succeeded")
    assert run["transition_id"] == transitions[0]["transition_id"]
    assert run["duration_seconds"] == pytest.approx(1.0, abs=0.5)
    file = tmp_path / "runs.csv"
    more = ["--kind", "runs", "--format", "csv", "-o", str(file)]
    assert (await poller("export", "--since", "1h", "-c", str(config), *more))[:2] == (0, "")
    head, cells = csv.reader(io.StringIO(file.read_text("utf-8")))
    assert dict(zip(head, cells, strict=True))["transition_id"] == run["transition_id"]


async def _get(session: aiohttp.ClientSession, path: str) -> Any:
    async with session.get(path) as response:
        return await response.json()


async def test_a_reader_that_leaves_early_ends_the_export_quietly(tmp_path: Path) -> None:
    """As with `| head`."""
    config = write_config(tmp_path, NOWHERE, [job("a")])
    store = open_store(f"sqlite:///{tmp_path}/poller.db")
    await store.open()
    await store.commit(batch_of(*(f"job-{number}" for number in range(3000))))
    await store.close()
    export = f"{sys.executable} -m poller export --since 2020-01-01T00:00:00Z -c {config}"
    shell = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        f"{export} | head -n 1; exit $PIPESTATUS",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await shell.communicate()
    assert (shell.returncode, json.loads(out)["task"], err) == (0, "job-0", b"")


async def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """In words."""
    config = write_config(tmp_path, NOWHERE, [job("a")])
    await poller("migrate", "-c", str(config))
    status, _, err = await poller("export", "--since", "1h", "-c", str(config), "-o", str(tmp_path / "no" / "file"))
    assert (status, "file cannot be written: no such file or directory" in err) == (1, True)
