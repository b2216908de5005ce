"""What is replayed: families of tasks with their durations, the progress they report, and what was seen of them before.

A workload is JSON: ``{"families": [{"name", "history": [seconds…], "tasks": [{"duration": s, "progress": [[t,
percent]…] or null}]}]}``. A percent holds from its ``t`` on, seconds after the start. The tasks of a family run one
after the other.
"""

import json
import math
import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.processes import BenchmarkError

_TASKS = 60
_HISTORY = 50
_HALF_HOUR = 1_800.0
_STEPS = 100


@dataclass(frozen=True, slots=True)
class Job:
    """One task: how long it takes, and what it reports from when on."""

    duration: float
    times: Sequence[float] = ()
    percents: Sequence[float] = ()

    def percent_at(self, age: float) -> float | None:
        """What it reports at ``age``."""
        index = bisect_right(self.times, age) - 1
        return self.percents[index] if index >= 0 else None


@dataclass(frozen=True, slots=True)
class Kin:
    """A family: durations seen before, and the tasks to be replayed."""

    name: str
    history: Sequence[float]
    jobs: Sequence[Job]


@dataclass(frozen=True, slots=True)
class Workload:
    """Families; ``survival`` is the true distribution of all durations where one is known: the share still running."""

    name: str
    families: Sequence[Kin]
    survival: Callable[[float], float] | None = None

    @property
    def jobs(self) -> list[Job]:
        """Every task."""
        return [job for family in self.families for job in family.jobs]


def read(path: Path) -> Workload:
    """The workload in a file. BenchmarkError for what is none."""
    try:
        data = json.loads(path.read_text("utf-8"))
        families = [_kin(family) for family in data["families"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchmarkError(f"{path}: no workload: {type(error).__name__}: {error}") from error
    if not any(family.jobs for family in families):
        raise BenchmarkError(f"{path}: no tasks in it")
    return Workload(path.stem, families)


def _kin(data: dict[str, object]) -> Kin:
    tasks, history = data["tasks"], data.get("history") or []
    if not isinstance(tasks, list) or not isinstance(history, list):
        raise TypeError("tasks and history are lists")
    jobs = [_job(float(task["duration"]), task.get("progress")) for task in tasks]
    return Kin(str(data.get("name", "")), [float(duration) for duration in history], jobs)


def _job(duration: float, progress: Sequence[Sequence[float]] | None) -> Job:
    if not duration > 0:
        raise ValueError(f"a duration of {duration}, more than 0 is wanted")
    marks = sorted((float(at), float(percent)) for at, percent in progress or ())
    return Job(duration, [at for at, _ in marks], [percent for _, percent in marks])


# --- those that come with the benchmark -----------------------------------------------------------------------------


def built_in() -> list[Workload]:
    """Steady and mixed durations, two modes, drift, and progress of every sort."""
    return [
        _drawn("steady trainings, σ 0.15", _HALF_HOUR, 0.15),
        _drawn("steady trainings, σ 0.3", _HALF_HOUR, 0.3),
        _drawn("mixed jobs, σ 1.0", _HALF_HOUR, 1.0),
        _drawn("short imports, σ 0.7", 20.0, 0.7),
        _two_modes(),
        _drift(),
        _reporting("progress, linear", lambda share: share),
        _reporting("progress, slow end", lambda share: 1 - (1 - share) ** 2),
        _reporting("progress, slow start", lambda share: share**3),
        _reporting("progress, plateau at 99 %", lambda share: min(0.99, share * 2)),
        _lying(),
        _without_history(),
    ]


def _log_normal(random_: random.Random, center: float, spread: float) -> float:
    return center * math.exp(random_.gauss(0.0, spread))


def _log_normal_survival(center: float, spread: float) -> Callable[[float], float]:
    return lambda age: 0.5 * math.erfc(math.log(max(age, 1e-9) / center) / spread / math.sqrt(2.0))


def _drawn(name: str, center: float, spread: float) -> Workload:
    random_ = random.Random(name)
    history = [_log_normal(random_, center, spread) for _ in range(_HISTORY)]
    jobs = [Job(_log_normal(random_, center, spread)) for _ in range(_TASKS * 3)]
    return Workload(name, [Kin("trainings", history, jobs)], _log_normal_survival(center, spread))


def _two_modes() -> Workload:
    random_ = random.Random("modes")
    centers = (300.0, 2_400.0)

    def draw() -> float:
        return _log_normal(random_, centers[random_.random() < 0.5], 0.15)

    short, long = (_log_normal_survival(center, 0.15) for center in centers)
    history = [draw() for _ in range(_HISTORY)]
    jobs = [Job(draw()) for _ in range(_TASKS * 2)]
    return Workload("two modes", [Kin("exports", history, jobs)], lambda age: (short(age) + long(age)) / 2.0)


def _drift() -> Workload:
    random_ = random.Random("drift")
    durations = [_log_normal(random_, _HALF_HOUR * 1.01**run, 0.15) for run in range(_HISTORY + _TASKS)]
    return Workload("drift, 1 % a run", [Kin("growing", durations[:_HISTORY], [Job(d) for d in durations[_HISTORY:]])])


def _reporting(name: str, percent: Callable[[float], float]) -> Workload:
    random_ = random.Random(name)
    jobs = []
    for _ in range(_TASKS):
        duration = _log_normal(random_, _HALF_HOUR, 0.5)
        shares = [step / _STEPS for step in range(_STEPS)]
        jobs.append(Job(duration, [duration * s for s in shares], [math.floor(100 * percent(s)) for s in shares]))
    return Workload(name, [Kin("reporting", [], jobs)])


def _lying() -> Workload:
    random_ = random.Random("lies")
    jobs = []
    for _ in range(_TASKS * 4):
        duration = _log_normal(random_, _HALF_HOUR, 0.5)
        times = [duration * step / 20 for step in range(20)]
        jobs.append(Job(duration, times, [random_.uniform(0.0, 100.0) for _ in times]))
    return Workload("progress, at random", [Kin("lying", [], jobs)])


def _without_history() -> Workload:
    """Each task is the only one of its family: nothing is ever learned."""
    random_ = random.Random("none")
    kin = [Kin(f"once-{n}", [], [Job(_log_normal(random_, _HALF_HOUR, 1.0))]) for n in range(_TASKS * 4)]
    return Workload("no history at all", kin)
