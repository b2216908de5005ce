"""All that the local cloud knows of, by what identifies it."""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from operator import attrgetter

from poller.simulator.faults import Fault
from poller.simulator.scenario import (
    Absence,
    Api,
    Entry,
    FaultEntry,
    FunctionInstance,
    Generator,
    ProcessorTask,
    RunPlan,
    Scenario,
    SingleRun,
    SystemTask,
)
from poller.simulator.script import Ending, Run, Script, ScriptState, state_at

InstanceKey = tuple[str, str, str]
"""App, function and instance."""


@dataclass(frozen=True, slots=True)
class Known:
    """One thing that can be asked for; ``name`` is what the counters call it.

    ``title`` is the name that a Huawei API gives it, ``workspace`` (None: the default one) and ``subtasks`` are DLF's.
    """

    name: str
    script: Script
    faults: tuple[Fault, ...] = ()
    title: str | None = None
    workspace: str | None = None
    subtasks: tuple[str, ...] = ()

    def state_at(self, t: float) -> ScriptState:
        """Its state at ``t`` seconds."""
        return state_at(self.script, t)


@dataclass(slots=True)
class Instance:
    """An OpenSearch instance and its generations, which clients can add to."""

    known: Known
    on_start: Run = field(default_factory=Run)
    generations: dict[str, Known] = field(default_factory=dict)

    def state_at(self, t: float) -> ScriptState:
        """The state of its latest run at ``t`` seconds."""
        return state_at(replace(self.known.script, runs=self.runs), t)

    @property
    def runs(self) -> tuple[Run, ...]:
        """Its runs, those created first first."""
        return tuple(
            sorted((known.script.runs[0] for known in self.generations.values()), key=attrgetter("created_at"))
        )

    def under_way(self, t: float) -> bool:
        """Whether some run is pending or running at ``t`` seconds."""
        return any(run.created_at <= t < run.ended_at for run in self.runs)

    def created(self, t: float) -> list[tuple[str, Known]]:
        """The numbers and generations that there are at ``t`` seconds, newest first."""
        there = [(known.script.runs[0].created_at, int(number)) for number, known in self.generations.items()]
        newest_first = sorted((item for item in there if item[0] <= t), reverse=True)
        return [(str(number), self.generations[str(number)]) for _, number in newest_first]

    def start(self, t: float) -> None:
        """Creates a run at ``t`` seconds. Its number follows on all others', scripted ones to come included."""
        number = max(map(int, self.generations), default=0) + 1
        run = replace(self.on_start, created_at=t)
        self.generations[str(number)] = Known(self.known.name, Script((run,)), self.known.faults)


@dataclass(slots=True)
class Inventory:
    """Everything, by its identifying parameters."""

    instances: dict[InstanceKey, Instance] = field(default_factory=dict)
    system_tasks: dict[tuple[str, str], Known] = field(default_factory=dict)
    processor_tasks: dict[tuple[str, str], Known] = field(default_factory=dict)
    jobs: dict[str, Known] = field(default_factory=dict)

    @classmethod
    def of(cls, scenario: Scenario) -> "Inventory":
        """All that ``scenario`` lists and generates. Instances go in first, so that generations find theirs."""
        inventory = cls()
        for entry in sorted(scenario.tasks, key=lambda entry: entry.api is not Api.FUNCTION_INSTANCE):
            inventory._add_entry(entry)
        for generator in scenario.generate:
            for identity, known in generated(generator):
                inventory._add(generator.api, identity, known)
        return inventory

    def _add_entry(self, entry: Entry) -> None:
        if isinstance(entry, FunctionInstance):
            app, function, name = entry.identity
            self.instances[app, function, name] = _instance(entry)
        elif isinstance(entry, SingleRun):
            self._add(entry.api, entry.identity, _known(entry))

    def _add(self, api: Api, identity: tuple[str, ...], known: Known) -> None:
        match api, identity:
            case Api.SYSTEM_TASK, (project_id, task_id):
                self.system_tasks[project_id, task_id] = known
            case Api.PROCESSOR_TASK, (project_id, task_id):
                self.processor_tasks[project_id, task_id] = known
            case Api.JOB, (job_id,):
                self.jobs[job_id] = known
            case Api.FUNCTION_TASK, (app, function, instance, generation):
                self._instance_of((app, function, instance)).generations[generation] = known
            case Api.FUNCTION_INSTANCE, (app, function, instance):
                self._instance_of((app, function, instance)).generations["1"] = known

    def _instance_of(self, key: InstanceKey) -> Instance:
        """The instance of a generation; one that the scenario does not list itself is there all the same."""
        name = "/".join((Api.FUNCTION_INSTANCE, *key))
        return self.instances.setdefault(key, Instance(Known(name, Script(()))))


def generated(generator: Generator) -> Iterator[tuple[tuple[str, ...], Known]]:
    """What ``generator`` makes, with its identity. Each value depends on seed and number alone, not on the others."""
    for number, (api, *identity) in enumerate(generator.things(), 1):
        lot = f"{generator.seed}/{number}"
        run = Run(
            created_at=between(generator.starts_after, f"{lot}/starts_after"),
            pending=between(generator.pending, f"{lot}/pending"),
            duration=between(generator.duration, f"{lot}/duration"),
            ends=_pick(generator.ends, f"{lot}/ends"),
            progress=generator.progress,
        )
        name = "/".join((api, *identity))
        yield tuple(identity), Known(name, Script((run,)), workspace=generator.params.get("workspace"))


def between(span: tuple[float, float], lot: str) -> float:
    """A value in ``span``, drawn evenly by ``lot``: always the same one for the same lot."""
    shortest, longest = span
    return shortest if shortest == longest else shortest + (longest - shortest) * _draw(lot)


def _draw(lot: str) -> float:
    """A number in [0, 1) that depends on ``lot`` only, on every machine and Python."""
    return int.from_bytes(hashlib.sha256(lot.encode()).digest()[:6], "big") / 2**48


def _pick(weights: Mapping[Ending, float], lot: str) -> Ending:
    """One of ``weights``' keys, drawn by ``lot``; the order in which the file lists them plays no part."""
    endings = [ending for ending in Ending if weights.get(ending)]
    bounds = list(accumulate(weights[ending] for ending in endings))
    return endings[bisect_right(bounds, _draw(lot) * bounds[-1])]


def faults_of(entries: Iterable[FaultEntry]) -> tuple[Fault, ...]:
    """The faults that a scenario's entries describe."""
    return tuple(
        Fault(
            kind=entry.kind,
            after=entry.after,
            lasts=math.inf if entry.lasts is None else entry.lasts,
            retry_after=entry.retry_after,
            status=entry.status,
            code=entry.code,
            only_starts=entry.only_starts,
        )
        for entry in entries
    )


def _known(entry: SingleRun) -> Known:
    return Known(
        name=entry.known_as,
        script=_script(entry.absent, _run(entry, entry.starts_after)),
        faults=faults_of(entry.faults),
        title=entry.title if isinstance(entry, SystemTask | ProcessorTask) else None,
        workspace=entry.params.get("workspace"),
        subtasks=entry.subtasks if isinstance(entry, SystemTask) else (),
    )


def _instance(entry: FunctionInstance) -> Instance:
    known = Known(entry.known_as, _script(entry.absent), faults_of(entry.faults))
    runs = enumerate(_trainings(entry), entry.first_generation)
    generations = {str(number): replace(known, script=_script(entry.absent, run)) for number, run in runs}
    return Instance(known, _run(entry.on_start, 0.0), generations)


def _trainings(entry: FunctionInstance) -> Iterator[Run]:
    """The instance's scripted runs, each created some time after the one before it ended."""
    ended_at = 0.0
    for plan in entry.runs:
        run = _run(plan, ended_at + plan.after)
        ended_at = run.ended_at
        yield run


def _run(plan: RunPlan, created_at: float) -> Run:
    return Run(created_at, plan.pending, plan.duration, plan.ends, plan.message, plan.progress)


def _script(absent: Absence, *runs: Run) -> Script:
    return Script(runs, absent.first, math.inf if absent.after is None else absent.after)
