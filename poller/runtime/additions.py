"""Changes of the watchlist while the daemon runs, made in the store, which everybody follows."""

from collections.abc import Awaitable, Callable, Iterable

import anyio
import anyio.lowlevel

from poller.config.watchlist import AddedReader
from poller.domain.errors import StoreError
from poller.protocols import Added, Clock, Store

LONGEST_COMMIT = 5.0
"""Seconds to wait until the store knows the end that a task is to be rearmed after."""

Reader = Callable[[Iterable[tuple[int, object]]], AddedReader]
"""Makes a reader of tasks that are to be added, by the config in force."""


class Additions:
    """Implements `poller.protocols.Watchlist`.

    ``started`` is waited for: before the first watchlist is loaded nothing can be added to it. ``durable`` waits until
    what this replica shows is stored too, ``follow`` makes it watch what was changed, at once.
    """

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        reader: Reader,
        started: Callable[[], Awaitable[object]],
        durable: Callable[[], Awaitable[object]],
        follow: Callable[[], Awaitable[object]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._reader = reader
        self._started = started
        self._durable = durable
        self._follow = follow

    async def add(self, tasks: Iterable[tuple[int, object]]) -> Added:
        """Adds tasks, all or none; see `Watchlist.add`."""
        await self._started()
        reading = self._reader(tasks)
        while reading.read_some():
            await anyio.lowlevel.checkpoint()
        added = await self._store.add(list(reading.entries().values()), self._clock.now())
        if added.added or added.changed:
            await self._follow()
        return added

    async def remove(self, name: str) -> bool:
        """Takes away a task that was added; see `Watchlist.remove`."""
        await self._started()
        removed = await self._store.remove(name, self._clock.now())
        if removed:
            await self._follow()
        return removed

    async def rearm(self, name: str) -> None:
        """Watches a missing or expired task anew; see `Watchlist.rearm`."""
        await self._started()
        try:
            with anyio.fail_after(LONGEST_COMMIT):
                await self._durable()
        except TimeoutError:
            raise StoreError("the store cannot be written: nothing was rearmed; see the log") from None
        await self._store.rearm(name, self._clock.now())
        await self._follow()
