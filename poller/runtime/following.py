"""Tasks followed to their ends by a command: no store, the scheduler and the lanes of the daemon."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import anyio
from structlog.typing import FilteringBoundLogger

from poller.config.watchlist import diff
from poller.domain.lifecycle import Step
from poller.domain.observation import Observation
from poller.domain.task import Entry, Task
from poller.protocols import Clock, FinishedRun, Pulse, WatchedTask
from poller.runtime.failing import FailingPolls
from poller.runtime.forecasts import Forecasts
from poller.runtime.lane import Lane
from poller.runtime.scheduler import Scheduler

LOOK_EVERY = 1.0
"""Seconds between two looks at how the tasks stand."""

Enough = Callable[[Iterable[bool]], bool]
"""Whether to stop, by which of the tasks have ended: `all` or `any`."""


class Audience(Protocol):
    """Who watches the following. Quick, and never raises."""

    def changed(self, task: Task) -> None:
        """What is known of a task changed."""
        ...

    def polled(self, entry: Entry, seen: Observation) -> None:
        """A poll came back."""
        ...

    def looked(self, watched: WatchedTask) -> None:
        """How a task stands, from time to time."""
        ...


class Following:
    """Follows tasks. Implements `poller.protocols.Recorder` and `PollObserver` for its own scheduler.

    ``audience`` hears of what is followed, and of nothing before that.
    """

    def __init__(
        self, audience: Audience, clock: Clock, draw: Callable[[], float], logger: FilteringBoundLogger
    ) -> None:
        self._audience = audience
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._followed = False
        self._enough: Enough = all
        self._ended: set[str] = set()
        self._over = anyio.Event()
        self.scheduler = Scheduler(
            committer=self,
            observer=self,
            clock=clock,
            draw=draw,
            retention=lambda _state: float("inf"),
            failing=FailingPolls(clock, logger),
            forecasts=Forecasts(),
        )

    def watch(self, entries: Iterable[Entry], lanes: Sequence[Lane] = ()) -> None:
        """Watches ``entries``, in place of any before, over ``lanes`` that are new and those there are."""
        wanted = {entry.name: entry for entry in entries}
        changes = diff(self._entries, wanted)
        self._entries = wanted
        self.scheduler.apply(wanted, changes, {}, self._clock.now(), lanes)

    async def follow(self, enough: Enough = all) -> None:
        """Tells the audience of everything from now on, and returns when all or any of the tasks have ended.

        A followed task has ended with the first run of it that does.
        """
        self._followed, self._enough = True, enough
        for watch in self.scheduler.tasks():
            self.scheduler.poll_now(watch)
        self._look()
        while not self._over.is_set():
            for watch in self.scheduler.tasks():
                self._audience.looked(watch)
            with anyio.move_on_after(LOOK_EVERY):
                await self._over.wait()

    def submit(self, step: Step, finished: FinishedRun | None = None, at_once: bool = True) -> None:
        """Tells what changed; nothing is learned from the run."""
        del finished, at_once
        if self._followed:
            self._audience.changed(step.task)
            self._look()

    def flush(self, pulses: Sequence[Pulse]) -> None:
        """Keeps nothing."""

    async def durable(self) -> None:
        """Nothing outlives a command."""

    @property
    def works(self) -> bool:
        """There is nothing that could fail."""
        return True

    def polled(self, entry: Entry, seen: Observation, duration: float, lag: float) -> None:
        """Tells what a poll brought."""
        del duration, lag
        if self._followed:
            self._audience.polled(entry, seen)

    def _look(self) -> None:
        tasks = [watch.task for watch in self.scheduler.tasks()]
        self._ended |= {task.entry.name for task in tasks if task.status.settled}
        if self._enough(task.entry.name in self._ended for task in tasks):
            self._over.set()
