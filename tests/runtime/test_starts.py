"""Jobs are started once, and what was started is watched, whatever goes wrong on the way."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import anyio
import pytest

from poller.domain.errors import NoSuchTaskError, StartError, StoppingError, StoreError, UnstartableError
from poller.domain.observation import Observation, Outcome, Run
from poller.domain.shares import partition_of
from poller.domain.starting import LOOK_DELAYS, Job
from poller.domain.state import State
from poller.domain.task import Entry, Status
from poller.protocols import Batch
from poller.runtime.starts import Start, Starts
from tests.runtime.doubles import (
    RUNNING,
    START,
    SUCCEEDED,
    UNAUTHORIZED,
    UNREACHABLE,
    Answer,
    House,
    MemoryStore,
    Script,
    ScriptedProvider,
    always,
    build_house,
    entry,
    saved,
)

pytestmark = pytest.mark.looptime

JOB = Job("http://h/tasks", "one-run", "number")
ACCEPTED = Observation(Outcome.ANSWERED, State.PENDING, request_id="r1")
UNDER_WAY = Observation(Outcome.ANSWERED, State.RUNNING, request_id="r2")
FORBIDDEN = Observation(Outcome.REJECTED, message="HTTP 403", code="Forbidden.RAM", request_id="r3")
THROTTLED = Observation(Outcome.THROTTLED, message="HTTP 429", retry_after=60.0)
TIMED_OUT = (10.0, Observation(Outcome.UNREACHABLE, message="no answer within 10 s"))
OLD_END = replace(SUCCEEDED, run_id="v1")


def shows(*runs: str) -> Observation:
    """A list of runs, newest first: 2r is running, 1e has ended."""
    states = {"r": State.RUNNING, "e": State.SUCCEEDED}
    return Observation(Outcome.ANSWERED, State.PENDING, runs=tuple(Run(run[:-1], states[run[-1]]) for run in runs))


class Site:
    """A house whose tasks can be started."""

    def __init__(
        self,
        script: Script,
        lists: Sequence[Answer],
        starts: Sequence[Answer] = (ACCEPTED,),
        entries: Sequence[Entry] = (entry("a", max=8.0),),
        store: MemoryStore | None = None,
        job: Job | None = JOB,
    ) -> None:
        self.provider = ScriptedProvider(script, startable=job, lists=list(lists), starts=list(starts))
        self.house: House = build_house({"one": self.provider}, entries, store)
        logger = self.house.committer._logger
        self.starts = Starts(self.house.scheduler, self.house.committer, logger)
        self.came: list[Any] = []

    async def live(self, *, at: Sequence[float] = (5.0,), until: float = 60.0, name: str = "a") -> None:
        """Runs the house until then, and asks for a start at each of the moments."""
        async with anyio.create_task_group() as group:
            group.start_soon(self.house.committer.run)
            group.start_soon(self.house.scheduler.run)
            for moment in at:
                group.start_soon(self._start, moment, name)
            await anyio.sleep(until)
            group.cancel_scope.cancel()

    async def _start(self, moment: float, name: str) -> None:
        await anyio.sleep(moment)
        try:
            self.came.append(await self.starts.start(name))
        except (StartError, NoSuchTaskError, StoreError) as error:
            self.came.append(error)

    @property
    def requests(self) -> list[str]:
        """What was sent beside the polls, in order."""
        return [what for _, what in self.provider.asked]

    @property
    def posts(self) -> int:
        """How many requests to start were sent."""
        return self.requests.count("start")

    @property
    def moves(self) -> list[tuple[str, str, int]]:
        """The transitions told."""
        return [(each.source, each.target, each.run) for each in self.house.listener.transitions]

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [dict(line) for line in self.house.logs.entries if line["event"] == event]

    @property
    def status(self) -> Status:
        watch = self.house.scheduler.find("a")
        assert watch is not None
        return watch.task.status


def trained(started_at: float = 5.0, takes: float = 10.0) -> Script:
    """Ended before; a new run shows 3 s after it was started, and ends."""

    def script(_entry: Entry, _count: int) -> Observation:
        t = asyncio.get_running_loop().time() - started_at - 3.0
        if t < 0:
            return OLD_END
        return replace(RUNNING, run_id="v1") if t < takes else replace(SUCCEEDED, run_id="v2")

    return script


AGAIN = [("unknown", "succeeded", 1), ("succeeded", "running", 2), ("running", "succeeded", 2)]
"""What is told of a task that ended, was started again and ended again."""


async def test_a_task_that_had_ended_is_watched_for_the_new_run() -> None:
    """One request; what still shows the old end is not its end; it is told under the next number."""
    site = Site(trained(), [shows("1e"), shows("2r", "1e")])
    await site.live()
    (start,) = site.came
    assert isinstance(start, Start)
    assert (start.started.run_id, start.started.already_running, start.watched_run) == ("2", False, 2)
    assert start.words == "number 2 was started"
    assert site.requests == ["list", "start", "list"]
    assert site.moves == AGAIN
    assert site.status.awaited_since is None


async def test_the_start_is_told_in_the_log() -> None:
    """Once, with the run and the id of the request."""
    site = Site(trained(), [shows("1e"), shows("2r", "1e")])
    await site.live()
    (line,) = site.logged("task.start_requested")
    assert (line["task"], line["run_id"], line["already_running"], line["request_id"]) == ("a", "2", False, "r1")


async def test_the_task_is_polled_at_once() -> None:
    """Not when the next poll would have been due."""
    site = Site(always(OLD_END), [shows("1e"), shows("2r", "1e")])
    await site.live(until=5.5)
    assert site.provider.times("a")[-1] == pytest.approx(5.0, abs=0.1)


async def test_that_a_run_is_awaited_is_durable_before_anything_is_sent() -> None:
    """Whenever the process dies, the next one watches for the run."""
    site = Site(trained(), [TIMED_OUT])
    await site.live(until=5.1)
    assert site.requests == ["list"]
    stored = [change.task.status.awaited_since for batch in site.house.store.batches for change in batch.changes]
    assert stored[-1] == START + 5.0


async def test_after_a_crash_the_run_is_told_once() -> None:
    """What the store held of the task when the process died is enough."""
    kept = Status(
        first_seen_at=START - 99, since=START - 50, run_since=START - 99, state=State.SUCCEEDED, run_id="v1",
        transitions=1, awaited_since=START - 1,
    )  # fmt: skip
    watched = entry("a", max=8.0)
    site = Site(trained(-1.0), [shows()], store=MemoryStore({"a": saved(watched, kept)}), entries=[watched])
    await site.live(at=())
    assert site.moves == AGAIN[1:]
    assert site.posts == 0


@pytest.mark.parametrize(
    "refused", [FORBIDDEN, THROTTLED, UNAUTHORIZED, Observation(Outcome.MISSING, message="HTTP 404")]
)
async def test_a_refused_start_changes_nothing(refused: Observation) -> None:
    """Nothing was started: one request, the task is over as before, and why is told to whoever asked and the log."""
    site = Site(always(OLD_END), [shows("1e")], [refused])
    await site.live()
    (error,) = site.came
    assert isinstance(error, StartError)
    assert str(error) == f"a at one: the start was refused ({refused.outcome}: {refused.message}); nothing was started"
    assert error.seen is refused
    assert (site.posts, site.moves, site.status.awaited_since) == (1, AGAIN[:1], None)
    assert len(site.provider.times("a")) == 1
    (line,) = site.logged("task.start_failed")
    assert (line["outcome"], line["code"], line["request_id"]) == (refused.outcome, refused.code, refused.request_id)


@pytest.mark.parametrize("failed", [UNREACHABLE, FORBIDDEN, Observation(Outcome.UNRECOGNIZED, message="no list")])
async def test_without_a_list_nothing_is_started(failed: Observation) -> None:
    """Nobody could tell later what is new."""
    site = Site(always(OLD_END), [failed])
    await site.live()
    (error,) = site.came
    assert "cannot be listed" in str(error)
    assert "nothing was started" in str(error)
    assert (site.requests, site.status.awaited_since) == (["list"], None)


@pytest.mark.parametrize("lost", [TIMED_OUT, UNREACHABLE, Observation(Outcome.UNRECOGNIZED, message="<html>")])
async def test_a_start_that_brought_no_answer_is_looked_for(lost: Answer) -> None:
    """It had arrived: one request in all."""
    site = Site(trained(), [shows("1e"), shows("1e"), UNREACHABLE, shows("2r", "1e")], [lost])
    await site.live()
    (start,) = site.came
    assert (start.started.run_id, start.started.already_running) == ("2", False)
    assert site.requests == ["list", "start", "list", "list", "list"]


async def test_a_start_that_brought_no_answer_and_nothing_new_is_sent_again() -> None:
    """After looks enough; the provider says that a run is under way after all, and that is the one."""
    looks = [shows("1e")] * len(LOOK_DELAYS)
    site = Site(trained(), [shows("1e"), *looks, shows("1e"), shows("2r", "1e")], [TIMED_OUT, UNDER_WAY])
    await site.live()
    (start,) = site.came
    assert (start.started.run_id, start.started.already_running, start.started.request_id) == ("2", False, "r2")
    assert site.requests == ["list", "start", *["list"] * len(LOOK_DELAYS), "start", "list", "list"]


async def test_three_starts_without_an_answer_are_enough() -> None:
    """It is given up in words; the run is awaited all the same, for nobody knows."""
    site = Site(always(OLD_END), [shows("1e")], [UNREACHABLE])
    await site.live()
    (error,) = site.came
    assert "no run shows after 3 requests to start one" in str(error)
    assert (site.posts, site.status.awaited_since) == (3, START + 5.0)


async def test_a_list_that_fails_after_silence_ends_it() -> None:
    """It is not sent again blindly."""
    site = Site(always(OLD_END), [shows("1e"), UNREACHABLE], [TIMED_OUT])
    await site.live()
    (error,) = site.came
    assert "it is not known whether a run was started" in str(error)
    assert (site.posts, site.status.awaited_since) == (1, START + 5.0)


async def test_a_run_under_way_is_followed() -> None:
    """One that the task's watch has not seen is its next one."""
    site = Site(trained(), [shows("2r", "1e")], [UNDER_WAY])
    await site.live()
    (start,) = site.came
    assert (start.started.run_id, start.started.already_running, start.watched_run) == ("2", True, 2)
    assert start.words == "number 2 is under way already"
    assert (site.posts, site.moves) == (1, AGAIN)


async def test_a_run_under_way_that_is_watched_already_stays_the_same() -> None:
    """No other one is awaited."""
    site = Site(always(RUNNING), [shows("1r")], [UNDER_WAY])
    await site.live()
    (start,) = site.came
    assert (start.started.run_id, start.watched_run) == ("1", 1)
    assert (site.status.awaited_since, site.moves) == (None, [("unknown", "running", 1)])


async def test_an_end_that_nobody_had_noticed_is_told_before_the_new_run() -> None:
    """The task is polled once more before anything is started."""

    def script(_entry: Entry, _count: int) -> Observation:
        t = asyncio.get_running_loop().time()
        return replace(RUNNING, run_id="v0") if t < 4.9 or t > 5.5 else OLD_END

    site = Site(script, [shows("1e"), shows("2r", "1e")], entries=[entry("a", initial=100.0, max=100.0)])
    await site.live(until=10.0)
    assert site.moves == [("unknown", "running", 1), ("running", "succeeded", 1)]
    assert site.status.awaited_since == START + 5.0


async def test_a_run_that_is_not_listed_is_followed_as_the_latest() -> None:
    """And that is said."""
    site = Site(trained(), [shows("1e")])
    await site.live()
    (start,) = site.came
    assert (start.started.run_id, start.watched_run, site.posts) == (None, 2, 1)
    assert start.words == "a run was started; which number it is the provider does not list yet"
    assert site.moves == AGAIN


async def test_two_who_ask_at_once_start_one() -> None:
    """The second is told what the first one started."""
    site = Site(trained(), [shows("1e"), shows("2r", "1e")], [(2.0, ACCEPTED)])
    await site.live(at=(5.0, 5.0, 6.0))
    assert sorted(start.started.already_running for start in site.came) == [False, True, True]
    assert {start.started.run_id for start in site.came} == {"2"}
    assert (site.posts, site.moves) == (1, AGAIN)


async def test_two_tasks_of_one_job_start_one() -> None:
    """Under whatever names it is watched."""
    site = Site(trained(), [shows("1e"), shows("2r", "1e")], [(2.0, ACCEPTED)], [entry("a"), entry("b")])
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: site.live(name="b"))
        await anyio.sleep(5.0)
        assert (await site.starts.start("a")).started.run_id == "2"
    assert site.posts == 1


async def test_two_who_ask_at_once_hear_of_one_refusal() -> None:
    """And of nothing else."""
    site = Site(always(OLD_END), [shows("1e")], [(2.0, FORBIDDEN)])
    await site.live(at=(5.0, 5.0))
    assert [type(error) for error in site.came] == [StartError, StartError]
    assert (site.posts, site.status.awaited_since) == (1, None)


async def test_one_run_that_is_watched_stays_ended() -> None:
    """The entry names a run; the start makes another one, which is told."""
    one_run = Entry("a", "one", JOB.operation, {"number": "1"})
    site = Site(always(OLD_END), [shows("1e"), shows("2r", "1e")], entries=[one_run])
    await site.live()
    (start,) = site.came
    assert (start.started.run_id, start.watched_run) == ("2", None)
    assert (site.moves, len(site.provider.times("a"))) == (AGAIN[:1], 1)


async def test_one_run_that_is_under_way_is_the_one_watched() -> None:
    """Where the entry names that very run."""
    one_run = Entry("a", "one", JOB.operation, {"number": "1"})
    site = Site(always(RUNNING), [shows("1r")], [UNDER_WAY], entries=[one_run])
    await site.live()
    assert site.came[0].watched_run == 1


async def test_what_cannot_be_started_is_told() -> None:
    """Nothing is sent."""
    site = Site(always(OLD_END), [shows()], job=None)
    await site.live()
    assert isinstance(site.came[0], UnstartableError)
    await site.live(name="nobody", until=6.0)
    assert isinstance(site.came[1], NoSuchTaskError)
    assert site.requests == []


async def test_nothing_is_sent_while_the_connection_pauses() -> None:
    """Nobody waits for a pause to end: that it pauses is told at once."""
    site = Site(always(UNAUTHORIZED), [shows()], entries=[entry("a"), entry("b")])
    await site.live()
    (error,) = site.came
    assert "the connection pauses as unauthorized, for 4m5" in str(error)
    assert (site.requests, site.status.awaited_since) == ([], None)


async def test_nothing_is_sent_while_nothing_can_be_stored() -> None:
    """A run that nobody would remember is not started."""
    site = Site(always(OLD_END), [shows("1e")])
    async with anyio.create_task_group() as group:
        group.start_soon(site.live)
        await anyio.sleep(2.0)
        site.house.store.failing = True
    (error,) = site.came
    assert isinstance(error, StoreError)
    assert (site.requests, site.status.awaited_since) == ([], None)


async def test_nothing_is_sent_when_what_was_stored_may_be_anothers() -> None:
    """The store drops something because another replica holds it: whose it was is not sure, and nothing is awaited."""

    class Fencing(MemoryStore):
        async def commit(self, batch: Batch) -> Collection[int]:
            await super().commit(batch)
            return {partition_of("elsewhere")} if batch.at >= START + 5.0 else ()

    site = Site(always(OLD_END), [shows("1e")], store=Fencing())
    await site.live()
    (error,) = site.came
    assert isinstance(error, StoreError)
    assert "nothing was started" in str(error)
    assert (site.requests, site.status.awaited_since) == ([], None)


async def test_a_start_goes_on_when_its_caller_has_gone() -> None:
    """A client that hangs up does not leave a job half started."""
    site = Site(trained(), [shows("1e"), shows("2r", "1e")], [(2.0, ACCEPTED)])
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: site.live(at=()))
        await anyio.sleep(5.0)
        with anyio.move_on_after(1.0):
            await site.starts.start("a")
    assert (site.posts, site.moves) == (1, AGAIN)


async def test_at_the_end_what_was_begun_is_finished() -> None:
    """And nothing new is begun."""
    site = Site(trained(), [shows("1e"), shows("2r", "1e")], [(2.0, ACCEPTED)])
    async with anyio.create_task_group() as group:
        group.start_soon(site.live)
        await anyio.sleep(6.0)
        await site.starts.finish()
        assert asyncio.get_running_loop().time() == pytest.approx(7.0, abs=0.1)
        with pytest.raises(StoppingError):
            await site.starts.start("a")
    assert site.posts == 1


async def test_at_the_end_what_takes_too_long_is_cut() -> None:
    """The run is awaited by the next process."""
    site = Site(trained(), [shows("1e")], [TIMED_OUT])
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: site.live(at=(), until=20.0))
        await anyio.sleep(5.0)
        asking = asyncio.ensure_future(site.starts.start("a"))
        await anyio.sleep(1.0)
        site.starts.cut()
        await asyncio.gather(asking, return_exceptions=True)
    assert (site.posts, asking.cancelled()) == (1, True)
    assert START + 5.0 in [c.task.status.awaited_since for batch in site.house.store.batches for c in batch.changes]
