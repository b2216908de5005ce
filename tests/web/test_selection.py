"""Filters pick what is asked for, and pages neither skip nor repeat."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from poller.domain.state import Flag, State
from poller.protocols import WatchedTask
from poller.web.selection import (
    MAX_LIMIT,
    TASKS_PER_TURN,
    BadQueryError,
    Selection,
    from_cursor,
    in_turns,
    parse_page,
    parse_selection,
    to_cursor,
)
from tests.emit.fakes import watched

NAMES = st.text("abAB09._:@/+-", min_size=1, max_size=20)


def names(picked: list[WatchedTask]) -> list[str]:
    return [each.task.entry.name for each in picked]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"one", "two", "three"}),
        ("state=running", {"one", "two"}),
        ("state=running&state=failed", {"one", "two", "three"}),
        ("state=&provider=&label=&q=", {"one", "two", "three"}),
        ("state=pending", set()),
        ("provider=search", {"two"}),
        ("provider=search&provider=jobs", {"one", "two", "three"}),
        ("operation=job", {"one", "three"}),
        ("label=team:ads", {"one", "two"}),
        ("label=team:ads&label=env:prod", {"two"}),
        ("label=url:http://a:1", {"three"}),
        ("label=team:", set()),
        ("flag=overdue", {"one"}),
        ("flag=late", {"two"}),
        ("flag=overdue&flag=stalled", {"one", "two"}),
        ("owner=Ann", {"two"}),
        ("owner=Ann&owner=Bob", {"two"}),
        ("owner=Bob", set()),
        ("source=api", {"two"}),
        ("source=file", {"one", "three"}),
        ("source=api&owner=", {"two"}),
        ("q=T", {"two", "three"}),
        ("q=%20one%20", {"one"}),
        ("state=running&provider=jobs&unheard=of", {"one"}),
    ],
)
async def test_filters(query: str, expected: set[str]) -> None:
    tasks = [
        watched("one", labels={"team": "ads"}, overdue=True),
        watched("three", State.FAILED, labels={"url": "http://a:1"}),
        watched(
            "two",
            labels={"team": "ads", "env": "prod"},
            provider="search",
            operation="task",
            owner="Ann",
            stalled=True,
            late=True,
        ),
    ]
    pairs = [pair.split("=") for pair in query.replace("%20", " ").split("&") if pair]
    picked, cursor = await parse_selection(MultiDict([(key, value) for key, value in pairs])).pick(in_turns(tasks))
    assert {each.task.entry.name for each in picked} == expected
    assert cursor is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("limit", text) for text in ("0", "-1", "1001", "ten", "1.5", "٣", "9" * 5000)],
        *[("cursor", text) for text in ("x", "bmFtZTp", "é", "bmFtZTph=", "Zm9v", to_cursor("a") + "A")],
        ("state", "runing"),
        ("flag", "delayed"),
        ("label", "team"),
        ("label", ":ads"),
    ],
)
def test_what_means_nothing_is_refused_and_the_parameter_named(key: str, value: str) -> None:
    with pytest.raises(BadQueryError, match=f"^{key}: ") as caught:
        parse_selection(MultiDict({key: value}))
    assert caught.value.parameter == key


def test_limits_go_up_to_a_thousand() -> None:
    assert parse_page(MultiDict({"limit": str(MAX_LIMIT)})) == (1000, None)
    assert parse_page(MultiDict()) == (100, None)
    assert parse_page(MultiDict({"limit": ""}), 200) == (200, None)


@given(NAMES)
def test_a_cursor_gives_back_its_name(name: str) -> None:
    assert from_cursor(to_cursor(name)) == name


async def test_pages_stay_in_step_when_tasks_come_and_go() -> None:
    tasks = [watched(name) for name in ("a", "c", "e", "g")]
    first, cursor = await Selection(limit=2).pick(in_turns(tasks))
    assert (names(first), cursor) == (["a", "c"], to_cursor("c"))
    tasks = [watched(name) for name in ("a", "b", "d", "e", "g")]
    second, cursor = await Selection(limit=3, after=from_cursor(cursor or "")).pick(in_turns(tasks))
    assert (names(second), cursor) == (["d", "e", "g"], None)


async def test_a_page_that_ends_with_the_last_match_has_no_next() -> None:
    tasks = [watched("a"), watched("b"), watched("c", State.FAILED)]
    _, cursor = await Selection(states=frozenset({State.RUNNING}), limit=2).pick(in_turns(tasks))
    assert cursor is None


async def test_matches_are_found_among_many() -> None:
    tasks = [watched(f"n{number:05}") for number in range(3 * TASKS_PER_TURN)]
    tasks[-1] = watched("z", stalled=True)
    picked, _ = await Selection(flags=frozenset({Flag.STALLED})).pick(in_turns(tasks))
    assert names(picked) == ["z"]
