"""The OpenAPI document tells everything that is served, and nothing that is not so."""

import re
from collections.abc import Iterable
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from multidict import MultiDict

from poller.domain.observation import Failure, Outcome, Subtasks
from poller.domain.prospect import Basis, Prospect
from poller.domain.state import State
from poller.domain.task import Contact
from poller.protocols import DeadLetter, PollRecord
from poller.web.selection import parse_page, parse_selection, parse_sought
from tests.emit.fakes import NOW, watched
from tests.web.fakes import Client, World, moved

OPENAPI = "/api/v1/openapi.json"
TOKEN = {"Authorization": "Bearer s3cret"}


async def described(client: Client) -> dict[str, Any]:
    """The document."""
    async with client.get(OPENAPI) as response:
        assert response.status == 200
        document: dict[str, Any] = await response.json()
        return document


def check(document: dict[str, Any], method: str, path: str, status: int, content_type: str, body: Any) -> None:
    """An answer is one that the document tells of."""
    responses = document["paths"][path][method.lower()]["responses"]
    assert str(status) in responses, (method, path, status)
    content = responses[str(status)].get("content", {})
    assert content_type in content, (method, path, content_type)
    schema = {"$schema": jsonschema.Draft202012Validator.META_SCHEMA["$id"], **content[content_type]["schema"]}
    jsonschema.validate(body, {**schema, "components": document["components"]}, jsonschema.Draft202012Validator)


@pytest.mark.parametrize("prefix", ["/", "/poller/"])
async def test_every_route_is_described_and_every_description_served(prefix: str) -> None:
    """Below whatever prefix; heads, and the other places of health, are as their GETs. Pages are for people."""
    world = World(prefix=prefix)
    app = world.app()
    below = prefix.rstrip("/")
    served = {
        (route.method, re.sub(r"\{name:?[^}]*\}", "{name}", route.resource.canonical.removeprefix(below)))
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    world = World()
    async with world.client() as client:
        document = await described(client)
    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    pages = {"/connections", "/tasks/{name}", "/live.js", "/live/tasks", "/live/connections", "/live/task"}
    assert served - told <= {("GET", path) for path in ("", *pages)}
    assert told <= served


async def test_the_document_is_whole() -> None:
    """Its schemas are schemas, its references lead somewhere, and its operations have names of their own."""
    async with World(prefix="/p/").client() as client:
        async with client.get(f"/p{OPENAPI}") as response:
            document = await response.json()
    assert document["openapi"].startswith("3.1.")
    assert document["servers"] == [{"url": "/p"}]
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    names = [each["operationId"] for methods in document["paths"].values() for each in methods.values()]
    assert len(set(names)) == len(names)
    references = set(re.findall(r"'#/components/schemas/(\w+)'", str(document)))
    assert references == document["components"]["schemas"].keys() & references
    assert not re.search(r"\$defs", str(document))


class Noting(MultiDict[str]):
    """A query that notes which parameters are looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return default

    def getall(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return default


def query_of(document: dict[str, Any], path: str) -> set[str]:
    parameters = document["paths"][path]["get"]["parameters"]
    return {each["name"] for each in parameters if each["in"] == "query"}


async def test_just_the_parameters_that_are_read_are_described(client: Client) -> None:
    """Of every list, and of the events."""
    document = await described(client)
    tasks, transitions, events, page = Noting(), Noting(), Noting(), Noting()
    parse_selection(tasks)
    parse_sought(transitions)
    parse_page(transitions)
    parse_sought(events, times=False)
    parse_page(page)
    assert query_of(document, "/api/v1/tasks") == tasks.asked
    assert query_of(document, "/api/v1/transitions") == transitions.asked
    assert query_of(document, "/api/v1/sinks/{name}/dead") == page.asked
    assert query_of(document, "/api/v1/events") == events.asked | {"last_event_id"}


def filled() -> World:
    """A world of which there is everything to tell."""
    world = World(token="s3cret")
    failure = Failure(Outcome.UNREACHABLE, NOW - 5, "timed out")
    full = watched(
        "full",
        State.RUNNING,
        labels={"team": "ads"},
        contact=Contact(polls=7, last_polled_at=NOW, consecutive_failures=2, last_failure=failure),
        next_poll_at=NOW + 9,
        raw_status="RUNNING",
        progress=42.5,
        message="half \ud800 a pair, \n and \0",
        started_at=NOW - 60,
        subtasks=Subtasks(3, 1, ("load",)),
        prospect=Prospect(Basis.HISTORY, 150.0, 130.0, 180.0, 149.0),
    )
    world.watching.shown += [full, watched("none", State.UNKNOWN)]
    world.watching.polled.append(("full", PollRecord(NOW, Outcome.ANSWERED, State.RUNNING)))
    world.store.kept += [moved("full", 1), moved("full", 2, State.PENDING)]
    world.desk.letters = {"ops": [DeadLetter(moved("full", 1), 3, NOW, "HTTP 410 Gone")], "none": []}
    return world


ASKED = [
    *((path, 200) for path in ("/api/v1/tasks", "/api/v1/transitions", OPENAPI)),
    *(("/api/v1/tasks/full" + part, 200) for part in ("", "/transitions", "/runs", "/polls")),
    ("/api/v1/tasks/none", 200),
    ("/api/v1/tasks/nobody", 404),
    *((path, 200) for path in ("/api/v1/sinks", "/api/v1/sinks/ops/dead", "/api/v1/sinks/none/dead")),
    ("/api/v1/sinks/nobody/dead", 404),
    ("/api/v1/sinks/ops/dead?limit=0", 400),
    ("/api/v1/tasks?limit=0", 400),
    ("/api/v1/transitions?since=soon", 400),
    ("/api/v1/transitions?cursor=x", 400),
    ("/api/v1/events?state=x", 400),
    *((path, 200) for path in ("/-/healthy", "/-/ready")),
]


@pytest.mark.parametrize(("asked", "status"), ASKED)
async def test_answers_are_as_described(asked: str, status: int) -> None:
    """Good ones and bad ones, full ones and empty ones."""
    async with filled().client() as client:
        document = await described(client)
        path = re.sub(r"/(full|ops|none|nobody)\b", "/{name}", asked.partition("?")[0])
        async with client.get(asked) as response:
            assert response.status == status
            body = await response.json() if response.content_type == "application/json" else await response.text()
            check(document, "GET", path, status, response.content_type, body)


CHANGES: Iterable[tuple[str, str, Any, int]] = [
    ("POST", "/api/v1/tasks", {"name": "new", "provider": "jobs", "operation": "job", "params": {"job_id": "1"}}, 201),
    ("POST", "/api/v1/tasks", {"name": "new"}, 400),
    ("POST", "/api/v1/tasks/full/start", None, 202),
    ("POST", "/api/v1/tasks/full/rearm", None, 404),
    ("DELETE", "/api/v1/tasks/full", None, 404),
    *(("POST", "/api/v1/sinks/ops/redeliver", body, 200) for body in ({"all": True}, {"events": ["full-1"]})),
    ("POST", "/api/v1/sinks/ops/redeliver", {"all": False}, 400),
    ("POST", "/api/v1/sinks/full/redeliver", {"all": True}, 404),
    ("POST", "/-/reload", None, 200),
]


@pytest.mark.parametrize(("method", "asked", "body", "status"), CHANGES)
async def test_changes_are_as_described(method: str, asked: str, body: Any, status: int) -> None:
    """With the token, and without it."""
    async with filled().client() as client:
        document = await described(client)
        path = re.sub(r"/(full|ops)\b", "/{name}", asked)
        for headers, expected in ((TOKEN, status), ({}, 401)):
            async with client.request(method, asked, json=body, headers=headers) as response:
                assert response.status == expected
                text = await response.json() if response.content_type == "application/json" else await response.text()
                check(document, method, path, expected, response.content_type, text)


async def test_who_has_an_answer_already_is_not_sent_it_again(client: Client, world: World) -> None:
    """Until it changes (RFC 9110, 13.1.2); a HEAD has the same tag."""
    world.store.kept.append(moved("a", 1))
    world.watching.shown.append(watched("a"))
    world.desk.letters["ops"] = []
    lists = ("/api/v1/tasks", "/api/v1/transitions", "/api/v1/tasks/a/runs", "/api/v1/sinks", "/api/v1/sinks/ops/dead")
    for path in (OPENAPI, "/api/v1/tasks/a", *lists):
        async with client.get(path) as response:
            tag = response.headers["ETag"]
        async with client.head(path) as response:
            assert response.headers["ETag"] == tag
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            async with client.get(path, headers={"If-None-Match": known}) as response:
                assert (response.status, await response.read(), response.headers["ETag"]) == (304, b"", tag)
        async with client.get(path, headers={"If-None-Match": '"other"'}) as response:
            assert response.status == 200
    async with client.get("/api/v1/transitions") as response:
        tag = response.headers["ETag"]
    world.store.kept.append(moved("a", 2))
    async with client.get("/api/v1/transitions", headers={"If-None-Match": tag}) as response:
        assert response.status == 200


async def test_a_path_that_may_be_a_name_as_well_allows_what_it_means_first(client: Client) -> None:
    """Whoever asks with another method is told the methods of that."""
    for path, allowed in (("a", "DELETE,GET,HEAD"), ("a/polls", "GET,HEAD"), ("a/start", "POST"), ("a/rearm", "POST")):
        async with client.options(f"/api/v1/tasks/{path}") as response:
            assert (response.status, response.headers["Allow"]) == (405, allowed)
