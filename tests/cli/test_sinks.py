"""`poller sinks`: what is printed, and with which exit status."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from poller.cli import app
from poller.protocols import DeadLetter
from tests.daemon.receivers import SECRET, receiver
from tests.emit.fakes import NOW
from tests.web.fakes import World, moved

Run = Callable[..., Awaitable[Result]]


async def invoke(*arguments: str) -> Result:
    """Runs the command in a thread of its own, so that a server here can answer it."""
    return await asyncio.to_thread(CliRunner().invoke, app, ["sinks", *arguments])


@pytest.fixture
def world() -> World:
    world = World(token="s3cret")
    world.desk.letters = {
        "ops": [DeadLetter(moved("a", number), 3, NOW, "HTTP 410 Gone") for number in (1, 2)],
        "team/ops": [],
    }
    return world


@pytest.fixture
async def run(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Run]:
    """Runs the command beside a daemon, with its address and token."""
    monkeypatch.delenv("POLLER_CONFIG", raising=False)
    monkeypatch.setenv("POLLER_TOKEN", "s3cret")
    async with world.client() as client:
        url = ("--url", str(client.make_url("/")))
        yield lambda *arguments: invoke(*arguments, *url)


async def test_the_list_is_a_table_or_an_object_a_line(run: Run) -> None:
    """With what went wrong last, and how long ago."""
    result = await run("list")
    assert result.exit_code == 0
    heads, first, second = result.stdout.splitlines()
    assert heads.split() == ["SINK", "KIND", "DELIVERED", "WAITING", "DEAD", "FAILS", "SINCE", "LAST", "ERROR"]
    assert first.split()[:5] == ["ops", "webhook", "7", "2", "2"]
    assert first.endswith("HTTP 500")
    assert second.startswith("team/ops")
    told = [json.loads(line) for line in (await run("list", "--json")).stdout.splitlines()]
    assert [each["name"] for each in told] == ["ops", "team/ops"]


async def test_dead_letters_of_one_sink_or_of_all(run: Run) -> None:
    """Each with its id, task, way and reason; for a program with the whole transition."""
    result = await run("dead")
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0] == ["SINK", "EVENT", "TASK", "TRANSITION", "GIVEN", "UP", "ATTEMPTS", "ERROR"]
    assert [row[:3] for row in rows[1:]] == [["ops", "a-1", "a"], ["ops", "a-2", "a"]]
    assert "running > succeeded" in result.stdout
    told = [json.loads(line) for line in (await run("dead", "ops", "--json")).stdout.splitlines()]
    assert [(each["sink"], each["id"], each["transition"]["task"]) for each in told] == [
        ("ops", "a-1", "a"),
        ("ops", "a-2", "a"),
    ]
    assert (await run("dead", "team/ops", "--json")).stdout == ""


async def test_a_sink_that_is_not_there_is_told(run: Run) -> None:
    """By name, with exit status 1."""
    result = await run("dead", "nope")
    assert result.exit_code == 1
    assert str(result.exception) == "no sink 'nope' is in the config"


async def test_events_are_delivered_again(run: Run, world: World) -> None:
    """All, or those named; one that is not kept is told, with exit status 1."""
    result = await run("redeliver", "ops", "--all")
    assert (result.exit_code, result.stderr) == (0, "ops: 2 events are to be delivered\n")
    result = await run("redeliver", "ops", "a-1", "a-1")
    assert (result.exit_code, result.stderr) == (0, "ops: 1 event is to be delivered\n")
    result = await run("redeliver", "ops", "a-1", "x")
    assert result.exit_code == 1
    assert result.stderr.endswith("poller: 1 event is not kept for ops, or waiting anyway\n")
    assert json.loads((await run("redeliver", "team/ops", "--all", "--json")).stdout) == {
        "sink": "team/ops",
        "redelivered": 0,
    }
    assert world.desk.asked == [("ops", None), ("ops", ["a-1"]), ("ops", ["a-1", "x"]), ("team/ops", None)]


@pytest.mark.parametrize("arguments", [["redeliver", "ops"], ["redeliver", "ops", "a-1", "--all"]])
async def test_either_some_events_or_all(run: Run, arguments: list[str]) -> None:
    """Neither or both is a mistake in the usage."""
    assert (await run(*arguments)).exit_code == 2


async def test_without_the_token_nothing_is_delivered_again(
    run: Run, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is said which one is needed."""
    monkeypatch.delenv("POLLER_TOKEN")
    result = await run("redeliver", "ops", "--all")
    assert result.exit_code == 1
    assert "web.api_token" in str(result.exception)
    assert world.desk.asked == []


def config(folder: Path, **sinks: Any) -> str:
    path = folder / "poller.yaml"
    path.write_text(yaml.safe_dump({"sinks": sinks}), "utf-8")
    return str(path)


async def test_a_sample_is_sent_without_a_daemon(tmp_path: Path) -> None:
    """To a webhook, signed, and to a file; it is told whether it was taken."""
    async with receiver() as hooks:
        path = config(
            tmp_path,
            ops={"kind": "webhook", "url": hooks.url, "secret": SECRET},
            audit={"kind": "file", "path": "events.jsonl"},
        )
        for name in ("ops", "audit"):
            result = await invoke("test", name, "-c", path)
            assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"{name}: taken\n")
        line = json.loads((tmp_path / "events.jsonl").read_text("utf-8"))
        assert [each["type"] for each in (*hooks.taken, line)] == ["poller.sink.test"] * 2
        assert line["id"] != hooks.taken[0]["id"], "each sample is another event"
        hooks.faults = 1.0
        result = await invoke("test", "ops", "-c", path)
        assert result.exit_code == 1
        assert result.stderr.startswith("ops: ")
        assert "hunter2" not in result.stderr


async def test_what_keeps_a_sample_from_being_sent_is_told(tmp_path: Path) -> None:
    """A sink that is not there, and a secret that is not; those of others are no matter."""
    path = config(
        tmp_path,
        ops={"kind": "webhook", "url": {"env": "NOPE"}},
        audit={"kind": "file", "path": "events.jsonl"},
    )
    assert str((await invoke("test", "nope", "-c", path)).exception) == "no sink 'nope' is in the config"
    result = await invoke("test", "ops", "-c", path)
    assert "sinks.ops.url: environment variable NOPE is not set" in str(result.exception)
    assert (await invoke("test", "audit", "-c", path)).exit_code == 0


async def test_check_shows_where_each_sink_leads_and_nothing_secret(tmp_path: Path) -> None:
    """Of an address scheme, host and port; and what the sink gets."""
    path = config(
        tmp_path,
        ops={"kind": "webhook", "url": "https://u:hunter2@hooks.example.com:8443/hunter2?k=hunter2", "initial": False},
        audit={"kind": "file", "path": "events.jsonl", "states": ["failed", "missing"]},
        later={"kind": "webhook", "url": {"env": "NOPE"}},
    )
    result = await asyncio.to_thread(CliRunner().invoke, app, ["check", "-c", path, "--skip-secrets"])
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in result.stdout.splitlines() if line}
    assert rows["ops"] == "webhook https://hooks.example.com:8443 not initial"
    assert rows["audit"] == f"file {tmp_path}/events.jsonl states failed missing"
    assert rows["later"] == "webhook - all"
    assert "hunter2" not in result.stdout
