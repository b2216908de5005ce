"""An API of one's own, described in a spec file, as a user works with it: check, poll, run, and change the file."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.daemon.process import DaemonProcess, daemon, poller, write_config

pytestmark = pytest.mark.e2e

OVENS: dict[str, Any] = {
    "kind": "ovens",
    "about": "The bakery's ovens",
    "operations": {
        "batch": {
            "method": "POST",
            "path": "/ovens/{oven}/ask",
            "body": {"batch": "{batch}", "recipe": "{recipe}"},
            "status": "phase",
            "states": {"running": ["baking"], "succeeded": ["done"], "failed": ["burnt"]},
            "missing": "reason == 'no such batch'",
        }
    },
}
MILLED = {"running": ["milling"], "succeeded": ["done"], "failed": ["jammed"]}
MILLS: dict[str, Any] = {
    "kind": "mills",
    "operations": {"sack": {"path": "/mills/{sack}", "status": "phase", "states": MILLED}},
}
TASKS: list[dict[str, Any]] = [
    {"name": "rolls", "provider": "ovens", "operation": "batch", "params": {"oven": "o/1", "batch": 7}},
    {"name": "flour", "provider": "mills", "operation": "sack", "params": {"sack": "s1"}},
]


@dataclass
class Bakery:
    """The API: what it was asked, by path, with the connection it was asked on."""

    phase: str = "baking"
    asked: list[tuple[str, str, Any, object]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """Every batch is in the same phase, every sack is being milled."""
        body = await request.text()
        assert not body or request.content_type == "application/json"
        self.asked.append((request.method, request.raw_path, json.loads(body or "null"), request.transport))
        return web.json_response({"phase": self.phase if request.method == "POST" else "milling"})

    def connections(self, start: str) -> list[object]:
        """The connections that asked for paths that start so, each once, in order."""
        return list(dict.fromkeys(transport for _, path, _, transport in self.asked if path.startswith(start)))


@asynccontextmanager
async def bakery() -> AsyncIterator[tuple[Bakery, str]]:
    """The API on a free port."""
    made = Bakery()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield made, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def write_specs(folder: Path, **specs: dict[str, Any]) -> None:
    """Spec files, each replaced at once."""
    (folder / "specs").mkdir(exist_ok=True)
    for name, spec in specs.items():
        new = folder / f"{name}.new"
        new.write_text(yaml.safe_dump(spec, sort_keys=False), "utf-8")
        new.replace(folder / "specs" / f"{name}.yaml")


def with_state(state: str, phase: str) -> dict[str, Any]:
    """The ovens' spec with one more phase."""
    batch = OVENS["operations"]["batch"]
    states = {**batch["states"], state: [*batch["states"].get(state, []), phase]}
    return {**OVENS, "operations": {"batch": {**batch, "states": states}}}


def config(folder: Path, url: str) -> Path:
    """A daemon's config with both kinds."""
    known = {name: {"kind": name, "endpoint": url, "max_in_flight": 1} for name in ("ovens", "mills")}
    return write_config(folder, url, TASKS, providers=known, provider_specs=["specs"])


async def polls(running: DaemonProcess, provider: str) -> float:
    """How many polls of a provider were counted."""
    _, text = await running.get("/metrics")
    samples = (s for f in parse_text(text) for s in f.samples if s.name == "poller_polls_total")
    return sum(sample.value for sample in samples if sample.labels["provider"] == provider)


async def until(condition: Any, seconds: float = 20) -> None:
    """Waits until ``condition`` holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_changed_spec_renews_the_connections_of_its_kind_and_no_others(tmp_path: Path) -> None:
    """Once by itself, for the better; counters and neighbours go on. For the worse it is refused by file and line."""
    write_specs(tmp_path, ovens=OVENS, mills=MILLS)
    async with bakery() as (api, url), daemon(config(tmp_path, url)) as running:
        await until(lambda: [line["to"] for line in running.logged("task.transition")] == ["running"] * 2)
        asked = [json.dumps(asked[:3]) for asked in api.asked]
        assert set(asked) == {'["POST", "/ovens/o%2F1/ask", {"batch": "7"}]', '["GET", "/mills/s1", null]'}

        api.phase = "cooling"
        async with asyncio.timeout(20):
            while (await running.tasks())["rolls"]["last_failure"] is None:
                await asyncio.sleep(0.02)
        failure = (await running.tasks())["rolls"]["last_failure"]
        assert failure["message"] == "HTTP 200, status 'cooling' stands for no state of ovens batch"
        counted = {name: await polls(running, name) for name in ("ovens", "mills")}

        write_specs(tmp_path, ovens={**OVENS, "operations": {"batch": {"path": "/x", "status": "a[", "states": {}}}})
        line = await running.until_logged("config.rejected")
        assert f"{tmp_path}/specs/ovens.yaml:6: operations.batch.status: 'a[', no JMESPath expression" in line["reason"]
        assert (
            f"{tmp_path}/specs/ovens.yaml:7: operations.batch.states: no status that means succeeded" in line["reason"]
        )
        seen = len(api.asked)
        await until(lambda: any(path.startswith("/ovens") for _, path, *_ in api.asked[seen:]))

        write_specs(tmp_path, ovens=with_state("succeeded", "cooling"))
        await until(lambda: any(line["to"] == "succeeded" for line in running.logged("task.transition")))
        (reload,) = running.logged("config.reloaded")
        assert (reload["added"], reload["changed"], reload["removed"]) == (0, 0, 0)
        assert {name: task["state"] for name, task in (await running.tasks()).items()} == {
            "rolls": "succeeded",
            "flour": "running",
        }
        for name, before in counted.items():
            assert await polls(running, name) > before
        assert len(api.connections("/ovens")) == 2, "one before and one after"
        assert len(api.connections("/mills")) == 1, "never renewed"
        assert await running.stop(signal.SIGTERM) == 0
    assert len(running.logged("task.transition")) == 3


async def test_a_spec_is_written_checked_and_used(tmp_path: Path) -> None:
    """As the README has it: test it on a recorded answer, look at it, poll with it."""
    write_specs(tmp_path, ovens=OVENS, mills=MILLS)
    answers = tmp_path / "answers" / "batch"
    answers.mkdir(parents=True)
    cases = [{"file": "baking.json", "expect": "running"}, {"http": 404, "expect": "missing"}]
    (answers / "baking.json").write_text('{"phase": "baking"}', "utf-8")
    (answers / "cases.yaml").write_text(yaml.safe_dump(cases), "utf-8")
    spec = ("check", "--spec", "specs/ovens.yaml", "--answers", "answers")
    status, out, err = await poller(*spec, cwd=tmp_path)
    assert (status, err) == (2, "poller: 1 of 2 answers are not read as expected\n")
    first, second = (line.split() for line in out.splitlines()[1:])
    assert first[:5] == ["batch", "baking.json", "running", "running", "yes"]
    assert second[:6] == ["batch", "HTTP", "404", "missing", "rejected", "NO"]
    (answers / "cases.yaml").write_text(yaml.safe_dump(cases[:1]), "utf-8")
    assert (await poller(*spec, cwd=tmp_path))[0] == 0

    async with bakery() as (api, url):
        path = config(tmp_path, url)
        by_name = ("check", "-c", str(path), "--spec", "ovens", "--answers", "answers")
        assert (await poller(*by_name, cwd=tmp_path))[0] == 0
        status, out, _ = await poller("providers", "-c", str(path))
        assert status == 0
        assert re.search(r"^ovens +The bakery's ovens +batch$", out, re.MULTILINE)
        status, out, _ = await poller("poll", "-c", str(path))
        assert status == 0, out
        assert {asked[0] for asked in api.asked} == {"POST", "GET"}


async def test_kinds_are_shown() -> None:
    """All of them, one of them, for people and for programs; one that does not exist is told with those that do."""
    status, out, _ = await poller("providers", env={"POLLER_CONFIG": ""})
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == [
        "KIND", "alibaba-opensearch", "http", "huawei-dlf", "huawei-modelarts"
    ]  # fmt: skip
    status, out, _ = await poller("providers", "huawei-modelarts")
    assert "parameters   project_id training_job_id\n" in out
    assert "running      Running, Terminating\n" in out
    status, out, _ = await poller("providers", "huawei-dlf", "--json")
    (kind,) = (json.loads(line) for line in out.splitlines())
    assert kind["operations"][0]["optional"] == ["workspace"]
    environment, agency = kind["default_credentials"]
    assert environment["variables"] == ["HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK"]
    assert agency["from"] == "ECS agency"
    status, out, err = await poller("providers", "huawei")
    assert (status, out) == (1, "")
    assert "(did you mean 'huawei-dlf'?)" in err


async def test_a_spec_is_checked_without_a_config(tmp_path: Path) -> None:
    """A file or a built-in kind; mistakes by file and line, and options that make no sense are refused."""
    (tmp_path / "a.yaml").write_text("kind: a\nextends: b\n", "utf-8")
    status, _, err = await poller("check", "--spec", "a.yaml", cwd=tmp_path)
    assert (status, err.split(", one of")[0]) == (2, "a.yaml:2: extends: 'b'")
    assert (await poller("check", "--spec", "huawei-dlf"))[0] == 0
    none = {"POLLER_CONFIG": ""}
    for arguments, option in ((("check",), "--config"), (("check", "--answers", "x"), "--answers")):
        status, _, err = await poller(*arguments, env=none)
        assert status == 2
        assert option in err
    status, out, _ = await poller("schema", "--spec")
    assert json.loads(out)["required"] == ["kind"]
