"""In which order the status page lists tasks, and which of them stand on one page of it. Pure.

A page of ten thousand is found without sorting them all: of each part only what may still stand on the page is kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from operator import itemgetter
from typing import Any

from poller.domain.state import State
from poller.protocols import WatchedTask
from poller.web.selection import BadQueryError, flags_of

_RANKS = {
    State.FAILED: 0,
    State.MISSING: 0,
    State.EXPIRED: 0,
    State.RUNNING: 2,
    State.PENDING: 3,
    State.UNKNOWN: 4,
    State.STOPPED: 5,
    State.SUCCEEDED: 6,
}
_FLAGGED = 1
"""The rank of what has not ended and has a flag up: before what runs as it should."""

_HIGHEST_PAGE = 1_000_000


class Column(StrEnum):
    """By what tasks may be sorted; STATE is what needs attention most, and what changed last."""

    STATE = "state"
    NAME = "name"
    PROGRESS = "progress"
    ELAPSED = "elapsed"
    EXPECTED = "expected"
    POLLED = "polled"


@dataclass(frozen=True, slots=True)
class Order:
    """Sorted by ``column``, from the smallest on or ``downwards``. Those without a value come last either way."""

    column: Column = Column.STATE
    downwards: bool = False

    def __str__(self) -> str:
        return f"{'-' if self.downwards else ''}{self.column}"


def parse_order(text: str) -> Order:
    """The order that a request's ``sort`` names: a column, with ``-`` in front downwards. BadQueryError for others."""
    if not text:
        return Order()
    try:
        return Order(Column(text.removeprefix("-")), text.startswith("-"))
    except ValueError:
        allowed = ", ".join(Column)
        raise BadQueryError("sort", f"{text!r} found, one of {allowed} is allowed, or - and one of them") from None


def parse_number(text: str) -> int:
    """The number of a page, from 1 on. BadQueryError for what is none."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if text and not 1 <= number <= _HIGHEST_PAGE:
        raise BadQueryError("page", f"{text!r} found, a whole number from 1 to {_HIGHEST_PAGE} is allowed")
    return number or 1


@dataclass(slots=True)
class Listing:
    """A page of the tasks it is given, ``size`` long, the ``number``-th of them. ``now`` is in epoch seconds."""

    order: Order
    number: int
    size: int
    now: float
    count: int = 0
    _known: list[tuple[Any, WatchedTask]] = field(default_factory=list)
    _unknown: list[WatchedTask] = field(default_factory=list)

    def add(self, tasks: Sequence[WatchedTask]) -> None:
        """Takes account of more tasks; all of them must come sorted by name."""
        key, now, most = _KEYS[self.order.column], self.now, self.number * self.size
        keyed = [(key(watched, now), watched) for watched in tasks]
        self.count += len(keyed)
        self._known += (each for each in keyed if each[0] is not None)
        # A stable sort: those that are equal stay sorted by name.
        self._known.sort(key=itemgetter(0), reverse=self.order.downwards)
        del self._known[most:]
        self._unknown += (watched for each, watched in keyed if each is None)
        del self._unknown[most:]

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return max(1, -(-self.count // self.size))

    @property
    def shown(self) -> int:
        """The number of the page that is shown: the last one where there are fewer than was asked for."""
        return min(self.number, self.pages)

    def tasks(self) -> list[WatchedTask]:
        """The tasks on the page."""
        sorted_ = [watched for _, watched in self._known] + self._unknown
        return sorted_[(self.shown - 1) * self.size : self.shown * self.size]


def elapsed(watched: WatchedTask, now: float) -> float | None:
    """For how many seconds the task has been running, or did; None where nobody knows."""
    status = watched.task.status
    if status.duration is not None:
        return status.duration
    if status.terminal or status.started_at is None or status.started_at > now:
        return None
    return now - status.started_at


def _urgency(watched: WatchedTask, _now: float) -> tuple[int, float]:
    status = watched.task.status
    rank = _RANKS[status.state]
    if rank > _FLAGGED and not status.terminal and flags_of(watched.task):
        rank = _FLAGGED
    return rank, -status.since


def _expected(watched: WatchedTask, _now: float) -> float | None:
    end = watched.expected
    return end.at if end else None


_KEYS: dict[Column, Callable[[WatchedTask, float], Any]] = {
    Column.STATE: _urgency,
    Column.NAME: lambda watched, _now: watched.task.entry.name,
    Column.PROGRESS: lambda watched, _now: watched.task.status.progress,
    Column.ELAPSED: elapsed,
    Column.EXPECTED: _expected,
    Column.POLLED: lambda watched, _now: watched.task.contact.last_polled_at,
}
