"""Which sinks get a transition, what follows from an attempt, and how a sink does."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.domain.delivery import (
    DOWN_AFTER,
    LONGEST_ASKED,
    LONGEST_DELAY,
    LONGEST_PAUSE,
    MOST_NOTED,
    Answer,
    Condition,
    Delivery,
    Filter,
    Receipt,
    receipt,
)
from poller.domain.events import Transition
from poller.domain.state import State

T0 = 1_700_000_000.0
DAY = 86_400.0
TAKEN = Answer()
FAILED = Answer("HTTP 500")
MOVED = Transition(
    "t1", 1, "a", "search", "job", State.RUNNING, State.FAILED, T0, 1, labels={"team": "ads", "tier": "1"}
)


def delivery(task: str = "a", attempts: int = 0, held_since: float | None = None) -> Delivery:
    return Delivery(1, "ops", replace(MOVED, task=task), attempts, held_since)


@pytest.mark.parametrize(
    ("wanted", "takes"),
    [
        (Filter(), True),
        (Filter(states={State.FAILED, State.MISSING}), True),
        (Filter(states={State.SUCCEEDED}), False),
        (Filter(providers={"search"}, operations={"job"}), True),
        (Filter(providers={"studio"}), False),
        (Filter(operations={"task"}), False),
        (Filter(labels={"team": "ads"}), True),
        (Filter(labels={"team": "ads", "tier": "2"}), False),
        (Filter(labels={"other": ""}), False),
        (Filter(initial=False), True),
    ],
)
def test_a_filter_takes_what_fits_all_that_it_names(wanted: Filter, takes: bool) -> None:
    """By the state entered, provider, operation and labels; what it does not name is no matter."""
    assert wanted.takes(MOVED) is takes


def test_transitions_that_were_over_at_first_sight_can_be_left_out() -> None:
    """Those alone; and one without labels has none of those asked for."""
    initial = replace(MOVED, initial=True, labels=None)
    assert Filter().takes(initial)
    assert not Filter(initial=False).takes(initial)
    assert not Filter(labels={"team": "ads"}).takes(initial)


def test_what_is_taken_is_delivered() -> None:
    """No matter how often it had failed."""
    told = receipt(delivery(attempts=9, held_since=T0), TAKEN, T0 + 5, DAY, 0.5)
    assert (told.outcome, told.error, told.retry_at) == ("delivered", None, None)


@pytest.mark.parametrize(("attempts", "delay"), [(0, 1), (1, 2), (4, 16), (8, 256), (9, LONGEST_DELAY), (999, 300)])
def test_what_fails_is_tried_again_after_a_delay_that_grows(attempts: int, delay: float) -> None:
    """Doubled each time, up to five minutes."""
    told = receipt(delivery(attempts=attempts), FAILED, T0, DAY, 0.5)
    assert (told.outcome, told.error, told.retry_at) == ("failed", "HTTP 500", T0 + delay)


@given(draw=st.floats(0, 1), attempts=st.integers(0, 50))
def test_delays_are_scattered_by_a_quarter_at_most(draw: float, attempts: int) -> None:
    """So that many events do not come back at one moment."""
    middle = receipt(delivery(attempts=attempts), FAILED, 0.0, DAY, 0.5).retry_at
    told = receipt(delivery(attempts=attempts), FAILED, 0.0, DAY, draw).retry_at
    assert middle is not None
    assert told is not None
    assert 0.75 * middle <= told <= 1.25 * middle


@pytest.mark.parametrize(("asked", "delay"), [(0.0, 1.0), (40.0, 40.0), (1e9, LONGEST_ASKED)])
def test_a_wish_to_be_left_alone_is_heeded_within_bounds(asked: float, delay: float) -> None:
    """Never sooner than the delay of our own, never longer than an hour."""
    told = receipt(delivery(), Answer("HTTP 429", asked, whole=True), T0, DAY, 0.5)
    assert told.retry_at == T0 + delay


def test_what_concerns_the_whole_sink_is_tried_again_sooner() -> None:
    """A full disk is looked at every half minute, however long it is full."""
    told = receipt(delivery(attempts=50), Answer("disk full", whole=True), T0, DAY, 0.5)
    assert told.retry_at == T0 + LONGEST_PAUSE


@pytest.mark.parametrize(
    ("held_since", "dead"), [(None, False), (T0 - DAY + 1, False), (T0 - DAY, True), (T0 - 9 * DAY, True)]
)
def test_what_fails_for_too_long_is_given_up(held_since: float | None, dead: bool) -> None:
    """Counted from when it, or one before it, began to fail: what waited for the daemon to start is tried at least."""
    told = receipt(delivery(attempts=30, held_since=held_since), FAILED, T0, DAY, 0.5)
    assert (told.outcome == "dead", told.retry_at is None) == (dead, dead)


def test_what_is_final_is_given_up_at_once() -> None:
    """410 says that the receiver will never take it."""
    assert receipt(delivery(), Answer("HTTP 410", final=True), T0, DAY, 0.5).outcome == "dead"


def failed(task: str, at: float = T0, retry_at: float | None = T0 + 100) -> Receipt:
    return Receipt(delivery(task), at, "HTTP 500", retry_at)


def test_a_sink_fails_until_every_event_that_failed_is_taken() -> None:
    """One that others follow on their way keeps it failing."""
    assert Condition().failing_since is None
    condition = Condition()
    condition.note(failed("a", T0), whole=False, draw=0.5)
    condition.note(Receipt(delivery("b"), T0 + 1), whole=False, draw=0.5)
    assert (condition.failing_since, condition.down_since) == (T0, None)
    condition.note(Receipt(delivery("a"), T0 + 2), whole=False, draw=0.5)
    assert condition.failing_since is None


def test_a_sink_that_gave_up_on_an_event_has_recovered_with_the_next_that_it_takes() -> None:
    """Not by giving up."""
    condition = Condition()
    condition.note(failed("a", T0, None), whole=False, draw=0.5)
    assert condition.failing_since == T0
    condition.note(Receipt(delivery("b"), T0 + 1), whole=False, draw=0.5)
    assert condition.failing_since is None


def test_a_sink_is_down_when_the_events_of_many_tasks_fail_in_a_row() -> None:
    """Then it is asked once in a while; one task that fails again and again says nothing of the others."""
    condition = Condition()
    for number in range(100):
        condition.note(failed("a", T0 + number), whole=False, draw=0.5)
    assert (condition.down_since, condition.paused_until) == (None, float("-inf"))
    for number in range(DOWN_AFTER - 1):
        condition.note(failed(f"b{number}", T0 + 200 + number), whole=False, draw=0.5)
    assert condition.down_since == T0
    pauses = []
    for number in range(7):
        at = T0 + 1000 * (number + 1)
        condition.note(failed("c", at), whole=False, draw=0.5)
        pauses.append(condition.paused_until - at)
    assert pauses == [2, 4, 8, 16, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    condition.note(Receipt(delivery("d"), T0 + 9_000), whole=False, draw=0.5)
    assert condition.down_since is None
    condition.note(failed("e", T0 + 9_001), whole=False, draw=0.5)
    assert condition.down_since is None, "the count begins anew"


def test_what_concerns_the_whole_sink_pauses_it() -> None:
    """Until the latest moment asked for; an event that is given up pauses nothing."""
    condition = Condition()
    condition.note(failed("a", retry_at=T0 + 40), whole=True, draw=0.5)
    condition.note(failed("b", retry_at=T0 + 30), whole=True, draw=0.5)
    condition.note(failed("c", retry_at=T0 + 90), whole=False, draw=0.5)
    condition.note(failed("d", retry_at=None), whole=True, draw=0.5)
    assert condition.paused_until == T0 + 40


def test_events_that_somebody_else_delivers_are_no_worry_any_more() -> None:
    """What was lost to another replica does not keep a sink failing for ever."""
    condition = Condition()
    condition.note(failed("lost"), whole=False, draw=0.5)
    condition.forget(lambda task: task == "lost")
    condition.note(Receipt(delivery("mine"), T0 + 1), whole=False, draw=0.5)
    assert condition.failing_since is None


def test_how_much_is_noted_is_bounded() -> None:
    """Of a hundred thousand tasks that fail beside others that do not, a thousand."""
    condition = Condition()
    for number in range(MOST_NOTED + 1):
        condition.note(failed(f"t{number}"), whole=False, draw=0.5)
        condition.note(Receipt(delivery("well"), T0), whole=False, draw=0.5)
    for number in range(MOST_NOTED):
        condition.note(Receipt(delivery(f"t{number}"), T0), whole=False, draw=0.5)
    assert condition.failing_since is None
