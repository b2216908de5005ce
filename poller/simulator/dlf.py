"""Huawei Cloud DataArts Factory (DLF): ``GET /v1/{project_id}/system-tasks/{task_id}``.

Source: "Querying a System Task". Its documents know no status for a task that waits: it is shown as running.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from poller.simulator.call import Call
from poller.simulator.huawei import HuaweiGate
from poller.simulator.inventory import Known
from poller.simulator.scenario import Api
from poller.simulator.script import Ending, Phase, Run, ScriptState
from poller.simulator.styles import DlfStyle
from poller.simulator.timestamps import Timestamps
from poller.simulator.wire import Answer, RawRequest, Refusal

_STATUS = {
    Phase.PENDING: "RUNNING",
    Phase.RUNNING: "RUNNING",
    Phase.SUCCEEDED: "SUCCESSFUL",
    Phase.FAILED: "FAILED",
}
_MISSING = Refusal(400, "DLF.0810", "Task does not exist")
_WRONG_WORKSPACE = Refusal(400, "DLF.0819", "The workspace does not exist.")


class Dlf:
    """Answers for the system tasks that it is given."""

    def __init__(
        self, known: Mapping[tuple[str, str], Known], style: DlfStyle, gate: HuaweiGate, timestamps: Timestamps
    ) -> None:
        """``known``: by project and id."""
        self._known = known
        self._style = style
        self._gate = gate
        self._timestamps = timestamps

    def call(self, raw: RawRequest) -> Call | None:
        """What ``raw`` asks for; None if that is nothing of this API."""
        match raw.method, raw.segments:
            case "GET", ("v1", project_id, "system-tasks", task_id):
                known = self._known.get((project_id, task_id))
                return Call(
                    api=Api.SYSTEM_TASK,
                    gate=self._gate,
                    name=known.name if known else None,
                    faults=known.faults if known else (),
                    answer=partial(self._answer, raw, (project_id, task_id), known),
                )
        return None

    def _answer(self, raw: RawRequest, key: tuple[str, str], known: Known | None, t: float) -> Answer:
        if known is None:
            return self._gate.error(_MISSING)
        if raw.header("workspace") != known.workspace:
            return self._gate.error(_WRONG_WORKSPACE)
        state = known.state_at(t)
        if state.phase in (Phase.ABSENT, Phase.IDLE):
            return self._gate.error(_MISSING)
        return self._gate.answer(200, self._body(key, known, state, t))

    def _body(self, key: tuple[str, str], known: Known, state: ScriptState, t: float) -> dict[str, object]:
        project_id, task_id = key
        return {
            "id": task_id,
            "name": known.title or known.name,
            "projectId": project_id,
            "status": _STATUS[state.phase],
            "startTime": self._timestamps.millis(state.created_at or 0.0),
            "lastUpdate": self._timestamps.millis(t if state.ended_at is None else state.ended_at),
            **self._end(state.ended_at),
            **({"message": state.message} if state.message else {}),
            self._style.subtasks_key: self._subtasks(task_id, known, state, t),
        }

    def _subtasks(self, task_id: str, known: Known, state: ScriptState, t: float) -> list[dict[str, object]]:
        if state.started_at is None:
            return []
        parts = parts_at(known.subtasks, known.script.runs[0], t)
        return [self._subtask(task_id, number, part) for number, part in enumerate(parts, 1)]

    def _subtask(self, task_id: str, number: int, part: "Part") -> dict[str, object]:
        return {
            "id": f"{task_id}-{number:04}",
            "name": part.name,
            "status": _STATUS[part.phase],
            "startTime": self._timestamps.millis(part.started_at),
            "lastUpdate": self._timestamps.millis(part.updated_at),
            **self._end(part.updated_at if part.phase is not Phase.RUNNING else None),
            "taskId": task_id,
        }

    def _end(self, ended_at: float | None) -> dict[str, object]:
        return {} if ended_at is None else {"endTime": self._timestamps.millis(ended_at)}


@dataclass(frozen=True, slots=True)
class Part:
    """A subtask at one moment; times in seconds since the start."""

    name: str
    phase: Phase
    started_at: float
    updated_at: float


def parts_at(names: Sequence[str], run: Run, t: float) -> list[Part]:
    """The subtasks of ``run`` that have begun by ``t`` seconds.

    They go one after another and take equal shares of the duration; a run that fails, fails in its last one.
    """
    share = run.duration / max(1, len(names))
    begins = [run.started_at + number * share for number in range(len(names))]
    ends = [*begins[1:], run.ended_at]
    return [
        Part(name, _part_phase(run, end, t), begin, min(t, end))
        for name, begin, end in zip(names, begins, ends, strict=False)
        if begin <= t
    ]


def _part_phase(run: Run, end: float, t: float) -> Phase:
    if t < end:
        return Phase.RUNNING
    return Phase.FAILED if run.ends is Ending.FAILED and end == run.ended_at else Phase.SUCCEEDED
