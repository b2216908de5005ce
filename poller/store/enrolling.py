"""Changes of the watchlist, each within a transaction: one at a time, for all lock its revision first."""

from collections.abc import Iterable, Sequence
from itertools import islice

from sqlalchemy.ext.asyncio import AsyncConnection

from poller.domain.errors import NoSuchTaskError, WatchlistError
from poller.domain.state import CONCLUDED
from poller.domain.task import ADDED, Entry
from poller.protocols import Added, Written
from poller.store.rows import Values, entry_of
from poller.store.statements import (
    ENTRIES,
    KEY,
    PROLONG,
    TAKE_REVISION,
    UNWATCH,
    WATCH,
    Inserts,
    expired,
    named,
    set_revision,
)
from poller.store.streams import ROWS_AT_A_TIME, execute_rows, lock_rows, select_rows
from poller.store.watching import Addition, Comparison, first_rows, with_revision


class Enrolling:
    """Writes changes of the watchlist with the ``inserts`` of the database. ``is_shared``: others write beside us."""

    def __init__(self, inserts: Inserts, is_shared: bool) -> None:
        self._inserts = inserts
        self._is_shared = is_shared

    async def watch(
        self, entries: Sequence[Entry], now: float, before: Written | None, connection: AsyncConnection
    ) -> int:
        """Makes ``entries`` the watchlist of files; see `Store.watch`."""
        revision = await _next_revision(connection)
        if before is not None and before.revision == revision - 1:
            other = [entry for entry in entries if before.entries.get(entry.name) is not entry]
            gone = before.entries.keys() - {entry.name for entry in entries}
            comparison = Comparison(other, now)
            comparison.see(await self._named(connection, sorted(gone.union(entry.name for entry in other))))
        else:
            comparison = Comparison(entries, now)
            await select_rows(connection, ENTRIES, comparison.see)
        if not comparison:
            return revision - 1
        await self._reserve(connection, comparison.names)
        await self._enroll(connection, comparison.anew, comparison.watched, now, revision)
        await execute_rows(connection, UNWATCH, with_revision(comparison.unwatched, revision))
        return revision

    async def add(self, entries: Sequence[Entry], now: float, connection: AsyncConnection) -> Added:
        """Adds ``entries``; see `Store.add`."""
        revision = await _next_revision(connection)
        rows = await self._named(connection, [entry.name for entry in entries])
        addition = Addition(entries, rows, now)
        await self._reserve(connection, addition.names)
        if addition.anew or addition.watched:
            await self._enroll(connection, addition.anew, addition.watched, now, revision)
        await execute_rows(connection, PROLONG, addition.prolonged)
        return addition.added

    async def _enroll(
        self,
        connection: AsyncConnection,
        anew: Iterable[Entry],
        watched: Iterable[Values],
        now: float,
        revision: int,
    ) -> None:
        await connection.execute(set_revision(revision))
        await execute_rows(connection, self._inserts.begin_anew, first_rows(anew, now, revision))
        await execute_rows(connection, WATCH, with_revision(watched, revision))

    async def remove(self, name: str, now: float, connection: AsyncConnection) -> bool:
        """Takes off what was added; see `Store.remove`."""
        revision = await _next_revision(connection)
        row = await self._one(connection, name)
        if row["unwatched_at"] is not None:
            return False
        if row["source"] != ADDED:
            raise WatchlistError(f"{name}: stands in {row['source']}: take it out of there, and it goes", [name])
        await self._unwatch(connection, [name], now, revision)
        return True

    async def expire(self, now: float, connection: AsyncConnection) -> int:
        """Takes off whose time is over; how many that were."""
        revision = await _next_revision(connection)
        names: list[str] = []
        await select_rows(connection, expired(now), lambda rows: names.extend(row["name"] for row in rows))
        if names:  # another replica may have been first
            await self._unwatch(connection, names, now, revision)
        return len(names)

    async def _unwatch(self, connection: AsyncConnection, names: Iterable[str], now: float, revision: int) -> None:
        await connection.execute(set_revision(revision))
        rows = [{KEY: name, "unwatched_at": now} for name in names]
        await execute_rows(connection, UNWATCH, with_revision(rows, revision))

    async def rearm(self, name: str, now: float, connection: AsyncConnection) -> None:
        """Begins a task anew; see `Store.rearm`."""
        revision = await _next_revision(connection)
        row = await self._one(connection, name)
        if row["unwatched_at"] is not None:
            raise NoSuchTaskError(name)
        if row["state"] not in CONCLUDED:
            allowed = " or ".join(sorted(CONCLUDED))
            raise WatchlistError(f"{name}: is {row['state']}, only what is {allowed} can be rearmed", [name])
        await connection.execute(set_revision(revision))
        fresh = next(first_rows([entry_of(row)], now, revision)) | {"expires_at": row["expires_at"]}
        await execute_rows(connection, self._inserts.begin_anew, [fresh])

    async def _one(self, connection: AsyncConnection, name: str) -> Values:
        for row in await self._named(connection, [name]):
            return row
        raise NoSuchTaskError(name)

    async def _named(self, connection: AsyncConnection, names: Sequence[str]) -> list[Values]:
        found: list[Values] = []
        remaining = iter(names)
        while some := list(islice(remaining, ROWS_AT_A_TIME)):
            await select_rows(connection, named(some), found.extend)
        return found

    async def _reserve(self, connection: AsyncConnection, names: Iterable[str]) -> None:
        if self._is_shared:
            await lock_rows(connection, names)


async def _next_revision(connection: AsyncConnection) -> int:
    """The watchlist's next revision; nobody else changes the watchlist before this transaction has ended."""
    return int(await connection.scalar(TAKE_REVISION) or 0) + 1
