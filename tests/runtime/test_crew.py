"""Who is given something to do."""

import asyncio

import pytest

from poller.runtime.crew import Crew

pytestmark = pytest.mark.looptime


async def test_nobody_is_given_anything_who_is_about_to_leave() -> None:
    """Cancelled, a member leaves only when its turn comes: until then it counts as busy, and so do all others."""
    done: list[int] = []

    async def work(item: int) -> None:
        done.append(item)

    crew = Crew[int](work, lambda: None)
    members = [asyncio.ensure_future(crew.member()) for _ in range(2)]
    await asyncio.sleep(0)
    assert not crew.is_busy
    members[1].cancel()
    assert not crew.is_busy
    crew.give(1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert done == [1]
    members[0].cancel()
    assert crew.is_busy
    await asyncio.wait(members)
    assert crew.is_busy
