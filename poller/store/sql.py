"""The store: `protocols.Store` on an SQL database.

What is begun is finished: every operation runs apart from who asked for it, so one that is cancelled (a shutdown, a
timeout) still ends in COMMIT or ROLLBACK, and `close` waits for it, though not for ever. One transaction writes at a
time, in the order of asking; another one reads beside it, and another one is the cluster's. Whoever is cancelled while
it waits for its turn has begun nothing: so a database that does not answer has no more to do than three of them.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
)
from dataclasses import replace
from functools import partial
from itertools import islice
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Delete, Select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from poller.domain.errors import StoreBusyError, StoreError
from poller.domain.events import EVERYTHING, Sought, Transition
from poller.domain.family import Run
from poller.domain.forecast import MOST_RUNS
from poller.domain.place import Gap, Place, mark_of
from poller.domain.shares import PARTITIONS, partition_of
from poller.domain.task import Entry
from poller.protocols import Added, Batch, News, Roll, Stored, TransitionPage, Written
from poller.store.cursor import cursor_at, row_at
from poller.store.enrolling import Enrolling
from poller.store.failures import RefusedError, store_errors
from poller.store.leases import SqlCluster, lost_partitions
from poller.store.migrations import HEAD, is_current, migrate_once, revision_of
from poller.store.outbox import SqlOutbox, add_delivery, forget_deliveries, new_rows
from poller.store.rows import (
    TaskReader,
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
    FAMILIES_WITH_RUNS,
    FIRST,
    KEY,
    MARK_TOLD,
    NEWEST,
    REVISION,
    SAVE_PULSE,
    WATCHED,
    behind,
    changed,
    expired,
    far_back,
    forget_runs,
    forget_tasks,
    forget_transitions,
    holes,
    inserts,
    named,
    newest,
    newest_runs,
    numbered,
    oldest,
    page_of_tasks,
    unseen,
    untold,
)
from poller.store.streams import ROWS_AT_A_TIME, Reader, by_name, execute_rows, lock_rows, select, select_rows

if TYPE_CHECKING:
    from poller.store.postgresql import PostgresqlDatabase

T = TypeVar("T")

_LONGEST_FINISH = 2.0
"""Seconds that `close` waits for what is under way on a database that may not answer, before it cuts it off."""
_LONGEST_TURN = 30.0
"""Seconds that somebody waits for others to have read: of pages that are asked for again and again, few may wait."""
_TASKS_A_ROLL = 10_000
"""Tasks told at once where they are asked for little by little."""
_FAMILIES_AT_A_TIME = 500
"""Families whose runs are asked for in one go."""
ROWS_A_PAGE = 20_000
"""Transitions looked at for one page of those that are sought."""
_LATEST_NUMBERS = 100_000
"""Transitions among which numbers may be missing that a transaction under way is to fill."""
_LONGEST_TURNS = 60
"""Attempts, of some seconds each, at writing the watchlist while another replica writes it."""
_FORGETTING = (forget_deliveries, forget_transitions, forget_runs, forget_tasks)


Password = Callable[[], str | None]
"""Gives the password of a database as it is now; None for none."""


def open_store(url: str, password: Password = lambda: None) -> "SqlStore":
    """The store that ``url`` names, yet to be opened. StoreError, which tells what is allowed, if it names none."""
    if url.partition("://")[0] in {"postgresql", "postgres"}:
        from poller.store.postgresql import PostgresqlDatabase  # noqa: PLC0415 - slow to import, and often not needed

        return SqlStore(PostgresqlDatabase(url, password))
    return SqlStore(SqliteDatabase(url))


class SqlStore:
    """A `Store` in ``database``."""

    def __init__(self, database: "SqliteDatabase | PostgresqlDatabase") -> None:
        self._database = database
        self._inserts = inserts(self._database.insert)
        self._add_delivery = add_delivery(self._database.insert)
        self._enrolling = Enrolling(self._inserts, self._database.is_shared)
        self._writing = asyncio.Lock()
        self._reading = self._writing if self._database.has_one_connection else asyncio.Lock()
        self._sharing = asyncio.Lock()
        self._running: set[asyncio.Future[Any]] = set()
        self._closing: asyncio.Future[None] | None = None
        self._engine: AsyncEngine | None = None
        self._undo = AsyncExitStack()

    @property
    def place(self) -> str:
        """What people call the store; nothing secret is in it."""
        return self._database.place

    def cluster(self) -> SqlCluster | None:
        """What the replicas on the store share; None for one that belongs to one daemon."""
        if self._database.is_shared:
            return SqlCluster(partial(self._transaction, turn=self._sharing), self._database.insert)
        return None

    def outbox(self) -> SqlOutbox:
        """The events in it that are to go to sinks."""
        return SqlOutbox(self._read, self._write)

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

    async def watch(self, entries: Sequence[Entry], now: float, before: Written | None = None) -> int:
        """Makes ``entries`` the watchlist; see `Store.watch`. Only rows that are new or differ are written."""
        # With a long watchlist another replica may be at this for a minute, and this one has all the time.
        attempts = 0
        while True:
            try:
                return await self._write(partial(self._enrolling.watch, entries, now, before))
            except StoreBusyError:
                attempts += 1
                if attempts == _LONGEST_TURNS:
                    raise

    async def add(self, entries: Sequence[Entry], now: float) -> Added:
        """Adds ``entries`` to the watchlist, all or none; see `Store.add`."""
        return await self._write(partial(self._enrolling.add, entries, now))

    async def remove(self, name: str, now: float) -> bool:
        """Takes a task off the watchlist that was added at runtime; see `Store.remove`."""
        return await self._write(partial(self._enrolling.remove, name, now))

    async def rearm(self, name: str, now: float) -> None:
        """Lets a task that is missing or expired be watched anew; see `Store.rearm`."""
        await self._write(partial(self._enrolling.rearm, name, now))

    async def expire(self, now: float) -> int:
        """Takes off the watchlist whose ``ttl`` is over; how many that were. Writes nothing if that is none."""
        if not await self._read(expired(now).limit(1), _itself):
            return 0
        return await self._write(partial(self._enrolling.expire, now))

    async def tasks(
        self,
        since: int = 0,
        partitions: Collection[int] | None = None,
        known: Written | None = None,
        after: str | None = None,
    ) -> Roll:
        """The tasks whose place on the watchlist changed; see `Store.tasks`."""
        some = None if partitions is None or len(partitions) == PARTITIONS else sorted(partitions)
        (revision,) = await self._read(REVISION, itemgetter("revision"))
        if since and revision == since:
            return Roll(revision, ())
        query = changed(since, some)
        if after is not None:
            query = behind(query, after, _TASKS_A_ROLL)
        tasks = await self._collect(query, partial(TaskReader, known=known))
        is_whole = after is None or len(tasks) < _TASKS_A_ROLL
        return Roll(revision, tasks, None if is_whole else tasks[-1].entry.name)

    async def page(self, after: str, limit: int) -> Sequence[Stored]:
        """Tasks that are watched, by name; see `Store.page`."""
        return await self._collect(page_of_tasks(after, limit), TaskReader)

    async def task(self, name: str) -> Stored | None:
        """The task of that name, if it is watched."""
        found = [stored for stored in await self._collect(named([name]), TaskReader) if stored.watched]
        return found[0] if found else None

    async def commit(self, batch: Batch) -> Collection[int]:
        """Writes ``batch``, all or nothing; see `Store.commit`. The next poll of a task is only a pulse's to tell."""
        return await self._write(partial(self._commit, batch)) if batch else ()

    async def runs(self, families: Collection[str]) -> Mapping[str, Sequence[Run]]:
        """The newest finished runs of each of ``families``, oldest first; see `Store.runs`."""
        found: dict[str, list[Run]] = {}
        if len(families) > _FAMILIES_AT_A_TIME:
            # Of so many, most have had no run yet: to look which have takes less than to ask for all of them.
            families = set(families).intersection(await self._read(FAMILIES_WITH_RUNS, itemgetter("family")))
        remaining = iter(families)
        while some := list(islice(remaining, _FAMILIES_AT_A_TIME)):
            for family, run in await self._read(newest_runs(some, MOST_RUNS), run_of):
                found.setdefault(family, []).append(run)
        return found

    async def untold(self, partitions: Collection[int] | None = None) -> Sequence[Transition]:
        """The transitions that were not marked as told, oldest first; see `Store.untold`."""
        return await self._read(untold(partitions), transition_of)

    async def transitions(
        self,
        name: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        ends: bool = False,
        sought: Sought = EVERYTHING,
    ) -> TransitionPage:
        """A page of transitions, newest first; see `Store.transitions`. What is committed meanwhile moves no page."""
        if limit < 1:
            raise ValueError(f"limit: found {limit}, at least 1 is allowed")
        before = None if cursor is None else row_at(cursor)
        first = await self._far_back(name, before) if sought else None
        rows = await self._read(newest(name, (first, before), limit + 1, ends, sought), _itself)
        shown = rows[:limit]
        onward = shown[-1]["seq"] if len(rows) > limit else first
        following = None if onward is None else cursor_at(onward)
        return TransitionPage([transition_of(row) for row in shown], following)

    async def _far_back(self, name: str | None, before: int | None) -> int | None:
        """The number of the last row that one page of what is sought looks at; None when that is all of them."""
        rows = await self._read(far_back(name, before, ROWS_A_PAGE - 1), itemgetter("seq"))
        return rows[0] if rows else None

    async def latest(self) -> Place:
        """The place of who has seen everything that is committed; see `History.latest`.

        What was numbered long before the newest and is not committed yet counts as seen.
        """
        rows = await self._read(NEWEST, _itself)
        if not rows:
            return Place()
        last, mark = rows[0]["seq"], mark_of(rows[0]["transition_id"])
        # After the newest was read: what was numbered before it and committed since is of the past as well.
        if not await self._is_anybody_writing():
            return Place(last, mark)
        missing = await self._read(holes(max(last - _LATEST_NUMBERS, 0), last), _itself)
        return Place(last, mark, tuple(Gap(row["before"] + 1, row["seq"] - 1) for row in missing))

    async def _is_anybody_writing(self) -> bool:
        """Whether a transaction is under way that may have numbered something that is not seen."""
        if self._database.under_way is None:
            return False
        (moment,) = await self._read(self._database.under_way, _itself)
        return bool(moment["oldest"] < moment["coming"])

    async def knows(self, place: Place) -> bool:
        """Whether what was not seen from ``place`` is still there; see `History.knows`.

        By the transition that the place ends with: what is older is forgotten first.
        """
        if not place.last:
            (first,) = await self._read(FIRST, itemgetter("seq"))
            return first in {None, 1}
        ids = await self._read(numbered(place.last), itemgetter("transition_id"))
        return [mark_of(each) for each in ids] == [place.mark]

    async def news(self, place: Place, limit: int) -> News:
        """At most ``limit`` transitions that were not seen from ``place``; see `History.news`."""
        over = 0
        if place.gaps and self._database.under_way is not None:
            (moment,) = await self._read(self._database.under_way, _itself)
            place, over = place.noted(moment["coming"]), moment["oldest"]
        rows = await self._read(unseen(place, limit + 1), _itself)
        shown = rows[:limit]
        for row in shown:
            place = place.seen(row["seq"], row["transition_id"])
        whole = len(rows) == len(shown)
        if self._database.under_way is None:
            place = replace(place, gaps=())
        elif whole:
            place = place.settled(over)
        return News([(row["seq"], transition_of(row)) for row in shown], place, whole)

    async def watchlist(self) -> Sequence[Entry]:
        """The watchlist that was loaded last, by name; empty for a store that is not there yet.

        Takes no hold of the store, so that it can be asked beside the daemon that works on it.
        """
        found: list[Entry] = []
        async with self._beside() as engine:
            if engine is not None:
                await self._look(engine, WATCHED, lambda rows: found.extend(map(entry_of, rows)))
        return found

    async def history(self, since: float, ends: bool = False) -> AsyncGenerator[Sequence[Transition]]:
        """The transitions from ``since`` on, epoch seconds, oldest first, some at a time.

        With ``ends`` only those with which a run ended. What is committed meanwhile may be among them. Takes no hold of
        the store, and keeps no transaction open from page to page: the reader may be slow.
        """
        after = (since, 0)
        async with self._beside() as engine:
            if engine is None:
                raise StoreError(f"{self.place}: is not there yet: a daemon makes it when it starts")
            while True:
                page: list[Values] = []
                await self._look(engine, oldest(after, ROWS_AT_A_TIME, ends), page.extend)
                if not page:
                    return
                yield [transition_of(row) for row in page]
                after = page[-1]["at"], page[-1]["seq"]

    async def revision(self) -> str | None:
        """The revision of its schema; None for a store that is not there yet. Takes no hold of the store."""
        if not self._database.exists:
            return None
        with self._errors():
            async with self._apart() as engine, engine.connect() as connection:
                return await connection.run_sync(revision_of)

    async def migrate(self) -> str | None:
        """Brings its schema up to date, as `open` does; the revision that it was at, None for a new store."""
        before = await self.revision()
        await self.open()
        await self.close()
        return before

    async def prune(self, before: float) -> int:
        """Deletes told transitions, events of sinks, finished runs, and tasks not watched, from before ``before``.

        That is in epoch seconds. Gives back how many rows that were.
        """
        return sum([await self._delete(partial(forget, before)) for forget in _FORGETTING])

    @asynccontextmanager
    async def _beside(self) -> AsyncIterator[AsyncEngine | None]:
        """An engine that only reads, beside whoever holds the store; None where nothing is stored yet."""
        revision = await self.revision()
        if revision not in {None, HEAD}:
            raise StoreError(f"{self.place}: is of an older version (schema {revision}): run poller migrate first")
        if revision is None:
            yield None
            return
        async with self._apart() as engine:
            yield engine

    @asynccontextmanager
    async def _apart(self) -> AsyncIterator[AsyncEngine]:
        """An engine of its own, that only reads."""
        engine = self._database.engine()
        try:
            yield engine.execution_options(only_reads=True)
        finally:
            await engine.dispose()

    async def _look(self, engine: AsyncEngine, query: Select[Any], take: Callable[[Iterable[Values]], None]) -> None:
        with self._errors():
            async with engine.connect() as connection:
                await select_rows(connection, query, take)

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
        if self._running:
            await asyncio.wait(self._running, timeout=_LONGEST_FINISH)
        if self._database.cut():
            for late in self._running:
                late.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._engine = None  # once more: opening may have been under way
        with self._errors():
            await self._undo.aclose()

    async def _commit(self, batch: Batch, connection: AsyncConnection) -> Collection[int]:
        lost = await lost_partitions(connection, batch)
        at, changes, pulses, runs = batch.at, batch.changes, batch.pulses, batch.runs
        if lost:
            changes = [each for each in changes if partition_of(each.task.entry.name) not in lost]
            pulses = [each for each in pulses if partition_of(each.name) not in lost]
            kept = {each.transition.transition_id for each in changes if each.transition}
            runs = [each for each in runs if each.transition_id in kept]
        if changes and pulses and self._database.is_shared:
            await lock_rows(connection, {each.task.entry.name for each in changes} | {each.name for each in pulses})
        new = (transition_values(change.transition) for change in changes if change.transition)
        by_name = sorted((change.task for change in changes), key=lambda task: task.entry.name)
        # Made as they are written: there may be tens of thousands, and other coroutines have their turn in between.
        rows = (task_values(task, at) for task in by_name)
        await execute_rows(connection, self._inserts.save_change, rows)
        await execute_rows(connection, self._inserts.add_transition, new)
        await execute_rows(connection, self._inserts.add_run, map(run_values, runs))
        events = new_rows(batch, lambda name: bool(lost) and partition_of(name) in lost)
        await execute_rows(connection, self._add_delivery, events)
        ticks = ({KEY: pulse.name} | pulse_values(pulse, at) for pulse in sorted(pulses, key=attrgetter("name")))
        await execute_rows(connection, SAVE_PULSE, ticks)
        await execute_rows(connection, MARK_TOLD, ({KEY: told, "told_at": at} for told in sorted(batch.told)))
        return lost

    async def _delete(self, some: Callable[[int], Delete]) -> int:
        """Deletes little by little, so that commits come in between."""
        deleted = 0
        while count := await self._write(partial(_count_deleted, some(ROWS_AT_A_TIME))):
            deleted += count
        return deleted

    async def _write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Does ``work`` in one transaction, all or nothing, after all that was to be written before."""
        return await self._transaction(work, self._writing)

    async def _transaction(self, work: Callable[[AsyncConnection], Awaitable[T]], turn: asyncio.Lock) -> T:
        """Does ``work`` in one transaction when it has its ``turn``."""

        async def run() -> T:
            async with self._opened().connect() as connection:
                await self._begin(connection)
                done = await work(connection)
                await connection.commit()
                return done

        return await self._in_turn(turn, run)

    async def _begin(self, connection: AsyncConnection) -> None:
        """Begins a transaction, also where the database was started anew while ``connection`` lay idle."""
        try:
            await self._database.bound(connection)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            await connection.rollback()
            await self._database.bound(connection)

    async def _read(self, query: Select[Any], make: Callable[[Values], T]) -> list[T]:
        """What ``make`` makes of each row."""
        return await self._collect(query, by_name(make))

    async def _collect(self, query: Select[Any], reader: Reader[T]) -> list[T]:
        """What ``reader`` makes of each row."""

        async def read() -> list[T]:
            found: list[T] = []
            engine = self._opened().execution_options(only_reads=True)
            async with engine.connect() as connection:
                await select(connection, query, reader, found.extend)
            return found

        async def run() -> list[T]:
            try:
                return await read()
            except DBAPIError as error:
                # The database was started anew while this connection lay idle.
                if not error.connection_invalidated:
                    raise
            return await read()

        return await self._in_turn(self._reading, run, _LONGEST_TURN)

    async def _in_turn(
        self, turn: asyncio.Lock, work: Callable[[], Coroutine[Any, Any, T]], patience: float | None = None
    ) -> T:
        """Does ``work`` when it has its ``turn``, which lasts until the work has ended."""
        self._opened()

        async def run() -> T:
            with self._errors():
                return await work()

        with self._errors():
            async with asyncio.timeout(patience):
                await turn.acquire()
        return await self._finish(run(), turn.release)

    async def _finish(self, work: Coroutine[Any, Any, T], afterwards: Callable[[], None] = lambda: None) -> T:
        """Waits for ``work``, which goes on to its end even when the waiting is cancelled, and ``afterwards``."""
        running = asyncio.ensure_future(work)
        self._running.add(running)
        running.add_done_callback(partial(self._finished, afterwards))
        await asyncio.wait([running])
        if running.cancelled():
            raise StoreError(f"{self._database.place}: does not answer in time, and is being closed")
        return running.result()

    def _finished(self, afterwards: Callable[[], None], running: "asyncio.Future[Any]") -> None:
        self._running.discard(running)
        afterwards()
        if not running.cancelled():
            running.exception()  # Looked at: whoever waited for it may have gone.

    def _opened(self) -> AsyncEngine:
        if self._engine is None:
            raise StoreError(f"{self._database.place}: is not open")
        return self._engine

    def _errors(self) -> AbstractContextManager[None]:
        return store_errors(self._database.place, self._database.explain, self._database.foreign)


async def _bring_up_to_date(engine: AsyncEngine) -> None:
    async with engine.execution_options(only_reads=True).connect() as connection:
        if await connection.run_sync(is_current):
            return
    async with engine.begin() as connection:
        await connection.run_sync(migrate_once)


async def _count_deleted(statement: Delete, connection: AsyncConnection) -> int:
    return (await connection.execute(statement)).rowcount


def _itself(row: Values) -> Values:
    return row
