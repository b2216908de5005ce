"""A hundred replicas share a million tasks in a thousand partitions: what holds whatever happens to them.

With ``-s`` the figures are shown; all of them are in virtual seconds.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable

import pytest

from poller.domain.shares import PARTITIONS, lifetime, renew_every, trusted
from poller.runtime.membership import LOOK_EVERY
from tests.model.world import Faults, World

# Nothing comes from outside, so nothing is waited for before time goes on.
pytestmark = [pytest.mark.looptime(noop_cycles=0), pytest.mark.timeout(300)]

REPLICAS = 100
LEASE = 15.0
"""The one of the config's default."""
SHORT = 6.0
"""A lease for storms: more happens in a second."""
MARGIN = 1 - trusted(LEASE) / lifetime(LEASE)
"""By how much a replica's clock may be slower than the database's."""

Make = Callable[..., World]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes a world with all replicas started."""
    worlds: list[World] = []

    def started(seed: int, lease: float, drift: float = 0.0) -> World:
        world = World(seed, lease, drift)
        world.start(REPLICAS)
        worlds.append(world)
        return world

    yield started
    for world in worlds:
        await world.end()


def show(figures: str) -> None:
    sys.stdout.write(f"\n{figures}\n")


async def storm(world: World, seconds: float) -> None:
    """Whatever can go wrong, at random; in the end there are as many replicas as before, and all is well again."""
    chance, end = world.chance, world.time() + seconds
    while world.time() < end:
        await asyncio.sleep(chance.expovariate(3))
        world.overlaps += world.two_are_certain()
        await disturb(world)
    world.faults = Faults()
    await asyncio.gather(*leaving)
    for each in world.running:
        each.wake()
    world.start(REPLICAS - len(world.running))


async def disturb(world: World) -> None:
    """One thing that goes wrong."""
    chance = world.chance
    victim = chance.choice(world.running)
    match chance.randrange(6):
        case 0:
            victim.crash()
        case 1 | 2:
            victim.stop(chance.choice([chance.uniform(0, 1), chance.uniform(0, 2 * world.lease)]))
        case 3:
            leaving.add(task := asyncio.create_task(victim.leave()))
            task.add_done_callback(leaving.discard)
        case 4:
            world.start(max(0, REPLICAS - len(world.running)))
        case _:
            world.faults = chance.choice(
                [
                    Faults(),
                    Faults(errors=0.2),
                    Faults(lost=0.2),
                    Faults(slow=0.1),
                    Faults(errors=0.1, lost=0.1, slow=0.1),
                    Faults(away=True),
                ]
            )


leaving: set[asyncio.Task[None]] = set()
"""Kept, so that nobody collects them."""


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whatever_happens_each_partition_is_one_replicas(seed: int, make: Make) -> None:
    """No epoch has two owners, nothing is written by who lost it, and no two are certain of one partition.

    As long as the clocks differ by less than the margin. Two lease times after the last disturbance every partition is
    held and watched again, in fair shares.
    """
    world = make(seed, SHORT, drift=MARGIN * 0.45)
    await world.until_whole(2 * SHORT)
    await storm(world, 40)
    calm = await world.until_whole(2 * SHORT)
    show(world.figures(f"storm, seed {seed}", whole_after=calm))
    assert world.wrongs == []
    assert world.overlaps == 0
    assert world.commits > 5_000
    assert world.fenced > 0


@pytest.mark.parametrize("seed", [1, 2])
async def test_fencing_alone_keeps_what_is_written_right(seed: int, make: Make) -> None:
    """Clocks that differ by much more than the margin let two be certain; yet nothing is written by who lost it."""
    world = make(seed, SHORT, drift=0.4)
    await world.until_whole(2 * SHORT)
    await storm(world, 25)
    show(world.figures(f"beyond the margin, seed {seed}"))
    assert world.wrongs == []
    assert world.overlaps > 0
    assert world.fenced > 0


async def test_what_the_dead_held_is_taken_over_within_a_lease(make: Make) -> None:
    """One, ten or half of all die at once; afterwards the shares are fair. In calm it costs little."""
    world = make(7, LEASE)
    await world.until_whole(LEASE)
    for deaths in (1, 10, REPLICAS // 2):
        for victim in world.chance.sample(world.running, deaths):
            victim.crash()
        await world.until_whole(2 * LEASE)
        world.start(deaths)
        await world.until_whole(2 * LEASE)
    calls, renewals = rates = await cost(world, 10)
    show(world.figures("deaths", calls_per_second=calls, renewals_per_second=renewals))
    assert world.wrongs == []
    assert world.overlaps == world.fenced == 0
    assert len(world.failovers) >= PARTITIONS // 2
    assert max(world.failovers) <= LEASE
    assert rates[0] <= 1 / LOOK_EVERY + 0.1
    assert rates[1] <= 1 / renew_every(LEASE)


async def cost(world: World, seconds: float) -> tuple[float, float]:
    """Calls of the database that membership makes, and those of them that write, per replica and second."""
    before = [(each.calls, each.renewals) for each in world.running]
    worked = len(world.running)
    await asyncio.sleep(seconds)
    calls = sum(each.calls for each in world.running) - sum(calls for calls, _ in before)
    renewals = sum(each.renewals for each in world.running) - sum(renewals for _, renewals in before)
    return calls / worked / seconds - 1.0, renewals / worked / seconds


async def test_replicas_are_replaced_one_after_another(make: Make) -> None:
    """As in a rollout: each new one joins before an old one leaves; what is let go of is held again in a moment."""
    world = make(9, LEASE)
    await world.until_whole(LEASE)
    old = world.running
    for each in old:
        world.start(1)
        await asyncio.sleep(0.5)
        await each.leave()
    calm = await world.until_whole(LEASE)
    show(world.figures("rollout", whole_after=calm))
    assert world.wrongs == []
    assert world.overlaps == world.fenced == 0
    assert max(world.handovers) <= 3.0
