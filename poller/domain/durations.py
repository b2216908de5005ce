"""Durations (``500ms 5s 2m 1h30m 7d``) and rates (``10/s 300/m``), as the config file writes them."""

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_RATE = re.compile(r"(\d+(?:\.\d+)?)/(ms|[smhd])")


def parse_duration(text: str) -> float:
    """Seconds in ``text``: numbers with units ``ms s m h d``, the largest first or not.

    Raises ValueError, with what is allowed, for anything else.
    """
    if not _DURATION.fullmatch(text):
        raise ValueError("a duration is allowed, like 500ms, 5s, 2m, 1h30m or 7d")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def parse_rate(text: str) -> float:
    """Events per second in ``text``, a number, a slash and a unit of time: ``10/s``, ``300/m``.

    Raises ValueError, with what is allowed, for anything else and for a rate of zero.
    """
    match = _RATE.fullmatch(text)
    if not match or float(match[1]) == 0:
        raise ValueError("a rate above zero is allowed, like 10/s or 300/m")
    return float(match[1]) / _UNITS[match[2]]


def format_duration(seconds: float) -> str:
    """``seconds`` for people: at most two units, ``1h30m``, ``45s``, ``0.5s``."""
    if seconds < 10:
        return f"{round(seconds, 1):g}s"
    parts = []
    rest = round(seconds)
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, int(_UNITS[unit]))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2])
