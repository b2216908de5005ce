"""What the progress of a run says of its end."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.domain.progress import LEVELS, MOST_MARKS, Curve, Mark, is_steady, level, marked, paced_end

shares = st.lists(st.tuples(st.floats(0.001, 1e6), st.floats(-10.0, 200.0)), max_size=80)


def marks_of(duration: float, percent: "object", steps: int = 20) -> tuple[Mark, ...]:
    """The marks of a run of so many seconds whose progress is ``percent(share of its time)``."""
    marks: tuple[Mark, ...] = ()
    for step in range(1, steps):
        marks = marked(marks, duration * step / steps, percent(step / steps))  # type: ignore[operator]
    return marks


def slow_end(share: float) -> float:
    """Quick at first."""
    return 100 * (1 - (1 - share) ** 2)


class TestMarked:
    def test_keeps_what_moved(self) -> None:
        """A mark for each percent that is seen first; the same again is none."""
        marks = marked(marked(marked((), 1.0, 10.0), 2.0, 10.0), 3.0, 20.0)
        assert marks == (Mark(1.0, 10.0), Mark(3.0, 20.0))

    @pytest.mark.parametrize(("age", "percent"), [(0.0, 50.0), (-1.0, 50.0), (5.0, 0.0), (5.0, 0.4)])
    def test_heeds_nothing_that_says_nothing(self, age: float, percent: float) -> None:
        """No progress to speak of, or no time for it."""
        assert marked((), age, percent) == ()

    def test_begins_anew_when_progress_goes_back(self) -> None:
        """What was before was wrong."""
        assert marked((Mark(1.0, 10.0), Mark(2.0, 80.0)), 3.0, 40.0) == (Mark(3.0, 40.0),)

    def test_of_many_marks_keeps_levels_and_the_latest(self) -> None:
        """However fine the progress, a run leaves few marks."""
        marks: tuple[Mark, ...] = ()
        for step in range(1, 1_000):
            marks = marked(marks, float(step), step / 10)
        assert len(marks) <= MOST_MARKS + 1
        assert {level(mark.percent) for mark in marks} == set(range(len(LEVELS)))
        assert marks[-1] == Mark(999.0, 99.9)

    @given(shares)
    def test_always_rises(self, reports: list[tuple[float, float]]) -> None:
        """Whatever is reported: marks rise in percent, and are few."""
        marks: tuple[Mark, ...] = ()
        for age, percent in sorted(reports):
            marks = marked(marks, age, percent)
        assert [mark.percent for mark in marks] == sorted({mark.percent for mark in marks})
        assert len(marks) <= MOST_MARKS + 1


class TestCurve:
    @pytest.mark.parametrize("percent", [lambda share: 100 * share, slow_end, lambda share: 100 * share**3])
    def test_learns_the_shape_of_progress(self, percent: object) -> None:
        """After a few runs it foresees the end, however the progress goes."""
        curve = Curve()
        for duration in (300.0, 900.0, 1_500.0, 700.0, 1_100.0):
            curve = curve.learned(marks_of(duration, percent), duration)
        told = curve.duration(marks_of(2_000.0, percent)[:12])
        assert told is not None
        assert math.exp(told[0]) == pytest.approx(2_000.0, rel=0.1)
        assert told[1] < 0.3

    def test_doubts_what_never_held(self) -> None:
        """A plateau at 99 % says little of the end, and it is known how little."""
        curve = Curve()
        for duration in (100.0, 300.0, 900.0, 2_700.0):
            curve = curve.learned((Mark(50.0, 99.0),), duration)
        told = curve.duration((Mark(50.0, 99.0),))
        assert told is not None
        assert told[1] > 0.8

    def test_says_nothing_of_what_it_has_not_seen(self) -> None:
        """Too few runs, another level, no marks at all."""
        curve = Curve().learned((Mark(50.0, 50.0),), 100.0)
        assert curve.duration((Mark(50.0, 50.0),)) is None
        for _ in range(3):
            curve = curve.learned((Mark(50.0, 50.0),), 100.0)
        assert curve.duration((Mark(50.0, 50.0),)) is not None
        assert curve.duration((Mark(50.0, 70.0),)) is None
        assert curve.duration(()) is None

    @given(shares, st.floats(0.001, 1e7), shares)
    def test_is_finite(
        self, reports: list[tuple[float, float]], duration: float, others: list[tuple[float, float]]
    ) -> None:
        """Whatever progress was reported, the forecast is a number."""
        marks: tuple[Mark, ...] = ()
        for age, percent in sorted(reports):
            marks = marked(marks, age, percent)
        curve = Curve()
        for _ in range(3):
            curve = curve.learned(marks, duration)
        now: tuple[Mark, ...] = ()
        for age, percent in sorted(others):
            now = marked(now, age, percent)
        told = curve.duration(now)
        assert told is None or (math.isfinite(told[0]) and 0 < told[1] < math.inf)


class TestPace:
    def test_follows_the_latest_stretch(self) -> None:
        """Not the whole run: what matters is how it goes now."""
        assert paced_end((Mark(10.0, 50.0), Mark(20.0, 60.0), Mark(30.0, 70.0))) == pytest.approx(60.0)

    def test_of_one_mark_is_that_since_the_start(self) -> None:
        """There is nothing else."""
        assert paced_end((Mark(10.0, 25.0),)) == pytest.approx(40.0)

    def test_of_no_marks_is_none(self) -> None:
        """Without progress there is no pace."""
        assert paced_end(()) is None

    def test_is_steady_if_it_is_that_of_the_whole(self) -> None:
        """Linear progress is, that by leaps is not, and two marks are too few to tell."""
        assert is_steady(marks_of(100.0, lambda share: 100 * share))
        assert not is_steady((Mark(100.0, 1.0), Mark(200.0, 10.0), Mark(300.0, 11.0)))
        assert not is_steady((Mark(10.0, 10.0), Mark(20.0, 20.0)))
