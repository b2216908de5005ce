"""What the log says of polls that fail: when it starts, changes and ends, and not more."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from poller.config.watchlist import diff
from poller.domain.observation import Observation, Outcome
from poller.domain.task import Entry
from poller.runtime.failing import MOST_CODES, MOST_TOLD
from tests.runtime.doubles import (
    REJECTED,
    RUNNING,
    SUCCEEDED,
    THROTTLED,
    UNAUTHORIZED,
    UNREACHABLE,
    House,
    ScriptedProvider,
    always,
    build_house,
    clock,
    entry,
    run_house,
)

pytestmark = pytest.mark.looptime

MISSING = Observation(Outcome.MISSING, code="Task.NotExist")
BAD_GATEWAY = replace(
    UNREACHABLE, http_status=502, code="X.1", message="HTTP 502", rule="http: 5xx is unreachable", request_id="r-1"
)
EVENTS = ("poll.failed", "poll.recovered", "provider.polls_failing", "provider.polls_failing_ended")


def lines(house: House, *events: str) -> list[Mapping[str, Any]]:
    return [line for line in house.logs.entries if line["event"] in (events or EVENTS)]


def told(house: House) -> list[tuple[str, str]]:
    return [(line["event"].removeprefix("poll."), line.get("code") or line["outcome"]) for line in lines(house)]


def by_turns(*answers: Observation) -> ScriptedProvider:
    """Answers with one after the other, the last one for ever."""
    return ScriptedProvider(lambda _e, n: answers[min(n, len(answers)) - 1])


def every_second(name: str, **policy: float) -> Entry:
    return entry(name, "one", False, initial=1.0, max=1.0, **policy)


async def told_of(*answers: Observation, **policy: float) -> House:
    """One task, polled once a second with these answers."""
    house = build_house({"one": by_turns(*answers)}, [every_second("a", **policy)])
    await run_house(house, len(answers) + 3)
    return house


async def test_a_failure_is_told_with_all_there_is_to_know() -> None:
    """Which task, what came, why it was judged so, and when it is asked again."""
    house = await told_of(RUNNING, BAD_GATEWAY, RUNNING)
    failed, recovered = lines(house)
    assert dict(failed) == {
        "event": "poll.failed",
        "log_level": "warning",
        "task": "a",
        "provider": "one",
        "operation": "job",
        "outcome": "unreachable",
        "http_status": 502,
        "code": "X.1",
        "message": "HTTP 502",
        "rule": "http: 5xx is unreachable",
        "request_id": "r-1",
        "next_poll_at": "2027-01-15T08:00:02.500Z",
    }
    assert dict(recovered) == {
        "event": "poll.recovered",
        "log_level": "info",
        "task": "a",
        "provider": "one",
        "operation": "job",
        "outcome": "unreachable",
        "code": "X.1",
        "failed_polls": 1,
        "failed_seconds": 1.0,
    }


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([RUNNING] * 3, []),
        ([UNREACHABLE] * 20, [("failed", "unreachable")]),
        ([UNREACHABLE, RUNNING] * 2, [("failed", "unreachable"), ("recovered", "unreachable")] * 2),
        (
            [replace(UNREACHABLE, message=f"{n} s behind", http_status=500 + n, request_id=f"{n}") for n in range(9)],
            [("failed", "unreachable")],
        ),
        (
            [UNREACHABLE, REJECTED, RUNNING],
            [("failed", "unreachable"), ("failed", "rejected"), ("recovered", "rejected")],
        ),
        ([UNREACHABLE, BAD_GATEWAY, RUNNING], [("failed", "unreachable"), ("failed", "X.1"), ("recovered", "X.1")]),
        ([RUNNING, MISSING, MISSING, RUNNING], []),
        ([UNREACHABLE, MISSING], [("failed", "unreachable"), ("recovered", "unreachable")]),
        ([RUNNING, THROTTLED, RUNNING, UNAUTHORIZED, RUNNING], []),
        ([UNREACHABLE, THROTTLED, UNREACHABLE, RUNNING], [("failed", "unreachable"), ("recovered", "unreachable")]),
        ([UNREACHABLE, SUCCEEDED], [("failed", "unreachable"), ("recovered", "unreachable")]),
    ],
    ids=[
        "nothing fails", "the same", "by turns", "another text", "another outcome", "another code", "no such task",
        "unreachable, then no such task", "refusals", "a refusal in between", "ends well",
    ],
)  # fmt: skip
async def test_is_told_when_it_starts_changes_and_ends(
    answers: list[Observation], expected: list[tuple[str, str]]
) -> None:
    """Not every time, not for another text alone, and not for what tells the status or pauses the connection."""
    house = build_house({"one": by_turns(*answers)}, [every_second("a")], initial=1.0, max=1.0, auth_pause=1.0)
    await run_house(house, len(answers) * 2 + 3)
    assert told(house) == expected


async def test_how_long_and_how_many_go_on_over_a_change() -> None:
    """A task that fails now so, now so, has failed all the time."""
    house = await told_of(UNREACHABLE, UNREACHABLE, REJECTED, REJECTED, RUNNING)
    recovered = lines(house)[-1]
    assert (recovered["failed_polls"], recovered["failed_seconds"]) == (4, 4.0)


async def test_a_task_that_changes_its_failure_with_each_poll_is_told_so_often_and_no_more() -> None:
    """A provider may make up an error code for each poll."""
    answers = [replace(REJECTED, code=f"E.{n}") for n in range(50)]
    house = await told_of(*answers, RUNNING)
    assert Counter(line["event"] for line in lines(house)) == {"poll.failed": MOST_TOLD, "poll.recovered": 1}


async def test_an_outage_of_a_thousand_tasks_is_a_few_lines() -> None:
    """Ten are told one by one, that there are more once, and the end in numbers."""
    begins, ends = 20.0, 100.0
    provider = ScriptedProvider(always(RUNNING))
    provider.script = lambda _e, _n: UNREACHABLE if begins <= provider.polls[-1][0] < ends else RUNNING
    count = 1_000
    entries = [entry(f"t{n}", initial=30.0, max=30.0) for n in range(count)]
    house = build_house({"one": provider}, entries, rate=100.0, max_in_flight=100)
    await run_house(house, 150)
    assert Counter(line["event"] for line in lines(house)) == {
        "poll.failed": 10, "poll.recovered": 10, "provider.polls_failing": 1, "provider.polls_failing_ended": 1,
    }  # fmt: skip
    (crowded,) = lines(house, "provider.polls_failing")
    assert (crowded["log_level"], crowded["provider"], crowded["operation"]) == ("warning", "one", "job")
    assert (crowded["outcome"], crowded["told_one_by_one"], crowded["message"]) == ("unreachable", 10, "HTTP 503")
    (ended,) = lines(house, "provider.polls_failing_ended")
    assert (ended["log_level"], ended["times_failed"], ended["times_recovered"]) == ("info", count, count)
    assert 80 <= ended["failed_seconds"] <= 130
    assert {line["task"] for line in lines(house, "poll.failed")} == {
        line["task"] for line in lines(house, "poll.recovered")
    }
    assert_nothing_is_held(house)


async def test_each_way_of_failing_is_told_for_itself() -> None:
    """Another provider's, operation's, outcome's or code's failures are never hidden among the many."""
    down, up = ScriptedProvider(always(UNREACHABLE)), ScriptedProvider(always(RUNNING))
    up.script = lambda e, _n: BAD_GATEWAY if e.name == "b3" else RUNNING
    entries = [entry(f"a{n}") for n in range(30)] + [entry(f"b{n}", "two") for n in range(30)]
    house = build_house({"one": down, "two": up}, entries)
    await run_house(house, 30)
    assert [line["task"] for line in lines(house, "poll.failed") if line["provider"] == "two"] == ["b3"]
    assert len(lines(house)) == MOST_TOLD + 2


async def test_a_code_for_each_task_is_a_few_lines_too() -> None:
    """Codes are told apart up to a number; the rest are one group."""
    provider = ScriptedProvider(lambda e, _n: replace(REJECTED, code=f"E.{e.name}"))
    house = build_house({"one": provider}, [entry(f"t{n}", initial=5.0, max=5.0) for n in range(300)], rate=1_000.0)
    await run_house(house, 60)
    assert len(lines(house, "poll.failed")) == MOST_CODES + MOST_TOLD
    assert [line["code"] for line in lines(house, "provider.polls_failing")] == ["(others)"]


def rewatch(house: House, before: Iterable[Entry], after: Iterable[Entry]) -> None:
    old, new = ({e.name: e for e in entries} for entries in (before, after))
    house.scheduler.apply(new, diff(old, new), {}, clock().now())


async def test_a_task_no_longer_watched_is_forgotten() -> None:
    """No line says that it recovered; watched again, it is told again."""
    a = every_second("a")
    house = build_house({"one": ScriptedProvider(always(UNREACHABLE))}, [a])
    await run_house(house, 5)
    rewatch(house, [a], [])
    assert_nothing_is_held(house)
    rewatch(house, [], [a])
    await run_house(house, 5)
    assert told(house) == [("failed", "unreachable")] * 2


async def test_a_crowd_that_is_no_longer_watched_is_closed() -> None:
    """With the number of those that recovered before."""
    entries = [every_second(f"t{n}") for n in range(20)]
    provider = ScriptedProvider(lambda e, n: RUNNING if e.name == "t0" and n > 2 else UNREACHABLE)
    house = build_house({"one": provider}, entries)
    await run_house(house, 8)
    rewatch(house, entries, [])
    (ended,) = lines(house, "provider.polls_failing_ended")
    assert (ended["times_failed"], ended["times_recovered"]) == (20, 1)
    assert_nothing_is_held(house)


@pytest.mark.parametrize("longest", [1.0, 500.0], ids=["by a poll", "between polls"])
async def test_a_task_that_is_given_up_is_forgotten(longest: float) -> None:
    """Its transition to expired says what there is to say."""
    task = entry("a", initial=1.0, max=longest, growth=10.0, give_up_after=60.0)
    house = build_house({"one": ScriptedProvider(always(UNREACHABLE))}, [task])
    await run_house(house, 600)
    assert [str(t.target) for t in house.listener.transitions] == ["expired"]
    assert told(house) == [("failed", "unreachable")]
    assert_nothing_is_held(house)


def assert_nothing_is_held(house: House) -> None:
    failing = house.scheduler._failing
    assert (failing._tasks, failing._groups, failing._codes) == ({}, {}, Counter())
