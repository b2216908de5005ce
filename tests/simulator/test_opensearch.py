"""OpenSearch answers as its documents' samples do, and starts runs as CreateFunctionTask should."""

import json
from typing import Any

import pytest

from poller.simulator.faults import FaultKind
from poller.simulator.wire import RawRequest
from tests.simulator.caller import APP, START, Caller, acs3
from tests.simulator.samples import samples, shape

INSTANCE = {"appGroupIdentity": "my-app", "functionName": "ctr", "instanceName": "ctr_test"}
GENERATION = {**INSTANCE, "generation": 3}
TRAINED = {"api": "function-task", "params": GENERATION, "starts_after": "10s", "pending": "5s", "duration": "20s"}
CAMEL, PASCAL = samples("alibaba-opensearch-get-function-task.txt")
INSTANCE_CAMEL, INSTANCE_PASCAL = samples("alibaba-opensearch-describe-function-instance.txt")
CREATE_CAMEL, CREATE_PASCAL = samples("alibaba-opensearch-create-function-task.txt")


def _caller(*tasks: dict[str, Any], **style: Any) -> Caller:
    return Caller({"tasks": list(tasks), "opensearch": style})


def _start(t: float = 1) -> RawRequest:
    return acs3(f"{APP}/ctr_test/tasks", START + t, action="CreateFunctionTask", method="POST")


def _instance(**more: Any) -> dict[str, Any]:
    return {"api": "function-instance", "name": "ctr-model", "params": INSTANCE, **more}


def test_a_training_is_told_as_in_the_first_sample() -> None:
    reply = _caller(TRAINED).at(35).search("/ctr_test/tasks/3")
    assert reply.status == 200
    assert shape(reply.json) == shape(CAMEL)
    assert reply.json["result"]["extendInfo"] == CAMEL["result"]["extendInfo"]
    assert (reply.json["status"], reply.json["code"], reply.json["httpCode"]) == ("OK", "", 200)


def test_a_training_is_told_as_in_the_second_sample() -> None:
    caller = _caller(TRAINED, keys="pascal", quirks=["code-beside-success", "escaped-twice"])
    reply = caller.at(35).search("/ctr_test/tasks/3")
    assert shape(reply.json) == shape(PASCAL)
    assert reply.json["Code"] == PASCAL["Code"] == "Task.NotExist"
    assert reply.json["Result"]["ExtendInfo"] == PASCAL["Result"]["ExtendInfo"]
    assert reply.json["Result"]["Status"] == "success"


@pytest.mark.parametrize(
    ("t", "status", "progress", "started", "ended"),
    [
        (10, "running", 0, None, None),
        (15, "running", 0, 15, None),
        (25, "running", 50, 15, None),
        (35, "success", 100, 15, 35),
    ],
)
def test_a_training_goes_its_way(
    t: float, status: str, progress: int, started: float | None, ended: float | None
) -> None:
    result = _caller(TRAINED).at(t).search("/ctr_test/tasks/3").json["result"]
    assert (result["status"], result["progress"]) == (status, progress)
    assert result["startTime"] == (0 if started is None else (START + started) * 1000)
    assert result["endTime"] == (0 if ended is None else (START + ended) * 1000)


def test_a_failure_tells_its_message_in_the_extended_information() -> None:
    caller = _caller({**TRAINED, "ends": "failed", "message": "no data", "progress": "none"})
    result = caller.at(99).search("/ctr_test/tasks/3").json["result"]
    assert result["status"] == "failed"
    assert json.loads(result["extendInfo"])["errors"] == ["no data"]
    assert "progress" not in result


@pytest.mark.parametrize(
    ("path", "t", "code"),
    [
        ("/ctr_test/tasks/3", 9, "Task.NotExist"),
        ("/ctr_test/tasks/4", 20, "Task.NotExist"),
        ("/other/tasks/3", 20, "Instance.NotExist"),
    ],
)
def test_what_is_not_there_is_told_with_a_code(path: str, t: float, code: str) -> None:
    reply = _caller(TRAINED).at(t).search(path)
    assert (reply.status, reply.code) == (404, code)
    assert set(reply.json) == {"requestId", "httpCode", "code", "message"}


def test_an_error_may_come_with_status_200() -> None:
    reply = _caller(TRAINED, quirks=["error-as-200"], keys="pascal").search("/ctr_test/tasks/4")
    assert (reply.status, reply.json["Code"], reply.json["HttpCode"]) == (200, "Task.NotExist", 404)
    assert "Result" not in reply.json


def test_an_instance_is_told_as_in_the_first_sample() -> None:
    reply = _caller(_instance(runs=[{"duration": "10s"}])).at(3).instance("ctr_test")
    expected = {**INSTANCE_CAMEL, "result": {**INSTANCE_CAMEL["result"]}}
    assert shape(reply.json) == shape(expected)
    assert reply.json["result"]["task"] == {"dagStatus": "running", "progress": 30, "lastRunTime": 3000}


def test_an_instance_is_told_as_in_the_second_sample() -> None:
    training = _instance(runs=[{"duration": "10s", "progress": "none"}])
    caller = _caller(training, keys="pascal", quirks=["code-beside-success", "escaped-twice"])
    reply = caller.at(10).instance("ctr_test")
    assert shape(reply.json) == shape(INSTANCE_PASCAL)
    assert reply.json["Code"] == INSTANCE_PASCAL["Code"]
    assert reply.json["Result"]["Task"]["DagStatus"] == "success"


def test_an_instance_trains_again_and_again() -> None:
    runs = [
        {"after": "5s", "pending": "2s", "duration": "10s"},
        {"after": "3s", "duration": "4s", "ends": "failed"},
    ]
    caller = _caller(_instance(runs=runs))
    seen = []
    for t in (0, 5, 7, 17, 20, 24):
        result = caller.at(t).instance("ctr_test").json["result"]
        seen.append((result.get("task", {}).get("dagStatus"), result["versionId"], result["status"]))
    assert seen == [
        (None, 100, "unavailable"),
        ("pending", 100, "unavailable"),
        ("running", 100, "unavailable"),
        ("success", 101, "available"),
        ("running", 101, "available"),
        ("failed", 102, "available"),
    ]


def test_an_instance_with_no_training_may_say_so() -> None:
    result = _caller(_instance(), quirks=["untrained-status"]).instance("ctr_test").json["result"]
    assert result["task"] == {"dagStatus": "untrained", "lastRunTime": 0}


def test_the_training_is_told_only_when_details_are_asked_for() -> None:
    caller = _caller(_instance(runs=[{}]))
    assert "task" not in caller.search("/ctr_test", "GetFunctionInstance").json["result"]


def test_an_instance_can_be_away() -> None:
    reply = _caller(_instance(absent=True)).instance("ctr_test")
    assert (reply.status, reply.code) == (404, "Instance.NotExist")


def test_a_listed_generation_has_its_instance_too() -> None:
    assert _caller(TRAINED).at(15).instance("ctr_test").json["result"]["task"]["dagStatus"] == "running"


def test_the_runs_of_an_instance_are_its_generations() -> None:
    caller = _caller(_instance(runs=[{"duration": "5s"}, {"after": "5s"}], first_generation=7)).at(12)
    assert caller.search("/ctr_test/tasks/7").json["result"]["status"] == "success"
    assert caller.search("/ctr_test/tasks/8").json["result"]["status"] == "running"


def test_generations_are_listed_newest_first_one_on_a_page() -> None:
    caller = _caller(_instance(runs=[{"duration": "1s"}, {"duration": "1s"}, {"after": "50s"}]), TRAINED_9).at(20)
    assert _listed(caller, "") == (["9"], 3)
    assert _listed(caller, "?pageSize=2") == (["9", "2"], 3)
    assert _listed(caller, "?pageNumber=2&pageSize=2") == (["1"], 3)
    assert _listed(caller, "?pageNumber=9&pageSize=2") == ([], 3)
    assert caller.search("/ctr_test/tasks?pageSize=x", "ListFunctionTasks").code == "InvalidParameter"


TRAINED_9 = {**TRAINED, "params": {**INSTANCE, "generation": 9}}


def _listed(caller: Caller, query: str) -> tuple[list[str], int]:
    reply = caller.search(f"/ctr_test/tasks{query}", "ListFunctionTasks").json
    return [result["generation"] for result in reply["result"]], reply["totalCount"]


def test_a_started_run_is_the_next_generation_and_goes_as_planned() -> None:
    on_start = {"pending": "2s", "duration": "8s", "ends": "failed"}
    caller = _caller(_instance(runs=[{"duration": "5s"}], on_start=on_start)).at(20)
    assert shape(caller.start("ctr_test").json) == shape(CREATE_CAMEL)
    seen = [caller.at(t).instance("ctr_test").json["result"]["task"]["dagStatus"] for t in (20, 22, 30)]
    assert seen == ["pending", "running", "failed"]
    assert caller.search("/ctr_test/tasks/2").json["result"]["status"] == "failed"
    assert caller.cloud.starts == {"ctr-model": 1}


def test_nothing_is_started_beside_a_run_under_way() -> None:
    caller = _caller(_instance(on_start={"pending": "2s", "duration": "8s"}))
    assert caller.start("ctr_test").status == 200
    for t in (0, 2, 9.9):
        again = caller.at(t).start("ctr_test")
        assert (again.status, again.code) == (400, "Task.IsRunning")
    assert caller.at(10).start("ctr_test").status == 200
    assert caller.cloud.starts == {"ctr-model": 5}
    assert _listed(caller, "?pageSize=9") == (["2", "1"], 2)


def test_starting_may_contradict_itself_as_in_the_second_sample() -> None:
    caller = _caller(_instance(), keys="pascal", quirks=["code-beside-success"])
    body = caller.start("ctr_test").json
    assert body.pop("Result") == {}
    assert shape(body) == shape(CREATE_PASCAL)
    assert body["Code"] == CREATE_PASCAL["Code"] == "Task.IsRunning"


def test_nothing_can_be_started_on_an_instance_that_is_not_there() -> None:
    assert _caller().start("ctr_test").code == "Instance.NotExist"


def test_an_encoded_slash_is_part_of_a_name() -> None:
    caller = _caller({**TRAINED, "params": {**GENERATION, "instanceName": "a/b c"}}).at(20)
    assert caller.search("/a%2Fb%20c/tasks/3").status == 200
    assert caller.cloud.requests == {"function-task/my-app/ctr/a/b c/3": 1}


def test_a_start_whose_answer_is_lost_is_made() -> None:
    """And nothing but starts is struck, where a fault says so."""
    fault = {"kind": "lost", "only_starts": True, "for": "5s"}
    caller = _caller(_instance(faults=[fault], on_start={"duration": "10s"}))
    assert caller.at(1).silence(_start()) is FaultKind.HANG
    listed = caller.at(2).search("/ctr_test/tasks", "ListFunctionTasks").json["result"]
    assert [item["generation"] for item in listed] == ["1"]
    assert caller.at(6).start("ctr_test").code == "Task.IsRunning"
    assert caller.cloud.starts["ctr-model"] == 2


def test_a_start_that_is_struck_otherwise_is_not_made() -> None:
    """Whoever looks for it looks in vain."""
    fault = {"kind": "hang", "only_starts": True, "for": "5s"}
    caller = _caller(_instance(faults=[fault]))
    caller.at(1).silence(_start(1))
    assert caller.at(2).search("/ctr_test/tasks", "ListFunctionTasks").json["result"] == []
