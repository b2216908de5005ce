"""The bodies of OpenSearch's answers, as its documents' samples show them.

The documents know no status for a training that waits or was stopped: one that waits is shown as running, with no
start time yet.
"""

import orjson

from poller.simulator.inventory import Instance, InstanceKey
from poller.simulator.script import Phase, ScriptState
from poller.simulator.styles import KeySpelling, OpenSearchQuirk, OpenSearchStyle
from poller.simulator.timestamps import Timestamps

_STATUS = {Phase.PENDING: "running", Phase.RUNNING: "running", Phase.SUCCEEDED: "success", Phase.FAILED: "failed"}
_DAG_STATUS = {**_STATUS, Phase.PENDING: "pending", Phase.IDLE: "untrained"}
_FIRST_VERSION = 100


class OpenSearchBodies:
    """Writes states as the ``result`` of an answer, in the style that the scenario asks for."""

    def __init__(self, style: OpenSearchStyle, timestamps: Timestamps) -> None:
        """``timestamps`` know when the simulator started."""
        self._style = style
        self._timestamps = timestamps

    def generation(self, key: InstanceKey, number: str, state: ScriptState) -> dict[str, object]:
        """One training; a run that reports no progress has no ``progress``."""
        progress = {} if state.progress is None else {"progress": state.progress}
        return {
            "functionName": key[1],
            **progress,
            "status": _STATUS[state.phase],
            "startTime": self._millis(state.started_at),
            "endTime": self._millis(state.ended_at),
            "extendInfo": self._extend_info({"recall": 91, "errors": [state.message] if state.message else []}),
            "runId": f"trigger__{self._timestamps.rfc3339(state.created_at or 0.0)[:19]}",
            "generation": number,
        }

    def instance(self, key: InstanceKey, instance: Instance, t: float) -> dict[str, object]:
        """An instance as it is told without ``output=detail``."""
        ends = [run.ends for run in instance.runs if run.ended_at <= t]
        source = {"source": "user"} if self._style.keys is KeySpelling.PASCAL else {}
        return {
            # It counts the runs that ended: only so can be seen that one came and went between two requests.
            "versionId": _FIRST_VERSION + len(ends),
            "instanceName": key[2],
            "functionName": key[1],
            "functionType": "PAAS",
            "modelType": "tf_checkpoint",
            "Description": instance.known.name,
            "status": "available" if "succeeded" in ends else "unavailable",
            "belongs": {"domain": "ecommerce", "category": "general", "language": "zh"},
            "createTime": self._millis(0.0),
            "cron": "",
            **source,
        }

    def instance_details(self, state: ScriptState, t: float) -> dict[str, object]:
        """What ``output=detail`` adds: the training among it, if there was any."""
        return {
            "createParameters": [{"name": "param1", "value": "val1"}],
            "usageParameters": [{"name": "use_param1", "value": "val1"}],
            "extendInfo": self._extend_info(
                {"error": {"message": state.message} if state.message else {}, "dataReport": {}}
            ),
            **self._training(state, t),
        }

    def spelled(self, body: dict[str, object]) -> object:
        """``body`` with its keys in the scenario's spelling."""
        return _pascal(body) if self._style.keys is KeySpelling.PASCAL else body

    def _training(self, state: ScriptState, t: float) -> dict[str, object]:
        if state.phase is Phase.IDLE and OpenSearchQuirk.UNTRAINED_STATUS not in self._style.quirks:
            return {}
        progress = {} if state.progress is None else {"progress": state.progress}
        until = t if state.ended_at is None else state.ended_at
        last_run_time = 0 if state.started_at is None else round((until - state.started_at) * 1000)
        return {"task": {"dagStatus": _DAG_STATUS[state.phase], **progress, "lastRunTime": last_run_time}}

    def _millis(self, t: float | None) -> int:
        return 0 if t is None else self._timestamps.millis(t)

    def _extend_info(self, content: dict[str, object]) -> str:
        text = orjson.dumps(content).decode()
        return text.replace('"', r"\"") if OpenSearchQuirk.ESCAPED_TWICE in self._style.quirks else text


def _pascal(value: object) -> object:
    """``value`` with every key's first letter in upper case."""
    if isinstance(value, dict):
        return {key[:1].upper() + key[1:]: _pascal(inner) for key, inner in value.items()}
    return [_pascal(inner) for inner in value] if isinstance(value, list) else value
