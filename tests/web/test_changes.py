"""The watchlist is changed over HTTP by whoever has the token, all of a request or nothing of it."""

import asyncio
import gzip
import io
import json
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from poller.config.watchlist import LONGEST_ADDED, AddedReader, EntryReader
from poller.domain.errors import ConfigError
from poller.domain.task import ADDED, Entry
from poller.web.body import LARGEST_BODY, MOST_LINES, BadBodyError, tasks_in
from tests.emit.fakes import watched
from tests.web.fakes import SETTINGS, Client, FakeWatchlist, World

TOKEN = {"Authorization": "Bearer s3cret"}
MANY = {**TOKEN, "Content-Type": "application/x-ndjson"}
ONE = {**TOKEN, "Content-Type": "application/json"}
TASKS = "/api/v1/tasks"


def job(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "provider": "jobs", "operation": "job", "params": {"job_id": name}, **more}


def lines(*tasks: Any) -> bytes:
    return b"\n".join(orjson.dumps(task) for task in tasks)


def entry(name: str, **more: Any) -> Entry:
    return Entry(name, "jobs", "job", {"zone": "z", "job_id": name}, source=ADDED, **more)


@pytest.fixture
def watchlist() -> FakeWatchlist:
    return FakeWatchlist()


@pytest.fixture
def world(watchlist: FakeWatchlist) -> World:
    return World(token="s3cret", watchlist=watchlist)


async def answer(client: Client, method: str, path: str, **request: Any) -> tuple[int, Any]:
    """Status and JSON; the path is sent as it stands, with the token unless told otherwise."""
    request.setdefault("headers", TOKEN)
    if isinstance(request.get("data"), bytes):
        # Not the bytes themselves: the client warns of those that are many.
        request["data"] = io.BytesIO(request["data"])
    async with client.request(method, URL(path, encoded=True), **request) as response:
        assert response.content_type == "application/json", await response.text()
        return response.status, orjson.loads(await response.read())


async def refused(client: Client, data: Any, status: int = 400, headers: dict[str, str] = MANY) -> dict[str, Any]:
    told = await answer(client, "POST", TASKS, data=data, headers=headers)
    assert (told[0], told[1].keys(), told[1]["error"].keys()) == (status, {"error"}, {"code", "message", "details"})
    return dict(told[1]["error"])


# --- adding ------------------------------------------------------------------------------------------------------


async def test_one_task_is_added_with_owner_and_ttl(client: Client, watchlist: FakeWatchlist) -> None:
    """201, and how many that were."""
    told = await answer(client, "POST", TASKS, json=job("a", owner="Ann", ttl="2h"))
    assert told == (201, {"added": 1, "changed": 0, "unchanged": 0})
    assert watchlist.entries == {"a": entry("a", owner="Ann", ttl=7200.0)}


async def test_what_is_there_already_is_no_error(client: Client) -> None:
    """200; so a request whose answer was lost can be sent again."""
    await answer(client, "POST", TASKS, json=job("a"))
    assert await answer(client, "POST", TASKS, json=job("a")) == (200, {"added": 0, "changed": 0, "unchanged": 1})
    told = await answer(client, "POST", TASKS, json=job("a", labels={"team": "ads"}))
    assert told == (200, {"added": 0, "changed": 1, "unchanged": 0})
    told = await answer(client, "POST", TASKS, data=lines(job("a"), job("b")), headers=MANY)
    assert told == (201, {"added": 1, "changed": 1, "unchanged": 0})


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/jsonl", "Application/X-NDJSON; charset=utf-8"])
async def test_lines_are_tasks(client: Client, watchlist: FakeWatchlist, kind: str) -> None:
    """Blank ones, a byte order mark, CRLF and a missing last line break are no matter."""
    data = b"\xef\xbb\xbf" + lines(job("a")) + b"\r\n\r\n  \n" + lines(job("b"))
    told = await answer(client, "POST", TASKS, data=data, headers={**TOKEN, "Content-Type": kind})
    assert (told[0], set(watchlist.entries)) == (201, {"a", "b"})


async def test_a_body_may_be_compressed_and_come_in_chunks(client: Client, watchlist: FakeWatchlist) -> None:
    """As HTTP has it."""

    async def chunks() -> Any:
        data = gzip.compress(lines(*(job(str(number)) for number in range(500))))
        for start in range(0, len(data), 100):
            yield data[start : start + 100]

    told = await answer(client, "POST", TASKS, data=chunks(), headers={**MANY, "Content-Encoding": "gzip"})
    assert told == (201, {"added": 500, "changed": 0, "unchanged": 0})


async def test_ten_thousand_tasks_in_one_request(client: Client, watchlist: FakeWatchlist) -> None:
    """While the server goes on answering others."""
    tasks = [job(f"batch/{number}", labels={"team": "ads"}, owner="Ann", ttl="1d") for number in range(10_000)]
    adding = asyncio.ensure_future(answer(client, "POST", TASKS, data=lines(*tasks), headers=MANY))
    others = 0
    while not adding.done():
        async with client.get("/-/healthy") as response:
            assert response.status == 200
        others += 1
    assert await adding == (201, {"added": 10_000, "changed": 0, "unchanged": 0})
    assert len(watchlist.entries) == 10_000
    assert others > 3


async def test_every_mistake_is_told_and_nothing_is_added(client: Client, watchlist: FakeWatchlist) -> None:
    """With line and key, for programs; and the first of them in words."""
    error = await refused(client, lines(job("a"), job("b", operation="jbo"), {"name": "c"}, job("a")) + b"\n{")
    assert error["details"]["mistakes"] == [
        {"line": 2, "key": "operation", "message": "'jbo', job is allowed"},
        {"line": 3, "key": "operation", "message": "missing, it is required"},
        {"line": 3, "key": "provider", "message": "missing, it is required"},
        {"line": 4, "key": "name", "message": "'a', a name of its own is allowed; request:1 has this one"},
        {"line": 5, "key": "", "message": 'no JSON from column 2 on, one task a line is allowed, like {"name": …}'},
    ]
    assert error["message"] == "request:2: operation: 'jbo', job is allowed (and 4 more mistakes)"
    assert error["code"] == "bad_request"
    assert watchlist.entries == {}


async def test_a_mistake_in_a_single_task_has_no_line(client: Client) -> None:
    """Unless it is no JSON: then it is the line where that breaks off."""
    error = await refused(client, lines(job("a", ttl="soon")), headers=ONE)
    (mistake,) = error["details"]["mistakes"]
    assert (mistake["line"], mistake["key"]) == (None, "ttl")
    assert error["message"] == f"request: ttl: {mistake['message']}"
    error = await refused(client, b'{"name": "a",\n oops}', headers=ONE)
    assert error["details"]["mistakes"][0]["line"] == 2


async def test_another_task_of_that_name_is_a_conflict(client: Client, watchlist: FakeWatchlist) -> None:
    """409 with the names, and nothing was added."""
    await answer(client, "POST", TASKS, json=job("a"))
    error = await refused(client, lines(job("b"), job("a", params={"job_id": "2"})), 409)
    assert (error["code"], error["details"]) == ("conflict", {"tasks": ["a"]})
    assert watchlist.entries == {"a": entry("a")}


NO_TASK = [
    b"", b" ", b"\x00", b"\xff", b"null", b"5", b"[]", b'"text"', b"{}", b"{", b"NaN", b'{"name": 1e999}',
    b'{"name": NaN}', b'{"name": "a", "name": "b"}', b"[" * 60_000, b'{"a":' * 10_000, b"9" * 5_000,
    b'{"name": "\\ud800", "\\ud800": 1, "provider": "\\ud800"}', b"\xef\xbb\xbf", b'{"name": "a"} {"name": "b"}',
    b"name=a&provider=jobs", lines([job("a")]), lines(job("a", secret="hunter2")), lines(job("a b")),
    lines(job("a", labels={"x": "y" * LONGEST_ADDED})), lines(job("a", params={"job_id": {"$ne": 1}})),
    lines(job("a", **{f"k{number}": 1 for number in range(1_000)})), lines(job("a") | {"__proto__": {}}),
    lines(job("../../etc/passwd\x00")), lines(job("a", schedule={"initial": "1ms", "max": "0s"})),
]  # fmt: skip


@pytest.mark.parametrize("data", NO_TASK)
@pytest.mark.parametrize("headers", [ONE, MANY])
async def test_hostile_bodies_are_mistakes(
    client: Client, watchlist: FakeWatchlist, world: World, data: bytes, headers: dict[str, str]
) -> None:
    """400 each, with the mistakes, never a fault of the server; values of unknown keys are not echoed."""
    error = await refused(client, data, headers=headers)
    assert error["details"]["mistakes"]
    assert "hunter2" not in json.dumps(error)
    assert (watchlist.entries, world.log.calls) == ({}, [])


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode), st.booleans())
def test_any_bytes_are_tasks_or_mistakes(data: bytes, many: bool) -> None:
    """No other error gets out of reading them."""
    try:
        reading = AddedReader(EntryReader(SETTINGS), tasks_in(data, many))
        while reading.read_some():
            pass
        reading.entries()
    except ConfigError as error:
        told = error.problems
    else:
        told = []
    assert all("\n" not in str(problem) for problem in told)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "json", "application/xml"]
)
async def test_other_content_types_are_refused(client: Client, kind: str) -> None:
    """415, and which are allowed: no browser's form can send those."""
    error = await refused(client, lines(job("a")), 415, {**TOKEN, "Content-Type": kind})
    assert "application/json is allowed for one task, application/x-ndjson for one task a line" in error["message"]


@pytest.mark.parametrize("headers", [ONE, MANY])
async def test_a_body_that_is_too_large_is_refused(
    client: Client, watchlist: FakeWatchlist, headers: dict[str, str]
) -> None:
    """413, whether its length is told before, or it turns out so large, or becomes so when it is unpacked."""
    large = lines(job("a")) + b"\n" * LARGEST_BODY

    async def chunks() -> Any:
        for start in range(0, len(large), 1_000_000):
            yield large[start : start + 1_000_000]

    zipped = {**headers, "Content-Encoding": "gzip"}
    for data, given_headers in ((large, headers), (chunks(), headers), (gzip.compress(large), zipped)):
        error = await refused(client, data, 413, given_headers)
        assert error["message"] == "at most 16 MiB are allowed in one request; send parts"
    assert watchlist.entries == {}


async def test_as_large_a_body_as_is_allowed_is_read(client: Client) -> None:
    """To the last byte."""
    task = lines(job("a"))
    told = await answer(client, "POST", TASKS, data=task + b" " * (LARGEST_BODY - len(task)), headers=MANY)
    assert told[0] == 400, "the one line is too long, but it was read"
    task += b"\n" + b" " * 1_000
    assert (await answer(client, "POST", TASKS, data=task, headers=MANY))[0] == 201


def test_very_many_lines_are_refused_before_they_are_looked_at() -> None:
    """413."""
    with pytest.raises(BadBodyError, match="at most 100,000 lines") as caught:
        tasks_in(b"{}\n" * (MOST_LINES + 1), many=True)
    assert caught.value.status == 413


async def test_a_body_that_is_not_what_it_says_is_refused(client: Client, world: World) -> None:
    """400, and no fault of the server."""
    error = await refused(client, lines(job("a")), headers={**MANY, "Content-Encoding": "gzip"})
    assert "cannot be read" in error["message"]
    assert world.log.calls == []


# --- removing and rearming ---------------------------------------------------------------------------------------


async def test_a_task_is_removed_once_and_removing_it_again_is_no_error(
    client: Client, watchlist: FakeWatchlist
) -> None:
    """200 both times; the answer tells which."""
    await answer(client, "POST", TASKS, json=job("a"))
    assert await answer(client, "DELETE", f"{TASKS}/a") == (200, {"task": "a", "removed": True})
    assert await answer(client, "DELETE", f"{TASKS}/a") == (200, {"task": "a", "removed": False})
    assert watchlist.entries == {}


async def test_a_task_that_was_never_there_cannot_be_removed(client: Client) -> None:
    """404: it is probably a typo."""
    status, told = await answer(client, "DELETE", f"{TASKS}/nobody")
    assert (status, told["error"]["details"]) == (404, {"task": "nobody"})


async def test_a_files_task_is_the_files(client: Client, watchlist: FakeWatchlist) -> None:
    """409, and the file is named."""
    watchlist.files["a"] = "big.jsonl"
    status, told = await answer(client, "DELETE", f"{TASKS}/a")
    assert (status, told["error"]["details"]) == (409, {"tasks": ["a"]})
    assert "big.jsonl" in told["error"]["message"]


async def test_what_is_missing_is_watched_anew(client: Client, watchlist: FakeWatchlist) -> None:
    """200; 409 for a task that is watched anyway, 404 for none."""
    await answer(client, "POST", TASKS, json=job("a"))
    watchlist.ended.add("a")
    assert await answer(client, "POST", f"{TASKS}/a/rearm") == (200, {"task": "a"})
    status, told = await answer(client, "POST", f"{TASKS}/a/rearm")
    assert (status, told["error"]["details"]) == (409, {"tasks": ["a"]})
    assert (await answer(client, "POST", f"{TASKS}/b/rearm"))[0] == 404


NAMES = [
    ("a", "a"),
    ("a/b", "a/b"),
    ("a%2Fb", "a/b"),
    ("/a//b/", "/a//b/"),
    ("rearm", "rearm"),
    ("a/rearm", "a/rearm"),
    ("a%2Frearm", "a/rearm"),
    ("a/start", "a/start"),
    ("a/polls", "a/polls"),
    ("transitions", "transitions"),
    ("A-Z.a_z:0@9+", "A-Z.a_z:0@9+"),
    ("a%2B", "a+"),
]


@pytest.mark.parametrize(("path", "name"), NAMES)
@pytest.mark.parametrize("prefix", ["/", "/poller"])
async def test_a_tasks_name_may_hold_slashes_and_end_like_a_path(
    world: World, watchlist: FakeWatchlist, path: str, name: str, prefix: str
) -> None:
    """Encoded or not: what is to be done is told by the method, and by the last part of a POST's path."""
    world.prefix = prefix
    base = f"{prefix.rstrip('/')}{TASKS}"
    async with world.client() as client:
        assert (await answer(client, "POST", base, json=job(name)))[0] == 201
        watchlist.ended.add(name)
        assert await answer(client, "POST", f"{base}/{path}/rearm") == (200, {"task": name})
        assert (await answer(client, "POST", f"{base}/{path}/start"))[0] == 202
        assert world.started == [name]
        assert await answer(client, "DELETE", f"{base}/{path}") == (200, {"task": name, "removed": True})


async def test_an_encoded_slash_belongs_to_the_name(client: Client, watchlist: FakeWatchlist) -> None:
    """So such a path says nothing of what is to be done."""
    for path in ("a%2Frearm", "a%2fstart"):
        assert (await answer(client, "POST", f"{TASKS}/{path}"))[0] == 405


# --- who may, and when it cannot be done -------------------------------------------------------------------------

CHANGES = [("POST", TASKS), ("DELETE", f"{TASKS}/a"), ("POST", f"{TASKS}/a/rearm")]


@pytest.mark.parametrize(("method", "path"), CHANGES)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer other"}, {"Authorization": "Basic s3cret"}])
async def test_without_the_right_token_nothing_changes(
    world: World, watchlist: FakeWatchlist, method: str, path: str, headers: dict[str, str]
) -> None:
    """401, and how to ask; 403 where the config has no token. What else is wrong is not looked at."""
    watchlist.entries["a"] = entry("a")
    watchlist.ended.add("a")
    for token, status in (("s3cret", 401), (None, 403)):
        world.token = token
        async with world.client() as client:
            sent = {**headers, "Content-Type": "text/plain"}
            async with client.request(method, path, data=lines(job("b")), headers=sent) as response:
                told = orjson.loads(await response.read())
                assert (response.status, set(told["error"])) == (status, {"code", "message", "details"})
                assert ("WWW-Authenticate" in response.headers) is (status == 401)
    assert (set(watchlist.entries), watchlist.ended) == ({"a"}, {"a"})


@pytest.mark.parametrize(("method", "path"), CHANGES)
async def test_a_store_that_does_not_answer_is_told(
    client: Client, watchlist: FakeWatchlist, method: str, path: str
) -> None:
    """503: later it may."""
    watchlist.broken = True
    status, told = await answer(client, method, path, data=lines(job("a")), headers=ONE)
    assert (status, told["error"]["message"]) == (503, "the store does not answer")


@pytest.mark.parametrize(("method", "path"), CHANGES)
async def test_a_watchlist_that_stays_as_it_is_has_no_such_paths(world: World, method: str, path: str) -> None:
    """405, like every method that is not there."""
    world.watchlist = None
    async with world.client() as client:
        assert (await answer(client, method, path, json=job("a")))[0] == web.HTTPMethodNotAllowed.status_code


async def test_owner_and_ttl_are_shown_and_owners_looked_for(client: Client, world: World) -> None:
    """A file's task has neither."""
    world.watching.shown += [watched("a"), watched("b", owner="Ann", ttl=60.0), watched("c", owner="Bob")]
    for query, names in (("owner=Ann", ["b"]), ("source=api", ["b", "c"]), ("source=file", ["a"])):
        _, told = await answer(client, "GET", f"{TASKS}?{query}")
        assert [task["name"] for task in told["tasks"]] == names
    _, told = await answer(client, "GET", f"{TASKS}/b")
    assert (told["owner"], told["ttl_seconds"], told["source"]) == ("Ann", 60.0, "api")
