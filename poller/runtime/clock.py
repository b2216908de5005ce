"""The clocks of the running daemon."""

import asyncio
import time
from collections.abc import Callable


class LoopClock:
    """Wall clock and the event loop's own. Implements `poller.protocols.Clock`.

    It stays with the first event loop that it is asked in: to find that out costs a system call each time.
    """

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._monotonic: Callable[[], float] | None = None

    def now(self) -> float:
        """Wall clock, epoch seconds."""
        return self._wall()

    def monotonic(self) -> float:
        """The event loop's time, seconds."""
        if self._monotonic is None:
            self._monotonic = asyncio.get_running_loop().time
        return self._monotonic()


class Wakeup:
    """A sleep that `set` ends, for one sleeper. Setting it while nobody sleeps ends the next sleep at once."""

    def __init__(self) -> None:
        self._set = False
        self._sleeper: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Ends the sleep under way, or the next one."""
        self._set = True
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    async def sleep(self, seconds: float | None) -> None:
        """Sleeps ``seconds``, or for ever with None, until woken."""
        if not self._set:
            await self._fall_asleep(seconds)
        self._set = False

    async def _fall_asleep(self, seconds: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._sleeper = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, _finish, self._sleeper)
        try:
            await self._sleeper
        finally:
            self._sleeper = None
            if timer is not None:
                timer.cancel()


def _finish(sleeper: "asyncio.Future[None]") -> None:
    if not sleeper.done():
        sleeper.set_result(None)
