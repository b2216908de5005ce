"""A hundred replicas in virtual time: each runs the real `Membership`, on a database in memory that fails by chance.

Tasks are numbers on paper, so many to a partition. A replica may vanish, be stopped for a while (its clock goes on, it
believes what it did before), leave and join; its clock has another zero and another pace than the database's. What a
database is asked may fail, take long, or be done though the answer is lost, or though nobody waits for it any more.

`World` watches over what must never happen and writes it down in ``wrongs``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random
from statistics import median
from typing import TypeVar

import anyio
import structlog

from poller.domain.errors import StoreError
from poller.domain.shares import PARTITIONS, lifetime
from poller.protocols import Look, Member, Refusal
from poller.runtime.membership import Membership
from poller.runtime.trouble import Trouble
from tests.model.cluster import MemoryCluster

T = TypeVar("T")

TASKS = 1_000_000
_SILENT = structlog.wrap_logger(structlog.ReturnLogger(), wrapper_class=structlog.make_filtering_bound_logger(50))


@dataclass
class Faults:
    """How often the database fails a call, does it but loses the answer, or takes long; and whether it is away."""

    errors: float = 0.0
    lost: float = 0.0
    slow: float = 0.0
    away: bool = False


@dataclass(repr=False)
class World:
    """Everything there is. ``drift`` is by how much the pace of each clock, the database's too, may be off."""

    seed: int
    lease: float
    drift: float = 0.0
    faults: Faults = field(default_factory=Faults)
    replicas: list["Replica"] = field(default_factory=list)
    wrongs: list[str] = field(default_factory=list)
    overlaps: int = 0
    moved: int = 0
    commits: int = 0
    fenced: int = 0
    failovers: list[float] = field(default_factory=list)
    handovers: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = Random(self.seed)
        self.time = asyncio.get_running_loop().time
        self.database = MemoryCluster(self.some_clock(), self._on_take)
        self.names: dict[str, Replica] = {}
        self._owners: dict[tuple[int, int], Replica] = {}
        self._numbers = count(1)

    def some_clock(self) -> Callable[[], float]:
        """A clock with a zero and a pace of its own."""
        zero, pace = self.chance.uniform(-1e6, 1e6), 1 + self.chance.uniform(-self.drift, self.drift)
        return lambda: zero + pace * self.time()

    def name(self, replica: "Replica") -> str:
        """A name never used before."""
        name = f"replica-{next(self._numbers):05}"
        self.names[name] = replica
        return name

    def start(self, replicas: int) -> None:
        """Starts so many more."""
        for _ in range(replicas):
            replica = Replica(self)
            self.replicas.append(replica)
            replica.start()

    @property
    def running(self) -> list["Replica"]:
        """Those that neither vanished nor left."""
        return [each for each in self.replicas if each.runs]

    def _on_take(self, name: str, partition: int, epoch: int) -> None:
        taker, before = self.names[name], self._owners.get((partition, epoch - 1))
        self.moved += 1
        if self._owners.setdefault((partition, epoch), taker) is not taker:
            self.wrongs.append(f"{partition}/{epoch} has two owners")
        if before is None or before is taker:
            return
        if before.believes(partition, epoch - 1):
            self.overlaps += 1
        if before.crashed_at is not None:
            self.failovers.append(self.time() - before.crashed_at)
        elif before.left_at is not None:
            self.handovers.append(self.time() - before.left_at)

    async def commit(self, replica: "Replica", touched: Collection[int], made: Mapping[int, int]) -> Collection[int]:
        """What `Store.commit` does; a commit that goes in must be of the one who took the partition last."""
        lost = self.database.lost(touched, made)
        for partition in touched:
            if partition in lost:
                self.fenced += 1
                continue
            self.commits += 1
            epoch = made[partition]
            if self._owners.get((partition, epoch)) is not replica or (partition, epoch + 1) in self._owners:
                self.wrongs.append(f"{partition}/{epoch} was written by who does not hold it")
        return lost

    def whole(self) -> bool:
        """Whether every partition is held by one that runs, is watched there, and nobody has more than its share."""
        held = [each.member.epochs for each in self.running]
        sizes = [len(each) for each in held]
        if sum(sizes) != PARTITIONS or max(sizes) - min(sizes) > 1:
            return False
        merged = {number: epoch for each in held for number, epoch in each.items()}
        watched = all(each.watched == each.member.epochs.keys() for each in self.running)
        return watched and len(merged) == PARTITIONS and merged == dict(enumerate(self.database.epochs))

    async def until_whole(self, within: float) -> float:
        """After how many seconds everything is held, watched and shared fairly; more than ``within`` is wrong."""
        began = self.time()
        while not self.whole():
            if self.time() - began > within:
                self.wrongs.append(f"not whole {within:.0f} s after the last disturbance")
                break
            await asyncio.sleep(0.1)
        return self.time() - began

    def two_are_certain(self) -> int:
        """How many partitions two replicas are certain of at this moment."""
        certain = [number for each in self.running if each.member.is_certain() for number in each.member.epochs]
        return len(certain) - len(set(certain))

    async def end(self) -> None:
        """Stops everything."""
        for each in self.running:
            each.crash()
        await asyncio.sleep(0)

    def figures(self, title: str, **more: float) -> str:
        """What happened, for people."""
        each = TASKS // PARTITIONS
        told = {
            "replicas ever": len(self.replicas),
            "partitions moved": self.moved,
            "tasks moved": self.moved * each,
            "commits checked": self.commits,
            "fenced": self.fenced,
            "overlaps": self.overlaps,
            "fail-over p50": median(self.failovers or [0.0]),
            "fail-over max": max(self.failovers, default=0.0),
            "after leave p50": median(self.handovers or [0.0]),
            "after leave max": max(self.handovers, default=0.0),
            **more,
        }
        return f"{title}: " + ", ".join(f"{name} {round(value, 2):,}" for name, value in told.items())


class Replica:
    """A process: the real `Membership`, somebody who commits what it holds, and a way to the database."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.runs = False
        self.crashed_at: float | None = None
        self.left_at: float | None = None
        self.watched: set[int] = set()
        self.calls = 0
        self.renewals = 0
        self._awake = asyncio.Event()
        self._awake.set()
        self._tasks: list[asyncio.Task[None]] = []
        self.member = Membership(
            Link(self),
            name=partial(world.name, self),
            lease=world.lease,
            clock=world.some_clock(),
            logger=_SILENT,
            trouble=Trouble(_SILENT),
        )

    def start(self) -> None:
        """Joins and takes part."""
        self.runs = True
        self._tasks = [asyncio.create_task(self._live()), asyncio.create_task(self._work())]

    def crash(self) -> None:
        """Is gone, without a word."""
        self.runs = False
        self.crashed_at = self.world.time()
        for task in self._tasks:
            task.cancel()

    async def leave(self) -> None:
        """Ends as a daemon does."""
        for task in self._tasks:
            task.cancel()
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(5):
                await self.member.leave()
        self.runs = False
        self.left_at = self.world.time()

    def stop(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after so many seconds."""
        self._awake.clear()
        asyncio.get_running_loop().call_later(seconds, self.wake)

    def wake(self) -> None:
        """SIGCONT."""
        self._awake.set()

    async def awake(self) -> None:
        """Goes on when it is not stopped; whoever is to be cancelled notices only then."""
        with anyio.CancelScope(shield=True):
            await self._awake.wait()

    def believes(self, partition: int, epoch: int) -> bool:
        """Whether it is certain to hold ``partition`` in this epoch."""
        return self.runs and self.member.epochs.get(partition) == epoch and self.member.is_certain()

    async def _live(self) -> None:
        while True:
            with suppress(StoreError, TimeoutError):
                async with asyncio.timeout(self.world.lease / 2):
                    await self.member.join(self)
                    await self.member.step()
                    break
            await asyncio.sleep(1)
        await self.member.run()

    async def _work(self) -> None:
        chance, link = self.world.chance, Link(self)
        while True:
            await asyncio.sleep(chance.uniform(0.5, 1.5))
            await self.awake()
            made = dict(self.member.epochs)
            touched = chance.sample(sorted(made), min(8, len(made)))
            with suppress(StoreError):
                await link.call(partial(self.world.commit, self, touched, made))

    # --- Holder ---

    def hold(self, partitions: Collection[int]) -> None:
        if self.watched & set(partitions):
            self.world.wrongs.append("begins to watch what it watches")
        self.watched.update(partitions)

    async def hand_over(self, partitions: Collection[int]) -> None:
        self.watched.difference_update(partitions)
        await asyncio.sleep(self.world.chance.uniform(0, 2) if self.world.faults.slow else 0.05)

    def drop(self, partitions: Collection[int]) -> None:
        self.watched.difference_update(partitions)

    def follow(self, revision: int) -> None: ...

    def heed(self, replicas: int, refusals: Mapping[str, Refusal], unsaid: Collection[str]) -> None: ...

    def confirmed(self) -> None: ...


class Link:
    """A replica's way to the database. Implements `protocols.Cluster`."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._world = replica.world
        self._database = replica.world.database

    async def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """Does ``work`` in the database, or not; like the store it goes on when nobody waits any more."""
        await self._replica.awake()
        self._replica.calls += 1
        faults, chance = self._world.faults, self._world.chance
        if faults.slow and chance.random() < faults.slow:
            running = asyncio.ensure_future(self._done(work, chance.uniform(0, 1.5 * lifetime(self._world.lease))))
            running.add_done_callback(lambda it: it.cancelled() or it.exception())
            result = await asyncio.shield(running)
        else:
            result = await self._done(work, chance.uniform(0.001, 0.02))
        await self._replica.awake()
        return result

    async def _done(self, work: Callable[[], Awaitable[T]], seconds: float) -> T:
        faults, chance = self._world.faults, self._world.chance
        await asyncio.sleep(seconds)
        if faults.away:
            await asyncio.sleep(chance.choice([0.0, 10.0]))
        if faults.away or chance.random() < faults.errors:
            raise StoreError("cannot be reached")
        result = await work()
        if chance.random() < faults.lost:
            raise StoreError("the connection broke")
        return result

    async def join(self, replica: str, seconds: float) -> None:
        await self.call(partial(self._database.join, replica, seconds))

    async def look(self, replica: str, seconds: float | None = None) -> Look | None:
        self._replica.renewals += seconds is not None
        return await self.call(partial(self._database.look, replica, seconds))

    async def members(self) -> Sequence[Member]:
        return await self.call(self._database.members)

    async def bury(self, dead: str) -> bool:
        return await self.call(partial(self._database.bury, dead))

    async def held(self, replica: str) -> Mapping[int, int]:
        return await self.call(partial(self._database.held, replica))

    async def take(self, replica: str, count: int) -> Mapping[int, int]:
        return await self.call(partial(self._database.take, replica, count))

    async def release(self, replica: str, epochs: Mapping[int, int]) -> None:
        await self.call(partial(self._database.release, replica, dict(epochs)))

    async def leave(self, replica: str) -> None:
        await self.call(partial(self._database.leave, replica))

    async def pause(self, provider: str, refusal: Refusal) -> None:
        await self.call(partial(self._database.pause, provider, refusal))

    async def resume(self, provider: str) -> None:
        await self.call(partial(self._database.resume, provider))

    async def probe(self, provider: str, replica: str, seconds: float) -> bool:
        return await self.call(partial(self._database.probe, provider, replica, seconds))

    async def probed(self, provider: str, replica: str) -> None:
        await self.call(partial(self._database.probed, provider, replica))
