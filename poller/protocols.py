"""Every seam of the program on one page."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from poller.domain.circuit import Phase
from poller.domain.delivery import Answer, Delivery, Receipt
from poller.domain.events import EVERYTHING, FlagChange, Sought, Transition
from poller.domain.family import Run
from poller.domain.lifecycle import Step
from poller.domain.observation import Observation, Outcome
from poller.domain.place import Place
from poller.domain.prospect import ExpectedEnd
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

    async def poll(self, entry: Entry, said: int | None = None) -> Observation:
        """One attempt at asking for the task's status. Never raises on account of the provider or the network.

        ``said`` is that of the last answer: one that says the same again is `UNCHANGED`.
        """
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
class Stored:
    """A task of the watchlist as the store holds it; implements `WatchedTask`. No longer ``watched``: it was taken off.

    What ticks is as old as its last flush.
    """

    entry: Entry
    saved: Saved
    watched: bool = True
    expected: ExpectedEnd | None = None

    @property
    def task(self) -> Task:
        """The task as it was stored."""
        return Task(self.entry, self.saved.status, self.saved.contact)

    @property
    def next_poll_at(self) -> float | None:
        """When it is to be polled next, epoch seconds; None when it is polled no more, or nobody knows yet."""
        return None if self.task.over else self.saved.next_poll_at


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
    expected: ExpectedEnd | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one commit writes, all of it or nothing. ``told`` are the ids of transitions that were told.

    ``runs`` are those that ended, each in the batch that has its last transition. ``addressed`` are the sinks that get
    a transition, by its id; one that no sink gets is not among them. ``epochs`` are those of the partitions held while
    all this was concluded, by partition; None where there is nobody to share with.
    """

    at: float
    changes: Sequence[Change] = ()
    pulses: Sequence[Pulse] = ()
    told: Sequence[str] = ()
    runs: Sequence[FinishedRun] = ()
    epochs: Mapping[int, int] | None = None
    addressed: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.changes or self.pulses or self.told or self.runs)


@dataclass(frozen=True, slots=True)
class Added:
    """What became of entries that were to be added: how many are new, how many differ from before, and how many not."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0


@dataclass(frozen=True, slots=True)
class Roll:
    """Tasks of the watchlist, as of its ``revision``; later changes may be among them already.

    ``onward`` is the name after which there may be more; None if these are all.
    """

    revision: int
    tasks: Sequence[Stored]
    onward: str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """The watchlist of files as it was written, by name, and the ``revision`` that the store's was at by that."""

    entries: Mapping[str, Entry]
    revision: int


@dataclass(frozen=True, slots=True)
class TransitionPage:
    """Some transitions, newest first, and where the next page starts; None at the end."""

    transitions: Sequence[Transition]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class News:
    """Transitions that were not seen from a place, with their numbers, lowest first, and the ``place`` behind them.

    ``whole``: these were all; otherwise there are more.
    """

    transitions: Sequence[tuple[int, Transition]]
    place: Place
    whole: bool


class History(Protocol):
    """What is remembered of the past. Raises StoreError."""

    async def transitions(
        self,
        name: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        ends: bool = False,
        sought: Sought = EVERYTHING,
    ) -> TransitionPage:
        """Transitions of one task or of all, newest first; with ``ends`` only those with which a run ended.

        Where only some are ``sought``, a page may have fewer than ``limit``, or none, and not be the last: looking for
        what is rare costs no more than so much a page. ValueError for a cursor that this store did not give out.
        """
        ...

    async def latest(self) -> Place:
        """The place of who has seen everything that is committed."""
        ...

    async def knows(self, place: Place) -> bool:
        """Whether it is certain that what was not seen from ``place`` is still there."""
        ...

    async def news(self, place: Place, limit: int) -> News:
        """At most ``limit`` transitions that were not seen from ``place``.

        Who goes on from the place behind them, again and again, sees each transition once, however late it commits.
        """
        ...


class Store(History, Protocol):
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

    async def watch(self, entries: Sequence[Entry], now: float, before: Written | None = None) -> int:
        """Makes ``entries`` the watchlist, but for what was added at runtime, which stays unless one has its name.

        Returns the revision that the watchlist is at then. ``before`` is what was written last, as far as the caller
        knows: if nobody has changed anything since, only what is not the very same object in it is looked at.

        An entry never stored is stored as unknown, first seen ``now``; so is one under a known name that means another
        task (`Entry.same_task`): what was known is lost. A stored task that is no longer among the entries is marked
        as unwatched, and keeps what is known of it.
        """
        ...

    async def add(self, entries: Sequence[Entry], now: float) -> Added:
        """Adds ``entries`` to the watchlist, all or none; those with a ``ttl`` leave it so long after ``now``.

        What is watched already as the same task takes over how it is to be watched; a file's task stays as it is. What
        was taken off earlier goes on where it was. WatchlistError when a name means another task that is watched.
        """
        ...

    async def remove(self, name: str, now: float) -> bool:
        """Takes a task off the watchlist that was added at runtime; False: it was off already.

        NoSuchTaskError for a name that was never stored, WatchlistError for a task that stands in a file.
        """
        ...

    async def rearm(self, name: str, now: float) -> None:
        """Lets a task that is missing or expired be watched anew, as never seen before.

        NoSuchTaskError for one that is not watched, WatchlistError for one in another state.
        """
        ...

    async def expire(self, now: float) -> int:
        """Takes off the watchlist whose ``ttl`` is over; how many that were."""
        ...

    async def tasks(
        self,
        since: int = 0,
        partitions: Collection[int] | None = None,
        known: Written | None = None,
        after: str | None = None,
    ) -> "Roll":
        """The tasks whose place on the watchlist changed after the revision ``since``, those taken off included.

        With 0: all that are watched. Only those in ``partitions``, if they are given; with ``after`` some of them, by
        name, from behind that name on. An entry that is as ``known`` was written is that one itself, for there may be
        very many.
        """
        ...

    async def page(self, after: str, limit: int) -> Sequence[Stored]:
        """At most ``limit`` of the tasks that are watched, sorted by name, from behind the name ``after`` on."""
        ...

    async def task(self, name: str) -> Stored | None:
        """The task of that name, if it is watched."""
        ...

    async def commit(self, batch: Batch) -> Collection[int]:
        """Writes the batch in one transaction. A transition whose id is already stored is not stored again.

        Of partitions that someone else has taken since the batch's epochs nothing is written; gives these back.
        """
        ...

    async def runs(self, families: Collection[str]) -> Mapping[str, Sequence[Run]]:
        """The finished runs of each of ``families`` that has any, oldest first, the newest `MOST_RUNS` at most."""
        ...

    async def untold(self, partitions: Collection[int] | None = None) -> Sequence[Transition]:
        """The transitions that were committed and not marked as told, oldest first; all, or those in ``partitions``."""
        ...

    async def prune(self, before: float) -> int:
        """Forgets told transitions, events of sinks, finished runs, and tasks not watched, from before ``before``.

        Gives back how many rows that were. What is still watched keeps its state, however old.
        """
        ...


class Sink(Protocol):
    """Where events go. ``batch`` is how many one attempt may deliver, ``parallel`` how many attempts go on at once."""

    @property
    def batch(self) -> int: ...

    @property
    def parallel(self) -> int: ...

    async def deliver(self, transitions: Sequence[Transition]) -> Answer:
        """One attempt at delivering ``transitions``, all or none. Never raises on account of the receiver."""
        ...


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a sink has not got: how many events wait, and since when, epoch seconds, the oldest; how many are dead."""

    waiting: int = 0
    oldest_at: float | None = None
    dead: int = 0


@dataclass(frozen=True, slots=True)
class SinkRecord:
    """How a sink does: besides its backlog, how many events it got, and what went wrong last, and when.

    ``failing_since``: since when some of those that wait could not be delivered. ``configured``: the config has it.
    """

    name: str
    kind: str | None
    configured: bool
    delivered: int
    backlog: Backlog
    last_error: str | None = None
    last_error_at: float | None = None
    failing_since: float | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A transition that was given up after ``attempts`` at delivering it, ``dead_at`` epoch seconds, for ``error``."""

    transition: Transition
    attempts: int
    dead_at: float
    error: str | None


@dataclass(frozen=True, slots=True)
class DeadPage:
    """Some dead letters, newest first, and where the next page starts; None at the end."""

    letters: Sequence[DeadLetter]
    next_cursor: str | None


class Outbox(Protocol):
    """The events that are to go to sinks, durable; `Store.commit` puts them in. Every method may raise StoreError."""

    async def due(
        self, sink: str, now: float, limit: int, partitions: Collection[int] | None = None
    ) -> Sequence[Delivery]:
        """Events for ``sink`` whose turn it is, those that are due for longest first: of each task only the oldest.

        Only those in ``partitions``, if they are given.
        """
        ...

    async def settle(self, receipts: Sequence[Receipt], epochs: Mapping[int, int] | None = None) -> None:
        """Notes what became of events, in one transaction; while one fails, those of its task wait as long as it.

        What belongs to partitions that someone else has taken since ``epochs`` is not noted.
        """
        ...

    async def give_up(
        self, sink: str, before: float, now: float, error: str, epochs: Mapping[int, int] | None = None
    ) -> int:
        """Makes dead letters of events for ``sink`` that wait since before ``before``; how many."""
        ...

    async def backlogs(self, partitions: Collection[int] | None = None) -> Mapping[str, Backlog]:
        """What every sink has not got that lacks something; in ``partitions``, if they are given."""
        ...

    async def records(self) -> Mapping[str, SinkRecord]:
        """How every sink does that was ever to get something."""
        ...

    async def dead(self, sink: str, limit: int = 100, cursor: str | None = None) -> DeadPage:
        """The dead letters of ``sink``, newest first. ValueError for a cursor that this store did not give out."""
        ...

    async def redeliver(self, sink: str, ids: Sequence[str] | None, now: float) -> int:
        """Lets events of ``sink`` wait anew: those of ``ids`` that do not wait, or all dead letters. How many."""
        ...


class SinkDesk(Protocol):
    """What people ask of the sinks. Every method may raise StoreError; NoSuchSinkError for an unknown name."""

    async def records(self) -> Sequence[SinkRecord]:
        """How each sink does, by name: those of the config, and those for which something is kept."""
        ...

    async def dead(self, sink: str, limit: int, cursor: str | None) -> DeadPage:
        """The dead letters of a sink; see `Outbox.dead`."""
        ...

    async def redeliver(self, sink: str, ids: Sequence[str] | None) -> int:
        """Delivers events of a sink of the config once more; see `Outbox.redeliver`."""
        ...


class Mailroom(Protocol):
    """Who gets which transition, and who is told that there is something to deliver. Quick, and never raises."""

    def addressed(self, transitions: Sequence[Transition]) -> Mapping[str, Sequence[str]]:
        """The names of the sinks that are to get each transition, by its id; without those that nobody gets."""
        ...

    def committed(self, addressed: Mapping[str, Sequence[str]]) -> None:
        """These are in the outbox now."""
        ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """A provider's refusal that a replica met with: all pause for ``seconds`` more. ``by``: that replica."""

    reason: Outcome
    seconds: float
    by: str


@dataclass(frozen=True, slots=True)
class Look:
    """What a replica sees of the others, and of what they share.

    ``alive`` are the replicas alive, itself among them, ``dead`` those whose time is over. ``held`` is how many
    partitions it holds itself, ``free`` how many nobody holds, ``revision`` that of the watchlist. ``refusals`` are in
    force, by provider.
    """

    alive: Sequence[str]
    dead: Sequence[str]
    held: int
    free: int
    revision: int
    refusals: Mapping[str, Refusal]


@dataclass(frozen=True, slots=True)
class Member:
    """A replica that is alive, how many ``partitions`` it holds, and for how many ``seconds`` it has been one.

    ``is_here``: it is this process.
    """

    name: str
    partitions: int
    seconds: float
    is_here: bool = False


class Cluster(Protocol):
    """The replicas on one store, and what they share: who lives, who holds what, who may ask. By the store's clock.

    Every method may raise StoreError, and then may have been done or not.
    """

    async def join(self, replica: str, seconds: float) -> None:
        """``replica``, a name never used before, lives for so many seconds, unless it is heard of again.

        Who does not know whether it has joined may do so again.
        """
        ...

    async def look(self, replica: str, seconds: float | None = None) -> Look | None:
        """What ``replica`` sees; None when it has been declared dead and holds nothing any more.

        With ``seconds`` it lives for that much longer.
        """
        ...

    async def members(self) -> Sequence[Member]:
        """The replicas alive, the oldest first. One query: for people, not for every look."""
        ...

    async def bury(self, dead: str) -> bool:
        """Declares a replica dead if its time is over; whether it was this call that did."""
        ...

    async def held(self, replica: str) -> Mapping[int, int]:
        """The partitions that ``replica`` holds, with the epoch of each."""
        ...

    async def take(self, replica: str, count: int) -> Mapping[int, int]:
        """Takes up to ``count`` free partitions; those taken, with the epoch of each. Nothing for one declared dead."""
        ...

    async def release(self, replica: str, epochs: Mapping[int, int]) -> None:
        """Lets go of partitions, as far as ``replica`` holds them and each is in its epoch still."""
        ...

    async def leave(self, replica: str) -> None:
        """``replica`` lives no more, and what it holds is free."""
        ...

    async def pause(self, provider: str, refusal: Refusal) -> None:
        """Tells everybody of a refusal."""
        ...

    async def resume(self, provider: str) -> None:
        """Takes back what was told of a refusal: the provider has answered."""
        ...

    async def probe(self, provider: str, replica: str, seconds: float) -> bool:
        """Whether ``replica`` may send a poll that nobody else may send, for so many seconds at most."""
        ...

    async def probed(self, provider: str, replica: str) -> None:
        """Lets others send such a poll."""
        ...


class Tenure(Protocol):
    """What this replica holds, and whether it may believe so."""

    @property
    def epochs(self) -> Mapping[int, int] | None:
        """The partitions held, with the epoch of each; None where there is nobody to share with."""
        ...

    def is_certain(self) -> bool:
        """Whether nobody else can hold what is held here: only then it is told and shown."""
        ...


class Replicas(Protocol):
    """Who else works on the store, for people."""

    @property
    def count(self) -> int:
        """How many replicas are alive, this one included."""
        ...

    async def members(self) -> Sequence[Member]:
        """The replicas alive, the oldest first; none where there can be only one. StoreError."""
        ...


class Neighbours(Protocol):
    """The other replicas, as a connection must heed them."""

    @property
    def count(self) -> int:
        """How many replicas are alive, this one included: each has its share of every rate."""
        ...

    def may_poll(self) -> bool:
        """Whether polls may go out: not while it is in doubt what is held, unless the store cannot be asked."""
        ...

    async def may_probe(self, provider: str, seconds: float) -> bool:
        """Whether a poll may go out that must be alone, for so many seconds at most; `probed` ends that."""
        ...

    def probed(self, provider: str) -> None:
        """A poll that had to be alone has come back."""
        ...

    def refused(self, provider: str, reason: Outcome, seconds: float) -> None:
        """The provider refused: all are to pause for so long."""
        ...

    def answered(self, provider: str) -> None:
        """The provider answers again."""
        ...


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

    def submit(self, step: Step, finished: FinishedRun | None = None, at_once: bool = True) -> None:
        """Takes over what changed, and the run if one has ended by that.

        Without ``at_once``, what is neither told nor ends a run may wait a second.
        """
        ...

    def flush(self, pulses: Sequence[Pulse]) -> None:
        """Takes over what ticked."""
        ...

    async def durable(self) -> None:
        """Waits until everything taken over so far would outlive the process.

        StoreError if some of it belongs to another replica by now.
        """
        ...

    @property
    def works(self) -> bool:
        """Whether the last thing that was to be kept could be."""
        ...


class Emitter(Protocol):
    """One receiver of what happened, told after the commit. Quick, and never raises."""

    def transition(self, transition: Transition) -> None:
        """A task changed its state. May be told again with the same ``transition_id`` after a crash."""
        ...

    def flag(self, change: FlagChange) -> None:
        """A flag rose or cleared."""
        ...


class PollCounts(Protocol):
    """How many polls there were."""

    def polls_of(self, provider: str) -> Mapping[Outcome, int]:
        """The polls of a provider since the start, by what came of them."""
        ...

    @property
    def polls(self) -> int:
        """All polls since the start."""
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
    def expected(self) -> ExpectedEnd | None:
        """When its run will probably end, as of its last poll; None where nothing is known, or nothing awaited."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """How this replica stands: ``partitions`` held, ``replicas`` alive, itself included, and how the store does.

    ``failovers`` are the dead replicas whose partitions it declared free, ``fenced`` the commits of which something
    was dropped because its partition had been lost. ``waiting`` changes are not committed, ``strange`` tasks are not
    polled because the config does not know how.
    """

    partitions: int
    replicas: int
    failovers: int
    fenced: int
    store_up: bool
    waiting: int
    strange: int


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
    def share_of_rate(self) -> float:
        """Polls per second that are configured, or this replica's share of them."""
        ...

    @property
    def slots(self) -> int:
        """Polls that may be under way at once."""
        ...

    @property
    def paused(self) -> str | None:
        """The refusal (throttled, unauthorized) on whose account no polls, or one at a time, go out; else None."""
        ...

    @property
    def phase(self) -> Phase:
        """How many polls it lets out: all, one at a time, or none."""
        ...

    @property
    def paused_until(self) -> float | None:
        """When the pause is over during which no polls go out, epoch seconds; else None."""
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


class Census(Protocol):
    """Every task of the watchlist, whichever replica polls it: what pages and the API read."""

    def slices(self, after: str = "") -> AsyncIterator[Sequence[WatchedTask]]:
        """Every task to be shown, sorted by name, from behind the name ``after`` on, some at a time. StoreError.

        Finished ones are left out when their retention is over.
        """
        ...

    async def find(self, name: str) -> WatchedTask | None:
        """The task of that name, however long ago it ended. StoreError."""
        ...


class Watching(Protocol):
    """What this replica watches right now: what metrics read."""

    def tasks(self) -> Sequence[WatchedTask]:
        """Every task to be shown, sorted by name; finished ones are left out when their retention is over."""
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
