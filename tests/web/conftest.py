"""Every test talks to a real server on 127.0.0.1."""

from collections.abc import AsyncIterator

import pytest

from tests.web.fakes import Client, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def client(world: World) -> AsyncIterator[Client]:
    async with world.client() as client:
        yield client
