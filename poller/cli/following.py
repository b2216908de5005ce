"""Tasks followed to their ends: what is shown on the way, and the verdict. For commands that wait.

Standard output gets what programs read, standard error what people do: a line when a state changes, and on a terminal a
bar for each task.
"""

import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import anyio
import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from poller.cli.daemon_api import Access, fetch_task
from poller.domain.durations import format_duration
from poller.domain.moments import rfc3339
from poller.domain.observation import Observation, Outcome
from poller.domain.state import State
from poller.domain.task import Entry, Task

ASK_EVERY = 1.0
"""Seconds between two looks at the tasks of a daemon."""

TIMED_OUT = 124
"""The exit status when the time is over, as `timeout` has it."""

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells have it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A task as it is shown; times as the API writes them."""

    name: str
    state: str
    run: int
    progress: float | None
    message: str | None
    duration: float | None
    started_at: str | None
    ended_at: str | None
    settled: bool

    @classmethod
    def of(cls, task: Task) -> Self:
        """A task that this process watches."""
        status = task.status
        return cls(
            task.entry.name,
            status.state,
            status.run,
            status.progress,
            status.message,
            status.duration,
            rfc3339(status.started_at),
            rfc3339(status.ended_at),
            status.settled,
        )

    @classmethod
    def told(cls, task: Mapping[str, Any]) -> Self:
        """A task as the API of a daemon tells it."""
        return cls(
            task["name"],
            task["state"],
            task["run"],
            task["progress"],
            task["message"],
            task["duration_seconds"],
            task["started_at"],
            task["ended_at"],
            task["terminal"] and not task["awaits_run"],
        )

    def json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "task": self.name,
            "state": self.state,
            "terminal": self.settled,
            "progress": self.progress,
            "message": self.message,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "duration_seconds": self.duration,
        }


class Show:
    """Shows how tasks go, while the context is open. Implements `poller.app.Follower`."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._seen: dict[str, Seen] = {}
        self._bars: dict[str, TaskID] = {}
        self._troubles: dict[str, Outcome] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True, highlight=False),
            disable=not sys.stderr.isatty(),
            transient=True,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def started(self, told: Mapping[str, Any]) -> None:
        """What was started, as the API tells it."""
        self._say(f"{told['task']}: {told['message']}")
        if self._as_json:
            # By which number a daemon's watch counts it is of no use to whoever only hears of the end.
            self._print({key: value for key, value in told.items() if key != "watched_run"})

    def changed(self, task: Task) -> None:
        """What is known of a task that this process watches changed."""
        self.show(Seen.of(task))

    def polled(self, entry: Entry, seen: Observation) -> None:
        """Tells when polls begin to fail, or fail in another way."""
        if seen.outcome is Outcome.ANSWERED:
            self._troubles.pop(entry.name, None)
        elif self._troubles.get(entry.name) is not seen.outcome:
            self._troubles[entry.name] = seen.outcome
            self._say(f"{entry.name}: no answer ({seen.outcome}: {seen.message}); it is asked again")

    def show(self, seen: Seen) -> None:
        """Shows a task as it is now."""
        before = self._seen.get(seen.name)
        self._seen[seen.name] = seen
        bar = self._bars.get(seen.name)
        if bar is None:
            bar = self._bars[seen.name] = self._progress.add_task(seen.name, total=None)
        self._progress.update(bar, completed=seen.progress or 0, total=None if seen.progress is None else 100)
        if before is None or (before.state, before.run, before.settled) != (seen.state, seen.run, seen.settled):
            self._tell(seen)

    @property
    def all_succeeded(self) -> bool:
        """Whether every task that was shown has succeeded in the end."""
        return all(seen.settled and seen.state == State.SUCCEEDED for seen in self._seen.values())

    def _tell(self, seen: Seen) -> None:
        took = f" after {format_duration(seen.duration)}" if seen.settled and seen.duration is not None else ""
        why = f": {seen.message}" if seen.message else ""
        self._say(f"{seen.name}: {seen.state}{took}{why}")
        if self._as_json:
            self._print(seen.json())

    def _say(self, line: str) -> None:
        self._progress.console.print(line, markup=False, soft_wrap=True)

    def _print(self, value: Mapping[str, Any]) -> None:
        sys.stdout.write(orjson.dumps(value).decode() + "\n")
        sys.stdout.flush()


async def follow_daemon(access: Access, runs: Mapping[str, int], show: Show) -> None:
    """Follows tasks of a daemon until each has ended, in the run given for it or a later one."""
    left = dict(runs)
    while left:
        for name, run in list(left.items()):
            seen = Seen.told(await fetch_task(access, name))
            if seen.run >= run:
                show.show(seen)
            if seen.settled and seen.run >= run:
                del left[name]
        if left:
            await anyio.sleep(ASK_EVERY)


async def within(seconds: float | None, work: Callable[[], Awaitable[None]]) -> bool:
    """Whether ``work`` was done within ``seconds``; None for however long it takes."""
    with anyio.move_on_after(seconds) as scope:
        await work()
    return not scope.cancelled_caught
