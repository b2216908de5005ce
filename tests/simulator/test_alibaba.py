"""The gateway before OpenSearch: a nonce is good once, and errors read as documented."""

import pytest

from poller.simulator.alibaba import NonceMemory
from poller.simulator.keys import ALIBABA_DEMO_KEY, SigningKey
from tests.simulator.caller import APP, START, Caller, acs3

TARGET = f"{APP}/ctr_test/tasks/3"
SCENARIO = {
    "tasks": [
        {
            "api": "function-task",
            "params": {
                "appGroupIdentity": "my-app",
                "functionName": "ctr",
                "instanceName": "ctr_test",
                "generation": 3,
            },
        }
    ]
}


def test_a_nonce_is_good_once() -> None:
    caller = Caller(SCENARIO)
    assert caller.send(acs3(TARGET, START, nonce="n1")).status == 200
    again = caller.send(acs3(TARGET, START, nonce="n1"))
    assert (again.status, again.code) == (400, "SignatureNonceUsed")
    assert caller.send(acs3(TARGET, START, nonce="n2")).status == 200


def test_a_refused_request_uses_up_no_nonce() -> None:
    caller = Caller(SCENARIO)
    wrong = SigningKey(ALIBABA_DEMO_KEY.id, "wrong")
    assert caller.send(acs3(TARGET, START, nonce="n1", key=wrong)).code == "SignatureDoesNotMatch"
    assert caller.send(acs3(TARGET, START, nonce="n1")).status == 200


def test_nonces_are_remembered_for_as_long_as_a_replay_is_possible() -> None:
    memory = NonceMemory()
    assert memory.is_new("n", 0)
    assert not memory.is_new("n", 1800)
    assert memory.is_new("n", 1801)
    assert len(memory) == 1


def test_no_more_nonces_are_remembered_than_there_is_room_for() -> None:
    memory = NonceMemory(capacity=3)
    assert all(memory.is_new(str(number), 0) for number in range(10))
    assert len(memory) == 3
    assert not memory.is_new("9", 0)


def test_the_gateway_words_errors_as_documented() -> None:
    reply = Caller(SCENARIO).send(acs3(TARGET, START, key=SigningKey("nobody", "x")))
    assert (reply.status, reply.code) == (404, "InvalidAccessKeyId.NotFound")
    assert set(reply.json) == {"RequestId", "HostId", "Code", "Message", "Recommend"}
    assert reply.json["Code"] == "InvalidAccessKeyId.NotFound"


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("GET", f"{APP}/ctr_test/task/3", "GetFunctionTask"),
        ("DELETE", f"{APP}/ctr_test", "GetFunctionInstance"),
        ("POST", f"{APP}/ctr_test/task", "CreateFunctionTask"),
        ("GET", "/v4/openapi/", "GetFunctionTask"),
        ("GET", TARGET, "GetFunctionInstance"),
    ],
)
def test_a_path_that_leads_nowhere_is_no_word_on_the_task(method: str, path: str, action: str) -> None:
    reply = Caller(SCENARIO).send(acs3(path, START, method=method, action=action))
    assert (reply.status, reply.code) == (404, "InvalidApi.NotFound")


def test_another_version_of_the_api_is_refused() -> None:
    assert Caller(SCENARIO).send(acs3(TARGET, START, version="2020-01-01")).code == "InvalidApi.NotFound"


def test_the_keys_of_a_scenario_take_the_place_of_the_demo_keys() -> None:
    caller = Caller({**SCENARIO, "accounts": {"alibaba": [{"access_key_id": "k", "access_key_secret": "s"}]}})
    assert caller.send(acs3(TARGET, START)).code == "InvalidAccessKeyId.NotFound"
    assert caller.send(acs3(TARGET, START, key=SigningKey("k", "s"))).status == 200
