"""DLF answers as its document's samples do."""

from typing import Any

import pytest

from poller.simulator.dlf import parts_at
from poller.simulator.script import Ending, Phase, Run
from tests.simulator.caller import START, Caller
from tests.simulator.samples import samples

SUCCEEDED, FAILED, _, ERROR = samples("huawei-dlf-query-system-task.txt")
DOCUMENTED = {"id", "name", "startTime", "endTime", "lastUpdate", "status", "message", "subtasks", "projectId"}
PART_DOCUMENTED = {"id", "name", "startTime", "endTime", "lastUpdate", "status", "taskId"}
PATH = "/v1/p1/system-tasks/t1"


def _caller(**more: Any) -> Caller:
    params = {"project_id": "p1", "task_id": "t1", **more.pop("params", {})}
    style = more.pop("dlf", {})
    task = {"api": "system-task", "params": params, "duration": "10s", "subtasks": ["one", "two"], **more}
    return Caller({"tasks": [task], "dlf": style})


def test_a_success_has_the_keys_of_the_sample() -> None:
    reply = _caller(title="Import the solution.").at(10).huawei(PATH)
    assert reply.status == 200
    assert set(SUCCEEDED) <= set(reply.json) <= DOCUMENTED
    assert reply.json["status"] == SUCCEEDED["status"]
    assert reply.json["name"] == "Import the solution."
    for part in reply.json["subtasks"]:
        assert set(SUCCEEDED["subtasks"][0]) <= set(part) <= PART_DOCUMENTED
        assert part["status"] == "SUCCESSFUL"


def test_a_failure_has_the_keys_of_the_sample_and_a_message() -> None:
    reply = _caller(ends="failed", message="Failed to read the OBS file.").at(10).huawei(PATH)
    assert set(FAILED) | {"message"} == set(reply.json)
    assert reply.json["status"] == "FAILED"
    assert [part["status"] for part in reply.json["subtasks"]] == ["SUCCESSFUL", "FAILED"]


@pytest.mark.parametrize(
    ("t", "status", "parts", "end"),
    [
        (0, "RUNNING", [], None),
        (2, "RUNNING", ["RUNNING"], None),
        (6.9, "RUNNING", ["RUNNING"], None),
        (7, "RUNNING", ["SUCCESSFUL", "RUNNING"], None),
        (12, "SUCCESSFUL", ["SUCCESSFUL", "SUCCESSFUL"], 12),
        (99, "SUCCESSFUL", ["SUCCESSFUL", "SUCCESSFUL"], 12),
    ],
)
def test_subtasks_are_done_one_after_another(t: float, status: str, parts: list[str], end: float | None) -> None:
    body = _caller(pending="2s").at(t).huawei(PATH).json
    assert (body["status"], [part["status"] for part in body["subtasks"]]) == (status, parts)
    assert body["startTime"] == START * 1000
    assert body.get("endTime") == (None if end is None else (START + end) * 1000)
    assert body["lastUpdate"] == round((START + min(t, 12)) * 1000)


def test_there_may_be_no_subtasks_and_the_key_may_be_spelled_otherwise() -> None:
    body = _caller(subtasks=[], dlf={"subtasks_key": "subTasks"}).at(5).huawei(PATH).json
    assert body["subTasks"] == []
    assert "subtasks" not in body


def test_the_last_subtask_of_an_endless_run_never_ends() -> None:
    run = Run(duration=10, ends=Ending.NEVER)
    assert [part.phase for part in parts_at(["one", "two"], run, 1e6)] == [Phase.SUCCEEDED, Phase.RUNNING]


@pytest.mark.parametrize("path", ["/v1/p1/system-tasks/t2", "/v1/p2/system-tasks/t1"])
def test_what_is_not_there_is_told_as_in_the_sample(path: str) -> None:
    reply = _caller().huawei(path)
    assert reply.status == 400
    assert reply.json == ERROR


def test_a_task_is_not_there_before_it_is_created_nor_while_it_is_away() -> None:
    caller = _caller(starts_after="5s", absent={"first": "7s", "after": "9s"})
    codes = [caller.at(t).huawei(PATH).code for t in (4, 6, 7, 9)]
    assert codes == ["DLF.0810", "DLF.0810", "", "DLF.0810"]


@pytest.mark.parametrize(
    ("due", "sent", "code"),
    [
        ("ws1", "ws1", ""),
        ("ws1", "ws2", "DLF.0819"),
        ("ws1", None, "DLF.0819"),
        (None, "ws1", "DLF.0819"),
        (None, None, ""),
    ],
)
def test_a_task_is_seen_in_its_workspace_only(due: str | None, sent: str | None, code: str) -> None:
    caller = _caller(params={"workspace": due} if due else {})
    reply = caller.huawei(PATH, **({"workspace": sent} if sent else {}))
    assert (reply.status, reply.code) == (400 if code else 200, code)
