"""What must be written so that the watchlist becomes another one. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter, itemgetter

from poller.domain.errors import WatchlistError
from poller.domain.lifecycle import begin
from poller.domain.task import ADDED, Entry
from poller.protocols import Added
from poller.store.rows import IDENTITY, MANNER, Values, entry_values, known_values, named_values
from poller.store.statements import KEY

_FEW = 5
_IDENTITY, _MANNER = itemgetter(*IDENTITY), itemgetter(*MANNER)


class Comparison:
    """Compares the entries of files, which are to be watched, with the rows that are stored, shown one after the other.

    Afterwards ``anew`` are the entries to be stored as never seen, ``watched`` and ``unwatched`` the updates of rows.
    """

    def __init__(self, entries: Iterable[Entry], now: float) -> None:
        self._now = now
        self._unseen = {entry.name: entry for entry in entries}
        self._replaced: list[Entry] = []
        self.watched: list[Values] = []
        self.unwatched: list[Values] = []

    @property
    def anew(self) -> Sequence[Entry]:
        """The entries that were never stored, or under whose names something else was."""
        return [*self._replaced, *self._unseen.values()]

    @property
    def names(self) -> set[str]:
        """Whose rows are written."""
        return _names(self.anew, self.watched, self.unwatched)

    def __bool__(self) -> bool:
        return bool(self._replaced or self._unseen or self.watched or self.unwatched)

    def see(self, rows: Iterable[Values]) -> None:
        """Takes note of stored tasks."""
        for row in rows:
            self._see(row)

    def _see(self, row: Values) -> None:
        entry = self._unseen.pop(row["name"], None)
        if entry is not None:
            self._see_wanted(row, entry)
        elif row["unwatched_at"] is None and row["source"] != ADDED:
            self.unwatched.append({KEY: row["name"], "unwatched_at": self._now})

    def _see_wanted(self, row: Values, entry: Entry) -> None:
        values = entry_values(entry)
        if _differ(row, values, _IDENTITY):
            self._replaced.append(entry)
        elif row["unwatched_at"] is not None or _differ(row, values, _MANNER):
            self.watched.append(_watched(values, entry, self._now))


class Addition:
    """What must be written so that ``entries`` are on the watchlist too, ``rows`` being those stored under their names.

    WatchlistError when one of them means another task than the one that is watched under its name. ``anew`` and
    ``watched`` are those of `Comparison`; ``prolonged`` are those of which nothing else changes.
    """

    def __init__(self, entries: Iterable[Entry], rows: Iterable[Values], now: float) -> None:
        self._now = now
        self._rows: Mapping[str, Values] = {row["name"]: row for row in rows}
        self.anew: list[Entry] = []
        self.watched: list[Values] = []
        self.prolonged: list[Values] = []
        self._again = 0
        self._unchanged = 0
        conflicts = [entry.name for entry in entries if self._conflicts(entry)]
        if conflicts:
            raise WatchlistError(_other_tasks(conflicts), conflicts)
        for entry in entries:
            self._add(entry)

    @property
    def added(self) -> Added:
        """What becomes of the entries."""
        return Added(len(self.anew) + self._again, len(self.watched) - self._again, self._unchanged)

    @property
    def names(self) -> set[str]:
        """Whose rows are written."""
        return _names(self.anew, self.watched, self.prolonged)

    def _conflicts(self, entry: Entry) -> bool:
        row = self._rows.get(entry.name)
        return row is not None and row["unwatched_at"] is None and _differ(row, entry_values(entry), _IDENTITY)

    def _add(self, entry: Entry) -> None:
        row, values = self._rows.get(entry.name), entry_values(entry)
        if row is None or _differ(row, values, _IDENTITY):
            self.anew.append(entry)
        elif row["unwatched_at"] is not None:
            self._again += 1
            self.watched.append(_watched(values, entry, self._now))
        elif row["source"] != ADDED or not _differ(row, values, _MANNER):
            self._unchanged += 1
            if entry.ttl is not None and row["source"] == ADDED:
                self.prolonged.append({KEY: entry.name, "expires_at": self._now + entry.ttl})
        else:
            self.watched.append(_watched(values, entry, self._now))


def first_rows(entries: Iterable[Entry], now: float, revision: int) -> Iterator[Values]:
    """The rows of tasks seen for the first time, by name, made as they are asked for."""
    known: Values = {}
    for entry in sorted(entries, key=attrgetter("name")):
        # The same of all. What is empty in that is left to the database, for which it is half the work.
        known = known or {name: it for name, it in known_values(begin(entry, now), now).items() if it is not None}
        yield {"expires_at": _expires_at(entry, now), "revision": revision} | named_values(entry) | known


def with_revision(rows: Iterable[Values], revision: int) -> Iterator[Values]:
    """Updates of rows, in an order that is the same for all who write, so that none waits for the other."""
    return (row | {"revision": revision} for row in sorted(rows, key=lambda row: str(row[KEY])))


def _names(anew: Iterable[Entry], *updates: Iterable[Values]) -> set[str]:
    return {entry.name for entry in anew}.union(*({row[KEY] for row in rows} for rows in updates))


def _watched(values: Values, entry: Entry, now: float) -> Values:
    place = {KEY: entry.name, "unwatched_at": None, "expires_at": _expires_at(entry, now)}
    return place | {name: values[name] for name in MANNER}


def _expires_at(entry: Entry, now: float) -> float | None:
    return None if entry.ttl is None else now + entry.ttl


def _differ(row: Values, values: Values, of: Callable[[Values], tuple[object, ...]]) -> bool:
    return of(row) != of(values)


def _other_tasks(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_FEW]) + (f" and {len(names) - _FEW} more" if len(names) > _FEW else "")
    verb = "means another task" if len(names) == 1 else "mean other tasks"
    return f"{shown}: {verb} that is watched already: remove it first, or choose another name"
