"""This replica among the others: what it holds, what it may believe, and what it tells the others."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, cast

import anyio
import pytest
import structlog

from poller.domain.errors import StoreError
from poller.domain.observation import Outcome
from poller.domain.shares import PARTITIONS, lifetime, trusted
from poller.protocols import Cluster, Refusal
from poller.runtime.membership import LOOK_EVERY, SOLE, Membership
from poller.runtime.trouble import Trouble
from tests.model.cluster import MemoryCluster

# Nothing comes from outside, so nothing is waited for before time goes on.
pytestmark = pytest.mark.looptime(noop_cycles=0)

LEASE = 15.0
EVERYTHING = set(range(PARTITIONS))


class Way:
    """A way to the cluster: calls by name ``fail`` before or are ``lost`` after what they do, or ``wait`` before it.

    What waits is done in the end, whether anybody still waits for it or not. A cluster that is ``away`` does nothing.
    """

    def __init__(self, database: MemoryCluster) -> None:
        self._database = database
        self.fail: set[str] = set()
        self.lost: set[str] = set()
        self.wait: dict[str, float] = {}
        self.away = False
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any) -> Any:
            self.calls[name] += 1
            if self.away or name in self.fail:
                raise StoreError("cannot be reached")
            done = asyncio.ensure_future(self._do(name, arguments))
            return await asyncio.shield(done)

        return call

    async def _do(self, name: str, arguments: tuple[Any, ...]) -> Any:
        await asyncio.sleep(self.wait.get(name, 0.0))
        result = await getattr(self._database, name)(*arguments)
        if name in self.lost:
            raise StoreError("the connection broke")
        return result


class House:
    """A holder that remembers what it was told, and hands over as slowly as it is told to."""

    def __init__(self) -> None:
        self.watched: set[int] = set()
        self.held: list[set[int]] = []
        self.dropped: set[int] = set()
        self.handed_over: list[set[int]] = []
        self.revision = 0
        self.slow = 0.0
        self.heeded: list[tuple[int, Mapping[str, Refusal], set[str]]] = []
        self.confirmations = 0

    def hold(self, partitions: Collection[int]) -> None:
        assert not self.watched & set(partitions)
        self.watched.update(partitions)
        self.held.append(set(partitions))

    async def hand_over(self, partitions: Collection[int]) -> None:
        self.watched.difference_update(partitions)
        await asyncio.sleep(self.slow)
        self.handed_over.append(set(partitions))

    def drop(self, partitions: Collection[int]) -> None:
        self.watched.difference_update(partitions)
        self.dropped.update(partitions)

    def follow(self, revision: int) -> None:
        self.revision = revision

    def heed(self, replicas: int, refusals: Mapping[str, Refusal], unsaid: Collection[str]) -> None:
        self.heeded.append((replicas, dict(refusals), set(unsaid)))

    def confirmed(self) -> None:
        self.confirmations += 1


class Replica:
    """A membership, its way to the cluster, and its holder. ``ahead``: its clock has run on, it was asleep."""

    def __init__(self, database: MemoryCluster, name: str) -> None:
        loop, names = asyncio.get_running_loop(), iter([name, *(f"{name}{number}" for number in range(2, 100))])
        self.logs = structlog.testing.LogCapture()
        logger = structlog.wrap_logger(
            None, processors=[self.logs], wrapper_class=structlog.make_filtering_bound_logger(0)
        )
        self.way, self.house, self.ahead = Way(database), House(), 0.0
        self.member = Membership(
            cast(Cluster, self.way),
            name=lambda: next(names),
            lease=LEASE,
            clock=lambda: 1e6 + loop.time() + self.ahead,
            logger=logger,
            trouble=Trouble(logger),
        )

    async def start(self) -> None:
        await self.member.join(self.house)
        await self.member.step()

    def run(self) -> None:
        self.running = asyncio.create_task(self.member.run())

    async def go(self) -> None:
        await self.start()
        self.run()

    async def stop(self) -> None:
        self.running.cancel()
        with suppress(asyncio.CancelledError):
            await self.running

    def events(self) -> list[str]:
        return [line["event"] for line in self.logs.entries]


@pytest.fixture
async def database() -> MemoryCluster:
    """An empty cluster."""
    return MemoryCluster(asyncio.get_running_loop().time)


@pytest.fixture
async def one(database: MemoryCluster) -> AsyncIterator[Replica]:
    """A replica that is yet to be started: time is virtual only within the test."""
    replica = Replica(database, "one")
    yield replica
    await replica.stop()


async def another(database: MemoryCluster, name: str = "two") -> Replica:
    """One more, that has taken its first step."""
    replica = Replica(database, name)
    await replica.start()
    return replica


async def test_the_first_takes_everything_at_once(one: Replica, database: MemoryCluster) -> None:
    """In its first step, so that a daemon that is ready watches what it is to watch."""
    await one.go()
    assert one.member.held == PARTITIONS
    assert one.house.watched == EVERYTHING == set(one.member.epochs) == database.owned["one"]
    assert one.member.is_certain()
    assert one.member.may_poll()
    assert one.house.heeded[0] == (1, {}, set())


async def test_two_share(one: Replica, database: MemoryCluster) -> None:
    """Half for each within a few looks; what was handed over is made durable first."""
    await one.go()
    two = await another(database)
    two.run()
    await asyncio.sleep(4 * LOOK_EVERY)
    assert one.member.held == two.member.held == PARTITIONS // 2
    assert one.house.watched == set(one.member.epochs)
    assert two.house.watched == set(two.member.epochs) == EVERYTHING - one.house.watched
    assert one.house.handed_over == [two.house.watched]
    assert one.member.count == two.member.count == 2
    await two.stop()


async def test_who_leaves_is_replaced_at_once(one: Replica, database: MemoryCluster) -> None:
    """Without waiting for a lease; who left is certain of nothing."""
    await one.go()
    two = await another(database)
    two.run()
    await asyncio.sleep(2)
    await two.stop()
    await two.member.leave()
    assert not two.member.is_certain()
    await asyncio.sleep(2 * LOOK_EVERY)
    assert one.house.watched == EVERYTHING
    assert one.member.failovers == 0


async def test_the_dead_are_replaced_within_a_lease(one: Replica, database: MemoryCluster) -> None:
    """And counted."""
    await one.go()
    two = await another(database)
    two.run()
    await asyncio.sleep(2)
    await two.stop()
    await asyncio.sleep(LEASE)
    assert one.house.watched == EVERYTHING
    assert one.member.failovers == 1
    assert "replica.died" in one.events()


async def test_who_slept_doubts_and_does_not_poll(one: Replica) -> None:
    """By its own clock it may be dead, until it hears that it is not."""
    await one.go()
    one.ahead = LEASE
    assert not one.member.is_certain()
    assert not one.member.may_poll()
    before = one.house.confirmations
    await asyncio.sleep(2 * LOOK_EVERY)
    assert one.member.is_certain()
    assert one.house.confirmations > before
    assert one.house.dropped == set()


async def test_it_believes_for_less_than_it_lives(one: Replica, database: MemoryCluster) -> None:
    """From before it asked: of two clocks one may be slower."""
    await one.go()
    await one.stop()
    expires = database.expires["one"]
    now = asyncio.get_running_loop().time()
    await asyncio.sleep(expires - now - (lifetime(LEASE) - trusted(LEASE)) / 2)
    assert not one.member.is_certain()
    assert not await database.bury("one")


async def test_who_was_declared_dead_comes_back_as_another(one: Replica, database: MemoryCluster) -> None:
    """Everything it had is dropped, and its share taken anew in new epochs."""
    await one.go()
    before = dict(one.member.epochs)
    await database.leave("one")
    await asyncio.sleep(3 * LOOK_EVERY)
    assert one.house.dropped == EVERYTHING
    assert one.member.id == "one2"
    assert one.house.watched == EVERYTHING
    assert all(one.member.epochs[number] > epoch for number, epoch in before.items())
    assert one.member.is_certain()


@pytest.mark.parametrize("how", ["fail", "lost"])
async def test_coming_back_makes_no_second_self(how: str, one: Replica, database: MemoryCluster) -> None:
    """When joining fails, or is done and nobody hears of it, it is tried under the same name."""
    await one.go()
    getattr(one.way, how).add("join")
    await database.leave("one")
    await asyncio.sleep(5)
    assert one.events().count("replica.lost_leases") == 1
    getattr(one.way, how).clear()
    await asyncio.sleep(1.5)
    assert set(database.expires) == {"one2"}
    assert one.house.watched == EVERYTHING


async def test_joined_without_knowing_it_can_be_lost_again(one: Replica, database: MemoryCluster) -> None:
    """What it has taken since is dropped like everything else."""
    await one.go()
    one.way.lost.add("join")
    await database.leave("one")
    await asyncio.sleep(2)
    one.way.lost.clear()
    await asyncio.sleep(2)
    one.house.dropped.clear()
    await database.leave(one.member.id)
    await asyncio.sleep(2)
    assert one.house.dropped == EVERYTHING == one.house.watched
    assert set(database.expires) == {"one3"}


async def test_what_is_taken_without_an_answer_is_held(database: MemoryCluster) -> None:
    """As soon as the store is heard of again."""
    one = Replica(database, "one")
    one.way.lost.add("take")
    with pytest.raises(StoreError):
        await one.start()
    assert one.house.watched == set()
    one.way.lost.clear()
    await one.member.step()
    assert one.house.watched == EVERYTHING
    assert dict(await database.held("one")) == one.member.epochs


@pytest.mark.parametrize("how", ["fail", "lost"])
async def test_what_is_let_go_of_is_let_go_of_in_the_end(how: str, one: Replica, database: MemoryCluster) -> None:
    """A release that fails, or is done unheard, is done again; meanwhile it is not watched once more."""
    await one.go()
    getattr(one.way, how).add("release")
    two = await another(database)
    two.run()
    await asyncio.sleep(3)
    assert len(one.house.watched) == PARTITIONS // 2
    assert len(one.house.dropped) == 0
    assert one.house.held == [EVERYTHING]
    getattr(one.way, how).clear()
    await asyncio.sleep(2)
    assert two.house.watched == EVERYTHING - one.house.watched
    assert len(two.house.watched) == PARTITIONS // 2
    await two.stop()


async def test_a_release_that_comes_late_takes_nothing_away(one: Replica, database: MemoryCluster) -> None:
    """Though nobody waits for it any more when it is done, and the same partitions were taken again by then."""
    await one.go()
    one.way.wait["release"] = 60.0
    await database.join("two", LEASE)
    await asyncio.sleep(1)
    one.way.wait.clear()
    await asyncio.sleep(10)
    await database.leave("two")
    await asyncio.sleep(2)
    assert one.house.watched == EVERYTHING
    epochs = dict(one.member.epochs)
    await asyncio.sleep(80)
    assert one.member.epochs == epochs == await database.held("one")


async def test_what_is_slow_to_be_handed_over_is_not_forgotten(one: Replica, database: MemoryCluster) -> None:
    """It is let go of when its time is over, or by a later step; never is something held that nobody watches."""
    await one.go()
    one.house.slow = 3600.0
    await database.join("two", lifetime(LEASE))
    await asyncio.sleep(8)
    await database.leave("two")
    await asyncio.sleep(8)
    assert one.house.watched == set(one.member.epochs) == EVERYTHING
    assert one.member.store_answers


async def test_a_step_that_is_cut_off_while_handing_over_is_made_up_for(database: MemoryCluster) -> None:
    """Even when the share is larger by then: what is not watched any more is let go of and taken again."""
    one = await another(database, "one")
    await database.join("two", LEASE)
    one.house.slow = 1.0
    with anyio.move_on_after(0.5):
        await one.member.step()
    assert len(one.house.watched) == PARTITIONS // 2
    await database.leave("two")
    for _ in range(3):
        await one.member.step()
    assert one.house.watched == EVERYTHING == set(one.member.epochs)


async def test_without_the_store_it_goes_on(one: Replica) -> None:
    """With what it holds, for as long as it takes; it says once that something is wrong, and once that it is well."""
    await one.go()
    two_hours = 7200.0
    one.way.away = True
    await asyncio.sleep(two_hours)
    assert one.house.watched == EVERYTHING
    assert one.member.may_poll()
    assert not one.member.store_answers
    assert one.member.is_certain()  # It was alone.
    one.way.away = False
    await asyncio.sleep(1)
    assert one.member.store_answers
    assert one.events()[-2:] == ["store.failing", "store.recovered"]


async def test_without_the_store_one_of_two_is_not_certain_for_long(one: Replica, database: MemoryCluster) -> None:
    """It goes on polling, but the other one may have taken over."""
    await one.go()
    two = await another(database)
    two.run()
    await asyncio.sleep(2)
    one.way.away = True
    await asyncio.sleep(lifetime(LEASE))
    assert not one.member.is_certain()
    assert one.member.may_poll()
    await two.stop()


async def test_a_store_that_does_not_answer_is_not_waited_for(one: Replica) -> None:
    """Half a life, and then it is asked again."""
    await one.go()
    one.way.wait["look"] = 3600.0
    await asyncio.sleep(lifetime(LEASE))
    assert not one.member.store_answers
    one.way.wait.clear()
    await asyncio.sleep(lifetime(LEASE) / 2 + 1)
    assert one.member.store_answers


async def test_signs_of_life_are_fewer_than_looks(one: Replica) -> None:
    """A calm replica asks for nothing else."""
    await one.go()
    one.way.calls.clear()
    await asyncio.sleep(60)
    assert set(one.way.calls) == {"look"}
    assert one.way.calls["look"] <= 60 / LOOK_EVERY + 1


async def test_it_follows_the_watchlist(one: Replica, database: MemoryCluster) -> None:
    """Within a look, also while something else cannot be done."""
    await one.go()
    database.revision = 7
    one.way.fail.add("release")
    await database.join("two", LEASE)
    await asyncio.sleep(2 * LOOK_EVERY)
    assert one.house.revision == 7


# --- what connections tell each other ---


async def test_what_a_provider_refused_is_told_to_the_others(one: Replica, database: MemoryCluster) -> None:
    """With what is left of the pause, and that it is over; who told it need not hear it."""
    await one.go()
    two = await another(database)
    one.member.refused("search", Outcome.THROTTLED, 30.0)
    await asyncio.sleep(1)
    await two.member.step()
    _, refusals, _ = two.house.heeded[-1]
    assert refusals["search"].reason is Outcome.THROTTLED
    assert 28 <= refusals["search"].seconds <= 30
    assert one.house.heeded[-1][1] == {}
    one.member.answered("search")
    await asyncio.sleep(1)
    await two.member.step()
    assert two.house.heeded[-1][1] == {}


async def test_what_is_not_said_yet_is_known_here(one: Replica, database: MemoryCluster) -> None:
    """What the others told of that provider is older."""
    await one.go()
    one.way.fail.add("pause")
    one.member.refused("search", Outcome.THROTTLED, 600.0)
    await asyncio.sleep(2)
    assert one.house.heeded[-1][2] == {"search"}
    one.way.fail.clear()
    await asyncio.sleep(1)
    assert one.house.heeded[-1][2] == set()
    look = await database.look("one")
    assert look is not None
    assert look.refusals["search"].seconds < 599


async def test_a_pause_that_is_over_is_not_told_any_more(one: Replica, database: MemoryCluster) -> None:
    """Though it was refused while the store was away."""
    await one.go()
    await asyncio.sleep(0.1)
    one.way.away = True
    one.member.refused("search", Outcome.THROTTLED, 30.0)
    await asyncio.sleep(60)
    one.way.away = False
    await asyncio.sleep(2)
    assert one.way.calls["pause"] == 0
    assert one.house.heeded[-1][2] == set()


async def test_the_latest_counts_of_what_is_to_be_said(one: Replica, database: MemoryCluster) -> None:
    """Also when it comes while the one before it is being said."""
    await one.go()
    one.way.wait["pause"] = 1.0
    one.member.refused("search", Outcome.THROTTLED, 600.0)
    await asyncio.sleep(0.5)
    one.member.answered("search")
    await asyncio.sleep(3)
    look = await database.look("one")
    assert look is not None
    assert look.refusals == {}


async def test_what_cannot_be_said_keeps_nobody_from_living(one: Replica, database: MemoryCluster) -> None:
    """Signs of life go on while a pause cannot be told."""
    await one.go()
    one.way.fail |= {"pause", "probed"}
    one.member.refused("search", Outcome.THROTTLED, 3600.0)
    one.member.probed("search")
    await asyncio.sleep(3 * LEASE)
    assert await database.look("one") is not None
    assert not await database.bury("one")


async def test_others_have_their_turn_after_a_probe(one: Replica, database: MemoryCluster) -> None:
    """Not again before it was said that the probe has come back."""
    await one.go()
    await database.join("two", LEASE)
    assert await one.member.may_probe("search", 60)
    assert not await database.probe("search", "two", 60)
    one.member.probed("search")
    assert not await one.member.may_probe("search", 60)
    await asyncio.sleep(1)
    assert await database.probe("search", "two", 60)
    assert not await one.member.may_probe("search", 60)


async def test_each_probe_that_came_back_is_said(one: Replica, database: MemoryCluster) -> None:
    """Also one that comes back while another one is being said."""
    await one.go()
    await database.join("two", LEASE)
    for provider in ("a", "b"):
        assert await one.member.may_probe(provider, 600)
    one.way.wait["probed"] = 0.5
    one.member.probed("b")
    one.way.calls.clear()
    while not one.way.calls["probed"]:
        await asyncio.sleep(0.01)
    one.member.probed("a")
    await asyncio.sleep(3)
    assert await database.probe("a", "two", 600)
    assert await database.probe("b", "two", 600)


async def test_without_the_store_every_replica_probes(one: Replica) -> None:
    """Again and again, though nobody can be told that the last probe has come back."""
    await one.go()
    one.way.fail.add("probe")
    assert await one.member.may_probe("search", 60)
    one.way.away = True
    await asyncio.sleep(1)
    for _ in range(3):
        assert await one.member.may_probe("search", 60)
        one.member.probed("search")


async def test_who_is_alone_shares_with_nobody() -> None:
    """It holds everything, is certain, and has nobody to tell."""
    assert (SOLE.epochs, SOLE.count, SOLE.held, SOLE.failovers) == (None, 1, PARTITIONS, 0)
    assert SOLE.may_poll()
    assert SOLE.is_certain()
    assert await SOLE.may_probe("search", 60)
    SOLE.probed("search")
    SOLE.refused("search", Outcome.THROTTLED, 60)
    SOLE.answered("search")


async def test_the_members_are_told_and_which_of_them_this_is(one: Replica, database: MemoryCluster) -> None:
    """For people, by one question to the store."""
    await one.go()
    await database.join("two", 600.0)
    told = await one.member.members()
    assert [(each.name, each.partitions, each.is_here) for each in told] == [
        ("one", PARTITIONS, True),
        ("two", 0, False),
    ]
    assert one.way.calls["members"] == 1
    assert await SOLE.members() == ()


async def test_members_are_not_waited_for_for_long(one: Replica) -> None:
    """A store that does not answer is trouble, told as such."""
    await one.go()
    one.way.wait["members"] = 1000.0
    with pytest.raises(StoreError, match="does not answer"):
        await one.member.members()
    one.way.fail.add("members")
    with pytest.raises(StoreError, match="cannot be reached"):
        await one.member.members()
