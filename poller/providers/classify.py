"""What an answer says: a spec's rules applied to a reply. Pure; whatever the reply holds, it becomes an Observation.

See `poller.providers.spec` for the order of the rules.
"""

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any

import orjson

from poller.domain.observation import Observation, Outcome, Subtasks
from poller.domain.state import State
from poller.providers.expressions import Document, Expression
from poller.providers.request import Reply
from poller.providers.spec import Operation, Rule, status_text

LONGEST_TEXT = 1_000
"""Characters kept of a message; a status, a code or an id is cut at a fifth of it."""
MOST_FAILED_SUBTASKS = 20
MOST_VALUES = 20_000
"""Values in an answer that is read: taking more apart would hold up every other connection for a tenth of a second and
more. No documented answer has a hundredth of it."""
_MILLISECONDS_FROM = 1e11
"""Epoch numbers from here on (12 digits) are milliseconds, whatever was documented: as seconds they are past 5138."""
_SECONDS_FROM = 1e9
_LATEST = 253_402_300_799.0
"""The last second of the year 9999, the last one that RFC 3339 can write."""


def classify(operation: Operation, reply: Reply, now: float) -> Observation:
    """What ``reply``, come at ``now``, says of the task that ``operation`` asked for."""
    return _Reading(operation, reply, now).observation()


class _Reading:
    """One reply being read; what several rules need is found once."""

    def __init__(self, operation: Operation, reply: Reply, now: float) -> None:
        self._operation = operation
        self._reply = reply
        self._now = now
        self._crowded = _is_crowded(reply.body)
        self._document = Document(None if self._crowded else _parse(reply.body), operation.folding)

    def observation(self) -> Observation:
        rule = self._matching(self._operation.rules)
        if rule is not None:
            return self._decided(rule)
        if self._http_status // 100 == 2 and self._mapped is not None:
            return self._read(self._mapped)
        # The last fallback matches everything.
        return self._decided(next(rule for rule in self._operation.fallbacks if self._matches(rule)))

    def _decided(self, rule: Rule) -> Observation:
        if rule.outcome is not Outcome.ANSWERED:
            return self._unanswered(rule.outcome, rule.text, rule.again)
        if rule.state is not None:
            return self._answered(rule.state, rule.text)
        return self._read(self._mapped) if self._mapped else self._unanswered(Outcome.UNRECOGNIZED, rule.text)

    def _read(self, state: State) -> Observation:
        return self._answered(state, f"status {self._raw} is {state}")

    def _matching(self, rules: Iterable[Rule]) -> Rule | None:
        return next((rule for rule in rules if self._matches(rule)), None)

    def _matches(self, rule: Rule) -> bool:
        if rule.statuses and not any(self._http_status in statuses for statuses in rule.statuses):
            return False
        if rule.codes and not (self._code and any(code.fullmatch(self._code) for code in rule.codes)):
            return False
        if rule.header is not None and rule.header not in self._reply.headers:
            return False
        return rule.when is None or _truth(rule.when.find(self._document))

    @cached_property
    def _http_status(self) -> int:
        """The status of the request: what the body tells beside an HTTP 2xx, for APIs that hide it there."""
        status = self._reply.status
        if self._operation.http_status is None or status // 100 != 2:
            return status
        told = _number(self._operation.http_status.find(self._document))
        return int(told) if told is not None and 100 <= told < 600 else status

    @cached_property
    def _raw(self) -> str | None:
        return cut(status_text(self._operation.status.find(self._document)), LONGEST_TEXT // 5)

    @cached_property
    def _mapped(self) -> State | None:
        return None if self._raw is None else self._operation.states.get(self._raw)

    @cached_property
    def _code(self) -> str | None:
        return cut(_first_text(self._operation.error_code, self._document), LONGEST_TEXT // 5)

    def _answered(self, state: State, rule: str) -> Observation:
        op, find = self._operation, self._find
        return Observation(
            outcome=Outcome.ANSWERED,
            state=state,
            raw_status=self._raw,
            progress=_progress(find(op.progress), op.progress_scale),
            message=cut(_text(find(op.message)), LONGEST_TEXT),
            started_at=parse_time(find(op.started_at), op.time_unit),
            ended_at=parse_time(find(op.ended_at), op.time_unit),
            duration=_positive(find(op.duration)),
            subtasks=self._subtasks(),
            run_id=cut(_text(find(op.run_id)), LONGEST_TEXT // 5),
            request_id=self._request_id(),
            http_status=self._reply.status,
            code=self._contradiction(),
            rule=rule,
        )

    def _unanswered(self, outcome: Outcome, rule: str, again: bool = False) -> Observation:
        return Observation(
            outcome=outcome,
            raw_status=self._raw,
            message=cut(self._complaint(outcome), LONGEST_TEXT),
            request_id=self._request_id(),
            retry_after=self._retry_after(),
            http_status=self._reply.status,
            code=self._code,
            rule=rule,
            again=again,
        )

    def _find(self, expression: Expression | None) -> Any:
        return None if expression is None else expression.find(self._document)

    def _contradiction(self) -> str | None:
        """The error code that stands beside an answer and would have meant something else by itself."""
        if self._code is None:
            return None
        by_code = (rule for rule in self._operation.fallbacks if rule.codes)
        return self._code if self._matching(by_code) is not None else None

    def _complaint(self, outcome: Outcome) -> str:
        """In words what came instead of an answer."""
        parts = [f"HTTP {self._reply.status}"]
        if self._http_status != self._reply.status:
            parts.append(f"status {self._http_status} in the body")
        if outcome is Outcome.UNRECOGNIZED:
            parts.append(self._puzzle())
        parts += [text for text in (self._code, _first_text(self._operation.error_message, self._document)) if text]
        return ", ".join(parts) + self._clock_remark(outcome)

    def _puzzle(self) -> str:
        if self._reply.body is None:
            return "an answer too long to be read"
        if self._crowded:
            return f"an answer of more than {MOST_VALUES:,} values, too many to be read"
        if self._http_status // 100 != 2:
            return "neither an answer nor an error"
        if self._document.value is None:
            return "an answer that is not JSON"
        if self._raw is None:
            return "an answer without a status"
        return f"status {self._raw!r} stands for no state of {self._operation.kind} {self._operation.name}"

    def _clock_remark(self, outcome: Outcome) -> str:
        """Signatures are refused when the clocks differ by 15 minutes: worth saying before anyone doubts the key."""
        sent = _http_date(self._reply.headers.get("Date"))
        if outcome is not Outcome.UNAUTHORIZED or sent is None or abs(self._now - sent) < 60:
            return ""
        ahead = "ahead of" if self._now > sent else "behind"
        return f"; the clock here is {abs(self._now - sent):.0f} s {ahead} the server's"

    def _request_id(self) -> str | None:
        told = _text(self._find(self._operation.request_id))
        header = self._operation.request_id_header
        if told is None and header is not None:
            told = _text(self._reply.headers.get(header))
        return cut(told, LONGEST_TEXT // 5)

    def _retry_after(self) -> float | None:
        header = self._operation.retry_after_ms_header
        milliseconds = _number(self._reply.headers.get(header)) if header else None
        if milliseconds is not None:
            return max(0.0, milliseconds / 1000)
        return parse_retry_after(self._reply.headers.get("Retry-After"), self._now)

    def _subtasks(self) -> Subtasks | None:
        reader = self._operation.subtasks
        items = None if reader is None else reader.items.find(self._document)
        if reader is None or not isinstance(items, list):
            return None
        done = 0
        failed: list[str] = []
        for item in items:
            part = Document(item, self._operation.folding)
            state = self._operation.states.get(status_text(reader.status.find(part)) or "")
            done += state is State.SUCCEEDED
            if state is State.FAILED and len(failed) < MOST_FAILED_SUBTASKS:
                failed.append(cut(_text(reader.name.find(part)), LONGEST_TEXT // 5) or "?")
        return Subtasks(len(items), done, tuple(failed))


def parse_time(value: object, unit: str = "s") -> float | None:
    """Epoch seconds of an RFC 3339 text or a number of seconds or milliseconds, or the number in a text.

    13 digits are milliseconds and 10 digits seconds, whatever was documented; shorter ones are of the documented
    ``unit``. None for what is no time: 0 ("not yet"), nothing, a negative number, a year past 9999.
    """
    seconds = _number(value)
    if seconds is None:
        return _bounded(_rfc3339(value))
    if seconds >= _MILLISECONDS_FROM or (unit == "ms" and seconds < _SECONDS_FROM):
        seconds /= 1000
    return _bounded(seconds)


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait as a `Retry-After` header asks (RFC 9110, 10.2.3): a number or an HTTP date; None for neither."""
    seconds = _number(value)
    if seconds is not None:
        return max(0.0, seconds)
    until = _http_date(value)
    return None if until is None else max(0.0, until - now)


def cut(text: str | None, longest: int) -> str | None:
    """``text`` with at most ``longest`` characters; the last one is an ellipsis where some were left out."""
    return text if text is None or len(text) <= longest else text[: longest - 1] + "…"


def _is_crowded(body: bytes | None) -> bool:
    """Whether there may be more values in ``body`` than are read: each has one of these before it, but the first."""
    return body is not None and sum(map(body.count, (b",", b"[", b"{"))) > MOST_VALUES


def _parse(body: bytes | None) -> object:
    try:
        return orjson.loads(body or b"")
    except orjson.JSONDecodeError:
        return None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _positive(value: object) -> float | None:
    number = _number(value)
    return number if number is not None and number >= 0 else None


def _bounded(seconds: float | None) -> float | None:
    return seconds if seconds is not None and 0 < seconds <= _LATEST else None


def _rfc3339(value: object) -> float | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _http_date(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        moment = parsedate_to_datetime(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _progress(value: object, scale: float) -> float | None:
    number = _number(value.strip().removesuffix("%") if isinstance(value, str) else value)
    # Rounded, or 55 of 100 would be 55.00000000000001.
    return None if number is None else round(min(100.0, max(0.0, number / scale * 100)), 6)


def _text(value: object) -> str | None:
    """``value`` for people; None for nothing, which an empty list or object is as well, and for what is too deep."""
    if value is None or value in ("", [], {}):
        return None
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "; ".join(value).strip() or None
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:
        return None


def _first_text(expressions: Iterable[Expression], document: Document) -> str | None:
    return next((text for expression in expressions if (text := _text(expression.find(document)))), None)


def _truth(value: object) -> bool:
    """What JMESPath holds to be true: anything but null, false and what is empty."""
    return value is not None and value is not False and value not in ("", [], {})
