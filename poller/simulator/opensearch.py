"""Alibaba Cloud OpenSearch, API version 2017-12-25: algorithm instances and their trainings.

Source: the documents of GetFunctionTask, GetFunctionInstance, CreateFunctionTask and ListFunctionTasks.
"""

from collections.abc import Callable
from functools import partial

from poller.simulator.alibaba import AlibabaGate
from poller.simulator.call import Call
from poller.simulator.inventory import Instance, InstanceKey, Known
from poller.simulator.opensearch_bodies import OpenSearchBodies
from poller.simulator.scenario import Api
from poller.simulator.script import Phase, ScriptState
from poller.simulator.styles import OpenSearchQuirk, OpenSearchStyle
from poller.simulator.timestamps import Timestamps
from poller.simulator.wire import Answer, RawRequest, Refusal, json_answer

VERSION = "2017-12-25"
PREFIX = "/v4/openapi/"

_NO_INSTANCE = Refusal(404, "Instance.NotExist", "instance not exist.")
_NO_GENERATION = Refusal(404, "Task.NotExist", "task not exist.")
_IS_RUNNING = Refusal(400, "Task.IsRunning", "task is running.")
_BAD_PAGE = Refusal(400, "InvalidParameter", "pageNumber and pageSize are numbers from 1 on.")

_InstanceHandler = Callable[[RawRequest, InstanceKey, Instance, float], Answer]


class OpenSearch:
    """Answers for the instances that it is given; adds generations to them when asked to start one."""

    def __init__(
        self,
        instances: dict[InstanceKey, Instance],
        style: OpenSearchStyle,
        gate: AlibabaGate,
        timestamps: Timestamps,
        new_id: Callable[[], str],
    ) -> None:
        """``new_id`` makes request ids."""
        self._instances = instances
        self._quirks = style.quirks
        self._bodies = OpenSearchBodies(style, timestamps)
        self._gate = gate
        self._new_id = new_id

    def call(self, raw: RawRequest) -> Call | None:
        """What ``raw`` asks for; None if that is nothing of this API."""
        match raw.segments:
            case ("v4", "openapi", "app-groups", app, "functions", function, "instances", name, *rest):
                return self._call(raw, (app, function, name), rest)
        return None

    def _call(self, raw: RawRequest, key: InstanceKey, rest: list[str]) -> Call | None:
        match raw.method, rest:
            case "GET", []:
                return self._instance_call(raw, key, "GetFunctionInstance", self._get_instance)
            case "GET", ["tasks"]:
                return self._instance_call(raw, key, "ListFunctionTasks", self._list)
            case "POST", ["tasks"]:
                return self._instance_call(raw, key, "CreateFunctionTask", self._create)
            case "GET", ["tasks", number]:
                return self._generation_call(raw, key, number)
        return None

    def _instance_call(self, raw: RawRequest, key: InstanceKey, action: str, handler: _InstanceHandler) -> Call:
        instance = self._instances.get(key)
        return Call(
            api=Api.FUNCTION_INSTANCE,
            gate=self._gate,
            name=instance.known.name if instance else None,
            faults=instance.known.faults if instance else (),
            answer=partial(self._of_instance, raw, key, action, handler),
            starts=action == "CreateFunctionTask",
        )

    def _generation_call(self, raw: RawRequest, key: InstanceKey, number: str) -> Call:
        instance = self._instances.get(key)
        known = instance.generations.get(number) if instance else None
        return Call(
            api=Api.FUNCTION_TASK,
            gate=self._gate,
            name=known.name if known else None,
            faults=known.faults if known else (),
            answer=partial(self._of_generation, raw, key, number, known),
        )

    def _of_instance(
        self, raw: RawRequest, key: InstanceKey, action: str, handler: _InstanceHandler, t: float
    ) -> Answer:
        if refusal := _action_fault(raw, action):
            return self._gate.refuse(raw, refusal)
        instance = self._instances.get(key)
        if instance is None or instance.known.state_at(t).phase is Phase.ABSENT:
            return self._error(_NO_INSTANCE)
        return handler(raw, key, instance, t)

    def _of_generation(self, raw: RawRequest, key: InstanceKey, number: str, known: Known | None, t: float) -> Answer:
        if refusal := _action_fault(raw, "GetFunctionTask"):
            return self._gate.refuse(raw, refusal)
        if key not in self._instances:
            return self._error(_NO_INSTANCE)
        state = known.state_at(t) if known else ScriptState(Phase.ABSENT)
        if state.phase in (Phase.ABSENT, Phase.IDLE):
            return self._error(_NO_GENERATION)
        return self._success({"result": self._bodies.generation(key, number, state)}, beside=_NO_GENERATION.code)

    def _get_instance(self, raw: RawRequest, key: InstanceKey, instance: Instance, t: float) -> Answer:
        result = self._bodies.instance(key, instance, t)
        if raw.parameter("output", "") == "detail":
            result |= self._bodies.instance_details(instance.state_at(t), t)
        return self._success({"result": result}, beside=_NO_INSTANCE.code)

    def _list(self, raw: RawRequest, key: InstanceKey, instance: Instance, t: float) -> Answer:
        page, size = _whole(raw.parameter("pageNumber", "1")), _whole(raw.parameter("pageSize", "1"))
        if not page or not size:
            return self._error(_BAD_PAGE)
        created = instance.created(t)
        shown = created[(page - 1) * size : page * size]
        result = [self._bodies.generation(key, number, known.state_at(t)) for number, known in shown]
        return self._success({"result": result, "totalCount": len(created)})

    def _create(self, raw: RawRequest, key: InstanceKey, instance: Instance, t: float) -> Answer:
        del raw, key  # nothing in the request changes what is started
        if instance.under_way(t):
            return self._error(_IS_RUNNING)
        instance.start(t)
        return self._success({"result": {}}, beside=_IS_RUNNING.code)

    def _success(self, parts: dict[str, object], beside: str = "") -> Answer:
        """The envelope of an answer; ``beside`` is the code that a document's sample has beside a success."""
        code = beside if OpenSearchQuirk.CODE_BESIDE_SUCCESS in self._quirks else ""
        envelope = {"status": "OK", "requestId": self._new_id(), "httpCode": 200, "code": code, "message": ""}
        return json_answer(200, self._bodies.spelled({**envelope, "latency": 123, **parts}))

    def _error(self, refusal: Refusal) -> Answer:
        status = 200 if OpenSearchQuirk.ERROR_AS_200 in self._quirks else refusal.status
        body = {
            "requestId": self._new_id(),
            "httpCode": refusal.status,
            "code": refusal.code,
            "message": refusal.message,
        }
        return json_answer(status, self._bodies.spelled(body), code=refusal.code)


def _action_fault(raw: RawRequest, action: str) -> Refusal | None:
    """The path decides what is done, but a client that names another action or version means something else."""
    named = (raw.header("x-acs-version"), raw.header("x-acs-action"))
    if named == (VERSION, action):
        return None
    return Refusal(404, "InvalidApi.NotFound", f"This path is {action} of {VERSION}, not {named[1]} of {named[0]}.")


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
