"""What must be written so that some entries become the watchlist. Pure."""

from collections.abc import Iterable, Iterator, Sequence

from poller.domain.lifecycle import begin
from poller.domain.task import Entry
from poller.protocols import Saved
from poller.store.rows import IDENTITY, MANNER, Values, entry_values, saved_of, task_values
from poller.store.statements import KEY


class Comparison:
    """Compares the entries to be watched with the rows that are stored, which it is shown one after the other.

    Afterwards ``known`` is what is known of the tasks that stay, by name, ``anew`` the entries to be stored as never
    seen, ``watched`` and ``unwatched`` the updates of rows.
    """

    def __init__(self, entries: Iterable[Entry], now: float) -> None:
        self._now = now
        self._unseen = {entry.name: entry for entry in entries}
        self.known: dict[str, Saved] = {}
        self._replaced: list[Entry] = []
        self.watched: list[Values] = []
        self.unwatched: list[Values] = []

    @property
    def anew(self) -> Sequence[Entry]:
        """The entries that were never stored, or under whose names something else was."""
        return [*self._replaced, *self._unseen.values()]

    def see(self, rows: Iterable[Values]) -> None:
        """Takes note of stored tasks."""
        for row in rows:
            self._see(row)

    def _see(self, row: Values) -> None:
        entry = self._unseen.pop(row["name"], None)
        if entry is not None:
            self._see_wanted(row, entry)
        elif row["unwatched_at"] is None:
            self.unwatched.append({KEY: row["name"], "unwatched_at": self._now})

    def _see_wanted(self, row: Values, entry: Entry) -> None:
        values = entry_values(entry)
        if any(row[name] != values[name] for name in IDENTITY):
            self._replaced.append(entry)
            return
        self.known[entry.name] = saved_of(row)
        if row["unwatched_at"] is not None or any(row[name] != values[name] for name in MANNER):
            self.watched.append({KEY: entry.name, "unwatched_at": None} | {name: values[name] for name in MANNER})


def first_rows(entries: Iterable[Entry], now: float) -> Iterator[Values]:
    """The rows of tasks seen for the first time, made as they are asked for."""
    return (task_values(begin(entry, now), now) for entry in entries)
