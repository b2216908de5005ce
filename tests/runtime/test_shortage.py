"""When a connection cannot poll all that are due: who goes first, that nobody starves, and how the rate recovers."""

import asyncio
import random
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.config.watchlist import diff
from poller.domain.lifecycle import begin
from poller.domain.observation import Observation, Outcome
from poller.domain.prospect import Basis, Prospect
from poller.domain.task import Entry
from poller.domain.urgency import slack
from poller.runtime.duequeue import DueQueue
from poller.runtime.watch import Watch
from tests.runtime.doubles import (
    RUNNING,
    START,
    THROTTLED,
    House,
    Script,
    ScriptedProvider,
    always,
    build_house,
    build_lane,
    entry,
    run_house,
)

SOON = Prospect(Basis.HISTORY, expected=1.0, low=0.5, high=2.0, next_age=0.0)
NEVER = Prospect(Basis.HISTORY, expected=1e9, low=1e8, high=1e10, next_age=0.0)


@dataclass
class Replanner:
    """Plans each task's next poll ``delay`` seconds after its last, as urgent as its prospect makes it."""

    delay: float
    prospects: dict[str, Prospect]
    lags: dict[str, list[float]] = field(default_factory=dict)

    def observed(self, watch: Watch, seen: Observation, duration: float, lag: float) -> None:
        name, policy = watch.task.entry.name, watch.task.entry.policy
        self.lags.setdefault(name, []).append(lag)
        now = asyncio.get_running_loop().time()
        delay = 0.0 if seen.outcome is Outcome.THROTTLED else self.delay
        may_wait = slack(self.prospects.get(name), now + delay, policy, delay)
        watch.lane.plan(watch, now + delay, may_wait)


async def polled(
    likely: int, unlikely: int, *, delay: float, seconds: float, script: Script | None = None, **options: float
) -> tuple[Replanner, dict[str, list[float]]]:
    """Polls tasks whose longest delay is a minute; of each, when it was polled."""
    names = [f"likely{n}" for n in range(likely)] + [f"unlikely{n}" for n in range(unlikely)]
    random.Random(7).shuffle(names)
    prospects = {name: SOON if name.startswith("likely") else NEVER for name in names}
    reporter, provider = Replanner(delay, prospects), ScriptedProvider(script or always(RUNNING))
    lane = build_lane("one", provider, reporter, None, lambda: False, **options)
    for number, name in enumerate(names):
        lane.plan(Watch(begin(entry(name, max=60.0), START), lane), number / options["rate"])
    running = asyncio.create_task(lane.run())
    await asyncio.sleep(seconds)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    times: dict[str, list[float]] = {name: [] for name in names}
    for at, name in provider.polls:
        times[name].append(at)
    return reporter, times


def longest_gap(times: dict[str, list[float]], since: float, until: float) -> float:
    """The longest time without a poll, of any task, between two moments."""
    rows = ([since, *(at for at in row if since < at < until), until] for row in times.values())
    return max(later - earlier for row in rows for earlier, later in pairwise(row))


def mean_lag(reporter: Replanner, kind: str) -> float:
    lags = [lag for name, row in reporter.lags.items() if name.startswith(kind) for lag in row[1:]]
    return sum(lags) / len(lags)


@pytest.mark.looptime
async def test_likely_ends_go_first_and_nobody_starves() -> None:
    """1,000 tasks that want 17 polls a second and get 10: the likely hundred hardly wait, none longer than 2 × max."""
    reporter, times = await polled(100, 900, delay=60.0, seconds=500.0, rate=10.0)
    assert mean_lag(reporter, "likely") < 2.0
    assert mean_lag(reporter, "unlikely") > 30.0
    assert longest_gap(times, 0.0, 500.0) <= 120.0


@pytest.mark.looptime
async def test_even_the_most_urgent_leave_everybody_a_turn() -> None:
    """The likely could use up the whole rate: once all were polled a first time, none waits longer than 2 × max."""
    _, times = await polled(60, 140, delay=10.0, seconds=1200.0, rate=2.0)
    assert longest_gap(times, 150.0, 1200.0) <= 120.0
    likely, unlikely = (
        [len(row) for name, row in times.items() if name.startswith(kind)] for kind in ("likely", "unlikely")
    )
    assert sum(likely) / 60 > 1.2 * sum(unlikely) / 140


@pytest.mark.looptime
async def test_where_the_rate_cannot_give_that_all_are_polled_in_turn() -> None:
    """200 tasks at 1/s cannot be polled every two minutes: of each there are as many polls as of any other."""
    _, times = await polled(60, 140, delay=10.0, seconds=2000.0, rate=1.0)
    counts = [sum(1 for at in row if at > 300.0) for row in times.values()]
    assert max(counts) - min(counts) <= 1
    assert longest_gap(times, 300.0, 2000.0) <= 201.0


@pytest.mark.looptime
async def test_too_few_slots_are_a_shortage_like_a_low_rate() -> None:
    """Answers that take a second leave two slots two polls a second."""
    reporter, times = await polled(
        20, 180, delay=60.0, seconds=900.0, rate=100.0, max_in_flight=2, script=always((1.0, RUNNING))
    )
    assert mean_lag(reporter, "likely") < 5.0
    assert mean_lag(reporter, "unlikely") > 30.0
    assert longest_gap(times, 150.0, 900.0) <= 120.0


@pytest.mark.looptime
async def test_out_of_a_pause_likely_ends_come_first() -> None:
    """A pause much longer than 2 × max makes nobody's turn come: those likely to have ended are asked first."""
    asked = iter(range(1000))

    def script(_entry: Entry, _count: int) -> Observation:
        return Observation(Outcome.THROTTLED, retry_after=600.0) if next(asked) == 300 else RUNNING

    _, times = await polled(50, 150, delay=55.0, seconds=690.0, rate=10.0, script=script)
    after = sorted((at, name) for name, row in times.items() for at in row if at > 600.0)
    first = [name for _, name in after[2:50]]
    assert sum(name.startswith("likely") for name in first) >= 44


@pytest.mark.looptime
async def test_without_shortage_slack_changes_nothing() -> None:
    """Where all can go that are due, each goes when it is due."""
    reporter, _ = await polled(30, 70, delay=20.0, seconds=600.0, rate=50.0)
    assert max(lag for row in reporter.lags.values() for lag in row) < 0.05


@pytest.mark.looptime
async def test_no_task_is_polled_twice_at_once() -> None:
    """However short of slots, a task has one poll under way at most, and the slots are all that is used."""
    under_way: list[str] = []

    class Strict(ScriptedProvider):
        async def poll(self, entry: Entry, said: int | None = None) -> Observation:
            name = entry.name
            assert name not in under_way
            under_way.append(name)
            try:
                return await super().poll(entry, said)
            finally:
                under_way.remove(name)

    provider = Strict(always((3.0, RUNNING)))
    house = build_house({"one": provider}, [entry(f"t{n}", initial=1.0, max=5.0) for n in range(50)], max_in_flight=4)

    async def impatient() -> None:
        while True:
            await asyncio.sleep(0.7)
            for watch in house.scheduler.tasks():
                house.scheduler.poll_now(watch)

    asking = asyncio.create_task(impatient())
    await run_house(house, 200.0)
    asking.cancel()
    assert provider.most_in_flight == 4
    assert not [line for line in house.logs.entries if line["event"] == "poll.broken"]
    assert max(provider.counts.values()) - min(provider.counts.values()) <= 2


@pytest.mark.looptime
async def test_each_pause_tries_another_task_whatever_its_urgency() -> None:
    """The most urgent one is not asked again before all others were: it may be what is refused."""
    refused = Observation(Outcome.THROTTLED, retry_after=2.0)
    _, times = await polled(1, 9, delay=30.0, seconds=20.5, rate=1000.0, script=always(refused))
    assert sum(map(len, times.values())) == 11
    assert max(map(len, times.values())) - min(map(len, times.values())) <= 1


# --- the queue alone ---------------------------------------------------------------------------------------------


def watches(count: int, longest: float = 60.0) -> list[Watch]:
    return [Watch(begin(entry(str(n), max=longest), START), None) for n in range(count)]  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.floats(0.0, 50.0), st.floats(0.0, 40.0)), min_size=1, max_size=30))
def test_of_those_due_the_one_that_may_least_wait_is_taken(plans: list[tuple[float, float]]) -> None:
    """Each once, in the order of due time and slack together; the first to be planned where that is the same."""
    queue, row = DueQueue(), watches(len(plans))
    for watch, (due, may_wait) in zip(row, plans, strict=True):
        queue.plan(watch, due, may_wait, 0.0)
    assert queue.due(50.0) == len(plans)
    taken = [queue.take(50.0) for _ in plans]
    assert taken == sorted(row, key=lambda w: plans[row.index(w)][0] + plans[row.index(w)][1])
    assert (queue.due(50.0), queue.wait(50.0)) == (0, None)


@given(
    st.lists(
        st.tuples(st.sampled_from(("plan", "drop", "take", "pass")), st.integers(0, 5), st.floats(0.0, 20.0)),
        max_size=60,
    )
)
def test_a_watch_has_one_place_at_most(steps: list[tuple[str, int, float]]) -> None:
    """Planned again it leaves its place, dropped or taken it has none; the count of the due is that of a plain list."""
    queue, row, now = DueQueue(), watches(6), 0.0
    planned: dict[int, float] = {}
    for what, number, amount in steps:
        if what == "plan":
            queue.plan(row[number], now + amount - 5.0, amount / 2.0, now)
            planned[number] = now + amount - 5.0
        elif what == "drop":
            queue.drop(row[number])
            planned.pop(number, None)
        elif what == "pass":
            now += amount
        elif queue.due(now):
            taken = row.index(queue.take(now, refused=row[:number]))
            assert planned.pop(taken) <= now
        due = [at for at in planned.values() if at <= now]
        assert queue.due(now) == len(due)
        assert queue.late(now) == pytest.approx(now - min(due) if due else 0.0)
        waits = 0.0 if due else min(planned.values(), default=None)
        assert queue.wait(now) == (waits if not waits else pytest.approx(waits - now))


def test_the_refused_go_last_and_the_one_refused_longest_ago_first() -> None:
    """However little they may wait."""
    queue, (one, two, three) = DueQueue(), watches(3)
    for watch, may_wait in ((one, 0.0), (two, 1.0), (three, 50.0)):
        queue.plan(watch, 0.0, may_wait, 0.0)
    refused = {two: None, one: None}
    assert [queue.take(1.0, refused) for _ in range(3)] == [three, two, one]


def test_a_turn_goes_ahead_of_whatever_is_urgent() -> None:
    """Who was polled last 1.8 × max ago is next, unless nobody could be polled meanwhile."""
    for closed, first in ((0.0, 0), (60.0, 1)):
        queue, row = DueQueue(), watches(2)
        queue.plan(row[0], 60.0, 60.0, 0.0)
        queue.plan(row[1], 109.0, 0.0, 100.0)
        queue.was_closed(closed)
        assert queue.take(110.0) is row[first]


# --- the rate after throttling -----------------------------------------------------------------------------------


def logged(house: House, event: str) -> list[dict[str, object]]:
    return [dict(line) for line in house.logs.entries if line["event"] == event]


async def rates(house: House, at: list[float]) -> list[float]:
    """What the connection allows at these times."""
    (lane,) = house.scheduler.connections()
    seen = []
    for moment in at:
        await asyncio.sleep(moment - asyncio.get_running_loop().time())
        seen.append(lane.rate)
    return seen


def throttling(*when: int) -> Script:
    """Refuses these polls of the whole connection, for a second each."""
    numbers = iter(range(1, 1_000_000))
    refused = Observation(Outcome.THROTTLED, retry_after=1.0)
    return lambda _e, _n: refused if next(numbers) in when else RUNNING


@pytest.mark.looptime
async def test_a_throttled_connection_goes_on_at_half_its_rate_and_recovers() -> None:
    """Half for ten seconds of answers, then a twentieth more every ten; told when it is cut and when it is whole."""
    provider = ScriptedProvider(throttling(100))
    house = build_house({"one": provider}, [entry(f"t{n}", initial=1.0, max=1.0) for n in range(60)], rate=20.0)
    looking = asyncio.create_task(rates(house, [4.0, 10.0, 20.0, 60.0, 125.0]))
    await run_house(house, 130.0)
    assert await looking == [20.0, 10.0, 11.0, 15.0, 20.0]
    between = [at for at in provider.times() if 8.0 <= at < 17.0]
    assert len(between) == pytest.approx(90, abs=2)
    (slowed,), (restored,) = logged(house, "provider.slowed"), logged(house, "provider.rate_restored")
    assert (slowed["log_level"], slowed["rate"], slowed["configured"]) == ("warning", 10.0, 20.0)
    assert (restored["rate"], restored["configured"]) == (20.0, 20.0)


@pytest.mark.looptime
async def test_polls_throttled_together_halve_the_rate_once() -> None:
    """Ten were under way at the old rate: that is one sign, not ten."""
    provider = ScriptedProvider(lambda _e, n: RUNNING if n == 1 else (1.0, THROTTLED) if n == 2 else RUNNING)
    house = build_house(
        {"one": provider}, [entry(f"t{n}", initial=3.0, max=3.0) for n in range(10)], rate=100.0, max_in_flight=10
    )
    looking = asyncio.create_task(rates(house, [10.0]))
    await run_house(house, 12.0)
    assert await looking == [50.0]


@pytest.mark.looptime
async def test_a_rate_that_keeps_being_cut_is_told_at_each_halving_only() -> None:
    """Cut, a little recovered, cut again: none for what is about the same as was told."""
    provider = ScriptedProvider(throttling(*range(100, 100_000, 60)))
    house = build_house({"one": provider}, [entry(f"t{n}", initial=1.0, max=1.0) for n in range(60)], rate=20.0)
    await run_house(house, 600.0)
    told = [line["rate"] for line in logged(house, "provider.slowed")]
    assert told[0] == 10.0
    assert 2 <= len(told) <= 4
    assert len(logged(house, "provider.paused")) > 15


@pytest.mark.looptime
async def test_refused_credentials_do_not_slow_a_connection() -> None:
    """Its rate was not what was wrong."""
    refused = Observation(Outcome.UNAUTHORIZED)
    provider = ScriptedProvider(lambda _e, n: refused if n == 2 else RUNNING)
    house = build_house({"one": provider}, [entry("a", initial=1.0, max=1.0)], rate=20.0, auth_pause=5.0)
    looking = asyncio.create_task(rates(house, [20.0]))
    await run_house(house, 21.0)
    assert await looking == [20.0]
    assert logged(house, "provider.slowed") == []


@pytest.mark.looptime
async def test_new_tasks_are_not_put_off_by_a_rate_that_will_recover() -> None:
    """Their first polls spread over what the configured rate needs for them, not the one that is left just now."""
    provider = ScriptedProvider(throttling(*range(2, 12)))
    house = build_house({"one": provider}, [entry("a", initial=1.0, max=1.0)], rate=20.0)
    looking = asyncio.create_task(rates(house, [15.0]))
    running = asyncio.create_task(run_house(house, 30.0))
    assert await looking == [0.2]
    before = {watch.task.entry.name: watch.task.entry for watch in house.scheduler.tasks()}
    after = {**before, **{f"n{n}": entry(f"n{n}") for n in range(100)}}
    house.scheduler.apply(after, diff(before, after), {}, START + 15.0)
    assert all(watch.due is None or watch.due <= 15.0 + 100 / 20.0 for watch in house.scheduler.tasks())
    await running
