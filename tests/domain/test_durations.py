"""Durations and rates as the config file writes them, and as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.domain.durations import format_duration, parse_duration, parse_rate

SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}

# fmt: off
NO_DURATIONS = [
    "", " ", "5", "s", "5 s", " 5s", "5s ", "5s\n", "-5s", "+5s", "5S", "5sec", "1w", "1.s", ".5s", "1e3s", "1h 30m",
    "1h30", "inf", "nans", "5,5s", "0x5s", "5µs", "None", "1..5s", "1.5.5s",
]
NO_RATES = [
    "", "10", "/s", "10/", "10/5s", "10 / s", "10s", "-1/s", "0/s", "0.0/m", "10/w", "10/s/m", "inf/s", "1e3/s",
    "10/s\n",
]
# fmt: on

amounts = st.integers(0, 10**6)
durations = st.floats(10, 10**9)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("5s", 5),
        ("2m", 120),
        ("1h30m", 5400),
        ("7d", 604_800),
        ("0s", 0),
        ("0.5s", 0.5),
        ("1.5h", 5400),
        ("1m500ms", 60.5),
        ("5ms5m", 300.005),
        ("1d1h1m1s1ms", 90_061.001),
        ("30m1h", 5400),
        ("90m", 5400),
        ("007s", 7),
    ],
)
def test_durations_that_are_allowed(text: str, seconds: float) -> None:
    """A duration is numbers with units, in any order; the result is seconds."""
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize("text", NO_DURATIONS)
def test_durations_that_are_refused(text: str) -> None:
    """Anything else is refused, and the error says what is allowed."""
    with pytest.raises(ValueError, match=r"^a duration is allowed, like 500ms, 5s, 2m, 1h30m or 7d$"):
        parse_duration(text)


@given(st.lists(st.tuples(amounts, st.sampled_from(sorted(SECONDS))), min_size=1, max_size=6))
def test_a_duration_is_the_sum_of_its_parts(parts: list[tuple[int, str]]) -> None:
    """However many parts there are and in whatever order, each counts."""
    text = "".join(f"{amount}{unit}" for amount, unit in parts)
    assert parse_duration(text) == pytest.approx(sum(amount * SECONDS[unit] for amount, unit in parts))


@pytest.mark.parametrize(
    ("text", "per_second"),
    [("10/s", 10), ("300/m", 5), ("0.5/s", 0.5), ("7200/h", 2), ("86400/d", 1), ("1/ms", 1000), ("1.5/m", 0.025)],
)
def test_rates_that_are_allowed(text: str, per_second: float) -> None:
    """A rate is a number per unit of time; the result is events per second."""
    assert parse_rate(text) == pytest.approx(per_second, rel=1e-12)


@pytest.mark.parametrize("text", NO_RATES)
def test_rates_that_are_refused(text: str) -> None:
    """Anything else is refused, a rate of zero too, and the error says what is allowed."""
    with pytest.raises(ValueError, match=r"^a rate above zero is allowed, like 10/s or 300/m$"):
        parse_rate(text)


@given(amounts.filter(bool), st.sampled_from(sorted(SECONDS)))
def test_a_rate_times_its_unit_is_its_number(amount: int, unit: str) -> None:
    """So many in each unit of time, whichever unit."""
    assert parse_rate(f"{amount}/{unit}") * SECONDS[unit] == pytest.approx(amount)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.04, "0s"),
        (0.5, "0.5s"),
        (1.0, "1s"),
        (2.34, "2.3s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (10.4, "10s"),
        (45, "45s"),
        (59.6, "1m"),
        (60, "1m"),
        (90, "1m30s"),
        (3_599, "59m59s"),
        (3_600, "1h"),
        (5_400, "1h30m"),
        (5_459, "1h30m"),
        (86_399.6, "1d"),
        (90_000, "1d1h"),
        (604_800, "7d"),
        (31_536_000, "365d"),
    ],
)
def test_how_durations_read(seconds: float, text: str) -> None:
    """People see at most two units, and tenths only where they matter."""
    assert format_duration(seconds) == text


@given(durations)
def test_a_formatted_duration_can_be_parsed_and_is_at_most_a_unit_too_short(seconds: float) -> None:
    """What is shown may be pasted into the config; what is cut off is less than the smallest unit shown."""
    text = format_duration(seconds)
    cut = round(seconds) - parse_duration(text)
    assert 0 <= cut < SECONDS[text[-1]]


@given(durations)
def test_a_formatted_duration_has_at_most_two_units(seconds: float) -> None:
    """However long it is, it stays short to read."""
    assert 1 <= sum(letter.isalpha() for letter in format_duration(seconds)) <= 2
