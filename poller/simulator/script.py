"""What a scripted task is doing at a given moment. Pure: no clock, no I/O, no chance.

All times are seconds since the simulator's start. A run goes

    created_at ──pending──▶ started_at ──duration──▶ ended_at (never, if it never ends)

and at the very second of a boundary the later phase holds.
"""

import math
from dataclasses import dataclass
from enum import StrEnum


class Ending(StrEnum):
    """How a run ends."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    NEVER = "never"


class ProgressShape(StrEnum):
    """How a run's progress moves while it runs."""

    LINEAR = "linear"
    SLOW_END = "slow-end"
    PLATEAU = "plateau"
    NONE = "none"


class Phase(StrEnum):
    """Where a scripted task is."""

    ABSENT = "absent"  # the script hides it: whoever asks is told that there is no such thing
    IDLE = "idle"  # no run created yet
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"


# A run that fails or is stopped has not reported 100 % before, and one that never ends never gets there.
_CEILINGS = {Ending.SUCCEEDED: 100.0, Ending.FAILED: 80.0, Ending.STOPPED: 80.0, Ending.NEVER: 99.0}

_PLATEAU_HEIGHT = 0.6
_PLATEAU_FROM = 0.3
_PLATEAU_UNTIL = 0.8


@dataclass(frozen=True, slots=True)
class Run:
    """One go at the work: a training, an import, a job. Times in seconds; ``duration`` does not count ``pending``."""

    created_at: float = 0.0
    pending: float = 0.0
    duration: float = 10.0
    ends: Ending = Ending.SUCCEEDED
    message: str | None = None
    progress: ProgressShape = ProgressShape.LINEAR

    @property
    def started_at(self) -> float:
        """When it leaves the queue."""
        return self.created_at + self.pending

    @property
    def ended_at(self) -> float:
        """When it ends; infinite for one that never does."""
        return math.inf if self.ends is Ending.NEVER else self.started_at + self.duration


@dataclass(frozen=True, slots=True)
class Script:
    """The runs of one task, oldest first. It is hidden before ``absent_until``, and again from ``absent_from`` on."""

    runs: tuple[Run, ...] = (Run(),)
    absent_until: float = 0.0
    absent_from: float = math.inf


@dataclass(frozen=True, slots=True)
class ScriptState:
    """A scripted task at one moment.

    ``run`` counts from 1 (0: none yet). ``progress`` is a whole percentage, None where the run reports none.
    ``fraction`` is the share of the duration gone by, 0 to 1. ``message`` is set once the run has ended, and times
    only once they have come.
    """

    phase: Phase
    run: int = 0
    progress: int | None = None
    fraction: float = 0.0
    created_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    message: str | None = None


def state_at(script: Script, t: float) -> ScriptState:
    """The state of ``script`` at ``t`` seconds: that of the run created last."""
    if not script.absent_until <= t < script.absent_from:
        return ScriptState(Phase.ABSENT)
    created = sum(run.created_at <= t for run in script.runs)
    return _run_at(script.runs[created - 1], t, created) if created else ScriptState(Phase.IDLE)


def _run_at(run: Run, t: float, number: int) -> ScriptState:
    phase, fraction, ended = _phase(run, t), _fraction(run, t), t >= run.ended_at
    return ScriptState(
        phase=phase,
        run=number,
        progress=_progress(run, phase, fraction),
        fraction=fraction,
        created_at=run.created_at,
        started_at=run.started_at if phase is not Phase.PENDING else None,
        ended_at=run.ended_at if ended else None,
        message=run.message if ended else None,
    )


def _phase(run: Run, t: float) -> Phase:
    if t >= run.ended_at:
        return Phase(run.ends)
    return Phase.RUNNING if t >= run.started_at else Phase.PENDING


def _fraction(run: Run, t: float) -> float:
    if t < run.started_at:
        return 0.0
    return min(1.0, (t - run.started_at) / run.duration) if run.duration else 1.0


def _progress(run: Run, phase: Phase, fraction: float) -> int | None:
    if run.progress is ProgressShape.NONE:
        return None
    # Rounded first: a binary fraction that misses a whole number by a hair must not cost a percent.
    percent = math.floor(round(_CEILINGS[run.ends] * _shaped(run.progress, fraction), 6))
    return percent if phase is Phase.SUCCEEDED else min(99, percent)


def _shaped(shape: ProgressShape, fraction: float) -> float:
    if shape is ProgressShape.SLOW_END:
        return 1.0 - (1.0 - fraction) ** 2
    if shape is ProgressShape.PLATEAU:
        return _plateau(fraction)
    return fraction


def _plateau(fraction: float) -> float:
    if fraction < _PLATEAU_FROM:
        return fraction / _PLATEAU_FROM * _PLATEAU_HEIGHT
    if fraction < _PLATEAU_UNTIL:
        return _PLATEAU_HEIGHT
    return _PLATEAU_HEIGHT + (fraction - _PLATEAU_UNTIL) / (1.0 - _PLATEAU_UNTIL) * (1.0 - _PLATEAU_HEIGHT)
