"""The states of a task and the flags beside them."""

from enum import StrEnum


class State(StrEnum):
    """The states of a task, as users and metrics know them."""

    UNKNOWN = "unknown"
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    MISSING = "missing"
    EXPIRED = "expired"


ENDS = frozenset({State.SUCCEEDED, State.FAILED, State.STOPPED})
"""The ends that a provider reports; a followed task goes on after them."""

CONCLUDED = frozenset({State.MISSING, State.EXPIRED})
"""The ends that poller concludes by itself."""

TERMINAL = ENDS | CONCLUDED
"""The states after which a task is polled no more, unless it is followed."""

REPORTED = ENDS | {State.PENDING, State.RUNNING}
"""The states that an answer can tell; the others are conclusions of poller's own."""


class Flag(StrEnum):
    """What may be said of a task beside its state; each clears itself."""

    OVERDUE = "overdue"
    STALLED = "stalled"
    UNREACHABLE = "unreachable"
    LATE = "late"
