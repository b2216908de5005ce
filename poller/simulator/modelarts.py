"""Huawei Cloud ModelArts: ``GET /v2/{project_id}/processor-tasks/{task_id}``.

Source: "Querying Details About a Processing Task".
"""

from collections.abc import Mapping
from functools import partial

from poller.simulator.call import Call
from poller.simulator.huawei import HuaweiGate
from poller.simulator.inventory import Known
from poller.simulator.scenario import Api
from poller.simulator.script import Phase, ScriptState
from poller.simulator.styles import ModelArtsQuirk, ModelArtsStyle
from poller.simulator.timestamps import Timestamps
from poller.simulator.wire import Answer, RawRequest, Refusal

_STATUS = {Phase.PENDING: 0, Phase.RUNNING: 1, Phase.SUCCEEDED: 2, Phase.FAILED: 3, Phase.STOPPED: 4}
_MISSING_CODE = "ModelArts.4700"
_INPUT = {"type": "DATASET", "source": "X6c3N3eztX7cr3Arvqu"}
_TEMPLATE = {
    "id": "sys_data_analyse",
    "name": "data analyse template name",
    "operator_params": [
        {
            "id": "sys_data_analyse",
            "params": {
                "op_list": [],
                "task_type": "image_classification",
                "manifest_path": "s3://demo/classify/output/annotation/V002/V002.manifest",
                "file_path": "s3://demo/classify/output/annotation/evaluation/V002",
                "is_normed": False,
            },
        }
    ],
}


class ModelArts:
    """Answers for the processing tasks that it is given."""

    def __init__(
        self, known: Mapping[tuple[str, str], Known], style: ModelArtsStyle, gate: HuaweiGate, timestamps: Timestamps
    ) -> None:
        """``known``: by project and id."""
        self._known = known
        self._quirks = style.quirks
        self._gate = gate
        self._timestamps = timestamps

    def call(self, raw: RawRequest) -> Call | None:
        """What ``raw`` asks for; None if that is nothing of this API."""
        match raw.method, raw.segments:
            case "GET", ("v2", project_id, "processor-tasks", task_id):
                known = self._known.get((project_id, task_id))
                return Call(
                    api=Api.PROCESSOR_TASK,
                    gate=self._gate,
                    name=known.name if known else None,
                    faults=known.faults if known else (),
                    answer=partial(self._answer, task_id, known),
                )
        return None

    def _answer(self, task_id: str, known: Known | None, t: float) -> Answer:
        state = known.state_at(t) if known else None
        if known is None or state is None or state.phase in (Phase.ABSENT, Phase.IDLE):
            status = 404 if ModelArtsQuirk.MISSING_AS_404 in self._quirks else 400
            return self._gate.error(Refusal(status, _MISSING_CODE, "The data processing task does not exist."))
        return self._gate.answer(200, self._body(task_id, known, state, t))

    def _body(self, task_id: str, known: Known, state: ScriptState, t: float) -> dict[str, object]:
        return {
            "task_id": task_id,
            "name": known.title or known.name,
            "data_source": _INPUT,
            "inputs": [_INPUT],
            "template": _TEMPLATE,
            "status": _STATUS[state.phase],
            "duration_seconds": _seconds_run(state, t),
            "create_time": self._timestamps.millis(state.created_at or 0.0),
            "version_id": "XwTuRqI9En7xuZskW70",
            "is_current": True,
            **self._outcome(state),
        }

    def _outcome(self, state: ScriptState) -> dict[str, object]:
        if state.phase is Phase.FAILED:
            return {"error_msg": state.message or "The data processing task failed."}
        if state.phase is not Phase.SUCCEEDED:
            return {}
        stray = {"error_msg": ""} if ModelArtsQuirk.ERROR_MSG_ON_SUCCESS in self._quirks else {}
        return {"result": "xxx", **stray}


def _seconds_run(state: ScriptState, t: float) -> int:
    """Whole seconds since the task left the queue, or until it ended."""
    if state.started_at is None:
        return 0
    return int((t if state.ended_at is None else state.ended_at) - state.started_at)
