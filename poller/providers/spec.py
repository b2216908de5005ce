"""A provider as data: what a spec file may hold (unknown keys are refused), and what is made of it when it is loaded.

How an answer is judged, in this order, and the first rule that matches decides:

1. the operation's own rules: `missing`, then `outcomes`;
2. an HTTP 2xx whose status is in `states`: answered, whatever error code stands beside it;
3. the `outcomes` of the kind, then of the kind it `extends`, up to those of `http`.

The answers of a `start` section are judged in the same way, by its own rules first.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from poller.config.values import Endpoint, Name
from poller.config.wording import found, kind, one_of, refusal
from poller.domain.observation import Outcome
from poller.domain.state import REPORTED, State
from poller.providers.expressions import Expression, Folding, compile_expression
from poller.providers.request import check_header
from poller.providers.signing import SIGNERS

_TEMPLATE = re.compile(r"\{([^{}]*)\}")
_TELLS_OF_THE_TASK = (range(200, 401), range(402, 403), range(404, 407), range(408, 429), range(430, 500))
"""Where `missing` is looked for: not beside refusals (401, 403, 407, 429), and not on a 5xx, since a gateway that is
going down has been seen to say "not found"."""
_HTTP = re.compile(r"[1-5](\d\d|xx)", re.ASCII)
_PATH = re.compile(r"/[!-~]*")
_METHODS = ("GET", "POST")
_ENDPOINT: TypeAdapter[str | None] = TypeAdapter(Endpoint)
_JSON = "application/json"

Json: TypeAlias = Mapping[str, "Json"] | tuple["Json", ...] | str | int | float | bool | None
"""A value as JSON knows it, never to be changed."""


def _as_list(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _as_templates(value: Mapping[str, str]) -> Mapping[str, str]:
    for text in value.values():
        _check_template(text)
    return value


def _as_headers(value: Mapping[str, str]) -> Mapping[str, str]:
    for name, text in value.items():
        try:
            check_header(name, text)
        except ValueError as error:
            raise refusal(f"{error}") from None
    return value


def _as_expression(text: str) -> str:
    try:
        compile_expression(text, Folding())
    except ValueError as error:
        raise refusal(f"{found(text)}, {error}") from None
    return text


def _as_method(value: object) -> object:
    """A method that changes nothing: POST is there for APIs that ask with it."""
    if value not in _METHODS:
        raise refusal(f"{found(value)}, GET or POST is allowed: asking for a status must not change anything")
    return value


def _as_path(value: str) -> str:
    if not _PATH.fullmatch(value) or set("?#") & set(value):
        raise refusal(f"{value!r}, an encoded path beginning with / is allowed; a query has a key of its own")
    _check_template(value)
    return value


def _as_signer(name: str) -> str:
    if name not in SIGNERS:
        raise refusal(one_of(name, SIGNERS))
    return name


def _as_reported(value: object) -> object:
    if not isinstance(value, str) or value not in REPORTED:
        raise refusal(one_of(value, REPORTED))
    return value


def _as_endpoint(template: str) -> str:
    _check_template(template)
    if set(template_params(template)) - {"region"}:
        raise refusal(f"{found(template)}, no other parameter than {{region}} is allowed")
    try:
        _ENDPOINT.validate_python(fill(template, {"region": "region"}))
    except ValidationError as error:
        raise refusal(error.errors()[0]["msg"]) from None
    return template.rstrip("/")


def _as_body(value: object) -> Json:
    if not isinstance(value, dict | list | tuple):
        raise refusal(f"{kind(value)}, a mapping or a list is allowed")
    return _frozen(value)


def _frozen(value: object) -> Json:
    if isinstance(value, Mapping):
        return {str(key): _frozen(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(map(_frozen, value))
    if isinstance(value, str):
        _check_template(value)
        return value
    # The YAML reader's numbers remember how they were written, which no JSON writer expects.
    return float(value) if isinstance(value, float) else value  # type: ignore[return-value]


def _scalar_or_list(*scalars: str) -> WithJsonSchema:
    one = {"type": list(scalars)}
    return WithJsonSchema({"anyOf": [one, {"type": "array", "items": one}]})


EncodedPath = Annotated[str, AfterValidator(_as_path)]
Text = Annotated[
    str, Field(min_length=1), BeforeValidator(_as_text), WithJsonSchema({"type": ["string", "integer"], "minLength": 1})
]
Texts = Annotated[
    tuple[Text, ...], BeforeValidator(_as_list), Field(min_length=1), _scalar_or_list("string", "integer")
]
Statuses = Annotated[tuple[Any, ...], BeforeValidator(_as_list), _scalar_or_list("string", "number", "boolean")]
Templates = Annotated[Mapping[str, Text], AfterValidator(_as_templates)]
Headers = Annotated[Templates, AfterValidator(_as_headers)]
Find = Annotated[str, AfterValidator(_as_expression)]
"""A JMESPath expression into the answer."""
Truth = Annotated[bool, Field(strict=True)]
Method = Annotated[str, PlainValidator(_as_method), WithJsonSchema({"enum": [*_METHODS]})]
Body = Annotated[Any, PlainValidator(_as_body), WithJsonSchema({"type": ["object", "array"]})]
Reported = Annotated[State, BeforeValidator(_as_reported)]
"""A state that an answer can tell."""
SignerName = Annotated[str, AfterValidator(_as_signer), WithJsonSchema({"enum": sorted(SIGNERS)})]
EndpointTemplate = Annotated[str, AfterValidator(_as_endpoint)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ConditionModel(_Model):
    """Conditions on an answer, all of which must hold."""

    http: Texts = ()
    """HTTP statuses, like 404 or 4xx. Without any: all of them, but a state only comes with a 2xx."""
    code: Texts = ()
    """Error codes; * stands for anything."""
    header: str | None = None
    """A header that must be there."""
    when: Find | None = None
    """A JMESPath expression that must find something: not null, false or empty."""

    @field_validator("http")
    @classmethod
    def _statuses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for status in value:
            if not _HTTP.fullmatch(status):
                raise refusal(f"{status!r}, an HTTP status like 404 or 4xx is allowed")
        return value


class RuleModel(ConditionModel):
    """One rule: its conditions, and what they mean."""

    outcome: Outcome | None = None
    """What the poll brought; answered: the status is looked up in the states."""
    state: Reported | None = None
    """The state that the task is in, instead of an outcome."""
    again: Truth = False
    """Whether it is worth asking once more at once, with new credentials where these were refused."""

    @model_validator(mode="after")
    def _verdict(self) -> "RuleModel":
        if self.state is not None and self.outcome not in (None, Outcome.ANSWERED):
            raise refusal(f"state {self.state} beside outcome {self.outcome}, one of them is allowed")
        if self.state is None and self.outcome is None:
            raise refusal("no verdict, an outcome or a state is needed")
        return self


class SubtasksModel(_Model):
    """Where the parts of a task stand: the list, and name and status of one part."""

    items: Find
    """The list of parts."""
    name: Find = "name"
    """Where a part has its name."""
    status: Find = "status"
    """Where a part has its status, one of those in states."""


class ErrorModel(_Model):
    """Where an error's code and message stand."""

    code: Find | None = None
    """Where the error code stands."""
    message: Find | None = None
    """Where its text for people stands."""


class RunsModel(_Model):
    """How the runs of a job are listed, newest first, and where the id and the status of one stand."""

    path: EncodedPath
    """The path behind the endpoint, with parameters that the operation requires."""
    query: Templates = Field(default_factory=dict)
    """Query parameters."""
    headers: Headers = Field(default_factory=dict)
    """Headers of this request."""
    items: Find
    """The list of runs, newest first."""
    id: Find
    """Where a run has its id."""
    status: Find
    """Where a run has its status, one of those that the followed operation knows."""


class FollowModel(_Model):
    """Which operation asks for one run, and its parameter that takes the id of the run."""

    operation: str
    """The operation that asks for one run."""
    param: str
    """Its parameter that takes the id of the run."""


class StartModel(_Model):
    """How a job is started that runs once at a time: the request, a POST without a body, and what its answers mean.

    No answer to it is ever a ground to send it again, but for what `poller.domain.starting` says.
    """

    path: EncodedPath
    """The path behind the endpoint, with parameters that the operation requires."""
    query: Templates = Field(default_factory=dict)
    """Query parameters."""
    headers: Headers = Field(default_factory=dict)
    """Headers of this request."""
    accepted: ConditionModel
    """When a run was started."""
    under_way: ConditionModel
    """When one is under way already."""
    runs: RunsModel
    """How the runs are listed."""
    follow: FollowModel
    """How one of them is watched."""


class OperationModel(_Model):
    """How one kind of task is asked for, and how the answer is read."""

    about: str = ""
    """What is watched, in a line."""
    method: Method = "GET"
    """GET, or POST for an API that is asked with it. Asking must not change anything."""
    path: EncodedPath
    """The path behind the endpoint. Each {parameter} is one segment of it, percent-encoded, and required."""
    query: Templates = Field(default_factory=dict)
    """Query parameters; a {parameter} in a value is optional, and without it the line is left out."""
    headers: Headers = Field(default_factory=dict)
    """Headers of this operation, beside those of the kind; {parameters} as in query."""
    body: Body = None
    """Sent as JSON with a POST. Texts in it may hold {parameters}; without theirs, members and items are left out."""
    status: Find
    """Where the task's status stands in the answer (JMESPath, as are those below)."""
    missing: Find | None = None
    """When this finds something, there is no such task."""
    outcomes: tuple[RuleModel, ...] = ()
    """Rules that decide before the status is looked at."""
    states: Mapping[Reported, Statuses]
    """The API's statuses, by state; any other status is unrecognized."""
    progress: Find | None = None
    """How far it is."""
    progress_scale: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] = 100.0
    """What the API calls all of it: 100, or 1 for a ratio."""
    message: Find | None = None
    """A text for people, such as why it failed."""
    started_at: Find | None = None
    """When it began: RFC 3339, or epoch seconds or milliseconds."""
    ended_at: Find | None = None
    """When it ended."""
    duration: Find | None = None
    """Seconds that it took, where the API tells that instead of an end."""
    run_id: Find | None = None
    """What changes from one run to the next, where a task may run again."""
    run_params: tuple[str, ...] | None = None
    """The parameters that change from run to run: tasks that differ in them alone are expected to take about as long
    as one another. Without it: those in the last segment of the path that has any; [] if none do."""
    subtasks: SubtasksModel | None = None
    """The parts of the task."""
    start: StartModel | None = None
    """How a job behind the task is started."""

    @field_validator("body")
    @classmethod
    def _sent(cls, value: Json, info: ValidationInfo) -> Json:
        if info.data.get("method") == "GET":
            raise refusal("a body without a method that has one, method: POST is required beside it")
        return value

    @field_validator("states")
    @classmethod
    def _unambiguous(cls, value: Mapping[State, tuple[Any, ...]]) -> Mapping[State, tuple[Any, ...]]:
        seen: dict[str, State] = {}
        for state, statuses in value.items():
            for status in statuses:
                text = status_text(status)
                if text is None:
                    raise refusal(f"{found(status)}, a text, a number or true or false is allowed")
                if seen.setdefault(text, state) is not state:
                    raise refusal(f"{text!r} is both {seen[text]} and {state}, one of them is allowed")
        return value

    @field_validator("states")
    @classmethod
    def _ends(cls, value: Mapping[State, tuple[Any, ...]], info: ValidationInfo) -> Mapping[State, tuple[Any, ...]]:
        # Rules with mistakes in them, of which nobody knows what they were to tell, are not there.
        if "outcomes" in info.data:
            told = {state for state, statuses in value.items() if statuses}
            told |= {rule.state for rule in info.data["outcomes"]}
            untold = [state for state in (State.SUCCEEDED, State.FAILED) if state not in told]
            if untold:
                states = " and none that means ".join(untold)
                raise refusal(f"no status that means {states}, a task must be able to succeed and to fail")
        return value


class SpecModel(_Model):
    """What describes an API; the inline `spec:` of a provider in the config file."""

    fold_keys: Truth = False
    """Whether keys of answers are compared without case and underscores."""
    opaque: tuple[str, ...] = ()
    """Keys whose values are the caller's own data: never folded, and read as JSON where they are JSON in a text."""
    headers: Headers = Field(default_factory=dict)
    """Headers of every request; {parameters} in them are optional, and without theirs a header is left out."""
    http_status: Find | None = None
    """Where the body tells another HTTP status than HTTP does."""
    time_unit: Literal["s", "ms"] | None = None
    """What numbers of few digits are that stand for a time: s or ms."""
    request_id: Find | None = None
    """Where the body has the id of the request."""
    request_id_header: str | None = None
    """The header that has the id of the request."""
    retry_after_ms_header: str | None = None
    """A header that asks for a pause, in milliseconds."""
    error: ErrorModel = ErrorModel()
    """Where an error's code and message stand."""
    outcomes: tuple[RuleModel, ...] = ()
    """Rules that decide where the status did not."""
    operations: Mapping[str, OperationModel] = Field(default_factory=dict)
    """What may be asked for, by names of one's own."""


class KindModel(SpecModel):
    """A spec file: an API under a name of its own. All but `http` extend some other kind, `http` if they name none."""

    kind: Name
    """Its name, for providers to refer to."""
    about: str = ""
    """What it is, in a line."""
    source: str = ""
    """The documents that it follows."""
    extends: str | None = None
    """The kind that it adds to; http if none is named."""
    endpoint: EndpointTemplate | None = None
    """https://host[:port][/prefix]; {region} in it is the provider's."""
    signer: SignerName | None = None
    """How requests are signed; plain: credentials are sent as they are."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, compiled. ``text`` is how it reads, for people who ask why. ``again``: it is worth asking once more."""

    outcome: Outcome
    state: State | None
    again: bool
    statuses: tuple[range, ...]
    codes: tuple[re.Pattern[str], ...]
    header: str | None
    when: Expression | None
    text: str


@dataclass(frozen=True, slots=True)
class SubtasksReader:
    """Where the parts of a task stand, compiled."""

    items: Expression
    name: Expression
    status: Expression


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a kind, compiled: how to ask and how to read the answer.

    ``required`` are the parameters in the path, ``optional`` those in query, headers and body: without its parameter
    such a line, or such a member of the body, is left out. ``run_params`` are those of them that change from run to
    run. ``rules`` stand before the reading of the status,
    ``fallbacks`` after it, and the last of these matches everything.
    """

    kind: str
    name: str
    about: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Json
    required: tuple[str, ...]
    optional: tuple[str, ...]
    run_params: tuple[str, ...]
    folding: Folding
    rules: tuple[Rule, ...]
    fallbacks: tuple[Rule, ...]
    states: Mapping[str, State]
    status: Expression
    progress: Expression | None
    progress_scale: float
    message: Expression | None
    started_at: Expression | None
    ended_at: Expression | None
    duration: Expression | None
    run_id: Expression | None
    subtasks: SubtasksReader | None
    time_unit: str
    http_status: Expression | None
    request_id: Expression | None
    request_id_header: str | None
    retry_after_ms_header: str | None
    error_code: tuple[Expression, ...]
    error_message: tuple[Expression, ...]
    start: "Start | None" = None


@dataclass(frozen=True, slots=True)
class Start:
    """A `start` section, compiled: the two requests, and where the list tells what of a run.

    The answer to ``request`` reads as state pending where a run was started, as running where one is under way.
    ``operation`` asks for one run, which ``param`` names; ``states`` are its statuses.
    """

    request: Operation
    listing: Operation
    items: Expression
    run_id: Expression
    status: Expression
    operation: str
    param: str
    states: Mapping[str, State]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of provider, compiled: everything a connection to it needs.

    ``line`` is what it was made of, itself first, then what it extends: kinds made of the same are equal.
    """

    name: str
    line: tuple[KindModel, ...] = field(repr=False)
    endpoint: str | None = field(compare=False)
    signer: str = field(compare=False)
    operations: Mapping[str, Operation] = field(compare=False)

    @property
    def about(self) -> str:
        """What it is, in a line."""
        return self.line[0].about

    @property
    def source(self) -> str:
        """The documents it follows."""
        return _first(m.source or None for m in self.line) or ""

    @property
    def params(self) -> frozenset[str]:
        """Every parameter that some operation knows."""
        return frozenset(name for op in self.operations.values() for name in (*op.required, *op.optional))


class SpecError(ValueError):
    """A mistake that shows when a spec's parts are put together: at which key, and what is wrong there."""

    def __init__(self, key: tuple[str | int, ...], text: str) -> None:
        self.key = key
        super().__init__(text)


def status_text(value: object) -> str | None:
    """A provider's status as it is compared and shown: numbers and strings alike; None for what can be no status."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float):
        return str(value)
    return value.strip() or None if isinstance(value, str) else None


def template_params(template: str) -> tuple[str, ...]:
    """The names in ``{braces}``, in their order."""
    return _taken_apart(template)[1::2]


@lru_cache(maxsize=4_096)
def needed(template: str) -> frozenset[str]:
    """The names in ``{braces}``."""
    return frozenset(template_params(template))


@lru_cache(maxsize=4_096)
def _taken_apart(template: str) -> tuple[str, ...]:
    """Text and names in turn; text is first and last, and may be empty. Cached: every poll fills the same templates."""
    return tuple(_TEMPLATE.split(template))


def fill(template: str, params: Mapping[str, str], encode: Callable[[str], str] = str) -> str:
    """``template`` with its parameters put in, each through ``encode``. KeyError for one that is not given."""
    parts = _taken_apart(template)
    if len(parts) == 1:
        return template
    return "".join([encode(params[part]) if place % 2 else part for place, part in enumerate(parts)])


def fill_body(template: Json, params: Mapping[str, str]) -> Json:
    """``template`` with its parameters put in; members and items whose parameters are not given are left out."""
    if isinstance(template, str):
        return fill(template, params)
    if isinstance(template, Mapping):
        return {key: fill_body(item, params) for key, item in template.items() if _is_given(item, params)}
    if isinstance(template, tuple):
        return tuple(fill_body(item, params) for item in template if _is_given(item, params))
    return template


def _is_given(template: Json, params: Mapping[str, str]) -> bool:
    return not isinstance(template, str) or params.keys() >= set(template_params(template))


def _body_params(template: Json) -> tuple[str, ...]:
    if isinstance(template, str):
        return template_params(template)
    items = template.values() if isinstance(template, Mapping) else template if isinstance(template, tuple) else ()
    return tuple(name for item in items for name in _body_params(item))


def compile_kind(model: KindModel, parents: Iterable[KindModel]) -> Kind:
    """The kind that ``model`` describes; ``parents`` are what it extends, nearest first.

    It has their operations too, unless it has one of that name itself. Raises SpecError.
    """
    line = (model, *parents)
    operations = {name: operation for m in reversed(line) for name, operation in m.operations.items()}
    plain = {name: _compile_operation(name, operation, line) for name, operation in operations.items()}
    return Kind(
        name=model.kind,
        line=line,
        endpoint=_first(m.endpoint for m in line),
        signer=_first(m.signer for m in line) or "plain",
        operations={name: _with_start(plain[name], model.start, line, plain) for name, model in operations.items()},
    )


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a spec file, for editors."""
    schema = KindModel.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "spec of a kind of provider"}


def _compile_operation(name: str, model: OperationModel, line: tuple[KindModel, ...]) -> Operation:
    folding = Folding(any(m.fold_keys for m in line), [key for m in line for key in m.opaque])
    expression = partial(_expression, folding)
    owners = {_owner(m, line) for m in line}
    typed = {} if model.body is None else {"Content-Type": _JSON}
    headers = _merged((typed, *(m.headers for m in reversed(line)), model.headers))
    required = template_params(model.path)
    templates = (*model.query.values(), *headers.values())
    given = (*(p for text in templates for p in template_params(text)), *_body_params(model.body))
    optional = tuple(p for p in dict.fromkeys(given) if p not in required)
    return Operation(
        kind=line[0].kind,
        name=name,
        about=model.about,
        method=model.method,
        path=model.path,
        query=model.query,
        headers=headers,
        body=model.body,
        required=required,
        optional=optional,
        run_params=_run_params(name, model, {*required, *optional}),
        folding=folding,
        rules=_own_rules(f"operation {name}" if name in owners else name, model, folding),
        fallbacks=tuple(rule for m in line for rule in _rules(_owner(m, line), m.outcomes, folding)),
        states={
            text: state
            for state, values in model.states.items()
            for value in values
            if (text := status_text(value)) is not None
        },
        status=compile_expression(model.status, folding),
        progress=expression(model.progress),
        progress_scale=model.progress_scale,
        message=expression(model.message),
        started_at=expression(model.started_at),
        ended_at=expression(model.ended_at),
        duration=expression(model.duration),
        run_id=expression(model.run_id),
        subtasks=_subtasks(model.subtasks, folding),
        time_unit=_first(m.time_unit for m in line) or "s",
        http_status=expression(_first(m.http_status for m in line)),
        request_id=expression(_first(m.request_id for m in line)),
        request_id_header=_first(m.request_id_header for m in line),
        retry_after_ms_header=_first(m.retry_after_ms_header for m in line),
        error_code=_expressions((m.error.code for m in line), folding),
        error_message=_expressions((m.error.message for m in line), folding),
    )


def _run_params(name: str, model: OperationModel, known: Set[str]) -> tuple[str, ...]:
    if model.run_params is None:
        segments = map(template_params, reversed(model.path.split("/")))
        return next(filter(None, segments), ())
    for index, param in enumerate(model.run_params):
        if param not in known:
            raise SpecError(("operations", name, "run_params", index), one_of(param, known))
    return model.run_params


def _with_start(
    operation: Operation,
    model: StartModel | None,
    line: tuple[KindModel, ...],
    operations: Mapping[str, Operation],
) -> Operation:
    if model is None:
        return operation
    at = ("operations", operation.name, "start")
    runs, folding, followed = model.runs, operation.folding, operations.get(model.follow.operation)
    if followed is None:
        raise SpecError((*at, "follow", "operation"), one_of(model.follow.operation, sorted(operations)))
    if model.follow.param not in followed.required:
        raise SpecError((*at, "follow", "param"), one_of(model.follow.param, sorted(followed.required)))
    listed = compile_expression(f"type({runs.items}) == 'array'", folding)
    is_list = Rule(Outcome.ANSWERED, State.PENDING, False, (_status_range("2xx"),), (), None, listed, "a list of runs")
    judged = (
        _verdict("accepted", model.accepted, State.PENDING, folding),
        _verdict("under way", model.under_way, State.RUNNING, folding),
    )
    start = Start(
        request=_beside(operation, at, "POST", model, line, judged),
        listing=_beside(operation, (*at, "runs"), "GET", runs, line, (is_list,)),
        items=compile_expression(runs.items, folding),
        run_id=compile_expression(runs.id, folding),
        status=compile_expression(runs.status, folding),
        operation=followed.name,
        param=model.follow.param,
        states=followed.states,
    )
    return replace(operation, start=start)


def _verdict(name: str, model: ConditionModel, state: State, folding: Folding) -> Rule:
    """The rule that reads an answer as ``state``, whatever its HTTP status if the conditions name none."""
    rule = _rule(name, RuleModel.model_construct(**dict(model), state=state), folding)
    return rule if model.http else replace(rule, statuses=())


def _beside(
    operation: Operation,
    at: tuple[str | int, ...],
    method: str,
    model: StartModel | RunsModel,
    line: tuple[KindModel, ...],
    rules: tuple[Rule, ...],
) -> Operation:
    """Another request for the job that ``operation`` asks for; what its answers mean is for its rules alone to say."""
    for param in template_params(model.path):
        if param not in operation.required:
            raise SpecError((*at, "path"), one_of(param, sorted(operation.required)))
    return replace(
        operation,
        method=method,
        path=model.path,
        query=model.query,
        headers=_merged((*(m.headers for m in reversed(line)), model.headers)),
        body=None,
        rules=rules,
        states={},
        status=compile_expression("`null`", operation.folding),
        progress=None,
        message=None,
        started_at=None,
        ended_at=None,
        duration=None,
        run_id=None,
        subtasks=None,
    )


def _merged(layers: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Headers of several layers; of one name, in whatever case, the last one holds."""
    merged = {name.lower(): (name, text) for layer in layers for name, text in layer.items()}
    return dict(merged.values())


def _first(values: Iterable[str | None]) -> str | None:
    return next((value for value in values if value is not None), None)


def _expression(folding: Folding, text: str | None) -> Expression | None:
    return None if text is None else compile_expression(text, folding)


def _expressions(texts: Iterable[str | None], folding: Folding) -> tuple[Expression, ...]:
    return tuple(compile_expression(text, folding) for text in texts if text is not None)


def _subtasks(model: SubtasksModel | None, folding: Folding) -> SubtasksReader | None:
    if model is None:
        return None
    return SubtasksReader(
        compile_expression(model.items, folding),
        compile_expression(model.name, folding),
        compile_expression(model.status, folding),
    )


def _owner(model: KindModel, line: tuple[KindModel, ...]) -> str:
    """What the rules of a kind are named after: an inline spec goes by the kind that it extends, its rules do not."""
    return "spec" if model is not line[-1] and model.kind == line[-1].kind else model.kind


def _own_rules(name: str, model: OperationModel, folding: Folding) -> tuple[Rule, ...]:
    rules = _rules(name, model.outcomes, folding)
    if model.missing is None:
        return rules
    when = compile_expression(model.missing, folding)
    return (Rule(Outcome.MISSING, None, False, _TELLS_OF_THE_TASK, (), None, when, f"missing: {model.missing}"), *rules)


def _rules(owner: str, models: Iterable[RuleModel], folding: Folding) -> tuple[Rule, ...]:
    return tuple(_rule(f"{owner} rule {i + 1}", model, folding) for i, model in enumerate(models))


def _rule(name: str, model: RuleModel, folding: Folding) -> Rule:
    conditions = (
        ("http", " ".join(model.http)),
        ("code", " ".join(model.code)),
        ("header", model.header),
        ("when", model.when),
    )
    said = ", ".join(f"{what} {text}" for what, text in conditions if text)
    return Rule(
        outcome=model.outcome or Outcome.ANSWERED,
        state=model.state,
        again=model.again,
        statuses=tuple(_status_range(status) for status in model.http or _default_statuses(model)),
        codes=tuple(re.compile(_glob(code), re.DOTALL) for code in model.code),
        header=model.header,
        when=_expression(folding, model.when),
        text=f"{name} ({said})" if said else name,
    )


def _default_statuses(model: RuleModel) -> tuple[str, ...]:
    """What tells a state is an answer, and comes with a 2xx if nothing else is said."""
    return ("2xx",) if model.outcome in (None, Outcome.ANSWERED) else ()


def _status_range(text: str) -> range:
    if text.endswith("xx"):
        first = int(text[0]) * 100
        return range(first, first + 100)
    return range(int(text), int(text) + 1)


def _glob(text: str) -> str:
    return ".*".join(map(re.escape, text.split("*")))


def _check_template(text: str) -> None:
    if "{" in _TEMPLATE.sub("", text) or "}" in _TEMPLATE.sub("", text):
        raise refusal(f"{text!r}, braces that hold a parameter's name each are allowed")
    if not all(name.isidentifier() for name in template_params(text)):
        raise refusal(f"{text!r}, letters, digits and underscores are allowed in a parameter's name")
