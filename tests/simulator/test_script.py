"""The state of a script at every kind of moment."""

import math

import pytest

from poller.simulator.script import Ending, Phase, ProgressShape, Run, Script, ScriptState, state_at

RUN = Run(created_at=10, pending=5, duration=20, message="said at the end")


@pytest.mark.parametrize(
    ("t", "phase", "progress", "started_at", "ended_at", "message"),
    [
        (0, Phase.IDLE, None, None, None, None),
        (9.999, Phase.IDLE, None, None, None, None),
        (10, Phase.PENDING, 0, None, None, None),
        (14.999, Phase.PENDING, 0, None, None, None),
        (15, Phase.RUNNING, 0, 15, None, None),
        (20, Phase.RUNNING, 25, 15, None, None),
        (34.999, Phase.RUNNING, 99, 15, None, None),
        (35, Phase.SUCCEEDED, 100, 15, 35, "said at the end"),
        (1e9, Phase.SUCCEEDED, 100, 15, 35, "said at the end"),
    ],
)
def test_a_run_waits_runs_and_ends(
    t: float, phase: Phase, progress: int | None, started_at: float | None, ended_at: float | None, message: str | None
) -> None:
    state = state_at(Script((RUN,)), t)
    assert (state.phase, state.progress, state.started_at, state.ended_at, state.message) == (
        phase,
        progress,
        started_at,
        ended_at,
        message,
    )


@pytest.mark.parametrize(
    ("ends", "phase", "progress"),
    [
        (Ending.SUCCEEDED, Phase.SUCCEEDED, 100),
        (Ending.FAILED, Phase.FAILED, 80),
        (Ending.STOPPED, Phase.STOPPED, 80),
        (Ending.NEVER, Phase.RUNNING, 99),
    ],
)
def test_every_ending_is_reached_and_lasts(ends: Ending, phase: Phase, progress: int) -> None:
    script = Script((Run(duration=20, ends=ends),))
    for t in (20.0, 1e9):
        state = state_at(script, t)
        assert (state.phase, state.progress) == (phase, progress)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (ProgressShape.LINEAR, [0, 10, 30, 50, 80, 90, 100]),
        (ProgressShape.SLOW_END, [0, 19, 51, 75, 96, 99, 100]),
        (ProgressShape.PLATEAU, [0, 20, 60, 60, 60, 80, 100]),
        (ProgressShape.NONE, [None] * 7),
    ],
)
def test_progress_has_the_shape_asked_for(shape: ProgressShape, expected: list[int | None]) -> None:
    script = Script((Run(duration=100, progress=shape),))
    assert [state_at(script, t).progress for t in (0, 10, 30, 50, 80, 90, 100)] == expected


@pytest.mark.parametrize("shape", list(ProgressShape))
@pytest.mark.parametrize("ends", list(Ending))
def test_progress_never_goes_back_and_is_whole_only_at_a_success(shape: ProgressShape, ends: Ending) -> None:
    script = Script((Run(pending=1, duration=10, ends=ends, progress=shape),))
    seen = [(state_at(script, t / 10).progress or 0, state_at(script, t / 10).phase) for t in range(150)]
    assert seen == sorted(seen, key=lambda item: item[0])
    assert all(progress < 100 for progress, phase in seen if phase is not Phase.SUCCEEDED)


def test_a_run_of_no_duration_ends_as_it_starts() -> None:
    assert state_at(Script((Run(duration=0),)), 0).phase is Phase.SUCCEEDED


def test_the_run_created_last_counts() -> None:
    script = Script((Run(created_at=5, duration=10), Run(created_at=20, pending=2, duration=10, ends=Ending.FAILED)))
    moments = (0, 5, 15, 19, 20, 22, 32)
    assert [(state_at(script, t).run, state_at(script, t).phase) for t in moments] == [
        (0, Phase.IDLE),
        (1, Phase.RUNNING),
        (1, Phase.SUCCEEDED),
        (1, Phase.SUCCEEDED),
        (2, Phase.PENDING),
        (2, Phase.RUNNING),
        (2, Phase.FAILED),
    ]


@pytest.mark.parametrize(
    ("until", "since", "hidden"),
    [
        (0, math.inf, []),
        (0, 0, [0, 4, 5, 9, 10, 99]),
        (5, math.inf, [0, 4]),
        (0, 10, [10, 99]),
        (5, 10, [0, 4, 10, 99]),
    ],
)
def test_a_hidden_script_is_absent_whatever_it_does(until: float, since: float, hidden: list[float]) -> None:
    script = Script((Run(duration=7),), absent_until=until, absent_from=since)
    moments = (0, 4, 5, 9, 10, 99)
    assert [t for t in moments if state_at(script, t) == ScriptState(Phase.ABSENT)] == hidden
