"""What an SQLite store has committed is there, however the program ended, and whoever reads meanwhile."""

import asyncio
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

from poller.store import open_store
from tests.store.lives import T0, batch_of, daemon, entry


async def test_whatever_was_committed_survives_a_kill_and_no_commit_is_there_by_half(tmp_path: Path) -> None:
    """Killed amid commits of two tasks each."""
    url = f"sqlite:///{tmp_path}/poller.db"
    with daemon(url, "commits") as killed:
        killed.follow(20)
        killed.kill()
    store = open_store(url)
    await store.open()
    counts = Counter(int(transition.task[:-1]) for transition in await store.untold())
    await store.close()
    assert set(range(killed.committed)) <= set(counts)
    assert set(counts.values()) == {2}


async def test_a_store_never_closed_is_whole_at_the_next_start(tmp_path: Path) -> None:
    """Its write-ahead log is found again."""
    url = f"sqlite:///{tmp_path}/poller.db"
    with daemon(url, "commits") as killed:
        killed.follow(1)
        killed.kill()
    assert (tmp_path / "poller.db-wal").exists()
    store = open_store(url)
    await store.open()
    await store.watch([entry("0a"), entry("0b")], T0)
    found = (await store.tasks()).tasks
    await store.close()
    assert {each.saved.status.state for each in found} == {"succeeded"}
    assert not (tmp_path / "poller.db-wal").exists()


async def test_a_commit_is_on_the_disk_when_it_returns(tmp_path: Path) -> None:
    """A power cut takes nothing that was told: the log is synchronized at every commit."""
    store = open_store(f"sqlite:///{tmp_path}/poller.db")
    await store.open()
    assert store._engine is not None
    async with store._engine.connect() as connection:
        for pragma, value in {"synchronous": 2, "journal_mode": "wal"}.items():
            assert (await connection.exec_driver_sql(f"PRAGMA {pragma}")).scalar() == value
    await store.close()


async def test_other_programs_may_read_the_store_while_it_is_at_work(tmp_path: Path) -> None:
    """A backup or a person with a shell: neither waits for the other."""
    store = open_store(f"sqlite:///{tmp_path}/poller.db")
    await store.open()
    await store.commit(batch_of("a"))
    with closing(sqlite3.connect(tmp_path / "poller.db")) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT name, state FROM tasks").fetchall() == [("a", "succeeded")]
        await store.commit(batch_of("b"))
        assert reader.execute("SELECT count(*) FROM tasks").fetchone() == (1,)
    await store.close()


async def test_pages_are_read_while_a_commit_is_under_way(tmp_path: Path) -> None:
    """And show what was there before it."""
    store = open_store(f"sqlite:///{tmp_path}/poller.db")
    await store.open()
    await store.commit(batch_of("a"))
    assert store._engine is not None
    async with store._engine.begin() as connection:
        await connection.exec_driver_sql("DELETE FROM transitions")
        assert len((await asyncio.wait_for(store.transitions(), 5)).transitions) == 1
    assert (await store.transitions()).transitions == []
    await store.close()
