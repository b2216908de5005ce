"""When a run will probably end, and when to look: of all that is known, what is sharpest."""

import math
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.domain.cadence import EARLY_STRETCH, next_delay
from poller.domain.forecast import Outlook, outlook
from poller.domain.progress import Curve, Mark, marked
from poller.domain.prospect import Basis, ExpectedEnd, Prospect, expected_end, prospect
from poller.domain.state import State
from poller.domain.task import Contact, Entry, Policy, Status, Task

reports = st.lists(st.tuples(st.floats(0.001, 1e7), st.floats(-5.0, 150.0)), max_size=12)
schedules = st.builds(
    lambda initial, stretch, growth, jitter: Policy(
        initial=initial, max=initial * stretch, growth=growth, jitter=jitter
    ),
    st.floats(0.001, 600.0),
    st.floats(1.0, 1_000.0),
    st.floats(1.0, 20.0),
    st.floats(0.0, 1.0),
)


def rising(told_: list[tuple[float, float]]) -> tuple[Mark, ...]:
    """The marks that such reports leave."""
    marks: tuple[Mark, ...] = ()
    for age, percent in sorted(told_):
        marks = marked(marks, age, percent)
    return marks


def learned(
    durations: list[float], runs: list[list[tuple[float, float]]], now: list[tuple[float, float]]
) -> tuple[Outlook | None, Curve, tuple[Mark, ...]]:
    """What such runs teach, and the progress of the one under way."""
    curve = Curve()
    for run, duration in zip(runs, durations, strict=False):
        curve = curve.learned(rising(run), duration)
    return outlook(durations), curve, rising(now)


knowledge = st.builds(learned, st.lists(st.floats(0.001, 1e8), max_size=20), st.lists(reports, max_size=6), reports)

POLICY = Policy(initial=2.0, max=60.0, growth=1.5, jitter=0.0)


def history(center: float = 1_800.0, spread: float = 0.15) -> Outlook:
    """What fifty runs of about ``center`` seconds taught."""
    random_ = random.Random(1)
    made = outlook([center * math.exp(random_.gauss(0.0, spread)) for _ in range(50)])
    assert made is not None
    return made


def linear_curve() -> Curve:
    """What five runs with honest progress taught."""
    curve = Curve()
    for duration in (900.0, 1_200.0, 1_500.0, 2_000.0, 2_500.0):
        curve = curve.learned([Mark(duration * share / 100, share) for share in range(1, 100)], duration)
    return curve


def task(polls: int = 5, policy: Policy = POLICY, state: State = State.RUNNING) -> Task:
    """A running task that was asked for so often."""
    status = Status(first_seen_at=0.0, since=0.0, run_since=0.0, state=state)
    return Task(Entry("t", "p", "o", policy=policy), status, Contact(polls=polls, attempt=polls))


def told(made: Prospect | None) -> Prospect:
    """Something that is known."""
    assert made is not None
    return made


class TestBasis:
    def test_nothing_known_is_nothing_said(self) -> None:
        """The plain backoff has to do."""
        assert prospect(None, Curve(), (), 10.0, POLICY, 1) is None

    def test_history_where_there_is_no_progress(self) -> None:
        """The usual case: some runs have ended."""
        seen = told(prospect(history(), Curve(), (), 0.0, POLICY, 1))
        assert seen.basis is Basis.HISTORY
        assert seen.low < seen.expected < seen.high
        assert seen.expected == pytest.approx(1_800.0, rel=0.1)

    def test_progress_where_it_was_right_before(self) -> None:
        """It is sharper than the durations are."""
        seen = told(prospect(history(spread=1.0), linear_curve(), (Mark(500.0, 50.0),), 500.0, POLICY, 20))
        assert seen.basis is Basis.PROGRESS
        assert seen.expected == pytest.approx(1_000.0, rel=0.05)
        assert seen.low < seen.expected < seen.high

    def test_progress_alone_where_no_durations_are_known(self) -> None:
        """They are never learned one without the other, but neither needs the other."""
        seen = told(prospect(None, linear_curve(), (Mark(500.0, 50.0),), 600.0, POLICY, 20))
        assert seen.basis is Basis.PROGRESS

    def test_history_where_progress_was_no_better(self) -> None:
        """Progress that strays wider than the durations is not heeded."""
        curve = Curve()
        for duration in (100.0, 1_000.0, 10_000.0):
            curve = curve.learned([Mark(50.0, 50.0)], duration)
        assert told(prospect(history(), curve, (Mark(50.0, 50.0),), 60.0, POLICY, 5)).basis is Basis.HISTORY

    def test_history_once_progress_proved_wrong(self) -> None:
        """The run has long outlived what its progress promised."""
        marks = (Mark(500.0, 50.0),)
        assert told(prospect(history(), linear_curve(), marks, 1_500.0, POLICY, 20)).basis is Basis.HISTORY
        assert told(prospect(None, linear_curve(), marks, 1_500.0, POLICY, 20)).basis is Basis.PACE

    def test_pace_where_no_run_has_ended(self) -> None:
        """The first run of its kind has only itself to go by."""
        seen = told(prospect(None, Curve(), (Mark(500.0, 50.0),), 600.0, POLICY, 20))
        assert (seen.basis, seen.expected, seen.low, seen.high) == (Basis.PACE, 1_000.0, 1_000.0, 1_000.0)


class TestPace:
    def test_comes_closer_and_closer(self) -> None:
        """Each look comes nearer to the promised end, and none beyond it."""
        marks, age, waits = (Mark(500.0, 50.0),), 600.0, []
        while age < 995.0:
            later = told(prospect(None, Curve(), marks, age, POLICY, 20)).next_age
            assert age < later <= 1_000.0
            waits.append(later - age)
            age = later
        assert len(waits) < 20
        assert waits[-1] < waits[0] / 5

    def test_steady_progress_is_trusted_further(self) -> None:
        """A run that has kept its pace from the start may be left alone for longer."""
        steady = (Mark(100.0, 1.0), Mark(200.0, 2.0), Mark(300.0, 3.0))
        early = told(prospect(None, Curve(), steady, 300.0, POLICY, 20)).next_age
        unsteady = (Mark(100.0, 1.0), Mark(200.0, 10.0), Mark(300.0, 11.0))
        assert early - 300.0 > told(prospect(None, Curve(), unsteady, 300.0, POLICY, 20)).next_age - 300.0

    def test_a_broken_promise_is_waited_for_ever_less_often(self) -> None:
        """Stuck at 99 %: never silence, never hammering, back to the backoff."""
        marks, age, waits = (Mark(990.0, 99.0),), 1_000.0, []
        for _ in range(30):
            delay = next_delay(task(20), 0.5, None, prospect(None, Curve(), marks, age, POLICY, 20), age)
            waits.append(delay)
            age += delay
        assert all(POLICY.initial <= wait <= POLICY.max for wait in waits)
        assert waits == sorted(waits)
        assert waits[-1] == POLICY.max


class TestDelay:
    def test_outliving_the_history_leads_back_to_the_pace_of_the_backoff(self) -> None:
        """A forecast proven wrong is neither silence nor hammering."""
        known, age, delays = history(), 4_000.0, []
        for _ in range(50):
            delays.append(next_delay(task(20), 0.5, None, prospect(known, Curve(), (), age, POLICY, 20), age))
            age += delays[-1]
        assert all(5.0 < delay <= POLICY.max for delay in delays[5:])

    def test_before_the_expected_end_it_may_be_longer(self) -> None:
        """But not so long that what ends too soon goes unnoticed."""
        seen = prospect(history(), Curve(), (), 100.0, POLICY, 10)
        assert POLICY.max < next_delay(task(), 0.5, None, seen, 100.0) <= EARLY_STRETCH * POLICY.max

    def test_an_ended_run_foresees_nothing(self) -> None:
        """A followed task waits for its next run as before."""
        done = task(state=State.SUCCEEDED)
        assert next_delay(done, 0.5, None, prospect(history(), Curve(), (), 100.0, POLICY, 10), 100.0) == POLICY.max

    def test_a_provider_that_asks_for_time_gets_it(self) -> None:
        """Even where the end is near."""
        seen = prospect(history(), Curve(), (), 1_800.0, POLICY, 10)
        assert next_delay(task(), 0.5, None, seen, 1_800.0) < 20.0
        assert next_delay(task(), 0.5, 45.0, seen, 1_800.0) == 45.0

    @given(schedules, knowledge, st.floats(0.0, 1e9), st.integers(1, 10_000), st.floats(0.0, 1.0, exclude_max=True))
    def test_is_within_its_bounds(
        self,
        policy: Policy,
        known: tuple[Outlook | None, Curve, tuple[Mark, ...]],
        age: float,
        polls: int,
        draw: float,
    ) -> None:
        """Whatever the history, the progress and the schedule: finite, at least initial, at most max, twice that early.

        Give or take the jitter.
        """
        seen = prospect(*known, age, policy, polls)
        delay = next_delay(task(polls, policy), draw, None, seen, age)
        assert math.isfinite(delay)
        assert policy.initial * (1 - policy.jitter) <= delay * (1 + 1e-9)
        longest = EARLY_STRETCH if seen is not None and age < seen.expected else 1.0
        assert delay <= policy.max * longest * (1 + policy.jitter) * (1 + 1e-9)
        if seen is not None:
            assert age <= seen.low * (1 + 1e-9)
            assert all(a <= b * (1 + 1e-9) for a, b in pairwise((seen.low, seen.expected, seen.high)))


FORESEEN = Prospect(Basis.HISTORY, expected=600.0, low=500.0, high=900.0, next_age=550.0)


@pytest.mark.parametrize(
    ("foreseen", "state", "expected"),
    [
        (FORESEEN, State.RUNNING, ExpectedEnd(Basis.HISTORY, 1_600.0, 1_500.0, 1_900.0)),
        (FORESEEN, State.PENDING, ExpectedEnd(Basis.HISTORY, 1_600.0, 1_500.0, 1_900.0)),
        (replace(FORESEEN, basis=Basis.PACE), State.RUNNING, ExpectedEnd(Basis.PACE, 1_600.0, None, None)),
        (FORESEEN, State.SUCCEEDED, None),
        (FORESEEN, State.UNKNOWN, None),
        (FORESEEN, State.MISSING, None),
        (None, State.RUNNING, None),
    ],
)
def test_an_expected_end_counts_from_the_begin_of_the_run(
    foreseen: Prospect | None, state: State, expected: ExpectedEnd | None
) -> None:
    """Of what is pending or running, and where something is known; a pace knows no spread."""
    status = Status(first_seen_at=990.0, since=1_000.0, run_since=1_000.0, state=state)
    assert expected_end(status, foreseen, 1_000.0) == expected
