"""A store of made-up transitions, a watchlist that forgets, and the app around them."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import CapturingLogger
from structlog.typing import FilteringBoundLogger

from poller.config.settings import Settings
from poller.config.watchlist import AddedReader, EntryReader
from poller.config.wording import Mistake
from poller.domain.errors import NoSuchSinkError, NoSuchTaskError, PollerError, StoreError, WatchlistError
from poller.domain.events import EVERYTHING, Sought, Transition
from poller.domain.observation import Outcome
from poller.domain.place import Place
from poller.domain.state import State
from poller.domain.task import Entry
from poller.protocols import (
    Added,
    Backlog,
    DeadLetter,
    DeadPage,
    Member,
    News,
    SinkRecord,
    TransitionPage,
    WatchedTask,
)
from poller.web.api import Api
from poller.web.control import Control
from poller.web.eventstream import EventStreams
from poller.web.feed import Feed
from poller.web.login import Login
from poller.web.page import StatusPage
from poller.web.pictures import Pictures
from poller.web.selection import in_turns
from poller.web.server import RenderMetrics, build_app
from poller.web.shapes import StartedJson
from poller.web.sinks import SinkApi
from tests.emit.fakes import NOW, FakeWatched, FakeWatching

Client = TestClient[web.Request, web.Application]


def moved(task: str, number: int, target: State = State.SUCCEEDED) -> Transition:
    return Transition(f"{task}-{number}", number, task, "jobs", "job", State.RUNNING, target, NOW + number, 1)


@dataclass
class FakeHistory:
    """Cursors are how many were given out already. ``hidden`` numbers are not committed yet."""

    kept: list[Transition] = field(default_factory=list)
    broken: bool = False
    hidden: set[int] = field(default_factory=set)
    asked: int = 0

    async def transitions(
        self,
        name: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        ends: bool = False,
        sought: Sought = EVERYTHING,
    ) -> TransitionPage:
        self._check()
        found = [each for each in reversed(self.kept) if name in {None, each.task} and (each.terminal or not ends)]
        found = [each for each in found if sought.matches(each)]
        start = int(cursor or 0)
        end = start + limit
        return TransitionPage(found[start:end], str(end) if end < len(found) else None)

    async def latest(self) -> Place:
        return self._seen(Place(), self._visible())

    async def knows(self, place: Place) -> bool:
        self._check()
        return place.last <= len(self.kept)

    async def news(self, place: Place, limit: int) -> News:
        self.asked += 1
        self._check()
        found = [(number, each) for number, each in self._visible() if number not in place]
        return News(found[:limit], self._seen(place, found[:limit]), len(found) <= limit)

    def _visible(self) -> list[tuple[int, Transition]]:
        self._check()
        return [(number, each) for number, each in enumerate(self.kept, 1) if number not in self.hidden]

    def _seen(self, place: Place, found: list[tuple[int, Transition]]) -> Place:
        for number, each in found:
            place = place.seen(number, each.transition_id)
        return place

    def _check(self) -> None:
        if self.broken:
            raise StoreError("poller.db: disk I/O error; see that the disk is well")


@dataclass
class FakeCensus:
    """Everything is watched here."""

    watching: FakeWatching

    def slices(self, after: str = "") -> AsyncIterator[Sequence[WatchedTask]]:
        return in_turns([each for each in self.watching.tasks() if each.task.entry.name > after])

    async def find(self, name: str) -> FakeWatched | None:
        return self.watching.find(name)


@dataclass
class FakeReplicas:
    """Those that are told."""

    alive: list[Member] = field(default_factory=list)
    broken: bool = False

    @property
    def count(self) -> int:
        return max(1, len(self.alive))

    async def members(self) -> Sequence[Member]:
        if self.broken:
            raise StoreError("the store does not answer")
        return self.alive


@dataclass
class FakeCounts:
    """Polls by provider."""

    counted: dict[str, dict[Outcome, int]] = field(default_factory=dict)

    def polls_of(self, provider: str) -> Mapping[Outcome, int]:
        return self.counted.get(provider, {})

    @property
    def polls(self) -> int:
        return sum(sum(each.values()) for each in self.counted.values())


@dataclass
class FakeDesk:
    """Sinks with their dead letters; cursors are how many were given out already."""

    letters: dict[str, list[DeadLetter]] = field(default_factory=dict)
    asked: list[tuple[str, Sequence[str] | None]] = field(default_factory=list)
    broken: bool = False

    async def records(self) -> Sequence[SinkRecord]:
        if self.broken:
            raise StoreError("poller.db: disk I/O error; see that the disk is well")
        return [
            SinkRecord(name, "webhook", True, 7, Backlog(2, NOW, len(dead)), "HTTP 500", NOW + 1, NOW)
            for name, dead in self.letters.items()
        ]

    async def dead(self, sink: str, limit: int, cursor: str | None) -> DeadPage:
        if cursor == "nonsense":
            raise ValueError("a next_cursor of an earlier page is allowed")
        start = int(cursor or 0)
        dead, end = self._of(sink), start + limit
        return DeadPage(dead[start:end], str(end) if end < len(dead) else None)

    async def redeliver(self, sink: str, ids: Sequence[str] | None) -> int:
        dead = self._of(sink)
        self.asked.append((sink, ids))
        return len(dead) if ids is None else sum(each.transition.transition_id in ids for each in dead)

    def _of(self, sink: str) -> list[DeadLetter]:
        if sink not in self.letters:
            raise NoSuchSinkError(sink)
        return self.letters[sink]


SETTINGS = Settings.model_validate({"providers": {"jobs": {"kind": "http", "params": {"zone": "z"}}}})


def no_operation(entry: Entry) -> Iterable[Mistake]:
    """What the jobs API knows."""
    if entry.operation != "job":
        yield Mistake(("operation",), f"'{entry.operation}', job is allowed")
    if "job_id" not in entry.params:
        yield Mistake(("params", "job_id"), "missing, operation job requires it")


@dataclass
class FakeWatchlist:
    """Tasks by name, in memory; those of ``files`` are not to be removed, those that ``ended`` can be rearmed."""

    entries: dict[str, Entry] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    files: dict[str, str] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    broken: bool = False

    async def add(self, tasks: Iterable[tuple[int, object]]) -> Added:
        self._check_store()
        reading = AddedReader(EntryReader(SETTINGS), tasks, no_operation)
        while reading.read_some():
            await asyncio.sleep(0)
        entries = reading.entries()
        others = [name for name, entry in entries.items() if self._is_other(entry)]
        if others:
            raise WatchlistError(f"{others[0]}: another task has this name; remove it first", others)
        old = {name: self.entries[name] for name in entries if name in self.entries}
        self.entries |= entries
        changed = sum(entries[name] != entry for name, entry in old.items())
        return Added(len(entries) - len(old), changed, len(old) - changed)

    async def remove(self, name: str) -> bool:
        self._check_store()
        if name in self.files:
            text = f"{name}: it stands in {self.files[name]}; take it away there"
            raise WatchlistError(text, [name])
        if name in self.removed:
            return False
        self._check_known(name)
        del self.entries[name]
        self.removed.add(name)
        return True

    async def rearm(self, name: str) -> None:
        self._check_store()
        self._check_known(name)
        if name not in self.ended:
            raise WatchlistError(f"{name}: it is running, a task that is missing or expired can be rearmed", [name])
        self.ended.discard(name)

    def _is_other(self, entry: Entry) -> bool:
        known = self.entries.get(entry.name)
        return known is not None and not known.same_task(entry.provider, entry.operation, entry.params)

    def _check_known(self, name: str) -> None:
        if name not in self.entries:
            raise NoSuchTaskError(name)

    def _check_store(self) -> None:
        if self.broken:
            raise StoreError("the store does not answer")


class FakeClock:
    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return 0.0


def render_metrics(accept: str) -> tuple[str, Iterator[bytes]]:
    return "text/plain; version=0.0.4", iter((b"# for ", b"", f"{accept}\n".encode()))


def started_job(already_running: bool = False) -> StartedJson:
    return {
        "task": "n",
        "run": "7",
        "already_running": already_running,
        "watched_run": 1,
        "request_id": None,
        "message": "n: run 7 was started",
    }


@dataclass
class World:
    """What the app is built from, and what it logged."""

    watching: FakeWatching = field(default_factory=FakeWatching)
    store: FakeHistory = field(default_factory=FakeHistory)
    replicas: FakeReplicas = field(default_factory=FakeReplicas)
    counts: FakeCounts = field(default_factory=FakeCounts)
    watchlist: FakeWatchlist | None = field(default_factory=FakeWatchlist)
    desk: FakeDesk = field(default_factory=FakeDesk)
    render: RenderMetrics = render_metrics
    log: CapturingLogger = field(default_factory=CapturingLogger)
    token: str | None = None
    mistake: PollerError | None = None
    reloads: int = 0
    started: list[str] = field(default_factory=list)
    start_answer: PollerError | StartedJson = field(default_factory=started_job)
    login: Login | None = None
    prefix: str = "/"
    streams: EventStreams = field(default_factory=EventStreams)

    def __post_init__(self) -> None:
        self.feed = Feed(self.store)

    def app(self) -> web.Application:
        logger: FilteringBoundLogger = structlog.wrap_logger(
            self.log, processors=[], wrapper_class=structlog.make_filtering_bound_logger("info")
        )
        control = Control(self.reload, lambda: self.token, self.start, self.watchlist)
        census = FakeCensus(self.watching)
        prefix = self.prefix.rstrip("/")
        pictures = Pictures(census, self.watching, self.store, self.replicas, self.counts, FakeClock())
        page = StatusPage(pictures, prefix)
        api = Api(census, self.watching, self.store, self.feed, self.streams, prefix)
        served = [*control.endpoints(prefix), *api.endpoints(), *SinkApi(self.desk, control.guarded).endpoints()]
        app = build_app(self.watching, page, served, self.render, logger, self.login, self.prefix)
        app.on_shutdown.append(self.streams.close)
        return app

    async def start(self, name: str) -> StartedJson:
        self.started.append(name)
        if isinstance(self.start_answer, PollerError):
            raise self.start_answer
        return self.start_answer

    async def reload(self) -> None:
        if self.mistake is not None:
            raise self.mistake
        self.reloads += 1

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        async with TestClient(TestServer(self.app(), host="127.0.0.1"), auto_decompress=False) as client:
            yield client
