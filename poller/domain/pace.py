"""How fast a connection may be asked: at its configured rate, slower after it was throttled. Pure.

Halved when it is throttled, and raised again by a twentieth of the configured rate for every ten seconds of answers:
additive increase, multiplicative decrease, as for congestion in RFC 5681. The pauses between are `circuit.py`'s.
"""

from dataclasses import dataclass, replace

_CUT = 0.5
_STEP = 1 / 20
"""Of the configured rate."""
_STEP_SECONDS = 10.0
_LEAST_SHARE, _LEAST_RATE = 1 / 100, 1 / 10
"""Of the configured rate, and polls per second: it is cut no further than to the greater."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Polls per second: those ``configured``, and the ``rate`` that is allowed now.

    ``cut_epoch`` is the epoch (see `Circuit`) of the polls that were throttled last, ``since`` is since when answers
    count for the next step; None before the first one.
    """

    configured: float
    rate: float
    cut_epoch: int = -1
    since: float | None = None

    @classmethod
    def of(cls, configured: float) -> "Pace":
        """The pace of a connection that was never throttled."""
        return cls(configured, configured)

    @property
    def whole(self) -> bool:
        """Whether all is allowed that is configured."""
        return self.rate >= self.configured

    def throttled(self, epoch: int) -> "Pace":
        """The pace after a poll sent in ``epoch`` was throttled; all polls of one epoch halve it once."""
        if epoch <= self.cut_epoch:
            return self
        floor = min(self.configured, max(self.configured * _LEAST_SHARE, _LEAST_RATE))
        return Pace(self.configured, max(floor, self.rate * _CUT), epoch)

    def answered(self, epoch: int, now: float) -> "Pace":
        """The pace after a poll sent in ``epoch`` was answered ``now``; one sent before the last cut says nothing."""
        if self.whole or epoch <= self.cut_epoch:
            return self
        if self.since is None:
            return replace(self, since=now)
        if now - self.since < _STEP_SECONDS:
            return self
        return replace(self, rate=min(self.configured, self.rate + self.configured * _STEP), since=now)
