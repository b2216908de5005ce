"""A watchlist that changes under way: what changed is taken over, and the rest is not disturbed."""

import asyncio
from dataclasses import replace

import pytest

from poller.config.watchlist import diff
from poller.domain.observation import Observation, Outcome
from poller.domain.state import State
from poller.domain.task import Entry
from tests.runtime.doubles import (
    RUNNING,
    SUCCEEDED,
    House,
    ScriptedProvider,
    always,
    build_house,
    build_lane,
    clock,
    entry,
    run_house,
)

pytestmark = pytest.mark.looptime


def listed(*entries: Entry) -> dict[str, Entry]:
    return {each.name: each for each in entries}


def switch(house: House, old: dict[str, Entry], new: dict[str, Entry], *lanes: object) -> None:
    house.scheduler.apply(new, diff(old, new), {}, clock().now(), lanes)  # type: ignore[arg-type]


async def test_what_did_not_change_is_polled_as_if_nothing_happened() -> None:
    """To the millisecond, with a task added, one removed and one changed beside it."""

    async def times(with_change: bool) -> list[float]:
        provider = ScriptedProvider(always(RUNNING))
        old = listed(entry("same"), entry("gone"), entry("other"))
        house = build_house({"one": provider}, old.values())
        running = asyncio.create_task(run_house(house, 100))
        start = asyncio.get_running_loop().time()
        await asyncio.sleep(30)
        if with_change:
            switch(house, old, listed(entry("same"), entry("new"), entry("other", max=7.0)))
        await running
        return [round(at - start, 6) for at in provider.times("same")]

    assert await times(with_change=True) == await times(with_change=False)


async def test_what_is_added_is_polled_and_what_is_removed_is_not() -> None:
    """From the change on."""
    provider = ScriptedProvider(always(RUNNING))
    old, new = listed(entry("a", max=5.0)), listed(entry("b", max=5.0))
    house = build_house({"one": provider}, old.values())
    running = asyncio.create_task(run_house(house, 60))
    await asyncio.sleep(20)
    switch(house, old, new)
    await running
    assert max(provider.times("a")) <= 20 < min(provider.times("b"))
    assert [watch.task.entry.name for watch in house.scheduler.tasks()] == ["b"]


async def test_another_task_under_the_same_name_starts_anew() -> None:
    """And what the poll under way brings for the old one is dropped."""
    provider = ScriptedProvider(lambda e, _n: (10.0, SUCCEEDED) if e.params["id"] == "a" else RUNNING)
    old = listed(entry("a"))
    new = listed(replace(entry("a"), params={"id": "other"}))
    house = build_house({"one": provider}, old.values())
    running = asyncio.create_task(run_house(house, 60))
    await asyncio.sleep(5)
    switch(house, old, new)
    await running
    assert [transition.target for transition in house.listener.transitions] == [State.RUNNING]


async def test_other_changes_keep_the_state() -> None:
    """Labels and schedule are taken over by the task as it is; a shorter longest delay at once."""
    provider = ScriptedProvider(always(RUNNING))
    old = listed(entry("a", initial=500.0, max=500.0))
    new = listed(replace(entry("a", initial=10.0, max=10.0), labels={"team": "ads"}))
    house = build_house({"one": provider}, old.values())
    running = asyncio.create_task(run_house(house, 100))
    await asyncio.sleep(20)
    switch(house, old, new)
    await running
    assert len(house.listener.transitions) == 1
    assert provider.times()[1] == pytest.approx(30, abs=0.1)
    watch = house.scheduler.find("a")
    assert watch is not None
    assert watch.task.entry.labels == {"team": "ads"}


async def test_an_ended_task_that_is_followed_from_now_on_is_polled_again() -> None:
    """And one that is followed no more is not."""
    provider = ScriptedProvider(always(SUCCEEDED))
    old = listed(entry("a", max=10.0), entry("b", max=10.0, follow=True))
    new = listed(entry("a", max=10.0, follow=True), entry("b", max=10.0))
    house = build_house({"one": provider}, old.values())
    running = asyncio.create_task(run_house(house, 100))
    await asyncio.sleep(50)
    switch(house, old, new)
    await running
    assert len(provider.times("a")) > 4
    assert max(provider.times("b")) <= 50


async def test_a_new_deadline_holds_at_once() -> None:
    """Not only after the next poll."""
    provider = ScriptedProvider(always(RUNNING))
    old, new = listed(entry("a", initial=900.0, max=900.0)), listed(entry("a", initial=900.0, max=900.0, deadline=60.0))
    house = build_house({"one": provider}, old.values())
    running = asyncio.create_task(run_house(house, 100))
    await asyncio.sleep(20)
    switch(house, old, new)
    await running
    assert [flag.flag for flag in house.listener.flags] == ["overdue"]


async def test_another_connection_takes_over_and_loses_no_poll() -> None:
    """The poll under way counts, the next ones go out over the new connection, and the old one is closed."""
    before = ScriptedProvider(always((3.0, RUNNING)))
    after = ScriptedProvider(always(RUNNING))
    entries = listed(*(entry(f"t{i}", initial=10.0, max=10.0) for i in range(5)))
    house = build_house({"one": before}, entries.values())
    running = asyncio.create_task(run_house(house, 100))
    await asyncio.sleep(2)
    switch(house, entries, entries, build_lane("one", after, house.scheduler))
    await running
    assert len(before.polls) == 1
    assert before.closed
    assert house.listener.outcomes["answered"] == len(before.polls) + len(after.polls)
    assert {name for _, name in after.polls} == set(entries)
    assert len(house.listener.transitions) == 5


async def test_a_connection_nobody_needs_is_closed() -> None:
    """When its last task is gone."""
    one, two = ScriptedProvider(always(RUNNING)), ScriptedProvider(always(Observation(Outcome.REJECTED)))
    old, new = listed(entry("a"), entry("b", provider="two")), listed(entry("a"))
    house = build_house({"one": one, "two": two}, old.values())
    running = asyncio.create_task(run_house(house, 100))
    await asyncio.sleep(20)
    switch(house, old, new)
    house.scheduler.retire(["two"])
    await asyncio.sleep(20)
    assert (one.closed, two.closed) == (False, True)
    assert [lane.provider for lane in house.scheduler.connections()] == ["one"]
    await running


async def test_a_hundred_changes_leave_nothing_behind() -> None:
    """Memory does not grow with reloads."""
    provider = ScriptedProvider(always(RUNNING))
    entries = listed(entry("a"))
    house = build_house({"one": provider}, entries.values())
    running = asyncio.create_task(run_house(house, 3000))
    for number in range(100):
        await asyncio.sleep(10)
        changed = listed(entry("a", deadline=5000.0 + number))
        switch(house, entries, changed)
        entries = changed
    await asyncio.sleep(1500)
    assert len(house.scheduler._lapses) < 5
    await running
