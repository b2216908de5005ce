"""What the runs of a family teach, and what is kept of a run."""

from dataclasses import replace

import pytest

from poller.domain.family import UNKNOWN, Family, Run, finished_run, foresee, marks_after
from poller.domain.lifecycle import advance, begin
from poller.domain.observation import Observation, Outcome
from poller.domain.progress import Mark
from poller.domain.prospect import Basis
from poller.domain.state import State
from poller.domain.task import Entry, Policy, Status, Task

START = 1_000_000.0
PENDING = Observation(Outcome.ANSWERED, State.PENDING)
RUNNING = Observation(Outcome.ANSWERED, State.RUNNING)
SUCCEEDED = Observation(Outcome.ANSWERED, State.SUCCEEDED)


def task(follow: bool = False, **policy: bool) -> Task:
    """A task first seen at START."""
    return begin(Entry("t", "p", "o", policy=Policy(**policy), follow=follow), START)


def after(one: Task, *seen: tuple[float, Observation]) -> tuple[Task, Status]:
    """The task after polls at so many seconds, and its status before the last one."""
    before = one.status
    for at, observation in seen:
        before, one = one.status, advance(one, observation, START + at).task
    return one, before


class TestFamily:
    def test_knows_nothing_at_first(self) -> None:
        """Nor does anything come of a run that took no time, or of one or two."""
        family = Family()
        family.add(Run(0.0))
        assert (family.look(), family.late_age) == (None, None)
        for known in (False, False, True):
            family.add(Run(100.0))
            assert (family.look() is not None) is known

    def test_learns_from_every_run(self) -> None:
        """Those it began with and those that end later."""
        family = Family([Run(100.0)])
        for _ in range(4):
            family.add(Run(100.0))
        known = family.look()
        assert known is not None
        assert known.quantile(0.5) == pytest.approx(100.0, rel=0.1)

    def test_is_late_past_nearly_all_runs(self) -> None:
        """The 95th percentile of its own; of fewer than five runs nobody can say."""
        assert Family([Run(100.0)] * 4).late_age is None
        late = Family([Run(float(seconds)) for seconds in range(50, 151, 5)]).late_age
        assert late is not None
        assert 140.0 < late < 220.0

    def test_is_worked_out_now_and_then(self) -> None:
        """Not with every run of many."""
        family = Family([Run(100.0)] * 50)
        first = family.look()
        family.add(Run(500.0))
        assert family.look() is first
        for _ in range(6):
            family.add(Run(500.0))
        assert family.look() is not first

    def test_learns_from_progress_too(self) -> None:
        """Marks of finished runs foretell the end of the next."""
        marks = tuple(Mark(10.0 * step, 10.0 * step) for step in range(1, 10))
        family = Family([Run(100.0, marks)] * 5)
        told = family.curve.duration((Mark(20.0, 20.0),))
        assert told is not None


class TestForesee:
    def test_a_running_task_of_a_known_family(self) -> None:
        """The usual case."""
        running, _ = after(task(), (0.0, RUNNING))
        seen = foresee(Family([Run(100.0)] * 5), running, (), START + 10.0)
        assert seen is not None
        assert (seen.basis, 90.0 < seen.expected < 110.0) == (Basis.HISTORY, True)

    @pytest.mark.parametrize(
        ("one", "seen"),
        [
            (task(), []),
            (task(), [(0.0, SUCCEEDED)]),
            (task(follow=True), [(0.0, SUCCEEDED)]),
            (task(adaptive=False), [(0.0, RUNNING)]),
        ],
    )
    def test_nothing_where_there_is_nothing_to_await(self, one: Task, seen: list[tuple[float, Observation]]) -> None:
        """Not answered yet, ended, or not wished for."""
        assert foresee(Family([Run(100.0)] * 5), after(one, *seen)[0], (), START + 10.0) is None

    def test_nothing_where_nothing_is_known(self) -> None:
        """No run of it has ended, and it tells no progress."""
        assert foresee(UNKNOWN, after(task(), (0.0, RUNNING))[0], (), START + 10.0) is None


class TestMarksAfter:
    def test_grow_with_progress(self) -> None:
        """At the age of the run."""
        seen = replace(RUNNING, progress=40.0, started_at=START - 60.0)
        one, before = after(task(), (30.0, seen))
        assert marks_after((), before, one.status, seen, START + 30.0) == (Mark(90.0, 40.0),)

    @pytest.mark.parametrize("seen", [RUNNING, Observation(Outcome.UNREACHABLE), replace(SUCCEEDED, progress=100.0)])
    def test_stay_otherwise(self, seen: Observation) -> None:
        """Without progress, without an answer, and at the end."""
        one, before = after(task(), (0.0, RUNNING), (30.0, seen))
        assert marks_after((Mark(1.0, 1.0),), before, one.status, seen, START + 30.0) == (Mark(1.0, 1.0),)

    def test_begin_anew_with_another_run(self) -> None:
        """What the last run reported says nothing of this one."""
        one, before = after(task(follow=True), (0.0, SUCCEEDED), (30.0, RUNNING))
        assert marks_after((Mark(1.0, 90.0),), before, one.status, RUNNING, START + 30.0) == ()


class TestFinishedRun:
    def test_takes_the_duration_that_was_told(self) -> None:
        """Or that follows from start and end."""
        seen = replace(SUCCEEDED, started_at=START - 50.0, ended_at=START + 30.0)
        one, before = after(task(), (0.0, RUNNING), (31.0, seen))
        assert finished_run(before, one.status, (Mark(1.0, 1.0),)) == Run(80.0, (Mark(1.0, 1.0),))

    def test_else_from_first_sight_to_the_end(self) -> None:
        """As far as it was seen alive."""
        one, before = after(task(), (0.0, PENDING), (31.0, SUCCEEDED))
        assert finished_run(before, one.status, ()) == Run(31.0)

    @pytest.mark.parametrize(
        ("follow", "seen"),
        [
            (False, [(0.0, RUNNING)]),
            (False, [(0.0, SUCCEEDED)]),
            (False, [(0.0, RUNNING), (0.0, SUCCEEDED)]),
            (True, [(0.0, RUNNING), (9.0, SUCCEEDED), (20.0, SUCCEEDED)]),
            (True, [(0.0, SUCCEEDED), (20.0, RUNNING)]),
        ],
    )
    def test_is_none_where_none_ended_or_was_timed(self, follow: bool, seen: list[tuple[float, Observation]]) -> None:
        """Still running; ended at first sight; ended in no time; ended before; begun anew."""
        one, before = after(task(follow=follow), *seen)
        assert finished_run(before, one.status, ()) is None

    def test_of_a_run_that_began_and_ended_between_two_polls(self) -> None:
        """Its duration is known if it was told."""
        first = replace(SUCCEEDED, run_id="1", duration=5.0)
        one, before = after(task(follow=True), (0.0, first), (20.0, replace(first, run_id="2", duration=7.0)))
        assert finished_run(before, one.status, ()) == Run(7.0)
