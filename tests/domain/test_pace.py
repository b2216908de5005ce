"""How fast a connection may be asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.domain.pace import Pace

rates = st.floats(0.001, 10_000.0)


def cut(configured: float, times: int) -> Pace:
    """A pace throttled once in each of so many epochs."""
    pace = Pace.of(configured)
    for epoch in range(times):
        pace = pace.throttled(epoch)
    return pace


@pytest.mark.parametrize(
    ("configured", "times", "rate"),
    [
        (50.0, 0, 50.0),
        (50.0, 1, 25.0),
        (50.0, 2, 12.5),
        (50.0, 20, 0.5),
        (2.0, 20, 0.1),
        (0.15, 1, 0.1),
        (0.1, 20, 0.1),
        (1 / 120, 20, 1 / 120),
    ],
)
def test_each_throttling_halves_the_rate_down_to_its_floor(configured: float, times: int, rate: float) -> None:
    """A hundredth of the configured rate, or one in ten seconds, whichever is more; never above the configured one."""
    assert cut(configured, times).rate == pytest.approx(rate)


def test_polls_sent_together_halve_it_once() -> None:
    """Those under way when the first is throttled were sent at the old rate."""
    pace = Pace.of(50.0).throttled(3)
    assert pace.throttled(3) is pace
    assert pace.throttled(2) is pace


def test_ten_seconds_of_answers_are_one_step() -> None:
    """A twentieth of the configured rate, counted from the first answer after the cut on."""
    pace, rates = cut(50.0, 1), []
    for second in range(100, 131):
        pace = pace.answered(1, float(second))
        rates.append(pace.rate)
    assert rates == [25.0] * 10 + [27.5] * 10 + [30.0] * 10 + [32.5]


def test_silence_is_no_sign_that_more_is_allowed() -> None:
    """An hour without a poll is worth one step, like ten seconds."""
    assert cut(50.0, 1).answered(1, 0.0).answered(1, 3600.0).answered(1, 3601.0).rate == 27.5


def test_answers_to_polls_sent_before_the_cut_say_nothing() -> None:
    """They came at a rate that was too high."""
    pace = Pace.of(50.0).throttled(4)
    assert pace.answered(4, 0.0).answered(4, 100.0) is pace


def test_throttled_again_the_seconds_count_from_anew() -> None:
    """Nine seconds before, nine after: no step."""
    pace = cut(50.0, 1).answered(1, 0.0).answered(1, 9.0).throttled(1)
    assert pace.answered(2, 10.0).answered(2, 19.0).rate == 12.5


def test_a_whole_pace_is_left_as_it_is() -> None:
    """Answers raise nothing beyond what is configured."""
    pace = Pace.of(50.0)
    assert pace.whole
    assert pace.answered(0, 1e6) is pace


@given(rates, st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.floats(0.0, 30.0)), max_size=80))
def test_the_rate_stays_between_floor_and_configured(configured: float, events: list[tuple[bool, int, float]]) -> None:
    """Whatever happens, and it recovers in the end."""
    pace, epoch, now = Pace.of(configured), 0, 0.0
    for throttled, later, wait in events:
        epoch, now = epoch + later, now + wait
        pace = pace.throttled(epoch) if throttled else pace.answered(epoch, now)
        assert min(configured, 0.1, configured / 100) <= pace.rate <= configured
    for step in range(25):
        pace = pace.answered(epoch + 1, now + 10.0 * step)
    assert pace.whole
    assert pace.rate == configured
