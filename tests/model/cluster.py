"""The replicas' common ground in memory, with a clock of its own: what SqlCluster does in tables, without them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from poller.domain.observation import Outcome
from poller.domain.shares import PARTITIONS, partition_of
from poller.protocols import Batch, Look, Member, Refusal


@dataclass
class _Connection:
    reason: Outcome = Outcome.THROTTLED
    paused_until: float = float("-inf")
    paused_by: str = ""
    prober: str | None = None
    probing_until: float = float("-inf")


@dataclass
class MemoryCluster:
    """Implements `protocols.Cluster`. Each method is one transaction: nothing comes in between.

    ``clock`` is the database's. ``on_take`` sees (replica, partition, new epoch) of whatever is taken.
    """

    clock: Callable[[], float]
    on_take: Callable[[str, int, int], None] = lambda _replica, _partition, _epoch: None
    revision: int = 0
    expires: dict[str, float] = field(default_factory=dict)
    joined: dict[str, float] = field(default_factory=dict)
    epochs: list[int] = field(default_factory=lambda: [0] * PARTITIONS)
    owned: dict[str, set[int]] = field(default_factory=dict)
    free: set[int] = field(default_factory=lambda: set(range(PARTITIONS)))
    written: list[str] = field(default_factory=list)
    _connections: dict[str, _Connection] = field(default_factory=dict)

    async def join(self, replica: str, seconds: float) -> None:
        self.expires[replica] = self.clock() + seconds
        self.joined.setdefault(replica, self.clock())
        self.owned.setdefault(replica, set())

    async def look(self, replica: str, seconds: float | None = None) -> Look | None:
        if replica not in self.expires:
            return None
        now = self.clock()
        if seconds is not None:
            self.expires[replica] = now + seconds
        dead = [each for each, until in self.expires.items() if until <= now and each != replica]
        return Look(
            alive=[each for each in self.expires if each not in dead],
            dead=dead,
            held=len(self.owned[replica]),
            free=len(self.free),
            revision=self.revision,
            refusals={
                provider: Refusal(each.reason, each.paused_until - now, each.paused_by)
                for provider, each in self._connections.items()
                if each.paused_until > now
            },
        )

    async def members(self) -> Sequence[Member]:
        now = self.clock()
        alive = sorted((self.joined[each], each) for each, until in self.expires.items() if until > now)
        return [Member(name, len(self.owned[name]), now - joined) for joined, name in alive]

    async def bury(self, dead: str) -> bool:
        if self.expires.get(dead, float("inf")) >= self.clock():
            return False
        await self.leave(dead)
        return True

    async def held(self, replica: str) -> Mapping[int, int]:
        return {number: self.epochs[number] for number in self.owned.get(replica, ())}

    async def take(self, replica: str, count: int) -> Mapping[int, int]:
        if replica not in self.expires:
            return {}
        taken = sorted(self.free)[:count]
        self.free.difference_update(taken)
        self.owned[replica].update(taken)
        for number in taken:
            self.epochs[number] += 1
            self.on_take(replica, number, self.epochs[number])
        return {number: self.epochs[number] for number in taken}

    async def release(self, replica: str, epochs: Mapping[int, int]) -> None:
        owned = self.owned.get(replica, set())
        released = {number for number, epoch in epochs.items() if number in owned and self.epochs[number] == epoch}
        owned -= released
        self.free |= released

    async def leave(self, replica: str) -> None:
        self.expires.pop(replica, None)
        self.free |= self.owned.pop(replica, set())

    async def pause(self, provider: str, refusal: Refusal) -> None:
        told = self._connection(provider)
        told.reason, told.paused_by = refusal.reason, refusal.by
        told.paused_until = max(told.paused_until, self.clock() + refusal.seconds)

    async def resume(self, provider: str) -> None:
        self._connection(provider).paused_until = float("-inf")

    async def probe(self, provider: str, replica: str, seconds: float) -> bool:
        asked, now = self._connection(provider), self.clock()
        if asked.prober in self.expires and asked.prober != replica and asked.probing_until >= now:
            return False
        asked.prober, asked.probing_until = replica, now + seconds
        return True

    async def probed(self, provider: str, replica: str) -> None:
        asked = self._connection(provider)
        if asked.prober == replica:
            asked.prober = None

    async def commit(self, batch: Batch) -> Collection[int]:
        """Like `Store.commit`; keeps the names of what was changed."""
        names = [change.task.entry.name for change in batch.changes]
        lost = self.lost({partition_of(name) for name in names}, batch.epochs or {})
        self.written += [name for name in names if partition_of(name) not in lost]
        return lost

    def lost(self, touched: Collection[int], epochs: Mapping[int, int]) -> frozenset[int]:
        """Which of the partitions ``touched`` are in another epoch than ``epochs`` say."""
        return frozenset(number for number in touched if epochs.get(number) != self.epochs[number])

    def _connection(self, provider: str) -> _Connection:
        return self._connections.setdefault(provider, _Connection())
