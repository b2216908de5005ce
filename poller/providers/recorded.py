"""Recorded answers of an API, and whether a spec reads them as it should: a spec tested offline.

A folder of answers has a folder for each operation, and in it a `cases.yaml`, a list with one case for each answer:

    - file: running.json            # the body, in a file beside; or `body:`, text or JSON right here; neither: none
      expect: running               # a state, or an outcome like missing or throttled
      progress: 30                  # compared where given; null: there must be none
    - file: not-found.json
      http: 404                     # 200 if nothing else is said
      headers: {X-Request-Id: r-1}
      expect: missing

An answer comes at the time that its `Date` header tells.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from multidict import CIMultiDict
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from poller.config.textfile import reason, shown_name
from poller.config.wording import Mistake, found, kind, mistakes, one_of, refusal
from poller.config.yamlfile import Document, read_yaml
from poller.domain.errors import ConfigError, Problem
from poller.domain.moments import rfc3339
from poller.domain.observation import Observation, Outcome
from poller.domain.state import REPORTED
from poller.providers.classify import classify, parse_http_date, parse_time
from poller.providers.request import Reply
from poller.providers.spec import Headers, Kind, Operation
from poller.providers.transport import LONGEST_BODY

CASES = "cases.yaml"
_VERDICTS = (*sorted(REPORTED), *(outcome for outcome in Outcome if outcome is not Outcome.ANSWERED))
_COMPARED = {
    "raw_status": "raw_status",
    "progress": "progress",
    "message": "message",
    "code": "code",
    "run_id": "run_id",
    "request_id": "request_id",
    "started_at": "started_at",
    "ended_at": "ended_at",
    "duration_seconds": "duration",
    "retry_after_seconds": "retry_after",
}
"""What a case may tell, as `poller poll --json` calls it, and where an observation has it."""
_TIMES = ("started_at", "ended_at")


def _as_verdict(value: object) -> str:
    if value not in _VERDICTS:
        raise refusal(one_of(value, _VERDICTS))
    return str(value)


def _as_time(value: object) -> float:
    moment = parse_time(value)
    if moment is None:
        raise refusal(f"{found(value)}, a time is allowed: RFC 3339, or epoch seconds or milliseconds")
    return moment


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _as_http(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 100 <= value <= 599:
        raise refusal(f"{found(value)}, an HTTP status like 200 or 404 is allowed")
    return value


Seen: TypeAlias = Annotated[str, BeforeValidator(_as_text)]
Number: TypeAlias = Annotated[float, Field(strict=True)]
Time: TypeAlias = Annotated[float, PlainValidator(_as_time)]


class CaseModel(BaseModel):
    """One case: an answer, and what is to be read in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: str = ""
    file: Annotated[str, Field(min_length=1)] | None = None
    body: Any = None
    http: Annotated[int, PlainValidator(_as_http)] = 200
    headers: Headers = Field(default_factory=dict)
    expect: Annotated[str, PlainValidator(_as_verdict)]
    raw_status: Seen | None = None
    progress: Number | None = None
    message: str | None = None
    code: Seen | None = None
    run_id: Seen | None = None
    request_id: Seen | None = None
    started_at: Time | None = None
    ended_at: Time | None = None
    duration_seconds: Number | None = None
    retry_after_seconds: Number | None = None

    @field_validator("body")
    @classmethod
    def _one_body(cls, value: object, info: ValidationInfo) -> object:
        if info.data.get("file") is not None:
            raise refusal("a body beside a file, one of them is allowed")
        return value

    @property
    def title(self) -> str:
        """What tells it from others."""
        return self.what or self.file or f"HTTP {self.http}"


@dataclass(frozen=True, slots=True)
class Case:
    """A recorded answer of an operation, and what is to be read in it."""

    operation: Operation
    model: CaseModel
    body: bytes | None

    def check(self) -> "Verdict":
        """Reads the answer as a poll would."""
        headers = CIMultiDict(self.model.headers)
        now = parse_http_date(headers.get("Date")) or 0.0
        seen = classify(self.operation, Reply(self.model.http, headers, self.body), now)
        return Verdict(self, seen, tuple(_differences(self.model, seen)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was read in an answer; ``differences`` is what of it, beside state or outcome, is not as expected."""

    case: Case
    seen: Observation
    differences: tuple[str, ...]

    @property
    def got(self) -> str:
        """The state that was read, else the outcome."""
        return self.seen.state or self.seen.outcome

    @property
    def is_right(self) -> bool:
        """Whether all of it is as expected."""
        return self.got == self.case.model.expect and not self.differences

    @property
    def reason(self) -> str:
        """In what way it is not as expected, and why it was read so."""
        told = self.seen.rule if self.is_right or self.seen.state else self.seen.message
        return "; ".join((*self.differences, told or ""))


def read_cases(folder: Path, kind: Kind) -> tuple[Case, ...]:
    """The cases in a folder of recorded answers. ConfigError with every mistake in it, also if there is no case."""
    problems: list[Problem] = []
    cases: list[Case] = []
    for name in _folders(folder):
        if name not in kind.operations:
            text = f"a folder for no operation of {kind.name}, {one_of(name, kind.operations)}"
            problems.append(Problem(_shown(folder / name), 0, "", text))
            continue
        reader = _OperationFolder(folder / name, kind.operations[name])
        cases += reader.cases()
        problems += reader.problems
    if not cases and not problems:
        text = f"no case, OPERATION/{CASES} with at least one is required (operations: {', '.join(kind.operations)})"
        problems.append(Problem(_shown(folder), 0, "", text))
    if problems:
        raise ConfigError(problems)
    return tuple(cases)


class _OperationFolder:
    """The recorded answers of one operation, being read."""

    def __init__(self, folder: Path, operation: Operation) -> None:
        self._folder = folder
        self._operation = operation
        self._named: set[str] = {CASES}
        self.problems: list[Problem] = []

    def cases(self) -> list[Case]:
        """Its cases; the mistakes in them are then among the problems."""
        document = read_yaml(self._folder / CASES, _shown(self._folder / CASES))
        self.problems += document.problems
        if document.data is None and document.problems:
            return []
        if not isinstance(document.data, list) or not document.data:
            sort = "empty" if not document.data else kind(document.data)
            self.problems.append(document.problem((), f"{sort}, a list of cases is required"))
            return []
        cases = [case for index in range(len(document.data)) for case in self._case(document, document.data, index)]
        self.problems += (
            Problem(_shown(self._folder / name), 0, "", f"an answer without a case, a case in {CASES} is required")
            for name in sorted(item.name for item in self._folder.iterdir() if not item.name.startswith("."))
            if name not in self._named
        )
        return cases

    def _case(self, document: Document, raw: list[object], index: int) -> Iterator[Case]:
        self._note(raw[index])
        try:
            model = CaseModel.model_validate(raw[index])
        except ValidationError as error:
            self.problems += [document.problem((index, *m.path), m.text) for m in mistakes(error, CaseModel)]
            return
        body = self._body(model)
        if isinstance(body, Mistake):
            self.problems.append(document.problem((index, *body.path), body.text))
        else:
            yield Case(self._operation, model, body)

    def _note(self, raw: object) -> None:
        """Remembers the file that a case names, also if there are mistakes in it."""
        file = raw.get("file") if isinstance(raw, dict) else None
        self._named.update(Path(file).parts[:1] if isinstance(file, str) else ())

    def _body(self, model: CaseModel) -> bytes | Mistake | None:
        if model.file is None:
            return _encoded(model.body) if "body" in model.model_fields_set else b""
        try:
            with (self._folder / model.file).open("rb") as file:
                body = file.read(LONGEST_BODY + 1)
        except (OSError, ValueError) as error:
            return Mistake(("file",), f"{found(model.file)} {reason(error)}, a file with the answer's body is allowed")
        # As a poll has it: what is longer is not read.
        return body if len(body) <= LONGEST_BODY else None


def _folders(folder: Path) -> list[str]:
    try:
        return sorted(item.name for item in folder.iterdir() if item.is_dir() and not item.name.startswith("."))
    except OSError as error:
        text = f"{reason(error)}, a folder of recorded answers is allowed"
        raise ConfigError([Problem(_shown(folder), 0, "", text)]) from None


def _encoded(body: object) -> bytes:
    return body.encode() if isinstance(body, str) else json.dumps(body, ensure_ascii=False).encode()


def _differences(case: CaseModel, seen: Observation) -> Iterator[str]:
    """Where ``seen`` is not what the case tells, in words; what the case leaves out may be anything."""
    for name, attribute in _COMPARED.items():
        if name in case.model_fields_set:
            wanted, there = getattr(case, name), getattr(seen, attribute)
            if not _same(wanted, there):
                yield f"{name} {_told(name, there)}, not {_told(name, wanted)}"


def _same(wanted: object, there: object) -> bool:
    if isinstance(wanted, float) and isinstance(there, float):
        # Times are told to the millisecond.
        return math.isclose(wanted, there, rel_tol=0, abs_tol=0.001)
    return wanted == there


def _told(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if name in _TIMES:
        return str(rfc3339(value))
    return f"{value:g}" if isinstance(value, float) else found(value)


def _shown(path: Path) -> str:
    return shown_name(str(path))
