"""The gateway before Huawei's APIs: tokens, signatures, and the lock of a key that failed too often."""

import pytest

from poller.simulator.huawei import KeyLock
from poller.simulator.keys import HUAWEI_DEMO_KEY, HUAWEI_DEMO_TOKEN, SigningKey
from poller.simulator.wire import RawRequest
from tests.simulator.caller import START, Caller, sdk

PATH = "/v2/p1/processor-tasks/t1"
SCENARIO = {"tasks": [{"api": "processor-task", "params": {"project_id": "p1", "task_id": "t1"}}]}
WRONG = SigningKey(HUAWEI_DEMO_KEY.id, "wrong")


def _with_token(token: str) -> RawRequest:
    return RawRequest("GET", PATH, (("Host", "h"), ("X-Auth-Token", token)))


def test_a_token_does_as_well_as_a_signature() -> None:
    assert Caller(SCENARIO).send(_with_token(HUAWEI_DEMO_TOKEN)).status == 200


def test_a_wrong_token_is_refused() -> None:
    reply = Caller(SCENARIO).send(_with_token("wrong"))
    assert (reply.status, reply.code) == (401, "APIGW.0301")
    assert "decrypt token fail" in reply.json["error_msg"]


def test_neither_token_nor_signature_is_refused() -> None:
    reply = Caller(SCENARIO).send(RawRequest("GET", PATH, (("Host", "h"),)))
    assert (reply.status, reply.code) == (401, "APIGW.0301")


def test_every_answer_has_an_id_of_its_own() -> None:
    caller = Caller(SCENARIO)
    replies = [caller.huawei(PATH), caller.huawei(PATH), caller.huawei("/v2/p1/processor-tasks/none")]
    replies.append(caller.send(sdk(PATH, START, key=WRONG)))
    ids = {reply.answer.headers["X-Request-Id"] for reply in replies}
    assert len(ids) == 4
    assert replies[-1].json["request_id"] in ids


@pytest.mark.parametrize(
    "path",
    ["/", "/v2/p1/processor-task/t1", "/v1/p1/systemTasks/t1", "/v3/p1/system-tasks/t1", f"{PATH}/", f"/x{PATH}"],
)
def test_an_unknown_path_is_no_word_on_the_task(path: str) -> None:
    reply = Caller(SCENARIO).huawei(path)
    assert (reply.status, reply.code) == (404, "APIGW.0101")
    assert set(reply.json) == {"error_code", "error_msg", "request_id"}


def test_the_sixth_failure_in_a_row_locks_the_key_for_five_minutes() -> None:
    caller = Caller(SCENARIO)
    for _ in range(5):
        assert "verify aksk signature fail" in caller.send(sdk(PATH, START, key=WRONG)).json["error_msg"]
    assert caller.huawei(PATH).status == 200  # the row is broken
    for _ in range(5):
        caller.send(sdk(PATH, START, key=WRONG))
    assert caller.cloud.key_locks == 0
    caller.send(sdk(PATH, START, key=WRONG))
    assert caller.cloud.key_locks == 1
    locked = caller.huawei(PATH)
    assert (locked.status, locked.code) == (401, "APIGW.0301")
    assert "AK access failed to reach the limit" in locked.json["error_msg"]
    assert caller.at(299).huawei(PATH).status == 401
    assert caller.at(300).huawei(PATH).status == 200


def test_scripted_refusals_lock_a_key_too() -> None:
    caller = Caller({**SCENARIO, "faults": [{"kind": "unauthorized", "for": "10s", "code": "APIGW.0303"}]})
    for _ in range(6):
        reply = caller.huawei(PATH)
        assert (reply.status, reply.code) == (401, "APIGW.0303")
    assert "reach the limit" in caller.at(10).huawei(PATH).json["error_msg"]


def test_a_lock_knows_only_its_own_key() -> None:
    lock = KeyLock()
    for _ in range(6):
        lock.failed("a", 0)
    assert (lock.locked("a", 0), lock.locked("b", 0)) == (True, False)


def test_strangers_keys_do_not_fill_the_memory() -> None:
    caller = Caller(SCENARIO)
    for number in range(20):
        caller.send(sdk(PATH, START, key=SigningKey(f"stranger-{number}", "x")))
    assert caller.cloud.key_locks == 1
    assert caller.huawei(PATH).status == 200
