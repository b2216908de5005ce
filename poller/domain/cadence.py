"""When to ask next. Pure; the caller draws the random numbers, uniform in [0, 1).

Exponential backoff with jitter; where the end of a run can be foreseen, its requests are placed where that is likely.
"""

from poller.domain.backoff import backoff
from poller.domain.prospect import Prospect
from poller.domain.task import Policy, Task

LONGEST_FIRST_DELAY = 2.0
"""Seconds over which first polls spread at most, where the rate limit allows that many."""

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
        base = _foreseen_delay(policy, foreseen, age)
    elif not task.status.settled:
        base = backoff(policy.initial, policy.max, policy.growth, task.contact.attempt - 1)
    if retry_after is not None:
        base = max(base, min(retry_after, policy.max))
    return base * (1 + policy.jitter * (2 * draw - 1))


def first_delay(task: Task, draw: float, spread: float = 0.0) -> float:
    """Seconds until the first poll of ``task`` after a start.

    Somewhere in ``spread`` or the shortest delay, whichever is longer, so that nobody polls in lockstep.
    """
    return draw * max(spread, min(task.entry.policy.initial, LONGEST_FIRST_DELAY))


def _foreseen_delay(policy: Policy, foreseen: Prospect, age: float) -> float:
    longest = policy.max * (EARLY_STRETCH if age < foreseen.expected else 1.0)
    return max(min(policy.initial, policy.max), min(foreseen.next_age - age, longest))
