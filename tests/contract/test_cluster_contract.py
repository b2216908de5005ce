"""What every cluster promises: SqlCluster on PostgreSQL, and the one in memory that the model of many replicas uses."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import pytest
from sqlalchemy import and_, text

from poller.domain.delivery import Receipt
from poller.domain.errors import StoreError
from poller.domain.family import Run
from poller.domain.lifecycle import advance, begin
from poller.domain.observation import Observation, Outcome
from poller.domain.shares import PARTITIONS, partition_of
from poller.domain.state import State
from poller.domain.task import Entry
from poller.protocols import Batch, Change, Cluster, FinishedRun, Pulse, Refusal
from poller.store import SqlStore, open_store
from poller.store import leases as store_leases
from poller.store.postgresql import PostgresqlDatabase
from tests.contract.conftest import behind_pooler, on_server
from tests.model.cluster import MemoryCluster

T0 = 1_700_000_000.0
LONG = 600.0
"""Seconds that do not pass in a test."""
SHORT = 0.3
"""Seconds that a test waits for."""


@dataclass(frozen=True)
class Ground:
    """A cluster and the store beside it, and what was written there."""

    cluster: Cluster
    commit: Callable[[Batch], Awaitable[Collection[int]]]
    written: Callable[[], Awaitable[set[str]]]


KINDS = {"memory": None, "postgresql": on_server, "postgresql-behind-pooler": behind_pooler}


@pytest.fixture(params=KINDS)
async def grounds(request: pytest.FixtureRequest) -> AsyncIterator[Sequence[Ground]]:
    """An empty cluster of every kind, as several replicas see it; each has a store of its own."""
    url = KINDS[request.param]
    if url is None:
        memory = MemoryCluster(time.monotonic)

        async def names() -> set[str]:
            return set(memory.written)

        yield [Ground(memory, memory.commit, names)] * 4
        return
    async with AsyncExitStack() as stack:
        stores = [open_store(url(request)) for _ in range(4)]
        for store in stores:
            await store.open()
            stack.push_async_callback(store.close)
        yield [_on(store) for store in stores]


@pytest.fixture
def ground(grounds: Sequence[Ground]) -> Ground:
    """An empty cluster of every kind, and the store beside it."""
    return grounds[0]


@pytest.fixture
def cluster(ground: Ground) -> Cluster:
    """An empty cluster of every kind."""
    return ground.cluster


def _on(store: SqlStore) -> Ground:
    cluster = store.cluster()
    assert cluster is not None

    async def names() -> set[str]:
        return {stored.entry.name for stored in (await store.tasks()).tasks if stored.task.status.transitions}

    return Ground(cluster, store.commit, names)


async def over() -> None:
    """A short life is over."""
    await asyncio.sleep(SHORT + 0.1)


async def test_who_joins_sees_itself_and_the_others(cluster: Cluster) -> None:
    """All who live, nobody dead, everything free, and nothing held."""
    await cluster.join("a", LONG)
    await cluster.join("b", LONG)
    for name in "ab":
        look = await cluster.look(name)
        assert look is not None
        assert (sorted(look.alive), look.dead, look.held, look.free) == (["a", "b"], [], 0, PARTITIONS)
        assert look.refusals == {}


async def test_members_are_told_with_what_they_hold(cluster: Cluster) -> None:
    """The oldest first, and only those alive; who holds nothing is told too."""
    assert await cluster.members() == []
    await cluster.join("silent", SHORT)
    await cluster.join("b", LONG)
    await cluster.join("a", LONG)
    await cluster.take("silent", 9)
    await cluster.take("b", 5)
    await over()
    told = await cluster.members()
    assert [(each.name, each.partitions) for each in told] == [("b", 5), ("a", 0)]
    assert all(SHORT <= each.seconds < LONG for each in told)
    await cluster.join("a", LONG)
    assert [each.name for each in await cluster.members()] == ["b", "a"]


async def test_nobody_is_seen_who_never_joined(cluster: Cluster) -> None:
    """It is told so, and can neither take nor let live."""
    assert await cluster.look("stranger", LONG) is None
    assert await cluster.take("stranger", 5) == {}
    assert await cluster.held("stranger") == {}
    assert not await cluster.bury("stranger")


async def test_a_sign_of_life_prolongs_it(cluster: Cluster) -> None:
    """Beyond the time it was given at first; a look alone does not."""
    await cluster.join("a", SHORT)
    await cluster.join("silent", SHORT)
    await cluster.join("b", LONG)
    await cluster.look("a", LONG)
    await cluster.look("silent")
    await over()
    look = await cluster.look("b")
    assert look is not None
    assert (sorted(look.alive), look.dead) == (["a", "b"], ["silent"])
    assert not await cluster.bury("a")


async def test_joining_again_begins_its_time_anew(cluster: Cluster) -> None:
    """So that who does not know whether it has joined can ask again, and believe what it asked for."""
    await cluster.join("a", SHORT)
    await cluster.join("a", LONG)
    await over()
    assert not await cluster.bury("a")


async def test_nobody_is_buried_before_its_time_is_over(cluster: Cluster) -> None:
    """Whatever others believe."""
    await cluster.join("a", LONG)
    assert not await cluster.bury("a")
    assert await cluster.look("a") is not None


async def test_the_dead_are_buried_once(grounds: Sequence[Ground], cluster: Cluster) -> None:
    """Of many that try at once exactly one did it; the dead sees that it is, even when it gives a sign of life."""
    await cluster.join("a", SHORT)
    await over()
    buried = await asyncio.gather(*(each.cluster.bury("a") for each in grounds))
    assert sorted(buried) == [False, False, False, True]
    assert await cluster.look("a", LONG) is None
    assert await cluster.take("a", 1) == {}


async def test_who_is_late_but_not_buried_lives_on(cluster: Cluster) -> None:
    """With all it holds: nobody else has taken it."""
    await cluster.join("a", SHORT)
    taken = await cluster.take("a", 3)
    await over()
    look = await cluster.look("a", LONG)
    assert look is not None
    assert (look.alive, look.held) == (["a"], 3)
    assert not await cluster.bury("a")
    assert await cluster.held("a") == taken


async def test_many_that_take_at_once_take_different_partitions(grounds: Sequence[Ground], cluster: Cluster) -> None:
    """And in the end everything is held once, nobody holding more than it asked for."""
    replicas = {f"replica-{number}": each.cluster for number, each in enumerate(grounds)}
    for name in replicas:
        await cluster.join(name, LONG)
    for _ in range(20):
        await asyncio.gather(*(own.take(name, 90) for name, own in replicas.items()))
        look = await cluster.look("replica-0")
        assert look is not None
        if not look.free:
            break
    held = [await cluster.held(name) for name in replicas]
    assert sorted(number for each in held for number in each) == list(range(PARTITIONS))


async def test_nobody_gets_more_than_it_asked_for(cluster: Cluster) -> None:
    """Nor more than there is; what it was given is what it holds."""
    await cluster.join("a", LONG)
    await cluster.join("b", LONG)
    few = await cluster.take("a", 10)
    assert len(few) == 10
    assert await cluster.held("a") == few
    rest = await cluster.take("b", PARTITIONS)
    assert len(rest) == PARTITIONS - 10
    assert await cluster.take("a", 1) == {}
    assert not few.keys() & rest.keys()


async def test_each_taking_gives_a_greater_epoch(cluster: Cluster) -> None:
    """After a release, after a leave and after a death, also when the same replica takes it again."""
    await cluster.join("a", LONG)
    first = await cluster.take("a", PARTITIONS)
    await cluster.release("a", first)
    second = await cluster.take("a", PARTITIONS)
    await cluster.leave("a")
    await cluster.join("b", SHORT)
    third = await cluster.take("b", PARTITIONS)
    await over()
    await cluster.bury("b")
    await cluster.join("c", LONG)
    fourth = await cluster.take("c", PARTITIONS)
    for number in range(PARTITIONS):
        assert first[number] < second[number] < third[number] < fourth[number]


async def test_what_the_dead_held_is_free(cluster: Cluster) -> None:
    """Once it is buried, and not a moment before."""
    await cluster.join("a", SHORT)
    await cluster.join("b", LONG)
    taken = await cluster.take("a", PARTITIONS)
    await over()
    assert await cluster.take("b", 1) == {}
    await cluster.bury("a")
    look = await cluster.look("b")
    assert look is not None
    assert look.free == PARTITIONS
    assert (await cluster.take("b", PARTITIONS)).keys() == taken.keys()


async def test_only_what_is_held_is_released(cluster: Cluster) -> None:
    """Not what another one holds, nor what was taken again since: a release may come late."""
    await cluster.join("a", LONG)
    await cluster.join("b", LONG)
    others = await cluster.take("b", 5)
    own = await cluster.take("a", 5)
    await cluster.release("a", {**others, **own})
    assert await cluster.held("b") == others
    assert await cluster.held("a") == {}
    again = await cluster.take("a", 5)
    assert again.keys() == own.keys()
    await cluster.release("a", own)
    assert await cluster.held("a") == again


async def test_who_leaves_is_gone_and_what_it_held_is_free(cluster: Cluster) -> None:
    """At once; leaving twice does nothing."""
    await cluster.join("a", LONG)
    await cluster.join("b", LONG)
    await cluster.take("a", 7)
    await cluster.leave("a")
    await cluster.leave("a")
    look = await cluster.look("b")
    assert look is not None
    assert (look.alive, look.dead, look.free) == (["b"], [], PARTITIONS)
    assert await cluster.look("a") is None


# --- what connections tell each other ---


async def refusals(cluster: Cluster) -> dict[str, tuple[Outcome, str]]:
    """What everybody hears of."""
    look = await cluster.look("a")
    assert look is not None
    return {provider: (told.reason, told.by) for provider, told in look.refusals.items()}


async def test_a_pause_is_told_to_all_until_it_is_over(cluster: Cluster) -> None:
    """With its reason, and who met with it; one that is over is told no more."""
    await cluster.join("a", LONG)
    await cluster.pause("search", Refusal(Outcome.UNAUTHORIZED, LONG, "b"))
    await cluster.pause("studio", Refusal(Outcome.THROTTLED, SHORT, "b"))
    look = await cluster.look("a")
    assert look is not None
    assert 0 < look.refusals["search"].seconds <= LONG
    await over()
    assert await refusals(cluster) == {"search": (Outcome.UNAUTHORIZED, "b")}


async def test_the_longest_pause_counts(cluster: Cluster) -> None:
    """A shorter one that is told later does not end it."""
    await cluster.join("a", LONG)
    await cluster.pause("search", Refusal(Outcome.THROTTLED, LONG, "b"))
    await cluster.pause("search", Refusal(Outcome.THROTTLED, SHORT, "c"))
    await over()
    assert "search" in await refusals(cluster)


async def test_an_answer_ends_the_pause_for_all(cluster: Cluster) -> None:
    """Of that provider; afterwards it may be paused again. Where there was none nothing happens."""
    await cluster.join("a", LONG)
    for provider in ("search", "studio"):
        await cluster.pause(provider, Refusal(Outcome.THROTTLED, LONG, "b"))
    await cluster.resume("search")
    await cluster.resume("unheard-of")
    assert (await refusals(cluster)).keys() == {"studio"}
    await cluster.pause("search", Refusal(Outcome.THROTTLED, LONG, "b"))
    assert (await refusals(cluster)).keys() == {"search", "studio"}


async def test_one_at_a_time_may_probe(grounds: Sequence[Ground], cluster: Cluster) -> None:
    """Of many that ask at once one; it may ask again, others after it has let them, each provider for itself."""
    names = ["a", "b", "c"]
    for name in names:
        await cluster.join(name, LONG)
    allowed = await asyncio.gather(
        *(each.cluster.probe("search", name, LONG) for name, each in zip(names, grounds, strict=False))
    )
    assert sorted(allowed) == [False, False, True]
    prober = names[allowed.index(True)]
    other = next(name for name in names if name != prober)
    assert await cluster.probe("search", prober, LONG)
    assert await cluster.probe("studio", other, LONG)
    await cluster.probed("search", other)
    assert not await cluster.probe("search", other, LONG)
    await cluster.probed("search", prober)
    assert await cluster.probe("search", other, LONG)


async def test_a_probe_runs_out(cluster: Cluster) -> None:
    """Whoever asked may have been stopped."""
    for name in "ab":
        await cluster.join(name, LONG)
    assert await cluster.probe("search", "a", SHORT)
    await over()
    assert await cluster.probe("search", "b", LONG)


async def test_who_left_keeps_nobody_from_probing(cluster: Cluster) -> None:
    """Nor who died; whoever probes another provider has nothing to do with it."""
    for name in "ab":
        await cluster.join(name, LONG)
    assert await cluster.probe("search", "a", LONG)
    assert await cluster.probe("studio", "b", LONG)
    await cluster.leave("a")
    assert await cluster.probe("search", "b", LONG)


async def test_a_pause_and_a_probe_are_different_things(cluster: Cluster) -> None:
    """Neither changes the other."""
    for name in "ab":
        await cluster.join(name, LONG)
    await cluster.probe("search", "a", LONG)
    assert await refusals(cluster) == {}
    await cluster.pause("search", Refusal(Outcome.THROTTLED, LONG, "b"))
    await cluster.resume("search")
    assert not await cluster.probe("search", "b", LONG)


# --- fencing ---


def ended(name: str) -> tuple[Change, FinishedRun]:
    """A task that has just been seen to have ended, and the run that did."""
    task = begin(Entry(name, "search", "job", {"id": name}), T0)
    step = advance(task, Observation(Outcome.ANSWERED, State.SUCCEEDED), T0 + 5)
    assert step.transition is not None
    return Change(step.task, step.transition), FinishedRun(step.transition.transition_id, name, T0 + 5, Run(5.0))


async def test_nothing_is_written_in_an_old_epoch(ground: Ground) -> None:
    """What belongs to partitions lost is left out and they are told; the rest goes in."""
    cluster = ground.cluster
    await cluster.join("a", LONG)
    epochs = await cluster.take("a", PARTITIONS)
    lost, kept = partition_of("lost"), partition_of("kept")
    await cluster.release("a", {lost: epochs[lost]})
    await cluster.join("b", LONG)
    assert (await cluster.take("b", 1)).keys() == {lost}
    changes = [ended("lost")[0], ended("kept")[0]]
    assert set(await ground.commit(Batch(T0 + 6, changes, epochs=epochs))) == {lost}
    assert await ground.written() == {"kept"}
    assert set(await ground.commit(Batch(T0 + 7, [ended("kept")[0]], epochs={lost: 2}))) == {kept}


async def test_what_was_let_go_of_is_in_its_epoch_until_somebody_takes_it(ground: Ground) -> None:
    """A commit under way at a clean end, or of one that is dead and not replaced yet, contradicts nobody."""
    await ground.cluster.join("a", LONG)
    epochs = await ground.cluster.take("a", PARTITIONS)
    await ground.cluster.leave("a")
    assert not await ground.commit(Batch(T0 + 6, [ended("task")[0]], epochs=epochs))
    assert await ground.written() == {"task"}


# --- on PostgreSQL alone ---


@pytest.fixture
async def store(postgres_store_url: str) -> AsyncIterator[SqlStore]:
    """An empty store on PostgreSQL."""
    store = open_store(postgres_store_url)
    await store.open()
    yield store
    await store.close()


async def test_what_ticks_in_a_lost_partition_is_not_written(store: SqlStore) -> None:
    """Neither the pulse nor the run, though their task is there."""
    ground = _on(store)
    await store.watch([ended("task")[0].task.entry], T0)
    await ground.cluster.join("a", LONG)
    epochs = await ground.cluster.take("a", PARTITIONS)
    change, run = ended("task")
    pulse = Pulse("task", change.task.contact, T0 + 60)
    old = {number: epoch - 1 for number, epoch in epochs.items()}
    assert set(await store.commit(Batch(T0 + 6, [change], [pulse], runs=[run], epochs=old)))
    stored = await store.task("task")
    assert stored is not None
    assert stored.saved.next_poll_at is None
    assert await store.runs(["task"]) == {}
    assert await store.untold() == []
    assert not await store.commit(Batch(T0 + 6, [change], [pulse], runs=[run], epochs=epochs))
    assert await store.runs(["task"]) == {"task": [run.run]}


async def test_whoever_is_slow_to_choose_takes_nothing_from_who_is_quicker(
    store: SqlStore, postgres_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even from one that had not joined when the slow one looked what is free."""
    other = open_store(postgres_store_url)
    await other.open()
    slow, quick = _on(store).cluster, _on(other).cluster
    await slow.join("slow", LONG)
    with monkeypatch.context() as patched:
        free = and_(store_leases._IS_FREE, text("(SELECT pg_sleep(2)) IS NOT NULL"))
        patched.setattr(store_leases, "_IS_FREE", free)
        choosing = asyncio.create_task(slow.take("slow", PARTITIONS))
        await asyncio.sleep(0.5)
    await quick.join("quick", LONG)
    taken = await quick.take("quick", PARTITIONS)
    assert not (await choosing).keys() & taken.keys()
    assert await quick.held("quick") == taken
    await other.close()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("between", ["statements", "two messages"])
@pytest.mark.parametrize("locked", ["leases", "replicas"])
async def test_who_is_stopped_within_a_transaction_keeps_nobody_from_taking(
    store: SqlStore, postgres_store_url: str, locked: str, between: str
) -> None:
    """What it has locked is taken as soon as its transaction has been ended, the rest at once.

    Between two statements the database ends it by itself. A statement takes two messages, though, and between these no
    timeout of PostgreSQL holds.
    """
    cluster = store.cluster()
    assert cluster is not None
    await cluster.join("stopped", 0.1)
    await cluster.take("stopped", 10)
    await cluster.join("b", LONG)
    database = PostgresqlDatabase(postgres_store_url)
    engine = database.engine()
    async with engine.connect() as stopped:
        await database.bound(stopped)
        where = "owner = 'stopped'" if locked == "leases" else "id = 'stopped'"
        await stopped.execute(text(f"SELECT FROM {locked} WHERE {where} FOR NO KEY UPDATE"))
        if between == "two messages":
            raw = await stopped.get_raw_connection()
            assert raw.driver_connection is not None
            await raw.driver_connection.prepare("SELECT 1", name="")
        assert len(await cluster.take("b", PARTITIONS)) == PARTITIONS - 10
        for _ in range(20):
            look = await cluster.look("b", LONG)
            assert look is not None
            for dead in look.dead:
                # It may have to wait for the lock, and be told so.
                with suppress(StoreError):
                    await cluster.bury(dead)
            await cluster.take("b", 10)
            if len(await cluster.held("b")) == PARTITIONS:
                break
            await asyncio.sleep(0.5)
        assert len(await cluster.held("b")) == PARTITIONS
        await stopped.invalidate()
    await engine.dispose()


async def test_events_of_a_lost_partition_are_not_settled(store: SqlStore) -> None:
    """Who delivers them now knows better; what is kept is settled, and given up, in its epoch."""
    ground, outbox = _on(store), store.outbox()
    await ground.cluster.join("a", LONG)
    epochs = await ground.cluster.take("a", PARTITIONS)
    changes = [ended("lost")[0], ended("kept")[0]]
    ids = {each.transition.task: each.transition.transition_id for each in changes if each.transition}
    await store.commit(Batch(T0, changes, epochs=epochs, addressed={each: ["ops"] for each in ids.values()}))
    await ground.cluster.release("a", {partition_of("lost"): epochs[partition_of("lost")]})
    await ground.cluster.join("b", LONG)
    await ground.cluster.take("b", 1)
    due = await outbox.due("ops", T0, 10, epochs.keys())
    assert {each.transition.task for each in due} == {"lost", "kept"}
    await outbox.settle([Receipt(each, T0 + 1) for each in due], epochs)
    assert [each.transition.task for each in await outbox.due("ops", T0, 10)] == ["lost"]
    assert await outbox.give_up("ops", T0 + 99, T0 + 100, "no answer", epochs) == 0
    assert len(await outbox.due("ops", T0, 10)) == 1


async def test_no_event_of_a_lost_partition_is_put_into_the_outbox(store: SqlStore) -> None:
    """It goes with its transition."""
    ground = _on(store)
    await ground.cluster.join("a", LONG)
    epochs = await ground.cluster.take("a", PARTITIONS)
    old = {**epochs, partition_of("lost"): epochs[partition_of("lost")] - 1}
    changes = [ended("lost")[0], ended("kept")[0]]
    addressed = {each.transition.transition_id: ["ops"] for each in changes if each.transition}
    await store.commit(Batch(T0, changes, epochs=old, addressed=addressed))
    assert [each.transition.task for each in await store.outbox().due("ops", T0, 10)] == ["kept"]
