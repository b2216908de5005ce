"""When a task is asked next."""

import math
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poller.domain.backoff import backoff
from poller.domain.cadence import first_delay, next_delay
from poller.domain.lifecycle import begin
from poller.domain.observation import Observation, Outcome
from poller.domain.state import State
from poller.domain.task import Contact, Policy, Task
from tests.domain.lives import REPORTED_ENDS, T0, answer, entry, poll, task_in

MIDDLE = 0.5
"""The draw that leaves a delay as it is."""

STEADY = Policy(initial=2.0, max=20.0, growth=2.0, jitter=0.1)


def running(attempt: int, policy: Policy = STEADY) -> Task:
    """A running task asked ``attempt`` times in its state."""
    return task_in(State.RUNNING, policy=policy, contact=Contact(attempt=attempt))


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Any policy the config file may ask for."""
    initial = draw(st.floats(0.001, 1e6))
    longest = draw(st.just(initial) | st.floats(initial, 1e10))
    growth = draw(st.just(1.0) | st.floats(1.0, 4.0) | st.floats(1.0, 1e308))
    return Policy(initial=initial, max=longest, growth=growth, jitter=draw(st.floats(0.0, 1.0)))


attempts = st.integers(0, 60) | st.integers(0, 10**18)
draws = st.floats(0.0, 1.0, exclude_max=True)


def test_delays_grow_from_initial_to_max() -> None:
    """Every further poll in the same state waits longer, by the growth, up to the longest."""
    delays = [next_delay(running(attempt), MIDDLE) for attempt in range(1, 8)]
    assert delays == [2.0, 4.0, 8.0, 16.0, 20.0, 20.0, 20.0]


def test_a_task_never_asked_waits_the_shortest_delay() -> None:
    """No attempt yet counts as the first."""
    assert next_delay(running(0), MIDDLE) == 2.0


@given(policies(), attempts, draws)
@example(Policy(initial=1.0, max=1.0, growth=1.0), 10**18, MIDDLE)
@example(Policy(initial=0.001, max=1e10, growth=1e308, jitter=1.0), 2, 0.0)
@example(Policy(initial=0.1, max=0.3, growth=3.0), 2, MIDDLE)
def test_a_delay_is_finite_and_within_its_bounds(policy: Policy, attempt: int, draw: float) -> None:
    """Whatever the policy and however many the attempts, a delay is initial to max, give or take the jitter."""
    delay = next_delay(running(attempt, policy), draw)
    assert math.isfinite(delay)
    assert policy.initial * (1 - policy.jitter) <= delay <= policy.max * (1 + policy.jitter)


@given(policies(), st.integers(1, 200))
def test_a_delay_never_shrinks_while_the_state_stays(policy: Policy, attempt: int) -> None:
    """One poll more in the same state never makes the next come sooner (but for rounding)."""
    sooner, later = (next_delay(running(n, policy), MIDDLE) for n in (attempt, attempt + 1))
    assert later >= sooner * (1 - 1e-12)


@given(policies(), draws)
def test_jitter_is_a_share_of_the_delay(policy: Policy, draw: float) -> None:
    """The draw spreads a delay evenly over ± the jitter's share of it."""
    delay, plain = (next_delay(running(1, policy), each) for each in (draw, MIDDLE))
    assert delay == pytest.approx(plain + plain * policy.jitter * (2 * draw - 1), abs=1e-9)


def test_without_jitter_the_draw_is_of_no_account() -> None:
    """Jitter 0 makes delays exact."""
    steady = replace(STEADY, jitter=0.0)
    assert {next_delay(running(2, steady), draw) for draw in (0.0, 0.3, 0.999)} == {4.0}


def polled(*seen: Observation) -> Task:
    """A task that was seen like this, a second apart."""
    return poll(begin(entry(policy=STEADY), T0), *((float(second), each) for second, each in enumerate(seen)))


def test_the_delay_starts_anew_when_the_state_changes() -> None:
    """Where something has just happened, more may happen soon."""
    running_long = [answer(State.PENDING)] * 5
    assert next_delay(polled(*running_long), MIDDLE) == 20.0
    assert next_delay(polled(*running_long, answer(State.RUNNING)), MIDDLE) == 2.0


def test_the_delay_does_not_start_anew_when_progress_moves() -> None:
    """A task that reports every percent is not asked a hundred times as often."""
    seen = [answer(State.RUNNING, progress=float(percent)) for percent in range(4)]
    assert next_delay(polled(*seen), MIDDLE) == 16.0


@pytest.mark.parametrize("outcome", [Outcome.UNRECOGNIZED, Outcome.REJECTED, Outcome.UNREACHABLE])
def test_a_task_that_cannot_be_read_backs_off(outcome: Outcome) -> None:
    """The schedule is the only retry there is: each failure in a row waits longer."""
    delays = [next_delay(polled(*[Observation(outcome)] * times), MIDDLE) for times in (1, 2, 3)]
    assert delays == [2.0, 4.0, 8.0]


@pytest.mark.parametrize("outcome", [Outcome.THROTTLED, Outcome.UNAUTHORIZED])
def test_a_task_does_not_back_off_because_its_connection_was_refused(outcome: Outcome) -> None:
    """A refusal pauses the whole connection; no task is to wait on top of that."""
    seen = [answer(State.RUNNING), answer(State.RUNNING)]
    assert next_delay(polled(*seen), MIDDLE) == 4.0
    assert next_delay(polled(*seen, *[Observation(outcome)] * 9), MIDDLE) == 4.0
    assert next_delay(polled(Observation(outcome)), MIDDLE) == 2.0


@pytest.mark.parametrize("state", REPORTED_ENDS)
def test_a_followed_task_between_runs_is_asked_at_max(state: State) -> None:
    """The next training may be weeks away: idle tasks cost as few requests as the policy allows."""
    idle = task_in(state, follow=True, policy=STEADY, contact=Contact(attempt=1))
    assert next_delay(idle, MIDDLE) == 20.0


# asked to wait, at attempt 2 (4 s) with max 20 s
@pytest.mark.parametrize(
    ("asked", "delay"),
    [(None, 4.0), (0.0, 4.0), (-5.0, 4.0), (3.0, 4.0), (4.5, 4.5), (20.0, 20.0), (900.0, 20.0), (math.inf, 20.0)],
)
def test_a_pause_asked_for_lengthens_the_delay_up_to_max(asked: float | None, delay: float) -> None:
    """A provider may ask to be left alone for longer, but neither for shorter nor for ever."""
    assert next_delay(running(2), MIDDLE, asked) == delay


@given(policies(), attempts, draws, st.floats(allow_infinity=True, allow_nan=True))
def test_a_pause_asked_for_never_shortens_the_delay(policy: Policy, attempt: int, draw: float, asked: float) -> None:
    """Whatever a header holds, a poll comes no sooner for it and no later than max allows."""
    task = running(attempt, policy)
    assert next_delay(task, draw) <= next_delay(task, draw, asked) <= policy.max * (1 + policy.jitter)


@pytest.mark.parametrize(
    ("initial", "spread", "draw", "delay"),
    [
        (1.0, 0.0, 0.0, 0.0),
        (1.0, 0.0, 0.5, 0.5),
        (60.0, 0.0, 0.5, 1.0),
        (60.0, 30.0, 0.5, 15.0),
        (1.0, 0.5, 0.5, 0.5),
    ],
)
def test_first_polls_spread_over_what_the_rate_needs_or_two_seconds(
    initial: float, spread: float, draw: float, delay: float
) -> None:
    """Many tasks do not start in lockstep, yet few need not wait: at most two seconds unless the rate needs more."""
    task = begin(entry(policy=Policy(initial=initial)), T0)
    assert first_delay(task, draw, spread) == delay
    assert first_delay(task, draw) == first_delay(task, draw, 0.0)


@given(policies(), draws, st.floats(0, 1e6))
def test_a_first_poll_comes_within_the_spread_or_two_seconds(policy: Policy, draw: float, spread: float) -> None:
    """No draw puts a first poll off for longer."""
    assert 0 <= first_delay(begin(entry(policy=policy), T0), draw, spread) <= max(spread, 2.0)


@pytest.mark.parametrize(
    ("initial", "longest", "growth", "steps", "grown"),
    [
        (2.0, 300.0, 1.5, 0, 2.0),
        (2.0, 300.0, 1.5, -1, 2.0),
        (2.0, 300.0, 1.5, 1, 3.0),
        (2.0, 300.0, 1.5, 2, 4.5),
        (2.0, 300.0, 1.5, 13, 300.0),
        (2.0, 300.0, 1.0, 10**9, 2.0),
        (2.0, 300.0, 1.5, 10**30, 300.0),
        (2.0, 2.0, 3.0, 5, 2.0),
        (0.5, 300.0, 2.0, 8, 128.0),
        (0.5, 300.0, 2.0, 10, 300.0),
        (5.0, 2.0, 3.0, 0, 2.0),
        (5.0, 2.0, 3.0, 1, 2.0),
        (5.0, 2.0, 1.0, 7, 2.0),
    ],
)
def test_backoff(initial: float, longest: float, growth: float, steps: int, grown: float) -> None:
    """Growth by powers, never past the longest, never an overflow."""
    assert backoff(initial, longest, growth, steps) == grown
