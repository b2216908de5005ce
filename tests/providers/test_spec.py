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
from poller.providers.classify import classify
from poller.providers.request import Reply
from poller.providers.spec import (
    KindModel,
    Operation,
    OperationModel,
    RuleModel,
    compile_kind,
    fill,
    status_text,
    template_params,
)

JOB: dict[str, Any] = {"path": "/jobs/{id}", "status": "status", "states": {"succeeded": "ok", "failed": "bad"}}


def spec(top: Mapping[str, Any] | None = None, **operation: Any) -> dict[str, Any]:
    """A spec of one operation, with more at its top and in the operation."""
    return {"operations": {"job": {**JOB, **operation}}, **(top or {})}


def compiled(top: Mapping[str, Any] | None = None, **operation: Any) -> Operation:
    """That operation, compiled."""
    return inline_kind(spec(top, **operation)).operations["job"]


def answered(op: Operation, body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Observation:
    """What the operation makes of an answer."""
    return classify(op, Reply(status, headers or {}, json.dumps(body).encode()), 0.0)


def rule(outcome: str = "missing", **conditions: object) -> dict[str, Any]:
    """A rule."""
    return {**conditions, "outcome": outcome}


def key_and_text(raw: object) -> tuple[str, str]:
    """Where and why a spec is refused."""
    try:
        inline_kind(raw)  # type: ignore[arg-type]
    except ValidationError as error:
        (detail,) = error.errors()
        return ".".join(map(str, detail["loc"])), detail["msg"]
    pytest.fail("not refused")


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
    ("operations.job.outcomes.1.when", "'a[', no JMESPath expression: ", spec(outcomes=[rule(), rule(when="a[")])),
    ("outcomes.0.when", "'a[', no JMESPath expression: ", spec({"outcomes": [rule(when="a[")]})),
    ("http_status", "'a[', no JMESPath expression: ", spec({"http_status": "a["})),
    ("request_id", "'a[', no JMESPath expression: ", spec({"request_id": "a["})),
    ("error.code", "'a[', no JMESPath expression: ", spec({"error": {"code": "a["}})),
    ("error.message", "'a[', no JMESPath expression: ", spec({"error": {"message": "a["}})),
    # --- states
    ("operations.job.states", "no status that means succeeded", spec(states={"failed": "bad"})),
    ("operations.job.states", "no status that means failed", spec(states={"succeeded": "ok"})),
    ("operations.job.states", "no status that means succeeded", spec(states={"succeeded": [], "failed": "bad"})),
    ("operations.job.states", "'1' is both failed and succeeded", spec(states={"failed": 1, "succeeded": "1"})),
    ("operations.job.states", "'2' is both failed and succeeded", spec(states={"failed": 2, "succeeded": [1, 2.0]})),
    ("operations.job.states", "'true' is both", spec(states={"failed": True, "succeeded": "true"})),
    ("operations.job.states.missing.[key]", "'missing', one of failed, pending", spec(states={"missing": "x"})),
    ("operations.job.states.unknown.[key]", "'unknown', one of failed, pending", spec(states={"unknown": "x"})),
    ("operations.job.states.done.[key]", "", spec(states={"done": "x"})),
    ("operations.job.states", "nothing, a text, a number", spec(states={"succeeded": None, "failed": "bad"})),
    ("operations.job.states", "a list, a text, a number", spec(states={"succeeded": [["ok"]], "failed": "bad"})),
    ("operations.job.states", "'  ', a text, a number", spec(states={"succeeded": "  ", "failed": "bad"})),
    # --- rules
    ("operations.job.outcomes.0.http", "'40', an HTTP status like 404 or 4xx", spec(outcomes=[rule(http=40)])),
    ("operations.job.outcomes.0.http", "'600', an HTTP status", spec(outcomes=[rule(http=600)])),
    ("operations.job.outcomes.0.http", "'4XX', an HTTP status", spec(outcomes=[rule(http="4XX")])),
    ("operations.job.outcomes.0.http", "'4*', an HTTP status", spec(outcomes=[rule(http=[404, "4*"])])),
    ("operations.job.outcomes.0.http", "an HTTP status", spec(outcomes=[rule(http="\u0664\u0660\u0664")])),
    ("operations.job.outcomes.0.http", "at least 1", spec(outcomes=[rule(http=[])])),
    ("operations.job.outcomes.0.code", "at least 1", spec(outcomes=[rule(code=[])])),
    ("operations.job.outcomes.0.code.0", "at least 1", spec(outcomes=[rule(code="")])),
    ("operations.job.outcomes.0.http.0", "valid string", spec(outcomes=[rule(http=None)])),
    ("operations.job.outcomes.0.http.0", "valid string", spec(outcomes=[rule(http=True)])),
    ("operations.job.outcomes.0", "no verdict, an outcome or a state is needed", spec(outcomes=[{"http": 404}])),
    ("operations.job.outcomes.0.outcome", "", spec(outcomes=[{"http": 404, "outcome": "gone"}])),
    ("operations.job.outcomes.0.state", "", spec(outcomes=[{"http": 404, "state": "gone"}])),
    ("operations.job.outcomes.0.state", "'missing', one of failed, pending", spec(outcomes=[{"state": "missing"}])),
    ("operations.job.outcomes.0", "beside outcome rejected", spec(outcomes=[rule("rejected", state="failed")])),
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
    ("operations.job.method", "'DELETE', GET or POST is allowed: asking", spec(method="DELETE")),
    ("operations.job.progress_scale", "greater than 0", spec(progress_scale=0)),
    ("time_unit", "'s' or 'ms'", spec({"time_unit": "us"})),
    ("fold_keys", "valid boolean", {"fold_keys": "maybe"}),
    ("operations.job.progress_scale", "valid number", spec(progress_scale="all")),
    ("operations.job.outcomes.0.state", "a list, one of failed", spec(outcomes=[{"state": []}])),
    ("operations.job.body", "method: POST is required beside it", spec(body={})),
    ("operations.job.body", "text, a mapping or a list is allowed", spec(method="POST", body="{id}")),
    ("operations.job.body", "braces that hold a parameter's name each", spec(method="POST", body=[{"a": "{"}])),
]


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


OWN = rule("missing", code="c")
KINDS = rule("rejected", code="c")
ALL = rule("missing", http=404, code="c", when="gone")
DONE = {"http": "2xx", "when": "done", "state": "stopped"}
LEFT = rule("answered", http=[202, 410])
C_OK = {"code": "c", "status": "ok"}

# What is to be seen, the operation's rules, the kind's, HTTP status and body, and what comes of it.
ORDER: list[tuple[str, list[Any], list[Any], int, dict[str, Any], str]] = [
    ("the operation's rules in their order", [OWN, KINDS], [], 200, C_OK, "missing"),
    ("the operation's rules before the status", [OWN], [], 200, C_OK, "missing"),
    ("the status before the kind's rules", [], [KINDS], 200, C_OK, "succeeded"),
    ("the status, of any 2xx", [], [KINDS], 299, C_OK, "succeeded"),
    ("the kind's rules before an unknown status", [], [KINDS], 200, {"code": "c", "status": "?"}, "rejected"),
    ("the kind's rules on an error", [], [OWN], 404, C_OK, "missing"),
    ("the operation's before the kind's", [OWN], [KINDS], 404, {"code": "c"}, "missing"),
    ("the kind's before HTTP's", [], [rule(http=404)], 404, {}, "missing"),
    ("HTTP's in the end", [OWN], [OWN], 404, {}, "rejected"),
    ("HTTP's in the end, 2xx", [], [], 200, {}, "unrecognized"),
    ("HTTP's in the end, 3xx", [], [], 302, {"status": "ok"}, "unrecognized"),
    ("HTTP's in the end, 5xx", [], [], 599, {"status": "ok"}, "unreachable"),
    ("a state by a rule", [DONE], [], 200, {"done": 1, "status": "ok"}, "stopped"),
    ("a state by a rule of the kind", [], [DONE], 200, {"done": 1}, "stopped"),
    ("a rule that leaves it to the status", [LEFT, rule()], [], 202, {"status": "ok"}, "succeeded"),
    ("a rule that leaves it to an unknown status", [LEFT], [KINDS], 202, {"status": "?", "code": "c"}, "unrecognized"),
    ("a rule that leaves it to the status of an error", [LEFT], [], 410, {"status": "ok"}, "succeeded"),
    ("all conditions of a rule", [ALL], [], 404, {"code": "c", "gone": 1}, "missing"),
    ("all conditions but http", [ALL], [], 403, {"code": "c", "gone": 1}, "rejected"),
    ("all conditions but code", [ALL], [], 404, {"code": "d", "gone": 1}, "rejected"),
    ("all conditions but when", [ALL], [], 404, {"code": "c"}, "rejected"),
    ("no conditions at all", [rule()], [], 500, {}, "missing"),
    ("any code", [rule(code="*")], [], 404, {"code": "x"}, "missing"),
    ("any code, but there is none", [rule(code="*")], [], 404, {}, "rejected"),
    ("a code by its start", [rule(code="A.*")], [], 404, {"code": "A.b"}, "missing"),
    ("a code by its end", [rule(code="*.b")], [], 404, {"code": "A.b"}, "missing"),
    ("a code by both", [rule(code="A*.b")], [], 404, {"code": "Ax\ny.b"}, "missing"),
    ("a point is a point", [rule(code="A.*")], [], 404, {"code": "AXb"}, "rejected"),
    ("a code is the whole code", [rule(code="A")], [], 404, {"code": "AA"}, "rejected"),
    ("one of several codes", [rule(code=["A", 7])], [], 404, {"code": 7}, "missing"),
    ("one of several statuses", [rule(http=[404, 410])], [], 410, {}, "missing"),
    ("an empty list is none", [rule(when="gone")], [], 404, {"gone": []}, "rejected"),
    ("false is none", [rule(when="gone")], [], 404, {"gone": False}, "rejected"),
    ("0 is some", [rule(when="gone")], [], 404, {"gone": 0}, "missing"),
]


class TestOrder:
    @pytest.mark.parametrize(
        ("own", "kinds", "status", "body", "verdict"), [row[1:] for row in ORDER], ids=[row[0] for row in ORDER]
    )
    def test_of_rules(self, own: list[Any], kinds: list[Any], status: int, body: dict[str, Any], verdict: str) -> None:
        """The operation's rules, the status on a 2xx, the kind's rules, HTTP's: the first one that fits decides."""
        seen = answered(compiled({"outcomes": kinds}, outcomes=own), body, status)
        assert (seen.state or seen.outcome).value == verdict

    @pytest.mark.parametrize(
        ("status", "verdict"), [(200, "missing"), (302, "missing"), (404, "missing"), (500, "unreachable")]
    )
    def test_of_missing(self, status: int, verdict: str) -> None:
        """``missing`` stands before all rules, but never holds on a 5xx: gateways going down were seen to say so."""
        operation = compiled(missing="gone", outcomes=[rule("rejected", http=["2xx", "3xx", "4xx"])])
        assert answered(operation, {"gone": True, "status": "ok"}, status).outcome == verdict

    def test_of_headers(self) -> None:
        """A rule can ask for a header."""
        operation = compiled(outcomes=[{"header": "X-Slow-Down", "outcome": "throttled"}])
        assert answered(operation, {"status": "ok"}, headers={"X-Slow-Down": ""}).outcome is Outcome.THROTTLED
        assert answered(operation, {"status": "ok"}).state is State.SUCCEEDED

    def test_of_kinds_that_extend_another(self) -> None:
        """A kind's own rules stand before those of the kind it extends, those before their parent's."""
        far = {
            "kind": "far",
            "error": {"code": "code"},
            "outcomes": [rule("throttled", code="*"), rule("unrecognized")],
        }
        near = {"kind": "near", "outcomes": [rule("rejected", code="near"), rule("rejected", code="both")]}
        own = {"kind": "own", **spec({"outcomes": [rule("missing", code="both")]})}
        model, *parents = map(KindModel.model_validate, (own, near, far))
        operation = compile_kind(model, parents).operations["job"]
        verdicts = [answered(operation, {"code": code}, 404).outcome for code in ("both", "near", "far")]
        assert verdicts == [Outcome.MISSING, Outcome.REJECTED, Outcome.THROTTLED]


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

    @pytest.mark.parametrize(
        ("path", "written", "changing"),
        [
            ("/{project}/jobs/{id}", None, ("id",)),
            ("/{project}/jobs/{id}/", None, ("id",)),
            ("/jobs/{id}-{part}:status", None, ("id", "part")),
            ("/{project}/jobs/{id}/status", None, ("id",)),
            ("/jobs", None, ()),
            ("/{project}/jobs/{id}/status", ["id"], ("id",)),
            ("/{project}/jobs/{id}", [], ()),
            ("/{project}/jobs/{id}", ["id", "zone"], ("id", "zone")),
        ],
    )
    def test_parameters_that_change_from_run_to_run(
        self, path: str, written: list[str] | None, changing: tuple[str, ...]
    ) -> None:
        """Those that the spec names, of whatever sort; else those in the last segment of the path that has any."""
        assert compiled(path=path, query={"zone": "{zone}"}, run_params=written).run_params == changing

    def test_parameters_of_a_body(self) -> None:
        """Those in a body are optional, however deep they stand; a body is JSON unless a header says otherwise."""
        body = {"job": {"id": "{id}", "zones": ["{zone}", {"x": "{deep}"}], "n": 1.50}}
        operation = compiled(method="POST", body=body)
        assert operation.optional == ("zone", "deep")
        assert operation.headers == {"Content-Type": "application/json"}
        typed = compiled({"headers": {"content-type": "application/x+json"}}, method="POST", body=body)
        assert typed.headers == {"content-type": "application/x+json"}

    def test_operations_are_inherited(self) -> None:
        """A kind can be asked for what the kind it extends can be asked for; one of the same name is its own."""
        parent = KindModel.model_validate({"kind": "p", **spec(), "outcomes": [rule(code="p")]})
        child = {"kind": "c", "operations": {"other": {**JOB, "path": "/other"}}, "outcomes": [rule(code="c")]}
        kind = compile_kind(KindModel.model_validate(child), [parent])
        assert [operation.path for operation in kind.operations.values()] == ["/jobs/{id}", "/other"]
        assert [r.text for r in kind.operations["job"].fallbacks] == ["c rule 1 (code c)", "p rule 1 (code p)"]
        own = KindModel.model_validate({"kind": "c", "operations": {"job": {**JOB, "path": "/own"}}})
        assert compile_kind(own, [parent]).operations["job"].path == "/own"

    def test_of_the_same_is_the_same(self) -> None:
        """Kinds made of the same description are equal; of another one, or of another parent, they are not."""
        parent, other = (KindModel(kind="p", about=text) for text in ("a", "b"))
        child = KindModel.model_validate({"kind": "c", **spec()})
        again = KindModel.model_validate({"kind": "c", **spec()})
        assert compile_kind(child, [parent]) == compile_kind(again, [parent])
        assert compile_kind(child, [parent]) != compile_kind(child, [other])
        assert compile_kind(child, [parent]) != compile_kind(KindModel.model_validate({"kind": "c"}), [parent])

    def test_headers_of_the_operation_win(self) -> None:
        """A header of the operation stands in for the kind's of that name, in whatever case."""
        operation = compiled({"headers": {"X-Version": "1", "X-Other": "o"}}, headers={"x-version": "2"})
        assert operation.headers == {"x-version": "2", "X-Other": "o"}

    def test_headers_of_the_nearer_kind_win(self) -> None:
        """A header of a kind stands in for that of the kind it extends."""
        far = KindModel(
            kind="far", headers={"X-Version": "1", "X-Other": "o"}, outcomes=(RuleModel(outcome=Outcome.REJECTED),)
        )
        model = KindModel.model_validate({"kind": "near", **spec({"headers": {"x-version": "2"}})})
        operation = compile_kind(model, [far]).operations["job"]
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

    def test_signer_and_endpoint_are_inherited(self) -> None:
        """The nearest of a kind and those it extends tells endpoint and signer."""
        parent = KindModel(kind="p", endpoint="https://p", signer="sdk-hmac-sha256")
        kind = compile_kind(KindModel(kind="c", about="C"), [parent])
        assert (kind.endpoint, kind.signer) == ("https://p", "sdk-hmac-sha256")
        alone = compile_kind(KindModel(kind="c"), [])
        assert (alone.endpoint, alone.signer) == (None, "plain")
        assert alone.params == frozenset()


class TestRuleNames:
    @pytest.mark.parametrize("name", ["job", "spec", "http", "state"])
    def test_are_each_rule_s_own(self, name: str) -> None:
        """No two rules that judge an answer go by one name, whatever an operation of one's own is called."""
        rules = [rule(http=404), rule(http=404)]
        raw = {"outcomes": rules, "operations": {name: {**JOB, "outcomes": rules, "missing": "gone"}}}
        op = inline_kind(raw).operations[name]
        texts = [each.text for each in (*op.rules, *op.fallbacks)]
        assert len(set(texts)) == len(texts)

    def test_tell_whose_they_are(self) -> None:
        """Those of an inline spec are told apart from those of the kind that it extends."""
        op = compiled({"outcomes": [rule(http=404)]}, outcomes=[rule(http=404)])
        assert op.rules[0].text == "job rule 1 (http 404)"
        assert [each.text for each in op.fallbacks][:2] == ["spec rule 1 (http 404)", "http rule 1 (http 2xx)"]


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
