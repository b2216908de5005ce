"""A provider as data: what a spec file may hold (unknown keys are refused), and what is made of it when it is loaded.

How an answer is judged, in this order, and the first rule that matches decides:

1. the operation's own rules: `missing`, then `outcomes`;
2. an HTTP 2xx whose status is in `states`: answered, whatever error code stands beside it;
3. the `outcomes` of the kind, then of the kind it `extends`, up to those of `http`.

The answers of a `start` section are judged in the same way, by its own rules first.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from poller.config.wording import found, one_of, refusal
from poller.domain.observation import Outcome
from poller.domain.state import REPORTED, State
from poller.providers.expressions import Expression, Folding, compile_expression
from poller.providers.request import check_header

_TEMPLATE = re.compile(r"\{([^{}]*)\}")
_TELLS_OF_THE_TASK = (range(200, 401), range(402, 403), range(404, 407), range(408, 429), range(430, 500))
"""Where `missing` is looked for: not beside refusals (401, 403, 407, 429), and not on a 5xx, since a gateway that is
going down has been seen to say "not found"."""
_HTTP = re.compile(r"[1-5](\d\d|xx)", re.ASCII)
_PATH = re.compile(r"/[!-~]*")


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


def _as_path(value: str) -> str:
    if not _PATH.fullmatch(value) or set("?#") & set(value):
        raise refusal(f"{value!r}, an encoded path beginning with / is allowed; a query has a key of its own")
    _check_template(value)
    return value


EncodedPath = Annotated[str, AfterValidator(_as_path)]
Text = Annotated[str, BeforeValidator(_as_text), Field(min_length=1)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_as_list), Field(min_length=1)]
Templates = Annotated[Mapping[str, Text], AfterValidator(_as_templates)]
Headers = Annotated[Templates, AfterValidator(_as_headers)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ConditionModel(_Model):
    """Conditions on an answer, all of which must hold."""

    http: Texts = ()
    code: Texts = ()
    header: str | None = None
    when: str | None = None

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
    state: State | None = None
    again: bool = False

    @model_validator(mode="after")
    def _verdict(self) -> "RuleModel":
        if self.state is not None and (self.state not in REPORTED or self.outcome not in (None, Outcome.ANSWERED)):
            raise refusal(f"state {self.state} beside outcome {self.outcome}; a state is one that a provider reports")
        if self.state is None and self.outcome is None:
            raise refusal("no verdict, an outcome or a state is needed")
        return self


class SubtasksModel(_Model):
    """Where the parts of a task stand: the list, and name and status of one part."""

    items: str
    name: str = "name"
    status: str = "status"


class ErrorModel(_Model):
    """Where an error's code and message stand."""

    code: str | None = None
    message: str | None = None


class RunsModel(_Model):
    """How the runs of a job are listed, newest first, and where the id and the status of one stand."""

    path: EncodedPath
    query: Templates = Field(default_factory=dict)
    headers: Headers = Field(default_factory=dict)
    items: str
    id: str
    status: str


class FollowModel(_Model):
    """Which operation asks for one run, and its parameter that takes the id of the run."""

    operation: str
    param: str


class StartModel(_Model):
    """How a job is started that runs once at a time: the request, a POST without a body, and what its answers mean.

    No answer to it is ever a ground to send it again, but for what `poller.domain.starting` says.
    """

    path: EncodedPath
    query: Templates = Field(default_factory=dict)
    headers: Headers = Field(default_factory=dict)
    accepted: ConditionModel
    under_way: ConditionModel
    runs: RunsModel
    follow: FollowModel


class OperationModel(_Model):
    """How one kind of task is asked for, and how the answer is read."""

    about: str = ""
    method: Literal["GET", "POST"] = "GET"
    path: EncodedPath
    query: Templates = Field(default_factory=dict)
    headers: Headers = Field(default_factory=dict)
    status: str
    states: Mapping[State, Annotated[tuple[Any, ...], BeforeValidator(_as_list)]]
    progress: str | None = None
    progress_scale: Annotated[float, Field(gt=0)] = 100.0
    message: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    duration: str | None = None
    run_id: str | None = None
    subtasks: SubtasksModel | None = None
    missing: str | None = None
    outcomes: tuple[RuleModel, ...] = ()
    start: StartModel | None = None

    @field_validator("states")
    @classmethod
    def _reported(cls, value: Mapping[State, tuple[Any, ...]]) -> Mapping[State, tuple[Any, ...]]:
        seen: dict[str, State] = {}
        for state, statuses in value.items():
            if state not in REPORTED:
                raise refusal(f"{state}, one of {', '.join(sorted(REPORTED))} is allowed")
            for status in statuses:
                text = status_text(status)
                if text is None:
                    raise refusal(f"{found(status)}, a text, a number or true or false is allowed")
                if seen.setdefault(text, state) is not state:
                    raise refusal(f"{text!r} is both {seen[text]} and {state}, one of them is allowed")
        return value

    @model_validator(mode="after")
    def _ends(self) -> "OperationModel":
        told = {state for state, statuses in self.states.items() if statuses} | {rule.state for rule in self.outcomes}
        for state in (State.SUCCEEDED, State.FAILED):
            if state not in told:
                raise refusal(f"no status that means {state}, one is needed to tell that a task has {state}")
        return self


class SpecModel(_Model):
    """What describes an API; the inline `spec:` of a provider in the config file."""

    fold_keys: bool = False
    opaque: tuple[str, ...] = ()
    headers: Headers = Field(default_factory=dict)
    http_status: str | None = None
    time_unit: Literal["s", "ms"] | None = None
    request_id: str | None = None
    request_id_header: str | None = None
    retry_after_ms_header: str | None = None
    error: ErrorModel = ErrorModel()
    outcomes: tuple[RuleModel, ...] = ()
    operations: Mapping[str, OperationModel] = Field(default_factory=dict)


class KindModel(SpecModel):
    """A spec file: an API under a name of its own. All but `http` extend some other kind, `http` if they name none."""

    kind: str
    about: str = ""
    source: str = ""
    extends: str | None = None
    endpoint: str | None = None
    signer: str | None = None
    default_credentials: Mapping[str, Any] = Field(default_factory=dict)


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

    ``required`` are the parameters in the path, ``optional`` those in query and headers: without its parameter such a
    line is left out. ``rules`` stand before the reading of the status, ``fallbacks`` after it, and the last of these
    matches everything.
    """

    kind: str
    name: str
    about: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    required: tuple[str, ...]
    optional: tuple[str, ...]
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
    """A kind of provider, compiled: everything a connection to it needs."""

    name: str
    about: str
    endpoint: str | None
    signer: str
    default_credentials: Mapping[str, Any]
    operations: Mapping[str, Operation]

    @property
    def params(self) -> frozenset[str]:
        """Every parameter that some operation knows."""
        return frozenset(name for op in self.operations.values() for name in (*op.required, *op.optional))


class SpecError(ValueError):
    """A mistake in a spec: which key, and what is wrong with it."""

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
    return tuple(_TEMPLATE.findall(template))


def fill(template: str, params: Mapping[str, str], encode: Callable[[str], str] = str) -> str:
    """``template`` with its parameters put in, each through ``encode``. KeyError for one that is not given."""
    return _TEMPLATE.sub(lambda match: encode(params[match[1]]), template)


def compile_kind(model: KindModel, parents: Iterable[KindModel]) -> Kind:
    """The kind that ``model`` describes; ``parents`` are what it extends, nearest first. Raises SpecError."""
    line = (model, *parents)
    plain = {name: _compile_operation(name, operation, line) for name, operation in model.operations.items()}
    operations = {
        name: replace(operation, start=_start(("operations", name, "start"), start, operation, line, plain))
        if (start := model.operations[name].start)
        else operation
        for name, operation in plain.items()
    }
    return Kind(
        name=model.kind,
        about=model.about,
        endpoint=_first(m.endpoint for m in line),
        signer=_first(m.signer for m in line) or "plain",
        default_credentials=next((m.default_credentials for m in line if m.default_credentials), {}),
        operations=operations,
    )


def _compile_operation(name: str, model: OperationModel, line: tuple[KindModel, ...]) -> Operation:
    kind = line[0]
    folding = Folding(any(m.fold_keys for m in line), [key for m in line for key in m.opaque])
    at = ("operations", name)
    expression = partial(_expression, folding)
    headers = _merged((*(m.headers for m in reversed(line)), model.headers))
    required = template_params(model.path)
    optional = dict.fromkeys(p for text in (*model.query.values(), *headers.values()) for p in template_params(text))
    return Operation(
        kind=kind.kind,
        name=name,
        about=model.about,
        method=model.method,
        path=model.path,
        query=model.query,
        headers=headers,
        required=required,
        optional=tuple(p for p in optional if p not in required),
        folding=folding,
        rules=_own_rules(name, at, model, folding),
        fallbacks=tuple(rule for m in line for rule in _rules((), m.kind, m.outcomes, folding)),
        states={
            text: state
            for state, values in model.states.items()
            for value in values
            if (text := status_text(value)) is not None
        },
        status=_needed((*at, "status"), model.status, folding),
        progress=expression((*at, "progress"), model.progress),
        progress_scale=model.progress_scale,
        message=expression((*at, "message"), model.message),
        started_at=expression((*at, "started_at"), model.started_at),
        ended_at=expression((*at, "ended_at"), model.ended_at),
        duration=expression((*at, "duration"), model.duration),
        run_id=expression((*at, "run_id"), model.run_id),
        subtasks=_subtasks((*at, "subtasks"), model.subtasks, folding),
        time_unit=_first(m.time_unit for m in line) or "s",
        http_status=expression(("http_status",), _first(m.http_status for m in line)),
        request_id=expression(("request_id",), _first(m.request_id for m in line)),
        request_id_header=_first(m.request_id_header for m in line),
        retry_after_ms_header=_first(m.retry_after_ms_header for m in line),
        error_code=_expressions(("error", "code"), [m.error.code for m in line], folding),
        error_message=_expressions(("error", "message"), [m.error.message for m in line], folding),
    )


def _start(
    at: tuple[str | int, ...],
    model: StartModel,
    operation: Operation,
    line: tuple[KindModel, ...],
    operations: Mapping[str, Operation],
) -> Start:
    runs, folding, followed = model.runs, operation.folding, operations.get(model.follow.operation)
    if followed is None:
        raise SpecError((*at, "follow", "operation"), one_of(model.follow.operation, sorted(operations)))
    if model.follow.param not in followed.required:
        raise SpecError((*at, "follow", "param"), one_of(model.follow.param, sorted(followed.required)))
    items = _needed((*at, "runs", "items"), runs.items, folding)
    listed = _needed((*at, "runs", "items"), f"type({runs.items}) == 'array'", folding)
    is_list = Rule(Outcome.ANSWERED, State.PENDING, False, (_status_range("2xx"),), (), None, listed, "a list of runs")
    judged = (
        _verdict((*at, "accepted"), "accepted", model.accepted, State.PENDING, folding),
        _verdict((*at, "under_way"), "under way", model.under_way, State.RUNNING, folding),
    )
    return Start(
        request=_beside(operation, at, "POST", model, line, judged),
        listing=_beside(operation, (*at, "runs"), "GET", runs, line, (is_list,)),
        items=items,
        run_id=_needed((*at, "runs", "id"), runs.id, folding),
        status=_needed((*at, "runs", "status"), runs.status, folding),
        operation=followed.name,
        param=model.follow.param,
        states=followed.states,
    )


def _verdict(key: tuple[str | int, ...], name: str, model: ConditionModel, state: State, folding: Folding) -> Rule:
    """The rule that reads an answer as ``state``, whatever its HTTP status if the conditions name none."""
    rule = _rule(key, name, RuleModel.model_construct(**dict(model), state=state), folding)
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
    headers = _merged((*(m.headers for m in reversed(line)), model.headers))
    for param in template_params(model.path):
        if param not in operation.required:
            raise SpecError((*at, "path"), one_of(param, sorted(operation.required)))
    return replace(
        operation,
        method=method,
        path=model.path,
        query=model.query,
        headers=headers,
        rules=rules,
        states={},
        status=_needed(at, "`null`", operation.folding),
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


def _needed(key: tuple[str | int, ...], text: str, folding: Folding) -> Expression:
    try:
        return compile_expression(text, folding)
    except ValueError as error:
        raise SpecError(key, f"{text!r}, {error}") from error


def _expression(folding: Folding, key: tuple[str | int, ...], text: str | None) -> Expression | None:
    return None if text is None else _needed(key, text, folding)


def _expressions(key: tuple[str | int, ...], texts: list[str | None], folding: Folding) -> tuple[Expression, ...]:
    return tuple(_needed(key, text, folding) for text in texts if text is not None)


def _subtasks(key: tuple[str | int, ...], model: SubtasksModel | None, folding: Folding) -> SubtasksReader | None:
    if model is None:
        return None
    return SubtasksReader(
        _needed((*key, "items"), model.items, folding),
        _needed((*key, "name"), model.name, folding),
        _needed((*key, "status"), model.status, folding),
    )


def _own_rules(name: str, at: tuple[str | int, ...], model: OperationModel, folding: Folding) -> tuple[Rule, ...]:
    rules = _rules(at, name, model.outcomes, folding)
    if model.missing is None:
        return rules
    when = _needed((*at, "missing"), model.missing, folding)
    return (Rule(Outcome.MISSING, None, False, _TELLS_OF_THE_TASK, (), None, when, f"missing: {model.missing}"), *rules)


def _rules(at: tuple[str | int, ...], owner: str, models: Iterable[RuleModel], folding: Folding) -> tuple[Rule, ...]:
    return tuple(_rule((*at, "outcomes", i), f"{owner} rule {i + 1}", model, folding) for i, model in enumerate(models))


def _rule(key: tuple[str | int, ...], name: str, model: RuleModel, folding: Folding) -> Rule:
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
        when=_expression(folding, (*key, "when"), model.when),
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
