"""Scripted trouble, limits and counters, for every provider."""

from typing import Any

import pytest

from poller.simulator.cloud import STRANGERS
from poller.simulator.faults import FaultKind, garbage
from poller.simulator.wire import RawRequest
from tests.simulator.caller import APP, START, Caller, Reply, acs3, bearer, sdk

INSTANCE = {"appGroupIdentity": "my-app", "functionName": "ctr", "instanceName": "ctr_test"}
TASKS: dict[str, dict[str, Any]] = {
    "function-task": {**INSTANCE, "generation": 3},
    "function-instance": {**INSTANCE, "instanceName": "ctr_main"},
    "system-task": {"project_id": "p1", "task_id": "t1"},
    "processor-task": {"project_id": "p1", "task_id": "t1"},
    "job": {"job_id": "j1"},
}
APIS = list(TASKS)


def _caller(faults: list[dict[str, Any]] | None = None, **more: Any) -> Caller:
    tasks = [{"api": api, "name": api, "params": params} for api, params in TASKS.items()]
    return Caller({"tasks": tasks, "faults": faults or [], **more})


def _raw(api: str, now: float = START) -> RawRequest:
    match api:
        case "function-task":
            return acs3(f"{APP}/ctr_test/tasks/3", now)
        case "function-instance":
            return acs3(f"{APP}/ctr_main?output=detail", now, action="GetFunctionInstance")
        case "system-task":
            return sdk("/v1/p1/system-tasks/t1", now)
        case "processor-task":
            return sdk("/v2/p1/processor-tasks/t1", now)
        case _:
            return bearer("/v1/jobs/j1")


def _ask(caller: Caller, api: str) -> Reply:
    return caller.send(_raw(api, caller.clock()))


@pytest.mark.parametrize("api", APIS)
def test_each_api_answers(api: str) -> None:
    assert _ask(_caller(), api).status == 200


@pytest.mark.parametrize(
    ("api", "status", "code", "header", "pause"),
    [
        ("function-task", 400, "Throttling.User", "x-acs-retry-after", "2500"),
        ("function-instance", 400, "Throttling.User", "x-acs-retry-after", "2500"),
        ("system-task", 429, "APIGW.0308", "Retry-After", "3"),
        ("processor-task", 429, "APIGW.0308", "Retry-After", "3"),
        ("job", 429, "rate_limited", "Retry-After", "3"),
    ],
)
def test_throttling_is_told_in_each_provider_s_words(api: str, status: int, code: str, header: str, pause: str) -> None:
    with_pause = _ask(_caller([{"kind": "throttle", "retry_after": "2500ms"}]), api)
    assert (with_pause.status, with_pause.code) == (status, code)
    assert with_pause.answer.headers[header] == pause
    assert header not in _ask(_caller([{"kind": "throttle"}]), api).answer.headers
    assert "limit:60,time:1 minute" in with_pause.answer.body.decode()


@pytest.mark.parametrize(
    ("api", "status", "code"),
    [
        ("function-task", 404, "InvalidAccessKeyId.NotFound"),
        ("system-task", 401, "APIGW.0301"),
        ("processor-task", 401, "APIGW.0301"),
        ("job", 401, "unauthorized"),
    ],
)
def test_refused_credentials_are_told_in_each_provider_s_words(api: str, status: int, code: str) -> None:
    reply = _ask(_caller([{"kind": "unauthorized"}]), api)
    assert (reply.status, reply.code) == (status, code)


@pytest.mark.parametrize(
    ("api", "status", "code"),
    [
        ("function-task", 503, "ServiceUnavailable"),
        ("function-task", 500, "InternalError"),
        ("system-task", 503, "APIGW.0201"),
        ("processor-task", 502, "APIGW.0201"),
        ("job", 503, "unavailable"),
    ],
)
def test_an_outage_is_told_in_each_provider_s_words(api: str, status: int, code: str) -> None:
    reply = _ask(_caller([{"kind": "error", "status": status}]), api)
    assert (reply.status, reply.code) == (status, code)


def test_a_fault_may_bring_its_own_code() -> None:
    fault = {"kind": "error", "code": "ModelArts.4700", "apis": ["processor-task"]}
    reply = _ask(_caller([fault]), "processor-task")
    assert (reply.status, reply.json["error_code"]) == (503, "ModelArts.4700")
    denied = _ask(_caller([{"kind": "unauthorized", "code": "InvalidSecurityToken.Expired"}]), "function-task")
    assert (denied.status, denied.json["Code"]) == (400, "InvalidSecurityToken.Expired")


@pytest.mark.parametrize("kind", [FaultKind.HANG, FaultKind.RESET])
@pytest.mark.parametrize("api", APIS)
def test_there_may_be_no_answer_at_all(api: str, kind: FaultKind) -> None:
    caller = _caller([{"kind": kind}])
    assert caller.silence(_raw(api)) is kind
    assert caller.cloud.outcomes == {kind: 1}


def test_garbage_takes_turns_and_always_looks_like_a_success() -> None:
    caller = _caller([{"kind": "garbage"}])
    bodies = [_ask(caller, "job").answer for _ in range(6)]
    assert [answer.body for answer in bodies] == [garbage(number).body for number in range(6)]
    assert len({answer.body for answer in bodies}) == 5
    assert {answer.status for answer in bodies} == {200}


def test_a_fault_lasts_as_long_as_it_is_said_to() -> None:
    caller = _caller([{"kind": "error", "after": "5s", "for": "2s"}])
    assert [_ask(caller.at(t), "job").status for t in (4.9, 5, 6.9, 7)] == [200, 503, 503, 200]


def test_a_fault_of_one_api_leaves_the_others_alone() -> None:
    caller = _caller([{"kind": "error", "apis": ["job", "system-task"]}])
    assert [_ask(caller, api).status for api in APIS] == [200, 200, 503, 200, 503]


def test_a_fault_of_one_task_leaves_the_others_alone() -> None:
    jobs = [{"api": "job", "params": {"job_id": f"j{number}"}} for number in range(2)]
    caller = Caller({"tasks": [{**jobs[0], "faults": [{"kind": "error", "status": 500}]}, jobs[1]]})
    assert [caller.job("j0").status, caller.job("j1").status] == [500, 200]


def test_the_rate_limit_holds_for_all_apis_together() -> None:
    caller = _caller(rate_limit="2/s")
    assert [_ask(caller, api).status for api in ("job", "system-task", "processor-task", "function-task")] == [
        200,
        200,
        429,
        400,
    ]
    assert "limit:2,time:1 second" in _ask(caller, "processor-task").json["error_msg"]
    assert _ask(caller, "job").answer.headers["Retry-After"] == "1"
    assert _ask(caller.at(0.5), "job").status == 200


def test_requests_are_counted_by_name_whatever_the_answer() -> None:
    caller = _caller([{"kind": "error", "apis": ["job"]}])
    for api in (*APIS, "job"):
        _ask(caller, api)
    assert caller.cloud.requests == {**dict.fromkeys(APIS, 1), "job": 2}
    assert caller.cloud.outcomes == {"200": 4, "unavailable": 2}


def test_strangers_share_one_counter() -> None:
    caller = _caller()
    for number in range(3):
        caller.job(f"stranger-{number}")
        caller.search(f"/stranger-{number}/tasks/1")
        caller.start(f"stranger-{number}")
        caller.huawei(f"/nowhere/{number}")
    assert caller.cloud.requests == {STRANGERS: 12}
    assert caller.cloud.starts == {STRANGERS: 3}


def test_a_task_that_is_away_is_no_stranger() -> None:
    caller = Caller({"tasks": [{"api": "job", "name": "gone", "params": {"job_id": "j1"}, "absent": True}]})
    assert caller.job("j1").code == "not_found"
    assert caller.cloud.requests == {"gone": 1}


def test_the_same_scenario_answers_the_same_requests_alike() -> None:
    def answers() -> list[bytes]:
        caller = _caller()
        return [_ask(caller.at(t), api).answer.body for t in (0, 5, 15) for api in APIS]

    assert answers() == answers()
