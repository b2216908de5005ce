"""Every seam of the program on one page."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from poller.domain.events import FlagChange, Transition
from poller.domain.family import Run
from poller.domain.lifecycle import Step
from poller.domain.observation import Observation, Outcome
from poller.domain.prospect import Prospect
from poller.domain.starting import Job
from poller.domain.state import State
from poller.domain.task import Contact, Entry, Status, Task


class Clock(Protocol):
    """Where the shell reads the time that the domain is given."""

    def now(self) -> float:
        """Wall clock, epoch seconds."""
        ...

    def monotonic(self) -> float:
        """The event loop's own clock, seconds; what is planned is planned on it."""
        ...


class Provider(Protocol):
    """One connection to a provider's API."""

    async def poll(self, entry: Entry) -> Observation:
        """One attempt at asking for the task's status. Never raises on account of the provider or the network."""
        ...

    def family(self, entry: Entry) -> str:
        """What the entry's runs are runs of: those of one family take about as long as one another."""
        ...

    def job(self, entry: Entry) -> Job | None:
        """What could be started behind the entry's task; None where its operation has no such request."""
        ...

    async def list_runs(self, entry: Entry) -> Observation:
        """One attempt at asking for the runs of the entry's job, newest first. Never raises, like `poll`."""
        ...

    async def start_run(self, entry: Entry) -> Observation:
        """One request that starts a run of the entry's job; nothing repeats it. Never raises, like `poll`.

        Answered tells a run that was started as state pending, one that is under way already as running.
        """
        ...

    @property
    def credentials_version(self) -> int:
        """A number that changes when the credentials do, as of their last use."""
        ...

    async def renew_credentials(self, refused: int | None = None) -> None:
        """Looks whether other credentials are to be had, and uses them from now on; never raises.

        ``refused`` is the version of those that the provider refuses.
        """
        ...

    async def close(self) -> None:
        """Lets go of the connection."""
        ...


@dataclass(frozen=True, slots=True)
class Saved:
    """A task as the store holds it: its identity, what was known of it, and how the asking went at ``saved_at``."""

    name: str
    provider: str
    operation: str
    params: Mapping[str, str]
    status: Status
    contact: Contact
    saved_at: float
    next_poll_at: float | None


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that ended, for forecasts of its family; told once, under the id of the transition that ended it."""

    transition_id: str
    family: str
    ended_at: float
    run: Run


@dataclass(frozen=True, slots=True)
class Change:
    """What one step changed and the store must not lose: the task now, and the transition if there was one."""

    task: Task
    transition: Transition | None = None
    flags: tuple[FlagChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Pulse:
    """What ticks: flushed for readers now and then, lost without harm."""

    name: str
    contact: Contact
    next_poll_at: float | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one commit writes, all of it or nothing. ``told`` are the ids of transitions that were told.

    ``runs`` are those that ended, each in the batch that has its last transition.
    """

    at: float
    changes: Sequence[Change] = ()
    pulses: Sequence[Pulse] = ()
    told: Sequence[str] = ()
    runs: Sequence[FinishedRun] = ()

    def __bool__(self) -> bool:
        return bool(self.changes or self.pulses or self.told or self.runs)


@dataclass(frozen=True, slots=True)
class TransitionPage:
    """Some transitions, newest first, and where the next page starts; None at the end."""

    transitions: Sequence[Transition]
    next_cursor: str | None


class Store(Protocol):
    """What is durable. Every method may raise `poller.domain.errors.StoreError`.

    A store belongs to one daemon at a time (SQLite), or shares its tasks out among several; either way what is
    committed here is owned here.
    """

    async def open(self) -> None:
        """Migrates and takes hold of the store; StoreLockedError when another daemon holds it."""
        ...

    async def close(self) -> None:
        """Lets go of the store; what was committed stays."""
        ...

    async def watch(self, entries: Sequence[Entry], now: float) -> Mapping[str, Saved]:
        """Makes ``entries`` the watchlist and gives back what is known of those already stored, by name.

        An entry never stored is stored as unknown, first seen ``now``, and is not among what is given back. Nor is one
        under a known name that means another task (`Entry.same_task`): what was known is lost. A stored task that is no
        longer among the entries is marked as unwatched, and keeps what is known of it.
        """
        ...

    async def commit(self, batch: Batch) -> None:
        """Writes the batch in one transaction. A transition whose id is already stored is not stored again."""
        ...

    async def runs(self, families: Collection[str]) -> Mapping[str, Sequence[Run]]:
        """The finished runs of each of ``families`` that has any, oldest first, the newest `MOST_RUNS` at most."""
        ...

    async def untold(self) -> Sequence[Transition]:
        """The transitions that were committed and not marked as told, oldest first."""
        ...

    async def prune(self, before: float) -> int:
        """Forgets told transitions, finished runs, and tasks no longer watched, from before ``before``.

        Gives back how many rows that were. What is still watched keeps its state, however old.
        """
        ...

    async def transitions(self, name: str | None = None, limit: int = 100, cursor: str | None = None) -> TransitionPage:
        """Transitions of one task or of all, newest first. ValueError for a cursor that this store did not give out."""
        ...


@dataclass(frozen=True, slots=True)
class Added:
    """What became of entries that were to be added: how many are new, how many differ from before, and how many not."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0


class Watchlist(Protocol):
    """The watchlist as it is changed while the daemon runs. Every method may raise StoreError.

    What it promises to have done outlives the process.
    """

    async def add(self, tasks: Iterable[tuple[int, object]]) -> Added:
        """Adds tasks, or nothing at all; ``tasks`` are what `poller.config.watchlist.AddedReader` reads.

        Each is plain data with its line in the request, 0 where there is but one. Those that are there already are
        changed to what is sent now, and their ``ttl`` begins anew. Raises ConfigError with every mistake in them, and
        WatchlistError when a name means another task than before, or one of a file.
        """
        ...

    async def remove(self, name: str) -> bool:
        """Takes a task away; False when that was done before.

        Raises NoSuchTaskError for a name that was never there, WatchlistError for a task that stands in a file.
        """
        ...

    async def rearm(self, name: str) -> None:
        """Begins to watch a missing or expired task anew.

        Raises NoSuchTaskError, and WatchlistError for a task that is neither missing nor expired.
        """
        ...


class Recorder(Protocol):
    """Who takes over what changed, to keep it and to tell it."""

    def submit(self, step: Step, finished: FinishedRun | None = None) -> None:
        """Takes over what changed, and the run if one has ended by that."""
        ...

    def flush(self, pulses: Sequence[Pulse]) -> None:
        """Takes over what ticked."""
        ...

    async def durable(self) -> None:
        """Waits until everything taken over so far would outlive the process."""
        ...


class Emitter(Protocol):
    """One receiver of what happened, told after the commit. Quick, and never raises."""

    def transition(self, transition: Transition) -> None:
        """A task changed its state. May be told again with the same ``transition_id`` after a crash."""
        ...

    def flag(self, change: FlagChange) -> None:
        """A flag rose or cleared."""
        ...


class PollObserver(Protocol):
    """Who counts the polls. Quick, and never raises."""

    def polled(self, entry: Entry, seen: Observation, duration: float, lag: float) -> None:
        """A poll took ``duration`` seconds and was sent ``lag`` seconds later than planned."""
        ...


class WatchedTask(Protocol):
    """A task that is being watched, as pages and metrics show it."""

    @property
    def task(self) -> Task:
        """The task as it is now."""
        ...

    @property
    def next_poll_at(self) -> float | None:
        """When it is to be polled next, epoch seconds; None when it is polled no more."""
        ...

    @property
    def prospect(self) -> Prospect | None:
        """When its run will probably end, as of its last poll; None where nothing is known, or nothing awaited."""
        ...

    @property
    def run_began_at(self) -> float:
        """What the ages of its prospect count from, epoch seconds."""
        ...


class ConnectionView(Protocol):
    """A provider connection, as pages and metrics show it."""

    @property
    def provider(self) -> str:
        """The provider's name in the config file."""
        ...

    @property
    def in_flight(self) -> int:
        """Polls sent and not yet come back."""
        ...

    @property
    def due(self) -> int:
        """Polls that wait for rate, slot or the end of a pause."""
        ...

    @property
    def rate(self) -> float:
        """Polls per second that are allowed now: as configured, or fewer after the provider throttled them."""
        ...

    @property
    def paused(self) -> str | None:
        """The refusal (throttled, unauthorized) on whose account no polls, or one at a time, go out; else None."""
        ...


@dataclass(frozen=True, slots=True)
class PollRecord:
    """A poll that changed something, kept to be shown: without any secret, and cut where it was long.

    ``state`` is the task's after it. ``rule`` decided on account of what it ``saw``. ``request`` and ``answer`` are
    those of the poll, None where nothing was sent or came.
    """

    at: float
    outcome: Outcome
    state: State
    raw_status: str | None = None
    http_status: int | None = None
    code: str | None = None
    message: str | None = None
    rule: str | None = None
    saw: str | None = None
    request: str | None = None
    answer: str | None = None
    request_id: str | None = None


class Watching(Protocol):
    """What is being watched right now: what pages, the API and metrics read."""

    def tasks(self) -> Sequence[WatchedTask]:
        """Every task to be shown, sorted by name; finished ones are left out when their retention is over."""
        ...

    def find(self, name: str) -> WatchedTask | None:
        """The task of that name, however long ago it ended."""
        ...

    def polls(self, name: str) -> Sequence[PollRecord]:
        """The last polls of the task of that name that changed something, newest first; not all of them are kept."""
        ...

    def connections(self) -> Sequence[ConnectionView]:
        """Every provider connection."""
        ...

    def operations(self) -> Sequence[tuple[str, str]]:
        """Every (provider, operation) that some entry of the watchlist names."""
        ...

    def stalled(self) -> Sequence[str]:
        """What makes no progress though it should, one sentence each; never a provider's doing."""
        ...

    @property
    def ready(self) -> bool:
        """Whether the watchlist is loaded and the store open."""
        ...
