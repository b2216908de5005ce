"""What changes something needs the bearer token."""

import pytest

from poller.domain.errors import ConfigError, PollerError, Problem, StoreError
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
