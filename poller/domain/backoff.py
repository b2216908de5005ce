"""Delays that grow, and how many of them fit into a time. Pure."""

import math

from poller.domain.task import Policy


def backoff(initial: float, longest: float, growth: float, steps: int) -> float:
    """``initial`` grown ``steps`` times, at most ``longest``; finite however many the steps."""
    if steps <= 0 or growth <= 1.0:
        return min(initial, longest)
    if steps * math.log(growth) >= math.log(longest / initial):
        return longest
    return min(longest, initial * growth**steps)


def backoff_polls(policy: Policy, age: float) -> float:
    """How many polls the plain backoff spends up to ``age``; whole ones and the share of the next."""
    initial, longest, growth = min(policy.initial, policy.max), policy.max, policy.growth
    if growth <= 1.0:
        return age / initial
    grown = math.log(longest / initial) / math.log(growth)
    grown_age = (longest - initial) / (growth - 1.0)
    if age <= grown_age:
        return math.log1p(age * (growth - 1.0) / initial) / math.log(growth)
    return grown + (age - grown_age) / longest
