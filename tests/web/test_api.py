"""The API shows tasks and transitions, and says what is wrong with a request."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest
from yarl import URL

from poller.domain.events import Transition
from poller.domain.moments import rfc3339
from poller.domain.observation import Failure, Outcome, Subtasks
from poller.domain.place import Place
from poller.domain.prospect import Basis, Prospect
from poller.domain.state import State
from poller.domain.task import Contact
from poller.protocols import PollRecord
from poller.web.eventstream import EventStreams
from tests.emit.fakes import NOW, watched
from tests.web.fakes import Client, World, moved

ODD_NAMES = [
    "a",
    "a/b",
    "/a//b/",
    "a@b:c+d",
    "transitions",
    "a/transitions",
    "polls",
    "a/polls",
    "a/runs",
    "-._",
    "x" * 200,
]
DOTTED_NAMES = ["..", "a/../b"]
"""Clients take these for directories unless the dots are encoded as well."""


async def get(client: Client, path: str, status: int = 200) -> Any:
    """The JSON at ``path``, which is sent as it stands."""
    async with client.get(URL(path, encoded=True)) as response:
        assert (response.status, response.content_type) == (status, "application/json"), await response.text()
        return orjson.loads(await response.read())


async def refused(client: Client, path: str, status: int) -> Mapping[str, Any]:
    body = await get(client, path, status)
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"code", "message", "details"}
    return dict(body["error"])


async def listed(client: Client, path: str) -> list[str]:
    return [each["transition_id"] for each in (await get(client, path))["transitions"]]


async def test_a_task_is_shown_with_all_its_fields(world: World, client: Client) -> None:
    world.watching.shown.append(
        watched(
            "n",
            State.FAILED,
            labels={"team": "ads"},
            contact=Contact(
                polls=7,
                last_polled_at=NOW,
                consecutive_failures=2,
                last_failure=Failure(Outcome.UNREACHABLE, NOW - 5, "timed out"),
            ),
            next_poll_at=NOW + 9.25,
            raw_status="FAILED",
            progress=42.5,
            message="no such table",
            started_at=NOW - 60,
            ended_at=NOW,
            duration=60.0,
            subtasks=Subtasks(3, 1, ("load",)),
            overdue=True,
        )
    )
    assert await get(client, "/api/v1/tasks/n") == {
        "name": "n",
        "provider": "jobs",
        "operation": "job",
        "params": {"job_id": "1"},
        "labels": {"team": "ads"},
        "source": "file",
        "owner": None,
        "ttl_seconds": None,
        "follow": False,
        "state": "failed",
        "terminal": True,
        "raw_status": "FAILED",
        "progress": 42.5,
        "message": "no such table",
        "subtasks": {"total": 3, "done": 1, "failed": ["load"]},
        "run": 1,
        "overdue": True,
        "stalled": False,
        "awaits_run": False,
        "unreachable": False,
        "late": False,
        "started_at": "2026-09-21T14:12:20.500Z",
        "ended_at": "2026-09-21T14:13:20.500Z",
        "duration_seconds": 60.0,
        "expected_end_at": None,
        "expected_end_low_at": None,
        "expected_end_high_at": None,
        "expected_from": None,
        "first_seen_at": "2026-09-21T13:58:20.500Z",
        "last_polled_at": "2026-09-21T14:13:20.500Z",
        "next_poll_at": "2026-09-21T14:13:29.750Z",
        "polls": 7,
        "consecutive_failures": 2,
        "last_failure": {"outcome": "unreachable", "message": "timed out", "at": "2026-09-21T14:13:15.500Z"},
    }


@pytest.mark.parametrize(
    ("basis", "state", "ends"),
    [
        (
            Basis.HISTORY,
            State.RUNNING,
            ["2026-09-21T14:14:50.500Z", "2026-09-21T14:14:30.500Z", "2026-09-21T14:15:20.500Z"],
        ),
        (
            Basis.PROGRESS,
            State.PENDING,
            ["2026-09-21T14:14:50.500Z", "2026-09-21T14:14:30.500Z", "2026-09-21T14:15:20.500Z"],
        ),
        (Basis.PACE, State.RUNNING, ["2026-09-21T14:14:50.500Z", None, None]),
        (Basis.HISTORY, State.SUCCEEDED, None),
        (Basis.HISTORY, State.UNKNOWN, None),
        (Basis.HISTORY, State.EXPIRED, None),
    ],
)
async def test_an_expected_end_is_shown_with_its_spread(
    world: World, client: Client, basis: Basis, state: State, ends: list[str | None] | None
) -> None:
    """As points in time, and what it was made from. A pace has no spread; what is not under way has no end to come."""
    foreseen = Prospect(basis, 150.0, 130.0, 180.0, 149.0)
    world.watching.shown.append(watched("n", state, started_at=NOW - 60, prospect=foreseen))
    told = await get(client, "/api/v1/tasks/n")
    assert [told[f"expected_end_{key}"] for key in ("at", "low_at", "high_at")] == (ends or [None] * 3)
    assert told["expected_from"] == (basis if ends else None)


async def test_what_is_unknown_of_a_task_is_null(world: World, client: Client) -> None:
    world.watching.shown.append(watched("n", State.UNKNOWN))
    task = await get(client, "/api/v1/tasks/n")
    assert {key for key, value in task.items() if value is None} == {
        *("owner", "ttl_seconds"),
        *("raw_status", "progress", "message", "subtasks", "started_at", "ended_at", "duration_seconds"),
        *(
            "expected_end_at",
            "expected_end_low_at",
            "expected_end_high_at",
            "expected_from",
            "last_polled_at",
            "next_poll_at",
            "last_failure",
        ),
    }


async def test_tasks_are_listed_page_after_page(world: World, client: Client) -> None:
    world.watching.shown += [watched(name) for name in ("c", "a", "b")]
    first = await get(client, "/api/v1/tasks?limit=2")
    assert [task["name"] for task in first["tasks"]] == ["a", "b"]
    second = await get(client, f"/api/v1/tasks?limit=2&cursor={first['next_cursor']}")
    assert ([task["name"] for task in second["tasks"]], second["next_cursor"]) == (["c"], None)


async def test_a_list_is_filtered_and_limited_to_a_hundred(world: World, client: Client) -> None:
    world.watching.shown += [watched(f"n{number}", labels={"a": "b:c"}) for number in range(101)]
    world.watching.shown.append(watched("other", State.FAILED))
    body = await get(client, "/api/v1/tasks?state=running&state=pending&label=a:b%3Ac")
    assert len(body["tasks"]) == 100
    assert body["next_cursor"]


@pytest.mark.parametrize("name", [*ODD_NAMES, *DOTTED_NAMES])
async def test_any_name_is_found_percent_encoded(world: World, client: Client, name: str) -> None:
    world.watching.shown.append(watched(name))
    encoded = "".join(f"%{ord(character):02X}" for character in name)
    assert (await get(client, f"/api/v1/tasks/{encoded}"))["name"] == name
    world.store.kept.append(moved(name, 1))
    assert await listed(client, f"/api/v1/tasks/{encoded}/transitions") == [f"{name}-1"]


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_any_name_is_found_with_raw_slashes(world: World, client: Client, name: str) -> None:
    world.watching.shown.append(watched(name))
    assert (await get(client, f"/api/v1/tasks/{name}"))["name"] == name


async def test_of_two_tasks_that_share_a_path_each_can_be_reached(world: World, client: Client) -> None:
    world.watching.shown += [watched("a"), watched("a/transitions")]
    world.store.kept += [moved("a", 1), moved("a/transitions", 1)]
    assert await listed(client, "/api/v1/tasks/a/transitions") == ["a-1"]
    assert (await get(client, "/api/v1/tasks/a%2Ftransitions"))["name"] == "a/transitions"
    assert await listed(client, "/api/v1/tasks/a/transitions/transitions") == ["a/transitions-1"]


@pytest.mark.parametrize("name", [*ODD_NAMES, *DOTTED_NAMES])
async def test_the_polls_of_any_name_are_found(world: World, client: Client, name: str) -> None:
    world.watching.shown.append(watched(name))
    world.watching.polled.append((name, PollRecord(NOW, Outcome.ANSWERED, State.RUNNING, request=name)))
    encoded = "".join(f"%{ord(character):02X}" for character in name)
    (poll,) = (await get(client, f"/api/v1/tasks/{encoded}/polls"))["polls"]
    assert poll["request"] == name


async def test_polls_come_newest_first_with_all_their_fields(world: World, client: Client) -> None:
    world.watching.shown += [watched("a"), watched("a/polls"), watched("quiet")]
    texts = ("FAILED", 200, "E1", "why", "status FAILED is failed", "status 'FAILED'", "GET https://h/1", "{}", "r1")
    world.watching.polled += [
        ("a", PollRecord(NOW, Outcome.UNREACHABLE, State.UNKNOWN)),
        ("a", PollRecord(NOW + 1, Outcome.ANSWERED, State.FAILED, *texts)),
        ("a/polls", PollRecord(NOW, Outcome.MISSING, State.RUNNING)),
    ]
    page = await get(client, "/api/v1/tasks/a/polls")
    assert page["next_cursor"] is None
    assert page["polls"][0] == {
        "at": "2026-09-21T14:13:21.500Z",
        "outcome": "answered",
        "state": "failed",
        "raw_status": "FAILED",
        "http_status": 200,
        "code": "E1",
        "message": "why",
        "rule": "status FAILED is failed",
        "saw": "status 'FAILED'",
        "request": "GET https://h/1",
        "answer": "{}",
        "request_id": "r1",
    }
    assert [poll["outcome"] for poll in page["polls"]] == ["answered", "unreachable"]
    assert [poll["outcome"] for poll in (await get(client, "/api/v1/tasks/a/polls/polls"))["polls"]] == ["missing"]
    assert (await get(client, "/api/v1/tasks/a%2Fpolls"))["name"] == "a/polls"
    assert await get(client, "/api/v1/tasks/quiet/polls") == {"polls": [], "next_cursor": None}


async def test_an_unknown_task_has_no_polls(client: Client) -> None:
    assert (await refused(client, "/api/v1/tasks/never/polls", 404))["details"] == {"task": "never"}


async def test_an_unknown_task_is_not_found(client: Client) -> None:
    error = await refused(client, "/api/v1/tasks/a%20b", 404)
    assert error == {"code": "not_found", "message": "no task 'a b' is known", "details": {"task": "a b"}}


async def test_transitions_come_newest_first_and_page_after_page(world: World, client: Client) -> None:
    world.store.kept += [moved("a", 1), moved("b", 2), moved("a", 3)]
    body = await get(client, "/api/v1/transitions?limit=2")
    assert [each["transition_id"] for each in body["transitions"]] == ["a-3", "b-2"]
    body = await get(client, f"/api/v1/transitions?limit=2&cursor={body['next_cursor']}")
    assert [each["transition_id"] for each in body["transitions"]] == ["a-1"]
    assert body["next_cursor"] is None


async def test_a_transition_is_shown_with_all_its_fields(world: World, client: Client) -> None:
    transition = Transition(
        "id1",
        1,
        "n",
        "jobs",
        "job",
        State.UNKNOWN,
        State.FAILED,
        NOW,
        2,
        "FAILED",
        10.0,
        "why",
        NOW - 60,
        NOW,
        60.0,
        "r1",
    )
    world.store.kept.append(transition)
    (shown,) = (await get(client, "/api/v1/transitions"))["transitions"]
    assert shown == {
        "transition_id": "id1",
        "task": "n",
        "provider": "jobs",
        "operation": "job",
        "from": "unknown",
        "to": "failed",
        "raw_status": "FAILED",
        "progress": 10.0,
        "message": "why",
        "at": "2026-09-21T14:13:20.500Z",
        "started_at": "2026-09-21T14:12:20.500Z",
        "ended_at": "2026-09-21T14:13:20.500Z",
        "duration_seconds": 60.0,
        "terminal": True,
        "initial": False,
        "run": 2,
        "request_id": "r1",
        "labels": None,
    }


async def test_the_history_of_a_task_outlives_its_being_watched(world: World, client: Client) -> None:
    world.store.kept.append(moved("gone", 1))
    assert await listed(client, "/api/v1/tasks/gone/transitions") == ["gone-1"]
    await refused(client, "/api/v1/tasks/never/transitions", 404)


async def test_a_task_without_transitions_has_an_empty_history(world: World, client: Client) -> None:
    world.watching.shown.append(watched("n"))
    assert await listed(client, "/api/v1/tasks/n/transitions") == []


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/api/v1/tasks?limit=1001", "limit"),
        ("/api/v1/tasks?cursor=abc", "cursor"),
        ("/api/v1/tasks?state=done", "state"),
        ("/api/v1/tasks?label=team", "label"),
        ("/api/v1/transitions?limit=0", "limit"),
        ("/api/v1/transitions?cursor=abc", "cursor"),
    ],
)
async def test_a_bad_parameter_is_named(client: Client, path: str, parameter: str) -> None:
    error = await refused(client, path, 400)
    assert (error["code"], error["details"]) == ("bad_request", {"parameter": parameter})


async def test_a_store_that_cannot_be_read_is_no_fault_of_the_client(world: World, client: Client) -> None:
    world.store.broken = True
    error = await refused(client, "/api/v1/transitions", 503)
    assert (error["code"], error["message"]) == (
        "service_unavailable",
        "poller.db: disk I/O error; see that the disk is well",
    )


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/tasks/", "/api/", "/api/v2/tasks"])
async def test_a_path_that_does_not_exist_is_refused_in_json(client: Client, path: str) -> None:
    assert (await refused(client, path, 404))["code"] == "not_found"


async def test_a_method_that_does_not_exist_is_refused_with_those_that_do(client: Client) -> None:
    async with client.put("/api/v1/tasks") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET,HEAD,POST"
        assert orjson.loads(await response.read())["error"]["code"] == "method_not_allowed"


async def test_half_a_character_is_written_as_its_escape(world: World, client: Client) -> None:
    world.watching.shown.append(watched("n", message="\ud800"))
    async with client.get("/api/v1/tasks/n") as response:
        assert b'"\\ud800"' in await response.read()


async def test_runs_are_the_ends_newest_first_and_page_after_page(world: World, client: Client) -> None:
    """Each with how it ended and how long it took; a task that runs for the first time has none."""
    world.watching.shown += [watched("a"), watched("a/runs"), watched("quiet")]
    end = replace(moved("a", 2, State.FAILED), run=1, started_at=NOW - 60, ended_at=NOW, duration=60.0)
    later = replace(moved("a", 4), run=2)
    world.store.kept += [moved("a", 1, State.RUNNING), end, moved("a", 3, State.RUNNING), later, moved("a/runs", 1)]
    page = await get(client, "/api/v1/tasks/a/runs?limit=1")
    assert [run["run"] for run in page["runs"]] == [2]
    page = await get(client, f"/api/v1/tasks/a/runs?limit=1&cursor={page['next_cursor']}")
    assert page["next_cursor"] is None
    assert page["runs"] == [
        {
            "task": "a",
            "provider": "jobs",
            "operation": "job",
            "run": 1,
            "state": "failed",
            "started_at": rfc3339(NOW - 60),
            "ended_at": rfc3339(NOW),
            "duration_seconds": 60.0,
            "transition_id": "a-2",
        }
    ]
    assert [run["task"] for run in (await get(client, "/api/v1/tasks/a/runs/runs"))["runs"]] == ["a/runs"]
    assert (await get(client, "/api/v1/tasks/a%2Fruns"))["name"] == "a/runs"
    assert await get(client, "/api/v1/tasks/quiet/runs") == {"runs": [], "next_cursor": None}
    await refused(client, "/api/v1/tasks/never/runs", 404)


HOSTILE = "data: no\n\nevent: x\r\nid: y\r\r\0 \ud800 \udfff\ud83d \u2028\u2029\x85 </script> \x1b[2J"


async def test_no_text_breaks_the_stream_of_events(world: World) -> None:
    """Whatever a provider said: each event is one line of JSON that gives back what was said."""
    for number in range(1, 4):
        moved_on = replace(moved("a", number), message=HOSTILE, raw_status=HOSTILE, labels={HOSTILE: HOSTILE})
        world.store.kept.append(moved_on)
    async with world.client() as client:
        async with client.get("/api/v1/events", headers={"Last-Event-ID": str(Place())}) as response:
            assert (response.status, response.content_type) == (200, "text/event-stream")
            assert (await response.content.readuntil(b"\n\n"), await response.content.readuntil(b"\n\n")) == (
                b":\n\n",
                f"id: {Place()}\n\n".encode(),
            )
            for number in range(1, 4):
                event = (await response.content.readuntil(b"\n\n")).decode()
                id_, name, data, *end = event.split("\n")
                assert (id_[:4], name, end) == ("id: ", "event: transition", ["", ""])
                told = json.loads(data.removeprefix("data: "))
                assert (told["transition_id"], told["message"]) == (f"a-{number}", HOSTILE)
                assert (told["raw_status"], told["labels"]) == (HOSTILE, {HOSTILE: HOSTILE})


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("task=a&task=c", ["a-1", "c-3"]),
        ("state=failed", ["b-2"]),
        ("provider=jobs&operation=job&label=team:ads", ["c-3"]),
        ("provider=others", []),
        ("state=", ["a-1", "b-2", "c-3"]),
    ],
)
async def test_some_of_the_transitions_are_told(world: World, query: str, ids: list[str]) -> None:
    """In the list, which knows times as well, and in the stream of events."""
    world.store.kept += [moved("a", 1), moved("b", 2, State.FAILED), replace(moved("c", 3), labels={"team": "ads"})]
    async with world.client() as client:
        assert (await listed(client, f"/api/v1/transitions?{query}"))[::-1] == ids
        path = f"/api/v1/events?{query}&last_event_id={Place()}"
        async with client.get(path) as response:
            events = [await response.content.readuntil(b"\n\n") for _ in range(2 + len(ids))]
        told = [orjson.loads(event.split(b"data: ")[1])["transition_id"] for event in events[2:]]
        assert told == ids


async def test_transitions_of_a_time_are_told(world: World, client: Client) -> None:
    """From the one moment on, until before the other; a plus may have become a blank."""
    world.store.kept += [moved("a", number) for number in range(1, 5)]
    since, until = rfc3339(NOW + 2), rfc3339(NOW + 4)
    assert await listed(client, f"/api/v1/transitions?since={since}&until={until}") == ["a-3", "a-2"]
    assert since is not None
    with_zone = since.replace("Z", "+00:00")
    assert await listed(client, f"/api/v1/transitions?since={with_zone}") == ["a-4", "a-3", "a-2"]


@pytest.mark.parametrize("query", ["state=x", "label=x", "since=yesterday", "until=2026-13-01T00:00:00Z", "since=1"])
async def test_what_means_nothing_is_refused_for_transitions_too(client: Client, query: str) -> None:
    """And told which parameter it is."""
    error = await refused(client, f"/api/v1/transitions?{query}", 400)
    assert error["details"] == {"parameter": query.partition("=")[0]}


async def test_a_stream_needs_a_store_to_begin_with(world: World, client: Client) -> None:
    """503 while it cannot be read; and when there are too many streams."""
    world.store.broken = True
    await refused(client, "/api/v1/events", 503)
    world.store.broken = False
    world.streams = EventStreams(most=0)
    async with world.client() as other:
        error = await refused(other, "/api/v1/events", 503)
        assert "0 event streams are open already" in error["message"]
