"""How often a connection may be used."""

from dataclasses import dataclass

from poller.domain.circuit import Pauses

_TOLERANCE = 0.02
"""Seconds by which polls may run ahead of an even pace, so that a timer that fires late costs no throughput."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a connection may be asked for: polls per second, polls at once, seconds for one poll, and its pauses."""

    rate: float
    max_in_flight: int
    timeout: float
    pauses: Pauses


class Pacer:
    """An even pace of ``rate`` per second: the generic cell rate algorithm (ITU-T I.371), on one monotonic clock."""

    def __init__(self, rate: float) -> None:
        self._interval = 1 / rate
        self._next = float("-inf")

    def change(self, rate: float) -> None:
        """Goes on at another rate; the next one that may go is not affected."""
        self._interval = 1 / rate

    def wait(self, now: float) -> float:
        """Seconds until the next may go; 0 if it may go now."""
        return max(0.0, self._next - _TOLERANCE - now)

    def take(self, now: float) -> None:
        """One goes now."""
        self._next = max(self._next, now) + self._interval
