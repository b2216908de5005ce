"""ModelArts answers as its document's sample does."""

from typing import Any

import pytest

from tests.simulator.caller import START, Caller
from tests.simulator.samples import samples, shape

(SAMPLE,) = samples("huawei-modelarts-query-processing-task.txt")
PATH = "/v2/p1/processor-tasks/t1"


def _caller(*quirks: str, **more: Any) -> Caller:
    params = {"project_id": "p1", "task_id": "t1"}
    plan = {"starts_after": "1s", "pending": "2s", "duration": "10s"}
    task = {"api": "processor-task", "params": params, **plan, **more}
    return Caller({"tasks": [task], "modelarts": {"quirks": list(quirks)}})


def test_a_success_is_told_as_in_the_sample() -> None:
    reply = _caller(title="V002").at(13).huawei(PATH)
    assert reply.status == 200
    assert shape(reply.json) == shape(SAMPLE)
    assert (reply.json["task_id"], reply.json["name"], reply.json["status"]) == ("t1", "V002", 2)


@pytest.mark.parametrize(
    ("t", "ends", "status", "seconds"),
    [
        (1, "succeeded", 0, 0),
        (3, "succeeded", 1, 0),
        (8.7, "succeeded", 1, 5),
        (13, "succeeded", 2, 10),
        (99, "failed", 3, 10),
        (99, "stopped", 4, 10),
        (103, "never", 1, 100),
    ],
)
def test_a_status_is_a_number_and_the_duration_counts_whole_seconds(
    t: float, ends: str, status: int, seconds: int
) -> None:
    body = _caller(ends=ends).at(t).huawei(PATH).json
    assert (body["status"], body["duration_seconds"]) == (status, seconds)
    assert body["create_time"] == (START + 1) * 1000
    assert ("error_msg" in body) is (status == 3)
    assert ("result" in body) is (status == 2)


def test_a_failure_tells_why() -> None:
    assert _caller(ends="failed", message="no images").at(99).huawei(PATH).json["error_msg"] == "no images"


def test_a_success_may_carry_an_error_message() -> None:
    body = _caller("error-msg-on-success").at(99).huawei(PATH).json
    assert (body["status"], body["error_msg"]) == (2, "")


@pytest.mark.parametrize(("quirks", "status"), [((), 400), (("missing-as-404",), 404)])
@pytest.mark.parametrize(("path", "t"), [("/v2/p1/processor-tasks/t2", 5), (PATH, 0.9)])
def test_what_is_not_there_is_told_with_a_code(path: str, t: float, quirks: tuple[str, ...], status: int) -> None:
    reply = _caller(*quirks).at(t).huawei(path)
    assert (reply.status, reply.json["error_code"]) == (status, "ModelArts.4700")
    assert set(reply.json) == {"error_code", "error_msg"}
