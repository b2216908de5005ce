"""How often a connection may be used."""

_TOLERANCE = 0.02
"""Seconds by which polls may run ahead of an even pace: 2 % of one second's worth, so that a timer that fires late costs no throughput."""


class Pacer:
    """An even pace of ``rate`` per second (the generic cell rate algorithm, ITU-T I.371). Times are on one monotonic clock."""

    def __init__(self, rate: float) -> None:
        self._interval = 1 / rate
        self._next = float("-inf")

    def wait(self, now: float) -> float:
        """Seconds until the next may go; 0 if it may go now."""
        return max(0.0, self._next - _TOLERANCE - now)

    def take(self, now: float) -> None:
        """One goes now."""
        self._next = max(self._next, now) + self._interval
