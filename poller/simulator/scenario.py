"""What a scenario file may say. Times are relative to the simulator's start and written as ``500ms 5s 2m 1h30m``."""

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from poller.simulator.faults import FaultKind
from poller.simulator.script import Ending, ProgressShape
from poller.simulator.styles import Accounts, DlfStyle, ModelArtsStyle, OpenSearchStyle
from poller.simulator.values import Duration, Model, Name, Parameter, Rate, Span


class Api(StrEnum):
    """The kinds of thing that can be asked for."""

    FUNCTION_TASK = "function-task"
    FUNCTION_INSTANCE = "function-instance"
    SYSTEM_TASK = "system-task"
    PROCESSOR_TASK = "processor-task"
    JOB = "job"


PARAMETERS: dict[Api, tuple[str, ...]] = {
    Api.FUNCTION_TASK: ("appGroupIdentity", "functionName", "instanceName", "generation"),
    Api.FUNCTION_INSTANCE: ("appGroupIdentity", "functionName", "instanceName"),
    Api.SYSTEM_TASK: ("project_id", "task_id"),
    Api.PROCESSOR_TASK: ("project_id", "task_id"),
    Api.JOB: ("job_id",),
}
"""What identifies a thing, in the order of its path."""

STOPPABLE = frozenset({Api.PROCESSOR_TASK, Api.JOB})
"""The others' documents know no such status."""


class FaultEntry(Model):
    """Trouble for a while, or for good where ``for`` is not given; for every request, or only those that start a run.

    Of a request that is ``lost`` only the answer is: what it asks for is done.
    """

    kind: FaultKind
    after: Duration = 0.0
    lasts: Duration | None = Field(default=None, alias="for")
    retry_after: Duration | None = None
    status: int = Field(default=503, ge=500, le=599)
    code: str | None = None
    only_starts: bool = False


class ApiFaultEntry(FaultEntry):
    """Trouble for whole APIs: all of them, unless some are named."""

    apis: tuple[Api, ...] = tuple(Api)


def _absence(value: object) -> object:
    """``true`` is short for: never there."""
    if isinstance(value, bool):
        return {"after": "0s"} if value else {}
    return value


class Absence(Model):
    """When a thing is not to be found: in the ``first`` seconds, and from ``after`` on."""

    first: Duration = 0.0
    after: Duration | None = None


class RunPlan(Model):
    """How one run goes. ``duration`` starts when ``pending``, its time in the queue, is over."""

    pending: Duration = 0.0
    duration: Duration = 10.0
    ends: Ending = Ending.SUCCEEDED
    message: str | None = None
    progress: ProgressShape = ProgressShape.LINEAR


class UnstoppablePlan(RunPlan):
    """A run of an API whose documents know no ``stopped``."""

    @field_validator("ends")
    @classmethod
    def _cannot_be_stopped(cls, ends: Ending) -> Ending:
        if ends is Ending.STOPPED:
            raise ValueError("this API has no such status: succeeded, failed or never is allowed")
        return ends


class Entry(Model):
    """Something that can be asked for. ``name`` is what the counters call it; by default the API and its parameters."""

    optional: ClassVar[tuple[str, ...]] = ()

    api: Api
    name: Name = ""
    params: dict[str, Parameter]
    absent: Annotated[Absence, BeforeValidator(_absence)] = Absence()
    faults: tuple[FaultEntry, ...] = ()

    @property
    def identity(self) -> tuple[str, ...]:
        """The parameters that tell it from others of its API."""
        return tuple(self.params[key] for key in PARAMETERS[self.api])

    @property
    def known_as(self) -> str:
        """Its name, given or made."""
        return self.name or "/".join((self.api, *self.identity))

    @property
    def claims(self) -> Iterator[tuple[str, ...]]:
        """What no other entry may stand for: things, and a name."""
        yield from self.things()
        yield ("name", self.known_as)

    def things(self) -> Iterator[tuple[str, ...]]:
        """What it stands for: an API and the identifying parameters."""
        yield (self.api, *self.identity)

    @field_validator("params")
    @classmethod
    def _parameters_fit(cls, params: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        check_parameters(params, PARAMETERS[info.data["api"]], cls.optional)
        return params


class SingleRun(Entry, RunPlan):
    """A thing that does one run, and is not known before it is created at ``starts_after``."""

    starts_after: Duration = 0.0


class FunctionTask(UnstoppablePlan, SingleRun):
    """One generation of an OpenSearch instance."""

    api: Literal[Api.FUNCTION_TASK]

    @field_validator("params")
    @classmethod
    def _generation_is_a_number(cls, params: dict[str, str]) -> dict[str, str]:
        if not re.fullmatch("[1-9][0-9]{0,17}", params["generation"]):
            raise ValueError(f"generation is {params['generation']!r}, a number from 1 on is allowed")
        return params


class SystemTask(UnstoppablePlan, SingleRun):
    """An asynchronous task of DLF; ``subtasks`` are the names of its parts, done one after another."""

    optional = ("workspace",)

    api: Literal[Api.SYSTEM_TASK]
    title: str | None = None
    subtasks: tuple[str, ...] = ()


class ProcessorTask(SingleRun):
    """A processing task of ModelArts."""

    api: Literal[Api.PROCESSOR_TASK]
    title: str | None = None


class Job(SingleRun):
    """A job of the plain JSON API."""

    api: Literal[Api.JOB]


class Training(UnstoppablePlan):
    """One of an instance's runs, created ``after`` the one before it ended (the first: after the start)."""

    after: Duration = 0.0


class FunctionInstance(Entry):
    """An OpenSearch instance, which is there from the start and trains again and again.

    Its runs are the generations from ``first_generation`` on; ``on_start`` is how a run goes that a client starts.
    """

    api: Literal[Api.FUNCTION_INSTANCE]
    runs: tuple[Training, ...] = ()
    first_generation: int = Field(default=1, ge=1)
    on_start: UnstoppablePlan = UnstoppablePlan()

    def things(self) -> Iterator[tuple[str, ...]]:
        """Itself, and a generation for each of its runs."""
        yield from super().things()
        for generation, _ in enumerate(self.runs, self.first_generation):
            yield (Api.FUNCTION_TASK, *self.identity, str(generation))

    @field_validator("runs")
    @classmethod
    def _endless_run_is_last(cls, runs: tuple[Training, ...]) -> tuple[Training, ...]:
        if any(run.ends is Ending.NEVER for run in runs[:-1]):
            raise ValueError("a run that never ends is followed by another, only the last may be such a one")
        return runs


AnyEntry = Annotated[FunctionTask | FunctionInstance | SystemTask | ProcessorTask | Job, Field(discriminator="api")]


class Generator(Model):
    """Many like things at once, for load tests; the same ones for the same ``seed``.

    The last of the API's identifying parameters (for OpenSearch: the instance's name) is ``prefix`` and a number from 1
    on; ``params`` gives the others. Where a span is given, a value is drawn evenly from it for each of them.
    """

    api: Api
    count: int = Field(ge=1, le=1_000_000)
    prefix: str = ""
    params: Annotated[dict[str, Parameter], Field(default_factory=dict, validate_default=True)]
    starts_after: Span = (0.0, 0.0)
    pending: Span = (0.0, 0.0)
    duration: Span = (10.0, 10.0)
    ends: dict[Ending, float] = Field(default_factory=lambda: {Ending.SUCCEEDED: 1.0})
    progress: ProgressShape = ProgressShape.LINEAR
    seed: int = 0

    def things(self) -> Iterator[tuple[str, ...]]:
        """What it makes, in order: the API and the identifying parameters."""
        for number in range(1, self.count + 1):
            made = {"generation": "1", **self.params, numbered_parameter(self.api): f"{self.prefix}{number}"}
            yield (self.api, *(made[key] for key in PARAMETERS[self.api]))

    @field_validator("params")
    @classmethod
    def _parameters_fit(cls, params: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if api := info.data.get("api"):
            required = tuple(key for key in PARAMETERS[api] if key not in (numbered_parameter(api), "generation"))
            check_parameters(params, required, ("workspace",) if api is Api.SYSTEM_TASK else ())
        return params

    @field_validator("ends")
    @classmethod
    def _weights_fit(cls, weights: dict[Ending, float], info: ValidationInfo) -> dict[Ending, float]:
        if min(weights.values(), default=0.0) < 0 or sum(weights.values()) <= 0:
            raise ValueError("weights of zero or more, at least one above zero, are allowed")
        if Ending.STOPPED in weights and info.data.get("api", Api.JOB) not in STOPPABLE:
            raise ValueError(f"stopped is no status of a {info.data['api']}")
        return weights


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value]


class Scenario(Model):
    """All that the local cloud does."""

    accounts: Accounts = Accounts()
    opensearch: OpenSearchStyle = OpenSearchStyle()
    dlf: DlfStyle = DlfStyle()
    modelarts: ModelArtsStyle = ModelArtsStyle()
    rate_limit: Rate | None = None
    latency: Span = (0.0, 0.0)
    faults: tuple[ApiFaultEntry, ...] = ()
    tasks: tuple[AnyEntry, ...] = ()
    generate: Annotated[tuple[Generator, ...], BeforeValidator(_listed)] = ()

    @model_validator(mode="after")
    def _nothing_twice(self) -> Self:
        if found := collisions(enumerate(self.tasks), enumerate(self.generate)):
            raise ValueError("; ".join(f"{'.'.join(map(str, where))}: {what}" for where, what in found))
        return self


def check_parameters(params: Iterable[str], required: Sequence[str], optional: Sequence[str]) -> None:
    """Raises ValueError unless ``params`` are the required ones, and of the optional ones any."""
    given = set(params)
    missing = [key for key in required if key not in given]
    unknown = sorted(given - {*required, *optional})
    if missing or unknown:
        found = [f"no {key}" for key in missing] + [f"unknown {key}" for key in unknown]
        allowed = ", ".join((*required, *(f"{key} (optional)" for key in optional))) or "nothing"
        raise ValueError(f"{', '.join(found)}; allowed: {allowed}")


def numbered_parameter(api: Api) -> str:
    """The parameter that a generator numbers."""
    return "instanceName" if "instanceName" in PARAMETERS[api] else PARAMETERS[api][-1]


Where = tuple[str, int]
"""Where something stands in the file: ``("tasks", 3)``."""


def collisions(
    entries: Iterable[tuple[int, Entry]], generators: Iterable[tuple[int, Generator]]
) -> list[tuple[Where, str]]:
    """Whatever stands for something that another took before it: where it is, and what it was. One for each place."""
    claimants: list[tuple[Where, Iterator[tuple[str, ...]]]] = [
        *((("tasks", number), entry.claims) for number, entry in entries),
        *((("generate", number), generator.things()) for number, generator in generators),
    ]
    owners: dict[tuple[str, ...], Where] = {}
    found = []
    for where, claims in claimants:
        taken = [claim for claim in claims if owners.setdefault(claim, where) != where]
        if taken:
            owner, number = owners[taken[0]]
            found.append((where, f"{'/'.join(taken[0])} is taken already, by {owner}.{number}"))
    return found
