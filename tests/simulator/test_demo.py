"""The demo's scenario and the demo's watchlist belong together, and show everything within a minute."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from poller.simulator import load_scenario
from poller.simulator.cloud import STRANGERS
from poller.simulator.faults import FaultKind
from poller.simulator.keys import ALIBABA_DEMO_KEY, HUAWEI_DEMO_KEY, JOBS_DEMO_BEARER
from poller.simulator.scenario import PARAMETERS, Entry, SingleRun
from tests.simulator.caller import Caller

CONFIG: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "config/demo.yaml").read_text())
ENTRIES = {entry.name: entry for entry in load_scenario().tasks}
OVER = 45.0


def _watched_params(watched: dict[str, Any]) -> dict[str, str]:
    provider = CONFIG["providers"][watched["provider"]]
    return {key: str(value) for key, value in {**provider.get("params", {}), **watched["params"]}.items()}


@pytest.mark.parametrize("watched", CONFIG["tasks"], ids=lambda watched: watched["name"])
def test_what_is_watched_is_what_is_played(watched: dict[str, Any]) -> None:
    entry: Entry = ENTRIES[watched["name"]]
    assert entry.api == watched["operation"]
    assert entry.params == _watched_params(watched)


def test_everything_played_is_watched() -> None:
    assert [watched["name"] for watched in CONFIG["tasks"]] == list(ENTRIES)


def test_the_watchlist_holds_the_demo_keys() -> None:
    credentials = {name: provider["credentials"] for name, provider in CONFIG["providers"].items()}
    huawei = {"access_key": HUAWEI_DEMO_KEY.id, "secret_key": HUAWEI_DEMO_KEY.secret}
    assert credentials == {
        "search": {"access_key_id": ALIBABA_DEMO_KEY.id, "access_key_secret": ALIBABA_DEMO_KEY.secret},
        "studio": huawei,
        "modelarts": huawei,
        "jobs": {"bearer": JOBS_DEMO_BEARER},
    }
    assert {provider["endpoint"] for provider in CONFIG["providers"].values()} == {"http://127.0.0.1:9818"}


def _statuses(caller: Caller) -> dict[str, Any]:
    """What the providers say of everything played, by name."""
    told: dict[str, Any] = {}
    for name, entry in ENTRIES.items():
        params = {key: entry.params[key] for key in PARAMETERS[entry.api]}
        match entry.api:
            case "function-task":
                reply = caller.search(f"/{params['instanceName']}/tasks/{params['generation']}")
                told[name] = reply.json["result"]["status"]
            case "function-instance":
                told[name] = caller.instance(params["instanceName"]).json["result"].get("task", {}).get("dagStatus")
            case "system-task":
                workspace = {"workspace": entry.params["workspace"]} if "workspace" in entry.params else {}
                reply = caller.huawei(f"/v1/{params['project_id']}/system-tasks/{params['task_id']}", **workspace)
                told[name] = reply.json.get("status", reply.code)
            case "processor-task":
                reply = caller.huawei(f"/v2/{params['project_id']}/processor-tasks/{params['task_id']}")
                told[name] = reply.json.get("status", reply.code)
            case _ if not entry.faults:
                told[name] = caller.job(params["job_id"]).json["status"]
    return told


def test_the_demo_shows_everything_and_is_over_soon() -> None:
    caller = Caller(yaml.safe_load((Path(__file__).parents[2] / "poller/simulator/demo-scenario.yaml").read_text()))
    assert set(_statuses(caller).values()) >= {None, "running", "RUNNING", 0, 1, "queued", "in_progress", "DLF.0810"}
    over = _statuses(caller.at(OVER - 4))
    assert over == _statuses(caller.at(1e6))
    assert set(over.values()) == {
        *("success", "failed", "SUCCESSFUL", "FAILED", "DLF.0810", "cancelled"),
        *(2, 4),
    }
    assert caller.cloud.requests[STRANGERS] == 0
    assert caller.cloud.key_locks == 0


def test_one_is_silent_one_is_overdue_and_trouble_passes() -> None:
    scenario = load_scenario()
    silent = [entry for entry in ENTRIES.values() if entry.faults]
    assert [(entry.name, entry.faults[0].kind) for entry in silent] == [("backup-eu", FaultKind.HANG)]
    assert {fault.kind for fault in scenario.faults} == {FaultKind.THROTTLE, FaultKind.ERROR}
    assert all(fault.lasts and fault.lasts < 5 for fault in scenario.faults)
    overdue = next(watched for watched in CONFIG["tasks"] if "schedule" in watched)
    entry = ENTRIES[overdue["name"]]
    assert isinstance(entry, SingleRun)
    assert entry.pending + entry.duration > 25
    assert overdue["schedule"] == {"deadline": "20s"}
