"""Which tasks a request asks for: filters, search text, and one page after the other.

A cursor names the last task of a page, so pages neither skip nor repeat a task when others come and go.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from multidict import MultiMapping

from poller.domain.events import Sought
from poller.domain.moments import epoch
from poller.domain.state import Flag, State
from poller.domain.task import Entry, Task
from poller.protocols import WatchedTask

MAX_LIMIT = 1_000
TASKS_PER_TURN = 1_000
"""So few that looking at them keeps the event loop for a millisecond or two."""

_CURSOR_MARK = "name:"

_Item = TypeVar("_Item")
_Name = TypeVar("_Name", bound=StrEnum)


class BadQueryError(ValueError):
    """A query parameter that means nothing; its text says what is allowed."""

    def __init__(self, parameter: str, text: str) -> None:
        super().__init__(f"{parameter}: {text}")
        self.parameter = parameter


@dataclass(frozen=True, slots=True)
class Selection:
    """What is asked for: any of each kind where some are named, all of the labels, ``text`` somewhere in the name."""

    states: frozenset[State] = frozenset()
    flags: frozenset[Flag] = frozenset()
    providers: frozenset[str] = frozenset()
    operations: frozenset[str] = frozenset()
    owners: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    labels: tuple[tuple[str, str], ...] = ()
    text: str = ""
    limit: int = 100
    after: str = ""

    def matches(self, task: Task) -> bool:
        """Whether ``task`` is asked for."""
        entry = task.entry
        return (
            (not self.states or task.status.state in self.states)
            and (not self.providers or entry.provider in self.providers)
            and (not self.operations or entry.operation in self.operations)
            and self._matches_origin(entry)
            and (not self.flags or not self.flags.isdisjoint(flags_of(task)))
            and all(entry.labels.get(key) == value for key, value in self.labels)
            and self.text in entry.name.casefold()
        )

    def of(self, tasks: Sequence[WatchedTask]) -> Sequence[WatchedTask]:
        """Those of ``tasks`` that are asked for."""
        kinds = (self.states, self.flags, self.providers, self.operations, self.owners, self.sources, self.labels)
        if not (any(kinds) or self.text):
            return tasks
        return [watched for watched in tasks if self.matches(watched.task)]

    def _matches_origin(self, entry: Entry) -> bool:
        return (not self.owners or entry.owner in self.owners) and (not self.sources or entry.source in self.sources)

    async def pick(self, slices: AsyncIterable[Sequence[WatchedTask]]) -> tuple[list[WatchedTask], str | None]:
        """One page of the tasks in ``slices``, which are sorted by name, and the cursor of the next; None if this is
        the last.
        """
        found: list[WatchedTask] = []
        async for part in slices:
            found += (watched for watched in part if _name(watched) > self.after and self.matches(watched.task))
            if len(found) > self.limit:
                return found[: self.limit], to_cursor(_name(found[self.limit - 1]))
        return found, None


def parse_selection(query: MultiMapping[str], default_limit: int = 100) -> Selection:
    """What the query of a request asks for. A parameter without a value counts as absent.

    Raises BadQueryError for a value that means nothing.
    """
    limit, cursor = parse_page(query, default_limit)
    return Selection(
        states=_names(query, "state", State),
        flags=_names(query, "flag", Flag),
        providers=frozenset(_values(query, "provider")),
        operations=frozenset(_values(query, "operation")),
        owners=frozenset(_values(query, "owner")),
        sources=frozenset(_values(query, "source")),
        labels=tuple(_label(value) for value in _values(query, "label")),
        text=query.get("q", "").strip().casefold(),
        limit=limit,
        after="" if cursor is None else from_cursor(cursor),
    )


def parse_page(query: MultiMapping[str], default_limit: int = 100) -> tuple[int, str | None]:
    """The limit and the cursor of a request for a list; BadQueryError for a limit out of bounds."""
    text = query.get("limit") or str(default_limit)
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= limit <= MAX_LIMIT:
        raise BadQueryError("limit", f"{text!r} found, a whole number from 1 to {MAX_LIMIT} is allowed")
    return limit, query.get("cursor") or None


def parse_sought(query: MultiMapping[str], times: bool = True) -> Sought:
    """Which transitions the query of a request asks for, ``times`` among it or not; BadQueryError as above."""
    return Sought(
        tasks=frozenset(_values(query, "task")),
        states=_names(query, "state", State),
        providers=frozenset(_values(query, "provider")),
        operations=frozenset(_values(query, "operation")),
        labels=tuple(_label(value) for value in _values(query, "label")),
        since=_moment(query, "since") if times else None,
        until=_moment(query, "until") if times else None,
    )


def to_cursor(name: str) -> str:
    """The cursor of the page after the task of this name: hexadecimal, so that the API can say what one looks like."""
    return f"{_CURSOR_MARK}{name}".encode().hex()


def from_cursor(cursor: str) -> str:
    """The name in a cursor; BadQueryError for one that `to_cursor` never made."""
    try:
        text = bytes.fromhex(cursor).decode()
    except ValueError:
        text = ""
    name = text.removeprefix(_CURSOR_MARK)
    if to_cursor(name) != cursor:
        raise BadQueryError("cursor", "not one that was given out here; leave it away to begin anew")
    return name


def flags_of(task: Task) -> list[Flag]:
    """The flags that are up."""
    status = task.status
    if not (status.overdue or status.stalled or status.unreachable or status.late):
        return []
    pairs = (
        (Flag.OVERDUE, status.overdue),
        (Flag.STALLED, status.stalled),
        (Flag.UNREACHABLE, status.unreachable),
        (Flag.LATE, status.late),
    )
    return [flag for flag, is_up in pairs if is_up]


async def in_turns(items: Sequence[_Item], size: int = TASKS_PER_TURN) -> AsyncIterator[Sequence[_Item]]:
    """``items`` in slices of ``size``, letting others have their turn in between."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
        await asyncio.sleep(0)


def _name(watched: WatchedTask) -> str:
    return watched.task.entry.name


def _values(query: MultiMapping[str], key: str) -> list[str]:
    return [value for value in query.getall(key, ()) if value]


def _moment(query: MultiMapping[str], key: str) -> float | None:
    text = query.get(key)
    if not text:
        return None
    try:
        # A plus that was not percent-encoded has become a blank.
        return epoch(text.replace(" ", "+"))
    except ValueError as error:
        raise BadQueryError(key, str(error)) from None


def _names(query: MultiMapping[str], key: str, kind: Callable[[str], _Name]) -> frozenset[_Name]:
    return frozenset(_named(key, value, kind) for value in _values(query, key))


def _named(key: str, value: str, kind: Callable[[str], _Name]) -> _Name:
    try:
        return kind(value)
    except ValueError:
        allowed = ", ".join(State if key == "state" else Flag)
        raise BadQueryError(key, f"{value!r} found, one of {allowed} is allowed") from None


def _label(text: str) -> tuple[str, str]:
    key, colon, value = text.partition(":")
    if not colon or not key:
        raise BadQueryError("label", f"{text!r} found, key:value is allowed")
    return key, value
