"""Points in time as they are written for programs and for people."""

from datetime import UTC, datetime

from poller.domain.durations import format_duration


def rfc3339(moment: float | None) -> str | None:
    """``moment``, epoch seconds, in UTC with milliseconds; None also for one that no calendar holds."""
    if moment is None:
        return None
    try:
        return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


def relative(moment: float, now: float) -> str:
    """How far ``moment`` lies from ``now``: ``3m20s ago``, ``in 5s``, ``now``."""
    distance = moment - now
    if abs(distance) < 1:
        return "now"
    return f"in {format_duration(distance)}" if distance > 0 else f"{format_duration(-distance)} ago"
