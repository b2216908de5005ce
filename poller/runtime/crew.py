"""Coroutines that wait to be given something to do."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class Crew(Generic[_Item]):
    """Does one thing with each item that is given, as many at once as there are members; ``then`` after each.

    The last one to become idle is the first to be given something: giving costs no wake-up beside its own.
    """

    def __init__(self, work: Callable[[_Item], Awaitable[None]], then: Callable[[], None]) -> None:
        self._work = work
        self._then = then
        self._idle: list[asyncio.Future[_Item]] = []

    @property
    def is_busy(self) -> bool:
        """Whether nobody is idle; an item cannot be given now."""
        # Who was cancelled a moment ago has not left yet.
        while self._idle and self._idle[-1].cancelled():
            del self._idle[-1]
        return not self._idle

    def give(self, item: _Item) -> None:
        """Has somebody who is idle work on ``item``; there must be one."""
        self._idle.pop().set_result(item)

    async def member(self) -> None:
        """One of the crew; works until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            given: asyncio.Future[_Item] = loop.create_future()
            self._idle.append(given)
            self._then()
            try:
                item = await given
            except asyncio.CancelledError:
                if given in self._idle:
                    self._idle.remove(given)
                raise
            await self._work(item)
