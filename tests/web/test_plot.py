"""Bars for the durations of runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.domain.state import State
from poller.web.plot import HEIGHT, WIDTH, plot
from tests.web.fakes import moved


def test_too_few_runs_make_no_plot() -> None:
    """Nor does one: it could be compared with nothing."""
    assert plot([]) is None
    assert plot([(moved("t", 1), 7200.0)]) is None


def test_bars_stand_in_the_order_of_time_and_are_as_high_as_runs_were_long() -> None:
    """The newest run is told first and drawn last."""
    drawn = plot([(moved("t", 3, State.FAILED), 30.0), (moved("t", 2), 60.0), (moved("t", 1), 120.0)])
    assert drawn is not None
    first, second, last = drawn.bars
    assert first.x < second.x < last.x
    assert first.height == pytest.approx(2 * second.height, abs=0.2)
    assert first.height == pytest.approx(4 * last.height, abs=0.2)
    assert (last.state, last.words) == (State.FAILED, "run 1: failed after 30s")
    assert [line.words for line in drawn.lines] == ["0s", "30s", "1m", "1m30s", "2m"]
    assert drawn.description == (
        "3 finished runs, oldest first: from 30s to 2m, half of them within 1m; the last took 30s."
    )


@given(st.lists(st.floats(-1.0, 1e9), min_size=2, max_size=100))
def test_everything_is_drawn_inside(durations: list[float]) -> None:
    """However long the runs were and however many; with a handful of lines, one above all bars."""
    drawn = plot([(moved("t", number), duration) for number, duration in enumerate(durations)])
    assert drawn is not None
    assert len(drawn.bars) == len(durations)
    assert 2 <= len(drawn.lines) <= 6
    top = min(line.y for line in drawn.lines)
    for bar in drawn.bars:
        assert bar.x >= 0
        assert bar.x + bar.width <= WIDTH + 0.1
        assert top - 1.1 <= bar.y
        assert bar.y + bar.height <= HEIGHT
        assert bar.height >= 1.0
