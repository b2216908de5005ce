"""The seam between the cloud and its APIs: a gate words refusals, a call is what an API made of a request."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from poller.simulator.faults import Fault
from poller.simulator.scenario import Api
from poller.simulator.wire import Answer, RawRequest


class Gate(Protocol):
    """Who may come in to a provider, and how it words what is not an answer. ``now`` is in epoch seconds."""

    def admit(self, raw: RawRequest, now: float) -> Answer | None:
        """None if the request's credentials are good, else the refusal."""

    def deny(self, raw: RawRequest, now: float, code: str | None) -> Answer:
        """A scripted refusal; it counts like a real one."""

    def throttle(self, retry_after: float | None, limit: str) -> Answer:
        """Too many requests; ``retry_after`` in seconds, ``limit`` in the words of Huawei's gateway."""

    def fail(self, status: int, code: str | None) -> Answer:
        """An outage."""

    def no_such_path(self, raw: RawRequest) -> Answer:
        """No API lives there."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request for something of an API.

    ``name`` is None for what no scenario knows. ``answer`` makes the answer at a time in seconds since the start.
    ``starts`` is true for a request that would start a run.
    """

    api: Api
    gate: Gate
    name: str | None
    faults: tuple[Fault, ...]
    answer: Callable[[float], Answer]
    starts: bool = False
