"""The page of all metrics, in pieces: what is counted, what is watched, and every single task."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeVar

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from poller.domain.state import State
from poller.emit.metrics import Metrics
from poller.emit.series import FAMILIES, LabelCache, Row
from poller.emit.textformat import TextFormat, negotiate
from poller.protocols import ConnectionView, Watching

_Item = TypeVar("_Item")

TASKS_PER_PIECE = 2_000
"""So few that making a piece keeps the event loop for a millisecond or two."""


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
        rows: list[Row] = []
        for part in _slices(tuple(self._watching.tasks())):
            rows += self._labels.rows(part)
            yield ""
        self._labels.forget_others()
        for metric in self._families(rows):
            yield text_format.family(metric)
        for family in FAMILIES:
            yield text_format.header(family.name, family.kind, family.text)
            yield from (family.lines(part) for part in _slices(rows))
        yield text_format.end

    def _families(self, rows: Sequence[Row]) -> Iterator[Metric]:
        entries = [task.entry for _, task in rows]
        followed = {(entry.provider, entry.operation) for entry in entries if entry.follow}
        operations = sorted({*self._watching.operations(), *((entry.provider, entry.operation) for entry in entries)})
        self._metrics.expect(operations, followed)
        yield from self._metrics.registry.collect()
        yield _tasks(rows, operations)
        yield from _connections(self._watching.connections())


def _slices(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    return (items[start : start + TASKS_PER_PIECE] for start in range(0, len(items), TASKS_PER_PIECE))


def _tasks(rows: Sequence[Row], operations: Sequence[tuple[str, str]]) -> Metric:
    family = GaugeMetricFamily("poller_tasks", "Tasks shown, by state.", labels=("provider", "operation", "state"))
    counts = Counter((task.entry.provider, task.entry.operation, task.status.state) for _, task in rows)
    for provider, operation in operations:
        for state in State:
            family.add_metric((provider, operation, state.value), counts[provider, operation, state])
    return family


def _connections(connections: Sequence[ConnectionView]) -> Iterator[Metric]:
    in_flight = GaugeMetricFamily("poller_polls_in_flight", "Polls sent and not yet come back.", labels=("provider",))
    due = GaugeMetricFamily("poller_polls_due", "Polls that wait for rate, slot or pause.", labels=("provider",))
    paused = GaugeMetricFamily(
        "poller_provider_paused", "Whether the provider refused polls and has not answered since.", labels=("provider",)
    )
    for connection in connections:
        in_flight.add_metric((connection.provider,), connection.in_flight)
        due.add_metric((connection.provider,), connection.due)
        paused.add_metric((connection.provider,), connection.paused is not None)
    return iter((in_flight, due, paused))
