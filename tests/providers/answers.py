"""What providers answer and what is to be read in it: one table for every operation.

Files are below ``tests/data/answers/<kind>/<operation>/``; the documents' samples among them are made valid JSON where
the documents have it wrong.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import yaml

from poller.domain.observation import Subtasks
from poller.providers.catalog import builtin_kinds, inline_kind
from poller.providers.spec import Operation

FILES = Path(__file__).parents[1] / "data" / "answers"
NOW = 1_700_000_000.0
"""When the answers come: Tue, 14 Nov 2023 22:13:20 GMT."""

Body: TypeAlias = "Path | bytes | dict[str, Any] | list[Any] | None"

INLINE = """
operations:
  job:
    path: /v1/jobs/{job_id}
    status: status                                    # JMESPath into the JSON answer
    states:                                           # provider's value -> state; anything else is "unrecognized"
      pending: [queued]
      running: [in_progress, 1]
      succeeded: [success, SUCCESSFUL, 2]
      failed: [failed, 3]
      stopped: [cancelled, 4]
    progress: percent                                 # 0-100; a ratio: progress_scale: 1
    message: error.message
    started_at: created                               # RFC 3339, or epoch seconds or milliseconds
    ended_at: finished
    duration: null                                    # seconds, where the API tells that instead of an end
    missing: "error.code == 'not_found'"
"""
"""The kind of one's own that users are shown as an example."""

KINDS = {**builtin_kinds(), "http": inline_kind(yaml.safe_load(INLINE))}
OPERATIONS: Mapping[tuple[str, str], Operation] = {
    (kind.name, name): operation for kind in KINDS.values() for name, operation in kind.operations.items()
}


ASKED_AGAIN = ("InvalidSecurityToken.Expired", "SignatureNonceUsed", "APIGW.0307")
"""The codes on whose account a poll is repeated at once."""


@dataclass(frozen=True)
class Row:
    """One answer. ``verdict`` is a state, or an outcome without one; ``seen`` is all that is to be read beside it.

    ``rule`` and ``http_status`` are not told here, and ``message`` of what is no answer only where that matters.
    """

    kind: str
    operation: str
    what: str
    status: int
    body: bytes | None
    verdict: str
    seen: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind}, {self.operation}: {self.what}"


class Rows:
    """Collects the rows of one operation."""

    def __init__(self, kind: str, operation: str) -> None:
        self.kind = kind
        self.operation = operation
        self.rows: list[Row] = []

    def file(self, name: str) -> Path:
        """A recorded answer of this operation."""
        return FILES / self.kind / self.operation / name

    def __call__(
        self, what: str, http: int, body: Body, verdict: str, raw: str | None = None, headers: Any = (), **seen: Any
    ) -> None:
        """Adds a row: what is special about it, HTTP status, body, the verdict, and the status of the task as told."""
        seen["raw_status"] = raw
        self.rows.append(Row(self.kind, self.operation, what, http, encoded(body), verdict, seen, dict(headers)))


def encoded(body: Body) -> bytes | None:
    """The bytes of a file, bytes as they are, anything else as JSON; None for an answer that was too long."""
    if isinstance(body, Path):
        return body.read_bytes()
    return body if body is None or isinstance(body, bytes) else orjson.dumps(body)


HTML = b"<!DOCTYPE html><html><body><h1>It works!</h1></body></html>"
DEEP = b"[" * 900 + b"]" * 900
DATE = "Tue, 14 Nov 2023 22:14:20 GMT"
UNREADABLE: tuple[tuple[str, Body], ...] = (
    ("a page", HTML),
    ("nothing", b""),
    ("null", b"null"),
    ("a JSON text", b'"success"'),
    ("a JSON number", b"2"),
    ("a JSON list", b'[{"status": "success"}]'),
    ("an empty object", b"{}"),
    ("JSON cut short", b'{"status": "success", "result": {"status": "succ'),
    ("bytes that are no UTF-8", b'{"status": "success", "result": {"status": "success"}, "name": "\xc4\xe3"}'),
    ("half a surrogate pair", rb'{"status": "success", "name": "\ud83d"}'),
    ("a number past all bounds", b'{"status": "success", "number": 1e999}'),
    ("lists 900 deep", DEEP),
    ("lists too deep", b"[" * 5_000 + b"]" * 5_000),
    ("a message too deep", b'{"message": ' + DEEP + b', "error_msg": ' + DEEP + b"}"),
    ("a status too deep", b'{"status": ' + DEEP + b', "result": {"status": ' + DEEP + b"}}"),
    ("more than is read", None),
)


# --- Alibaba Cloud OpenSearch, GetFunctionTask ---------------------------------------------------------------------

row = FUNCTION_TASK = Rows("alibaba-opensearch", "function-task")


def told(**result: Any) -> dict[str, Any]:
    """A success whose result is told by its fields."""
    return {"status": "OK", "requestId": "", "httpCode": 200, "code": "", "message": "", "latency": 1, "result": result}


def refused(code: str, message: str = "", **more: Any) -> dict[str, Any]:
    """An error in the lower-case spelling."""
    return {"code": code, "message": message, **more}


RUN = "trigger__2021-03-05T12:18:41"
LATER_RUN = "trigger__2022-03-13T22:57:00"
ID = "68ED4E1B-92B8-5821-A886-9C90686139EB"
value: Any
row(
    "the sample",
    200,
    row.file("sample.json"),
    "succeeded",
    "success",
    progress=100,
    started_at=100.01,
    ended_at=200.02,
    run_id=RUN,
)
row(
    "the sample with a code beside its success",
    200,
    row.file("sample-beside-code.json"),
    "succeeded",
    "success",
    progress=90,
    started_at=1647212220.0,
    ended_at=1647213406.267,
    run_id=RUN,
    code="Task.NotExist",
    request_id="A4D487A9-A456-5AA5-A9C6-B7BF2889CF74",
)
row(
    "no end yet",
    200,
    row.file("running.json"),
    "running",
    "running",
    progress=30,
    started_at=1647212220.0,
    run_id=LATER_RUN,
    request_id="5A1B6F0E-5F0B-5B0E-9B1F-0D7C1A2B3C4D",
)
for name in ("failed.json", "failed-escaped-twice.json"):
    row(
        f"errors in {name}",
        200,
        row.file(name),
        "failed",
        "failed",
        progress=70,
        started_at=1647212220.0,
        ended_at=1647213406.267,
        run_id=LATER_RUN,
        message="The training data is empty.",
    )
row("pending", 200, told(status="pending"), "pending", "pending")
row(
    "errors as an object",
    200,
    told(status="failed", extendInfo='{"error":{"reason":"x"}}'),
    "failed",
    "failed",
    message='{"reason":"x"}',
)
row("errors not in a string", 200, told(status="failed", extendInfo={"errors": "x"}), "failed", "failed", message="x")
row(
    "keys in the caller's own data",
    200,
    told(status="failed", extendInfo='{"ERRORS":1,"e_rrors":2}'),
    "failed",
    "failed",
)
row("extendInfo broken", 200, told(status="success", extendInfo='{"errors":["x"'), "succeeded", "success")
row("extendInfo empty", 200, told(status="success", extendInfo=""), "succeeded", "success")
row("extendInfo a number", 200, told(status="success", extendInfo=7), "succeeded", "success")
row("extendInfo null", 200, told(status="success", extendInfo=None), "succeeded", "success")
SHOUTING = {"RESULT": {"STATUS": "success", "run_id": "a", "Start_Time": 5000}}
row("any spelling of keys", 200, SHOUTING, "succeeded", "success", run_id="a", started_at=5.0)
row("blanks around the status", 200, told(status=" success\n"), "succeeded", "success")
row("fields nobody knows", 200, told(status="running", color="red") | {"more": [1]}, "running", "running")
row("a run id that is a number", 200, told(status="running", runId=7), "running", "running", run_id="7")
row("a very long run id", 200, told(status="running", runId="x" * 300), "running", "running", run_id="x" * 199 + "…")
row(
    "a request id in a header",
    200,
    told(status="running"),
    "running",
    "running",
    request_id="h-1",
    headers={"x-acs-request-id": "h-1"},
)
row("the outer status says FAIL", 200, told(status="success") | {"status": "FAIL"}, "succeeded", "success")
row("no httpCode", 200, {"result": {"status": "success"}}, "succeeded", "success")
row("httpCode in a string", 200, told(status="success") | {"httpCode": "200"}, "succeeded", "success")
row("httpCode 0", 200, told(status="success") | {"httpCode": 0}, "succeeded", "success")
row("httpCode that is no number", 200, told(status="success") | {"httpCode": "OK"}, "succeeded", "success")
row("HTTP 201", 201, told(status="success"), "succeeded", "success")
row("a pause beside an answer", 200, told(status="running"), "running", "running", headers={"x-acs-retry-after": "9"})
row(
    "throttling beside an answer",
    200,
    told(status="running") | {"code": "Throttling"},
    "running",
    "running",
    code="Throttling",
)
row("a code that means nothing", 200, told(status="running") | {"code": "Fine"}, "running", "running")

for value, progress in (
    (0, 0),
    (55, 55),
    (55.5, 55.5),
    ("55", 55),
    ("55 %", 55),
    (150, 100),
    (-1, 0),
    (1e300, 100),
    (None, None),
    ("", None),
    ("much", None),
    (True, None),
    ([5], None),
):
    row(f"progress {value!r}", 200, told(status="running", progress=value), "running", "running", progress=progress)
for value, moment in (
    (1647213406267, 1647213406.267),
    ("1647213406267", 1647213406.267),
    (1647213406267.0, 1647213406.267),
    (1647213406, 1647213406.0),
    ("1647213406", 1647213406.0),
    (200020, 200.02),
    (0, None),
    ("0", None),
    (0.0, None),
    (-1, None),
    (None, None),
    ("", None),
    ("soon", None),
    (True, None),
    ({}, None),
    (10**18, None),
    ("2022-03-13T23:16:46Z", 1647213406.0),
    ("2022-03-14T07:16:46.5+08:00", 1647213406.5),
    ("2022-03-13T17:16:46-06:00", 1647213406.0),
    ("2022-03-13T23:16:46", 1647213406.0),
    ("2022-13-13T23:16:46Z", None),
    ("0001-01-01T00:00:00+08:00", None),
):
    row(f"endTime {value!r}", 200, told(status="success", endTime=value), "succeeded", "success", ended_at=moment)

row(
    "a status nobody listed",
    200,
    told(status="paused"),
    "unrecognized",
    "paused",
    message="HTTP 200, status 'paused' stands for no state of alibaba-opensearch function-task",
)
row("another case of a status", 200, told(status="SUCCESS"), "unrecognized", "SUCCESS")
row(
    "an unknown status beside a code",
    200,
    told(status="paused") | {"code": "Task.NotExist"},
    "unrecognized",
    "paused",
    code="Task.NotExist",
)
row("a status that is an object", 200, told(status={"phase": "success"}), "unrecognized")
row("a very long status", 200, told(status="success" * 99), "unrecognized", ("success" * 99)[:199] + "…")
row("only the outer status", 200, {"status": "success"}, "unrecognized", message="HTTP 200, an answer without a status")
row("no result", 200, told() | {"result": None}, "unrecognized")
row("a result that is a text", 200, told() | {"result": "success"}, "unrecognized")
row("a result that is a list", 200, told() | {"result": [{"status": "success"}]}, "unrecognized")

row(
    "no such task",
    404,
    row.file("not-exist.json"),
    "missing",
    code="Task.NotExist",
    request_id=ID,
    message="HTTP 404, Task.NotExist, task not exist.",
)
row(
    "no such task, as HTTP 200",
    200,
    row.file("not-exist.json"),
    "missing",
    code="Task.NotExist",
    request_id=ID,
    message="HTTP 200, status 404 in the body, Task.NotExist, task not exist.",
)
row("no such task, without a result", 200, refused("Task.NotExist"), "missing", code="Task.NotExist")
row("no such task, with an empty result", 200, told() | {"code": "Task.NotExist"}, "missing", code="Task.NotExist")
row(
    "no such instance",
    404,
    {"Code": "Instance.NotExist", "RequestId": "r-2"},
    "missing",
    code="Instance.NotExist",
    request_id="r-2",
)
row("no such task, as HTTP 400", 400, refused("Task.NotExist"), "missing", code="Task.NotExist")
row("no such task, from a gateway going down", 503, refused("Task.NotExist"), "unreachable", code="Task.NotExist")
row(
    "no such task, with 503 in the body",
    200,
    refused("Task.NotExist", httpCode=503),
    "unreachable",
    code="Task.NotExist",
)
row(
    "a success with 503 in the body",
    200,
    told(status="success") | {"httpCode": 503},
    "unreachable",
    "success",
    message="HTTP 200, status 503 in the body",
)
row(
    "a success with a redirect in the body",
    200,
    told(status="success") | {"httpCode": 302},
    "unrecognized",
    "success",
    message="HTTP 200, status 302 in the body, neither an answer nor an error",
)
row("200 in the body of a 404", 404, told(status="success"), "rejected", "success")
row("a bare 404", 404, b"", "rejected", message="HTTP 404")
row("a 404 page", 404, HTML, "rejected")
row("404, another code", 404, refused("Something.NotFound"), "rejected", code="Something.NotFound")
row(
    "404, no such key",
    404,
    row.file("gateway-error.json"),
    "unauthorized",
    code="InvalidAccessKeyId.NotFound",
    request_id="0F5B2C1D-7A6E-5C3B-8D9E-1A2B3C4D5E6F",
    message="HTTP 404, InvalidAccessKeyId.NotFound, Specified access key is not found.",
)
for status, verdict, codes in (
    (404, "rejected", ("App.NotFound", "InvalidApi.NotFound")),
    (403, "rejected", ("Forbidden", "Forbidden.RAM", "NoPermission")),
    (400, "rejected", ("InvalidParameter", "Task.IsRunning")),
    (400, "unauthorized", ("SignatureDoesNotMatch", "IncompleteSignature", "MissingSecurityToken")),
    (400, "unauthorized", ("InvalidSecurityToken.Expired", "InvalidSecurityToken.MismatchWithAccessKey")),
    (403, "unauthorized", ("InvalidAccessKeyId.Inactive", "InvalidTimeStamp.Expired")),
    (401, "unauthorized", ("Whatever",)),
    (400, "throttled", ("Throttling", "Throttling.User", "Throttling.Api", "Request.Throttling")),
    (503, "throttled", ("Throttling.Api",)),
    (200, "throttled", ("Throttling.User",)),
    (429, "throttled", ("Whatever",)),
    (503, "unreachable", ("ServiceUnavailable", "Whatever")),
    (400, "unreachable", ("ServiceUnavailable", "ServiceUnavailableTemporary", "InternalError", "InternalFailure")),
    (400, "unreachable", ("System.Busy", "SignatureNonceUsed")),
    (500, "unreachable", ("InternalError", "Forbidden.RAM")),
):
    for code in codes:
        again: dict[str, Any] = {"again": True} if code in ASKED_AGAIN else {}
        row(f"{status} {code}", status, refused(code), verdict, code=code, **again)
row("a code in another case", 400, refused("throttling.user"), "rejected", code="throttling.user")
for date, remark in (
    (DATE, "; the clock here is 60 s behind the server's"),
    ("Tue, 14 Nov 2023 21:13:20 GMT", "; the clock here is 3600 s ahead of the server's"),
    ("Tue, 14 Nov 2023 22:13:00 GMT", ""),
    ("today", ""),
):
    code = "InvalidTimeStamp.Expired"
    message = f"HTTP 400, {code}{remark}"
    row(f"Date {date}", 400, refused(code), "unauthorized", code=code, message=message, headers={"Date": date})
for asked, pause in (
    ({"x-acs-retry-after": "1500"}, 1.5),
    ({"X-Acs-Retry-After": "0"}, 0),
    ({"x-acs-retry-after": "-5"}, 0),
    ({"x-acs-retry-after": "soon"}, None),
    ({"x-acs-retry-after": "soon", "Retry-After": "30"}, 30),
    ({"x-acs-retry-after": "1500", "Retry-After": "30"}, 1.5),
):
    row(f"{asked}", 400, refused("Busy"), "throttled", code="Busy", retry_after=pause, headers=asked)
for text, pause in (
    ("120", 120),
    ("1.5", 1.5),
    (DATE, 60),
    ("Tuesday, 14-Nov-23 22:14:20 GMT", 60),
    ("Tue Nov 14 22:14:20 2023", 60),
    ("Tue, 14 Nov 2023 22:00:00 GMT", 0),
    ("-1", 0),
    ("", None),
    ("soon", None),
    ("nan", None),
    ("inf", None),
    ("Tue, 99 Nov 2023 22:14:20 GMT", None),
    ("Tue, 14 Nov 99999 22:14:20 GMT", None),
    ("Tue, 14 Nov 99999999999999999999 22:14:20 GMT", None),
):
    row(f"Retry-After {text!r}", 429, b"", "throttled", retry_after=pause, headers={"retry-after": text})
row("Retry-After of an outage", 503, b"", "unreachable", retry_after=30, headers={"Retry-After": "30"})
for name, body in UNREADABLE:
    row(f"200 with {name}", 200, body, "unrecognized")
    row(f"502 with {name}", 502, body, "unreachable")
row("a proxy's page", 502, row.file("bad-gateway.html"), "unreachable", message="HTTP 502")
row("a page where an answer should be", 200, HTML, "unrecognized", message="HTTP 200, an answer that is not JSON")
row("an answer too long", 200, None, "unrecognized", message="HTTP 200, an answer too long to be read")
row(
    "a redirect",
    302,
    HTML,
    "unrecognized",
    message="HTTP 302, neither an answer nor an error",
    headers={"Location": "https://example.com/"},
)
row("a redirect with an answer in it", 307, told(status="success"), "unrecognized", "success")
row("not modified", 304, b"", "unrecognized")
row("a status unheard of", 999, told(status="success"), "unrecognized", "success")
row("a proxy that wants a password", 407, HTML, "unauthorized")
row("too slow a request", 408, b"", "unreachable")
row("too early", 425, b"", "unreachable")


# --- Alibaba Cloud OpenSearch, GetFunctionInstance -----------------------------------------------------------------

row = FUNCTION_INSTANCE = Rows("alibaba-opensearch", "function-instance")


def instance(task: object, **more: Any) -> dict[str, Any]:
    """An instance whose task is given; None for an instance without one."""
    known = {"instanceName": "ctr_test", "status": "available", "versionId": 100}
    return told(**known, **({} if task is None else {"task": task})) | more


row("the sample", 200, row.file("sample.json"), "running", "running", progress=30, run_id="100")
row(
    "the sample with an error code beside its success",
    200,
    row.file("sample-beside-code.json"),
    "succeeded",
    "success",
    run_id="101",
    code="Instance.NotExist",
    request_id=ID,
)
row("never trained", 200, row.file("no-task.json"), "pending", run_id="100")
row("untrained", 200, row.file("untrained.json"), "pending", "untrained", run_id="100")
row(
    "failed, and why",
    200,
    row.file("failed.json"),
    "failed",
    "failed",
    progress=60,
    run_id="100",
    message='{"message":"The feature table is gone."}',
)
row("waiting", 200, instance({"dagStatus": "pending"}), "pending", "pending", run_id="100")
row("trained", 200, instance({"DagStatus": "success"}), "succeeded", "success", run_id="100")
row("a task that is empty", 200, instance({}), "pending", run_id="100")
row(
    "never trained, beside a code",
    200,
    instance(None, code="Instance.NotExist"),
    "pending",
    run_id="100",
    code="Instance.NotExist",
)
row(
    "an instance that is unavailable",
    200,
    told(instanceName="a", status="unavailable", task={"dagStatus": "running"}),
    "running",
    "running",
)
row("a status nobody listed", 200, instance({"dagStatus": "paused"}), "unrecognized", "paused")
row(
    "an unknown status beside a code",
    200,
    instance({"dagStatus": "paused"}, code="Instance.NotExist"),
    "unrecognized",
    "paused",
    code="Instance.NotExist",
)
row(
    "a task without a status beside a code",
    200,
    instance({"lastRunTime": 5}, code="Instance.NotExist"),
    "unrecognized",
    code="Instance.NotExist",
)
row("a task that is no object", 200, instance("success"), "unrecognized")
row("a result that is no instance", 200, told(status="available"), "unrecognized")
row(
    "no such instance",
    404,
    row.file("not-exist.json"),
    "missing",
    code="Instance.NotExist",
    request_id=ID,
    message="HTTP 404, Instance.NotExist, instance not exist.",
)
row(
    "no such instance, as HTTP 200", 200, row.file("not-exist.json"), "missing", code="Instance.NotExist", request_id=ID
)
row(
    "no such instance, from a gateway going down",
    503,
    row.file("not-exist.json"),
    "unreachable",
    code="Instance.NotExist",
    request_id=ID,
)
row("never trained, with a 500", 500, row.file("no-task.json"), "unreachable")
row("no such app", 404, refused("App.NotFound"), "rejected", code="App.NotFound")
for name, body in UNREADABLE:
    row(f"200 with {name}", 200, body, "unrecognized")


# --- Huawei Cloud DataArts Factory, Querying a System Task ---------------------------------------------------------

row = SYSTEM_TASK = Rows("huawei-dlf", "system-task")
SHAPES: Mapping[str, Callable[[str, str], dict[str, Any]]] = {
    "the services' shape": lambda code, text: {"error_code": code, "error_msg": text},
    "the shape of IAM": lambda code, text: {"error": {"code": code, "message": text, "title": "Bad"}},
    "the older shape": lambda code, text: {"errorCode": code, "errorMsg": text},
    "a list of errors": lambda code, text: {"errors": [{"error_code": code, "error_msg": text}]},
    "a list of errors like IAM's": lambda code, text: {"errors": [{"code": code, "message": text}]},
}


def system_task(status: object, **more: Any) -> dict[str, Any]:
    """A system task by its status and what else is told."""
    return {"id": "1", "name": "Import", "status": status, "lastUpdate": 1543457514000, **more}


def denied(code: str, **more: Any) -> dict[str, Any]:
    """An error in the shape that the services of Huawei Cloud give it."""
    return {"error_code": code, "error_msg": "no", **more}


row(
    "imported",
    200,
    row.file("imported.json"),
    "succeeded",
    "SUCCESSFUL",
    started_at=1543457499.0,
    ended_at=1543457514.0,
    subtasks=Subtasks(2, 2),
)
row(
    "failed to import",
    200,
    row.file("import-failed.json"),
    "failed",
    "FAILED",
    started_at=1543457631.0,
    ended_at=1543457631.0,
    subtasks=Subtasks(0, 0),
    message="Failed to read the OBS file obs://aaaaa/traffic2.zip.",
)
row(
    "failed to start",
    200,
    row.file("start-failed.json"),
    "failed",
    "FAILED",
    started_at=1543457778.0,
    ended_at=1543457794.0,
    subtasks=Subtasks(1, 0, ("Start the job_batch job",)),
)
row(
    "a job imported",
    200,
    row.file("job-imported.json"),
    "succeeded",
    "SUCCESSFUL",
    started_at=1544777081.0,
    ended_at=1544777083.0,
    subtasks=Subtasks(1, 1),
)
row(
    "running, the other spelling of subtasks",
    200,
    row.file("running.json"),
    "running",
    "RUNNING",
    started_at=1543457499.0,
    subtasks=Subtasks(3, 1, ("Import the job_stream job.",)),
)
row(
    "a request id", 200, system_task("RUNNING"), "running", "RUNNING", request_id="r-9", headers={"X-Request-Id": "r-9"}
)
row("an error message beside a success", 200, system_task("SUCCESSFUL", error_msg="x"), "succeeded", "SUCCESSFUL")
row(
    "an error code beside a success",
    200,
    system_task("SUCCESSFUL", error_code="APIGW.0308"),
    "succeeded",
    "SUCCESSFUL",
    code="APIGW.0308",
)
for value, verdict, ended in (
    (1543457514000, "succeeded", 1543457514.0),
    ("1543457514000", "succeeded", 1543457514.0),
    ("2018-11-29T02:11:54Z", "succeeded", 1543457514.0),
    (0, "running", None),
    ("0", "running", None),
    (0.0, "running", None),
    ("0.0", "running", None),
    (None, "running", None),
    ("", "running", None),
    (False, "running", None),
):
    row(f"WARNING, endTime {value!r}", 200, system_task("WARNING", endTime=value), verdict, "WARNING", ended_at=ended)
row("WARNING, no endTime", 200, system_task("WARNING"), "running", "WARNING")
row(
    "WARNING, an end_time",
    200,
    system_task("WARNING", end_time=1543457514000),
    "succeeded",
    "WARNING",
    ended_at=1543457514.0,
)
row("WARNING in an error", 500, system_task("WARNING", endTime=1543457514000), "unreachable", "WARNING")
for name, items, parts in (
    ("null", None, None),
    ("no list", {"status": "FAILED"}, None),
    ("of any kind", [1, None, "FAILED", [], {}], Subtasks(5, 0)),
    ("without a name", [{"status": "FAILED"}, {"name": "", "STATUS": "FAILED"}], Subtasks(2, 0, ("?", "?"))),
    ("with a long name", [{"status": "FAILED", "name": "x" * 300}], Subtasks(1, 0, ("x" * 199 + "…",))),
    ("that failed by the hundred", [{"status": "FAILED", "name": "x"}] * 300, Subtasks(300, 0, ("x",) * 20)),
    ("of unknown status", [{"status": "WARNING", "name": "x"}], Subtasks(1, 0)),
):
    row(f"subtasks {name}", 200, system_task("RUNNING", subtasks=items), "running", "RUNNING", subtasks=parts)
row("a status nobody listed", 200, system_task("SUSPENDED"), "unrecognized", "SUSPENDED")
row("another case of a status", 200, system_task("Successful"), "unrecognized", "Successful")
row("no status", 200, {"id": "1", "startTime": 1543457499000}, "unrecognized")
row(
    "no such task",
    400,
    row.file("not-exist.json"),
    "missing",
    code="DLF.0810",
    message="HTTP 400, DLF.0810, Task does not exist",
)
row("no such task, the newer code", 400, denied("DLF.20810"), "missing", code="DLF.20810")
row("no such task, as 404", 404, denied("DLF.0810"), "rejected", code="DLF.0810")
row("no such task, from a gateway going down", 503, denied("DLF.0810"), "unreachable", code="DLF.0810")
row("no such task, as 200", 200, denied("DLF.0810"), "unrecognized", code="DLF.0810")
row("the wrong workspace", 400, denied("DLF.0819"), "rejected", code="DLF.0819")
row("the wrong workspace, the newer code", 404, denied("DLF.20819"), "rejected", code="DLF.20819")
row("another code", 400, denied("DLF.3051"), "rejected", code="DLF.3051")
for shape, error in SHAPES.items():
    row(
        f"{shape}: missing",
        400,
        error("DLF.0810", "gone"),
        "missing",
        code="DLF.0810",
        message="HTTP 400, DLF.0810, gone",
    )
    row(
        f"{shape}: refused key",
        401,
        error("APIGW.0301", "no"),
        "unauthorized",
        code="APIGW.0301",
        message="HTTP 401, APIGW.0301, no",
    )
    row(
        f"{shape}: throttled",
        429,
        error("APIGW.0308", "limit:60"),
        "throttled",
        code="APIGW.0308",
        message="HTTP 429, APIGW.0308, limit:60",
    )
row(
    "a code that is a number",
    401,
    {"error": {"code": 401, "message": "no"}},
    "unauthorized",
    code="401",
    message="HTTP 401, 401, no",
)
row("errors that are none", 400, {"errors": ["x"], "error_code": [], "error_msg": {}}, "rejected", message="HTTP 400")
row(
    "throttled",
    429,
    row.file("throttled.json"),
    "throttled",
    code="APIGW.0308",
    retry_after=60,
    headers={"Retry-After": "60"},
)
row("no such API", 404, row.file("no-such-api.json"), "rejected", code="APIGW.0101")
for status, verdict, codes in (
    (404, "rejected", ("APIGW.0101", "APIG.0101")),
    (401, "unauthorized", ("APIGW.0301", "APIG.0303", "APIC.0305", "APIGW.0307")),
    (403, "rejected", ("APIGW.0302", "APIG.0304", "APIC.0306", "APIGW.0310")),
    (403, "unauthorized", ("APIGW.0301",)),
    (400, "throttled", ("APIG.0308",)),
    (503, "throttled", ("APIGW.0308",)),
    (504, "unreachable", ("APIGW.0201",)),
    (502, "unreachable", ("APIG.0202",)),
    (400, "unreachable", ("APIGW.0601", "APIG.0615")),
    (500, "unreachable", ("APIGW.0106", "APIGW.0301")),
):
    for code in codes:
        again = {"again": True} if code in ASKED_AGAIN else {}
        row(f"{status} {code}", status, denied(code), verdict, code=code, **again)
row("a bare 401", 401, b"", "unauthorized", message="HTTP 401")
row("a bare 403", 403, HTML, "rejected")
row("a bare 404", 404, HTML, "rejected")
row("a bare 429", 429, b"", "throttled")
row("a bare 503", 503, HTML, "unreachable")
for name, body in UNREADABLE:
    if name != "more than is read":
        row(f"400 with {name}", 400, body, "rejected")
row("a JSON text", 200, b'"SUCCESSFUL"', "unrecognized")
row("a list of tasks", 200, [system_task("SUCCESSFUL")], "unrecognized")


# --- Huawei Cloud ModelArts, Querying Details About a Processing Task ----------------------------------------------

row = PROCESSOR_TASK = Rows("huawei-modelarts", "processor-task")
row("the sample", 200, row.file("sample.json"), "succeeded", "2", started_at=1606373999.627, duration=22)
row(
    "failed",
    200,
    row.file("failed.json"),
    "failed",
    "3",
    started_at=1606373999.627,
    duration=22,
    message="ModelArts.4371: the dataset is empty.",
)
for value, verdict in ((0, "pending"), (1, "running"), (2, "succeeded"), (3, "failed"), (4, "stopped")):
    row(f"status {value}", 200, {"status": value}, verdict, str(value))
    row(f"status {value} in a string", 200, {"status": f" {value} "}, verdict, str(value))
    row(f"status {value} as a fraction", 200, {"status": float(value)}, verdict, str(value))
for value, raw in (
    (5, "5"),
    (-1, "-1"),
    (2.5, "2.5"),
    ("2.0", "2.0"),
    (True, "true"),
    (False, "false"),
    (1e300, str(int(1e300))[:199] + "…"),
    (None, None),
    ([2], None),
):
    row(f"status {value!r}", 200, {"status": value}, "unrecognized", raw)
row(
    "an error message beside a success", 200, {"status": 2, "error_msg": "careful"}, "succeeded", "2", message="careful"
)
row("an empty error message", 200, {"status": 2, "error_msg": " "}, "succeeded", "2")
row("a long error message", 200, {"status": 3, "error_msg": "x" * 2000}, "failed", "3", message="x" * 999 + "…")
row("output like a status", 200, {"status": 1, "result": {"status": 3, "error_code": "ModelArts.4700"}}, "running", "1")
row(
    "the other spelling",
    200,
    {"Status": 1, "createTime": 1606373999627, "DurationSeconds": "5"},
    "running",
    "1",
    started_at=1606373999.627,
    duration=5,
)
for value, seconds in ((0, 0), (1.5, 1.5), ("7", 7), (-1, None), ("long", None), (None, None), (True, None)):
    row(f"duration {value!r}", 200, {"status": 1, "duration_seconds": value}, "running", "1", duration=seconds)
row("no such task", 400, row.file("not-exist.json"), "missing", code="ModelArts.4700")
row("no such task, as 404", 404, row.file("not-exist.json"), "missing", code="ModelArts.4700")
row("no such task, another code", 404, denied("ModelArts.0104"), "missing", code="ModelArts.0104")
row("no such task, from a gateway going down", 503, row.file("not-exist.json"), "unreachable", code="ModelArts.4700")
row("another code with 400", 400, denied("ModelArts.0104"), "rejected", code="ModelArts.0104")
row("no such task, forbidden", 403, denied("ModelArts.4700"), "rejected", code="ModelArts.4700")
row("a bare 404", 404, b"", "rejected")
row("404 from the gateway", 404, denied("APIGW.0101"), "rejected", code="APIGW.0101")
row("404, a code of nobody's", 404, denied("ModelArtsX"), "rejected", code="ModelArtsX")
row("a key refused", 401, denied("APIG.0301"), "unauthorized", code="APIG.0301")
row("throttled", 429, denied("APIG.0308"), "throttled", code="APIG.0308", retry_after=5, headers={"Retry-After": "5"})
for name, body in UNREADABLE:
    if b'"success"' not in (encoded(body) or b""):
        row(f"200 with {name}", 200, body, "unrecognized")


# --- Huawei Cloud ModelArts, Querying the Details About a Training Job ---------------------------------------------

row = TRAINING_JOB = Rows("huawei-modelarts", "training-job")
row("completed", 200, row.file("completed.json"), "succeeded", "Completed", started_at=1636447746.0)
row("pending", 200, row.file("pending.json"), "pending", "Pending")
for phase, verdict in (
    ("Creating", "pending"),
    ("Pending", "pending"),
    ("Running", "running"),
    ("Terminating", "running"),
    ("Completed", "succeeded"),
    ("Failed", "failed"),
    ("Abnormal", "failed"),
    ("Terminated", "stopped"),
):
    row(f"{phase}", 200, {"status": {"phase": phase}}, verdict, phase)
row("a phase nobody listed", 200, {"status": {"phase": "Lost"}}, "unrecognized", "Lost")
row("a status without a phase", 200, {"status": 2}, "unrecognized")
row("no such job", 404, denied("ModelArts.2763"), "missing", code="ModelArts.2763")
row("a bare 404", 404, b"", "rejected")


# --- An HTTP API of one's own --------------------------------------------------------------------------------------

row = JOB = Rows("http", "job")
row("running", 200, row.file("running.json"), "running", "in_progress", progress=40, started_at=1795233600.0)
row(
    "failed",
    200,
    row.file("failed.json"),
    "failed",
    "failed",
    progress=80,
    started_at=1795262400.0,
    ended_at=1795263000.5,
    message="No space left.",
)
for value, verdict in (
    ("queued", "pending"),
    ("in_progress", "running"),
    (1, "running"),
    ("1", "running"),
    ("success", "succeeded"),
    ("SUCCESSFUL", "succeeded"),
    (2, "succeeded"),
    ("failed", "failed"),
    (3, "failed"),
    ("cancelled", "stopped"),
    (4, "stopped"),
):
    row(f"status {value!r}", 200, {"status": value}, verdict, str(value))
for value, verdict in (("Success", "unrecognized"), ("done", "unrecognized"), (5, "unrecognized")):
    row(f"status {value!r}", 200, {"status": value}, verdict, str(value))
row("another spelling of a key", 200, {"Status": "success"}, "unrecognized")
row(
    "seconds",
    200,
    {"status": 2, "created": 1543457499, "finished": 1543457514.5},
    "succeeded",
    "2",
    started_at=1543457499.0,
    ended_at=1543457514.5,
)
row("milliseconds", 200, {"status": 2, "created": "1543457499000"}, "succeeded", "2", started_at=1543457499.0)
row("a short time", 200, {"status": 2, "created": 100010}, "succeeded", "2", started_at=100010.0)
row("a request id", 200, {"status": 1}, "running", "1", request_id="r-9", headers={"X-Request-ID": "r-9"})
row(
    "no such job",
    404,
    row.file("not-found.json"),
    "missing",
    code="not_found",
    message="HTTP 404, not_found, No such job.",
)
row("no such job, as 200", 200, row.file("not-found.json"), "missing", code="not_found")
row("no such job, as 400", 400, row.file("not-found.json"), "missing", code="not_found")
row("no such job, from a gateway going down", 503, row.file("not-found.json"), "unreachable", code="not_found")
row("no such job beside a status", 200, {"status": 2, "error": {"code": "not_found"}}, "missing", "2", code="not_found")
row("a bare 404", 404, b"", "rejected")
row("a 404 that says so in words", 404, {"message": "not_found"}, "rejected", message="HTTP 404, not_found")
row(
    "RFC 6749",
    401,
    {"error": "invalid_token", "error_description": "It expired."},
    "unauthorized",
    message="HTTP 401, It expired.",
)
row("RFC 9457", 403, {"type": "about:blank", "detail": "Not yours."}, "rejected", message="HTTP 403, Not yours.")
row(
    "throttled",
    429,
    {"code": "slow_down"},
    "throttled",
    code="slow_down",
    retry_after=60,
    headers={"Retry-After": DATE},
)
row("down", 503, HTML, "unreachable", retry_after=10, headers={"Retry-After": "10"})
row("a success from a broken server", 500, {"status": "success"}, "unreachable", "success")
row("a success that is refused", 404, {"status": "success"}, "rejected", "success")
row("a redirect", 301, HTML, "unrecognized")
row("nothing", 204, b"", "unrecognized", message="HTTP 204, an answer that is not JSON")

TABLE = [
    row
    for rows in (FUNCTION_TASK, FUNCTION_INSTANCE, SYSTEM_TASK, PROCESSOR_TASK, TRAINING_JOB, JOB)
    for row in rows.rows
]
