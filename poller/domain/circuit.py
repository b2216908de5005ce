"""Whether a provider connection may be used: open, one poll at a time, or paused. Pure.

    phase     polls that go out      left when
    probing   one at a time          an answer comes (open), or a refusal (paused)
    open      as many as allowed     a refusal comes (paused)
    paused    none                   its time is over (probing), or the credentials change (probing)

A connection begins probing: before its first answer ever nobody knows whether its credentials are right, and a row of
refusals locks a Huawei Cloud key. A refusal is `throttled` or `unauthorized`. No answer at all (`unreachable`) changes
nothing.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from poller.domain.backoff import backoff
from poller.domain.observation import OPENS, Observation, Outcome

_ALIKE = 1.0
"""Seconds by which the ends of two pauses may differ that are the same, told on two clocks."""


class Phase(StrEnum):
    """How many polls a connection lets out."""

    PROBING = "probing"
    OPEN = "open"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Pauses:
    """How long a connection pauses, in seconds.

    From ``initial``, growing to ``max``, when it is throttled without being told for how long.
    """

    auth_pause: float = 300.0
    max_pause: float = 3_600.0
    initial: float = 2.0
    max: float = 300.0
    growth: float = 1.5


@dataclass(frozen=True, slots=True)
class Circuit:
    """A connection's state. ``reason`` is the refusal that paused it, kept until an answer opens it again.

    ``epoch`` counts the pauses: what comes back from a poll sent in an earlier epoch neither opens the connection nor
    counts as a further refusal. ``until`` is on the clock that ``now`` is read from.
    """

    phase: Phase = Phase.PROBING
    epoch: int = 0
    refusals: int = 0
    until: float = 0.0
    reason: Outcome | None = None

    def observed(self, seen: Observation, sent_epoch: int, pauses: Pauses, now: float) -> "Circuit":
        """The circuit after ``seen`` came back from a poll sent in ``sent_epoch``."""
        if seen.outcome in OPENS:
            return self._opened(sent_epoch)
        if seen.outcome is Outcome.UNAUTHORIZED:
            return self._refused(Outcome.UNAUTHORIZED, now + pauses.auth_pause, sent_epoch)
        if seen.outcome is Outcome.THROTTLED:
            pause = self._throttle(seen.retry_after, sent_epoch, pauses)
            return self._refused(Outcome.THROTTLED, now + pause, sent_epoch)
        return self

    def passed(self, now: float) -> "Circuit":
        """The circuit at ``now``: a pause that is over lets one poll out."""
        if self.phase is Phase.PAUSED and now >= self.until:
            return replace(self, phase=Phase.PROBING)
        return self

    def renewed(self) -> "Circuit":
        """The circuit after its credentials changed: a pause on their account is over."""
        if self.phase is Phase.PAUSED and self.reason is Outcome.UNAUTHORIZED:
            return replace(self, phase=Phase.PROBING)
        return self

    def told(self, reason: Outcome, until: float) -> "Circuit":
        """The circuit after another replica of poller met with a refusal that holds until then.

        Before its own first answer a connection heeds no refusal of credentials: it may have others.
        """
        if reason is Outcome.UNAUTHORIZED and self == Circuit():
            return self
        if self.phase is Phase.PAUSED and self.until >= until - _ALIKE:
            return self
        return Circuit(Phase.PAUSED, self.epoch + 1, self.refusals, until, reason)

    def relieved(self) -> "Circuit":
        """The circuit after another replica was answered: a pause is over, and one poll goes out."""
        return replace(self, phase=Phase.PROBING) if self.phase is Phase.PAUSED else self

    def _opened(self, sent_epoch: int) -> "Circuit":
        if sent_epoch != self.epoch or self.phase is Phase.OPEN:
            return self
        return Circuit(Phase.OPEN, self.epoch)

    def _refused(self, reason: Outcome, until: float, sent_epoch: int) -> "Circuit":
        if sent_epoch != self.epoch:
            return replace(self, until=max(self.until, until)) if self.phase is Phase.PAUSED else self
        return Circuit(Phase.PAUSED, self.epoch + 1, self.refusals + 1, until, reason)

    def _throttle(self, asked: float | None, sent_epoch: int, pauses: Pauses) -> float:
        if asked is not None and asked > 0:
            return min(asked, pauses.max_pause)
        row = self.refusals if sent_epoch == self.epoch else self.refusals - 1
        return min(backoff(pauses.initial, pauses.max, pauses.growth, row), pauses.max_pause)
