"""Tasks followed to their ends: what is shown on the way, and the verdict. For commands that wait.

Standard output gets what programs read, standard error what people do: a line when a state changes, and on a terminal a
bar for each task.
"""

import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import anyio
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from poller.cli.daemon_api import Access, fetch_some
from poller.cli.options import INTERRUPTED, run_async
from poller.cli.tables import expected_end, print_json, printable
from poller.domain.durations import format_duration
from poller.domain.errors import NoDaemonError
from poller.domain.moments import rfc3339
from poller.domain.observation import Observation, Outcome
from poller.domain.state import State
from poller.domain.task import Entry, Task
from poller.protocols import WatchedTask
from poller.runtime.following import Enough
from poller.web.api import task_json

ASK_EVERY = 1.0
"""Seconds between two looks at the tasks of a daemon."""

TIMED_OUT = 124
"""The exit status when the time is over, as `timeout` has it."""

MOST_NAMES = 5
"""Of tasks, in one sentence."""


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
        self._ends: dict[str, Seen] = {}
        self._bars: dict[tuple[str, bool], TaskID] = {}
        self._troubles: dict[str, Outcome] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            TextColumn("{task.fields[state]}"),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TextColumn("{task.fields[elapsed]}", justify="right"),
            TextColumn("{task.fields[end]}"),
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
        self.say(f"{told['task']}: {told['message']}")
        if self._as_json:
            # By which number a daemon's watch counts it is of no use to whoever only hears of the end.
            print_json({key: value for key, value in told.items() if key != "watched_run"})

    def changed(self, task: Task) -> None:
        """What is known of a task that this process watches changed."""
        self._note(Seen.of(task))

    def looked(self, watched: WatchedTask) -> None:
        """How a task stands that this process watches."""
        if not self._progress.disable:
            self._draw(task_json(watched))

    def polled(self, entry: Entry, seen: Observation) -> None:
        """Tells when polls begin to fail, or fail in another way."""
        if seen.outcome is Outcome.ANSWERED:
            self._troubles.pop(entry.name, None)
        elif self._troubles.get(entry.name) is not seen.outcome:
            self._troubles[entry.name] = seen.outcome
            self.say(f"{entry.name}: no answer ({seen.outcome}: {printable(seen.message or '')}); it is asked again")

    def show(self, told: Mapping[str, Any]) -> None:
        """Shows a task as the API of a daemon tells it."""
        self._draw(told)
        self._note(Seen.told(told))

    def say(self, line: str) -> None:
        """Tells people something."""
        self._progress.console.print(line, markup=False, soft_wrap=True)

    @property
    def all_succeeded(self) -> bool:
        """Whether every task that has ended has succeeded, and at least one has."""
        return bool(self._ends) and all(seen.state == State.SUCCEEDED for seen in self._ends.values())

    def left(self, names: Iterable[str]) -> list[str]:
        """Those of ``names`` that have not been shown to end."""
        return [name for name in names if name not in self._ends]

    def _note(self, seen: Seen) -> None:
        before = self._seen.get(seen.name)
        self._seen[seen.name] = seen
        if seen.settled:
            # A followed task may go on with another run, which nobody has waited for.
            self._ends.setdefault(seen.name, seen)
        if before is None or (before.state, before.run, before.settled) != (seen.state, seen.run, seen.settled):
            self._tell(seen)

    def _draw(self, told: Mapping[str, Any]) -> None:
        """The bar of a task, as long as it has not ended."""
        name, now = told["name"], datetime.now(UTC)
        if Seen.told(told).settled or name in self._ends:
            self._erase(name, True)
            self._erase(name, False)
            return
        progress = told["progress"]
        # A bar cannot be made to forget that there was progress: another one takes its place.
        self._erase(name, progress is None)
        fields = {
            "completed": progress or 0,
            "total": None if progress is None else 100,
            "state": told["state"],
            "elapsed": _elapsed(told, now),
            "end": _end(expected_end(told, now)),
        }
        bar = self._bars.get((name, progress is not None))
        if bar is None:
            self._bars[name, progress is not None] = self._progress.add_task(name, **fields)
        else:
            self._progress.update(bar, **fields)

    def _erase(self, name: str, measured: bool) -> None:
        bar = self._bars.pop((name, measured), None)
        if bar is not None:
            self._progress.remove_task(bar)

    def _tell(self, seen: Seen) -> None:
        if seen.state == State.UNKNOWN:
            return
        took = f" after {format_duration(seen.duration)}" if seen.settled and seen.duration is not None else ""
        why = f": {printable(seen.message)}" if seen.message else ""
        self.say(f"{seen.name}: {seen.state}{took}{why}")
        if self._as_json:
            print_json(seen.json())
            sys.stdout.flush()


def _elapsed(told: Mapping[str, Any], now: datetime) -> str:
    """For how long a task has been running, else watched, in whole seconds."""
    began = datetime.fromisoformat(told["started_at"] or told["first_seen_at"])
    return format_duration(max(0, int((now - began).total_seconds())))


def _end(expected: str | None) -> str:
    if expected is None:
        return ""
    return f"ends {expected}" if expected.startswith("in") else f"end {expected}"


async def follow_daemon(access: Access, runs: Mapping[str, int], show: Show, enough: Enough = all) -> None:
    """Follows tasks of a daemon until all, or any, have ended, each in the run given for it or a later one.

    A daemon that has answered may go and come again. NoDaemonError if it does not answer the first time.
    """
    ended: set[str] = set()
    heard = silent = False
    while not enough(name in ended for name in runs):
        if heard:
            await anyio.sleep(ASK_EVERY)
        try:
            tasks = await fetch_some(access, [name for name in runs if name not in ended])
        except NoDaemonError as error:
            if not heard:
                raise
            if not silent:
                show.say(f"{error}; it is asked again")
            silent = True
            continue
        heard, silent = True, False
        for told in tasks:
            if told["run"] >= runs[told["name"]]:
                show.show(told)
        ended = set(runs).difference(show.left(runs))


async def within(seconds: float | None, work: Callable[[], Awaitable[None]]) -> bool:
    """Whether ``work`` was done within ``seconds``; None for however long it takes."""
    with anyio.move_on_after(seconds) as scope:
        await work()
    return not scope.cancelled_caught


def run_to_the_end(
    work: Callable[[], Awaitable[None]], timeout: float | None, left: Callable[[], Sequence[str]]
) -> None:
    """Runs ``work``, which follows tasks; ``left`` are those that have not ended yet.

    Raises typer.Exit with `TIMED_OUT` after ``timeout`` seconds, with `INTERRUPTED` after Ctrl-C.
    """
    try:
        if run_async(lambda: within(timeout, work)):
            return
        status, what = TIMED_OUT, f"not ended within {format_duration(timeout or 0)}"
    except KeyboardInterrupt:
        status, what = INTERRUPTED, "not followed any longer"
    names = left()
    jobs = "the job goes" if len(names) == 1 else "the jobs go"
    sys.stderr.write(f"{_listed(names)}: {what}; {jobs} on\n")
    raise typer.Exit(status) from None


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
