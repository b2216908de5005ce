"""The store: `protocols.Store` on an SQL database.

What is begun is finished: every operation runs apart from who asked for it, so one that is cancelled (a shutdown, a
timeout) still ends in COMMIT or ROLLBACK, and `close` waits for it. One transaction writes at a time, in the order of
asking; another one reads beside it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Delete, Select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from poller.domain.errors import StoreError
from poller.domain.events import Transition
from poller.domain.family import Run
from poller.domain.forecast import MOST_RUNS
from poller.domain.task import Entry
from poller.protocols import Batch, Saved, TransitionPage
from poller.store.cursor import cursor_at, row_at
from poller.store.failures import RefusedError, store_errors
from poller.store.migrations import is_current, migrate
from poller.store.rows import (
    Values,
    entry_of,
    pulse_values,
    run_of,
    run_values,
    task_values,
    transition_of,
    transition_values,
)
from poller.store.sqlite import SqliteDatabase
from poller.store.statements import (
    KEY,
    MARK_TOLD,
    SAVE_PULSE,
    STORED,
    UNTOLD,
    UNWATCH,
    WATCH,
    WATCHED,
    forget_runs,
    forget_tasks,
    forget_transitions,
    inserts,
    newest,
    newest_runs,
)
from poller.store.watching import Comparison, first_rows

T = TypeVar("T")

_ROWS_AT_A_TIME = 500
"""Rows made or read in one go, and then other coroutines have their turn: some 10 ms."""
_FAMILIES_AT_A_TIME = 500
"""Families whose runs are asked for in one go."""
_FORGETTING = (forget_transitions, forget_runs, forget_tasks)


def open_store(url: str) -> "SqlStore":
    """The store that ``url`` names, yet to be opened. StoreError, which tells what is allowed, if it names none."""
    return SqlStore(url)


class SqlStore:
    """A `Store` in the database that ``url`` names. StoreError, which tells what is allowed, if it names none."""

    def __init__(self, url: str) -> None:
        self._database = SqliteDatabase(url)
        self._inserts = inserts(self._database.insert)
        self._writing = asyncio.Lock()
        self._reading = self._writing if self._database.has_one_connection else asyncio.Lock()
        self._running: set[asyncio.Future[Any]] = set()
        self._closing: asyncio.Future[None] | None = None
        self._engine: AsyncEngine | None = None
        self._undo = AsyncExitStack()

    async def open(self) -> None:
        """Takes hold of the store and migrates it; see `Store.open`."""
        try:
            await self._finish(self._open())
        except asyncio.CancelledError:
            await self.close()
            raise

    async def close(self) -> None:
        """Waits for what is under way and lets go of the store. Nothing happens to one that is closed."""
        if self._closing is None or self._closing.done():
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def watch(self, entries: Sequence[Entry], now: float) -> Mapping[str, Saved]:
        """Makes ``entries`` the watchlist; see `Store.watch`. Only rows that are new or differ are written."""
        return await self._write(partial(self._watch, Comparison(entries, now), now))

    async def commit(self, batch: Batch) -> None:
        """Writes ``batch``, all or nothing; see `Store.commit`. The next poll of a task is only a pulse's to tell."""
        if batch:
            await self._write(partial(self._commit, batch))

    async def runs(self, families: Collection[str]) -> Mapping[str, Sequence[Run]]:
        """The newest finished runs of each of ``families``, oldest first; see `Store.runs`."""
        found: dict[str, list[Run]] = {}
        remaining = iter(families)
        while some := list(islice(remaining, _FAMILIES_AT_A_TIME)):
            for family, run in await self._read(newest_runs(some, MOST_RUNS), run_of):
                found.setdefault(family, []).append(run)
        return found

    async def untold(self) -> Sequence[Transition]:
        """The transitions that were not marked as told, oldest first."""
        return await self._read(UNTOLD, transition_of)

    async def transitions(self, name: str | None = None, limit: int = 100, cursor: str | None = None) -> TransitionPage:
        """A page of transitions, newest first; see `Store.transitions`. What is committed meanwhile moves no page."""
        if limit < 1:
            raise ValueError(f"limit: found {limit}, at least 1 is allowed")
        before = None if cursor is None else row_at(cursor)
        rows = await self._read(newest(name, before, limit + 1), _itself)
        shown = rows[:limit]
        following = cursor_at(shown[-1]["seq"]) if len(rows) > limit else None
        return TransitionPage([transition_of(row) for row in shown], following)

    async def watchlist(self) -> Sequence[Entry]:
        """The watchlist that was loaded last, by name; empty for a store that is not there yet.

        Takes no hold of the store, so that it can be asked beside the daemon that works on it.
        """
        found: list[Entry] = []
        if not self._database.exists:
            return found
        engine = self._database.engine()
        with self._errors():
            try:
                async with engine.execution_options(only_reads=True).connect() as connection:
                    if not await connection.run_sync(is_current):
                        raise RefusedError("is of another version: start a daemon of this version on it first")
                    await _select(connection, WATCHED, lambda rows: found.extend(map(entry_of, rows)))
            finally:
                await engine.dispose()
        return found

    async def prune(self, before: float) -> int:
        """Deletes the told transitions, the finished runs, and the tasks no longer watched, from before ``before``.

        That is in epoch seconds. Gives back how many rows that were.
        """
        return sum([await self._delete(partial(forget, before)) for forget in _FORGETTING])

    async def _open(self) -> None:
        with self._errors():
            async with self._writing, AsyncExitStack() as undo:
                if self._engine is not None:
                    raise RefusedError("is open already")
                undo.callback(self._database.release)
                self._database.take()
                engine = self._database.engine()
                undo.push_async_callback(engine.dispose)
                await _bring_up_to_date(engine)
                self._undo = undo.pop_all()
                self._engine = engine

    async def _close(self) -> None:
        self._engine = None
        await asyncio.gather(*self._running, return_exceptions=True)
        self._engine = None  # once more: opening may have been under way
        with self._errors():
            await self._undo.aclose()

    async def _watch(self, comparison: Comparison, now: float, connection: AsyncConnection) -> Mapping[str, Saved]:
        await _select(connection, STORED, comparison.see)
        await _execute(connection, self._inserts.begin_anew, first_rows(comparison.anew, now))
        await _execute(connection, WATCH, comparison.watched)
        await _execute(connection, UNWATCH, comparison.unwatched)
        return comparison.known

    async def _commit(self, batch: Batch, connection: AsyncConnection) -> None:
        at, changes = batch.at, batch.changes
        new = (change.transition for change in changes if change.transition)
        await _execute(connection, self._inserts.save_change, (task_values(change.task, at) for change in changes))
        await _execute(connection, self._inserts.add_transition, (transition_values(transition) for transition in new))
        await _execute(connection, self._inserts.add_run, map(run_values, batch.runs))
        await _execute(connection, SAVE_PULSE, ({KEY: pulse.name} | pulse_values(pulse, at) for pulse in batch.pulses))
        await _execute(connection, MARK_TOLD, ({KEY: told, "told_at": at} for told in batch.told))

    async def _delete(self, some: Callable[[int], Delete]) -> int:
        """Deletes little by little, so that commits come in between."""
        deleted = 0
        while count := await self._write(partial(_count_deleted, some(_ROWS_AT_A_TIME))):
            deleted += count
        return deleted

    async def _write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Does ``work`` in one transaction, all or nothing."""
        engine = self._opened()

        async def run() -> T:
            with self._errors():
                async with self._writing, engine.begin() as connection:
                    return await work(connection)

        return await self._finish(run())

    async def _read(self, query: Select[Any], make: Callable[[Values], T]) -> list[T]:
        """What ``make`` makes of each row."""
        engine = self._opened().execution_options(only_reads=True)

        async def run() -> list[T]:
            found: list[T] = []
            with self._errors():
                async with self._reading, engine.connect() as connection:
                    await _select(connection, query, lambda rows: found.extend(map(make, rows)))
            return found

        return await self._finish(run())

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Waits for ``work``, which goes on to its end even when the waiting is cancelled."""
        running = asyncio.ensure_future(work)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return await asyncio.shield(running)

    def _opened(self) -> AsyncEngine:
        if self._engine is None:
            raise StoreError(f"{self._database.place}: is not open")
        return self._engine

    def _errors(self) -> AbstractContextManager[None]:
        return store_errors(self._database.place, self._database.explain)


async def _bring_up_to_date(engine: AsyncEngine) -> None:
    async with engine.execution_options(only_reads=True).connect() as connection:
        if await connection.run_sync(is_current):
            return
    async with engine.begin() as connection:
        await connection.run_sync(migrate)


async def _select(connection: AsyncConnection, query: Select[Any], take: Callable[[Iterable[Values]], None]) -> None:
    async with connection.stream(query) as result:
        names = tuple(result.keys())
        async for rows in result.partitions(_ROWS_AT_A_TIME):
            take(dict(zip(names, row, strict=True)) for row in rows)


async def _execute(connection: AsyncConnection, statement: Any, rows: Iterable[Values]) -> None:
    remaining = iter(rows)
    while some := list(islice(remaining, _ROWS_AT_A_TIME)):
        await connection.execute(statement, some)


async def _count_deleted(statement: Delete, connection: AsyncConnection) -> int:
    return (await connection.execute(statement)).rowcount


def _itself(row: Values) -> Values:
    return row
