"""What the status page says of tasks, connections and numbers, in words. Pure; the template only lays it out."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote, urlencode

from multidict import MultiMapping

from poller.domain.durations import format_duration
from poller.domain.moments import foreseen, relative, rfc3339
from poller.domain.state import Flag, State
from poller.domain.task import Task
from poller.protocols import ConnectionView, WatchedTask
from poller.web.selection import flags_of

LONGEST_NOTE = 240
"""Characters of a message that the table shows; the API has all of it."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time: in words as seen from now, and exactly."""

    words: str
    exact: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table of tasks."""

    name: str
    href: str
    provider: str
    operation: str
    run: int
    state: State
    flags: Sequence[Flag]
    progress: float | None
    subtasks: str | None
    raw_status: str | None
    started: Moment | None
    took: str | None
    expected: Moment | None
    polled: Moment | None
    next_poll: Moment | None
    message: str | None
    failure: str | None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table of connections."""

    provider: str
    href: str
    paused: str | None
    tasks: int
    in_flight: int
    due: int


@dataclass(frozen=True, slots=True)
class Tile:
    """A number of the summary, with a link to what it counts."""

    name: str
    count: int
    href: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tasks there are: by state, by flag and by provider."""

    states: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    providers: Counter[str] = field(default_factory=Counter)

    def add(self, tasks: Iterable[Task]) -> None:
        """Counts ``tasks`` too."""
        for task in tasks:
            self.states[task.status.state] += 1
            self.providers[task.entry.provider] += 1
            if flags := flags_of(task):
                self.flags.update(flags)


def link(query: MultiMapping[str], **changes: str | None) -> str:
    """The address of this page with other parameters: those in ``changes`` are replaced, or left out where None."""
    pairs = [(key, value) for key, value in query.items() if key not in changes and value]
    pairs += [(key, value) for key, value in changes.items() if value]
    return f"?{urlencode(pairs, errors='replace')}" if pairs else "."


def tiles(query: MultiMapping[str], key: str, kind: type[StrEnum], counts: Mapping[str, int]) -> list[Tile]:
    """A tile for each member of ``kind``; following a chosen one's link takes the choice back."""
    chosen = set(query.getall(key, ()))
    others: dict[str, None] = {"cursor": None, **dict.fromkeys({"state", "flag"} - {key})}
    return [
        Tile(name, counts[name], link(query, **others, **{key: None if name in chosen else name}), name in chosen)
        for name in kind
    ]


def line(connection: ConnectionView, counts: Counts, query: MultiMapping[str]) -> Line:
    """The line of one connection."""
    provider = connection.provider
    return Line(
        provider=provider,
        href=link(query, provider=provider, cursor=None),
        paused=connection.paused,
        tasks=counts.providers[provider],
        in_flight=connection.in_flight,
        due=connection.due,
    )


def row(watched: WatchedTask, now: float) -> Row:
    """The line of one task, as seen ``now``."""
    task = watched.task
    entry, status = task.entry, task.status
    return Row(
        name=entry.name,
        href=f"api/v1/tasks/{quote(entry.name, safe='')}",
        provider=entry.provider,
        operation=entry.operation,
        run=status.run,
        state=status.state,
        flags=flags_of(task),
        progress=status.progress,
        subtasks=_subtasks(task),
        raw_status=status.raw_status,
        started=_moment(status.started_at, now),
        took=_took(task, now),
        expected=_expected(watched, now),
        polled=_moment(task.contact.last_polled_at, now),
        next_poll=_moment(watched.next_poll_at, now),
        message=_short(status.message) if status.message else None,
        failure=_failure(task, now),
    )


def _moment(moment: float | None, now: float) -> Moment | None:
    exact = rfc3339(moment)
    return None if moment is None or exact is None else Moment(relative(moment, now), exact)


def _expected(watched: WatchedTask, now: float) -> Moment | None:
    """When its run will probably end, and how sure that is."""
    end = watched.expected
    exact = rfc3339(end.at) if end else None
    return None if end is None or exact is None else Moment(foreseen(end.at, end.low_at, end.high_at, now), exact)


def _took(task: Task, now: float) -> str | None:
    """How long a task took that has ended, or has been running."""
    status = task.status
    if status.duration is not None:
        return format_duration(status.duration)
    if status.terminal or status.started_at is None or status.started_at > now:
        return None
    return format_duration(now - status.started_at)


def _subtasks(task: Task) -> str | None:
    subtasks = task.status.subtasks
    if subtasks is None:
        return None
    failed = f", {len(subtasks.failed)} failed" if subtasks.failed else ""
    return f"{subtasks.done} of {subtasks.total} parts{failed}"


def _failure(task: Task, now: float) -> str | None:
    """Why the status is not known any better, as long as that lasts."""
    failure, times = task.contact.last_failure, task.contact.consecutive_failures
    if failure is None or not times or task.over:
        return None
    often = f" {times} times" if times > 1 else ""
    why = f": {failure.message}" if failure.message else ""
    return _short(f"{failure.outcome}{often}, {relative(failure.at, now)}{why}")


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_NOTE else f"{text[: LONGEST_NOTE - 1]}…"
