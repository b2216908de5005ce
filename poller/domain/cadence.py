"""When to ask next. Pure; the caller draws the random numbers, uniform in [0, 1).

Exponential backoff with jitter; where the end of a run can be foreseen, its requests are placed where that is likely.

Tasks that begin together would go on being polled together, at delays that are the same for all of them; jitter alone
parts them too slowly, or not at all where it is 0. So some delays are cut short by a *phase* that is the task's own,
for ever the same: each that has grown by up to what it grew, and the first long one in a state that follows a prospect
by up to half. No delay falls below ``initial`` by that, nor below the one before. Delays of less than `PARTED_FROM`
stay as they are, and so do those that cannot grow (``initial`` as long as ``max``, ``growth`` 1): all their freedom is
their jitter.
"""

from hashlib import blake2b

from poller.domain.backoff import backoff
from poller.domain.prospect import Prospect
from poller.domain.task import Task

LONGEST_FIRST_DELAY = 2.0
"""Seconds over which first polls spread at most, where the rate limit allows that many."""

PARTED_FROM = 60.0
"""Seconds from which on a delay is long beside the time over which first polls spread."""

_MANY = 20.0
"""How many times ``initial`` a first delay is that may be cut by half."""

EARLY_STRETCH = 2.0
"""How many times ``max`` a delay may be while the end is not expected yet; what ends too soon is noticed by then."""


def next_delay(
    task: Task, draw: float, retry_after: float | None = None, foreseen: Prospect | None = None, age: float = 0.0
) -> float:
    """Seconds until the next poll of ``task``, just polled: ``initial`` after a new state, then growing to ``max``.

    With its end ``foreseen``, at the ``age`` of its run in seconds, the delay is what that asks for instead: at least
    ``initial``, and at most ``max``, or twice that before the expected end. A followed task whose run has ended waits
    for the next at ``max``, but not for one that was asked to start. ``retry_after`` is how long the provider asked to
    wait for this task; it lengthens the delay, up to ``max``, and never shortens it.
    """
    policy = task.entry.policy
    base = policy.max
    if not task.status.terminal and foreseen is not None:
        base = _foreseen_delay(task, foreseen, age)
    elif not task.status.settled:
        base = _grown_delay(task)
    if retry_after is not None:
        base = max(base, min(retry_after, policy.max))
    return base * (1 + policy.jitter * (2 * draw - 1))


def first_delay(task: Task, draw: float, spread: float = 0.0) -> float:
    """Seconds until the first poll of ``task`` after a start.

    Somewhere in ``spread`` or the shortest delay, whichever is longer, so that nobody polls in lockstep.
    """
    return draw * max(spread, min(task.entry.policy.initial, LONGEST_FIRST_DELAY))


def phase(name: str) -> float:
    """A number in [0, 1) that is a task's own, the same in each process."""
    return int.from_bytes(blake2b(name.encode(), digest_size=4).digest()) / 2**32


def _grown_delay(task: Task) -> float:
    policy, steps = task.entry.policy, task.contact.attempt - 1
    before, delay = (backoff(policy.initial, policy.max, policy.growth, count) for count in (steps - 1, steps))
    return _parted(task, delay, before)


def _foreseen_delay(task: Task, foreseen: Prospect, age: float) -> float:
    policy = task.entry.policy
    shortest = min(policy.initial, policy.max)
    longest = policy.max * (EARLY_STRETCH if age < foreseen.expected else 1.0)
    delay = max(shortest, min(foreseen.next_age - age, longest))
    # Where a run has many polls: where it has two, half a delay is half of what there is.
    is_first = task.contact.attempt <= 1 and delay >= _MANY * shortest
    return _parted(task, delay, delay / 2) if is_first else delay


def _parted(task: Task, delay: float, shortest: float) -> float:
    if delay < PARTED_FROM or delay <= shortest:
        return delay
    return delay - phase(task.entry.name) * (delay - shortest)
