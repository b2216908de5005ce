"""The API of the sinks: how they do, what was given up, and whoever has the token may deliver it again."""

from typing import Any

import pytest
from yarl import URL

from poller.protocols import DeadLetter
from tests.emit.fakes import NOW
from tests.web.fakes import Client, World, moved

TOKEN = {"Authorization": "Bearer s3cret"}


def letters(count: int) -> list[DeadLetter]:
    return [DeadLetter(moved("a", number), 3, NOW + 9, "HTTP 410 Gone") for number in range(count)]


@pytest.fixture
def world() -> World:
    world = World(token="s3cret")
    world.desk.letters = {"ops": letters(3), "team/ops": letters(1)}
    return world


async def get(client: Client, path: str) -> tuple[int, dict[str, Any]]:
    response = await client.get(URL(path, encoded=True))
    return response.status, await response.json()


async def test_the_list_tells_of_each_sink_how_it_does(client: Client) -> None:
    """What it got, what waits and since when, what is dead, and what went wrong last."""
    status, told = await get(client, "/api/v1/sinks")
    assert status == 200
    assert [sink["name"] for sink in told["sinks"]] == ["ops", "team/ops"]
    assert told["sinks"][0] == {
        "name": "ops",
        "kind": "webhook",
        "configured": True,
        "delivered": 7,
        "waiting": 2,
        "oldest_waiting_at": "2026-09-21T14:13:20.500Z",
        "dead": 3,
        "failing_since": "2026-09-21T14:13:20.500Z",
        "last_error": "HTTP 500",
        "last_error_at": "2026-09-21T14:13:21.500Z",
    }


async def test_dead_letters_come_page_by_page(client: Client) -> None:
    """Each with its id, the reason, and the transition in it."""
    status, first = await get(client, "/api/v1/sinks/ops/dead?limit=2")
    _, rest = await get(client, f"/api/v1/sinks/ops/dead?limit=2&cursor={first['next_cursor']}")
    assert status == 200
    assert [each["id"] for each in (*first["events"], *rest["events"])] == ["a-0", "a-1", "a-2"]
    assert rest["next_cursor"] is None
    letter = first["events"][0]
    assert (letter["attempts"], letter["error"], letter["dead_at"]) == (3, "HTTP 410 Gone", "2026-09-21T14:13:29.500Z")
    assert (letter["transition"]["task"], letter["transition"]["to"]) == ("a", "succeeded")


@pytest.mark.parametrize("name", ["team/ops", "team%2Fops"])
async def test_a_name_may_hold_slashes(client: Client, name: str) -> None:
    """Percent-encoded or not."""
    status, told = await get(client, f"/api/v1/sinks/{name}/dead")
    assert (status, len(told["events"])) == (200, 1)


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/api/v1/sinks/nope/dead", 404, "no sink 'nope' is in the config"),
        ("/api/v1/sinks/ops/dead?cursor=nonsense", 400, "cursor: a next_cursor of an earlier page is allowed"),
        ("/api/v1/sinks/ops/dead?limit=0", 400, "limit: '0' found, a whole number from 1 to 1000 is allowed"),
    ],
)
async def test_what_means_nothing_is_refused(client: Client, path: str, status: int, said: str) -> None:
    """In the words of the API's errors."""
    found, told = await get(client, path)
    assert (found, told["error"]["message"]) == (status, said)


async def test_a_store_in_trouble_is_told(client: Client, world: World) -> None:
    """503, with the store's own words."""
    world.desk.broken = True
    status, told = await get(client, "/api/v1/sinks")
    assert (status, "disk I/O error" in told["error"]["message"]) == (503, True)


@pytest.mark.parametrize(
    ("wanted", "ids", "count"), [({"all": True}, None, 3), ({"events": ["a-1", "x"]}, ["a-1", "x"], 1)]
)
async def test_whoever_has_the_token_has_events_delivered_again(
    client: Client, world: World, wanted: dict[str, Any], ids: list[str] | None, count: int
) -> None:
    """All dead letters, or those named; how many wait now."""
    response = await client.post("/api/v1/sinks/ops/redeliver", json=wanted, headers=TOKEN)
    assert (response.status, await response.json()) == (200, {"sink": "ops", "redelivered": count})
    assert world.desk.asked == [("ops", ids)]


async def test_nobody_else_has(client: Client, world: World) -> None:
    """401, and nothing is asked for."""
    response = await client.post("/api/v1/sinks/ops/redeliver", json={"all": True})
    assert response.status == 401
    assert world.desk.asked == []


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"[]", b'{"all": false}', b'{"all": 1}', b'{"events": []}', b'{"events": [1]}',
     b'{"events": ["a", 1]}', b'{"events": ["a"], "all": true}', b'{"event": "a"}'],
)  # fmt: skip
async def test_a_body_that_asks_for_nothing_is_refused(client: Client, world: World, body: bytes) -> None:
    """With what is allowed."""
    response = await client.post("/api/v1/sinks/ops/redeliver", data=body, headers=TOKEN)
    assert response.status == 400
    assert '{"all": true}' in (await response.json())["error"]["message"]
    assert world.desk.asked == []


async def test_a_sink_that_the_config_does_not_have_is_not_delivered_to(client: Client) -> None:
    """404, with its name."""
    response = await client.post("/api/v1/sinks/nope/redeliver", json={"all": True}, headers=TOKEN)
    assert (response.status, (await response.json())["error"]["details"]) == (404, {"sink": "nope"})
