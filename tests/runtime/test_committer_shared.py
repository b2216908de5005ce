"""The committer of one replica among several: what was lost is neither written nor told, and nothing told in doubt."""

import asyncio
from collections.abc import Collection
from dataclasses import replace

import pytest

from poller.domain.errors import StoreError
from poller.domain.events import FlagChange
from poller.domain.lifecycle import Step, advance, begin
from poller.domain.shares import partition_of
from poller.domain.state import Flag, State
from poller.protocols import Batch
from tests.runtime import doubles
from tests.runtime.doubles import START, SUCCEEDED, MemoryStore, entry

pytestmark = pytest.mark.looptime


class Holding:
    """A tenure that holds what a test says."""

    def __init__(self, *names: str) -> None:
        self.epochs: dict[int, int] = {partition_of(name): 1 for name in names}
        self.certain = True

    def is_certain(self) -> bool:
        return self.certain


class SharedStore(MemoryStore):
    """A store that compares epochs, and in which a commit takes ``seconds``."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: dict[int, int] = {}
        self.seconds = 0.0

    async def commit(self, batch: Batch) -> Collection[int]:
        await asyncio.sleep(self.seconds)
        assert batch.epochs is not None
        lost = {n for n in self._touched(batch) if batch.epochs.get(n) != self.epochs.get(n, 1)}
        kept = [change for change in batch.changes if partition_of(change.task.entry.name) not in lost]
        await super().commit(replace(batch, changes=kept))
        return lost

    def _touched(self, batch: Batch) -> set[int]:
        return {partition_of(change.task.entry.name) for change in batch.changes}


class Desk(doubles.Desk):
    """A committer that holds the partitions of some tasks, on a store that others may write to."""

    def __init__(self, *names: str) -> None:
        self.store, self.tenure = SharedStore(), Holding(*names)
        super().__init__(self.store, self.tenure)

    def end(self, *names: str) -> None:
        """Submits that these tasks have ended."""
        for name in names:
            self.committer.submit(advance(begin(entry(name), START), SUCCEEDED, START))

    def stored(self) -> list[str]:
        return [transition.task for transition in self.store.stored]

    def lose(self, name: str, regained: int | None = None) -> None:
        """Somebody else has taken the partition of ``name``; ``regained``: it came back in this epoch."""
        number = partition_of(name)
        self.store.epochs[number] = regained or 2
        self.committer.drop([number])
        del self.tenure.epochs[number]
        if regained:
            self.tenure.epochs[number] = regained

    def told(self) -> list[str]:
        return [transition.task for transition in self.listener.transitions]


async def test_what_was_lost_before_it_was_committed_is_forgotten() -> None:
    """Neither written nor told; the rest is both."""
    desk = Desk("a", "b")
    desk.end("a", "b")
    desk.lose("a")
    await desk.run(5)
    assert desk.stored() == desk.told() == ["b"]
    assert (desk.committer.fenced, desk.committer.left, desk.committer.unemitted) == (1, 0, 0)
    assert "commit.fenced" in desk.events()


async def test_what_the_store_fences_is_not_told() -> None:
    """It was lost, and nobody here knew."""
    desk = Desk("a", "b")
    desk.store.epochs[partition_of("a")] = 2
    desk.end("a", "b")
    await desk.run(5)
    assert desk.told() == ["b"]
    assert (desk.committer.fenced, desk.committer.unemitted) == (1, 0)


async def test_whoever_waits_for_what_the_store_fences_is_told() -> None:
    """It must not be taken for durable; who waits afterwards is not concerned."""
    desk = Desk("a", "b")
    desk.store.epochs[partition_of("a")] = 2
    committing = asyncio.create_task(desk.committer.run())
    desk.end("a")
    with pytest.raises(StoreError, match="another replica"):
        await desk.committer.durable()
    desk.end("b")
    await desk.committer.durable()
    desk.committer.stop()
    await committing


@pytest.mark.parametrize("regained", [-1, 3])
async def test_what_is_lost_while_it_is_committed_is_told_by_who_holds_it_then(regained: int) -> None:
    """It was written in time and nobody was told: whoever takes it over reads that. Held again it is read again."""
    desk = Desk("a", "b")
    desk.store.seconds = 2.0
    desk.end("a", "b")
    committing = asyncio.create_task(desk.committer.run())
    await asyncio.sleep(1)
    desk.committer.drop([partition_of("a")])
    desk.tenure.epochs[partition_of("a")] = regained
    await asyncio.sleep(5)
    desk.committer.stop()
    await committing
    assert set(desk.stored()) == {"a", "b"}
    assert desk.told() == ["b"]
    assert desk.committer.unemitted == 0


@pytest.mark.parametrize("regained", [None, 3])
async def test_what_is_lost_while_the_store_fails_is_not_tried_again(regained: int | None) -> None:
    """Though it be held again by then: what was concluded is older than what was read since."""
    desk = Desk("a", "b")
    desk.store.failing = True
    desk.store.seconds = 2.0
    desk.end("a", "b")
    committing = asyncio.create_task(desk.committer.run())
    await asyncio.sleep(1)
    desk.lose("a", regained)
    await asyncio.sleep(10)
    desk.store.failing = False
    await asyncio.sleep(20)
    desk.committer.stop()
    await committing
    assert desk.stored() == desk.told() == ["b"]


async def test_what_is_committed_in_doubt_is_told_when_that_ends() -> None:
    """And marked as told, though nothing else is written."""
    desk = Desk("a")
    desk.tenure.certain = False
    desk.end("a")
    committing = asyncio.create_task(desk.committer.run())
    await asyncio.sleep(5)
    assert len(desk.store.stored) == 1
    assert desk.told() == []
    assert desk.committer.unemitted == 1
    desk.tenure.certain = True
    desk.committer.confirmed()
    assert desk.told() == ["a"]
    await asyncio.sleep(5)
    assert len(desk.store.told) == 1
    assert desk.committer.unemitted == 0
    desk.committer.stop()
    await committing


async def test_what_was_committed_in_doubt_and_lost_is_told_by_another_one() -> None:
    """Not here, when the doubt ends."""
    desk = Desk("a", "b")
    desk.tenure.certain = False
    desk.end("a", "b")
    await desk.run(5)
    desk.lose("a")
    desk.tenure.certain = True
    desk.committer.confirmed()
    assert desk.told() == ["b"]
    assert desk.committer.unemitted == 0


async def test_a_flag_that_rises_and_clears_before_it_is_told_is_none() -> None:
    """Also when the one is waiting for a store that fails, and the other one follows; one that stays is told once."""
    desk = Desk("a", "b")
    desk.store.failing = True
    committing = asyncio.create_task(desk.committer.run())
    for name in "ab":
        desk.committer.submit(flipped(name, raised=True))
    await asyncio.sleep(5)
    desk.committer.submit(flipped("a", raised=False))
    desk.store.failing = False
    await asyncio.sleep(20)
    desk.committer.stop()
    await committing
    assert [(change.task, change.raised) for change in desk.listener.flags] == [("b", True)]


async def test_a_flag_that_rises_once_more_is_told() -> None:
    """The task was begun anew meanwhile: that it had risen before is no reason to keep silent."""
    desk = Desk("a")
    for _ in range(2):
        desk.committer.submit(flipped("a", raised=True))
    await desk.run(5)
    assert [(change.task, change.raised) for change in desk.listener.flags] == [("a", True)]


async def test_flags_of_what_was_lost_are_not_told() -> None:
    """Whoever holds it tells of them."""
    desk = Desk("a", "b")
    for name in "ab":
        desk.committer.submit(flipped(name, raised=True))
    desk.lose("a")
    await desk.run(5)
    assert [change.task for change in desk.listener.flags] == ["b"]


def flipped(name: str, raised: bool) -> Step:
    """A step by which a flag rose or cleared, and nothing else."""
    change = FlagChange(name, "one", "job", Flag.OVERDUE, raised, START, State.RUNNING)
    return Step(begin(entry(name), START), changed=True, flags=(change,))


async def test_it_is_full_until_the_store_takes_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is being committed waits too."""
    monkeypatch.setattr("poller.runtime.committer.MOST_WAITING", 2)
    desk = Desk("a", "b")
    desk.store.failing = True
    desk.store.seconds = 1.0
    committing = asyncio.create_task(desk.committer.run())
    desk.end("a")
    await asyncio.sleep(0.5)
    assert not desk.committer.is_full()
    desk.end("b")
    assert desk.committer.is_full()
    await asyncio.sleep(5)
    assert desk.committer.is_full()
    desk.store.failing = False
    await asyncio.sleep(30)
    assert not desk.committer.is_full()
    desk.committer.stop()
    await committing
