"""What is told is counted, and what may be told starts at 0."""

import pytest
from prometheus_client import CollectorRegistry

from poller.domain.events import FlagChange, Transition
from poller.domain.lifecycle import MOVES
from poller.domain.observation import Observation, Outcome
from poller.domain.state import ENDS, TERMINAL, Flag, State
from poller.domain.task import Entry
from poller.emit.metrics import Metrics, Tally

ENTRY = Entry("n", "jobs", "job")
OPERATION = {"provider": "jobs", "operation": "job"}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry(), "1.2.3", lambda: 3)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def moved(source: State, target: State, duration: float | None = None) -> Transition:
    return Transition("id", 1, "n", "jobs", "job", source, target, 0.0, 1, duration=duration)


def test_a_poll_is_counted_by_its_outcome_and_timed(metrics: Metrics) -> None:
    metrics.polled(ENTRY, Observation(Outcome.ANSWERED, State.RUNNING), 0.07, 0.002)
    metrics.polled(ENTRY, Observation(Outcome.THROTTLED), 0.3, 70.0)
    assert value(metrics, "poller_polls_total", outcome="answered", **OPERATION) == 1
    assert value(metrics, "poller_polls_total", outcome="throttled", **OPERATION) == 1
    assert value(metrics, "poller_polls_total", outcome="missing", **OPERATION) == 0
    assert value(metrics, "poller_poll_duration_seconds_bucket", le="0.1", provider="jobs") == 1
    assert value(metrics, "poller_poll_duration_seconds_bucket", le="0.5", provider="jobs") == 2
    assert value(metrics, "poller_poll_duration_seconds_sum", provider="jobs") == pytest.approx(0.37)
    assert value(metrics, "poller_poll_lag_seconds_bucket", le="60.0", provider="jobs") == 1
    assert value(metrics, "poller_poll_lag_seconds_count", provider="jobs") == 2


def test_polls_are_told_by_provider_and_outcome_and_in_all(metrics: Metrics) -> None:
    for operation, outcome in (("job", Outcome.ANSWERED), ("other", Outcome.ANSWERED), ("other", Outcome.THROTTLED)):
        metrics.polled(Entry("m", "jobs", operation), Observation(outcome), 1.0, 0.0)
    metrics.polled(Entry("m", "search", "job"), Observation(Outcome.MISSING), 1.0, 0.0)
    told = metrics.polls_of("jobs")
    assert list(told) == list(Outcome)
    assert {outcome: count for outcome, count in told.items() if count} == {Outcome.ANSWERED: 2, Outcome.THROTTLED: 1}
    assert sum(metrics.polls_of("unheard-of").values()) == 0
    assert metrics.polls == 4


def test_operations_of_one_provider_share_its_histograms(metrics: Metrics) -> None:
    metrics.polled(ENTRY, Observation(Outcome.MISSING), 1.0, 0.0)
    metrics.polled(Entry("m", "jobs", "other"), Observation(Outcome.MISSING), 1.0, 0.0)
    assert value(metrics, "poller_poll_duration_seconds_count", provider="jobs") == 2


def test_a_histogram_takes_its_bounds_as_inclusive_and_a_clock_set_back_as_zero() -> None:
    tally = Tally((1.0, 2.0))
    for seconds in (1.0, 1.5, 2.0, 2.1, -5.0):
        tally.observe(seconds)
    assert (tally.counts, tally.total) == ([2, 2, 1], 6.6)


def test_a_transition_is_counted_and_the_time_of_a_finished_task_observed(metrics: Metrics) -> None:
    metrics.transition(moved(State.RUNNING, State.FAILED, 90.0))
    assert value(metrics, "poller_transitions_total", **{"from": "running", "to": "failed"}, **OPERATION) == 1
    assert value(metrics, "poller_task_duration_seconds_sum", state="failed", **OPERATION) == 90
    assert value(metrics, "poller_task_duration_seconds_bucket", state="failed", le="60.0", **OPERATION) == 0
    assert value(metrics, "poller_task_duration_seconds_bucket", state="failed", le="120.0", **OPERATION) == 1


@pytest.mark.parametrize("end", [State.MISSING, State.EXPIRED])
def test_a_task_that_is_gone_or_given_up_took_no_known_time(metrics: Metrics, end: State) -> None:
    metrics.transition(moved(State.RUNNING, end, 90.0))
    assert value(metrics, "poller_task_duration_seconds_count", state=end.value, **OPERATION) is None


def test_an_end_of_unknown_duration_is_counted_but_not_observed(metrics: Metrics) -> None:
    metrics.transition(moved(State.UNKNOWN, State.SUCCEEDED))
    assert value(metrics, "poller_transitions_total", **{"from": "unknown", "to": "succeeded"}, **OPERATION) == 1
    assert value(metrics, "poller_task_duration_seconds_count", state="succeeded", **OPERATION) == 0


def test_flags_are_no_business_of_the_counters(metrics: Metrics) -> None:
    metrics.flag(FlagChange("n", "jobs", "job", Flag.OVERDUE, True, 0.0, State.RUNNING))
    assert value(metrics, "poller_polls_total", outcome="answered", **OPERATION) is None


def test_everything_legal_starts_at_zero(metrics: Metrics) -> None:
    metrics.expect([("jobs", "job")], [])
    for outcome in Outcome:
        assert value(metrics, "poller_polls_total", outcome=outcome.value, **OPERATION) == 0
    for state in ENDS:
        assert value(metrics, "poller_task_duration_seconds_count", state=state.value, **OPERATION) == 0
    assert value(metrics, "poller_poll_lag_seconds_count", provider="jobs") == 0
    for source in set(State) - TERMINAL:
        for target in MOVES[source]:
            move = {"from": source.value, "to": target.value}
            assert value(metrics, "poller_transitions_total", **move, **OPERATION) == 0


def test_moves_to_a_next_run_are_expected_of_followed_tasks_only(metrics: Metrics) -> None:
    again = {"from": "succeeded", "to": "running"}
    metrics.expect([("jobs", "job")], [])
    assert value(metrics, "poller_transitions_total", **again, **OPERATION) is None
    metrics.expect([("jobs", "job")], [("jobs", "job")])
    assert value(metrics, "poller_transitions_total", **again, **OPERATION) == 0


def test_expecting_again_resets_nothing(metrics: Metrics) -> None:
    metrics.transition(moved(State.SUCCEEDED, State.RUNNING))
    metrics.expect([("jobs", "job")], [("jobs", "job")])
    assert value(metrics, "poller_transitions_total", **{"from": "succeeded", "to": "running"}, **OPERATION) == 1


def test_a_refused_config_keeps_the_time_of_the_last_good_one(metrics: Metrics) -> None:
    assert value(metrics, "poller_config_last_reload_successful") == 0
    metrics.reloaded(True, 1_000.0)
    metrics.reloaded(False, 2_000.0)
    assert value(metrics, "poller_config_last_reload_successful") == 0
    assert value(metrics, "poller_config_last_reload_success_timestamp_seconds") == 1_000
    metrics.reloaded(True, 3_000.0)
    assert value(metrics, "poller_config_last_reload_successful") == 1


def test_the_rest_of_the_daemon_is_told(metrics: Metrics) -> None:
    assert value(metrics, "poller_transitions_unemitted") == 3
    (build,) = [family for family in metrics.collect() if family.name == "poller_build"]
    assert build.samples[0].labels.keys() == {"version", "python"}
    assert value(metrics, "process_resident_memory_bytes")
