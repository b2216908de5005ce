"""The feed tells every reader every transition once, at the price of one look at the store for all of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import orjson
import pytest

from poller.domain.events import EVERYTHING, Sought
from poller.domain.place import Place
from poller.domain.state import State
from poller.web import feed as feeding
from poller.web.eventstream import HEARTBEAT_SECONDS, Event
from poller.web.feed import LOOK_SECONDS, Feed, Start
from tests.web.fakes import FakeHistory, moved

pytestmark = pytest.mark.looptime

ALL = EVERYTHING.matches


@asynccontextmanager
async def working(store: FakeHistory) -> AsyncIterator[Feed]:
    feed = Feed(store)
    running = asyncio.ensure_future(feed.run())
    yield feed
    running.cancel()


class Reader:
    """Remembers what it was told."""

    def __init__(self, feed: Feed, start: Start, wanted: Sought = EVERYTHING) -> None:
        self.events: list[Event] = []
        self._reading = asyncio.ensure_future(self._read(feed, start, wanted))

    async def _read(self, feed: Feed, start: Start, wanted: Sought) -> None:
        async with aclosing(feed.events(start, wanted.matches)) as events:
            async for event in events:
                self.events.append(event)

    @property
    def ids(self) -> list[str]:
        return [orjson.loads(each.data)["transition_id"] for each in self.events if each.name == "transition"]

    async def leave(self) -> str:
        """Leaves; the id of the last event."""
        self._reading.cancel()
        await asyncio.wait([self._reading])
        assert self.events[-1].id is not None
        return self.events[-1].id


async def reading(feed: Feed, last_id: str | None = None, wanted: Sought = EVERYTHING) -> Reader:
    reader = Reader(feed, await feed.start(last_id), wanted)
    await asyncio.sleep(0.01)
    return reader


async def test_a_commit_here_is_told_at_once_and_others_soon() -> None:
    """Each once, with an id of its own; what was there before is not told."""
    store = FakeHistory([moved("old", 1)])
    async with working(store) as feed:
        reader = await reading(feed)
        assert [(each.data, each.name) for each in reader.events] == [("", None)]
        store.kept.append(moved("a", 2))
        feed.transition(store.kept[-1])
        await asyncio.sleep(LOOK_SECONDS / 2)
        assert reader.ids == ["a-2"]
        store.kept.append(moved("b", 3))
        await asyncio.sleep(2 * LOOK_SECONDS)
        assert reader.ids == ["a-2", "b-3"]
        assert len({each.id for each in reader.events}) == 3
        await reader.leave()


async def test_a_hundred_readers_cost_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """And without any, nobody looks."""
    store = FakeHistory()
    async with working(store) as feed:
        await asyncio.sleep(60)
        assert store.asked == 0
        readers = [await reading(feed) for _ in range(100)]
        store.asked = 0
        await asyncio.sleep(10)
        assert store.asked <= 10 / LOOK_SECONDS + 1
        store.kept += [moved("a", number) for number in range(1, 11)]
        await asyncio.sleep(1)
        assert all(len(reader.ids) == 10 for reader in readers)
        for reader in readers:
            await reader.leave()
        store.asked = 0
        await asyncio.sleep(60)
        assert store.asked <= 1


async def test_who_comes_back_goes_on_where_it_was() -> None:
    """From any event's id, in this process and the next: nothing is missed, nothing comes twice."""
    store = FakeHistory()
    async with working(store) as feed:
        reader = await reading(feed)
        store.kept += [moved("a", number) for number in range(1, 6)]
        await asyncio.sleep(1)
        events = reader.events
        last = await reader.leave()
    store.kept += [moved("b", 6)]
    async with working(store) as feed:
        for number, event in enumerate(events):
            again = await reading(feed, event.id)
            assert again.ids == [each.transition_id for each in store.kept[number:]]
            await again.leave()
        again = await reading(feed, last)
        store.kept += [moved("c", 7)]
        await asyncio.sleep(1)
        assert again.ids == ["b-6", "c-7"]
        await again.leave()


async def test_what_commits_late_is_told_to_everybody_once() -> None:
    """Whether they came before or after what has a higher number, and wherever they go on."""
    store = FakeHistory([moved("a", 1), moved("late", 2), moved("b", 3)], hidden={2})
    async with working(store) as feed:
        early = await reading(feed, str(Place()))
        store.kept.append(moved("c", 4))
        await asyncio.sleep(1)
        later = await reading(feed, early.events[2].id)
        store.hidden.clear()
        store.kept.append(moved("d", 5))
        await asyncio.sleep(1)
        assert early.ids == ["a-1", "b-3", "c-4", "late-2", "d-5"]
        assert later.ids == ["c-4", "late-2", "d-5"]
        for reader in (early, later):
            await reader.leave()


async def test_who_lacks_more_than_the_others_is_told_it_all_the_same() -> None:
    """A gap that only one reader knows of is looked at for it, and the others are told nothing twice."""
    store = FakeHistory([moved("a", 1), moved("late", 2), moved("b", 3)], hidden={2})
    async with working(store) as feed:
        early = await reading(feed, str(Place()))
        await asyncio.sleep(1)
        feed._newest.place = Place().seen(1, "a-1").seen(2, "late-2").seen(3, "b-3")  # type: ignore[union-attr]
        lacking = await reading(feed, early.events[2].id)
        store.hidden.clear()
        await asyncio.sleep(1)
        assert (early.ids, lacking.ids) == (["a-1", "b-3", "late-2"], ["late-2"])
        for reader in (early, lacking):
            await reader.leave()


@pytest.mark.parametrize("last_id", ["nonsense", "", str(Place(999, "00000000"))])
async def test_who_comes_from_nowhere_is_told_that_something_may_be_lost(last_id: str) -> None:
    """By an event of its own, with an id to go on from; then what happens from now on."""
    store = FakeHistory([moved("old", 1)])
    async with working(store) as feed:
        reader = await reading(feed, last_id)
        (event,) = reader.events
        assert event.name == "reset"
        assert orjson.loads(event.data).keys() == {"reason", "resumed"}
        store.kept.append(moved("a", 2))
        await asyncio.sleep(1)
        assert reader.ids == ["a-2"]
        assert (await reading(feed, event.id)).ids == ["a-2"]
        await reader.leave()


async def test_an_outage_of_the_store_costs_time_and_nothing_else() -> None:
    """Neither a stream nor an event, of those who read already and those who are catching up."""
    store = FakeHistory()
    async with working(store) as feed:
        reader = await reading(feed)
        start = await feed.start(None)
        store.broken = True
        store.kept += [moved("a", 1)]
        late = Reader(feed, start)
        await asyncio.sleep(300)
        assert (reader.ids, late.ids) == ([], [])
        store.broken = False
        await asyncio.sleep(2)
        assert (reader.ids, late.ids) == (["a-1"], ["a-1"])
        for each in (reader, late):
            await each.leave()


async def test_a_first_reader_may_come_during_an_outage() -> None:
    """It had a place already; all that was committed since is told."""
    store = FakeHistory()
    async with working(store) as feed:
        start = await feed.start(None)
        store.broken = True
        store.kept += [moved("a", 1)]
        reader = Reader(feed, start)
        await asyncio.sleep(10)
        store.broken = False
        await asyncio.sleep(2)
        assert reader.ids == ["a-1"]
        await reader.leave()


async def test_a_reader_that_is_far_behind_goes_on_from_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept for it, and nothing is lost on it."""
    monkeypatch.setattr(feeding, "MOST_BEHIND", 20)
    monkeypatch.setattr(feeding, "AT_A_TIME", 5)
    store = FakeHistory()
    async with working(store) as feed:
        quick = await reading(feed)
        slow = aclosing(feed.events(await feed.start(None), ALL))
        async with slow as events:
            assert (await anext(events)).data == ""
            following = asyncio.ensure_future(anext(events))
            store.kept += [moved("a", number) for number in range(1, 101)]
            await asyncio.sleep(10)
            assert len(quick.ids) == 100
            told = [await following] + [await anext(events) for _ in range(99)]
        assert [orjson.loads(each.data)["transition_id"] for each in told] == quick.ids
        await quick.leave()


async def test_who_wants_little_gets_little_and_moves_on_all_the_same() -> None:
    """Its id follows what it did not want, so that it need not be kept until it comes back."""
    store = FakeHistory()
    async with working(store) as feed:
        reader = await reading(feed, wanted=Sought(states=frozenset({State.FAILED})))
        store.kept.append(moved("a", 1, State.FAILED))
        await asyncio.sleep(1)
        assert reader.ids == ["a-1"]
        store.kept.append(moved("b", 2))
        await asyncio.sleep(HEARTBEAT_SECONDS)
        store.kept.append(moved("c", 3))
        await asyncio.sleep(1)
        assert reader.ids == ["a-1"]
        again = await reading(feed, await reader.leave())
        assert again.ids == []
        await again.leave()
