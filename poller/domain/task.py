"""The remote task: what is watched (`Entry`), what is known of it (`Status`) and how the asking goes (`Contact`).

`Status` is durable: a change of it is written to the store. `Contact` ticks with every poll and is only flushed now and
then.
All times are seconds since the epoch, all durations seconds, progress is 0 to 100.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from poller.domain.observation import Failure, Subtasks
from poller.domain.state import ENDS, TERMINAL, State

ADDED = "api"
"""The source of an entry that stands in no file."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When to ask and when to draw conclusions; the config file's ``schedule`` with its defaults, in seconds."""

    initial: float = 2.0
    max: float = 300.0
    growth: float = 1.5
    jitter: float = 0.1
    deadline: float = 86_400.0
    unreachable_after: float = 300.0
    stalled_after: float = 3_600.0
    give_up_after: float = 604_800.0
    missing_polls: int = 3
    missing_time: float = 60.0
    adaptive: bool = True


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the watchlist: which task to watch, how, and what to call it.

    ``family`` names what its runs are runs of, where that does not follow from provider, operation and parameters.
    What was added while the daemon runs may have an ``owner``, free text, and a ``ttl``: seconds from when it was last
    added to when it leaves the watchlist by itself.
    """

    name: str
    provider: str
    operation: str
    params: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    policy: Policy = Policy()
    follow: bool = False
    source: str = "file"
    family: str | None = None
    owner: str | None = None
    ttl: float | None = None

    @property
    def added(self) -> bool:
        """Whether it was added while the daemon runs, and stands in no file."""
        return self.source == ADDED

    def same_task(self, provider: str, operation: str, params: Mapping[str, str]) -> bool:
        """Whether these name the same remote task; another one under an old name is watched anew."""
        return (self.provider, self.operation, self.params) == (provider, operation, params)


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of a task. ``since`` is when its state was noticed, ``transitions`` how many there were so far.

    ``awaited_since`` is since when a run is awaited that was asked to start and was not seen yet, else None.
    """

    first_seen_at: float
    since: float
    run_since: float
    state: State = State.UNKNOWN
    run: int = 1
    run_id: str | None = None
    transitions: int = 0
    raw_status: str | None = None
    progress: float | None = None
    progress_moved_at: float | None = None
    message: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    duration: float | None = None
    subtasks: Subtasks | None = None
    overdue: bool = False
    stalled: bool = False
    unreachable: bool = False
    late: bool = False
    awaited_since: float | None = None

    @property
    def terminal(self) -> bool:
        """Whether the task (or this run of a followed one) has ended."""
        return self.state in TERMINAL

    @property
    def settled(self) -> bool:
        """Whether the task has ended and no further run of it was asked to start."""
        return self.terminal and self.awaited_since is None


@dataclass(frozen=True, slots=True)
class Contact:
    """How the asking goes.

    ``attempt`` counts the polls since the state last changed, the one that showed it included and refused ones not.
    ``silent_since`` is when the first poll was due that brought no answer of any kind, ``unanswered_since`` when the
    first was that did not tell the task's status; None while answers come.
    """

    polls: int = 0
    attempt: int = 0
    last_polled_at: float | None = None
    silent_since: float | None = None
    unanswered_since: float | None = None
    consecutive_failures: int = 0
    last_failure: Failure | None = None
    missing_polls: int = 0
    missing_since: float | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A watched task: its entry, what is known of it, and how the asking goes."""

    entry: Entry
    status: Status
    contact: Contact = Contact()

    @property
    def over(self) -> bool:
        """Whether the task is polled no more."""
        if self.entry.follow and self.status.state in ENDS:
            return False
        return self.status.settled
