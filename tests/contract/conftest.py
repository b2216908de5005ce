"""The stores that must keep the contract; another database is another line in `KINDS`."""

import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from poller.protocols import Store
from poller.store import open_store
from tests.pgbouncer import PgBouncer
from tests.postgresql import in_thread


@dataclass(frozen=True)
class Kind:
    """A kind of store. ``url`` names one that is a test's own."""

    name: str
    url: Callable[[pytest.FixtureRequest], str]


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store to be copied: migrations take longer than most tests."""
    file = tmp_path_factory.mktemp("template") / "poller.db"
    in_thread(_make(f"sqlite:///{file}"))
    return file


async def _make(url: str) -> None:
    store = open_store(url)
    await store.open()
    await store.close()


def _in_folder(request: pytest.FixtureRequest) -> str:
    file = request.getfixturevalue("tmp_path") / "poller.db"
    shutil.copy(request.getfixturevalue("empty_file"), file)
    return f"sqlite:///{file}"


def _in_memory(_: pytest.FixtureRequest) -> str:
    return "sqlite://"


def on_server(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store on PostgreSQL."""
    url: str = request.getfixturevalue("postgres_store_url")
    return url


def behind_pooler(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store on PostgreSQL that a pooler leads to."""
    pooler: PgBouncer = request.getfixturevalue("pgbouncer")
    return pooler.url(request.getfixturevalue("postgres_store_url"))


LASTING = [
    Kind("sqlite-file", _in_folder),
    Kind("postgresql", on_server),
]
"""Those that outlive the program."""

KINDS = [*LASTING, Kind("sqlite-memory", _in_memory)]

# Few tests ask for it: what a pooler changes lies in connections and transactions, not in what is stored.
POOLED = Kind("postgresql-behind-pooler", behind_pooler)


class StoreFactory:
    """Starts the program again and again, as far as the store can tell, and closes what a test left open."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opened: list[Store] = []

    async def start(self) -> Store:
        """The store, opened; first closed if it was open."""
        await self.close()
        store: Store = open_store(self._url)
        await store.open()
        self._opened.append(store)
        return store

    async def close(self) -> None:
        """Closes the store."""
        while self._opened:
            await self._opened.pop().close()


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
async def store_factory(request: pytest.FixtureRequest) -> AsyncIterator[StoreFactory]:
    """Opens a store of every kind."""
    factory = StoreFactory(request.param.url(request))
    yield factory
    await factory.close()


@pytest.fixture(params=[*LASTING, POOLED], ids=lambda kind: kind.name)
async def lasting_factory(request: pytest.FixtureRequest) -> AsyncIterator[StoreFactory]:
    """Opens a store of every kind that outlives the program."""
    factory = StoreFactory(request.param.url(request))
    yield factory
    await factory.close()


@pytest.fixture
async def store(store_factory: StoreFactory) -> Store:
    """An empty store, opened, of every kind."""
    return await store_factory.start()
