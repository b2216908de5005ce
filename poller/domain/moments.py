"""Points in time as they are written for programs and for people."""

import re
from datetime import UTC, datetime

from poller.domain.durations import format_duration

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)

_MINUTE, _HOUR, _DAY = 60.0, 3_600.0, 86_400.0
_STEPS = ((_MINUTE, 1.0), (10 * _MINUTE, 10.0), (10 * _HOUR, _MINUTE), (10 * _DAY, _HOUR))
"""Below how many seconds a time is rounded to how many."""


def rfc3339(moment: float | None) -> str | None:
    """``moment``, epoch seconds, in UTC with milliseconds; None also for one that no calendar holds."""
    if moment is None:
        return None
    try:
        return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


def epoch(text: str) -> float:
    """The moment that ``text`` tells as RFC 3339 writes it, epoch seconds; ValueError for anything else."""
    if not _RFC3339.fullmatch(text):
        raise ValueError(f"{text!r} found, a time with its zone like 2026-11-01T00:00:00Z is allowed")
    # A leap second, which no clock here knows, counts as the one after it.
    whole, is_leap = (text[:17] + "59" + text[19:], 1.0) if text[17:19] == "60" else (text, 0.0)
    return datetime.fromisoformat(whole.upper()).timestamp() + is_leap


def relative(moment: float, now: float) -> str:
    """How far ``moment`` lies from ``now``: ``3m20s ago``, ``in 5s``, ``now``."""
    distance = moment - now
    if abs(distance) < 1:
        return "now"
    return f"in {format_duration(distance)}" if distance > 0 else f"{format_duration(-distance)} ago"


def foreseen(at: float, low_at: float | None, high_at: float | None, now: float) -> str:
    """When something will probably happen, and between which moments: ``in 12m (8m-20m)``; ``passed 3m ago``."""
    expected = _roughly(abs(at - now))
    if expected == "0s":
        return "now"
    if at < now:
        return f"passed {expected} ago"
    if low_at is None or high_at is None:
        return f"in {expected}"
    low, high = _roughly(max(0.0, low_at - now)), _roughly(max(0.0, high_at - now))
    if low == high:
        return f"in {expected}"
    return f"in {expected} ({low}-{high})" if low_at > now else f"in {expected} (up to {high})"


def _roughly(seconds: float) -> str:
    """As exact as a forecast is worth: two or three digits."""
    step = next((step for below, step in _STEPS if seconds < below), _DAY)
    return format_duration(round(seconds / step) * step)
