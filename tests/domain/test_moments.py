"""Moments are written exactly for programs and in words for people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.domain.moments import epoch, foreseen, relative, rfc3339


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_790_000_000.9876, "2026-09-21T14:13:20.987Z"),
        (-1.5, "1969-12-31T23:59:58.500Z"),
        (None, None),
        (1e20, None),
        (float("nan"), None),
        (float("inf"), None),
    ],
)
def test_times_are_utc_with_milliseconds_and_null_where_no_calendar_holds_them(
    moment: float | None, expected: str | None
) -> None:
    assert rfc3339(moment) == expected


@pytest.mark.parametrize(
    ("moment", "expected"), [(100.4, "now"), (95.0, "5s ago"), (102.5, "in 2.5s"), (100 - 5400.0, "1h30m ago")]
)
def test_words_tell_the_distance(moment: float, expected: str) -> None:
    assert relative(moment, 100.0) == expected


@pytest.mark.parametrize(
    ("at", "low_at", "high_at", "expected"),
    [
        (720.0, 480.0, 1200.0, "in 12m (8m-20m)"),
        (754.0, -5.0, 1234.0, "in 13m (up to 21m)"),
        (5.0, 2.0, 9.0, "in 5s (2s-9s)"),
        (90_000.0, 80_000.0, 100_000.0, "in 1d1h (22h-1d4h)"),
        (40 * 86_400.0, 12 * 86_400.0, 1e10, "in 40d (12d-115741d)"),
        (124.0, 123.0, 124.0, "in 2m"),
        (-1.0, -1.0, -1.0, "passed 1s ago"),
        (30.0, None, None, "in 30s"),
        (-200.0, -300.0, 50.0, "passed 3m20s ago"),
        (-200.0, None, None, "passed 3m20s ago"),
        (0.3, 0.1, 900.0, "now"),
        (-0.3, None, None, "now"),
    ],
)
def test_what_is_foreseen_is_told_as_exactly_as_it_is_known(
    at: float, low_at: float | None, high_at: float | None, expected: str
) -> None:
    """Relative, with its spread while that lies ahead; never a negative time."""
    assert foreseen(100.0 + at, low_at and 100.0 + low_at, high_at and 100.0 + high_at, 100.0) == expected


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("2026-11-01T00:00:00.250Z", 1_793_491_200.25),
        ("2026-11-01t01:30:00+01:30", 1_793_491_200.0),
        ("2026-10-31T20:00:00-04:00", 1_793_491_200.0),
        ("2016-12-31T23:59:60Z", 1_483_228_800.0),
        ("0001-01-01T00:00:00z", -62_135_596_800.0),
    ],
)
def test_a_written_moment_is_read(text: str, moment: float) -> None:
    """As RFC 3339 has it, leap seconds included."""
    assert epoch(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "2026-11-01",
        "2026-11-01T00:00:00",
        "2026-13-01T00:00:00Z",
        "2026-11-01T00:00:00.Z",
        "٢٠٢٦-11-01T00:00:00Z",
    ],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    """ValueError; without its zone nobody knows which moment it is."""
    with pytest.raises(ValueError):
        epoch(text)


@given(st.floats(-1e10, 1e11))
def test_a_moment_is_read_as_it_was_written(moment: float) -> None:
    """To the millisecond."""
    written = rfc3339(moment)
    assert written is not None
    assert abs(epoch(written) - moment) < 0.0011
