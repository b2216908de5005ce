"""Every task of the watchlist, whichever replica polls it."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from poller.protocols import Store, Stored, Tenure, WatchedTask
from poller.runtime.scheduler import Scheduler

AT_A_TIME = 1_000
"""Tasks: so few that looking at them keeps the event loop for a few milliseconds."""


class Census:
    """Implements `poller.protocols.Census`: what is held here as it is now, the rest as the store has it."""

    def __init__(self, scheduler: Scheduler, store: Store, tenure: Tenure) -> None:
        self._scheduler = scheduler
        self._store = store
        self._tenure = tenure

    async def slices(self, after: str = "") -> AsyncIterator[Sequence[WatchedTask]]:
        """Every task to be shown, sorted by name, from behind the name ``after`` on, some at a time. StoreError."""
        parts = self._own(after) if self._tenure.epochs is None else self._stored(after)
        async for part in parts:
            yield part

    async def find(self, name: str) -> WatchedTask | None:
        """The task of that name, however long ago it ended. StoreError."""
        watch = self._scheduler.find(name)
        if watch is not None and self._tenure.is_certain():
            return watch
        return await self._store.task(name)

    async def _own(self, after: str) -> AsyncIterator[Sequence[WatchedTask]]:
        tasks = [watch for watch in self._scheduler.tasks() if watch.task.entry.name > after]
        for start in range(0, len(tasks), AT_A_TIME):
            yield tasks[start : start + AT_A_TIME]
            await asyncio.sleep(0)

    async def _stored(self, after: str) -> AsyncIterator[Sequence[WatchedTask]]:
        while rows := await self._store.page(after, AT_A_TIME):
            after = rows[-1].entry.name
            own = self._tenure.is_certain()
            shown: list[WatchedTask] = [self._fresher(row) if own else row for row in rows]
            yield [each for each in shown if self._scheduler.shows(each.task)]

    def _fresher(self, row: Stored) -> WatchedTask:
        watch = self._scheduler.find(row.entry.name)
        return row if watch is None else watch
