"""Who follows transitions on PostgreSQL misses none that commits late, and is told none twice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from poller.domain.place import Place
from poller.store import SqlStore, open_store
from tests.contract.test_news_contract import follow
from tests.pgbouncer import PgBouncer
from tests.store.lives import T0, batch_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

WRITE = """
    INSERT INTO transitions (transition_id, ordinal, task, provider, operation, source, target, at, run, initial)
    VALUES ($1, 1, $1, 'search', 'function-task', 'running', 'succeeded', $2, 1, false)
"""


@pytest.fixture(params=["direct", "behind a pooler"])
def url(request: pytest.FixtureRequest, postgres_store_url: str) -> str:
    if request.param == "direct":
        return postgres_store_url
    pooler: PgBouncer = request.getfixturevalue("pgbouncer")
    return pooler.url(postgres_store_url)


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    store = open_store(url)
    await store.open()
    yield store
    await store.close()


@asynccontextmanager
async def writing(url: str, *ids: str) -> AsyncIterator[asyncpg.transaction.Transaction]:
    """A transaction of somebody else that has written transitions of these ids, yet to be committed."""
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        transaction = connection.transaction()
        await transaction.start()
        for name in ids:
            await connection.execute(WRITE, name, T0)
        yield transaction
    finally:
        await connection.close()


async def commit(store: SqlStore, name: str) -> str:
    """Commits a transition of the task ``name``, and gives its id."""
    batch = batch_of(name)
    await store.commit(batch)
    (change,) = [change for change in batch.changes if change.transition]
    assert change.transition is not None
    return change.transition.transition_id


async def test_a_transition_that_commits_late_is_not_missed(store: SqlStore, postgres_store_url: str) -> None:
    """Though others with higher numbers were read long before; and each comes once, from whatever place one goes on."""
    start = await store.latest()
    async with writing(postgres_store_url, "late") as transaction:
        first = await commit(store, "first")
        seen, place = await follow(store, start)
        assert seen == [first]
        fresh = await store.latest()
        for _ in range(5):
            seen, place = await follow(store, place)
            assert seen == []
        second = await commit(store, "second")
        seen, place = await follow(store, place)
        assert seen == [second]
        text = str(place)
        await transaction.commit()
    assert (await follow(store, place))[0] == ["late"]
    assert (await follow(store, Place.parse(text)))[0] == ["late"]
    assert (await follow(store, start))[0] == ["late", first, second]
    assert (await follow(store, fresh))[0] == ["late", second]
    _, place = await follow(store, place)
    assert (await follow(store, place))[0] == []
    assert Place.parse(text).gaps


async def test_some_of_many_that_commit_late_are_not_missed(store: SqlStore, postgres_store_url: str) -> None:
    """Each gap is filled by itself, and those of writes that failed are forgotten when nobody writes any more."""
    place = await store.latest()
    async with writing(postgres_store_url, "a", "b") as one, writing(postgres_store_url, "c") as other:
        first = await commit(store, "first")
        seen, place = await follow(store, place)
        assert seen == [first]
        await other.rollback()
        await one.commit()
    seen, place = await follow(store, Place.parse(str(place)))
    assert seen == ["a", "b"]
    for _ in range(2):
        seen, place = await follow(store, place)
        assert seen == []
    assert place.gaps == ()


async def test_a_gap_is_kept_as_long_as_anybody_may_fill_it(store: SqlStore, postgres_store_url: str) -> None:
    """Even by somebody who began to write after it was seen."""
    place = await store.latest()
    async with writing(postgres_store_url, "late") as late:
        await commit(store, "first")
        _, place = await follow(store, place)
        async with writing(postgres_store_url, "other") as other:
            await commit(store, "second")
            _, place = await follow(store, place)
            await late.commit()
            seen, place = await follow(store, place)
            assert seen == ["late"]
            for _ in range(3):
                _, place = await follow(store, place)
            await other.commit()
    seen, place = await follow(store, place)
    assert seen == ["other"]


async def test_a_large_transaction_under_way_is_awaited_by_who_comes_new(
    store: SqlStore, postgres_store_url: str
) -> None:
    """As one that commits what waited during an outage of the database; with nobody writing nothing is awaited."""
    async with writing(postgres_store_url) as transaction:
        connection = transaction._connection
        await connection.execute(
            WRITE.replace("VALUES ($1, 1, $1,", "SELECT $1 || n, 1, $1 || n,").replace(
                "$2, 1, false)", "$2, 1, false FROM generate_series(1, 20000) AS n"
            ),
            "many",
            T0,
        )
        await commit(store, "first")
        place = await store.latest()
        assert place.gaps
        await transaction.commit()
    assert len((await follow(store, place, 5_000))[0]) == 20_000
    assert (await store.latest()).gaps == ()
