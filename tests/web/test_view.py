"""What the list says in words."""

from dataclasses import replace

import pytest
from multidict import MultiDict

from poller.domain.circuit import Phase
from poller.domain.prospect import Basis, ExpectedEnd
from poller.web.view import expectation, gate_words, notices, paging, row, task_path
from tests.emit.fakes import NOW, FakeConnection, watched

OPEN = FakeConnection("jobs")
PAUSED = FakeConnection("jobs", due=1, paused="unauthorized", phase=Phase.PAUSED)


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        (OPEN, "open"),
        (replace(OPEN, phase=Phase.PROBING), "before its first answer"),
        (PAUSED, "paused (unauthorized)"),
        (replace(PAUSED, phase=Phase.PROBING), "probing (unauthorized)"),
    ],
)
def test_a_connection_says_whether_it_lets_polls_out(connection: FakeConnection, words: str) -> None:
    """And on whose account not."""
    assert gate_words(connection) == words


@pytest.mark.parametrize(
    ("connection", "text"),
    [
        (PAUSED, "1 poll waits."),
        (replace(PAUSED, due=2000), "2,000 polls wait."),
        (replace(PAUSED, phase=Phase.PROBING, due=0), "One poll at a time goes out. 0 polls wait."),
    ],
)
def test_a_pause_is_noticed_by_everybody(connection: FakeConnection, text: str) -> None:
    """With what waits for its end; a connection that never answered is none."""
    (notice,) = notices([], True, [OPEN, replace(OPEN, phase=Phase.PROBING), connection])
    assert (notice.text, notice.is_bad) == (text, False)


@pytest.mark.parametrize(
    ("low", "high", "between"),
    [
        (NOW + 60, NOW + 600, "14:14–14:23"),
        (NOW + 60, NOW + 90_000, "14:14–22 Sep 15:13"),
        (NOW + 1, NOW + 2, None),
        (None, None, None),
        (NOW, 1e300, None),
    ],
)
def test_an_end_is_expected_between_two_moments(low: float | None, high: float | None, between: str | None) -> None:
    """Where they differ in what is shown of them, and a calendar holds both."""
    told = expectation(ExpectedEnd(Basis.HISTORY, NOW + 60, low, high), NOW)
    assert told is not None
    assert told.between == between


def test_an_end_that_no_calendar_holds_is_not_told() -> None:
    """Rather than anything wrong."""
    assert expectation(ExpectedEnd(Basis.PACE, 1e300, None, None), NOW) is None


@pytest.mark.parametrize(
    ("count", "number", "expected"),
    [
        (0, 1, (0, 0, 1, None, None, None, None)),
        (100, 1, (1, 100, 1, None, None, None, None)),
        (101, 1, (1, 100, 2, None, None, "?q=x&page=2", "?q=x&page=2")),
        (1000, 5, (401, 500, 10, "?q=x", "?q=x&page=4", "?q=x&page=6", "?q=x&page=10")),
        (1000, 10, (901, 1000, 10, "?q=x", "?q=x&page=9", None, None)),
    ],
)
def test_pages_lead_to_one_another(count: int, number: int, expected: tuple[object, ...]) -> None:
    """And no link leads nowhere, or to where one is."""
    told = paging(MultiDict({"q": "x", "page": str(number)}), count, number, 100, None)
    links = (told.begin_href, told.previous_href, told.next_href, told.end_href)
    assert (told.first, told.last, told.pages, *links) == expected


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("plain-1.2_3", "tasks/plain-1.2_3"),
        ("a/b:c@d+e", "tasks/a/b:c@d+e"),
        ("a//b", "tasks/a%2F%2Fb"),
        ("../etc", "tasks/..%2Fetc"),
        ("a/", "tasks/a%2F"),
    ],
)
def test_a_tasks_address_keeps_its_slashes_where_they_are_safe(name: str, path: str) -> None:
    """Browsers and proxies would take others for something else."""
    assert task_path(name) == path


def test_what_only_ticks_makes_no_other_row() -> None:
    """The words differ, and what is compared does not."""
    known = watched("n", started_at=NOW - 60, progress=3.0)
    now, later = row(known, NOW), row(known, NOW + 10)
    assert now == later
    assert now.elapsed is not None
    assert later.elapsed is not None
    assert (now.elapsed.words, later.elapsed.words) == ("1m", "1m10s")
    seen_only = row(watched("n"), NOW).elapsed
    assert seen_only is not None
    assert (seen_only.words, seen_only.since) == ("~15m", NOW - 900)
    assert row(watched("n", started_at=NOW - 60, progress=4.0), NOW) != now
