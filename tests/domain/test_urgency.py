"""Which poll may wait when not all can go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.domain.prospect import Basis, Prospect
from poller.domain.task import Policy
from poller.domain.urgency import LONGEST_WAIT, TURN, chance, slack

HOUR = Prospect(Basis.HISTORY, expected=3600.0, low=3000.0, high=4500.0, next_age=0.0)
POINT = Prospect(Basis.PACE, expected=100.0, low=100.0, high=100.0, next_age=0.0)
MINUTE = Policy(max=60.0)

ages = st.floats(0.0, 1e7)


@st.composite
def prospects(draw: st.DrawFn) -> Prospect:
    """Any that there can be: low, expected and high in that order, or all the same."""
    low, expected, high = sorted(draw(st.tuples(ages, ages, ages)))
    return draw(
        st.sampled_from((Prospect(Basis.HISTORY, expected, low, high, 0.0), Prospect(Basis.PACE, low, low, low, 0.0)))
    )


@pytest.mark.parametrize(
    ("age", "expected"),
    [(0.0, 0.0), (1500.0, 0.05), (3000.0, 0.1), (3300.0, 0.3), (3600.0, 0.5), (4050.0, 0.7), (4500.0, 0.9)],
)
def test_the_chance_goes_through_what_a_prospect_tells(age: float, expected: float) -> None:
    """A tenth before low, half before expected, nine tenths before high."""
    assert chance(HOUR, age) == pytest.approx(expected)


def test_past_the_expected_end_the_chance_is_high_and_stays_so() -> None:
    """Half of what is left by high ends until twice that age."""
    assert [chance(HOUR, age) for age in (9000.0, 45_000.0)] == pytest.approx([0.95, 0.99])


def test_an_end_foreseen_to_the_second_divides_before_from_after() -> None:
    """A pace has no width."""
    assert [chance(POINT, age) for age in (99.0, 100.0, 101.0)] == pytest.approx([0.099, 0.9, 0.9], abs=1e-3)


@pytest.mark.parametrize(
    ("foreseen", "age", "delay", "expected"),
    [
        (None, 0.0, 0.0, 30.0),
        (None, 1e6, 60.0, 30.0),
        (HOUR, 0.0, 60.0, 59.88),
        (HOUR, 3540.0, 60.0, 30.0),
        (HOUR, 4440.0, 60.0, 6.0),
        (HOUR, 0.0, 110.0, 10.0),
        (HOUR, 0.0, 132.0, 0.0),
    ],
)
def test_what_is_likely_to_have_ended_waits_least(
    foreseen: Prospect | None, age: float, delay: float, expected: float
) -> None:
    """Without a prospect it is half of max; nobody who has waited long already waits much longer."""
    assert slack(foreseen, age, MINUTE, delay) == pytest.approx(expected)


@given(prospects() | st.none(), ages, st.floats(0.001, 1e6), st.floats(0.0, 1e7))
def test_slack_is_bounded(foreseen: Prospect | None, age: float, longest: float, delay: float) -> None:
    """From 0 to max, and with the delay before it no more than the longest wait."""
    waits = slack(foreseen, age, Policy(max=longest), delay)
    assert 0.0 <= waits <= longest
    assert waits == 0.0 or waits + delay <= LONGEST_WAIT * longest * (1 + 1e-9)


@given(prospects(), ages, ages)
def test_the_older_a_run_the_less_its_polls_may_wait(foreseen: Prospect, one: float, other: float) -> None:
    """The chance never falls with the age, nor does the slack rise."""
    sooner, later = sorted((one, other))
    assert 0.0 <= chance(foreseen, sooner) <= chance(foreseen, later) <= 1.0
    assert slack(foreseen, sooner, MINUTE) >= slack(foreseen, later, MINUTE)


@given(ages, ages, ages, ages)
def test_the_sooner_an_end_is_expected_the_less_its_polls_may_wait(
    age: float, low: float, width: float, shift: float
) -> None:
    """Of two prospects alike but for when, the earlier one is the more urgent."""
    ends = (low, low + width / 2.0, low + width)
    sooner, later = (Prospect(Basis.HISTORY, ends[1] + by, ends[0] + by, ends[2] + by, 0.0) for by in (0.0, shift))
    assert slack(sooner, age, MINUTE) <= slack(later, age, MINUTE) * (1 + 1e-9) + 1e-6


def test_a_turn_comes_in_time() -> None:
    """Who has waited for a turn goes before the longest wait is over."""
    assert 1.0 < TURN < LONGEST_WAIT
