"""How often a connection may be used."""

from collections import deque
from dataclasses import dataclass

from poller.domain.circuit import Pauses

TOGETHER = 0.1
"""Seconds by which polls may run ahead of an even pace, so that several can go at once, and that a timer which fires
late costs no throughput."""
_SECOND = 1.001
"""A second, and by how much whoever waits for its end may be early."""
_SLACK = 0.02
"""By which share of the rate a second may see more than it: what timers need."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a connection may be asked for: polls per second, polls at once, seconds for one poll, and its pauses."""

    rate: float
    max_in_flight: int
    timeout: float
    pauses: Pauses


class Pacer:
    """A pace of ``rate`` per second, on one monotonic clock: even but for a moment, and kept in every second.

    The generic cell rate algorithm (ITU-T I.371) makes it even. Its tolerance alone would let a second see a tenth more
    than the rate, so those of the last second are counted.
    """

    def __init__(self, rate: float) -> None:
        self._next = float("-inf")
        self._latest: deque[float] = deque()
        self.change(rate)

    def change(self, rate: float) -> None:
        """Goes on at another rate; the next one that may go is not affected, unless there were more in a second."""
        self._interval = 1 / rate
        self._most = 1 + int(rate * (1 + _SLACK))

    def wait(self, now: float) -> float:
        """Seconds until the next may go; 0 if it may go now."""
        latest = self._latest
        while latest and latest[0] <= now - _SECOND:
            latest.popleft()
        crowded = latest[-self._most] + _SECOND - now if len(latest) >= self._most else 0.0
        return max(0.0, self._next - TOGETHER - now, crowded)

    def take(self, now: float) -> None:
        """One goes now."""
        self._next = max(self._next, now) + self._interval
        self._latest.append(now)
