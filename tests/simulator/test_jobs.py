"""The plain jobs API."""

from typing import Any

import pytest

from tests.simulator.caller import Caller, bearer


def _caller(**more: Any) -> Caller:
    task = {"api": "job", "params": {"job_id": "j1"}, "pending": "2s", "duration": "10s", **more}
    return Caller({"tasks": [task]})


@pytest.mark.parametrize(
    ("t", "ends", "status", "percent"),
    [
        (0, "succeeded", "queued", 0),
        (7, "succeeded", "in_progress", 50),
        (12, "succeeded", "success", 100),
        (12, "failed", "failed", 80),
        (12, "stopped", "cancelled", 80),
    ],
)
def test_a_job_is_told(t: float, ends: str, status: str, percent: int) -> None:
    over = t == 12
    assert _caller(ends=ends, message="why").at(t).job("j1").json == {
        "id": "j1",
        "status": status,
        "percent": percent,
        "error": {"code": f"job_{status}", "message": "why"} if status in ("failed", "cancelled") else None,
        "created": "2026-11-21T12:00:00.000Z",
        "finished": "2026-11-21T12:00:12.000Z" if over else None,
    }


def test_a_job_may_report_no_progress() -> None:
    assert _caller(progress="none").at(7).job("j1").json["percent"] is None


def test_a_job_that_is_not_there_is_told_with_a_code() -> None:
    reply = _caller().job("j2")
    assert reply.status == 404
    assert reply.json["error"]["code"] == "not_found"


def test_a_path_that_leads_nowhere_is_no_word_on_a_job() -> None:
    reply = _caller().job("j1/more")
    assert (reply.status, reply.json["error"]["code"]) == (404, "no_such_path")


@pytest.mark.parametrize("secret", ["wrong", ""])
def test_a_wrong_token_is_refused(secret: str) -> None:
    reply = _caller().send(bearer("/v1/jobs/j1", secret))
    assert (reply.status, reply.json["error"]["code"]) == (401, "unauthorized")
    assert reply.answer.headers["WWW-Authenticate"].startswith("Bearer")
