"""What an answer says: a spec's rules applied to a reply. Pure; whatever the reply holds, it becomes an Observation.

See `poller.providers.spec` for the order of the rules.
"""

import math
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property, lru_cache
from sys import intern
from typing import Any, cast, overload

import orjson

from poller.domain.explanation import Explanation, Trial
from poller.domain.observation import Observation, Outcome, Run, Subtasks, fingerprint
from poller.domain.state import State
from poller.providers.expressions import Document, Expression, is_true
from poller.providers.request import Reply
from poller.providers.spec import Operation, Rule, Start, status_text

LONGEST_TEXT = 1_000
"""Characters kept of a message; a status, a code or an id is cut at a fifth of it."""
MOST_FAILED_SUBTASKS = 20
MOST_SUBTASKS = 2_000
"""Parts of a task that are looked at; of more, only their number is told."""
_LONGEST_SIGHT = 200
"""Characters of a value that a rule saw."""
_HTTP, _FOUND = "HTTP", "found"
_MILLISECONDS_FROM = 1e11
"""Epoch numbers from here on (12 digits) are milliseconds, whatever was documented: as seconds they are past 5138."""
_SECONDS_FROM = 1e9
_LATEST = 253_402_300_799.0
"""The last second of the year 9999, the last one that RFC 3339 can write."""


def classify(
    operation: Operation,
    reply: Reply,
    now: float,
    explain: Callable[[], Explanation] | None = None,
    said: int | None = None,
) -> Observation:
    """What ``reply``, come at ``now``, says of the task that ``operation`` asked for.

    ``explain`` and, with an answer, ``said`` go with it.
    """
    return _Reading(operation, reply, now, explain, said).observation()


def saying(operation: Operation, reply: Reply) -> int | None:
    """A number that stands for what ``reply`` says: one with the same number reads the same but for its request id.

    None where headers have a say in that. The number is this process' own.
    """
    if reply.body is None or any(rule.header for rule in operation.rules):
        return None
    said = reply.body
    if operation.request_id is not None:
        told = operation.request_id.find(Document(_parse(said), operation.folding))
        # Only where it stands once, nothing else can be cut out with it.
        if isinstance(told, str) and said.count(text := told.encode(errors="replace")) == 1:
            said = said.replace(text, b"")
    return fingerprint((reply.status, said))


def retrace(operation: Operation, reply: Reply, now: float) -> tuple[Trial, ...]:
    """The rules that `classify` tries on ``reply``, in its order and by its own steps; the last one decides."""
    trail: list[Trial] = []
    _Reading(operation, reply, now, trail=trail).observation()
    return tuple(trail)


def classify_runs(
    start: Start, reply: Reply, now: float, explain: Callable[[], Explanation] | None = None
) -> Observation:
    """What ``reply``, come at ``now``, says of the runs that ``start`` lists; an item without an id is none."""
    seen = classify(start.listing, reply, now, explain)
    if seen.outcome is not Outcome.ANSWERED:
        return seen
    folding = start.listing.folding
    items = start.items.find(Document(_parse(reply.body), folding))
    runs = (_run(start, Document(item, folding)) for item in items)
    return replace(seen, runs=tuple(run for run in runs if run is not None))


def _run(start: Start, item: Document) -> Run | None:
    run_id = cut(status_text(start.run_id.find(item)), LONGEST_TEXT // 5)
    return None if run_id is None else Run(run_id, start.states.get(status_text(start.status.find(item)) or ""))


class _Reading:
    """One reply being read; what several rules need is found once.

    Each rule that is tried is noted in ``trail``, where there is one.
    """

    def __init__(
        self,
        operation: Operation,
        reply: Reply,
        now: float,
        explain: Callable[[], Explanation] | None = None,
        said: int | None = None,
        trail: list[Trial] | None = None,
    ) -> None:
        self._said = said
        self._operation = operation
        self._reply = reply
        self._now = now
        self._explain = explain
        self._trail = trail
        self._document = Document(_parse(reply.body), operation.folding)

    def observation(self) -> Observation:
        rule = self._deciding(self._operation.rules)
        if rule is not None:
            return self._decided(rule)
        if self._http_status // 100 == 2 and self._mapped is not None:
            return self._read(self._mapped)
        if self._trail is not None:
            self._trail.append(self._unread())
        # The last fallback matches everything.
        return self._decided(cast("Rule", self._deciding(self._operation.fallbacks)))

    def _deciding(self, rules: Iterable[Rule]) -> Rule | None:
        for rule in rules:
            matched = self._matches(rule)
            if self._trail is not None:
                self._trail.append(Trial(rule.text, matched, self._saw(rule)))
            if matched:
                return rule
        return None

    def _decided(self, rule: Rule) -> Observation:
        if rule.outcome is not Outcome.ANSWERED:
            return self._unanswered(rule.outcome, rule)
        if rule.state is not None:
            return self._answered(rule.state, rule.text, self._saw(rule))
        return self._read(self._mapped) if self._mapped else self._unanswered(Outcome.UNRECOGNIZED, rule)

    def _read(self, state: State) -> Observation:
        rule, saw = _verdict(self._raw, state)
        if self._trail is not None:
            self._trail.append(Trial(rule, True, saw))
        return self._answered(state, rule, saw)

    def _unread(self) -> Trial:
        """The map of statuses, which comes between the rules, where it tells no state."""
        conditions = f"http 2xx, status {' '.join(self._operation.states)}"
        saw = f"{self._http_words()}, {_shown('status', self._raw)}"
        return Trial(f"{self._operation.name} states ({cut(conditions, _LONGEST_SIGHT)})", False, saw)

    def _matches(self, rule: Rule) -> bool:
        return all(holds for _, _, holds in self._looks(rule))

    def _looks(self, rule: Rule) -> Iterator[tuple[str, object, bool]]:
        """What each condition of a rule looks at, what it finds there, and whether it holds."""
        if rule.statuses:
            status = self._http_status
            yield _HTTP, status, any(status in statuses for statuses in rule.statuses)
        if rule.codes:
            code = self._code
            yield "code", code, code is not None and any(each.fullmatch(code) for each in rule.codes)
        if rule.header is not None:
            yield f"header {rule.header}", self._reply.headers.get(rule.header), rule.header in self._reply.headers
        if rule.when is not None:
            value = rule.when.find(self._document)
            yield _FOUND, value, is_true(value)

    def _saw(self, rule: Rule) -> str:
        """What the conditions of a rule found, up to the first that did not hold."""
        seen = []
        for what, value, holds in self._looks(rule):
            seen.append(self._http_words() if what == _HTTP else _shown(what, value))
            if not holds:
                break
        return ", ".join(seen) or self._http_words()

    def _http_words(self) -> str:
        words = f"HTTP {self._reply.status}"
        return words if self._http_status == self._reply.status else f"{words}, status {self._http_status} in the body"

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
        raw = cut(status_text(self._operation.status.find(self._document)), LONGEST_TEXT // 5)
        return raw and intern(raw)  # It is kept for each task, and there are few different ones.

    @cached_property
    def _mapped(self) -> State | None:
        return None if self._raw is None else self._operation.states.get(self._raw)

    @cached_property
    def _code(self) -> str | None:
        return cut(_first_text(self._operation.error_code, self._document), LONGEST_TEXT // 5)

    def _answered(self, state: State, rule: str, saw: str) -> Observation:
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
            saw=saw,
            said=self._said,
            explain=self._explain,
        )

    def _unanswered(self, outcome: Outcome, rule: Rule) -> Observation:
        return Observation(
            outcome=outcome,
            raw_status=self._raw,
            message=cut(self._complaint(outcome), LONGEST_TEXT),
            request_id=self._request_id(),
            retry_after=self._retry_after(),
            http_status=self._reply.status,
            code=self._code,
            rule=rule.text,
            saw=self._saw(rule),
            again=rule.again,
            explain=self._explain,
        )

    def _find(self, expression: Expression | None) -> Any:
        return None if expression is None else expression.find(self._document)

    def _contradiction(self) -> str | None:
        """The error code that stands beside an answer and would have meant something else by itself."""
        if self._code is None:
            return None
        by_code = (rule for rule in self._operation.fallbacks if rule.codes)
        return self._code if any(self._matches(rule) for rule in by_code) else None

    def _complaint(self, outcome: Outcome) -> str:
        """In words what came instead of an answer."""
        parts = [self._http_words()]
        if outcome is Outcome.UNRECOGNIZED:
            parts.append(self._puzzle())
        parts += [text for text in (self._code, _first_text(self._operation.error_message, self._document)) if text]
        return ", ".join(parts) + self._clock_remark(outcome)

    def _puzzle(self) -> str:
        if self._reply.body is None:
            return "an answer too long to be read"
        if self._http_status // 100 != 2:
            return "neither an answer nor an error"
        if self._document.value is None:
            return "an answer that is not JSON"
        if self._raw is None:
            return "an answer without a status"
        return f"status {self._raw!r} stands for no state of {self._operation.kind} {self._operation.name}"

    def _clock_remark(self, outcome: Outcome) -> str:
        """Signatures are refused when the clocks differ by 15 minutes: worth saying before anyone doubts the key."""
        sent = parse_http_date(self._reply.headers.get("Date"))
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
        for item in items[:MOST_SUBTASKS]:
            part = Document(item, self._operation.folding)
            state = self._operation.states.get(status_text(reader.status.find(part)) or "")
            done += state is State.SUCCEEDED
            if state is State.FAILED and len(failed) < MOST_FAILED_SUBTASKS:
                failed.append(cut(_text(reader.name.find(part)), LONGEST_TEXT // 5) or "?")
        return Subtasks(len(items), done, tuple(failed))


@lru_cache(maxsize=1_024)
def _verdict(raw: str | None, state: State) -> tuple[str, str]:
    """The rule that a status of the map is, and what it saw. Cached: it is kept for every task."""
    return f"status {raw} is {state}", f"status '{raw}'"


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
    until = parse_http_date(value)
    return None if until is None else max(0.0, until - now)


@overload
def cut(text: str, longest: int) -> str: ...
@overload
def cut(text: str | None, longest: int) -> str | None: ...
def cut(text: str | None, longest: int) -> str | None:
    """``text`` with at most ``longest`` characters; the last one is an ellipsis where some were left out."""
    return text if text is None or len(text) <= longest else text[: longest - 1] + "…"


def _parse(body: bytes | None) -> object:
    """The JSON in ``body``; None where there is none.

    A byte order mark is skipped (RFC 8259, section 8.1). Half a surrogate pair, a number past all bounds and NaN are
    not JSON that all would read alike (RFC 7493, sections 2.1 and 2.2): no guess is made at such an answer, it is told
    to be unreadable, and the task goes on as it was.
    """
    try:
        return orjson.loads((body or b"").removeprefix(BOM_UTF8))
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


def parse_http_date(value: str | None) -> float | None:
    """Epoch seconds of an HTTP date (RFC 9110, 5.6.7); None for what is none."""
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


def _shown(what: str, value: object) -> str:
    """What was found where a rule looks; text is in quotes, but not escaped, or a secret in it would be disguised."""
    if value is None:
        return "found nothing" if what == _FOUND else f"no {what}"
    if isinstance(value, str):
        return f"{what} '{cut(value, _LONGEST_SIGHT)}'"
    try:
        return f"{what} {cut(orjson.dumps(value, default=str).decode(), _LONGEST_SIGHT)}"
    except TypeError:
        return f"{what} a value too deep to be shown"


def _first_text(expressions: Iterable[Expression], document: Document) -> str | None:
    return next((text for expression in expressions if (text := _text(expression.find(document)))), None)
