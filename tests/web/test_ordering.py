"""The order of the list, and which tasks stand on one page of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.domain.prospect import Basis, Prospect
from poller.domain.state import State
from poller.domain.task import Contact
from poller.protocols import WatchedTask
from poller.web.ordering import Column, Listing, Order, elapsed, parse_number, parse_order
from poller.web.selection import BadQueryError
from tests.emit.fakes import NOW, FakeWatched, watched


def listed(tasks: list[FakeWatched], order: Order, number: int = 1, size: int = 100) -> list[str]:
    listing = Listing(order, number, size, NOW)
    for start in range(0, len(tasks), 3):
        listing.add(tasks[start : start + 3])
    return [each.task.entry.name for each in listing.tasks()]


def test_what_needs_attention_comes_first() -> None:
    """What ended badly, then what has a flag up, then what runs, waits, is unknown, was stopped, succeeded."""
    tasks = [watched(f"in-{state}", state) for state in State]
    tasks += [watched("late", late=True), watched("stalled", State.PENDING, stalled=True)]
    tasks += [watched("once-late", State.SUCCEEDED, late=True)]
    assert listed(sorted(tasks, key=lambda each: each.task.entry.name), Order()) == [
        *("in-expired", "in-failed", "in-missing"),
        *("late", "stalled", "in-running", "in-pending", "in-unknown", "in-stopped", "in-succeeded", "once-late"),
    ]


TASKS = [
    watched("a", progress=50.0, started_at=NOW - 30, contact=Contact(last_polled_at=NOW - 3)),
    watched("b", progress=10.0, started_at=NOW - 300, prospect=Prospect(Basis.HISTORY, 1000, 1000, 1000, 1000)),
    watched("c", State.SUCCEEDED, progress=100.0, duration=60.0, contact=Contact(last_polled_at=NOW - 9)),
    watched("d", State.UNKNOWN),
    watched("e", started_at=NOW - 900, prospect=Prospect(Basis.HISTORY, 950, 950, 950, 950)),
]


@pytest.mark.parametrize(
    ("column", "upwards", "downwards"),
    [
        (Column.NAME, "abcde", "edcba"),
        (Column.PROGRESS, "bacde", "cabde"),
        (Column.ELAPSED, "acbed", "ebcad"),
        (Column.EXPECTED, "ebacd", "beacd"),
        (Column.POLLED, "cabde", "acbde"),
    ],
)
def test_what_is_not_known_comes_last_either_way(column: Column, upwards: str, downwards: str) -> None:
    """And what is equal stays sorted by name."""
    assert "".join(listed(TASKS, Order(column))) == upwards
    assert "".join(listed(TASKS, Order(column, downwards=True))) == downwards


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=60),
    st.booleans(),
    st.integers(1, 12),
    st.integers(1, 7),
    st.integers(1, 20),
)
def test_a_page_is_a_part_of_all_sorted(
    values: list[int | None], downwards: bool, number: int, size: int, at_a_time: int
) -> None:
    """However little is kept on the way; the last one stands for those that are not there."""
    tasks = [
        watched(f"n{place:03}", progress=None if value is None else float(value)) for place, value in enumerate(values)
    ]
    listing = Listing(Order(Column.PROGRESS, downwards), number, size, NOW)
    for start in range(0, len(tasks), at_a_time):
        listing.add(tasks[start : start + at_a_time])
    known = [each for each in tasks if each.task.status.progress is not None]
    known.sort(key=lambda each: each.task.status.progress or 0.0, reverse=downwards)
    everything: list[WatchedTask] = [*known, *(each for each in tasks if each.task.status.progress is None)]
    pages = max(1, -(-len(everything) // size))
    shown = min(number, pages)
    assert (listing.count, listing.pages, listing.shown) == (len(everything), pages, shown)
    assert listing.tasks() == everything[(shown - 1) * size : shown * size]


def test_only_what_may_stand_on_the_page_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a page of very many tasks costs no more than it must."""
    monkeypatch.setattr("poller.web.ordering._AT_A_TIME", 10)
    tasks = [watched(f"n{number:04}", progress=float(number * 7 % 1000)) for number in range(1000)]
    listing = Listing(Order(Column.PROGRESS, downwards=True), 2, 5, NOW)
    for start in range(0, 1000, 10):
        listing.add(tasks[start : start + 10])
        assert len(listing._known) <= 40
    assert [each.task.status.progress for each in listing.tasks()] == [994.0, 993.0, 992.0, 991.0, 990.0]


@pytest.mark.parametrize(
    ("text", "order"),
    [("", Order()), ("name", Order(Column.NAME)), ("-elapsed", Order(Column.ELAPSED, downwards=True))],
)
def test_an_order_is_read_and_written_alike(text: str, order: Order) -> None:
    """The order by urgency has a name too."""
    assert parse_order(text) == order
    assert parse_order(str(order)) == order


@pytest.mark.parametrize("text", ["size", "--name", "-", "NAME"])
def test_another_order_is_refused(text: str) -> None:
    """With what is allowed."""
    with pytest.raises(BadQueryError, match="one of state, name, progress, elapsed, expected, polled is allowed"):
        parse_order(text)


@pytest.mark.parametrize(("text", "number"), [("", 1), ("1", 1), ("1000000", 1_000_000)])
def test_a_page_has_a_number(text: str, number: int) -> None:
    """From 1 on."""
    assert parse_number(text) == number


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", "²", "1000001", "9" * 5000])
def test_another_number_is_refused(text: str) -> None:
    """With what is allowed."""
    with pytest.raises(BadQueryError, match="a whole number from 1 to 1000000 is allowed"):
        parse_number(text)


@pytest.mark.parametrize(
    ("state", "known", "seconds"),
    [
        (State.RUNNING, {"started_at": NOW - 65}, 65.0),
        (State.RUNNING, {"started_at": NOW + 65}, None),
        (State.RUNNING, {}, 900.0),
        (State.PENDING, {}, None),
        (State.PENDING, {"started_at": NOW - 5}, 5.0),
        (State.RUNNING, {"started_at": 0.0}, 900.0),
        (State.UNKNOWN, {}, None),
        (State.SUCCEEDED, {"started_at": NOW - 65}, None),
        (State.SUCCEEDED, {"started_at": NOW - 65, "duration": 60.0}, 60.0),
        (State.SUCCEEDED, {"duration": 0.0}, 0.0),
    ],
)
def test_how_long_it_took_is_told_when_known(state: State, known: dict[str, Any], seconds: float | None) -> None:
    """By the provider's own figure before any other; of what runs also since when polls have seen it run."""
    assert elapsed(watched("n", state, **known), NOW) == seconds
