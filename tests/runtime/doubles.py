"""A provider that answers by script and a store in memory, on the loop's virtual clock."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog
from structlog.typing import FilteringBoundLogger

from poller.config.watchlist import diff
from poller.domain.circuit import Pauses
from poller.domain.errors import StoreError
from poller.domain.events import EVERYTHING, FlagChange, Sought, Transition
from poller.domain.family import Run
from poller.domain.forecast import MOST_RUNS
from poller.domain.observation import Observation, Outcome
from poller.domain.place import Place
from poller.domain.starting import Job
from poller.domain.state import State
from poller.domain.task import Contact, Entry, Policy, Status
from poller.protocols import (
    Added,
    Batch,
    Emitter,
    FinishedRun,
    Mailroom,
    News,
    Roll,
    Saved,
    Stored,
    Tenure,
    TransitionPage,
    Written,
)
from poller.runtime.clock import LoopClock
from poller.runtime.committer import Committer
from poller.runtime.failing import FailingPolls
from poller.runtime.forecasts import Forecasts
from poller.runtime.lane import Lane, Reporter
from poller.runtime.limits import Limits
from poller.runtime.membership import SOLE
from poller.runtime.scheduler import Scheduler

START = 1_800_000_000.0
"""Epoch seconds at which the loop's virtual clock stands at 0."""

RUNNING = Observation(Outcome.ANSWERED, State.RUNNING, raw_status="running")
SUCCEEDED = Observation(Outcome.ANSWERED, State.SUCCEEDED, raw_status="success")
UNREACHABLE = Observation(Outcome.UNREACHABLE, message="HTTP 503")
REJECTED = Observation(Outcome.REJECTED, message="HTTP 403")
THROTTLED = Observation(Outcome.THROTTLED, message="HTTP 429")
UNAUTHORIZED = Observation(Outcome.UNAUTHORIZED, message="HTTP 401")

Answer = Observation | tuple[float, Observation]
"""What a poll brings, at once or after so many seconds."""
Script = Callable[[Entry, int], Answer]
"""The answer to the n-th poll (from 1) of an entry."""


def clock() -> LoopClock:
    """A clock whose wall time goes with the loop's virtual time."""
    return LoopClock(lambda: START + asyncio.get_running_loop().time())


def entry(name: str, provider: str = "one", follow: bool = False, **policy: float) -> Entry:
    """An entry of the watchlist; keywords set its schedule."""
    given = {"jitter": 0.0, **policy}
    return Entry(name, provider, "job", {"id": name}, policy=replace(Policy(), **given), follow=follow)  # type: ignore[arg-type]


def always(answer: Answer) -> Script:
    """The same answer to every poll."""
    return lambda _entry, _count: answer


@dataclass
class ScriptedProvider:
    """Answers by script; remembers (loop time, name) of every poll and how many were under way at once."""

    script: Script
    credentials_version: int = 0
    fresh_version: int = 0
    polls: list[tuple[float, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    most_in_flight: int = 0
    closed: bool = False
    startable: Job | None = None
    lists: list[Answer] = field(default_factory=list)
    starts: list[Answer] = field(default_factory=list)
    asked: list[tuple[float, str]] = field(default_factory=list)

    async def poll(self, entry: Entry, said: int | None = None) -> Observation:
        del said
        self.polls.append((asyncio.get_running_loop().time(), entry.name))
        self.counts[entry.name] += 1
        await self.renew_credentials()
        version = self.credentials_version
        answer = self.script(entry, self.counts[entry.name])
        delay, seen = answer if isinstance(answer, tuple) else (0.0, answer)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(delay)
        finally:
            self.in_flight -= 1
        return replace(seen, credentials_version=version) if seen.outcome is Outcome.UNAUTHORIZED else seen

    def family(self, entry: Entry) -> str:
        return entry.family or f"{entry.provider}/{entry.operation}"

    def job(self, entry: Entry) -> Job | None:
        return self.startable

    async def list_runs(self, entry: Entry) -> Observation:
        return await self._told("list", self.lists)

    async def start_run(self, entry: Entry) -> Observation:
        return await self._told("start", self.starts)

    async def _told(self, what: str, answers: list[Answer]) -> Observation:
        """The next of ``answers``; the last one again and again."""
        self.asked.append((asyncio.get_running_loop().time(), what))
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        delay, seen = answer if isinstance(answer, tuple) else (0.0, answer)
        await asyncio.sleep(delay)
        return seen

    async def renew_credentials(self, refused: int | None = None) -> None:
        self.credentials_version = self.fresh_version

    async def close(self) -> None:
        self.closed = True

    def times(self, name: str | None = None) -> list[float]:
        """When polls went out, of one task or of all."""
        return [at for at, polled in self.polls if name in (None, polled)]


@dataclass
class MemoryStore:
    """A store that keeps everything in memory and fails when told to."""

    saved: dict[str, Saved] = field(default_factory=dict)
    stored: list[Transition] = field(default_factory=list)
    told: set[str] = field(default_factory=set)
    batches: list[Batch] = field(default_factory=list)
    failing: bool = False
    finished: dict[str, FinishedRun] = field(default_factory=dict)

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def watch(self, entries: Sequence[Entry], now: float, before: Written | None = None) -> int:
        return 1

    async def add(self, entries: Sequence[Entry], now: float) -> Added:
        return Added(len(entries))

    async def remove(self, name: str, now: float) -> bool:
        return False

    async def rearm(self, name: str, now: float) -> None: ...

    async def expire(self, now: float) -> int:
        return 0

    async def tasks(
        self,
        since: int = 0,
        partitions: Collection[int] | None = None,
        known: Written | None = None,
        after: str | None = None,
    ) -> Roll:
        del known, after
        return Roll(since, ())

    async def page(self, after: str, limit: int) -> Sequence[Stored]:
        return ()

    async def task(self, name: str) -> Stored | None:
        return None

    async def commit(self, batch: Batch) -> Collection[int]:
        if self.failing:
            raise StoreError("the disk is full")
        self.batches.append(batch)
        known = {t.transition_id for t in self.stored}
        self.stored += [c.transition for c in batch.changes if c.transition and c.transition.transition_id not in known]
        self.told.update(batch.told)
        self.finished = {run.transition_id: run for run in batch.runs} | self.finished
        return ()

    async def runs(self, families: Collection[str]) -> Mapping[str, Sequence[Run]]:
        ended = sorted(self.finished.values(), key=lambda it: (it.ended_at, it.transition_id))
        found = {family: [it.run for it in ended if it.family == family][-MOST_RUNS:] for family in families}
        return {family: runs for family, runs in found.items() if runs}

    async def prune(self, before: float) -> int:
        kept = {key: run for key, run in self.finished.items() if run.ended_at >= before}
        forgotten, self.finished = len(self.finished) - len(kept), kept
        return forgotten

    async def untold(self, partitions: Collection[int] | None = None) -> Sequence[Transition]:
        return [t for t in self.stored if t.transition_id not in self.told]

    async def transitions(
        self,
        name: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        ends: bool = False,
        sought: Sought = EVERYTHING,
    ) -> TransitionPage:
        return TransitionPage([t for t in reversed(self.stored) if name in (None, t.task)][:limit], None)

    async def latest(self) -> Place:
        return Place(len(self.stored), "00000000")

    async def knows(self, place: Place) -> bool:
        return place.last <= len(self.stored)

    async def news(self, place: Place, limit: int) -> News:
        found = list(enumerate(self.stored, 1))[place.last :][:limit]
        behind = Place(place.last + len(found), "00000000")
        return News(found, behind, behind.last == len(self.stored))


@dataclass
class Listener:
    """An emitter and a poll observer that remember what they were told."""

    transitions: list[Transition] = field(default_factory=list)
    flags: list[FlagChange] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    lags: list[float] = field(default_factory=list)

    def transition(self, transition: Transition) -> None:
        self.transitions.append(transition)

    def flag(self, change: FlagChange) -> None:
        self.flags.append(change)

    def polled(self, entry: Entry, seen: Observation, duration: float, lag: float) -> None:
        self.outcomes[seen.outcome] += 1
        self.lags.append(lag)


class Desk:
    """A committer with a store that can fail, and a listener that sees what was stored when it is told."""

    def __init__(self, store: MemoryStore, tenure: Tenure = SOLE) -> None:
        self.listener, self.logs = Listener(), structlog.testing.LogCapture()
        logger = structlog.wrap_logger(
            None, processors=[self.logs], wrapper_class=structlog.make_filtering_bound_logger(0)
        )
        self.committer = Committer(store, [self.listener], clock(), logger, tenure)

    async def run(self, seconds: float) -> None:
        """Commits for so long on the virtual clock, then stops as a daemon does."""
        committing = asyncio.create_task(self.committer.run())
        await asyncio.sleep(seconds)
        self.committer.stop()
        await committing

    def events(self) -> list[str]:
        """What was logged."""
        return [line["event"] for line in self.logs.entries]


@dataclass
class House:
    """A scheduler with everything around it."""

    store: MemoryStore
    listener: Listener
    committer: Committer
    scheduler: Scheduler
    logs: structlog.testing.LogCapture


def saved(entry: Entry, status: Status, contact: Contact | None = None, next_poll_at: float | None = None) -> Saved:
    """What a store holds of an entry."""
    return Saved(
        entry.name, entry.provider, entry.operation, entry.params, status, contact or Contact(), START, next_poll_at
    )


def build_lane(
    name: str,
    provider: ScriptedProvider,
    reporter: Reporter,
    logger: FilteringBoundLogger | None = None,
    held: Callable[[], bool] = lambda: False,
    **options: float,
) -> Lane:
    """A lane without pacing unless a rate is given."""
    pauses = {key: value for key, value in options.items() if key in Pauses.__dataclass_fields__}
    return Lane(
        name,
        provider,
        Limits(
            options.get("rate", 10_000.0),
            int(options.get("max_in_flight", 32)),
            options.get("timeout", 10.0),
            Pauses(**pauses),
        ),
        clock=clock(),
        reporter=reporter,
        logger=logger or structlog.get_logger(),
        held=held,
    )


def build_house(
    providers: Mapping[str, ScriptedProvider],
    entries: Iterable[Entry],
    store: MemoryStore | None = None,
    emitters: Sequence[Emitter] = (),
    draw: Callable[[], float] = lambda: 0.5,
    forecasts: Forecasts | None = None,
    mailroom: Mailroom | None = None,
    **options: float,
) -> House:
    """A scheduler that polls ``entries`` at ``providers``; ``options`` are those of every lane."""
    store, listener, logs = store or MemoryStore(), Listener(), structlog.testing.LogCapture()
    logger = structlog.wrap_logger(None, processors=[logs], wrapper_class=structlog.make_filtering_bound_logger(0))
    committer = Committer(store, [listener, *emitters], clock(), logger, mailroom=mailroom)
    scheduler = Scheduler(
        committer=committer,
        observer=listener,
        clock=clock(),
        draw=draw,
        retention=lambda _state: 3600.0,
        forecasts=forecasts or Forecasts(),
        failing=FailingPolls(clock(), logger),
    )
    held = committer.is_full
    lanes = [build_lane(name, provider, scheduler, logger, held, **options) for name, provider in providers.items()]
    watchlist = {entry.name: entry for entry in entries}
    scheduler.apply(watchlist, diff({}, watchlist), store.saved, clock().now(), lanes)
    scheduler.loaded = True
    return House(store, listener, committer, scheduler, logs)


async def run_house(house: House, seconds: float) -> None:
    """Lets the house run for so long on the virtual clock, then stops it as a daemon does."""
    committing = asyncio.create_task(house.committer.run())
    polling = asyncio.create_task(house.scheduler.run())
    await asyncio.sleep(seconds)
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)
    house.scheduler.flush()
    house.committer.stop()
    await committing
