"""In which order the status page lists tasks, and which of them stand on one page of it. Pure.

A page of ten thousand is found without sorting them all: of each part only what may still stand on the page is kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from poller.domain.lifecycle import run_began
from poller.domain.state import State
from poller.protocols import WatchedTask
from poller.web.selection import BadQueryError, flags_of

_RANKS = {
    state.value: rank
    for rank, states in enumerate(
        (
            (State.FAILED, State.MISSING, State.EXPIRED),
            (),  # what has not ended and has a flag up
            (State.RUNNING,),
            (State.PENDING,),
            (State.UNKNOWN,),
            (State.STOPPED,),
            (State.SUCCEEDED,),
        )
    )
    for state in states
}
_FLAGGED = 1
_ALIVE = range(2, 5)
"""Ranks: of what has a flag up, and of what would have that rank with one."""

_HIGHEST_PAGE = 1_000_000

_AT_A_TIME = 1_000
"""Tasks that are gathered before it is looked which of them may stand on the page."""


_ERA = 1e11
"""Seconds: more than lie between any two changes."""


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
    _keys: list[Any] = field(default_factory=list)
    _known: list[WatchedTask] = field(default_factory=list)
    _unknown: list[WatchedTask] = field(default_factory=list)

    def add(self, tasks: Sequence[WatchedTask]) -> None:
        """Takes account of more tasks; all of them must come sorted by name."""
        key, now = _KEYS[self.order.column], self.now
        keys = [key(watched, now) for watched in tasks]
        self.count += len(keys)
        self._known += [watched for each, watched in zip(keys, tasks, strict=True) if each is not None]
        self._unknown += [watched for each, watched in zip(keys, tasks, strict=True) if each is None]
        self._keys += [each for each in keys if each is not None]
        if len(self._keys) > 2 * self._most + _AT_A_TIME:
            self._sort()
        del self._unknown[self._most :]

    @property
    def _most(self) -> int:
        return self.number * self.size

    def _sort(self) -> None:
        """Sorts what may still stand on the page, and forgets the rest."""
        # Numbers of places, and no pairs: so many new containers would set off a long garbage collection. The sort is
        # stable: those that are equal stay sorted by name.
        places = sorted(range(len(self._keys)), key=self._keys.__getitem__, reverse=self.order.downwards)
        del places[self._most :]
        self._keys = [self._keys[place] for place in places]
        self._known = [self._known[place] for place in places]

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
        self._sort()
        return (self._known + self._unknown)[(self.shown - 1) * self.size : self.shown * self.size]


def elapsed(watched: WatchedTask, now: float) -> float | None:
    """For how many seconds the task has been running, or did; None where nobody knows."""
    status = watched.task.status
    if status.duration is not None:
        return status.duration
    since = running_since(watched)
    return None if since is None or since > now else now - since


def running_since(watched: WatchedTask) -> float | None:
    """Since when a run that goes on does, epoch seconds: as the provider tells, else as the first poll saw it."""
    status = watched.task.status
    is_known = status.state is State.RUNNING or (status.state is State.PENDING and status.started_at is not None)
    return run_began(status) if is_known else None


def _urgency(watched: WatchedTask, _now: float) -> float:
    """The rank first, and in it what changed last first."""
    status = watched.task.status
    # Its plain text: a member of an enumeration takes much longer to be looked up.
    rank = _RANKS[status.state._value_]
    if rank in _ALIVE and flags_of(watched.task):
        rank = _FLAGGED
    return rank * _ERA - status.since


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
