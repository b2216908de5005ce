"""The page of all metrics, in pieces: what is counted, what is watched, and every single task."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from poller.config.settings import TaskMetrics
from poller.domain.state import State
from poller.emit.metrics import Metrics
from poller.emit.series import FAMILIES, LASTING, TICKING, SeriesCache, TaskFamily, TaskSeries
from poller.emit.textformat import TextFormat, negotiate
from poller.protocols import ConnectionView, WatchedTask, Watching

_Item = TypeVar("_Item")

TASKS_PER_PIECE = 500
"""So few that making a piece keeps the event loop for a few milliseconds at most, even when no labels are known yet."""

LINES_PER_PIECE = 2_500
"""Lines that are made already: they only need to be put together."""


ALL = TaskMetrics()


class Exposition:
    """Renders the metrics whenever they are asked for; ``shown`` tells then which tasks have series of their own."""

    def __init__(self, metrics: Metrics, watching: Watching, shown: Callable[[], TaskMetrics] = lambda: ALL) -> None:
        self._metrics = metrics
        self._watching = watching
        self._which = shown
        self._cache = SeriesCache()

    def render(self, accept: str = "") -> tuple[str, Iterator[bytes]]:
        """The content type that the Accept header prefers, and the page in pieces, made when taken; some are empty.

        Other work may go on between two pieces: every task is shown as it was when the iterator came by it first.
        """
        text_format = negotiate(accept)
        # A lone surrogate, which no encoding has, becomes a question mark rather than the end of all metrics.
        return text_format.content_type, (piece.encode(errors="replace") for piece in self._pieces(text_format))

    def _pieces(self, text_format: TextFormat) -> Iterator[str]:
        shown = _Shown(self._watching.operations(), self._cache, self._which())
        for part in _slices(tuple(self._watching.tasks())):
            shown.add(part)
            yield ""
        self._cache.forget_others()
        for metric in self._families(shown):
            yield text_format.family(metric)
        for family in FAMILIES:
            yield text_format.header(family.name, family.kind, family.text)
            yield from shown.lines(family)
        yield text_format.end

    def _families(self, shown: "_Shown") -> Iterator[Metric]:
        self._metrics.expect(sorted(shown.operations), shown.followed)
        yield from self._metrics.registry.collect()
        yield shown.tasks()
        yield GaugeMetricFamily(
            "poller_tasks_not_exported",
            "Tasks that have no series of their own on account of metrics.tasks or metrics.max_tasks.",
            value=shown.left_out,
        )
        yield from _connections(self._watching.connections())


class _Shown:
    """The tasks of one page, gathered bit by bit, and what is to be known of all of them.

    Lines lie in plain lists: 100,000 pairs for each page would keep the garbage collector busy.
    """

    def __init__(self, operations: Iterable[tuple[str, str]], cache: SeriesCache, which: TaskMetrics) -> None:
        self._cache = cache
        self._which = which
        self._series: list[TaskSeries] = []
        self._ticking: dict[str, list[str]] = {family.name: [] for family in TICKING}
        self.operations = set(operations)
        self.followed: set[tuple[str, str]] = set()
        self.left_out = 0
        self._counts: Counter[tuple[str, str, State]] = Counter()

    def add(self, part: Sequence[WatchedTask]) -> None:
        """Counts all of ``part``, and makes the lines of those that have any."""
        entries = [watched.task.entry for watched in part]
        self.operations.update((entry.provider, entry.operation) for entry in entries)
        self.followed.update((entry.provider, entry.operation) for entry in entries if entry.follow)
        self._counts.update((w.task.entry.provider, w.task.entry.operation, w.task.status.state) for w in part)
        chosen = self._chosen(part)
        self.left_out += len(part) - len(chosen)
        series = [*map(self._cache.series, chosen)]
        self._series += series
        for family in TICKING:
            line = family.line
            self._ticking[family.name] += [line(one.labels, w) for one, w in zip(series, chosen, strict=True)]

    def lines(self, family: TaskFamily) -> Iterator[str]:
        """The samples of a family, in pieces."""
        if family.ticks:
            return map("".join, _slices(self._ticking[family.name], LINES_PER_PIECE))
        place = LASTING.index(family)
        return ("".join([one.lines[place] for one in some]) for some in _slices(self._series, LINES_PER_PIECE))

    def _chosen(self, part: Sequence[WatchedTask]) -> Sequence[WatchedTask]:
        """Those that have series of their own: the first by name, as many as are allowed."""
        if self._which.tasks == "none":
            return ()
        if self._which.tasks == "active":
            part = [watched for watched in part if not watched.task.over]
        return part[: self._which.max_tasks - len(self._series)]

    def tasks(self) -> Metric:
        family = GaugeMetricFamily("poller_tasks", "Tasks, by state.", labels=("provider", "operation", "state"))
        for provider, operation in sorted(self.operations):
            for state in State:
                family.add_metric((provider, operation, state.value), self._counts[provider, operation, state])
        return family


def _slices(items: Sequence[_Item], length: int = TASKS_PER_PIECE) -> Iterator[Sequence[_Item]]:
    return (items[start : start + length] for start in range(0, len(items), length))


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
