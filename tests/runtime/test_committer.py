"""The committer: durable first, then told; nothing lost while the store is in trouble."""

import asyncio
from dataclasses import replace
from typing import NoReturn

import pytest
import structlog

from poller.domain.events import Transition
from poller.domain.family import Run
from poller.domain.lifecycle import Step, advance, begin
from poller.domain.task import Task
from poller.protocols import FinishedRun
from poller.runtime.committer import Committer
from tests.runtime import doubles
from tests.runtime.doubles import RUNNING, START, SUCCEEDED, Listener, MemoryStore, clock, entry

pytestmark = pytest.mark.looptime


class Desk(doubles.Desk):
    """A committer that is the only one."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        super().__init__(self.store)

    def move(self, task: Task, *observations: object) -> Task:
        """Submits what the observations make of ``task``."""
        for number, seen in enumerate(observations):
            step = advance(task, seen, START + number)  # type: ignore[arg-type]
            self.committer.submit(step)
            task = step.task
        return task


async def test_told_after_the_commit_and_marked() -> None:
    """An emitter sees a transition only when it is stored; that it did is stored with the next commit."""
    desk = Desk()
    stored_when_told: list[bool] = []

    class Late(Listener):
        def transition(self, transition: Transition) -> None:
            stored_when_told.append(transition in desk.store.stored)

    desk.committer = Committer(desk.store, [Late()], clock(), structlog.get_logger())
    desk.move(begin(entry("a"), START), RUNNING)
    await desk.run(5)
    assert stored_when_told == [True]
    assert len(desk.store.told) == 1
    assert desk.committer.unemitted == 0


async def test_while_the_store_fails_nothing_is_told_and_nothing_lost() -> None:
    """Changes wait, in order; the trouble is logged once and its end once."""
    desk = Desk()
    desk.store.failing = True
    task = desk.move(begin(entry("a"), START), RUNNING)
    committing = asyncio.create_task(desk.committer.run())
    await asyncio.sleep(30)
    desk.move(task, SUCCEEDED)
    await asyncio.sleep(30)
    assert desk.listener.transitions == []
    assert not desk.committer.works
    desk.store.failing = False
    await asyncio.sleep(30)
    desk.committer.stop()
    await committing
    assert [t.target for t in desk.listener.transitions] == ["running", "succeeded"]
    assert desk.events() == ["store.failing", "store.recovered"]


def ending(task: Task) -> tuple[Step, FinishedRun]:
    """The end of ``task``, and the run that ended by it."""
    step = advance(task, SUCCEEDED, START)
    assert step.transition is not None
    return step, FinishedRun(step.transition.transition_id, "jobs", START, Run(5.0))


async def test_a_run_that_ended_is_committed_with_its_transition() -> None:
    """In one batch, and once."""
    desk = Desk()
    step, finished = ending(begin(entry("a"), START))
    desk.committer.submit(step, finished)
    desk.move(begin(entry("b"), START), RUNNING)
    await desk.run(5)
    assert [([c.transition for c in batch.changes], batch.runs) for batch in desk.store.batches if batch.runs] == [
        ([step.transition, *(t for t in desk.store.stored if t.task == "b")], [finished])
    ]
    assert await desk.store.runs(["jobs"]) == {"jobs": [finished.run]}


async def test_no_run_is_lost_while_the_store_fails() -> None:
    """Each comes with its transition once the store works again, oldest first, also those that came meanwhile."""
    desk = Desk()
    desk.store.failing = True
    ends = [ending(begin(entry(name), START)) for name in "ab"]
    committing = asyncio.create_task(desk.committer.run())
    for step, finished in ends:
        desk.committer.submit(step, finished)
        await asyncio.sleep(30)
    assert desk.store.batches == []
    desk.store.failing = False
    await asyncio.sleep(30)
    desk.committer.stop()
    await committing
    (batch,) = [batch for batch in desk.store.batches if batch.runs]
    assert list(batch.runs) == [finished for _, finished in ends]
    assert [change.transition for change in batch.changes] == [step.transition for step, _ in ends]


async def test_of_a_task_that_waits_only_the_latest_state_is_kept() -> None:
    """However long the store is in trouble, memory holds one state for each task."""
    desk = Desk()
    task = begin(entry("a"), START)
    for percent in range(100):
        task = desk.move(task, replace(RUNNING, progress=float(percent)))
    await desk.run(1)
    (batch,) = [batch for batch in desk.store.batches if batch.changes]
    assert [change.task.status.progress for change in batch.changes] == [99.0]


async def test_stopping_commits_what_is_left() -> None:
    """The last change before the end is stored, told and marked."""
    desk = Desk()
    committing = asyncio.create_task(desk.committer.run())
    await asyncio.sleep(1)
    desk.move(begin(entry("a"), START), SUCCEEDED)
    desk.committer.stop()
    await committing
    assert desk.store.told == {t.transition_id for t in desk.store.stored}
    assert len(desk.store.told) == 1


async def test_a_commit_that_is_given_up_counts_as_left() -> None:
    """Nobody knows whether it was done; who has to leave must tell."""
    desk = Desk()

    async def hang(_batch: object) -> NoReturn:
        await asyncio.sleep(3600)
        raise AssertionError

    desk.store.commit = hang  # type: ignore[assignment, method-assign]
    task = desk.move(begin(entry("a"), START), RUNNING)
    desk.move(begin(entry("b"), START), RUNNING)
    committing = asyncio.create_task(desk.committer.run())
    await asyncio.sleep(1)
    desk.move(task, SUCCEEDED)
    committing.cancel()
    await asyncio.gather(committing, return_exceptions=True)
    assert desk.committer.left == 2


async def test_trouble_is_told_once_whoever_has_it() -> None:
    """It begins with the first who fails, and is over when the last one who failed succeeds."""
    desk = Desk()
    desk.store.failing = True
    desk.move(begin(entry("a"), START), RUNNING)
    desk.committer.trouble.begin("leases", TimeoutError())
    committing = asyncio.create_task(desk.committer.run())
    await asyncio.sleep(10)
    desk.store.failing = False
    await asyncio.sleep(20)
    assert (desk.events(), desk.committer.works) == (["store.failing"], False)
    desk.committer.trouble.end("leases")
    desk.committer.trouble.end("leases")
    assert (desk.events(), desk.committer.works) == (["store.failing", "store.recovered"], True)
    desk.committer.stop()
    await committing


async def test_stopping_does_not_wait_for_a_store_in_trouble() -> None:
    """One more try, and the end: what is not committed is asked for again after the next start."""
    desk = Desk()
    desk.store.failing = True
    desk.move(begin(entry("a"), START), SUCCEEDED)
    await desk.run(20)
    assert desk.listener.transitions == []


async def test_what_an_earlier_run_did_not_tell_is_told_first() -> None:
    """With the same id, and marked afterwards."""
    desk = Desk()
    step = advance(begin(entry("a"), START), SUCCEEDED, START)
    assert step.transition is not None
    desk.store.stored.append(step.transition)
    desk.committer.retell(await desk.store.untold())
    assert desk.committer.unemitted == 0
    assert desk.listener.transitions == [step.transition]
    await desk.run(2)
    assert desk.store.told == {step.transition.transition_id}


async def test_nothing_to_do_commits_nothing() -> None:
    """An idle daemon leaves the disk alone."""
    desk = Desk()
    await desk.run(3600)
    assert desk.store.batches == []


async def test_news_that_the_next_poll_would_bring_again_wait_for_others() -> None:
    """A second at most; what is told, and whoever waits for it to be durable, takes them along."""
    desk = Desk()
    task = desk.move(begin(entry("a"), START), RUNNING)
    committing = asyncio.create_task(desk.committer.run())
    await asyncio.sleep(5)
    commits = len(desk.store.batches)

    async def progress(percent: float) -> Task:
        step = advance(task, replace(RUNNING, progress=percent), START + percent)
        assert step.changed
        assert step.transition is None
        desk.committer.submit(step, at_once=False)
        await asyncio.sleep(0.3)
        return step.task

    for percent in (10.0, 20.0, 30.0):
        task = await progress(percent)
        assert len(desk.store.batches) == commits
    await asyncio.sleep(0.2)
    assert len(desk.store.batches) == commits + 1
    assert desk.store.batches[-1].changes[0].task.status.progress == 30.0
    task = await progress(40.0)
    desk.move(task, SUCCEEDED)
    await asyncio.sleep(0.1)
    assert desk.store.batches[-1].changes[0].task.status.terminal
    desk.committer.stop()
    await committing


async def test_what_must_be_durable_is_waited_for() -> None:
    """Until it is committed, however often that fails; at once where nothing is left."""
    desk = Desk()
    desk.store.failing = True
    committing = asyncio.create_task(desk.committer.run())
    desk.move(begin(entry("a"), START), RUNNING)
    waiting = asyncio.create_task(desk.committer.durable())
    await asyncio.sleep(5)
    assert not waiting.done()
    desk.store.failing = False
    await waiting
    assert len(desk.store.stored) == 1
    await asyncio.wait_for(desk.committer.durable(), 1)
    desk.committer.stop()
    await committing


async def test_whoever_waits_no_longer_disturbs_nobody() -> None:
    """What was taken over is committed all the same."""
    desk = Desk()
    desk.move(begin(entry("a"), START), RUNNING)
    waiting = asyncio.create_task(desk.committer.durable())
    await asyncio.sleep(0)
    waiting.cancel()
    await desk.run(1)
    assert len(desk.store.stored) == 1
