"""What changes something needs the bearer token."""

from typing import Any

import pytest
from yarl import URL

from poller.domain.errors import (
    ConfigError,
    NoSuchTaskError,
    PollerError,
    Problem,
    StartError,
    StoppingError,
    StoreError,
    UnstartableError,
)
from poller.domain.observation import Observation, Outcome
from poller.web.shapes import StartedJson
from tests.web.fakes import World

TOKEN = {"Authorization": "Bearer s3cret"}


async def test_the_token_reloads() -> None:
    """Once for each request."""
    world = World(token="s3cret")
    async with world.client() as client:
        response = await client.post("/-/reload", headers=TOKEN)
        assert (response.status, await response.text()) == (200, "reloaded\n")
    assert world.reloads == 1


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer other"}, {"Authorization": "Basic s3cret"}, {"Authorization": "s3cret"}],
)
async def test_without_the_right_token_nothing_happens(headers: dict[str, str]) -> None:
    """401, and how to ask."""
    world = World(token="s3cret")
    async with world.client() as client:
        response = await client.post("/-/reload", headers=headers)
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert world.reloads == 0


async def test_without_a_token_in_the_config_nobody_may() -> None:
    """403, and which key to set."""
    world = World()
    async with world.client() as client:
        response = await client.post("/-/reload", headers=TOKEN)
        assert response.status == 403
        assert "web.api_token" in await response.text()
    assert world.reloads == 0


@pytest.mark.parametrize(
    ("mistake", "status"),
    [(ConfigError([Problem("a.yaml", 3, "x", "bad")]), 400), (StoreError("the disk is full"), 503)],
)
async def test_what_is_wrong_is_told(mistake: PollerError, status: int) -> None:
    """To whoever asked, line by line."""
    world = World(token="s3cret", mistake=mistake)
    async with world.client() as client:
        response = await client.post("/-/reload", headers=TOKEN)
        assert (response.status, await response.text()) == (status, f"{mistake}\n")


# --- starting ----------------------------------------------------------------------------------------------------

TOLD: StartedJson = {
    "task": "a",
    "run": "2",
    "already_running": False,
    "watched_run": 2,
    "request_id": "r",
    "message": "m",
}
REFUSED = Observation(Outcome.REJECTED, code="Forbidden.RAM", http_status=403, request_id="r3")


@pytest.mark.parametrize(("already", "status"), [(False, 202), (True, 200)])
async def test_the_token_starts_a_job(already: bool, status: int) -> None:
    """And what was started is told; 200 where it was under way already."""
    world = World(token="s3cret", start_answer={**TOLD, "already_running": already})
    async with world.client() as client:
        response = await client.post("/api/v1/tasks/a/start", headers=TOKEN)
        assert (response.status, await response.json()) == (status, {**TOLD, "already_running": already})
    assert world.started == ["a"]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer other"}])
async def test_without_the_right_token_nothing_is_started(headers: dict[str, str]) -> None:
    """401, and how to ask; 403 where the config has no token."""
    for token, status in (("s3cret", 401), (None, 403)):
        world = World(token=token)
        async with world.client() as client:
            response = await client.post("/api/v1/tasks/a/start", headers=headers)
            told = await response.json()
            assert (response.status, set(told["error"])) == (status, {"code", "message", "details"})
            assert ("WWW-Authenticate" in response.headers) is (status == 401)
        assert world.started == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a", "a"),
        ("a/b", "a/b"),
        ("a%2Fb", "a/b"),
        ("start", "start"),
        ("a/start", "a/start"),
        ("a%20b", "a b"),
        ("a%252F", "a%2F"),
    ],
)
@pytest.mark.parametrize("prefix", ["/", "/poller"])
async def test_a_tasks_name_may_hold_slashes(path: str, name: str, prefix: str) -> None:
    """Encoded or not; the last part of the path is what is to be done."""
    world = World(token="s3cret", prefix=prefix)
    async with world.client() as client:
        url = f"{prefix.rstrip('/')}/api/v1/tasks/{path}/start"
        assert (await client.post(URL(url, encoded=True), headers=TOKEN)).status == 202
    assert world.started == [name]


@pytest.mark.parametrize(
    ("error", "status", "details"),
    [
        (NoSuchTaskError("a"), 404, {"task": "a"}),
        (UnstartableError("no"), 409, {"task": "a"}),
        (StoppingError("no"), 503, {"task": "a"}),
        (StoreError("no"), 503, {}),
        (StartError("no"), 502, {"task": "a"}),
        (
            StartError("no", REFUSED),
            502,
            {"task": "a", "outcome": "rejected", "code": "Forbidden.RAM", "http_status": 403, "request_id": "r3"},
        ),
    ],
)
async def test_why_nothing_was_started_is_told(error: PollerError, status: int, details: dict[str, Any]) -> None:
    """In the shape of every error, with what the provider said."""
    world = World(token="s3cret", start_answer=error)
    async with world.client() as client:
        response = await client.post("/api/v1/tasks/a/start", headers=TOKEN)
        told = (await response.json())["error"]
        assert (response.status, told["message"], told["details"]) == (status, str(error), details)


async def test_starting_is_for_posts() -> None:
    """A task may be called so too: reading it is another matter."""
    world = World(token="s3cret")
    async with world.client() as client:
        response = await client.get("/api/v1/tasks/a/start")
        assert (response.status, (await response.json())["error"]["details"]) == (404, {"task": "a/start"})
        assert (await client.post("/api/v1/tasks/a", headers=TOKEN)).status == 405
    assert world.started == []
