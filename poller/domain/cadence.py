"""When to ask next: exponential backoff with jitter. Pure; the caller draws the random numbers, uniform in [0, 1)."""

import math

from poller.domain.task import Task

LONGEST_FIRST_DELAY = 2.0
"""Seconds over which first polls spread at most, where the rate limit allows that many."""


def next_delay(task: Task, draw: float, retry_after: float | None = None) -> float:
    """Seconds until the next poll of ``task``, just polled: ``initial`` after a new state, then growing to ``max``.

    A followed task whose run has ended waits for the next at ``max``, but not for one that was asked to start.
    ``retry_after`` is how long the provider asked to wait for this task; it lengthens the delay, up to ``max``, and
    never shortens it.
    """
    policy = task.entry.policy
    base = policy.max
    if not task.status.settled:
        base = backoff(policy.initial, policy.max, policy.growth, task.contact.attempt - 1)
    if retry_after is not None:
        base = max(base, min(retry_after, policy.max))
    return base * (1 + policy.jitter * (2 * draw - 1))


def first_delay(task: Task, draw: float, spread: float = 0.0) -> float:
    """Seconds until the first poll of ``task`` after a start.

    Somewhere in ``spread`` or the shortest delay, whichever is longer, so that nobody polls in lockstep.
    """
    return draw * max(spread, min(task.entry.policy.initial, LONGEST_FIRST_DELAY))


def backoff(initial: float, longest: float, growth: float, steps: int) -> float:
    """``initial`` grown ``steps`` times, at most ``longest``; finite however many the steps."""
    if steps <= 0 or growth <= 1.0:
        return min(initial, longest)
    if steps * math.log(growth) >= math.log(longest / initial):
        return longest
    return min(longest, initial * growth**steps)
