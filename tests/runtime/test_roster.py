"""The roster: what is watched is what the store says, in the partitions that are held, and nothing else."""

import asyncio
from collections.abc import Callable, Collection, Sequence

import pytest

from poller.domain.errors import StoreError
from poller.domain.events import Transition
from poller.domain.lifecycle import advance, begin
from poller.domain.observation import Outcome
from poller.domain.shares import PARTITIONS, partition_of
from poller.domain.task import Entry, Status
from poller.protocols import Refusal, Roll, Stored, Written
from poller.runtime.forecasts import Forecasts
from poller.runtime.roster import Roster
from tests.runtime.doubles import (
    RUNNING,
    START,
    SUCCEEDED,
    House,
    MemoryStore,
    ScriptedProvider,
    always,
    build_house,
    clock,
    entry,
    saved,
)

pytestmark = pytest.mark.looptime


class ListStore(MemoryStore):
    """A store with a watchlist. Reading takes ``seconds``; ``meanwhile`` is called once when it is half read.

    Asked little by little, it tells ``at_a_time`` tasks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, tuple[int, Stored]] = {}
        self.revision = 0
        self.seconds = 0.0
        self.meanwhile: Callable[[], object] = lambda: None
        self.unreadable = False
        self.at_a_time = 1_000

    def put(self, *entries: Entry, watched: bool = True, status: Status | None = None) -> None:
        """Changes the watchlist."""
        self.revision += 1
        for each in entries:
            known = saved(each, status or begin(each, START).status)
            self.rows[each.name] = self.revision, Stored(each, known, watched)

    async def tasks(
        self,
        since: int = 0,
        partitions: Collection[int] | None = None,
        known: Written | None = None,
        after: str | None = None,
    ) -> Roll:
        del known
        if self.unreadable:
            raise StoreError("cannot be reached")
        revision = self.revision
        found = [
            row
            for changed, row in self.rows.values()
            if (changed > since if since else row.watched)
            and (partitions is None or partition_of(row.entry.name) in partitions)
        ]
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        await asyncio.sleep(self.seconds)
        if after is None:
            return Roll(revision, found)
        page = sorted((row for row in found if row.entry.name > after), key=lambda row: row.entry.name)
        told = page[: self.at_a_time]
        return Roll(revision, told, told[-1].entry.name if len(told) < len(page) else None)

    async def untold(self, partitions: Collection[int] | None = None) -> Sequence[Transition]:
        return [each for each in await super().untold() if partitions is None or partition_of(each.task) in partitions]


class Room:
    """A roster and everything around it."""

    def __init__(self, *entries: Entry) -> None:
        self.store = ListStore()
        self.store.put(*entries)
        self.provider = ScriptedProvider(always(RUNNING))
        self.known = {"one"}
        self.house: House = build_house({"one": self.provider}, [], self.store)
        self.house.scheduler.loaded = False
        self.roster = Roster(
            store=self.store,
            scheduler=self.house.scheduler,
            committer=self.house.committer,
            forecasts=Forecasts(),
            clock=clock(),
            pollable=lambda entry: entry.provider in self.known,
            logger=self.house.committer._logger,
        )

    def watched(self) -> list[str]:
        return sorted(watch.task.entry.name for watch in self.house.scheduler.everything())

    async def hold(self, *names: str) -> None:
        """Holds the partitions of these tasks, and reads them."""
        self.roster.hold([partition_of(name) for name in names])
        await self.roster.catch_up()


async def test_what_is_held_is_watched() -> None:
    """As soon as it is read, and nothing else."""
    room = Room(entry("a"), entry("b"), entry("c"))
    await room.hold("a", "b")
    assert room.watched() == ["a", "b"]
    await room.hold("c")
    assert room.watched() == ["a", "b", "c"]


async def test_all_there_is_can_be_held() -> None:
    """From the start, by the only one."""
    room = Room(entry("a"), entry("b"))
    room.roster.hold(range(PARTITIONS))
    await room.roster.catch_up()
    assert room.watched() == ["a", "b"]
    assert room.house.scheduler.loaded


async def test_the_first_tasks_are_polled_while_others_are_read() -> None:
    """It is loaded when all are watched."""
    room = Room(entry("a"), entry("b"), entry("c"))
    room.store.at_a_time, room.store.seconds = 1, 5.0
    polling = asyncio.create_task(room.house.scheduler.run())
    room.roster.hold(range(PARTITIONS))
    reading = asyncio.create_task(room.roster.catch_up())
    await asyncio.sleep(12)
    assert room.watched() == ["a", "b"]
    assert {name for _, name in room.provider.polls} == {"a", "b"}
    assert not room.house.scheduler.loaded
    await reading
    assert room.watched() == ["a", "b", "c"]
    assert room.house.scheduler.loaded
    polling.cancel()


async def test_what_is_lost_when_half_is_watched_is_watched_no_more() -> None:
    """Nor what is read of it afterwards; held again, it is read again from the beginning."""
    room = Room(*(entry(f"t{number}") for number in range(20)))
    lost = partition_of("t3")
    others = sorted(f"t{number}" for number in range(20) if partition_of(f"t{number}") != lost)
    room.store.at_a_time, room.store.seconds = 1, 1.0
    room.roster.hold(range(PARTITIONS))
    reading = asyncio.create_task(room.roster.catch_up())
    await asyncio.sleep(10)
    room.roster.drop([lost])
    await reading
    assert room.watched() == others
    room.roster.hold([lost])
    await room.roster.catch_up()
    assert room.watched() == sorted(f"t{number}" for number in range(20))


async def test_what_nobody_told_is_told_once_though_reading_breaks_off() -> None:
    """It is not marked as told yet when the rest is read anew."""
    room = Room(entry("a"), entry("b"))
    steps = [advance(begin(entry(name), START), SUCCEEDED, START) for name in "ab"]
    room.store.stored = [step.transition for step in steps if step.transition]
    room.store.at_a_time, room.store.seconds = 1, 1.0
    running = asyncio.create_task(room.roster.run())
    room.roster.hold(range(PARTITIONS))
    await asyncio.sleep(1.5)
    assert [each.task for each in room.house.listener.transitions] == ["a"]
    room.store.unreadable = True
    await asyncio.sleep(5)
    room.store.unreadable = False
    await asyncio.sleep(9)
    assert [each.task for each in room.house.listener.transitions] == ["a", "b"]
    running.cancel()


async def test_who_holds_nothing_is_ready_all_the_same() -> None:
    """The others have it."""
    room = Room(entry("a"))
    await room.roster.catch_up()
    assert room.watched() == []
    assert room.house.scheduler.loaded


async def test_changes_of_the_watchlist_are_followed_where_it_is_held() -> None:
    """Added, changed, taken off; begun anew when it means another task."""
    room = Room(entry("a"), entry("b"), entry("c"))
    await room.hold("a", "b")
    room.store.put(entry("a", max=7.0), entry("c", max=7.0))
    room.store.put(entry("b"), watched=False)
    running = asyncio.create_task(room.roster.run())
    room.roster.follow(room.store.revision)
    await asyncio.sleep(0.1)
    assert room.watched() == ["a"]
    (watch,) = room.house.scheduler.everything()
    assert watch.task.entry.policy.max == 7.0
    running.cancel()


async def test_what_changes_while_everything_is_read_is_not_missed() -> None:
    """Though its revision is heard of before the reading ends."""
    room = Room(entry("a"))

    def change() -> None:
        room.store.put(entry("b"))
        room.roster.follow(room.store.revision)

    room.store.meanwhile = change
    room.roster.hold(range(PARTITIONS))
    await room.roster.catch_up()
    assert room.watched() == ["a", "b"]


@pytest.mark.parametrize("held", [range(PARTITIONS), [partition_of("a"), partition_of("b")]])
async def test_what_is_lost_while_it_is_read_is_not_watched(held: Collection[int]) -> None:
    """Whether it was lost or handed over, and whether some was being read or everything."""
    room = Room(entry("a"), entry("b"))
    room.store.meanwhile = lambda: room.roster.drop([partition_of("a")])
    room.roster.hold(held)
    await room.roster.catch_up()
    assert room.watched() == ["b"]


async def test_what_is_lost_and_held_again_while_it_is_read_is_read_again() -> None:
    """Somebody else may have had it in between: what was read first is not what is known now."""
    room = Room(entry("a"))

    def lose_and_regain() -> None:
        room.roster.drop([partition_of("a")])
        step = advance(begin(entry("a"), START), SUCCEEDED, START + 5)
        room.store.put(entry("a"), status=step.task.status)
        room.roster.hold([partition_of("a")])

    room.store.meanwhile = lose_and_regain
    await room.hold("a")
    await room.roster.catch_up()
    (watch,) = room.house.scheduler.everything()
    assert watch.task.over


async def test_what_is_being_handed_over_is_not_watched_again() -> None:
    """Though the watchlist changes just then."""
    room = Room(entry("a"), entry("b"))
    await room.hold("a", "b")
    handing_over = asyncio.create_task(room.roster.hand_over([partition_of("a")]))
    await asyncio.sleep(0)
    room.store.put(entry("a", max=7.0), entry("b", max=7.0))
    await room.roster.catch_up()
    assert room.watched() == ["b"]
    await handing_over


async def test_handing_over_makes_durable_what_is_known() -> None:
    """What ended just before is stored, told, and marked as told."""
    room = Room(entry("a"))
    await room.hold("a")
    committing = asyncio.create_task(room.house.committer.run())
    (watch,) = room.house.scheduler.everything()
    room.house.scheduler.observed(watch, SUCCEEDED, 0.1, 0.0)
    await room.roster.hand_over([partition_of("a")])
    assert [each.transition_id for each in room.store.stored] == list(room.store.told)
    assert room.watched() == []
    room.house.committer.stop()
    await committing


async def test_handing_over_does_not_wait_for_a_store_in_trouble() -> None:
    """A few seconds at most."""
    room = Room(entry("a"))
    await room.hold("a")
    room.store.failing = True
    committing = asyncio.create_task(room.house.committer.run())
    (watch,) = room.house.scheduler.everything()
    room.house.scheduler.observed(watch, SUCCEEDED, 0.1, 0.0)
    await asyncio.wait_for(room.roster.hand_over([partition_of("a")]), 3)
    room.house.committer.stop()
    await committing


async def test_what_nobody_told_is_told_by_who_takes_over() -> None:
    """Of the partitions held now, and not of others."""
    room = Room(entry("a"), entry("b"))
    steps = [advance(begin(entry(name), START), SUCCEEDED, START) for name in "ab"]
    room.store.stored = [step.transition for step in steps if step.transition]
    await room.hold("a")
    assert [each.task for each in room.house.listener.transitions] == ["a"]


async def test_what_nobody_told_is_told_though_its_task_is_watched_no_more() -> None:
    """It was taken off the watchlist before anybody could tell that it had ended."""
    room = Room(entry("a"))
    room.store.put(entry("gone"), watched=False)
    step = advance(begin(entry("gone"), START), SUCCEEDED, START)
    room.store.stored = [step.transition] if step.transition else []
    room.roster.hold(range(PARTITIONS))
    await room.roster.catch_up()
    assert [each.task for each in room.house.listener.transitions] == ["gone"]


async def test_what_cannot_be_read_is_read_later() -> None:
    """Again and again."""
    room = Room(entry("a"))
    room.store.unreadable = True
    running = asyncio.create_task(room.roster.run())
    room.roster.hold([partition_of("a")])
    await asyncio.sleep(10)
    assert room.watched() == []
    room.store.unreadable = False
    await asyncio.sleep(3)
    assert room.watched() == ["a"]
    running.cancel()


async def test_what_the_config_does_not_know_waits_for_one_that_does() -> None:
    """It is counted, told once, and forgotten with its partition."""
    room = Room(entry("a"), entry("b", "other"), entry("c", "other"))
    await room.hold("a", "b", "c")
    assert room.watched() == ["a"]
    assert room.roster.strange == 2
    room.roster.drop([partition_of("c")])
    assert room.roster.strange == 1
    room.known = set()
    room.roster.reconsider()
    assert room.watched() == []
    assert room.roster.strange == 2
    room.known = {"one"}
    room.roster.reconsider()
    assert room.watched() == ["a"]
    told = [line["event"] for line in room.house.logs.entries]
    assert told.count("watchlist.not_pollable") == 3


async def test_connections_heed_what_the_others_tell() -> None:
    """Each its own; not one of which the others do not know yet what is known here."""
    room = Room()
    (lane,) = room.house.scheduler.connections()
    whole = lane.rate
    room.roster.heed(4, {"one": Refusal(Outcome.THROTTLED, 60.0, "two")}, {"one"})
    assert lane.paused is None
    assert lane.rate == whole / 4
    room.roster.heed(4, {"one": Refusal(Outcome.UNAUTHORIZED, 60.0, "two")}, ())
    assert lane.paused is None  # It has its own credentials to try.
    room.roster.heed(1, {"one": Refusal(Outcome.THROTTLED, 60.0, "two")}, ())
    assert lane.paused == "throttled"
