"""What the SQL store does beyond the contract."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from poller.domain.errors import StoreBusyError, StoreError
from poller.domain.events import Transition
from poller.domain.shares import PARTITIONS, partition_of
from poller.domain.state import State
from poller.domain.task import Policy
from poller.protocols import Batch, Change
from poller.store import SqlStore, open_store
from poller.store.cursor import cursor_at, row_at
from tests.store.lives import T0, batch_of, ended, entry


async def opened(url: str = "sqlite://") -> SqlStore:
    """A store, opened."""
    store = open_store(url)
    await store.open()
    return store


# Entries


async def test_the_watchlist_comes_back_as_it_was(tmp_path: Path) -> None:
    """With everything that tells what to watch and how, by name, also while a daemon works on the store."""
    given = [
        replace(entry("b"), source="b.yaml", labels={"team": "ads"}, policy=Policy(deadline=1800.0), follow=True),
        replace(entry("a"), source="a.yaml", family="imports", policy=Policy(adaptive=False, missing_polls=7)),
    ]
    url = f"sqlite:///{tmp_path}/poller.db"
    assert await open_store(url).watchlist() == []
    assert not list(tmp_path.iterdir()), "looking leaves nothing behind"
    store = await opened(url)
    await store.watch(given, T0)
    assert await open_store(url).watchlist() == given[::-1]
    await store.watch(given[:1], T0 + 1)
    await store.close()
    assert await open_store(url).watchlist() == given[:1]


async def test_an_entry_that_changed_is_stored_as_it_is_now(tmp_path: Path) -> None:
    """Also when it was away meanwhile."""
    store = await opened(f"sqlite:///{tmp_path}/poller.db")
    now = replace(entry("a"), labels={"team": "ads"}, policy=Policy(deadline=9.0), follow=True, family="imports")
    await store.watch([entry("a"), entry("b")], T0)
    await store.watch([now], T0 + 1)
    await store.watch([now, replace(now, name="b", params={"task_id": "b"})], T0 + 2)
    assert await store.watchlist() == [now, replace(now, name="b", params={"task_id": "b"})]
    await store.close()


async def test_a_watchlist_that_is_as_it_was_costs_no_write(tmp_path: Path) -> None:
    """Only rows that are new or differ are written."""
    store = await opened(f"sqlite:///{tmp_path}/poller.db")
    entries = [entry(f"job-{number}") for number in range(10)]
    await store.watch(entries, T0)
    with closing(sqlite3.connect(tmp_path / "poller.db")) as other:
        (before,) = other.execute("PRAGMA data_version").fetchone()
        await store.watch(entries, T0 + 1)
        assert other.execute("PRAGMA data_version").fetchone() == (before,)
        await store.watch(entries[1:], T0 + 2)
        assert other.execute("PRAGMA data_version").fetchone() != (before,)
    await store.close()


# Pruning


async def test_what_is_over_for_long_is_forgotten() -> None:
    """Transitions that were told, and tasks no longer watched; nothing else."""
    store = await opened()
    changes = [ended(name, T0 + second) for second, name in enumerate("abcd")]
    ids = [it.transition_id for change in changes if (it := change.transition)]
    await store.watch([change.task.entry for change in changes], T0)
    await store.commit(Batch(T0 + 4, changes, told=ids[:1] + ids[2:]))
    await store.watch([entry("a"), entry("b"), entry("c")], T0 + 10)
    await store.watch([entry("a"), entry("b")], T0 + 20)
    assert await store.prune(T0 + 3) == 2
    assert [it.task for it in (await store.transitions()).transitions] == ["d", "b"]
    assert await store.prune(T0 + 20) == 2
    await store.watch([entry(name) for name in "abcd"], T0 + 30)
    known = {it.entry.name: it.saved.status.first_seen_at for it in (await store.tasks()).tasks}
    assert known == {"a": T0, "b": T0, "c": T0, "d": T0 + 30}
    assert await store.prune(T0 + 20) == 0
    await store.close()


async def test_pruning_goes_little_by_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a commit never waits for all of it."""
    monkeypatch.setattr("poller.store.sql.ROWS_AT_A_TIME", 7)
    store = await opened()
    batch = batch_of(*(f"job-{number}" for number in range(30)))
    ids = [it.transition_id for change in batch.changes if (it := change.transition)]
    await store.commit(replace(batch, told=ids))
    pruning = asyncio.ensure_future(store.prune(T0 + 100))
    await asyncio.sleep(0)
    await store.commit(batch_of("meanwhile"))
    left = len((await store.transitions()).transitions)
    assert await pruning == 30
    assert 1 < left < 31
    await store.close()


async def test_pages_go_on_over_what_was_pruned() -> None:
    """A cursor is a place, not a row, and no number is given out twice."""
    store = await opened()
    await store.commit(batch_of("a", "b", "c"))
    page = await store.transitions(limit=1)
    await store.commit(Batch(T0 + 6, told=[it.transition_id for it in await store.untold()]))
    await store.prune(T0 + 100)
    await store.commit(batch_of("d"))
    assert (await store.transitions(cursor=page.next_cursor)).transitions == []
    await store.close()


# History


@pytest.mark.parametrize("ends", [False, True])
async def test_the_history_comes_oldest_first_beside_who_holds_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """By its times, whatever the order of the commits; all of one time too, and what comes while it is read."""
    monkeypatch.setattr("poller.store.sql.ROWS_AT_A_TIME", 3)
    url = f"sqlite:///{tmp_path}/poller.db"
    store = await opened(url)
    targets = [State.SUCCEEDED, State.RUNNING]
    made = [
        replace(it, target=targets[number % 2])
        for number in range(20)
        if (it := ended(f"{number}", T0 + (number * 7 % 5)).transition)
    ]
    await store.commit(Batch(T0, [Change(ended(it.task).task, it) for it in made]))
    found: list[Transition] = []
    async for page in open_store(url).history(T0 + 1, ends):
        assert len(page) <= 3
        if not found:
            await store.commit(Batch(T0, [ended("late", T0 + 99)]))
        found += page
    expected = [it for it in sorted(made, key=lambda it: it.at) if it.at >= T0 + 1 and (it.terminal or not ends)]
    assert found[:-1] == expected
    assert found[-1].task == "late"
    await store.close()


# What keeps it quick


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("SELECT * FROM transitions WHERE told_at IS NULL ORDER BY seq", "ix_transitions_untold"),
        ("SELECT * FROM transitions WHERE task = 'a' AND seq < 9 ORDER BY seq DESC LIMIT 9", "ix_transitions_task_seq"),
        ("SELECT seq FROM transitions WHERE at < 9 AND told_at IS NOT NULL ORDER BY at LIMIT 9", "ix_transitions_at"),
        (
            "SELECT transition_id, row_number() OVER (PARTITION BY family ORDER BY ended_at DESC, transition_id DESC)"
            " FROM runs WHERE family IN ('a', 'b')",
            "COVERING INDEX ix_runs_family_ended_at",
        ),
        ("SELECT * FROM transitions WHERE (at, seq) > (9, 9) ORDER BY at, seq LIMIT 9", "ix_transitions_at"),
        (
            "SELECT name FROM tasks WHERE unwatched_at < 9 AND name NOT IN (SELECT task FROM transitions"
            " WHERE told_at IS NULL) ORDER BY unwatched_at LIMIT 9",
            "ix_tasks_unwatched_at",
        ),
        ("SELECT transition_id FROM runs WHERE ended_at < 9 ORDER BY ended_at LIMIT 9", "ix_runs_ended_at"),
    ],
)
async def test_what_is_asked_often_is_found_by_an_index(tmp_path: Path, query: str, index: str) -> None:
    """And needs no sorting, however long the history."""
    await (await opened(f"sqlite:///{tmp_path}/poller.db")).close()
    with closing(sqlite3.connect(tmp_path / "poller.db")) as connection:
        plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}"))
    assert index in plan
    assert "TEMP B-TREE" not in plan


# Numbers that are stored


def test_a_cursor_means_its_row_and_no_other_text_does() -> None:
    """Not even one that would decode to a number."""
    for seq in (1, 42, 2**63 - 1):
        assert row_at(cursor_at(seq)) == seq
    for rubbish in (cursor_at(0), cursor_at(-1), cursor_at(2**63), cursor_at(7) + "=", f" {cursor_at(7)}", "Nw", "é"):
        with pytest.raises(ValueError, match="a next_cursor of an earlier page is allowed"):
            row_at(rubbish)


def test_the_partition_of_a_name_never_changes() -> None:
    """It is stored, and every replica must come to the same."""
    assert {name: partition_of(name) for name in ("a", "ctr-model-3", "")} == {"a": 85, "ctr-model-3": 603, "": 805}
    assert {partition_of(f"job-{number}") for number in range(20_000)} == set(range(PARTITIONS))


# Errors and cancellation


async def test_a_number_that_fits_no_column_is_an_error_of_the_store() -> None:
    """As every other fault of what is to be written is."""
    store = await opened()
    change = ended("a")
    huge = replace(change, task=replace(change.task, status=replace(change.task.status, run=2**80)))
    with pytest.raises(StoreError, match=r"sqlite://: .*too large"):
        await store.commit(Batch(T0, [huge]))
    await store.close()


async def test_a_store_whose_opening_is_cancelled_is_closed(tmp_path: Path) -> None:
    """It can be opened by another one as soon as it let go."""
    url = f"sqlite:///{tmp_path}/poller.db"
    for steps in range(8):
        store = open_store(url)
        opening = asyncio.ensure_future(store.open())
        for _ in range(steps):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])
        await store.close()
        await (await opened(url)).close()


async def test_closing_waits_for_a_commit_under_way(tmp_path: Path) -> None:
    """Whoever asked for it."""
    url = f"sqlite:///{tmp_path}/poller.db"
    store = await opened(url)
    commit = asyncio.ensure_future(store.commit(batch_of("a")))
    await asyncio.sleep(0)
    await store.close()
    await commit
    store = await opened(url)
    assert [it.task for it in await store.untold()] == ["a"]
    await store.close()


# Taking turns


async def test_a_watchlist_waits_while_another_replica_writes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which may take it longer than a lock is waited for; at last it is stored."""
    store = await opened()
    write, turns = store._write, [StoreBusyError("another transaction holds it")] * 2

    async def busy_at_first(work: Any) -> Any:
        if turns:
            raise turns.pop()
        return await write(work)

    monkeypatch.setattr(store, "_write", busy_at_first)
    await store.watch([entry("a")], T0)
    assert [it.entry.name for it in (await store.tasks()).tasks] == ["a"]
    await store.close()
