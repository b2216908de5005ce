"""How sinks do, as metrics: nothing where there are none, and every series of those that there are."""

from collections import Counter

from prometheus_client import CollectorRegistry

from poller.emit.sinkmetrics import SinkMetrics
from poller.protocols import Backlog

T0 = 1_700_000_000.0


class Wall:
    """A clock that stands."""

    def now(self) -> float:
        return T0 + 60

    def monotonic(self) -> float:
        return 0.0


def collected(counts: dict[str, Counter[str]], backlogs: dict[str, Backlog]) -> dict[tuple[str, ...], float]:
    """The samples by name and labels."""
    metrics = SinkMetrics(CollectorRegistry(), lambda: counts, lambda: backlogs, Wall())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in metrics.collect()
        for sample in family.samples
    }


def test_without_sinks_there_is_no_metric() -> None:
    """Not even the name of one."""
    registry = CollectorRegistry()
    SinkMetrics(registry, dict, lambda: {"gone": Backlog(3, T0, 1)}, Wall())
    assert list(registry.collect()) == []


def test_every_series_of_a_sink_starts_at_0() -> None:
    """Before anything was counted, so that increases are seen."""
    assert collected({"ops": Counter()}, {}) == {
        ("poller_sink_deliveries_total", "ops", "delivered"): 0,
        ("poller_sink_deliveries_total", "ops", "failed"): 0,
        ("poller_sink_deliveries_total", "ops", "dead"): 0,
        ("poller_sink_events_waiting", "ops"): 0,
        ("poller_sink_dead_letters", "ops"): 0,
        ("poller_sink_oldest_waiting_age_seconds", "ops"): 0,
    }


def test_attempts_and_backlog_are_told_of_each_sink_of_the_config() -> None:
    """Those that are no longer there are not."""
    counts = {"ops": Counter(delivered=5, failed=2), "audit": Counter(dead=1)}
    backlogs = {"ops": Backlog(3, T0, 2), "audit": Backlog(1, T0 + 90), "gone": Backlog(9, T0)}
    found = collected(counts, backlogs)
    assert found["poller_sink_deliveries_total", "ops", "delivered"] == 5
    assert found["poller_sink_deliveries_total", "audit", "dead"] == 1
    assert found["poller_sink_events_waiting", "ops"] == 3
    assert found["poller_sink_dead_letters", "ops"] == 2
    assert found["poller_sink_oldest_waiting_age_seconds", "ops"] == 60
    assert found["poller_sink_oldest_waiting_age_seconds", "audit"] == 0, "a clock that was set back"
    assert all("gone" not in series for series in found)
