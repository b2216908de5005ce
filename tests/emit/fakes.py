"""What is being watched, made up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from poller.domain.circuit import Phase
from poller.domain.lifecycle import run_began
from poller.domain.prospect import ExpectedEnd, Prospect, expected_end
from poller.domain.state import State
from poller.domain.task import ADDED, Contact, Entry, Status, Task
from poller.protocols import PollRecord

NOW = 1_790_000_000.5


@dataclass
class FakeWatched:
    task: Task
    next_poll_at: float | None = None
    prospect: Prospect | None = None

    @property
    def expected(self) -> ExpectedEnd | None:
        return expected_end(self.task.status, self.prospect, run_began(self.task.status))


@dataclass
class FakeConnection:
    provider: str
    in_flight: int = 0
    due: int = 0
    paused: str | None = None
    rate: float = 50.0
    share_of_rate: float = 50.0
    slots: int = 32
    phase: Phase = Phase.OPEN
    paused_until: float | None = None


@dataclass
class FakeWatching:
    shown: list[FakeWatched] = field(default_factory=list)
    lanes: list[FakeConnection] = field(default_factory=list)
    named: list[tuple[str, str]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    ready: bool = True
    polled: list[tuple[str, PollRecord]] = field(default_factory=list)

    def tasks(self) -> Sequence[FakeWatched]:
        return sorted(self.shown, key=lambda watched: watched.task.entry.name)

    def find(self, name: str) -> FakeWatched | None:
        return next((watched for watched in self.shown if watched.task.entry.name == name), None)

    def polls(self, name: str) -> Sequence[PollRecord]:
        return [record for polled, record in reversed(self.polled) if polled == name]

    def connections(self) -> Sequence[FakeConnection]:
        return self.lanes

    def operations(self) -> Sequence[tuple[str, str]]:
        return self.named

    def stalled(self) -> Sequence[str]:
        return self.complaints


def watched(
    name: str,
    state: State = State.RUNNING,
    *,
    provider: str = "jobs",
    operation: str = "job",
    labels: Mapping[str, str] | None = None,
    follow: bool = False,
    owner: str | None = None,
    ttl: float | None = None,
    contact: Contact | None = None,
    next_poll_at: float | None = None,
    prospect: Prospect | None = None,
    **status: Any,
) -> FakeWatched:
    """A task in ``state``, of somebody only if it is in no file; ``status`` is whatever else is known of it."""
    entry = Entry(name, provider, operation, {"job_id": "1"}, labels or {}, follow=follow, owner=owner, ttl=ttl)
    entry = entry if owner is None else replace(entry, source=ADDED)
    known = Status(first_seen_at=NOW - 900, since=NOW - 60, run_since=NOW - 900, state=state, **status)
    return FakeWatched(Task(entry, known, contact or Contact()), next_poll_at, prospect)
