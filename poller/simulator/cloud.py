"""The local cloud: several providers' APIs and the scripted tasks behind them. Requests and answers, no sockets."""

import itertools
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Literal

from poller.simulator.alibaba import AlibabaGate
from poller.simulator.call import Call, Gate
from poller.simulator.dlf import Dlf
from poller.simulator.faults import Fault, FaultKind, active_fault, garbage
from poller.simulator.huawei import HuaweiGate
from poller.simulator.inventory import Inventory, faults_of
from poller.simulator.jobs import PREFIX as JOBS_PREFIX
from poller.simulator.jobs import Jobs, JobsGate
from poller.simulator.limits import RateLimit
from poller.simulator.modelarts import ModelArts
from poller.simulator.opensearch import PREFIX as OPENSEARCH_PREFIX
from poller.simulator.opensearch import OpenSearch
from poller.simulator.scenario import Api, Scenario
from poller.simulator.timestamps import Timestamps
from poller.simulator.wire import Answer, RawRequest

STRANGERS = "(strangers)"
"""What the counters call requests for anything that the scenario does not know."""

Silence = Literal[FaultKind.HANG, FaultKind.RESET]
"""What may come instead of an answer: nothing at all, or the end of the connection."""

_SCRIPTED_LIMIT = "limit:60,time:1 minute"


class Cloud:
    """Answers requests as the scenario says, ``clock`` (epoch seconds) being its only notion of time.

    ``requests`` counts what came for each thing of the scenario, by name, whatever the answer was; all else counts as
    STRANGERS. ``starts`` counts the requests to start a run in the same way. ``outcomes`` counts error codes, kinds of
    silence, ``garbage``, and the status of successes.
    """

    def __init__(self, scenario: Scenario, clock: Callable[[], float]) -> None:
        """The scenario's times count from now."""
        self.requests: Counter[str] = Counter()
        self.starts: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self._clock = clock
        self._origin = clock()
        self._limit = RateLimit(scenario.rate_limit, self._origin) if scenario.rate_limit else None
        self._faults = {api: _faults_of_api(scenario, api) for api in Api}
        self._garbage_sent = itertools.count()
        self._build(scenario)

    def _build(self, scenario: Scenario) -> None:
        inventory, timestamps, new_id = Inventory.of(scenario), Timestamps(self._origin), _request_ids()
        self._alibaba = AlibabaGate(scenario.accounts.alibaba, new_id)
        self._huawei = HuaweiGate(scenario.accounts.huawei, lambda: new_id().replace("-", "").lower())
        self._jobs = JobsGate(scenario.accounts.jobs)
        self._apis = (
            Jobs(inventory.jobs, self._jobs, timestamps),
            OpenSearch(inventory.instances, scenario.opensearch, self._alibaba, timestamps, new_id),
            Dlf(inventory.system_tasks, scenario.dlf, self._huawei, timestamps),
            ModelArts(inventory.processor_tasks, scenario.modelarts, self._huawei, timestamps),
        )

    @property
    def key_locks(self) -> int:
        """How often a Huawei key was locked for failing too often."""
        return self._huawei.lock.times_locked

    def respond(self, raw: RawRequest) -> Answer | Silence:
        """What happens to a request that comes now."""
        call = next((call for api in self._apis if (call := api.call(raw))), None)
        self._count(call)
        now = self._clock()
        return self._outcome(raw, call, now) if call else self._noted(self._gate_at(raw.path).no_such_path(raw))

    def _count(self, call: Call | None) -> None:
        name = call.name if call and call.name else STRANGERS
        self.requests[name] += 1
        if call and call.starts:
            self.starts[name] += 1

    def _outcome(self, raw: RawRequest, call: Call, now: float) -> Answer | Silence:
        t = now - self._origin
        fault = active_fault((*self._faults[call.api], *call.faults), t, call.starts)
        if fault and fault.kind is not FaultKind.LOST:
            return self._trouble(fault, raw, call.gate, now)
        if self._limit and (wait := self._limit.take(now)):
            return self._noted(call.gate.throttle(wait, str(self._limit)))
        answer = self._noted(call.gate.admit(raw, now) or call.answer(t))
        return self._trouble(fault, raw, call.gate, now) if fault else answer

    def _trouble(self, fault: Fault, raw: RawRequest, gate: Gate, now: float) -> Answer | Silence:
        match fault.kind:
            case FaultKind.HANG | FaultKind.LOST:
                self.outcomes[fault.kind] += 1
                return FaultKind.HANG
            case FaultKind.RESET:
                self.outcomes[fault.kind] += 1
                return FaultKind.RESET
            case FaultKind.GARBAGE:
                self.outcomes[fault.kind] += 1
                return garbage(next(self._garbage_sent))
            case FaultKind.THROTTLE:
                return self._noted(gate.throttle(fault.retry_after, _SCRIPTED_LIMIT))
            case FaultKind.UNAUTHORIZED:
                return self._noted(gate.deny(raw, now, fault.code))
            case FaultKind.ERROR:
                return self._noted(gate.fail(fault.status, fault.code))

    def _noted(self, answer: Answer) -> Answer:
        self.outcomes[answer.code or str(answer.status)] += 1
        return answer

    def _gate_at(self, path: str) -> Gate:
        if path.startswith(OPENSEARCH_PREFIX):
            return self._alibaba
        return self._jobs if path.startswith(JOBS_PREFIX) else self._huawei


def _faults_of_api(scenario: Scenario, api: Api) -> tuple[Fault, ...]:
    return faults_of(entry for entry in scenario.faults if api in entry.apis)


def _request_ids() -> Callable[[], str]:
    """A maker of ids that look like a provider's, and are the same in every run."""
    numbers = itertools.count(1)
    return lambda: str(uuid.uuid5(uuid.NAMESPACE_URL, f"request:{next(numbers)}")).upper()
