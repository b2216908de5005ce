"""How the sinks do, as metrics; there are none while there are no sinks."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from poller.protocols import Backlog, Clock

OUTCOMES = ("delivered", "failed", "dead")
"""What may come of an attempt."""


class SinkMetrics(Collector):
    """``counts`` are attempts by sink and what came of them, ``backlogs`` what waits; both are asked at each scrape."""

    def __init__(
        self,
        registry: CollectorRegistry,
        counts: Callable[[], Mapping[str, Mapping[str, int]]],
        backlogs: Callable[[], Mapping[str, Backlog]],
        clock: Clock,
    ) -> None:
        self._counts = counts
        self._backlogs = backlogs
        self._clock = clock
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        counts, backlogs, now = self._counts(), self._backlogs(), self._clock.now()
        if not counts:
            return
        attempts = CounterMetricFamily(
            "poller_sink_deliveries",
            "Attempts at delivering events, by what came of them; failed ones are made again, dead ones are not.",
            labels=("sink", "outcome"),
        )
        gauges = waiting, dead, age = (
            GaugeMetricFamily("poller_sink_events_waiting", "Events not yet delivered.", labels=("sink",)),
            GaugeMetricFamily("poller_sink_dead_letters", "Events that were given up.", labels=("sink",)),
            GaugeMetricFamily(
                "poller_sink_oldest_waiting_age_seconds",
                "How long ago the oldest transition happened that was not yet delivered; 0 if none waits.",
                labels=("sink",),
            ),
        )
        for sink, counted in counts.items():
            backlog = backlogs.get(sink, Backlog())
            for outcome in OUTCOMES:
                attempts.add_metric((sink, outcome), counted.get(outcome, 0))
            waiting.add_metric((sink,), backlog.waiting)
            dead.add_metric((sink,), backlog.dead)
            age.add_metric((sink,), 0.0 if backlog.oldest_at is None else max(0.0, now - backlog.oldest_at))
        yield attempts
        yield from gauges
