"""Who lives, who holds what, and who may ask: `protocols.Cluster` on PostgreSQL, all of it by the database's clock.

A replica is alive as long as its row is there; whoever finds that its time is over deletes it, and by that alone all it
holds is free. So there is one row to fight for: a sign of life that comes late either finds its row and has been in
time, or finds none and knows that it has lost everything. A partition that is taken gets its next epoch; a commit locks
the leases it relies on and compares epochs in its own transaction.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Double,
    Select,
    and_,
    bindparam,
    cast,
    delete,
    exists,
    extract,
    func,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from poller.domain.errors import StoreError
from poller.domain.observation import Outcome
from poller.domain.shares import partition_of
from poller.protocols import Batch, Look, Member, Refusal
from poller.store.schema import connections, leases, metadata, replicas, watchlist

if TYPE_CHECKING:
    from poller.store.statements import Insert

_NOW = cast(extract("epoch", func.clock_timestamp()), Double)

_IS_FREE = or_(leases.c.owner.is_(None), ~exists().where(replicas.c.id == leases.c.owner))
_FREE = select(func.count()).select_from(leases).where(_IS_FREE).scalar_subquery()
_HELD = select(func.count()).select_from(leases).where(leases.c.owner == bindparam("me")).scalar_subquery()
_REVISION = select(watchlist.c.revision).scalar_subquery()
_ALIVE = select(
    replicas.c.id,
    (replicas.c.expires_at - _NOW).label("left"),
    _FREE.label("free"),
    _HELD.label("held"),
    _REVISION.label("revision"),
)
_REFUSALS = select(
    connections.c.provider,
    connections.c.reason,
    connections.c.paused_by,
    (connections.c.paused_until - _NOW).label("left"),
).where(connections.c.paused_until > _NOW)

_MEMBERS = (
    select(
        replicas.c.id,
        (_NOW - replicas.c.joined_at).label("seconds"),
        func.count(leases.c.partition).label("partitions"),
    )
    .join_from(replicas, leases, leases.c.owner == replicas.c.id, isouter=True)
    .where(replicas.c.expires_at > _NOW)
    .group_by(replicas.c.id)
    .order_by(replicas.c.joined_at, replicas.c.id)
)

IDLE_SECONDS = 4
"""For which a transaction may stand still."""

_END_STANDSTILLS = text(
    "SELECT count(pg_terminate_backend(a.pid)) FROM pg_stat_activity a"
    " WHERE a.datname = current_database() AND a.usename = current_user AND a.pid <> pg_backend_pid()"
    " AND a.state = 'active' AND a.wait_event = 'ClientRead'"
    " AND a.state_change < clock_timestamp() - make_interval(secs => :seconds)"
    " AND EXISTS (SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation"
    "  WHERE l.pid = a.pid AND c.relname IN :tables AND pg_table_is_visible(c.oid))"
).bindparams(
    bindparam("seconds", float(IDLE_SECONDS)),
    bindparam("tables", [table.name for table in metadata.sorted_tables], expanding=True),
)
"""A statement goes to the server in two messages. Whoever is stopped between them would keep its locks for as long as
that lasts: by PostgreSQL's account it is neither idle, nor does a statement run that could be ended."""


class SqlCluster:
    """A `Cluster` in the tables of the store. ``transaction`` does something in one of its transactions."""

    def __init__(self, transaction: Callable[..., Awaitable[Any]], insert: "Callable[[Any], Insert]") -> None:
        self._transaction = transaction
        self._insert = insert

    async def join(self, replica: str, seconds: float) -> None:
        """Lets ``replica`` live; see `Cluster.join`."""
        until = _NOW + seconds
        row = self._insert(replicas).values(id=replica, joined_at=_NOW, expires_at=until)
        await self._run(row.on_conflict_do_update(index_elements=[replicas.c.id], set_={"expires_at": until}))

    async def look(self, replica: str, seconds: float | None = None) -> Look | None:
        """What ``replica`` sees, and a sign of its life with ``seconds``; see `Cluster.look`.

        With a sign of life go transactions of others that stand still: they may hold what is to be taken.
        """

        async def end_standstills(connection: AsyncConnection) -> None:
            await connection.execute(_END_STANDSTILLS)

        async def work(connection: AsyncConnection) -> Look | None:
            if seconds is not None:
                own = update(replicas).where(replicas.c.id == replica).values(expires_at=_NOW + seconds)
                await connection.execute(own)
            rows = (await connection.execute(_ALIVE, {"me": replica})).all()
            refusals = (await connection.execute(_REFUSALS)).all()
            if all(row.id != replica for row in rows):
                return None
            return Look(
                alive=[row.id for row in rows if row.left > 0 or row.id == replica],
                dead=[row.id for row in rows if row.left <= 0 and row.id != replica],
                held=rows[0].held,
                free=rows[0].free,
                revision=rows[0].revision,
                refusals={row.provider: Refusal(Outcome(row.reason), row.left, row.paused_by) for row in refusals},
            )

        found: Look | None = await self._transaction(work)
        if seconds is not None:
            with suppress(StoreError):
                await self._transaction(end_standstills)
        return found

    async def members(self) -> Sequence[Member]:
        """The replicas alive, the oldest first; see `Cluster.members`."""

        async def work(connection: AsyncConnection) -> Sequence[Member]:
            rows = await connection.execute(_MEMBERS)
            return [Member(row.id, row.partitions, max(0.0, row.seconds)) for row in rows]

        found: Sequence[Member] = await self._transaction(work)
        return found

    async def bury(self, dead: str) -> bool:
        """Declares a replica dead if its time is over; see `Cluster.bury`."""
        return bool(await self._run(delete(replicas).where(replicas.c.id == dead, replicas.c.expires_at < _NOW)))

    async def held(self, replica: str) -> Mapping[int, int]:
        """What ``replica`` holds; see `Cluster.held`."""

        async def work(connection: AsyncConnection) -> Mapping[int, int]:
            rows = await connection.execute(select(leases.c.partition, leases.c.epoch).where(leases.c.owner == replica))
            return {row.partition: row.epoch for row in rows}

        found: Mapping[int, int] = await self._transaction(work)
        return found

    async def take(self, replica: str, count: int) -> Mapping[int, int]:
        """Takes free partitions; see `Cluster.take`. One that another transaction has locked is left for later."""

        async def work(connection: AsyncConnection) -> Mapping[int, int]:
            own = select(replicas.c.id).where(replicas.c.id == replica).with_for_update(key_share=True)
            if (await connection.execute(own)).first() is None:
                return {}
            rows = await connection.execute(_taking(replica, count))
            return {row.partition: row.epoch for row in rows}

        taken: Mapping[int, int] = await self._transaction(work)
        return taken

    async def release(self, replica: str, epochs: Mapping[int, int]) -> None:
        """Lets go of partitions; see `Cluster.release`."""
        these = tuple_(leases.c.partition, leases.c.epoch).in_(sorted(epochs.items()))
        held = and_(leases.c.owner == replica, these)
        await self._run(update(leases).where(held).values(owner=None))

    async def leave(self, replica: str) -> None:
        """Lives no more; see `Cluster.leave`."""
        await self._run(delete(replicas).where(replicas.c.id == replica))

    async def pause(self, provider: str, refusal: Refusal) -> None:
        """Tells everybody of a refusal; the longest pause counts."""
        until = _NOW + refusal.seconds
        new = self._insert(connections).values(
            provider=provider, reason=refusal.reason.value, paused_until=until, paused_by=refusal.by
        )
        longest = func.greatest(connections.c.paused_until, until)
        told = {"reason": refusal.reason.value, "paused_until": longest, "paused_by": refusal.by}
        await self._run(new.on_conflict_do_update(index_elements=[connections.c.provider], set_=told))

    async def resume(self, provider: str) -> None:
        """Takes back what was told of a refusal."""
        await self._run(update(connections).where(connections.c.provider == provider).values(paused_until=None))

    async def probe(self, provider: str, replica: str, seconds: float) -> bool:
        """Whether ``replica`` may send a poll that nobody else may send; see `Cluster.probe`."""
        mine = {"prober": replica, "probing_until": _NOW + seconds}
        nobody = or_(
            connections.c.prober.is_(None),
            connections.c.prober == replica,
            connections.c.probing_until < _NOW,
            # Not EXISTS, which would bring connections of its own here: nothing is correlated with an ON CONFLICT.
            connections.c.prober.not_in(select(replicas.c.id)),
        )
        row = self._insert(connections).values(provider=provider, **mine)
        return bool(
            await self._run(row.on_conflict_do_update(index_elements=[connections.c.provider], set_=mine, where=nobody))
        )

    async def probed(self, provider: str, replica: str) -> None:
        """Lets others send such a poll."""
        mine = and_(connections.c.provider == provider, connections.c.prober == replica)
        await self._run(update(connections).where(mine).values(prober=None))

    async def _run(self, statement: Any) -> int:
        """How many rows ``statement`` changed, in a transaction of its own."""

        async def work(connection: AsyncConnection) -> int:
            return (await connection.execute(statement)).rowcount

        count: int = await self._transaction(work)
        return count


def _taking(replica: str, count: int) -> Any:
    # Twice the same row: locked, as it is by then, it must be the one that was seen to be free. Its owner may have
    # joined since, and would not be found among those alive.
    seen = leases.alias("seen")
    same = and_(seen.c.partition == leases.c.partition, seen.c.epoch == leases.c.epoch)
    free = select(leases.c.partition).join(seen, same).where(_IS_FREE).order_by(leases.c.partition).limit(count)
    chosen = free.with_for_update(skip_locked=True, of=leases)
    taking = update(leases).where(leases.c.partition.in_(chosen)).values(owner=replica, epoch=leases.c.epoch + 1)
    return taking.returning(leases.c.partition, leases.c.epoch)


async def lost_partitions(connection: AsyncConnection, batch: Batch) -> frozenset[int]:
    """Which partitions that ``batch`` writes to are in another epoch than it was made in; see `lost_among`."""
    if batch.epochs is None:
        return frozenset()
    return await lost_among(connection, {partition_of(name) for name in _names(batch)}, batch.epochs)


async def lost_among(
    connection: AsyncConnection, touched: Collection[int], epochs: Mapping[int, int] | None
) -> frozenset[int]:
    """Which of the partitions ``touched`` are in another epoch than in ``epochs``; the others stay as they are.

    They are locked until the transaction of ``connection`` ends: nobody takes them before. Without epochs there is
    nobody to lose them to.
    """
    if epochs is None or not touched:
        return frozenset()
    rows = (await connection.execute(_epochs(touched))).all()
    now = {row.partition: row.epoch for row in rows}
    return frozenset(number for number in touched if now.get(number) != epochs.get(number, -1))


def _names(batch: Batch) -> Iterable[str]:
    yield from (change.task.entry.name for change in batch.changes)
    yield from (pulse.name for pulse in batch.pulses)


def _epochs(partitions: Collection[int]) -> Select[Any]:
    rows = select(leases.c.partition, leases.c.epoch).where(leases.c.partition.in_(sorted(partitions)))
    return rows.order_by(leases.c.partition).with_for_update(key_share=True)
