"""What a task's page asks the store for, and how often."""

from typing import Any

import pytest

from poller.domain.errors import NoSuchTaskError
from poller.protocols import TransitionPage
from poller.web import pictures as looked_at
from poller.web.pictures import Picture, Pictures
from tests.emit.fakes import watched
from tests.web.fakes import FakeCensus, FakeClock, FakeHistory, World, moved


class CountingHistory(FakeHistory):
    """Counts how often it was asked."""

    asked = 0

    async def transitions(self, *given: Any, **more: Any) -> TransitionPage:
        self.asked += 1
        return await super().transitions(*given, **more)


@pytest.fixture
def world() -> World:
    return World(store=CountingHistory())


@pytest.fixture
def pictures(world: World) -> Pictures:
    census = FakeCensus(world.watching)
    return Pictures(census, world.watching, world.store, world.replicas, world.counts, FakeClock())


def steps(picture: Picture) -> list[str]:
    timeline: Any = picture.parts["steps"]
    return [step.transition_id for step in timeline.steps]


async def test_the_past_is_read_again_only_when_there_is_more_of_it(world: World, pictures: Pictures) -> None:
    """One who looks every second costs the store nothing; what is not committed yet is awaited."""
    assert isinstance(world.store, CountingHistory)
    world.store.kept.append(moved("n", 1))
    world.watching.shown = [watched("n", transitions=1)]
    for _ in range(3):
        assert steps(await pictures.task("n")) == ["n-1"]
    assert world.store.asked == 2
    world.watching.shown = [watched("n", transitions=2)]
    assert steps(await pictures.task("n")) == ["n-1"]
    world.store.kept.append(moved("n", 2))
    for _ in range(3):
        assert steps(await pictures.task("n")) == ["n-2", "n-1"]
    assert world.store.asked == 6


async def test_a_store_that_could_not_be_read_is_asked_again(world: World, pictures: Pictures) -> None:
    """Trouble is not remembered."""
    world.watching.shown = [watched("n", transitions=1)]
    world.store.kept.append(moved("n", 1))
    world.store.broken = True
    assert (await pictures.task("n")).is_partial
    world.store.broken = False
    picture = await pictures.task("n")
    assert not picture.is_partial
    assert steps(picture) == ["n-1"]


async def test_so_many_pasts_are_kept(world: World, pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    """And those looked at last, whoever goes through all tasks."""
    monkeypatch.setattr(looked_at, "_MOST_PASTS", 3)
    world.watching.shown = [watched(f"n{number}") for number in range(5)]
    for number in (0, 1, 2, 0, 3, 4):
        await pictures.task(f"n{number}")
    assert list(pictures._pasts) == ["n0", "n3", "n4"]


async def test_a_task_that_nobody_knows_has_no_page(pictures: Pictures) -> None:
    """It is told by name."""
    with pytest.raises(NoSuchTaskError, match="no task 'n' is known"):
        await pictures.task("n")
