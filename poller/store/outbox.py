"""The outbox: `protocols.Outbox` in the tables of the store. What is in it was put there by `SqlStore.commit`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Delete, Select, and_, bindparam, case, func, null, select, update

from poller.domain.delivery import Delivery, Receipt
from poller.domain.shares import PARTITIONS, partition_of
from poller.protocols import Backlog, Batch, DeadLetter, DeadPage, SinkRecord
from poller.store.cursor import cursor_at, row_at
from poller.store.leases import lost_among
from poller.store.rows import Values, transition_of
from poller.store.schema import WAITS, deliveries, transitions
from poller.store.statements import forget
from poller.store.streams import ROWS_AT_A_TIME

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from poller.store.statements import Insert

    Read = Callable[[Select[Any], Callable[[Values], Any]], Awaitable[list[Any]]]
    Write = Callable[[Callable[[AsyncConnection], Awaitable[Any]]], Awaitable[Any]]

_OWN = [column.label(f"own_{column.name}") for column in deliveries.columns]
_WITH_TRANSITION = select(transitions, *_OWN).join(
    deliveries, deliveries.c.transition_id == transitions.c.transition_id
)
_EARLIER = deliveries.alias("earlier")
_IS_OLDEST = ~(
    select(_EARLIER.c.seq)
    .where(
        _EARLIER.c.sink == deliveries.c.sink,
        _EARLIER.c.task == deliveries.c.task,
        _EARLIER.c.seq < deliveries.c.seq,
        _EARLIER.c.delivered_at.is_(None),
        _EARLIER.c.dead_at.is_(None),
    )
    .exists()
)

_ONE = and_(deliveries.c.seq == bindparam("key"), WAITS)
_TRIED = {"attempts": deliveries.c.attempts + 1, "tried_at": bindparam("now")}
_SINCE = func.coalesce(deliveries.c.held_since, bindparam("now"))
# Also what was given up while it was under way.
_DELIVER = (
    update(deliveries)
    .where(deliveries.c.seq == bindparam("key"), deliveries.c.delivered_at.is_(None))
    .values(delivered_at=bindparam("now"), dead_at=null(), error=null(), held_since=null(), **_TRIED)
)
_BURY = update(deliveries).where(_ONE).values(dead_at=bindparam("now"), error=bindparam("why"), **_TRIED)
_RETRY = (
    update(deliveries).where(_ONE).values(due_at=bindparam("due"), error=bindparam("why"), held_since=_SINCE, **_TRIED)
)
_HOLD_BACK = (
    update(deliveries)
    .where(deliveries.c.sink == bindparam("to"), deliveries.c.task == bindparam("of"), WAITS)
    .where(deliveries.c.seq > bindparam("key"))
    .values(due_at=bindparam("due"), held_since=_SINCE)
)


def new_rows(batch: Batch, is_lost: Callable[[str], bool]) -> Iterator[Values]:
    """The rows of what ``batch`` puts into the outbox, but for tasks whose names ``is_lost`` picks out."""
    for change in batch.changes if batch.addressed else ():
        transition = change.transition
        if transition is None or is_lost(transition.task):
            continue
        for sink in batch.addressed.get(transition.transition_id, ()):
            yield {
                "sink": sink,
                "transition_id": transition.transition_id,
                "task": transition.task,
                "partition": partition_of(transition.task),
                "at": transition.at,
                "due_at": batch.at,
                "attempts": 0,
            }


def add_delivery(insert: Callable[[Any], Insert]) -> Insert:
    """Puts an event into the outbox, unless it is or was there already."""
    return insert(deliveries).on_conflict_do_nothing(index_elements=[deliveries.c.sink, deliveries.c.transition_id])


def forget_deliveries(before: float, limit: int) -> Delete:
    """Deletes ``limit`` of the events of transitions from before ``before``."""
    return forget(deliveries.c.seq, deliveries.c.at < before, deliveries.c.at, limit)


class SqlOutbox:
    """An `Outbox`. ``read`` and ``write`` do something in a transaction of the store."""

    def __init__(self, read: Read, write: Write) -> None:
        self._read = read
        self._write = write

    async def due(
        self, sink: str, now: float, limit: int, partitions: Collection[int] | None = None
    ) -> Sequence[Delivery]:
        """Events whose turn it is; see `Outbox.due`."""
        page = _WITH_TRANSITION.where(deliveries.c.sink == sink, WAITS, deliveries.c.due_at <= now, _IS_OLDEST)
        page = page.order_by(deliveries.c.due_at, deliveries.c.seq).limit(limit)
        return await self._read(_within(page, partitions), _delivery_of)

    async def settle(self, receipts: Sequence[Receipt], epochs: Mapping[int, int] | None = None) -> None:
        """Notes what became of events; see `Outbox.settle`."""
        if receipts:
            await self._write(partial(_settle, sorted(receipts, key=lambda each: each.delivery.seq), epochs))

    async def give_up(
        self, sink: str, before: float, now: float, error: str, epochs: Mapping[int, int] | None = None
    ) -> int:
        """Makes dead letters of what waits for too long; see `Outbox.give_up`."""
        old = _within(
            select(deliveries.c.seq).where(deliveries.c.sink == sink, WAITS, deliveries.c.at < before), epochs
        )
        buried = 0
        while count := await self._write(partial(_bury, old.limit(ROWS_AT_A_TIME), now, error, epochs)):
            buried += count
        return buried

    async def backlogs(self, partitions: Collection[int] | None = None) -> Mapping[str, Backlog]:
        """What the sinks have not got; see `Outbox.backlogs`."""
        found: dict[str, Backlog] = {}
        waiting = select(deliveries.c.sink, func.count().label("count"), func.min(deliveries.c.at).label("oldest"))
        waiting = _within(waiting.where(WAITS), partitions).group_by(deliveries.c.sink)
        dead = select(deliveries.c.sink, func.count().label("count")).where(deliveries.c.dead_at.is_not(None))
        dead = _within(dead, partitions).group_by(deliveries.c.sink)
        for row in await self._read(waiting, _itself):
            found[row["sink"]] = Backlog(row["count"], row["oldest"])
        for row in await self._read(dead, _itself):
            before = found.get(row["sink"], Backlog())
            found[row["sink"]] = Backlog(before.waiting, before.oldest_at, row["count"])
        return found

    async def records(self) -> Mapping[str, SinkRecord]:
        """How every sink does; see `Outbox.records`. What is configured nobody knows here."""
        totals = {row["sink"]: row["count"] for row in await self._read(_TOTALS, _itself)}
        backlogs = await self.backlogs()
        since = {row["sink"]: row["since"] for row in await self._read(_FAILING, _itself)}
        records: dict[str, SinkRecord] = {}
        for sink, total in totals.items():
            backlog = backlogs.get(sink, Backlog())
            last = await self._read(_last_error(sink), _itself)
            error, at = (last[0]["error"], last[0]["tried_at"]) if last else (None, None)
            delivered = total - backlog.waiting - backlog.dead
            records[sink] = SinkRecord(sink, None, False, delivered, backlog, error, at, since.get(sink))
        return records

    async def dead(self, sink: str, limit: int = 100, cursor: str | None = None) -> DeadPage:
        """The dead letters of ``sink``, newest first; see `Outbox.dead`."""
        page = _WITH_TRANSITION.where(deliveries.c.sink == sink, deliveries.c.dead_at.is_not(None))
        if cursor is not None:
            page = page.where(deliveries.c.seq < row_at(cursor))
        rows = await self._read(page.order_by(deliveries.c.seq.desc()).limit(limit + 1), _itself)
        shown = rows[:limit]
        return DeadPage([_letter_of(row) for row in shown], cursor_at(shown[-1]["own_seq"]) if rows[limit:] else None)

    async def redeliver(self, sink: str, ids: Sequence[str] | None, now: float) -> int:
        """Lets events wait anew; see `Outbox.redeliver`."""
        rested = select(deliveries.c.seq).where(deliveries.c.sink == sink)
        if ids is None:
            return await self._revive(rested.where(deliveries.c.dead_at.is_not(None)), now)
        revived = 0
        for start in range(0, len(ids), ROWS_AT_A_TIME):
            some = deliveries.c.transition_id.in_(ids[start : start + ROWS_AT_A_TIME])
            revived += await self._write(partial(_revive, rested.where(~WAITS, some), now))
        return revived

    async def _revive(self, dead: Select[Any], now: float) -> int:
        revived = 0
        while count := await self._write(partial(_revive, dead.limit(ROWS_AT_A_TIME), now)):
            revived += count
        return revived


_TOTALS = select(deliveries.c.sink, func.count().label("count")).group_by(deliveries.c.sink)
_FAILING = (
    select(deliveries.c.sink, func.min(deliveries.c.held_since).label("since")).where(WAITS).group_by(deliveries.c.sink)
)


def _last_error(sink: str) -> Select[Any]:
    failed = select(deliveries.c.error, deliveries.c.tried_at)
    failed = failed.where(deliveries.c.sink == sink, deliveries.c.error.is_not(None))
    return failed.order_by(deliveries.c.tried_at.desc()).limit(1)


def _within(query: Select[Any], partitions: Collection[int] | None) -> Select[Any]:
    if partitions is None or len(partitions) == PARTITIONS:
        return query
    return query.where(deliveries.c.partition.in_(sorted(partitions)))


async def _settle(receipts: Sequence[Receipt], epochs: Mapping[int, int] | None, connection: AsyncConnection) -> None:
    touched = {partition_of(each.delivery.transition.task) for each in receipts}
    lost = await lost_among(connection, touched, epochs)
    kept = [each for each in receipts if partition_of(each.delivery.transition.task) not in lost]
    for outcome, statements in _STATEMENTS.items():
        for statement, keys in statements:
            rows = [{key: _VALUES[key](each) for key in keys} for each in kept if each.outcome == outcome]
            if rows:
                await connection.execute(statement, rows)


_VALUES: Mapping[str, Callable[[Receipt], Any]] = {
    "key": lambda each: each.delivery.seq,
    "now": lambda each: each.at,
    "why": lambda each: each.error,
    "due": lambda each: each.retry_at,
    "to": lambda each: each.delivery.sink,
    "of": lambda each: each.delivery.transition.task,
}
_STATEMENTS: Mapping[str, Iterable[tuple[Any, Sequence[str]]]] = {
    "delivered": [(_DELIVER, ("key", "now"))],
    "dead": [(_BURY, ("key", "now", "why"))],
    "failed": [(_RETRY, ("key", "now", "why", "due")), (_HOLD_BACK, ("key", "now", "due", "to", "of"))],
}


async def _bury(
    old: Select[Any], now: float, error: str, epochs: Mapping[int, int] | None, connection: AsyncConnection
) -> int:
    lost = await lost_among(connection, epochs or (), epochs)
    buried = update(deliveries).where(deliveries.c.seq.in_(old), WAITS)
    if lost:
        buried = buried.where(deliveries.c.partition.not_in(sorted(lost)))
    why = case((deliveries.c.error.is_(None), error), else_=deliveries.c.error)
    return (
        await connection.execute(
            buried.values(dead_at=now, error=why, tried_at=func.coalesce(deliveries.c.tried_at, now))
        )
    ).rowcount


async def _revive(rested: Select[Any], now: float, connection: AsyncConnection) -> int:
    anew = {"due_at": now, "attempts": 0, "held_since": None, "delivered_at": None, "dead_at": None}
    return (await connection.execute(update(deliveries).where(deliveries.c.seq.in_(rested)).values(**anew))).rowcount


def _delivery_of(row: Values) -> Delivery:
    return Delivery(row["own_seq"], row["own_sink"], transition_of(row), row["own_attempts"], row["own_held_since"])


def _letter_of(row: Values) -> DeadLetter:
    return DeadLetter(transition_of(row), row["own_attempts"], row["own_dead_at"], row["own_error"])


def _itself(row: Values) -> Values:
    return row
