"""The other commands, as a user runs them."""

import json
from pathlib import Path

import pytest

from tests.daemon.process import daemon, job, local_cloud, poller, providers, write_config

pytestmark = pytest.mark.e2e


async def test_demo_shows_every_state_and_ends() -> None:
    """All states but unknown within a minute, and a table of what became of each task."""
    status, out, err = await poller("demo", "--exit-when-done")
    assert status == 0, err
    assert "States shown: pending running succeeded failed stopped missing expired" in out
    ways = {line.split()[0]: line for line in out.splitlines() if line}
    assert "running > succeeded" in ways["ctr-model-3"]
    assert "expired" in ways["backup-eu"]
    told = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    ids = [line["transition_id"] for line in told if line["event"] == "task.transition"]
    assert len(ids) == len(set(ids)) > 30


async def test_check_prints_what_would_be_watched(tmp_path: Path) -> None:
    """Offline: connections, and each task with the request that asks for it."""
    config = write_config(tmp_path, "http://127.0.0.1:1", [job("a/b")])
    status, out, err = await poller("check", "-c", str(config))
    assert (status, err) == (0, "")
    assert "GET http://127.0.0.1:1/v1/jobs/a%2Fb" in out


async def test_check_tells_unresolvable_secrets_unless_told_not_to(tmp_path: Path) -> None:
    """In CI, where there are no secrets, the rest of the config can be checked."""
    known = providers("http://127.0.0.1:1")
    known["jobs"]["credentials"] = {"bearer": {"env": "POLLER_TEST_NO_SUCH_VARIABLE"}}
    config = write_config(tmp_path, "http://127.0.0.1:1", [job("a")], providers=known)
    status, out, err = await poller("check", "-c", str(config))
    assert (status, out) == (2, "")
    assert "providers.jobs.credentials.bearer" in err
    assert (await poller("check", "-c", str(config), "--skip-secrets"))[0] == 0


async def test_poll_asks_once_and_says_why(tmp_path: Path) -> None:
    """One request for each task; exit status 1 as soon as one was not answered."""
    tasks = [{"api": "job", "name": "a", "params": {"job_id": "a"}, "duration": "1h"}]
    async with local_cloud(tasks=tasks) as (simulator, url):
        config = write_config(tmp_path, url, [job("a"), job("b")])
        status, out, _ = await poller("poll", "-c", str(config), "--json", "a")
        assert status == 0
        seen = json.loads(out)
        assert (seen["task"], seen["outcome"], seen["state"]) == ("a", "answered", "running")
        assert seen["reason"] == "status in_progress is running"
        status, out, _ = await poller("poll", "-c", str(config))
        assert status == 1
        assert "missing: error.code == 'not_found'" in out
        assert simulator.requests["a"] == 2
    assert not list(tmp_path.glob("poller.db*")), "no store is touched"


async def test_poll_refuses_unknown_names(tmp_path: Path) -> None:
    """Before anything is asked."""
    config = write_config(tmp_path, "http://127.0.0.1:1", [job("a")])
    status, _, err = await poller("poll", "-c", str(config), "nobody")
    assert status == 1
    assert "nobody" in err


async def test_status_shows_a_running_daemon(tmp_path: Path) -> None:
    """As a table and as JSON lines; the address comes from the config."""
    tasks = [{"api": "job", "name": "a", "params": {"job_id": "a"}, "duration": "1h"}]
    async with local_cloud(tasks=tasks) as (_, url), daemon(write_config(tmp_path, url, [job("a")])) as running:
        await running.until_logged("task.transition")
        status, out, _ = await poller("status", "-c", str(running.config), "--json")
        assert status == 0
        assert json.loads(out)["state"] == "running"
        _, out, _ = await poller("status", "--url", running.url)
        assert out.splitlines()[0].startswith("TASK")


async def test_status_without_a_daemon_says_so() -> None:
    """No traceback."""
    status, _, err = await poller("status", "--url", "http://127.0.0.1:1")
    assert status == 1
    assert err.startswith("poller: no daemon answers at http://127.0.0.1:1")


async def test_schema_is_json(tmp_path: Path) -> None:
    """An editor can read it."""
    status, out, _ = await poller("schema", cwd=tmp_path)
    assert status == 0
    assert json.loads(out)["properties"]["providers"]


@pytest.mark.parametrize(
    "command", ["run", "check", "poll", "status", "start", "wait", "watch", "simulate", "demo", "schema", "providers"]
)
async def test_every_command_has_help_with_an_example(command: str) -> None:
    """What to type stands in the help."""
    status, out, _ = await poller(command, "--help")
    assert status == 0
    assert "Example: poller" in out


async def test_no_config_is_a_usage_error() -> None:
    """Exit status 2, and the option's name."""
    status, _, err = await poller("run", env={"POLLER_CONFIG": ""})
    assert status == 2
    assert "--config" in err


async def test_simulate_says_what_is_wrong_with_a_scenario(tmp_path: Path) -> None:
    """Mistakes are told by line, with exit status 2."""
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text("tasks:\n  - {api: jub}\n", "utf-8")
    status, _, err = await poller("simulate", "--scenario", str(scenario))
    assert status == 2
    assert "Traceback" not in err
