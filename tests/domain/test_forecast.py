"""What finished runs tell of the next one, and when to ask."""

import math
import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from poller.domain.backoff import backoff, backoff_polls
from poller.domain.forecast import MOST_RUNS, Outlook, between, outlook
from poller.domain.task import Policy

POLICY = Policy()
durations = st.floats(0.01, 1e7)
ages = st.floats(0.0, 1e8)
policies = st.builds(
    lambda initial, stretch, growth: Policy(initial=initial, max=initial * stretch, growth=growth),
    st.floats(0.001, 600.0),
    st.floats(1.0, 1_000.0),
    st.floats(1.0, 10.0),
)


def known(*seconds: float, running: tuple[float, ...] = ()) -> Outlook:
    """What these durations tell."""
    made = outlook(seconds, running)
    assert made is not None
    return made


def drawn(center: float, spread: float, count: int = 50) -> list[float]:
    """Log-normal durations, the same with every run."""
    random_ = random.Random(f"{center}{spread}")
    return [center * math.exp(random_.gauss(0.0, spread)) for _ in range(count)]


class TestOutlook:
    def test_of_nothing_is_none(self) -> None:
        """Without a finished run there is no forecast."""
        assert outlook([]) is None

    @pytest.mark.parametrize("spread", [0.05, 0.15, 0.3, 1.0])
    def test_finds_the_middle_and_the_spread(self, spread: float) -> None:
        """Of durations that are spread like those of real jobs."""
        made = known(*drawn(1_800.0, spread))
        assert made.quantile(0.5) == pytest.approx(1_800.0, rel=spread / 2 + 0.03)
        assert math.log(made.quantile(0.9) / made.quantile(0.1)) == pytest.approx(2.56 * spread, rel=0.6)

    def test_one_outlier_moves_little(self) -> None:
        """A job that hung for a day does not move the middle, nor the bulk around it."""
        steady = drawn(600.0, 0.1, 30)
        made = known(*steady, 86_400.0)
        assert made.quantile(0.5) == pytest.approx(known(*steady).quantile(0.5), rel=0.05)
        assert made.quantile(0.8) < 900.0

    def test_newer_runs_count_more(self) -> None:
        """A family that has become slower is known to be so before half of its runs are slow."""
        made = known(*drawn(600.0, 0.1, 50), *drawn(1_200.0, 0.1, 40))
        assert made.quantile(0.5) > 1_000.0

    def test_two_modes_stay_two(self) -> None:
        """Between a short and a long kind of run hardly any ends."""
        made = known(*[each for pair in zip(drawn(300.0, 0.1), drawn(3_000.0, 0.1), strict=True) for each in pair])
        assert made.surviving(600.0) - made.surviving(1_500.0) < 0.03

    def test_running_tasks_say_that_it_takes_longer(self) -> None:
        """What runs for longer than most did counts for the longer durations (censored)."""
        history = drawn(600.0, 0.3)
        assert known(*history, running=(700.0,) * 20).quantile(0.5) > known(*history).quantile(0.5) * 1.1

    def test_running_tasks_older_than_any_run_change_nothing(self) -> None:
        """There is no longer duration that they could count for."""
        history = drawn(600.0, 0.3)
        assert known(*history, running=(1e6,)).quantile(0.5) == pytest.approx(known(*history).quantile(0.5))

    def test_knows_the_newest_runs_only(self) -> None:
        """Older ones no longer say much."""
        assert known(*[1.0] * 50, *[600.0] * MOST_RUNS).quantile(0.01) > 100.0

    @given(st.lists(durations, min_size=1, max_size=30), st.lists(ages, max_size=5), ages, st.floats(0.01, 0.99))
    def test_is_a_distribution(self, seconds: list[float], running: list[float], age: float, share: float) -> None:
        """Whatever the history: survival falls from 1 towards 0, quantiles rise, and both are each other's inverse."""
        made = known(*seconds, running=tuple(running))
        assert 0.0 < made.surviving(age) <= 1.0
        assert made.surviving(age * 2 + 1) <= made.surviving(age) <= made.surviving(age / 2)
        quantile = made.quantile(share, age)
        assert math.isfinite(quantile)
        assert quantile >= age
        assert made.quantile(share / 2, age) <= quantile * (1 + 1e-9)
        left = made.surviving(quantile) / made.surviving(age)
        assert left == pytest.approx(1 - share, abs=0.02)


class TestNextAge:
    def test_polls_are_dense_where_the_end_is_likely(self) -> None:
        """Far ahead of it they are many times further apart, and past it they are again."""
        made = known(*drawn(1_800.0, 0.15))
        waits = {age: made.next_age(age, POLICY) - age for age in (0.0, 1_750.0, 20_000.0)}
        assert waits[1_750.0] * 5 < waits[0.0]
        assert waits[1_750.0] * 5 < waits[20_000.0]

    def test_spends_what_the_backoff_would(self) -> None:
        """On average over tasks as long as those before: a forecast moves requests, and adds none."""
        history = drawn(1_800.0, 0.3, 100)
        made, policy = known(*history), Policy(initial=2.0, max=30.0)
        spent = []
        for duration in history:
            age, polls = 0.0, 0
            while age < duration:
                age, polls = made.next_age(age, policy), polls + 1
            spent.append(polls)
        usual = sum(backoff_polls(policy, duration) for duration in history)
        assert sum(spent) == pytest.approx(usual, rel=0.1)

    @given(st.lists(durations, min_size=1, max_size=20), ages, policies)
    def test_is_later_and_finite(self, seconds: list[float], age: float, policy: Policy) -> None:
        """Whatever the history, the age and the schedule."""
        later = known(*seconds).next_age(age, policy)
        assert math.isfinite(later)
        assert later >= age * (1 - 1e-9)


class TestBetween:
    @pytest.mark.parametrize(
        ("value", "found"), [(0.0, 10.0), (1.0, 15.0), (2.0, 20.0), (-1.0, 10.0), (5.0, 30.0), (3.0, 30.0)]
    )
    def test_lies_on_the_line(self, value: float, found: float) -> None:
        """And at the ends beyond them; two points at one place are no division by zero."""
        assert between(value, [0.0, 2.0, 3.0, 3.0], [10.0, 20.0, 25.0, 30.0]) == found


class TestBackoffPolls:
    @given(policies, st.integers(1, 60))
    def test_counts_those_of_the_backoff(self, policy: Policy, polls: int) -> None:
        """By the time the n-th delay is over, about n polls were spent."""
        age = sum(backoff(policy.initial, policy.max, policy.growth, step) for step in range(polls))
        assume(math.isfinite(age))
        assert backoff_polls(policy, age) == pytest.approx(polls, rel=0.35, abs=1.0)

    @given(policies, ages, ages)
    def test_never_falls(self, policy: Policy, one: float, other: float) -> None:
        """More time never takes fewer polls."""
        early, late = sorted((one, other))
        assert 0.0 <= backoff_polls(policy, early) <= backoff_polls(policy, late)
