"""Delivering to sinks: in order for each task, nothing lost, and nobody held up by a sink in trouble."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from poller.domain.delivery import LONGEST_PAUSE, Answer, Delivery, Filter, Receipt
from poller.domain.errors import NoSuchSinkError, StoreError
from poller.domain.events import Transition
from poller.domain.lifecycle import advance, begin
from poller.domain.shares import partition_of
from poller.domain.state import State
from poller.protocols import Backlog, Batch, DeadLetter, DeadPage, SinkRecord, Tenure
from poller.runtime.committer import Committer
from poller.runtime.couriers import LOOK_EVERY, PAGE, Couriers, Desk, Office
from poller.runtime.membership import SOLE
from poller.runtime.trouble import Trouble
from tests.runtime.doubles import (
    RUNNING,
    START,
    SUCCEEDED,
    MemoryStore,
    ScriptedProvider,
    build_house,
    clock,
    entry,
    run_house,
)

pytestmark = pytest.mark.looptime

TAKEN = Answer()
FAILED = Answer("HTTP 500")
DAY = 86_400.0


def moved(task: str, number: int = 1) -> Transition:
    """The n-th transition of a task."""
    return Transition(
        f"{task}-{number}", number, task, "jobs", "job", State.PENDING, State.RUNNING, START + number / 100, 1
    )


@dataclass
class Row:
    """An event in the outbox."""

    delivery: Delivery
    due_at: float
    state: str = "waiting"
    error: str | None = None


@dataclass
class MemoryOutbox:
    """An outbox in memory that keeps the contract, and fails when told to."""

    rows: list[Row] = field(default_factory=list)
    failing: bool = False
    writes: int = 0
    pages: list[int] = field(default_factory=list)

    def put(self, sink: str, *transitions: Transition, at: float = START) -> None:
        for each in transitions:
            self.rows.append(Row(Delivery(len(self.rows) + 1, sink, each), at))

    def ids(self, sink: str, state: str) -> list[str]:
        return [
            row.delivery.transition.transition_id
            for row in self.rows
            if (row.delivery.sink, row.state) == (sink, state)
        ]

    def _check(self) -> None:
        if self.failing:
            raise StoreError("the disk is full")

    async def due(
        self, sink: str, now: float, limit: int, partitions: Collection[int] | None = None
    ) -> Sequence[Delivery]:
        self._check()
        await asyncio.sleep(0.001)
        heads: dict[str, Row] = {}
        for row in self.rows:
            if row.state == "waiting" and row.delivery.sink == sink:
                heads.setdefault(row.delivery.transition.task, row)
        due = [
            row
            for task, row in heads.items()
            if row.due_at <= now and (partitions is None or partition_of(task) in partitions)
        ]
        page = [row.delivery for row in sorted(due, key=lambda row: row.due_at)[:limit]]
        self.pages.append(len(page))
        return page

    async def settle(self, receipts: Sequence[Receipt], epochs: Mapping[int, int] | None = None) -> None:
        self._check()
        await asyncio.sleep(0.001)
        self.writes += bool(receipts)
        for each in receipts:
            row = self.rows[each.delivery.seq - 1]
            row.state = {"delivered": "delivered", "dead": "dead", "failed": "waiting"}[each.outcome]
            row.error = each.error
            if each.retry_at is not None:
                held_since = each.at if row.delivery.held_since is None else row.delivery.held_since
                row.delivery = replace(row.delivery, attempts=row.delivery.attempts + 1, held_since=held_since)
                self._hold_back(row, each.retry_at, each.at)

    def _hold_back(self, first: Row, due_at: float, now: float) -> None:
        for row in self.rows[first.delivery.seq - 1 :]:
            same = row.delivery.transition.task == first.delivery.transition.task
            if same and row.delivery.sink == first.delivery.sink and row.state == "waiting":
                row.due_at = due_at
                since = now if row.delivery.held_since is None else row.delivery.held_since
                row.delivery = replace(row.delivery, held_since=since)

    async def give_up(
        self, sink: str, before: float, now: float, error: str, epochs: Mapping[int, int] | None = None
    ) -> int:
        self._check()
        old = [
            row
            for row in self.rows
            if row.state == "waiting" and row.delivery.sink == sink and row.delivery.transition.at < before
        ]
        for row in old:
            row.state, row.error = "dead", error
        return len(old)

    async def backlogs(self, partitions: Collection[int] | None = None) -> Mapping[str, Backlog]:
        self._check()
        waiting = Counter(row.delivery.sink for row in self.rows if row.state == "waiting")
        return {sink: Backlog(count, START) for sink, count in waiting.items()}

    async def records(self) -> Mapping[str, SinkRecord]:
        return {row.delivery.sink: SinkRecord(row.delivery.sink, None, False, 0, Backlog()) for row in self.rows}

    async def dead(self, sink: str, limit: int = 100, cursor: str | None = None) -> DeadPage:
        dead = [row for row in self.rows if (row.delivery.sink, row.state) == (sink, "dead")]
        return DeadPage([DeadLetter(row.delivery.transition, 1, START, row.error) for row in dead], None)

    async def redeliver(self, sink: str, ids: Sequence[str] | None, now: float) -> int:
        dead = [row for row in self.rows if (row.delivery.sink, row.state) == (sink, "dead")]
        for row in dead:
            row.state, row.due_at = "waiting", now
            row.delivery = replace(row.delivery, attempts=0, held_since=None)
        return len(dead)


class MailedStore(MemoryStore):
    """A store that puts into the outbox what is addressed."""

    def __init__(self, outbox: MemoryOutbox) -> None:
        super().__init__()
        self._outbox = outbox

    async def commit(self, batch: Batch) -> Collection[int]:
        lost = await super().commit(batch)
        for change in batch.changes:
            if change.transition is not None:
                for sink in batch.addressed.get(change.transition.transition_id, ()):
                    self._outbox.put(sink, change.transition)
        return lost


Answers = Callable[[Transition, int], Answer]
"""What comes of the n-th attempt (from 1) at delivering a transition."""


@dataclass
class ScriptedSink:
    """Takes what the script lets it; remembers (loop time, id) of each attempt, in order."""

    script: Answers = lambda _transition, _attempt: TAKEN
    seconds: float = 0.01
    batch: int = 1
    parallel: int = 4
    hangs: set[str] = field(default_factory=set)
    attempts: list[tuple[float, str]] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    async def deliver(self, transitions: Sequence[Transition]) -> Answer:
        loop = asyncio.get_running_loop()
        ids = [each.transition_id for each in transitions]
        self.attempts += [(loop.time(), each) for each in ids]
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(1e9 if self.hangs.intersection(ids) else self.seconds)
        finally:
            self.in_flight -= 1
        tried = Counter(each for _, each in self.attempts)
        answer = self.script(transitions[0], tried[ids[0]])
        if answer.error is None:
            self.taken += ids
        return answer

    def times(self, transition_id: str) -> list[float]:
        return [at for at, each in self.attempts if each == transition_id]


class World:
    """Couriers with an outbox in memory, and what the log says."""

    def __init__(self, tenure: Tenure = SOLE) -> None:
        self.outbox = MemoryOutbox()
        self.logs = LogCapture()
        logger = structlog.wrap_logger(
            None, processors=[self.logs], wrapper_class=structlog.make_filtering_bound_logger(0)
        )
        self.trouble = Trouble(logger)
        self.couriers = Couriers(Office(self.outbox, tenure, clock(), lambda: 0.5, logger, self.trouble))

    @asynccontextmanager
    async def at_work(self, patience: float = DAY, **sinks: ScriptedSink) -> AsyncIterator[None]:
        """Delivers meanwhile, and settles at the end as a daemon does that stops."""
        self.couriers.address(dict.fromkeys(sinks, Filter()))
        for name, sink in sinks.items():
            self.couriers.employ(name, sink, patience)
        running = asyncio.create_task(self.couriers.run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await self.couriers.finish()

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [dict(line) for line in self.logs.entries if line["event"] == event]

    def events(self) -> list[str]:
        return [line["event"] for line in self.logs.entries]


def script(**by_task: Answers | Answer) -> Answers:
    """Answers by task; everything else is taken."""

    def answer(transition: Transition, attempt: int) -> Answer:
        found = by_task.get(transition.task, TAKEN)
        return found if isinstance(found, Answer) else found(transition, attempt)

    return answer


async def test_everything_is_delivered_in_order_for_each_task() -> None:
    """Several at once, but of one task one after the other; what is known of it is written for many at a time."""
    world, sink = World(), ScriptedSink()
    world.outbox.put("ops", *[moved(f"t{task}", number) for number in range(1, 4) for task in range(50)])
    async with world.at_work(ops=sink):
        await asyncio.sleep(20)
    assert len(sink.taken) == len(set(sink.taken)) == 150
    for task in range(50):
        assert [each for each in sink.taken if each.startswith(f"t{task}-")] == [f"t{task}-{n}" for n in (1, 2, 3)]
    assert sink.most_in_flight == 4
    assert world.outbox.writes <= 15
    assert world.events() == []


async def test_what_is_committed_is_delivered_at_once() -> None:
    """Whoever commits wakes the courier; it does not wait for its next look."""
    world, sink = World(), ScriptedSink()
    async with world.at_work(ops=sink):
        await asyncio.sleep(10.5 * LOOK_EVERY)
        now = asyncio.get_running_loop().time()
        world.outbox.put("ops", moved("a"))
        world.couriers.committed({"a-1": ["ops", "gone"]})
        await asyncio.sleep(5)
    (at,) = sink.times("a-1")
    assert at - now < 0.1


async def test_a_failing_event_holds_back_only_its_task() -> None:
    """It is tried again, at growing distances, until it is taken; those behind it follow."""
    world = World()
    sink = ScriptedSink(script(bad=lambda transition, attempt: FAILED if attempt < 5 else TAKEN))
    world.outbox.put("ops", *[moved(task, number) for number in (1, 2, 3) for task in ("bad", "good")])
    async with world.at_work(ops=sink):
        await asyncio.sleep(5)
        assert sink.taken == ["good-1", "good-2", "good-3"]
        await asyncio.sleep(60)
    assert sink.taken[3:] == ["bad-1", "bad-2", "bad-3"]
    times = sink.times("bad-1")
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert [round(wait) for wait in waits] == pytest.approx([1, 2, 4, 8], abs=LOOK_EVERY)


async def test_trouble_is_told_when_it_begins_changes_and_ends() -> None:
    """Not at every attempt; the log says how long it took."""
    world = World()
    answers = [FAILED, FAILED, Answer("no answer within 10 s"), FAILED, TAKEN]
    sink = ScriptedSink(lambda _, attempt: answers[attempt - 1])
    world.outbox.put("ops", moved("a"))
    async with world.at_work(ops=sink):
        await asyncio.sleep(60)
    assert world.events() == ["sink.failing", "sink.failing", "sink.recovered"]
    assert [line["error"] for line in world.logged("sink.failing")] == ["HTTP 500", "no answer within 10 s"]
    (ended,) = world.logged("sink.recovered")
    assert ended["failed_seconds"] == pytest.approx(sink.attempts[-1][0] - sink.attempts[0][0], abs=0.1)
    assert world.couriers.counts["ops"] == {"failed": 4, "delivered": 1}


async def test_a_sink_that_never_answers_holds_up_no_other() -> None:
    """Each has a courier, a page and attempts of its own."""
    world, dead, well = World(), ScriptedSink(seconds=1e9), ScriptedSink()
    events = [moved(f"t{number}") for number in range(1_000)]
    world.outbox.put("dead", *events)
    world.outbox.put("well", *events)
    async with world.at_work(dead=dead, well=well):
        await asyncio.sleep(60)
    assert len(well.taken) == 1_000
    assert dead.taken == []
    assert dead.most_in_flight == 4


async def test_a_sink_that_never_answers_holds_up_no_poll_and_no_commit() -> None:
    """As many polls and commits as without it, at the same moments."""
    polls, commits = [], []
    cases: tuple[dict[str, Any], ...] = ({}, {"dead": ScriptedSink(seconds=1e9)})
    for sinks in cases:
        world, provider = World(), ScriptedProvider(lambda _, count: RUNNING if count < 20 else SUCCEEDED)
        entries = [entry(f"t{number}", max=5.0) for number in range(30)]
        house = build_house({"one": provider}, entries, MailedStore(world.outbox), mailroom=world.couriers)
        begun = asyncio.get_running_loop().time()
        async with world.at_work(**sinks):
            await run_house(house, 120)
        polls.append([(round(at - begun, 3), name) for at, name in provider.polls])
        commits.append(len(house.store.stored))
        assert len(world.outbox.rows) == (60 if sinks else 0)
    assert polls[0] == polls[1]
    assert commits == [60, 60]


async def test_a_hanging_event_holds_up_no_other_task() -> None:
    """It has one of the attempts under way; the others go on with everything else."""
    world, sink = World(), ScriptedSink(hangs={"slow-1"})
    world.outbox.put("ops", moved("slow"), moved("slow", 2), *[moved(f"t{number}") for number in range(500)])
    async with world.at_work(ops=sink):
        await asyncio.sleep(60)
    assert len(sink.taken) == 500
    assert sink.times("slow-1") == [sink.attempts[0][0]], "it is not sent twice while it is under way"


async def test_memory_is_bounded_whatever_waits() -> None:
    """A page, and what is under way."""
    world, sink = World(), ScriptedSink(seconds=1e9)
    world.outbox.put("ops", *[moved(f"t{number}") for number in range(5_000)])
    async with world.at_work(ops=sink):
        await asyncio.sleep(60)
    assert max(world.outbox.pages) <= PAGE + sink.parallel


async def test_a_wish_to_be_left_alone_is_heeded_for_the_whole_sink() -> None:
    """HTTP 429 with Retry-After: nothing is sent before, and then everything."""
    world = World()
    busy = Answer("HTTP 429 Too Many Requests", 120.0, whole=True)
    sink = ScriptedSink(lambda _, attempt: busy if len(sink.attempts) < 3 else TAKEN, parallel=1)
    world.outbox.put("ops", *[moved(f"t{number}") for number in range(10)])
    async with world.at_work(ops=sink):
        await asyncio.sleep(300)
    assert len(sink.taken) == 10
    times = [at for at, _ in sink.attempts]
    assert all(at >= times[0] + 120 for at in times[1:])


async def test_a_sink_that_takes_nothing_is_asked_once_in_a_while() -> None:
    """However many events wait; when it is well again, they go at once."""
    world = World()
    is_well = False
    sink = ScriptedSink(lambda *_: TAKEN if is_well else FAILED)
    world.outbox.put("ops", *[moved(f"t{number}") for number in range(1_000)])
    async with world.at_work(ops=sink):
        await asyncio.sleep(3_600)
        assert len(sink.attempts) < 30 + 3_600 / (0.9 * LONGEST_PAUSE)
        is_well = True
        await asyncio.sleep(60)
        assert len(sink.taken) > 950
        await asyncio.sleep(300)
    assert len(sink.taken) == 1_000
    assert world.events() == ["sink.failing", "sink.recovered"]


async def test_what_fails_for_too_long_becomes_a_dead_letter_and_the_rest_goes_on() -> None:
    """After a day; it can be delivered again, and nothing is forgotten."""
    world = World()
    is_mended = False
    sink = ScriptedSink(script(bad=lambda transition, _: TAKEN if is_mended or transition.ordinal > 1 else FAILED))
    world.outbox.put("ops", moved("bad"), moved("bad", 2))
    desk = Desk(world.outbox, clock(), lambda: {"ops": "webhook"}, world.couriers.wake)
    async with world.at_work(ops=sink, patience=3_600.0):
        await asyncio.sleep(3_500)
        assert world.outbox.ids("ops", "dead") == []
        await asyncio.sleep(500)
        assert world.outbox.ids("ops", "dead") == ["bad-1"]
        assert sink.taken == ["bad-2"]
        is_mended = True
        assert await desk.redeliver("ops", None) == 1
        await asyncio.sleep(1)
    assert sink.taken == ["bad-2", "bad-1"]
    (line,) = world.logged("sink.dead_letter")
    assert (line["sink"], line["transition_id"], line["task"], line["error"]) == ("ops", "bad-1", "bad", "HTTP 500")
    assert world.couriers.counts["ops"]["dead"] == 1


async def test_at_a_sink_that_takes_nothing_everything_is_given_up_in_time() -> None:
    """Also what was never tried; told in one line, and what is younger waits on."""
    world, sink = World(), ScriptedSink(lambda *_: FAILED)
    world.outbox.put("ops", *[moved(f"t{number}") for number in range(2_000)])
    async with world.at_work(ops=sink, patience=3_600.0):
        await asyncio.sleep(3_000)
        world.outbox.put("ops", replace(moved("young"), at=START + 3_000))
        await asyncio.sleep(1_000)
        assert len(world.outbox.ids("ops", "dead")) == 2_000
        assert world.outbox.ids("ops", "waiting") == ["young-1"]
        await asyncio.sleep(3_600)
        assert world.outbox.ids("ops", "waiting") == []
    assert sum(line.get("events", 1) for line in world.logged("sink.dead_letter")) == 2_001
    assert len(world.logged("sink.dead_letter")) <= 12


async def test_a_receiver_that_is_gone_gets_each_event_once() -> None:
    """HTTP 410: a dead letter at once, and the next of its task is tried."""
    world, sink = World(), ScriptedSink(lambda *_: Answer("HTTP 410 Gone", final=True))
    world.outbox.put("ops", moved("a"), moved("a", 2))
    async with world.at_work(ops=sink):
        await asyncio.sleep(60)
    assert [each for _, each in sink.attempts] == ["a-1", "a-2"]
    assert world.outbox.ids("ops", "dead") == ["a-1", "a-2"]


async def test_a_file_gets_many_events_at_once_or_none() -> None:
    """One attempt for as many as it takes; a full disk is looked at once in a while."""
    world = World()
    full = Answer("events.jsonl: No space left on device", whole=True)
    sink = ScriptedSink(lambda *_: full if len(sink.attempts) < 400 else TAKEN, batch=100, parallel=1)
    world.outbox.put("audit", *[moved(f"t{number}") for number in range(250)])
    async with world.at_work(audit=sink):
        await asyncio.sleep(120)
    assert sorted(sink.taken) == sorted(moved(f"t{number}").transition_id for number in range(250))
    assert len({at for at, _ in sink.attempts}) <= 10
    assert world.events() == ["sink.failing", "sink.recovered"]
    assert world.couriers.counts["audit"]["delivered"] == 250


async def test_while_the_store_is_in_trouble_nothing_is_forgotten_and_little_sent() -> None:
    """What was delivered is noted when it can be, and is not sent again meanwhile."""
    world, sink = World(), ScriptedSink()
    world.outbox.put("ops", *[moved(f"t{number}") for number in range(1_000)])
    async with world.at_work(ops=sink):
        await asyncio.sleep(0.1)
        world.outbox.failing = True
        await asyncio.sleep(120)
        assert len(sink.attempts) <= 120
        assert world.trouble
        world.outbox.failing = False
        await asyncio.sleep(60)
    assert len(sink.taken) == len(set(sink.taken)) == 1_000
    assert not world.trouble
    assert world.events() == ["store.failing", "store.recovered"]


class Shared:
    """A tenure that changes when the test says so."""

    def __init__(self, *tasks: str) -> None:
        self.certain = True
        self.epochs: dict[int, int] = {partition_of(task): 1 for task in tasks}

    def is_certain(self) -> bool:
        return self.certain


async def test_a_replica_delivers_what_it_holds_and_nothing_while_in_doubt() -> None:
    """What others hold is theirs; what was fetched and is lost since is not sent."""
    held = Shared("mine", "lost")
    world, sink = World(held), ScriptedSink(seconds=5.0, parallel=1)
    world.outbox.put("ops", moved("mine"), moved("lost"), moved("others"))
    async with world.at_work(ops=sink):
        await asyncio.sleep(2)
        del held.epochs[partition_of("lost")]
        await asyncio.sleep(30)
        assert sink.taken == ["mine-1"]
        held.certain = False
        world.outbox.put("ops", moved("mine", 2))
        world.couriers.wake("ops")
        await asyncio.sleep(60)
        assert sink.taken == ["mine-1"]
        held.certain = True
        await asyncio.sleep(30)
        assert sink.taken == ["mine-1", "mine-2"]
        held.epochs[partition_of("others")] = 7
        await asyncio.sleep(30)
    assert sink.taken == ["mine-1", "mine-2", "others-1"]


async def test_a_sink_is_changed_added_and_taken_away_while_others_go_on() -> None:
    """What is outstanding of one that is taken away is kept, and goes to the next of its name."""
    world, old, new, other = World(), ScriptedSink(hangs={"a-1"}), ScriptedSink(), ScriptedSink()
    world.outbox.put("ops", moved("a"), moved("b"))
    async with world.at_work(ops=old, other=other):
        await asyncio.sleep(5)
        await world.couriers.dismiss(["ops"])
        world.outbox.put("ops", moved("c"))
        await asyncio.sleep(30)
        assert old.taken == ["b-1"]
        world.couriers.employ("ops", new, DAY)
        await asyncio.sleep(5)
        assert new.taken == ["a-1", "c-1"]
        world.outbox.put("other", moved("d"))
        await asyncio.sleep(5)
    assert other.taken == ["d-1"]
    assert old.in_flight == 0


async def test_what_was_delivered_before_the_end_is_not_delivered_again() -> None:
    """A daemon that stops notes it; what is under way is dropped, and comes again."""
    world, sink = World(), ScriptedSink(hangs={"slow-1"})
    world.outbox.put("ops", moved("a"), moved("slow"))
    async with world.at_work(ops=sink):
        await asyncio.sleep(0.05)
    assert world.outbox.ids("ops", "delivered") == ["a-1"]
    assert world.outbox.ids("ops", "waiting") == ["slow-1"]


async def test_who_gets_a_transition_is_decided_by_the_filters_when_it_is_committed() -> None:
    """The committer asks at each commit and tells afterwards; without sinks there is nothing to ask."""
    world, store = World(), MemoryStore()
    logger = structlog.get_logger()
    committer = Committer(store, [], clock(), logger, SOLE, world.trouble, world.couriers)
    committing = asyncio.create_task(committer.run())
    step = advance(begin(entry("a"), START), RUNNING, START)
    committer.submit(step)
    await asyncio.sleep(1)
    assert store.batches[0].addressed == {}
    world.couriers.address({"all": Filter(), "ends": Filter(states={State.SUCCEEDED})})
    follow = advance(step.task, SUCCEEDED, START + 1)
    committer.submit(follow)
    committer.submit(advance(begin(entry("b"), START), RUNNING, START))
    await asyncio.sleep(1)
    committer.stop()
    await committing
    addressed = {
        change.transition.task: batch.addressed.get(change.transition.transition_id)
        for batch in store.batches[1:]
        for change in batch.changes
        if change.transition
    }
    assert addressed == {"a": ["all", "ends"], "b": ["all"]}


async def test_how_much_waits_is_counted_only_while_there_are_sinks() -> None:
    """For metrics, and again and again."""
    world, sink = World(), ScriptedSink(seconds=1e9)
    world.outbox.put("ops", moved("a"))
    async with world.at_work():
        await asyncio.sleep(20)
        assert world.couriers.backlogs == {}
        world.couriers.address({"ops": Filter()})
        world.couriers.employ("ops", sink, DAY)
        await asyncio.sleep(20)
        assert world.couriers.backlogs == {"ops": Backlog(1, START)}
        world.outbox.failing = True
        await asyncio.sleep(20)
    assert world.couriers.backlogs == {"ops": Backlog(1, START)}


async def test_people_are_told_of_sinks_that_are_and_of_those_that_were() -> None:
    """With their kind; what is unknown is refused, and so is redelivering to one that is no longer there."""
    outbox = MemoryOutbox()
    outbox.put("was", moved("a"))
    desk = Desk(outbox, clock(), lambda: {"is": "file"}, lambda _: None)
    told = [(record.name, record.kind, record.configured) for record in await desk.records()]
    assert told == [("is", "file", True), ("was", None, False)]
    assert (await desk.dead("was", 10, None)).letters == []
    with pytest.raises(NoSuchSinkError, match="nope"):
        await desk.dead("nope", 10, None)
    with pytest.raises(NoSuchSinkError, match="was"):
        await desk.redeliver("was", None)


async def test_a_fault_of_pollers_own_is_one_failed_attempt() -> None:
    """It is logged with its traceback, and neither ends the daemon nor holds up other tasks; the event comes again."""

    def break_once(_transition: Transition, attempt: int) -> Answer:
        if attempt == 1:
            raise RuntimeError("oh")
        return TAKEN

    world, sink = World(), ScriptedSink(script(broken=break_once))
    world.outbox.put("ops", moved("broken"), moved("well"))
    async with world.at_work(ops=sink):
        await asyncio.sleep(30)
    assert sorted(sink.taken) == ["broken-1", "well-1"]
    assert world.events().count("sink.broken") == 1
    (failing,) = world.logged("sink.failing")
    assert failing["error"] == "a fault in poller: RuntimeError"
