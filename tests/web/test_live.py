"""Open pages are told what has changed, and only that; and looking costs what it must."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from multidict import MultiDict

from poller.domain.errors import StoreError
from poller.domain.observation import Outcome
from poller.domain.state import State
from poller.domain.task import Contact
from poller.protocols import Member
from poller.web.eventstream import Event
from poller.web.live import LOOK_ANYWAY, LOOK_EVERY, MOST_VIEWERS, Live
from poller.web.pictures import Picture, Pictures
from poller.web.rendering import Templates
from tests.emit.fakes import NOW, FakeWatched, watched
from tests.web.fakes import FakeCensus, World

pytestmark = pytest.mark.looptime


@dataclass
class MovingClock:
    """As the loop's."""

    def now(self) -> float:
        return NOW + self.monotonic()

    def monotonic(self) -> float:
        return anyio.current_time()


@dataclass
class Studio:
    """A list of tasks that changes, who looks at it, and how often that was."""

    world: World = field(default_factory=World)
    looks: int = 0
    cost: float = 0.0
    broken: str = ""

    def __post_init__(self) -> None:
        world = self.world
        census = FakeCensus(world.watching)
        parts = (census, world.watching, world.store, world.replicas, world.counts, MovingClock())
        self.pictures = Pictures(*parts)
        self.live = Live(Templates(), self.pictures.changes)

    async def look(self) -> Picture:
        self.looks += 1
        await anyio.sleep(self.cost)
        if self.broken:
            raise StoreError(self.broken)
        picture, _ = await self.pictures.tasks(MultiDict({"sort": "name"}))
        return picture

    def follow(self) -> AsyncGenerator[Event]:
        return self.live.follow("tasks", self.look, "")

    def polled(self, **tasks: FakeWatched | None) -> None:
        """A poll brought these: what there is of each task now, None if it is gone."""
        counted = self.world.counts.counted.setdefault("jobs", {Outcome.ANSWERED: 0})
        counted[Outcome.ANSWERED] += 1
        shown = {each.task.entry.name: each for each in self.world.watching.shown}
        shown |= {name: each for name, each in tasks.items() if each is not None}
        self.world.watching.shown = [each for name, each in shown.items() if tasks.get(name, each) is not None]


@pytest.fixture
def studio() -> Studio:
    return Studio()


@pytest.fixture
async def events(studio: Studio) -> AsyncIterator[AsyncGenerator[Event]]:
    studio.polled(a=watched("a", progress=10.0), b=watched("b", progress=20.0), c=watched("c", progress=30.0))
    async with aclosing(studio.follow()) as events:
        yield events


async def told(events: AsyncGenerator[Event]) -> dict[str, Any]:
    event = await anext(events)
    assert event.name == "page", event
    return dict(json.loads(event.data))


async def test_who_comes_is_told_everything(events: AsyncGenerator[Event]) -> None:
    """What happened since the page was made is among it."""
    message = await told(events)
    assert message["order"] == ["a", "b", "c"]
    assert list(message["rows"]) == ["a", "b", "c"]
    assert set(message["parts"]) == {"notices", "summary", "paging"}
    assert message["rows"]["a"].startswith('<tr role="row" data-key="a">')
    assert (message["title"], message["now"]) == ("poller: 3 tasks", NOW)


async def test_only_what_changed_is_told(studio: Studio, events: AsyncGenerator[Event]) -> None:
    """A bar that moves is one row; a state that changes also a number of the summary; what only ticks is nothing."""
    await told(events)
    studio.polled(b=watched("b", progress=21.0))
    message = await told(events)
    assert set(message) == {"rows", "now", "title"}
    assert list(message["rows"]) == ["b"]
    assert 'value="21.0"' in message["rows"]["b"]
    studio.polled(c=watched("c", State.FAILED))
    message = await told(events)
    assert (list(message["rows"]), list(message["parts"])) == (["c"], ["summary"])


async def test_rows_come_and_go(studio: Studio, events: AsyncGenerator[Event]) -> None:
    """Where they stand is told with them; the last one leaves an empty list."""
    await told(events)
    studio.polled(a=None, b=None, bb=watched("bb"))
    message = await told(events)
    assert (message["order"], list(message["rows"])) == (["bb", "c"], ["bb"])
    studio.polled(bb=None, c=None)
    message = await told(events)
    assert message["order"] == []
    assert "rows" not in message
    assert "Nothing is being watched" in message["parts"]["paging"]


async def test_nothing_is_told_and_nobody_looks_while_nothing_changes(
    studio: Studio, events: AsyncGenerator[Event]
) -> None:
    """Nor when polls bring nothing new. What time alone changes is found by a look now and then."""
    await told(events)
    with anyio.move_on_after(LOOK_ANYWAY - 2 * LOOK_EVERY):
        pytest.fail(f"{await anext(events)}")
    assert studio.looks == 1


async def test_a_poll_that_brings_nothing_new_is_looked_at_and_not_told(
    studio: Studio, events: AsyncGenerator[Event]
) -> None:
    """At most once a second."""
    await told(events)

    async def poll() -> None:
        while True:
            await anyio.sleep(0.1)
            studio.polled(a=watched("a", progress=10.0))

    async with anyio.create_task_group() as group:
        group.start_soon(poll)
        with anyio.move_on_after(10 * LOOK_EVERY + 0.5):
            pytest.fail(f"{await anext(events)}")
        group.cancel_scope.cancel()
    assert 8 <= studio.looks <= 11


async def test_what_time_alone_changes_is_found(studio: Studio, events: AsyncGenerator[Event]) -> None:
    """Within some seconds."""
    await told(events)
    studio.world.watching.shown[0] = watched("a", progress=10.0, overdue=True)
    began = anyio.current_time()
    assert list((await told(events))["rows"]) == ["a"]
    assert anyio.current_time() - began <= LOOK_ANYWAY + LOOK_EVERY


async def test_of_several_replicas_nobody_knows_whether_something_changed(studio: Studio) -> None:
    """The others' polls are not counted here: each second is looked."""
    assert studio.pictures.changes() == studio.pictures.changes()
    studio.world.replicas.alive += [Member("a", 512, 9.0), Member("b", 512, 9.0)]
    assert studio.pictures.changes() != studio.pictures.changes()


async def test_viewers_of_one_page_share_its_looks(studio: Studio, events: AsyncGenerator[Event]) -> None:
    """And what is made of it: a thousand rows are not made anew for each."""
    first = await told(events)
    async with aclosing(studio.follow()) as others:
        assert await told(others) == first
        assert studio.looks == 1
        studio.polled(a=watched("a", progress=11.0))
        assert (await told(events))["rows"] == (await told(others))["rows"]
    assert studio.looks == 2


async def test_a_look_that_takes_long_is_had_rarely(studio: Studio, events: AsyncGenerator[Event]) -> None:
    """It takes a twentieth of the time at most."""
    studio.cost = 0.5
    await told(events)
    began = anyio.current_time()
    for progress in range(3):
        studio.polled(a=watched("a", progress=float(progress)))
        await told(events)
    assert anyio.current_time() - began >= 3 * 20 * studio.cost - 3 * LOOK_EVERY


async def test_trouble_is_told_once_and_so_is_its_end(studio: Studio, events: AsyncGenerator[Event]) -> None:
    """The page stays as it was meanwhile."""
    await told(events)
    studio.broken = "the database does not answer"
    studio.polled()
    assert await anext(events) == Event("the database does not answer", name="trouble")
    with anyio.move_on_after(30):
        pytest.fail(f"{await anext(events)}")
    studio.broken = ""
    async with aclosing(studio.follow()) as again:
        await told(again)
        studio.broken = "the database does not answer"
        studio.polled()
        await anext(again)
        studio.broken = ""
        assert set(await told(again)) == {"now", "title"}


async def test_a_poll_alone_changes_when_it_was(studio: Studio, events: AsyncGenerator[Event]) -> None:
    """The time of the last poll is a fact; how long ago that is ticks."""
    await told(events)
    studio.polled(a=watched("a", progress=10.0, contact=Contact(last_polled_at=NOW + 1)))
    assert list((await told(events))["rows"]) == ["a"]


async def test_pages_that_nobody_has_open_are_forgotten(studio: Studio) -> None:
    """However many were asked for."""
    for number in range(MOST_VIEWERS + 20):
        async with aclosing(studio.live.follow(f"page {number}", studio.look, "")) as events:
            await told(events)
    assert len(studio.live._shared) == MOST_VIEWERS
