"""Moments are written exactly for programs and in words for people."""

import pytest

from poller.domain.moments import relative, rfc3339


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
