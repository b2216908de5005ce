"""A database that does not answer holds up neither who asks it nor who leaves it."""

import asyncio
import gc
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import pytest

from poller.domain.errors import StoreError
from poller.store import SqlStore, open_store
from tests.faultproxy import FaultProxy
from tests.postgresql import Address
from tests.store.lives import T0, entry

SECONDS = 30.0


@asynccontextmanager
async def far_away(url: str) -> AsyncIterator[tuple[FaultProxy, SqlStore]]:
    """A store behind a network that can be broken; nothing may be reported to the loop meanwhile or afterwards."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    port = Address.of(url).port
    async with FaultProxy("127.0.0.1", port) as proxy:
        store = open_store(url.replace(f":{port}/", f":{proxy.port}/"))
        try:
            yield proxy, store
        finally:
            async with asyncio.timeout(SECONDS):
                await store.close()
    gc.collect()
    await asyncio.sleep(0)
    assert reported == []


async def given_up(work: Coroutine[Any, Any, object], seconds: float = 0.1) -> None:
    """Asks, and waits no longer than that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await work


async def connections(url: str) -> int:
    """How many the database has, without the one that asks."""
    own = await asyncpg.connect(url)
    try:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        count: int = await own.fetchval(query)
        return count
    finally:
        await own.close()


async def test_whoever_gives_up_leaves_nothing_behind(postgres_url: str) -> None:
    """However many do so while nothing is answered: others come at once when it is, and nothing is reported."""
    async with far_away(postgres_url) as (proxy, store):
        await store.open()
        cluster = store.cluster()
        assert cluster is not None
        await cluster.join("me", 60)
        await proxy.blackhole()
        for _ in range(20):
            await asyncio.gather(
                given_up(cluster.look("me", 60)),
                given_up(store.tasks()),
                given_up(store.watch([entry("a")], T0)),
            )
        await proxy.heal()
        async with asyncio.timeout(5):
            assert await cluster.look("me") is not None
            await store.watch([entry("b")], T0)
            assert [each.entry.name for each in (await store.tasks()).tasks] == ["b"]
        assert await connections(postgres_url) <= 4


async def test_few_wait_for_what_does_not_come(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for others to have read is refused after a while, so that not ever more of them wait."""
    monkeypatch.setattr("poller.store.sql._LONGEST_TURN", 0.1)
    async with far_away(postgres_url) as (proxy, store):
        await store.open()
        await proxy.blackhole()
        first = asyncio.ensure_future(store.tasks())
        await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            others = await asyncio.gather(*(store.tasks() for _ in range(20)), return_exceptions=True)
        assert [str(error).partition(": ")[2] for error in others] == ["does not answer in time"] * 20
        await proxy.heal()
        await first


async def test_a_store_that_does_not_answer_is_left_all_the_same(postgres_url: str) -> None:
    """Whatever is under way then fails, and no connection stays."""
    async with far_away(postgres_url) as (proxy, store):
        await store.open()
        await asyncio.gather(store.tasks(), store.watch([entry("a")], T0))
        await proxy.blackhole()
        asked = [asyncio.ensure_future(each) for each in (store.tasks(), store.watch([entry("b")], T0), store.tasks())]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(8):
            await store.close()
        assert [type(error) for error in await asyncio.gather(*asked, return_exceptions=True)] == [StoreError] * 3
        await proxy.heal()
        async with asyncio.timeout(SECONDS):
            while await connections(postgres_url):
                await asyncio.sleep(0.05)


async def test_an_opening_that_does_not_come_about_is_given_up(postgres_url: str) -> None:
    """It fails after a while by itself; whoever waits no longer need not."""
    async with far_away(postgres_url) as (proxy, store):
        await proxy.blackhole()
        with pytest.raises(StoreError, match="does not answer in time"):
            await store.open()
        await given_up(store.open(), 0.5)
        async with asyncio.timeout(8):
            await store.close()


async def test_connections_that_are_reset_are_replaced_and_not_more_become(postgres_url: str) -> None:
    """The first who asks after that may be told of it."""
    async with far_away(postgres_url) as (proxy, store):
        await store.open()
        for number in range(20):
            await proxy.reset()
            await proxy.heal()
            with suppress(StoreError):
                await store.watch([entry(f"a{number}")], T0)
            await store.watch([entry(f"a{number}")], T0)
            await asyncio.gather(store.tasks(), store.untold())
        assert [each.entry.name for each in (await store.tasks()).tasks] == ["a19"]
        async with asyncio.timeout(SECONDS):
            while await connections(postgres_url) > 4:
                await asyncio.sleep(0.05)
