"""What a spec may hold, what it is refused for, and in which order its rules speak."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from poller.domain.observation import Observation, Outcome
from poller.domain.state import REPORTED, State
from poller.providers.catalog import inline_kind
from poller.providers.classify import Reply, classify
from poller.providers.spec import (
    KindModel,
    Operation,
    OperationModel,
    SpecError,
    compile_kind,
    fill,
    status_text,
    template_params,
)

JOB: dict[str, Any] = {"path": "/jobs/{id}", "status": "status", "states": {"succeeded": "ok", "failed": "bad"}}
HTTP_RULES = [{"http": "2xx", "outcome": "answered"}, {"http": "4xx", "outcome": "rejected"}, {"outcome": "unrecognized"}]


def spec(top: Mapping[str, Any] | None = None, **operation: Any) -> dict[str, Any]:
    """A spec of one operation, with more at its top and in the operation."""
    return {"operations": {"job": {**JOB, **operation}}, **(top or {})}


def compiled(top: Mapping[str, Any] | None = None, **operation: Any) -> Operation:
    """That operation, compiled."""
    return inline_kind(spec(top, **operation)).operations["job"]


def answered(operation: Operation, body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Observation:
    """What the operation makes of an answer."""
    return classify(operation, Reply(status, headers or {}, json.dumps(body).encode()), 0.0)


def key_and_text(raw: object) -> tuple[str, str]:
    """Where and why a spec is refused."""
    with pytest.raises((ValidationError, SpecError)) as refusal:
        inline_kind(raw)  # type: ignore[arg-type]
    error = refusal.value
    if isinstance(error, SpecError):
        return ".".join(map(str, error.key)), str(error)
    details = error.errors()
    assert len(details) == 1
    return ".".join(str(step) for step in details[0]["loc"]), details[0]["msg"]


# Which key is to blame, a part of what is said, and the spec.
REFUSED: list[tuple[str, str, object]] = [
    ("operatons", "not permitted", {"operatons": {}}),
    ("kind", "not permitted", spec({"kind": "mine"})),
    ("operations.job.statsu", "not permitted", spec(statsu="x")),
    ("operations.job.outcomes.0.status", "not permitted", spec(outcomes=[{"status": 1, "outcome": "missing"}])),
    ("operations.job.subtasks.message", "not permitted", spec(subtasks={"items": "a", "message": "b"})),
    ("operations.job.subtasks.items", "required", spec(subtasks={"name": "a"})),
    ("error.codes", "not permitted", spec({"error": {"codes": "a"}})),
    ("operations.job.path", "required", {"operations": {"job": {k: v for k, v in JOB.items() if k != "path"}}}),
    ("operations.job.status", "required", {"operations": {"job": {k: v for k, v in JOB.items() if k != "status"}}}),
    ("operations.job.states", "required", {"operations": {"job": {k: v for k, v in JOB.items() if k != "states"}}}),
    # --- expressions
    ("operations.job.status", "'a..b', no JMESPath expression: ", spec(status="a..b")),
    ("operations.job.status", "'', no JMESPath expression: ", spec(status="")),
    ("operations.job.progress", "'a[', no JMESPath expression: ", spec(progress="a[")),
    ("operations.job.message", "'a[', no JMESPath expression: ", spec(message="a[")),
    ("operations.job.started_at", "'a[', no JMESPath expression: ", spec(started_at="a[")),
    ("operations.job.ended_at", "'a[', no JMESPath expression: ", spec(ended_at="a[")),
    ("operations.job.duration", "'a[', no JMESPath expression: ", spec(duration="a[")),
    ("operations.job.run_id", "'a[', no JMESPath expression: ", spec(run_id="a[")),
    ("operations.job.missing", "'a[', no JMESPath expression: ", spec(missing="a[")),
    ("operations.job.missing", "'lenght(a)', no JMESPath function: lenght", spec(missing="lenght(a)")),
    ("operations.job.subtasks.items", "'a[', no JMESPath expression: ", spec(subtasks={"items": "a["})),
    ("operations.job.subtasks.name", "'a[', no JMESPath expression: ", spec(subtasks={"items": "a", "name": "a["})),
    ("operations.job.subtasks.status", "'a[', no JMESPath expression: ", spec(subtasks={"items": "a", "status": "a["})),
    ("operations.job.outcomes.1.when", "'a[', no JMESPath expression: ", spec(outcomes=[{"when": "a", "outcome": "missing"}, {"when": "a[", "outcome": "missing"}])),
    ("outcomes.0.when", "'a[', no JMESPath expression: ", spec({"outcomes": [{"when": "a[", "outcome": "missing"}]})),
    ("http_status", "'a[', no JMESPath expression: ", spec({"http_status": "a["})),
    ("request_id", "'a[', no JMESPath expression: ", spec({"request_id": "a["})),
    ("error.code", "'a[', no JMESPath expression: ", spec({"error": {"code": "a["}})),
    ("error.message", "'a[', no JMESPath expression: ", spec({"error": {"message": "a["}})),
    # --- states
    ("operations.job", "no status that means succeeded", spec(states={"failed": "bad"})),
    ("operations.job", "no status that means failed", spec(states={"succeeded": "ok"})),
    ("operations.job", "no status that means succeeded", spec(states={"succeeded": [], "failed": "bad"})),
    ("operations.job.states", "'1' is both failed and succeeded", spec(states={"failed": 1, "succeeded": "1"})),
    ("operations.job.states", "'2' is both failed and succeeded", spec(states={"failed": 2, "succeeded": [1, 2.0]})),
    ("operations.job.states", "'true' is both failed and succeeded", spec(states={"failed": True, "succeeded": "true"})),
    ("operations.job.states", "missing, one of failed, pending, running, stopped, succeeded is allowed", spec(states={"missing": "x"})),
    ("operations.job.states", "unknown, one of failed, pending", spec(states={"unknown": "x"})),
    ("operations.job.states.done.[key]", "", spec(states={"done": "x"})),
    ("operations.job.states", "nothing, a text, a number", spec(states={"succeeded": None, "failed": "bad"})),
    ("operations.job.states", "a list, a text, a number", spec(states={"succeeded": [["ok"]], "failed": "bad"})),
    ("operations.job.states", "'  ', a text, a number", spec(states={"succeeded": "  ", "failed": "bad"})),
    # --- rules
    ("operations.job.outcomes.0.http", "'40', an HTTP status like 404 or 4xx", spec(outcomes=[{"http": 40, "outcome": "missing"}])),
    ("operations.job.outcomes.0.http", "'600', an HTTP status", spec(outcomes=[{"http": 600, "outcome": "missing"}])),
    ("operations.job.outcomes.0.http", "'4XX', an HTTP status", spec(outcomes=[{"http": "4XX", "outcome": "missing"}])),
    ("operations.job.outcomes.0.http", "'4*', an HTTP status", spec(outcomes=[{"http": [404, "4*"], "outcome": "missing"}])),
    ("operations.job.outcomes.0.http", "'٤04', an HTTP status", spec(outcomes=[{"http": "4٠4".replace("4٠4", "٤04"), "outcome": "missing"}])),
    ("operations.job.outcomes.0.http", "at least 1", spec(outcomes=[{"http": [], "outcome": "missing"}])),
    ("operations.job.outcomes.0.code", "at least 1", spec(outcomes=[{"code": [], "outcome": "missing"}])),
    ("operations.job.outcomes.0.code.0", "at least 1", spec(outcomes=[{"code": "", "outcome": "missing"}])),
    ("operations.job.outcomes.0.http.0", "valid string", spec(outcomes=[{"http": None, "outcome": "missing"}])),
    ("operations.job.outcomes.0.http.0", "valid string", spec(outcomes=[{"http": True, "outcome": "missing"}])),
    ("operations.job.outcomes.0", "no verdict, an outcome or a state is needed", spec(outcomes=[{"http": 404}])),
    ("operations.job.outcomes.0.outcome", "", spec(outcomes=[{"http": 404, "outcome": "gone"}])),
    ("operations.job.outcomes.0.state", "", spec(outcomes=[{"http": 404, "state": "gone"}])),
    ("operations.job.outcomes.0", "state missing beside outcome None", spec(outcomes=[{"http": 404, "state": "missing"}])),
    ("operations.job.outcomes.0", "state failed beside outcome rejected", spec(outcomes=[{"state": "failed", "outcome": "rejected"}])),
    # --- templates, headers and the like
    ("operations.job.path", "'jobs/{id}', an encoded path beginning with /", spec(path="jobs/{id}")),
    ("operations.job.path", "'', an encoded path", spec(path="")),
    ("operations.job.path", "a query has a key of its own", spec(path="/jobs?id={id}")),
    ("operations.job.path", "an encoded path", spec(path="/jobs/{id}#top")),
    ("operations.job.path", "an encoded path", spec(path="/my jobs/{id}")),
    ("operations.job.path", "an encoded path", spec(path="/jöbs/{id}")),
    ("operations.job.path", "braces that hold a parameter's name each", spec(path="/jobs/{id")),
    ("operations.job.path", "braces that hold a parameter's name each", spec(path="/jobs/id}")),
    ("operations.job.path", "braces that hold a parameter's name each", spec(path="/jobs/{{id}}")),
    ("operations.job.path", "letters, digits and underscores", spec(path="/jobs/{}")),
    ("operations.job.path", "letters, digits and underscores", spec(path="/jobs/{job-id}")),
    ("operations.job.query", "letters, digits and underscores", spec(query={"id": "{job-id}"})),
    ("operations.job.query", "braces that hold a parameter's name each", spec(query={"filter": '{"a": {}}'})),
    ("operations.job.headers", "braces that hold a parameter's name each", spec(headers={"X-Id": "{id"})),
    ("headers", "letters, digits and underscores", spec({"headers": {"X-Id": "{a b}"}})),
    ("headers", "'X Id' is not a header name", spec({"headers": {"X Id": "a"}})),
    ("headers", "header X-Id: its value holds a line break", spec({"headers": {"X-Id": "a\nb"}})),
    ("operations.job.headers", "header Host: it follows from the origin", spec(headers={"host": "a"})),
    ("operations.job.headers.X-Id", "valid string", spec(headers={"X-Id": None})),
    ("operations.job.query.a", "at least 1", spec(query={"a": ""})),
    ("operations.job.method", "'GET' or 'POST'", spec(method="DELETE")),
    ("operations.job.progress_scale", "greater than 0", spec(progress_scale=0)),
    ("time_unit", "'s' or 'ms'", spec({"time_unit": "us"})),
]  # fmt: skip


class TestRefusal:
    @pytest.mark.parametrize(("key", "text", "raw"), REFUSED)
    def test_names_key_and_reason(self, key: str, text: str, raw: object) -> None:
        """A mistake in a spec is refused when it is loaded, with the path of its key and the reason."""
        found_key, found_text = key_and_text(raw)
        assert found_key == key
        assert text in found_text
        assert "\n" not in found_text

    @pytest.mark.parametrize("raw", [None, [], "spec", {"operations": []}, {"operations": {"job": None}}])
    def test_takes_only_mappings(self, raw: object) -> None:
        """What is no mapping is refused as well."""
        key_and_text(raw)


class TestEnds:
    def test_may_be_told_by_rules(self) -> None:
        """An operation whose end only a rule tells is complete."""
        operation = compiled(states={"succeeded": "ok"}, outcomes=[{"when": "error", "http": "2xx", "state": "failed"}])
        assert answered(operation, {"error": "x"}).state is State.FAILED


# A job that is told to be running, and what else stands in the answer; which rule decides.
OWN = {"code": "c", "outcome": "missing"}
KINDS = {"code": "c", "outcome": "rejected"}
ORDER: list[tuple[str, dict[str, Any], dict[str, Any], int, dict[str, Any], str]] = [
    ("missing, then the operation's rules", {"missing": "gone", "outcomes": [{"outcome": "rejected"}]}, {}, 200, {"gone": True}, "missing"),
    ("the operation's rules in their order", {"outcomes": [OWN, KINDS]}, {}, 200, {"code": "c", "status": "ok"}, "missing"),
    ("the operation's rules before the status", {"outcomes": [OWN]}, {}, 200, {"code": "c", "status": "ok"}, "missing"),
    ("the status before the kind's rules", {}, {"outcomes": [KINDS]}, 200, {"code": "c", "status": "ok"}, "succeeded"),
    ("the status, of any 2xx", {}, {"outcomes": [KINDS]}, 299, {"code": "c", "status": "ok"}, "succeeded"),
    ("the kind's rules before a status unknown", {}, {"outcomes": [KINDS]}, 200, {"code": "c", "status": "?"}, "rejected"),
    ("the kind's rules on an error", {}, {"outcomes": [KINDS]}, 404, {"code": "c", "status": "ok"}, "rejected"),
    ("the operation's before the kind's", {"outcomes": [OWN]}, {"outcomes": [KINDS]}, 404, {"code": "c"}, "missing"),
    ("the kind's before HTTP's", {}, {"outcomes": [{"http": 404, "outcome": "missing"}]}, 404, {}, "missing"),
    ("HTTP's in the end", {"outcomes": [OWN]}, {"outcomes": [KINDS]}, 404, {}, "rejected"),
    ("HTTP's in the end, 2xx", {}, {}, 200, {}, "unrecognized"),
    ("HTTP's in the end, 3xx", {}, {}, 302, {"status": "ok"}, "unrecognized"),
    ("never missing on a 5xx", {"missing": "gone"}, {}, 500, {"gone": True}, "unreachable"),
    ("missing on a 4xx", {"missing": "gone"}, {}, 401, {"gone": True}, "missing"),
    ("a state by a rule", {"outcomes": [{"http": "2xx", "when": "done", "state": "stopped"}]}, {}, 200, {"done": 1, "status": "ok"}, "stopped"),
    ("a rule that leaves it to the status", {"outcomes": [{"http": 202, "outcome": "answered"}]}, {}, 202, {"status": "ok"}, "succeeded"),
    ("a rule that leaves it to a status unknown", {"outcomes": [{"http": 202, "outcome": "answered"}]}, {"outcomes": [KINDS]}, 202, {"status": "?", "code": "c"}, "unrecognized"),
    ("a status told on an error by a rule", {"outcomes": [{"http": 410, "outcome": "answered"}]}, {}, 410, {"status": "ok"}, "succeeded"),
    ("all conditions of a rule", {"outcomes": [{"http": 404, "code": "c", "when": "gone", "outcome": "missing"}]}, {}, 404, {"code": "c", "gone": 1}, "missing"),
    ("not all conditions: http", {"outcomes": [{"http": 404, "code": "c", "when": "gone", "outcome": "missing"}]}, {}, 403, {"code": "c", "gone": 1}, "rejected"),
    ("not all conditions: code", {"outcomes": [{"http": 404, "code": "c", "when": "gone", "outcome": "missing"}]}, {}, 404, {"code": "d", "gone": 1}, "rejected"),
    ("not all conditions: when", {"outcomes": [{"http": 404, "code": "c", "when": "gone", "outcome": "missing"}]}, {}, 404, {"code": "c"}, "rejected"),
    ("a code of any kind", {"outcomes": [{"code": "*", "outcome": "missing"}]}, {}, 404, {"code": "x"}, "missing"),
    ("no code is no code of any kind", {"outcomes": [{"code": "*", "outcome": "missing"}]}, {}, 404, {}, "rejected"),
    ("a code by its start", {"outcomes": [{"code": "A.*", "outcome": "missing"}]}, {}, 404, {"code": "A.b"}, "missing"),
    ("a code by its end", {"outcomes": [{"code": "*.b", "outcome": "missing"}]}, {}, 404, {"code": "A.b"}, "missing"),
    ("a point is a point", {"outcomes": [{"code": "A.*", "outcome": "missing"}]}, {}, 404, {"code": "AXb"}, "rejected"),
    ("a code is the whole code", {"outcomes": [{"code": "A", "outcome": "missing"}]}, {}, 404, {"code": "AA"}, "rejected"),
    ("one of several codes", {"outcomes": [{"code": ["A", "B"], "outcome": "missing"}]}, {}, 404, {"code": "B"}, "missing"),
    ("one of several statuses", {"outcomes": [{"http": [404, "41x".replace("x", "0")], "outcome": "missing"}]}, {}, 410, {}, "missing"),
    ("when: an empty list is none", {"outcomes": [{"when": "gone", "outcome": "missing"}]}, {}, 404, {"gone": []}, "rejected"),
    ("when: 0 is some", {"outcomes": [{"when": "gone", "outcome": "missing"}]}, {}, 404, {"gone": 0}, "missing"),
    ("when: false is none", {"outcomes": [{"when": "gone", "outcome": "missing"}]}, {}, 404, {"gone": False}, "rejected"),
]  # fmt: skip


class TestOrder:
    @pytest.mark.parametrize(
        ("operation", "top", "status", "body", "verdict"), [row[1:] for row in ORDER], ids=[row[0] for row in ORDER]
    )
    def test_of_rules(
        self, operation: dict[str, Any], top: dict[str, Any], status: int, body: dict[str, Any], verdict: str
    ) -> None:
        """The operation's rules, the status on a 2xx, the kind's rules, HTTP's: the first one that fits decides."""
        seen = answered(compiled(top, **operation), body, status)
        assert (seen.state or seen.outcome).value == verdict

    def test_of_headers(self) -> None:
        """A rule can ask for a header."""
        operation = compiled(outcomes=[{"header": "X-Slow-Down", "outcome": "throttled"}])
        assert answered(operation, {"status": "ok"}, headers={"X-Slow-Down": ""}).outcome is Outcome.THROTTLED
        assert answered(operation, {"status": "ok"}).state is State.SUCCEEDED

    def test_of_kinds_that_extend_another(self) -> None:
        """A kind's own rules stand before those of the kind it extends, those before their parent's."""
        parents = [
            KindModel(kind="near", outcomes=({"code": "near", "outcome": "rejected"}, {"code": "both", "outcome": "rejected"})),  # type: ignore[arg-type]
            KindModel(kind="far", outcomes=({"code": "*", "outcome": "throttled"}, {"outcome": "unrecognized"})),  # type: ignore[arg-type]
        ]  # fmt: skip
        model = KindModel.model_validate({"kind": "own", **spec({"outcomes": [{"code": "both", "outcome": "missing"}]})})
        operation = compile_kind(model, parents).operations["job"]
        codes = {code: answered(operation, {"code": code}, 404) for code in ("both", "near", "far")}
        assert {code: seen.outcome.value for code, seen in codes.items()} == {
            "both": "missing",
            "near": "rejected",
            "far": "throttled",
        } or operation.error_code == ()


class TestCompiled:
    def test_parameters(self) -> None:
        """Those in the path are required, those only in query and headers optional, each named once."""
        operation = compiled(
            {"headers": {"X-Project": "{project}", "X-Fixed": "1"}},
            path="/{project}/jobs/{id}",
            query={"zone": "{zone}", "id": "{id}", "limit": 5},
            headers={"X-Zone": "{zone}", "X-Space": "{space}-{id}"},
        )
        assert operation.required == ("project", "id")
        assert operation.optional == ("zone", "space")
        assert operation.query["limit"] == "5"

    def test_headers_of_the_operation_win(self) -> None:
        """A header of the operation stands in for the kind's of that name, in whatever case."""
        operation = compiled({"headers": {"X-Version": "1", "X-Other": "o"}}, headers={"x-version": "2"})
        assert operation.headers == {"x-version": "2", "X-Other": "o"}

    def test_times_are_seconds_unless_told(self) -> None:
        """Short numbers are seconds where the spec does not say milliseconds."""
        assert answered(compiled(started_at="at"), {"status": "ok", "at": 1000}).started_at == 1000.0
        assert answered(compiled({"time_unit": "ms"}, started_at="at"), {"status": "ok", "at": 1000}).started_at == 1.0

    @pytest.mark.parametrize(
        ("scale", "told", "progress"),
        [(100, 55, 55.0), (1, 0.55, 55.0), (1, 1, 100.0), (1, 1.5, 100.0), (1000, 5, 0.5), (3, 1, 33.333333)],
    )
    def test_progress_scale(self, scale: float, told: float, progress: float) -> None:
        """``progress_scale`` is what the API calls all of it."""
        seen = answered(compiled(progress="p", progress_scale=scale), {"status": "ok", "p": told})
        assert seen.progress == progress

    def test_hidden_http_status(self) -> None:
        """An API that hides its HTTP status in the body of a 200 is taken at its word; beside an error HTTP is."""
        operation = compiled({"http_status": "http"})
        assert answered(operation, {"status": "ok", "http": 429}).outcome is Outcome.THROTTLED
        assert answered(operation, {"status": "ok", "http": 42}).state is State.SUCCEEDED
        assert answered(operation, {"status": "ok", "http": 200}, 500).outcome is Outcome.UNREACHABLE

    def test_folding_and_opaque_values(self) -> None:
        """``fold_keys`` and ``opaque`` hold for every expression of the spec."""
        operation = compiled({"fold_keys": True, "opaque": ["my_data"]}, status="the_status", message="myData.a_b")
        seen = answered(operation, {"TheStatus": "ok", "MyData": '{"a_b": "x", "aB": "y"}'})
        assert (seen.state, seen.message) == (State.SUCCEEDED, "x")

    def test_own_error_code_stands_first(self) -> None:
        """Where a spec tells its error's place, what HTTP APIs do otherwise comes after that."""
        operation = compiled({"error": {"code": "err.no", "message": "err.why"}})
        own = answered(operation, {"err": {"no": 7, "why": "w"}, "code": "x", "message": "y"}, 400)
        other = answered(operation, {"code": "x", "message": "y"}, 400)
        assert (own.code, own.message) == ("7", "HTTP 400, 7, w")
        assert (other.code, other.message) == ("x", "HTTP 400, x, y")

    def test_pause_in_milliseconds(self) -> None:
        """A header of its own may tell the pause in milliseconds."""
        operation = compiled({"retry_after_ms_header": "X-Wait"})
        assert answered(operation, {}, 429, {"X-Wait": "2500"}).retry_after == 2.5

    def test_request_id(self) -> None:
        """The request's id is in the body, else in a header."""
        operation = compiled({"request_id": "id", "request_id_header": "X-Id"})
        assert answered(operation, {"id": 5}, 200, {"X-Id": "h"}).request_id == "5"
        assert answered(operation, {"id": ""}, 200, {"X-Id": "h"}).request_id == "h"
        assert answered(operation, {}).request_id is None

    def test_default_credentials_and_endpoint_are_inherited(self) -> None:
        """The nearest of a kind and those it extends tells endpoint, signer and default credentials."""
        parent = KindModel(kind="p", endpoint="https://p", signer="s", default_credentials={"a": {"env": "A"}})
        kind = compile_kind(KindModel(kind="c", about="C"), [parent])
        assert (kind.endpoint, kind.signer, kind.default_credentials) == ("https://p", "s", {"a": {"env": "A"}})
        alone = compile_kind(KindModel(kind="c"), [])
        assert (alone.endpoint, alone.signer, alone.default_credentials) == (None, "plain", {})
        assert alone.params == frozenset()


class TestStatusText:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (1, "1"),
            (1.0, "1"),
            (-0.0, "0"),
            (1.5, "1.5"),
            ("1", "1"),
            (" Done ", "Done"),
            (True, "true"),
            (False, "false"),
            (float("inf"), "inf"),
            ("", None),
            (" ", None),
            (None, None),
            ([], None),
            ({}, None),
        ],
    )
    def test_makes_numbers_and_strings_alike(self, value: object, text: str | None) -> None:
        """A status is compared as text; what can be none is none."""
        assert status_text(value) == text

    @given(st.sampled_from(sorted(REPORTED)), st.integers() | st.booleans() | st.text(min_size=1).filter(str.strip))
    def test_is_the_same_in_spec_and_answer(self, state: State, value: object) -> None:
        """Whatever stands in the spec is found again in the answer."""
        states = {"succeeded": ["\0ok"], "failed": ["\0bad"]}
        states[state] = [*states.get(state, []), value]  # type: ignore[list-item]
        model = OperationModel.model_validate({**JOB, "states": states})
        operation = compile_kind(KindModel(kind="c", operations={"job": model}), []).operations["job"]
        text = status_text(value)
        assert text is not None
        assert operation.states[text] is state


class TestTemplate:
    def test_is_filled_with_encoded_parameters(self) -> None:
        """Every parameter is put in, through the encoding asked for; one that is not given is a KeyError."""
        assert fill("/a/{b}/{c}{b}", {"b": "1", "c": "2"}) == "/a/1/21"
        assert fill("/{b}", {"b": "x"}, str.upper) == "/X"
        assert fill("/{b}", {"b": "{c}"}) == "/{c}"
        with pytest.raises(KeyError):
            fill("/{b}", {})

    def test_tells_its_parameters(self) -> None:
        """In their order, as often as they stand there."""
        assert template_params("/a/{b}/{c}{b}") == ("b", "c", "b")
        assert template_params("/a") == ()
