"""Tasks that begin together are not polled together."""

import heapq
import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.domain.cadence import PARTED_FROM, first_delay, next_delay, phase
from poller.domain.forecast import outlook
from poller.domain.progress import Curve
from poller.domain.prospect import prospect
from poller.domain.state import State
from poller.domain.task import Contact, Policy, Task
from tests.domain.lives import task_in

BATCH, RATE = 500, 50.0
SPAN = 150
"""Seconds before and after a second over which the mean pace is taken."""


def named(name: str, policy: Policy, polls: int) -> Task:
    task = task_in(State.RUNNING, policy=policy, contact=Contact(polls=polls, attempt=polls))
    return replace(task, entry=replace(task.entry, name=name))


def polls_by_second(policy: Policy, durations: list[float], until: float) -> Counter[int]:
    """Polls of tasks that all began at 0 and never end, with a history of ``durations`` or without."""
    rng, known, seconds = random.Random(1), outlook(durations), Counter[int]()
    spread = (BATCH - 1) / RATE
    queue = [(first_delay(named("", policy, 0), rng.random(), spread), number, 1) for number in range(BATCH)]
    heapq.heapify(queue)
    while queue[0][0] < until:
        age, number, polls = heapq.heappop(queue)
        seconds[int(age)] += 1
        foreseen = prospect(known, Curve(), (), age, policy, polls)
        delay = next_delay(named(f"run-{number:03}", policy, polls), rng.random(), None, foreseen, age)
        heapq.heappush(queue, (age + delay, number, polls + 1))
    return seconds


def lengths(middle: float, spread: float) -> list[float]:
    rng = random.Random(3)
    return [middle * rng.lognormvariate(0.0, spread) for _ in range(30)]


@pytest.mark.parametrize("jitter", [0.1, 0.0])
@pytest.mark.parametrize("durations", [[], lengths(3600.0, 0.15), lengths(600.0, 0.1)], ids=["none", "hour", "minutes"])
def test_a_batch_does_not_poll_together(jitter: float, durations: list[float]) -> None:
    """In no second go more polls than six times the mean pace around it, and the few that chance brings together."""
    until = 2000
    polls = polls_by_second(Policy(jitter=jitter), durations, until)
    for second in range(300, until - SPAN):
        mean = sum(polls[each] for each in range(second - SPAN, second + SPAN)) / (2 * SPAN)
        assert polls[second] <= 6.0 * mean + 6.0, second


names = st.text(min_size=1, max_size=20)
draws = st.floats(0.0, 1.0, exclude_max=True)


@given(names)
def test_a_phase_is_a_tasks_own_for_ever(name: str) -> None:
    """From 0 to 1, by the name alone."""
    assert 0.0 <= phase(name) == phase(name) < 1.0


def test_phases_are_the_same_in_each_process_and_far_apart() -> None:
    """Also of names that are nearly alike."""
    assert phase("run-1") == pytest.approx(0.18037, abs=1e-5)
    tenths = Counter(int(10 * phase(f"run-{number:04}")) for number in range(1000))
    assert min(tenths.values()) > 70


@given(names, st.integers(1, 60))
def test_only_long_delays_are_parted(name: str, attempt: int) -> None:
    """Each by less than it grew, and none falls below the one before."""
    policy, plain = Policy(jitter=0.0), min(300.0, 2.0 * 1.5 ** (attempt - 1))
    delay = next_delay(named(name, policy, attempt), 0.5)
    if plain < PARTED_FROM:
        assert delay == pytest.approx(plain)
    assert plain / 1.5 * (1 - 1e-9) <= delay <= plain * (1 + 1e-9)


@given(names, st.integers(1, 60), draws)
def test_without_growth_delays_are_exact(name: str, attempt: int, draw: float) -> None:
    """Whoever asks for one poll in five minutes gets that."""
    policy = Policy(initial=300.0, max=300.0, jitter=0.0)
    assert next_delay(named(name, policy, attempt), draw) == 300.0
