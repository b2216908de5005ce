"""Scripted trouble: when it strikes, and what nonsense a broken proxy answers with."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from poller.simulator.wire import Answer


class FaultKind(StrEnum):
    """What goes wrong for a request."""

    THROTTLE = "throttle"
    UNAUTHORIZED = "unauthorized"
    ERROR = "error"
    HANG = "hang"
    LOST = "lost"
    GARBAGE = "garbage"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Fault:
    """Trouble from ``after`` seconds on, for ``lasts`` seconds (for good, if infinite).

    ``retry_after`` (seconds) goes with a throttling, ``status`` (5xx) with an error; ``code`` replaces the provider's
    usual error code. ``only_starts``: other requests than those to start a run are spared.
    """

    kind: FaultKind
    after: float = 0.0
    lasts: float = math.inf
    retry_after: float | None = None
    status: int = 503
    code: str | None = None
    only_starts: bool = False

    def active(self, t: float, starts: bool = False) -> bool:
        """Whether it strikes a request that comes at ``t`` seconds, and would start a run or not."""
        return self.after <= t < self.after + self.lasts and (starts or not self.only_starts)


def active_fault(faults: Iterable[Fault], t: float, starts: bool = False) -> Fault | None:
    """The first of ``faults`` that strikes a request at ``t`` seconds."""
    return next((fault for fault in faults if fault.active(t, starts)), None)


# All of it comes with status 200: only a reader that looks at the body can tell.
_GARBAGE = (
    Answer(200, b"<html><body><h1>502 Bad Gateway</h1></body></html>", content_type="text/html"),
    Answer(200, b'{"status": "OK", "result": {"status": "succ'),
    Answer(200, b""),
    Answer(200, b'<?xml version="1.0"?><Error><Code>Unknown</Code></Error>', content_type="application/xml"),
    Answer(200, b"[1, 2, 3]"),
)


def garbage(number: int) -> Answer:
    """The ``number``-th unreadable answer; several kinds take turns."""
    return _GARBAGE[number % len(_GARBAGE)]
