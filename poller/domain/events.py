"""What is told to the world after it has been committed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from poller.domain.moments import rfc3339
from poller.domain.state import TERMINAL, Flag, State


@dataclass(frozen=True, slots=True)
class Transition:
    """A task went from one state to another, ``at`` epoch seconds.

    ``ordinal`` numbers a task's transitions from 1 and ``transition_id`` is made of nothing else but the task's name,
    its first sight and it, so the same transition has the same id however often it is told. ``initial``: the first
    answer ever was an end already.
    """

    transition_id: str
    ordinal: int
    task: str
    provider: str
    operation: str
    source: State
    target: State
    at: float
    run: int
    raw_status: str | None = None
    progress: float | None = None
    message: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    duration: float | None = None
    request_id: str | None = None
    initial: bool = False
    labels: Mapping[str, str] | None = None

    @property
    def terminal(self) -> bool:
        """Whether the new state is an end."""
        return self.target in TERMINAL

    @property
    def facts(self) -> dict[str, Any]:
        """All of it as logs and events carry it: always every key, times in RFC 3339, durations in seconds."""
        return {
            "task": self.task,
            "provider": self.provider,
            "operation": self.operation,
            "from": self.source.value,
            "to": self.target.value,
            "raw_status": self.raw_status,
            "terminal": self.terminal,
            "initial": self.initial,
            "run": self.run,
            "progress": self.progress,
            "message": self.message,
            "at": rfc3339(self.at),
            "started_at": rfc3339(self.started_at),
            "ended_at": rfc3339(self.ended_at),
            "duration_seconds": self.duration,
            "request_id": self.request_id,
            "labels": None if self.labels is None else dict(self.labels),
            "transition_id": self.transition_id,
        }


@dataclass(frozen=True, slots=True)
class Sought:
    """Which transitions are asked for: any of each kind where some are named, all of the labels, at a time within.

    ``states`` are those that a task went to. ``since`` and ``until`` are epoch seconds; ``until`` itself is too late.
    """

    tasks: frozenset[str] = frozenset()
    states: frozenset[State] = frozenset()
    providers: frozenset[str] = frozenset()
    operations: frozenset[str] = frozenset()
    labels: tuple[tuple[str, str], ...] = ()
    since: float | None = None
    until: float | None = None

    def __bool__(self) -> bool:
        """Whether anything is left out."""
        return self != EVERYTHING

    def matches(self, transition: Transition) -> bool:
        """Whether ``transition`` is asked for."""
        labels = transition.labels or {}
        return (
            (not self.tasks or transition.task in self.tasks)
            and (not self.states or transition.target in self.states)
            and (not self.providers or transition.provider in self.providers)
            and (not self.operations or transition.operation in self.operations)
            and all(labels.get(key) == value for key, value in self.labels)
            and (self.since is None or transition.at >= self.since)
            and (self.until is None or transition.at < self.until)
        )


EVERYTHING = Sought()


@dataclass(frozen=True, slots=True)
class FlagChange:
    """A flag of a task rose or cleared, ``at`` epoch seconds.

    ``message`` tells the last failure for an unreachable one, if any of its polls failed since the last answer.
    """

    task: str
    provider: str
    operation: str
    flag: Flag
    raised: bool
    at: float
    state: State
    message: str | None = None
