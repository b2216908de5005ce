"""What an answer says, and that no answer ever says more than it does."""

import math
import time
from collections import Counter
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict

from poller.domain.explanation import Trial
from poller.domain.observation import Observation, Outcome
from poller.domain.state import REPORTED, State
from poller.providers.classify import (
    LONGEST_TEXT,
    MOST_FAILED_SUBTASKS,
    classify,
    cut,
    parse_retry_after,
    parse_time,
    retrace,
    saying,
)
from poller.providers.recorded import CASES
from poller.providers.request import Reply
from poller.providers.spec import Operation
from tests.providers.answers import DATE, DEEP, FILES, NOW, OPERATIONS, TABLE, Row

FUNCTION_TASK = OPERATIONS["alibaba-opensearch", "function-task"]
LATEST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()


def read(row: Row) -> Observation:
    """What comes of a row."""
    return classify(OPERATIONS[row.kind, row.operation], Reply(row.status, CIMultiDict(row.headers), row.body), NOW)


def expected(row: Row) -> Observation:
    """What the table says of it."""
    if row.verdict in REPORTED:
        return Observation(Outcome.ANSWERED, State(row.verdict), **row.seen)
    return Observation(Outcome(row.verdict), **row.seen)


def comparable(seen: Observation, with_message: bool) -> dict[str, Any]:
    """What the table tells of an observation."""
    left_out = {"rule", "saw", "http_status", *(() if with_message else ("message",))}
    return {name: value for name, value in asdict(seen).items() if name not in left_out}


class TestTable:
    @pytest.mark.parametrize("row", TABLE, ids=str)
    def test_reads(self, row: Row) -> None:
        """An answer is read as the table says, and nothing else is read in it."""
        with_message = "message" in row.seen or row.verdict in REPORTED
        assert comparable(read(row), with_message) == comparable(expected(row), with_message)

    def test_explains(self) -> None:
        """Every verdict names its rule, and what is no answer says what came instead."""
        for row in TABLE:
            seen = read(row)
            assert seen.rule, row
            assert seen.http_status == row.status, row
            assert seen.outcome is Outcome.ANSWERED or (seen.message or "").startswith(f"HTTP {row.status}"), row

    def test_covers_every_operation(self) -> None:
        """Every operation has rows for every state it can tell, and for what an API can refuse."""
        rows = {key: {row.verdict for row in TABLE if (row.kind, row.operation) == key} for key in OPERATIONS}
        for key, operation in OPERATIONS.items():
            states = {*operation.states.values(), *(rule.state for rule in operation.rules if rule.state)}
            assert rows[key] >= states | {Outcome.UNRECOGNIZED, Outcome.MISSING, Outcome.REJECTED}, key
        assert set().union(*rows.values()) >= {*REPORTED, *Outcome} - {Outcome.ANSWERED}

    def test_tells_every_field(self) -> None:
        """Each field of an observation is told by some row: none is there for nothing."""
        told = {name for row in TABLE for name, value in asdict(read(row)).items() if value is not None}
        assert told == {field.name for field in fields(Observation)} - {"explain", "said"}

    def test_has_each_row_once(self) -> None:
        """No two rows go by one name."""
        assert max(Counter(map(str, TABLE)).values()) == 1

    def test_uses_every_recorded_answer(self) -> None:
        """No recorded answer lies about unread."""
        used = {row.body for row in TABLE}
        answers = (file for file in FILES.rglob("*.*") if file.name != CASES)
        assert [file for file in answers if file.read_bytes() not in used] == []


class TestParse:
    """What is taken for JSON."""

    def test_skips_a_byte_order_mark(self) -> None:
        """Some servers write one."""
        body = b'\xef\xbb\xbf{"status": "RUNNING"}'
        assert classify(OPERATIONS["huawei-dlf", "system-task"], Reply(200, {}, body), NOW).state is State.RUNNING

    @pytest.mark.parametrize(
        "body",
        [
            rb'{"status": "SUCCESSFUL", "name": "\ud800"}',
            rb'{"status": "SUCCESSFUL", "\udc00": 1}',
            b'{"status": "SUCCESSFUL", "number": 1e999}',
            b'{"status": "SUCCESSFUL", "number": NaN}',
            b'{"status": "SUCCESSFUL", "number": -Infinity}',
            b'\xef\xbb\xbf\xef\xbb\xbf{"status": "SUCCESSFUL"}',
            b'\xff\xfe{"status": "SUCCESSFUL"}',
        ],
    )
    def test_makes_no_guess(self, body: bytes) -> None:
        """What not all would read alike is no answer: no end comes of it, and it is told what is the matter."""
        seen = classify(OPERATIONS["huawei-dlf", "system-task"], Reply(200, {}, body), NOW)
        assert (seen.outcome, seen.message) == (Outcome.UNRECOGNIZED, "HTTP 200, an answer that is not JSON")
        failed = classify(OPERATIONS["huawei-dlf", "system-task"], Reply(400, {}, body), NOW)
        assert failed.outcome is Outcome.REJECTED


SEARCH = ("alibaba-opensearch", "function-task")
NOT_FOUND = b'{"error": {"code": "not_found"}}'

# An operation, what came, and what the rule that decided saw in it.
SAW: list[tuple[tuple[str, str], Reply, str]] = [
    (("huawei-dlf", "system-task"), Reply(200, {}, b'{"status": "RUNNING"}'), "status 'RUNNING'"),
    (("huawei-modelarts", "processor-task"), Reply(200, {}, b'{"status": 1}'), "status '1'"),
    (SEARCH, Reply(400, {}, b'{"code": "Throttling.User"}'), "code 'Throttling.User'"),
    (SEARCH, Reply(400, {"x-acs-retry-after": "1500"}, b"{}"), "header x-acs-retry-after '1500'"),
    (SEARCH, Reply(200, {}, b'{"result": {"status": "paused"}}'), "HTTP 200, found 'paused'"),
    (SEARCH, Reply(200, {}, b'{"httpCode": 503}'), "HTTP 200, status 503 in the body"),
    (SEARCH, Reply(200, {}, b'{"result": {"status": [1, "a"]}}'), 'HTTP 200, found [1,"a"]'),
    (SEARCH, Reply(200, {}, b'{"result": {"status": ' + DEEP + b"}}"), "HTTP 200, found a value too deep to be shown"),
    (SEARCH, Reply(403, {}, b'{"code": "%s"}' % (b"Forbidden" * 30)), f"code '{('Forbidden' * 30)[:199]}…'"),
    (("http", "job"), Reply(404, {}, NOT_FOUND), "HTTP 404, found true"),
    (("http", "job"), Reply(302, {}, None), "HTTP 302"),
]


class TestRule:
    """The rule that decided, in words."""

    @pytest.mark.parametrize(("key", "reply", "saw"), SAW)
    def test_tells_what_it_saw(self, key: tuple[str, str], reply: Reply, saw: str) -> None:
        """The value that each of its conditions looked at; of one that has no condition, the HTTP status."""
        assert classify(OPERATIONS[key], reply, NOW).saw == saw

    @pytest.mark.parametrize(
        ("key", "status", "body", "rule"),
        [
            (("huawei-dlf", "system-task"), 200, {"status": "RUNNING"}, "status RUNNING is running"),
            (
                ("alibaba-opensearch", "function-task"),
                200,
                {"result": {"status": "success"}},
                "status success is succeeded",
            ),
            (
                ("alibaba-opensearch", "function-task"),
                200,
                {"result": {"status": "paused"}},
                "function-task rule 1 (http 2xx, when result.status)",
            ),
            (
                ("huawei-dlf", "system-task"),
                400,
                {"error_code": "DLF.0810"},
                "system-task rule 1 (http 400, code DLF.0810 DLF.20810)",
            ),
            (("huawei-dlf", "system-task"), 429, {}, "huawei-cloud rule 2 (http 429)"),
            (("huawei-modelarts", "processor-task"), 404, {}, "http rule 5 (http 4xx)"),
            (("huawei-modelarts", "processor-task"), 302, {}, "http rule 6"),
            (("http", "job"), 404, {"error": {"code": "not_found"}}, "missing: error.code == 'not_found'"),
        ],
    )
    def test_is_named(self, key: tuple[str, str], status: int, body: object, rule: str) -> None:
        """It is named as its author would look for it: whose it is, which one, and its conditions."""
        assert classify(OPERATIONS[key], Reply(status, {}, orjson.dumps(body)), NOW).rule == rule


class TestTrail:
    """What was tried on the way to a verdict."""

    def test_ends_with_the_rule_that_decided(self) -> None:
        """For every row of the table the last rule is the verdict's, it matched, and it saw what the verdict tells."""
        for row in TABLE:
            reply, seen = Reply(row.status, CIMultiDict(row.headers), row.body), read(row)
            *_, last = retrace(OPERATIONS[row.kind, row.operation], reply, NOW)
            assert (last.rule, last.matched, last.saw) == (seen.rule, True, seen.saw), row

    def test_has_every_rule_in_its_order(self) -> None:
        """The operation's own rules, the map of statuses, those of the kind: each with what kept it from matching."""
        reply = Reply(403, {}, b'{"code": "Forbidden.RAM", "message": "no"}')
        trail = retrace(OPERATIONS[SEARCH], reply, NOW)
        assert trail[:4] == (
            Trial("function-task rule 1 (http 2xx, when result.status)", False, "HTTP 403"),
            Trial(
                "function-task states (http 2xx, status pending running success failed)", False, "HTTP 403, no status"
            ),
            Trial("alibaba-opensearch rule 1 (code Throttling* *.Throttling)", False, "code 'Forbidden.RAM'"),
            Trial("alibaba-opensearch rule 2 (header x-acs-retry-after)", False, "no header x-acs-retry-after"),
        )
        assert [trial.matched for trial in trail] == [False] * 12 + [True]

    def test_goes_on_after_a_rule_that_leaves_it_to_the_status(self) -> None:
        """A rule that only says "this is an answer" matched, and the map of statuses decided."""
        trail = retrace(OPERATIONS[SEARCH], Reply(200, {}, b'{"result": {"status": "running"}}'), NOW)
        assert [(trial.rule.split(" (")[0], trial.matched) for trial in trail] == [
            ("function-task rule 1", True),
            ("status running is running", True),
        ]

    def test_tells_what_was_not_found(self) -> None:
        """An expression that finds nothing is told apart from one that finds false."""
        job = OPERATIONS["http", "job"]
        assert retrace(job, Reply(404, {}, b"{}"), NOW)[0].saw == "HTTP 404, found false"
        instance = OPERATIONS["alibaba-opensearch", "function-instance"]
        assert retrace(instance, Reply(200, {}, b"{}"), NOW)[0].saw == "HTTP 200, found nothing"


# --- whatever comes back -------------------------------------------------------------------------------------------

OPERATION_LIST = list(OPERATIONS.values())
operations = st.sampled_from(OPERATION_LIST)
statuses = st.sampled_from([200, 200, 200, 201, 204, 302, 400, 401, 403, 404, 429, 500, 503]) | st.integers(100, 999)
keys = st.sampled_from(
    [
        "status",
        "Status",
        "STATUS",
        "result",
        "Result",
        "task",
        "Task",
        "dagStatus",
        "phase",
        "code",
        "Code",
        "error",
        "errors",
        "error_code",
        "errorMsg",
        "error_msg",
        "message",
        "httpCode",
        "progress",
        "percent",
        "startTime",
        "start_time",
        "create_time",
        "created",
        "endTime",
        "end_time",
        "finished",
        "extendInfo",
        "subtasks",
        "subTasks",
        "name",
        "runId",
        "versionId",
        "instanceName",
        "duration_seconds",
        "requestId",
    ]
)
telling = st.sampled_from(
    [
        "success",
        "failed",
        "running",
        "pending",
        "untrained",
        "SUCCESSFUL",
        "FAILED",
        "RUNNING",
        "WARNING",
        "Completed",
        "Terminated",
        "in_progress",
        "queued",
        "cancelled",
        "Task.NotExist",
        "Instance.NotExist",
        "Throttling.User",
        "DLF.0810",
        "ModelArts.4700",
        "APIGW.0308",
        "not_found",
        "2022-03-13T23:16:46Z",
        '{"errors":[1]}',
        '{\\"errors\\":[1]}',
        "55%",
        "1e5",
        "nan",
        "-1",
        "0",
    ]
)
numbers = st.integers(-(2**63), 2**64 - 1) | st.integers(-1, 5) | st.sampled_from([200, 404, 503, 1647213406267])
plain = st.none() | st.booleans() | numbers | st.floats() | telling | st.text(max_size=8) | st.just("x" * 3_000)
json_values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5), max_leaves=10
)
answers = st.dictionaries(keys, json_values, max_size=6)
header_names = st.sampled_from(["Retry-After", "x-acs-retry-after", "Date", "X-Request-Id", "x-acs-request-id"])
header_values = st.sampled_from([DATE, "60", "1500", "-1", "nan", "1e999", "soon"]) | st.text(max_size=30)
headers = st.dictionaries(header_names, header_values).map(CIMultiDict)
bodies = (answers | json_values).map(orjson.dumps) | st.binary(max_size=200) | st.none()

TEXTS = ("raw_status", "message", "run_id", "request_id", "code")


def why(operation: Operation, seen: Observation) -> bool:
    """Whether a status of the table or a rule of the spec says the state."""
    rules = (*operation.rules, *operation.fallbacks)
    by_rule = any(rule.state is seen.state and rule.text == seen.rule for rule in rules)
    return by_rule or operation.states.get(seen.raw_status or "") is seen.state


def assert_sound(operation: Operation, seen: Observation, status: int) -> None:
    """What holds for every observation."""
    assert (seen.outcome is Outcome.ANSWERED) == (seen.state is not None)
    assert seen.state is None or (seen.state in REPORTED and status // 100 == 2 and why(operation, seen))
    for name in TEXTS:
        text = getattr(seen, name)
        assert text is None or 0 < len(text) <= (LONGEST_TEXT if name == "message" else LONGEST_TEXT // 5)
    for moment in (seen.started_at, seen.ended_at):
        assert moment is None or 0 < moment <= LATEST
    assert seen.progress is None or 0 <= seen.progress <= 100
    for seconds in (seen.duration, seen.retry_after):
        assert seconds is None or (seconds >= 0 and math.isfinite(seconds))
    assert_subtasks_sound(seen)


def assert_subtasks_sound(seen: Observation) -> None:
    """What holds for every report of subtasks."""
    if seen.subtasks is not None:
        assert 0 <= seen.subtasks.done <= seen.subtasks.total
        assert len(seen.subtasks.failed) <= min(seen.subtasks.total, MOST_FAILED_SUBTASKS)
        assert all(0 < len(name) <= LONGEST_TEXT // 5 for name in seen.subtasks.failed)


class TestAnything:
    @given(operations, statuses, headers, bodies)
    def test_is_read_soundly(
        self, operation: Operation, status: int, headers: CIMultiDict[str], body: bytes | None
    ) -> None:
        """Whatever comes back: no error, no state that nothing says, nothing out of bounds."""
        assert_sound(operation, classify(operation, Reply(status, headers, body), NOW), status)

    @given(operations, answers)
    def test_is_read_soundly_when_nearly_right(self, operation: Operation, answer: dict[str, Any]) -> None:
        """The same for answers whose keys and values are those of the documents, in any disorder."""
        assert_sound(operation, classify(operation, Reply(200, {}, orjson.dumps(answer)), NOW), 200)

    @given(operations, st.integers(300, 999), headers, answers)
    def test_ends_no_task_with_an_error(
        self, operation: Operation, status: int, headers: CIMultiDict[str], answer: dict[str, Any]
    ) -> None:
        """Without an HTTP 2xx nothing tells a state, whatever stands in the body."""
        seen = classify(operation, Reply(status, headers, orjson.dumps(answer)), NOW)
        assert seen.state is None
        assert seen.outcome is not Outcome.MISSING or status < 500

    @given(operations, st.integers(500, 599), headers, bodies)
    def test_is_never_missing_while_servers_fail(
        self, operation: Operation, status: int, headers: CIMultiDict[str], body: bytes | None
    ) -> None:
        """A 5xx says nothing of the task: the provider is down, throttles, or takes itself for another."""
        seen = classify(operation, Reply(status, headers, body), NOW)
        assert seen.outcome in (Outcome.UNREACHABLE, Outcome.THROTTLED)


class TestTime:
    @pytest.mark.parametrize(
        ("value", "unit", "seconds"),
        [
            (999_999_999, "ms", 999_999.999),
            (999_999_999, "s", 999_999_999.0),
            (1_000_000_000, "ms", 1e9),
            (99_999_999_999, "ms", 99_999_999_999.0),
            (99_999_999_999, "s", 99_999_999_999.0),
            (100_000_000_000, "s", 1e8),
            (100_000_000_000, "ms", 1e8),
            (253_402_300_799_000, "s", LATEST),
            (253_402_300_800_000, "s", None),
            ("1e9", "s", 1e9),
            (" 1647213406 ", "s", 1_647_213_406.0),
            ("2026-11-21", "s", 1_795_219_200.0),
            (" 2026-11-21T12:00:00.123456789Z ", "s", 1_795_262_400.123456),
            ("1969-12-31T23:59:59Z", "s", None),
            ("9999-12-31T23:59:59Z", "s", LATEST),
            ("9999-12-31T23:59:59-01:00", "s", None),
            ("12:00:00", "s", None),
            (b"1647213406", "s", None),
            (10**400, "s", None),
        ],
    )
    def test_is_epoch_seconds(self, value: object, unit: str, seconds: float | None) -> None:
        """The number of digits tells seconds from milliseconds, the documented unit only where they are too few."""
        assert parse_time(value, unit) == seconds

    def test_without_an_offset_is_utc(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A time that names no zone is UTC, wherever poller runs."""
        monkeypatch.setenv("TZ", "Asia/Shanghai")
        time.tzset()
        try:
            assert parse_time("2026-11-21T12:00:00") == 1_795_262_400.0
            assert parse_retry_after("Tue, 14 Nov 2023 22:14:20 -0000", NOW) == 60.0
        finally:
            monkeypatch.undo()
            time.tzset()

    @given(
        json_values | st.datetimes().map(str) | st.text("0123456789-:TZ+. ", max_size=30), st.sampled_from(["s", "ms"])
    )
    def test_is_a_time_or_nothing(self, value: object, unit: str) -> None:
        """Whatever is taken for a time can be written as a date of the years 1970 to 9999."""
        seconds = parse_time(value, unit)
        assert seconds is None or 1970 <= datetime.fromtimestamp(seconds, UTC).year <= 9999


class TestRetryAfter:
    @given(st.text(max_size=40) | st.text("0123456789 :,+-.eE_MonTuNovGTinf", max_size=40))
    @example("Tue, 14 Nov 2023 22:14:20 +9999")
    @example("Tue, 14 Nov 0000 22:14:20 GMT")
    @example("1_0")
    def test_is_a_wait_or_nothing(self, text: str) -> None:
        """Whatever is taken for a wait is a number of seconds, never negative, never endless."""
        seconds = parse_retry_after(text, NOW)
        assert seconds is None or 0 <= seconds < math.inf

    def test_may_be_absent(self) -> None:
        """No header, no wish."""
        assert parse_retry_after(None, NOW) is None


class TestCut:
    @given(st.text(max_size=30), st.integers(1, 30))
    def test_is_no_longer_than_asked(self, text: str, longest: int) -> None:
        """What is short enough stays; of the rest the beginning does, with an ellipsis for what is left out."""
        shown = cut(text, longest)
        assert len(shown) <= longest
        assert shown == text if len(text) <= longest else (shown[-1] == "…" and text.startswith(shown[:-1]))

    def test_of_nothing_is_nothing(self) -> None:
        """Nothing stays nothing."""
        assert cut(None, 5) is None


def said(body: str | None, status: int = 200, operation: Operation = FUNCTION_TASK) -> int | None:
    return saying(operation, Reply(status, CIMultiDict(), None if body is None else body.encode()))


class TestSaying:
    """The number that stands for what an answer says."""

    RUNNING = '{"requestId": "%s", "result": {"status": "running", "progress": %d}}'

    def test_leaves_the_request_id_out(self) -> None:
        """Answers that differ in nothing but that have one number; where it stands otherwise does not matter."""
        assert said(self.RUNNING % ("A-1", 5)) == said(self.RUNNING % ("B-22", 5)) is not None
        assert said('{"request_id": "A"}') == said('{"request_id": "BC"}')

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (RUNNING % ("A", 5), RUNNING % ("A", 6)),
            # An id that stands elsewhere too must not take that with it.
            (
                '{"requestId": "success", "result": {"status": "success"}}',
                '{"requestId": "", "result": {"status": ""}}',
            ),
            ('{"requestId": "2", "status": "2"}', '{"requestId": "3", "status": "3"}'),
            ('{"requestId": 7, "status": 1}', '{"requestId": 8, "status": 1}'),
            ("", "{}"),
        ],
    )
    def test_differs_with_anything_else(self, one: str, other: str) -> None:
        """Whatever else differs makes another number."""
        assert said(one) != said(other)

    def test_knows_the_http_status(self) -> None:
        """The same words may mean something else under another status."""
        assert said("{}", 200) != said("{}", 404)

    def test_is_none_where_it_cannot_tell(self) -> None:
        """An answer that was not read to its end, and an operation whose rules look at headers."""
        assert said(None) is None
        rule = next(rule for rule in FUNCTION_TASK.fallbacks if rule.header)
        assert said("{}", operation=replace(FUNCTION_TASK, rules=(rule,))) is None

    @given(st.data())
    def test_the_same_number_reads_the_same(self, data: st.DataObject) -> None:
        """Of any two answers with one number, either may stand for the other; only their request ids may differ."""
        operation = OPERATIONS[data.draw(st.sampled_from(sorted(OPERATIONS)))]
        word = st.sampled_from(["", "1", "2", "running", "success", "code", "A"])
        inner = st.dictionaries(st.sampled_from(["status", "progress", "task", "requestId"]), word, max_size=3)
        keys = st.sampled_from(["requestId", "request_id", "status", "code", "result", "message", "error_code"])
        bodies = st.dictionaries(keys, st.one_of(word, inner), max_size=4).map(orjson.dumps)
        first, second = (Reply(200, CIMultiDict(), data.draw(bodies)) for _ in range(2))
        if saying(operation, first) == saying(operation, second):
            one, other = (replace(classify(operation, each, NOW), request_id=None) for each in (first, second))
            assert one == other
