"""A plain JSON API for jobs, ``GET /v1/jobs/{job_id}``, of the kind that many services have; with its gate."""

import math
from collections.abc import Iterable, Mapping
from functools import partial

from poller.simulator.call import Call
from poller.simulator.inventory import Known
from poller.simulator.scenario import Api
from poller.simulator.script import Phase, ScriptState
from poller.simulator.styles import JobsAccount
from poller.simulator.timestamps import Timestamps
from poller.simulator.wire import Answer, RawRequest, Refusal, json_answer

PREFIX = "/v1/jobs"

_STATUS = {
    Phase.PENDING: "queued",
    Phase.RUNNING: "in_progress",
    Phase.SUCCEEDED: "success",
    Phase.FAILED: "failed",
    Phase.STOPPED: "cancelled",
}
_ERROR_CODES = {Phase.FAILED: "job_failed", Phase.STOPPED: "job_cancelled"}
_NOT_FOUND = Refusal(404, "not_found", "There is no such job.")


class JobsGate:
    """Lets in whoever has an account's bearer token."""

    def __init__(self, accounts: Iterable[JobsAccount]) -> None:
        """``accounts``: whose tokens are good."""
        self._accepted = frozenset(f"Bearer {account.bearer}" for account in accounts)

    def admit(self, raw: RawRequest, now: float) -> Answer | None:
        """None if the token is good, else a 401."""
        return None if raw.header("Authorization") in self._accepted else self.deny(raw, now, None)

    def deny(self, raw: RawRequest, now: float, code: str | None) -> Answer:
        """A 401, as RFC 6750 has it."""
        del raw, now  # no failures are counted here
        refusal = Refusal(401, code or "unauthorized", "The bearer token is missing or not accepted.")
        return error(refusal, {"WWW-Authenticate": 'Bearer error="invalid_token"'})

    def throttle(self, retry_after: float | None, limit: str) -> Answer:
        """HTTP 429; Retry-After, in whole seconds, only where a pause is asked for."""
        headers = {} if retry_after is None else {"Retry-After": str(math.ceil(retry_after))}
        return error(Refusal(429, "rate_limited", f"Too many requests: {limit}."), headers)

    def fail(self, status: int, code: str | None) -> Answer:
        """An outage."""
        return error(Refusal(status, code or "unavailable", "The service is unavailable."))

    def no_such_path(self, raw: RawRequest) -> Answer:
        """A 404 that is no word on any job."""
        return error(Refusal(404, "no_such_path", f"Nothing lives at {raw.method} {raw.path}."))


class Jobs:
    """Answers for the jobs that it is given."""

    def __init__(self, known: Mapping[str, Known], gate: JobsGate, timestamps: Timestamps) -> None:
        """``known``: by id."""
        self._known = known
        self._gate = gate
        self._timestamps = timestamps

    def call(self, raw: RawRequest) -> Call | None:
        """What ``raw`` asks for; None if that is nothing of this API."""
        match raw.method, raw.segments:
            case "GET", ("v1", "jobs", job_id):
                known = self._known.get(job_id)
                return Call(
                    api=Api.JOB,
                    gate=self._gate,
                    name=known.name if known else None,
                    faults=known.faults if known else (),
                    answer=partial(self._answer, job_id, known),
                )
        return None

    def _answer(self, job_id: str, known: Known | None, t: float) -> Answer:
        state = known.state_at(t) if known else None
        if state is None or state.phase in (Phase.ABSENT, Phase.IDLE):
            return error(_NOT_FOUND)
        return json_answer(200, self._body(job_id, state))

    def _body(self, job_id: str, state: ScriptState) -> dict[str, object]:
        return {
            "id": job_id,
            "status": _STATUS[state.phase],
            "percent": state.progress,
            "error": _error_of(state),
            "created": self._timestamps.rfc3339(state.created_at or 0.0),
            "finished": None if state.ended_at is None else self._timestamps.rfc3339(state.ended_at),
        }


def error(refusal: Refusal, headers: Mapping[str, str] | None = None) -> Answer:
    """``refusal`` as this API words it."""
    body = {"error": {"code": refusal.code, "message": refusal.message}}
    return json_answer(refusal.status, body, headers=headers, code=refusal.code)


def _error_of(state: ScriptState) -> dict[str, str] | None:
    code = _ERROR_CODES.get(state.phase)
    return {"code": code, "message": state.message or ""} if code else None
