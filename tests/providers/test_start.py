"""Requests that start a job: what goes out, what the answers mean, and which specs are refused."""

import json
from copy import deepcopy
from typing import Any

import pytest
from multidict import CIMultiDict
from pydantic import ValidationError
from yarl import URL

from poller.domain.observation import Observation, Outcome, Run
from poller.domain.starting import Job
from poller.domain.state import State
from poller.domain.task import Entry
from poller.providers.catalog import builtin_kinds, inline_kind
from poller.providers.classify import classify, classify_runs
from poller.providers.client import HttpProvider
from poller.providers.credentials.forms import AccessKey, Bearer, Credentials
from poller.providers.credentials.source import NoCredentialsError
from poller.providers.request import Reply, Request
from poller.providers.signing import SIGNERS
from poller.providers.spec import Kind, SpecError, Start
from poller.providers.transport import NotBroughtError

NOW = 1_700_000_000.0
KIND = builtin_kinds()["alibaba-opensearch"]
INSTANCE = {"appGroupIdentity": "my app", "functionName": "ctr", "instanceName": "a/b"}
LATEST = Entry("ctr-model", "search", "function-instance", INSTANCE)
ONE = Entry("ctr-model-3", "search", "function-task", {**INSTANCE, "generation": "3"})
TASKS = "http://h/v4/openapi/app-groups/my%20app/functions/ctr/instances/a%2Fb/tasks"

CREATED = {"status": "OK", "requestId": "r1", "httpCode": 200, "code": "", "message": "", "latency": 123, "result": {}}
CREATED_PASCAL = {"Status": "OK", "HttpCode": 200, "RequestId": "r1", "Message": "success", "Code": "Task.IsRunning"}
REFUSED = {"requestId": "r1", "httpCode": 400, "code": "Task.IsRunning", "message": "task is running."}

# What comes of CreateFunctionTask: a body, its HTTP status and headers; the outcome, and the state that stands for it.
ANSWERS: dict[str, tuple[Any, int, dict[str, str], Outcome, State | None]] = {
    "the first sample": (CREATED, 200, {}, Outcome.ANSWERED, State.PENDING),
    "a result beside a code": ({**CREATED, "code": "Task.IsRunning"}, 200, {}, Outcome.ANSWERED, State.PENDING),
    "the second sample": (CREATED_PASCAL, 200, {}, Outcome.ANSWERED, State.RUNNING),
    "under way": (REFUSED, 400, {}, Outcome.ANSWERED, State.RUNNING),
    "under way, told as a 200": (REFUSED, 200, {}, Outcome.ANSWERED, State.RUNNING),
    "no result, no code": ({"status": "OK", "httpCode": 200}, 200, {}, Outcome.UNRECOGNIZED, None),
    "a result that is none": ({"result": "ok"}, 200, {}, Outcome.UNRECOGNIZED, None),
    "a page of HTML": (b"<html>", 200, {}, Outcome.UNRECOGNIZED, None),
    "nothing": (b"", 200, {}, Outcome.UNRECOGNIZED, None),
    "too long": (None, 200, {}, Outcome.UNRECOGNIZED, None),
    "a redirect": (b"", 302, {}, Outcome.UNRECOGNIZED, None),
    "a gateway's page": (b"<html>", 502, {}, Outcome.UNREACHABLE, None),
    "busy": ({"code": "System.Busy"}, 400, {}, Outcome.UNREACHABLE, None),
    "a nonce used": ({"code": "SignatureNonceUsed"}, 400, {}, Outcome.UNREACHABLE, None),
    "throttled": ({"code": "Throttling.User"}, 400, {}, Outcome.THROTTLED, None),
    "throttled by a header": (b"", 503, {"x-acs-retry-after": "500"}, Outcome.THROTTLED, None),
    "no such instance": ({"code": "Instance.NotExist"}, 404, {}, Outcome.MISSING, None),
    "a wrong key": ({"code": "SignatureDoesNotMatch"}, 400, {}, Outcome.UNAUTHORIZED, None),
    "an expired token": ({"code": "InvalidSecurityToken.Expired"}, 400, {}, Outcome.UNAUTHORIZED, None),
    "no permission": ({"code": "Forbidden.RAM"}, 403, {}, Outcome.REJECTED, None),
    "a wrong path": (b"<html>", 404, {}, Outcome.REJECTED, None),
}

ITEM = {"status": "success", "generation": 3, "runId": "trigger__2026", "startTime": 0}

# What comes of ListFunctionTasks.
LISTS: dict[str, tuple[Any, int, Outcome, tuple[Run, ...]]] = {
    "newest first": (
        {"result": [{**ITEM, "generation": "4", "status": "running"}, ITEM]},
        200,
        Outcome.ANSWERED,
        (Run("4", State.RUNNING), Run("3", State.SUCCEEDED)),
    ),
    "none yet": ({"result": []}, 200, Outcome.ANSWERED, ()),
    "a code beside it": (
        {"code": "Task.NotExist", "result": [ITEM]},
        200,
        Outcome.ANSWERED,
        (Run("3", State.SUCCEEDED),),
    ),
    "other spellings": (
        {"Result": [{"Generation": 3, "Status": "failed"}]},
        200,
        Outcome.ANSWERED,
        (Run("3", State.FAILED),),
    ),
    "a status nobody knows": ({"result": [{**ITEM, "status": "frozen"}]}, 200, Outcome.ANSWERED, (Run("3"),)),
    "items that are none": ({"result": [7, None, {}, ITEM]}, 200, Outcome.ANSWERED, (Run("3", State.SUCCEEDED),)),
    "no list": ({"result": {}}, 200, Outcome.UNRECOGNIZED, ()),
    "nothing at all": ({}, 200, Outcome.UNRECOGNIZED, ()),
    "an error as a 200": ({"httpCode": 500, "result": [ITEM]}, 200, Outcome.UNREACHABLE, ()),
    "a page of HTML": (b"<html>", 200, Outcome.UNRECOGNIZED, ()),
    "no such instance": ({"code": "Instance.NotExist"}, 404, Outcome.MISSING, ()),
    "no permission": ({"code": "Forbidden.RAM"}, 403, Outcome.REJECTED, ()),
}


def start_of(kind: Kind = KIND, operation: str = "function-instance") -> Start:
    """How an operation's job is started."""
    start = kind.operations[operation].start
    assert start is not None
    return start


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """A reply; what is neither bytes nor nothing is JSON."""
    raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, CIMultiDict(headers or {}), raw)


@pytest.mark.parametrize("name", ANSWERS)
def test_what_an_answer_to_a_start_means(name: str) -> None:
    """Both documented samples, and whatever else may come."""
    body, status, headers, outcome, state = ANSWERS[name]
    seen = classify(start_of().request, reply(body, status, headers), NOW)
    assert (seen.outcome, seen.state) == (outcome, state)
    assert (seen.raw_status, seen.progress, seen.run_id) == (None, None, None)
    assert seen.rule


@pytest.mark.parametrize("name", LISTS)
def test_what_a_list_says(name: str) -> None:
    """Each item with an id is a run; only a list of the expected shape says which there are."""
    body, status, outcome, runs = LISTS[name]
    seen = classify_runs(start_of(), reply(body, status), NOW)
    assert (seen.outcome, seen.runs) == (outcome, runs)


class Source:
    """Credentials that can be renewed."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self.version = 1

    def current(self) -> Credentials:
        if self.credentials is None:
            raise NoCredentialsError("none are set")
        return self.credentials

    async def renew(self, refused: int | None = None) -> None:
        self.version += refused == self.version

    async def close(self) -> None: ...


class Wire:
    """Remembers what was sent, and answers the same every time."""

    def __init__(self, answer: Reply | str) -> None:
        self.answer = answer
        self.sent: list[Request] = []

    async def exchange(self, request: Request) -> Reply:
        self.sent.append(request)
        if isinstance(self.answer, str):
            raise NotBroughtError(self.answer)
        return self.answer

    async def close(self) -> None: ...


class Clock:
    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return 0.0


KEY = AccessKey("key-id", "key-secret")


def connect(wire: Wire, credentials: Credentials = KEY, kind: Kind = KIND) -> HttpProvider:
    """A connection that is none."""
    return HttpProvider(
        operations=kind.operations,
        endpoint=URL("http://h"),
        signer=SIGNERS[kind.signer],
        credentials=Source(credentials),
        transport=wire,
        clock=Clock(),
    )


@pytest.mark.parametrize("entry", [LATEST, ONE], ids=lambda entry: entry.name)
async def test_a_start_is_one_signed_post_without_a_body(entry: Entry) -> None:
    """To the instance, whichever of its operations the task is watched by."""
    wire = Wire(reply(CREATED))
    seen = await connect(wire).start_run(entry)
    assert (seen.outcome, seen.state, seen.request_id) == (Outcome.ANSWERED, State.PENDING, "r1")
    (sent,) = wire.sent
    assert (sent.method, sent.url, sent.body) == ("POST", TASKS, b"")
    assert sent.headers["x-acs-action"] == "CreateFunctionTask"
    assert sent.headers["x-acs-version"] == "2017-12-25"
    assert sent.headers["Authorization"].startswith("ACS3-HMAC-SHA256 Credential=key-id")


async def test_runs_are_listed_by_one_signed_get() -> None:
    """As many as a page holds."""
    wire = Wire(reply({"result": [ITEM]}))
    seen = await connect(wire).list_runs(LATEST)
    assert seen.runs == (Run("3", State.SUCCEEDED),)
    (sent,) = wire.sent
    assert (sent.method, sent.url) == ("GET", f"{TASKS}?pageNumber=1&pageSize=20")
    assert sent.headers["x-acs-action"] == "ListFunctionTasks"


@pytest.mark.parametrize("code", ["SignatureNonceUsed", "InvalidSecurityToken.Expired"])
async def test_what_is_worth_asking_again_is_asked_again_but_not_started_again(code: str) -> None:
    """A start goes out once, whatever its answer; a list is asked for like a poll."""
    wire = Wire(reply({"code": code}, 400))
    await connect(wire).start_run(LATEST)
    assert len(wire.sent) == 1
    await connect(wire).list_runs(LATEST)
    assert len(wire.sent) == 3


@pytest.mark.parametrize("answer", ["no answer within 10 s", reply(b"<html>", 502)])
async def test_no_answer_is_no_ground_either(answer: Reply | str) -> None:
    """Nothing here knows whether it arrived."""
    wire = Wire(answer)
    assert (await connect(wire).start_run(LATEST)).outcome is Outcome.UNREACHABLE
    assert len(wire.sent) == 1


async def test_without_credentials_nothing_is_sent() -> None:
    """And that is said."""
    wire = Wire(reply(CREATED))
    seen = await connect(wire, None).start_run(LATEST)
    assert (seen.outcome, seen.rule, wire.sent) == (Outcome.UNAUTHORIZED, "nothing was sent", [])


async def test_no_secret_comes_back_in_a_runs_id() -> None:
    """Providers echo what they like."""
    wire = Wire(reply({"result": [{**ITEM, "generation": "of key-secret"}]}))
    assert (await connect(wire).list_runs(LATEST)).runs == (Run("of ***", State.SUCCEEDED),)


def test_the_tasks_of_an_instance_have_one_job() -> None:
    """And those of another instance another one."""
    provider = connect(Wire(""))
    other = Entry("x", "search", "function-instance", {**INSTANCE, "instanceName": "other"})
    assert provider.job(LATEST) == provider.job(ONE) == Job(TASKS, "function-task", "generation")
    assert provider.job(other) != provider.job(ONE)


async def test_what_has_nothing_to_start_is_told_and_not_asked() -> None:
    """Only alibaba-opensearch knows how."""
    wire, kind = Wire(""), builtin_kinds()["huawei-dlf"]
    provider = connect(wire, kind=kind)
    entry = Entry("i", "studio", "system-task", {"project_id": "p", "task_id": "t"})
    assert provider.job(entry) is None
    for ask in (provider.start_run, provider.list_runs):
        with pytest.raises(ValueError, match="no start section"):
            await ask(entry)
    assert wire.sent == []


def test_only_opensearch_starts_anything() -> None:
    """A start section is a promise that a job runs once at a time."""
    starting = {(k.name, o.name) for k in builtin_kinds().values() for o in k.operations.values() if o.start}
    assert starting == {("alibaba-opensearch", "function-instance"), ("alibaba-opensearch", "function-task")}


# --- specs of one's own ----------------------------------------------------------------------------------------

SPEC: dict[str, Any] = {
    "headers": {"X-Zone": "{zone}", "X-Version": "1"},
    "operations": {
        "run": {
            "path": "/jobs/{job}/runs/{run}",
            "status": "status",
            "states": {"running": ["busy"], "succeeded": ["ok"], "failed": ["bad"]},
        },
        "latest": {
            "path": "/jobs/{job}",
            "status": "status",
            "states": {"running": ["busy"], "succeeded": ["ok"], "failed": ["bad"]},
            "start": {
                "path": "/jobs/{job}/runs",
                "query": {"by": "{user}"},
                "headers": {"x-version": "2"},
                "accepted": {"http": [201, 202]},
                "under_way": {"http": 409},
                "runs": {"path": "/jobs/{job}/runs", "items": "runs", "id": "number", "status": "status"},
                "follow": {"operation": "run", "param": "run"},
            },
        },
    },
}


def test_a_spec_of_ones_own_may_start_jobs_too() -> None:
    """Headers of the kind hold, those of the section win; a line whose parameter is not given is left out."""
    start = start_of(inline_kind(SPEC), "latest")
    assert start.request.headers == {"X-Zone": "{zone}", "x-version": "2"}
    assert start.listing.headers == {"X-Zone": "{zone}", "X-Version": "1"}
    assert (start.request.method, start.listing.method) == ("POST", "GET")
    told = [classify(start.request, reply({}, status), NOW) for status in (202, 409, 200, 500)]
    assert [(seen.outcome, seen.state) for seen in told] == [
        (Outcome.ANSWERED, State.PENDING),
        (Outcome.ANSWERED, State.RUNNING),
        (Outcome.UNRECOGNIZED, None),
        (Outcome.UNREACHABLE, None),
    ]
    seen = classify_runs(start, reply({"runs": [{"number": 2, "status": "busy"}]}), NOW)
    assert seen.runs == (Run("2", State.RUNNING),)


async def test_lines_without_their_parameter_are_left_out() -> None:
    """As in polls."""
    wire = Wire(reply({}, 202))
    await connect(wire, Bearer("token"), inline_kind(SPEC)).start_run(Entry("j", "p", "latest", {"job": "7"}))
    assert (wire.sent[0].url, "X-Zone" in wire.sent[0].headers) == ("http://h/jobs/7/runs", False)


MISTAKES: dict[str, tuple[tuple[str, ...], Any, str, str]] = {
    "an operation that is none": (
        ("follow", "operation"),
        "runn",
        "follow.operation",
        "'runn', one of latest, run is allowed",
    ),
    "a parameter that is none": (("follow", "param"), "x", "follow.param", "'x', one of job, run is allowed"),
    "a path with another parameter": (("path",), "/jobs/{x}", "path", "'x', job is allowed"),
    "a list with another parameter": (("runs", "path"), "/jobs/{run}", "runs.path", "'run', job is allowed"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_with_their_key(name: str) -> None:
    """What was found, and what is allowed."""
    path, value, key, text = MISTAKES[name]
    with pytest.raises(SpecError) as caught:
        inline_kind(changed(path, value))
    assert ".".join(map(str, caught.value.key)) == f"operations.latest.start.{key}"
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("path",), "jobs"),
        (("accepted", "htp"), 200),
        (("under_way", "http"), 700),
        (("body",), "x"),
        (("runs", "items"), "runs["),
        (("runs", "id"), "a b"),
        (("accepted", "when"), "x("),
    ],
)
def test_what_no_start_section_holds_is_refused(path: tuple[str, ...], value: Any) -> None:
    """Unknown keys, half paths, no HTTP statuses, no expressions."""
    with pytest.raises(ValidationError):
        inline_kind(changed(path, value))


def changed(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """The spec with another value in its start section."""
    spec = deepcopy(SPEC)
    place = spec["operations"]["latest"]["start"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return spec


def test_an_observation_of_a_poll_has_no_runs() -> None:
    """Only lists bring any."""
    assert Observation(Outcome.ANSWERED, State.RUNNING).runs == ()
