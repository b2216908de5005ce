"""Events for other systems: which sinks get one, and what follows from each attempt to deliver it. Pure.

An event is a transition on its way to one sink. It is tried until it is taken, or given up and kept as a dead letter.
Events of one task reach a sink in order: while one of them fails, those behind it are held back, and no others.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from poller.domain.backoff import backoff
from poller.domain.events import Transition
from poller.domain.state import State

FIRST_DELAY, LONGEST_DELAY, GROWTH = 1.0, 300.0, 2.0
"""Seconds between two attempts at one event, and how they grow."""
JITTER = 0.25
"""Share of each delay by which it is shortened or lengthened at random."""
LONGEST_ASKED = 3_600.0
"""Seconds: no Retry-After is followed for longer."""
LONGEST_PAUSE = 30.0
"""Seconds between two attempts at a sink that takes nothing at all."""
DOWN_AFTER = 10
"""Tasks whose events failed one after the other, none in between being taken: the sink takes nothing at all."""
MOST_NOTED = 1_000
"""Tasks whose events fail that are noted one by one, and ways of failing that are told of one sink."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which transitions a sink gets: any of each kind where some are named, all of the labels."""

    states: Collection[State] = ()
    providers: Collection[str] = ()
    operations: Collection[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    initial: bool = True

    def takes(self, transition: Transition) -> bool:
        """Whether ``transition`` is for the sink."""
        labels = transition.labels or {}
        return (
            (self.initial or not transition.initial)
            and (not self.states or transition.target in self.states)
            and (not self.providers or transition.provider in self.providers)
            and (not self.operations or transition.operation in self.operations)
            and all(labels.get(key) == value for key, value in self.labels.items())
        )


@dataclass(frozen=True, slots=True)
class Delivery:
    """A transition that waits to be delivered to ``sink``; ``seq`` tells it from all others.

    It was tried ``attempts`` times; since ``held_since``, epoch seconds, it, or one of its task before it, fails.
    """

    seq: int
    sink: str
    transition: Transition
    attempts: int = 0
    held_since: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt: taken, or the ``error`` for people, which holds no secret.

    ``retry_after`` are the seconds that the receiver asks to wait. ``whole``: it concerns the sink and not this event.
    ``final``: no other attempt would come to anything else.
    """

    error: str | None = None
    retry_after: float | None = None
    whole: bool = False
    final: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of ``delivery`` ``at`` epoch seconds: taken without an ``error``, else to be tried at ``retry_at``.

    With an error and no next attempt it is given up.
    """

    delivery: Delivery
    at: float
    error: str | None = None
    retry_at: float | None = None

    @property
    def outcome(self) -> str:
        """``delivered``, ``failed`` (and to be tried again) or ``dead``."""
        if self.error is None:
            return "delivered"
        return "dead" if self.retry_at is None else "failed"


def receipt(delivery: Delivery, answer: Answer, now: float, give_up_after: float, draw: float) -> Receipt:
    """What follows from ``answer``; ``draw`` is a random number from 0 to 1.

    An event is given up ``give_up_after`` seconds after it, or one before it, began to fail.
    """
    if answer.error is None:
        return Receipt(delivery, now)
    held_since = now if delivery.held_since is None else delivery.held_since
    if answer.final or now - held_since >= give_up_after:
        return Receipt(delivery, now, answer.error)
    longest = LONGEST_PAUSE if answer.whole else LONGEST_DELAY
    delay = _scattered(backoff(FIRST_DELAY, longest, GROWTH, delivery.attempts), draw)
    return Receipt(delivery, now, answer.error, now + max(delay, min(answer.retry_after or 0.0, LONGEST_ASKED)))


class Condition:
    """How a sink does, as told by its receipts.

    ``paused_until``: nothing is to be sent before, epoch seconds. ``down_since``: it takes nothing at all since then.
    ``failing_since``: since when some event fails; None while none does.
    """

    def __init__(self) -> None:
        self.paused_until = float("-inf")
        self.failing_since: float | None = None
        self.down_since: float | None = None
        self._failing: set[str] = set()
        self._streak: set[str] = set()
        self._began = 0.0
        self._attempts = 0
        self._failed_at = float("-inf")

    def note(self, told: Receipt, whole: bool, draw: float) -> None:
        """Heeds a receipt; ``whole``: it concerns the sink and not this event. ``draw`` is from 0 to 1."""
        task = told.delivery.transition.task
        if told.outcome == "failed" and len(self._failing) < MOST_NOTED:
            self._failing.add(task)
        else:
            self._failing.discard(task)
        if told.error is None:
            self._streak.clear()
            self.down_since, self._attempts = None, 0
            self.failing_since = self.failing_since if self._failing else None
            return
        self.failing_since = told.at if self.failing_since is None else self.failing_since
        if whole and told.retry_at is not None:
            self.paused_until = max(self.paused_until, told.retry_at)
        self._lengthen(task, told.at, draw)

    def forget(self, is_gone: Callable[[str], bool]) -> None:
        """The events of tasks that ``is_gone`` picks out are none of this sink's worry any more."""
        self._failing = {task for task in self._failing if not is_gone(task)}

    def _lengthen(self, task: str, at: float, draw: float) -> None:
        """Another failure, and no success since the last one."""
        self._began = self._began if self._streak else at
        if len(self._streak) < DOWN_AFTER:
            self._streak.add(task)
        if len(self._streak) >= DOWN_AFTER:
            self.down_since = self._began
            # Of one attempt that fails for many events, the first one counts.
            self._attempts += at > self._failed_at
            pause = _scattered(backoff(FIRST_DELAY, LONGEST_PAUSE, GROWTH, self._attempts - 1), draw)
            self.paused_until = max(self.paused_until, at + pause)
        self._failed_at = at


def _scattered(delay: float, draw: float) -> float:
    return delay * (1.0 + JITTER * (2.0 * draw - 1.0))
