"""The page of all metrics, in pieces: what is counted, what is watched, and every single task."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import starmap
from typing import TypeVar

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from poller.domain.state import State
from poller.domain.task import Task
from poller.emit.metrics import Metrics
from poller.emit.series import (
    EXPECTED_END,
    EXPECTED_END_TEXT,
    FAMILIES,
    LabelCache,
    TaskFamily,
    TaskLabels,
    expected_end_line,
)
from poller.emit.textformat import TextFormat, negotiate
from poller.protocols import ConnectionView, WatchedTask, Watching

_Item = TypeVar("_Item")

TASKS_PER_PIECE = 1_000
"""So few that making a piece keeps the event loop for a few milliseconds at most, even when no labels are known yet."""


class Exposition:
    """Renders the metrics whenever they are asked for."""

    def __init__(self, metrics: Metrics, watching: Watching) -> None:
        self._metrics = metrics
        self._watching = watching
        self._labels = LabelCache()

    def render(self, accept: str = "") -> tuple[str, Iterator[bytes]]:
        """The content type that the Accept header prefers, and the page in pieces, made when taken; some are empty.

        Other work may go on between two pieces: every task is shown as it was when the iterator came by it first.
        """
        text_format = negotiate(accept)
        # A lone surrogate, which no encoding has, becomes a question mark rather than the end of all metrics.
        return text_format.content_type, (piece.encode(errors="replace") for piece in self._pieces(text_format))

    def _pieces(self, text_format: TextFormat) -> Iterator[str]:
        shown = _Shown(self._watching.operations(), self._labels)
        for part in _slices(tuple(self._watching.tasks())):
            shown.add(part)
            yield ""
        self._labels.forget_others()
        for metric in self._families(shown):
            yield text_format.family(metric)
        for family in FAMILIES:
            yield text_format.header(family.name, family.kind, family.text)
            yield from shown.lines(family)
        yield text_format.header(EXPECTED_END, "gauge", EXPECTED_END_TEXT)
        yield from shown.expected_ends()
        yield text_format.end

    def _families(self, shown: "_Shown") -> Iterator[Metric]:
        self._metrics.expect(sorted(shown.operations), shown.followed)
        yield from self._metrics.registry.collect()
        yield shown.tasks()
        yield from _connections(self._watching.connections())


class _Shown:
    """The tasks of one page, gathered bit by bit, and what is to be known of all of them.

    Tasks and labels lie in two lists: 100,000 pairs for each page would keep the garbage collector busy.
    """

    def __init__(self, operations: Iterable[tuple[str, str]], labels: LabelCache) -> None:
        self._cache = labels
        self._labels: list[TaskLabels] = []
        self._tasks: list[Task] = []
        self._expected_ends: list[str] = []
        self.operations = set(operations)
        self.followed: set[tuple[str, str]] = set()
        self._counts: Counter[tuple[str, str, State]] = Counter()

    def add(self, part: Sequence[WatchedTask]) -> None:
        tasks = [watched.task for watched in part]
        entries = [task.entry for task in tasks]
        labels = [*map(self._cache.labels, entries)]
        self._tasks += tasks
        self._labels += labels
        foreseen = (pair for pair in zip(labels, part, strict=True) if pair[1].expected is not None)
        self._expected_ends += starmap(expected_end_line, foreseen)
        self.operations.update((entry.provider, entry.operation) for entry in entries)
        self.followed.update((entry.provider, entry.operation) for entry in entries if entry.follow)
        self._counts.update((task.entry.provider, task.entry.operation, task.status.state) for task in tasks)

    def lines(self, family: TaskFamily) -> Iterator[str]:
        return map(family.lines, _slices(self._labels), _slices(self._tasks))

    def expected_ends(self) -> Iterator[str]:
        return map("".join, _slices(self._expected_ends))

    def tasks(self) -> Metric:
        family = GaugeMetricFamily("poller_tasks", "Tasks, by state.", labels=("provider", "operation", "state"))
        for provider, operation in sorted(self.operations):
            for state in State:
                family.add_metric((provider, operation, state.value), self._counts[provider, operation, state])
        return family


def _slices(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    return (items[start : start + TASKS_PER_PIECE] for start in range(0, len(items), TASKS_PER_PIECE))


def _connections(connections: Sequence[ConnectionView]) -> Iterator[Metric]:
    in_flight = GaugeMetricFamily("poller_polls_in_flight", "Polls sent and not yet come back.", labels=("provider",))
    due = GaugeMetricFamily("poller_polls_due", "Polls that wait for rate, slot or pause.", labels=("provider",))
    paused = GaugeMetricFamily(
        "poller_provider_paused", "Whether the provider refused polls and has not answered since.", labels=("provider",)
    )
    rate = GaugeMetricFamily(
        "poller_provider_rate",
        "Polls per second that are allowed now; fewer than configured after the provider throttled them.",
        labels=("provider",),
    )
    for connection in connections:
        in_flight.add_metric((connection.provider,), connection.in_flight)
        due.add_metric((connection.provider,), connection.due)
        paused.add_metric((connection.provider,), connection.paused is not None)
        rate.add_metric((connection.provider,), connection.rate)
    return iter((in_flight, due, paused, rate))
