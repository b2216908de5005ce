"""A lane: one connection's queue, pace, slots and pauses."""

import asyncio
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from poller.domain.circuit import Phase
from poller.domain.observation import Observation, Outcome
from poller.domain.state import State
from poller.domain.task import Entry
from poller.protocols import Provider
from poller.runtime.lane import Send
from tests.runtime.doubles import (
    REJECTED,
    RUNNING,
    SUCCEEDED,
    THROTTLED,
    UNAUTHORIZED,
    UNREACHABLE,
    Answer,
    House,
    ScriptedProvider,
    always,
    build_house,
    clock,
    entry,
    run_house,
)

pytestmark = pytest.mark.looptime


def gaps(times: list[float]) -> list[float]:
    return [round(later - earlier, 3) for earlier, later in pairwise(times)]


def logged(house: House, event: str) -> list[dict[str, object]]:
    return [dict(line) for line in house.logs.entries if line["event"] == event]


def first(*answers: Answer, then: Answer) -> ScriptedProvider:
    """Answers polls of the whole connection in this order."""
    row = list(answers)
    return ScriptedProvider(lambda _entry, _count: row.pop(0) if row else then)


async def test_delays_grow_from_initial_to_max() -> None:
    """Without change a task is polled at initial, then growing delays up to max."""
    provider = ScriptedProvider(always(RUNNING))
    house = build_house({"one": provider}, [entry("a", initial=2.0, max=10.0, growth=2.0)])
    await run_house(house, 50)
    assert gaps(provider.times()) == [2, 4, 8, 10, 10, 10]


async def test_delays_start_anew_when_the_state_changes() -> None:
    """A change of state is a sign that more is to come soon."""
    provider = ScriptedProvider(lambda _e, n: SUCCEEDED if n > 6 else RUNNING if n > 3 else _pending())
    house = build_house({"one": provider}, [entry("a", initial=1.0, max=100.0, growth=2.0)])
    await run_house(house, 50)
    assert gaps(provider.times()) == [1, 2, 4, 1, 2, 4]


def _pending() -> Observation:
    return Observation(Outcome.ANSWERED, State.PENDING)


async def test_a_task_that_is_over_is_polled_no_more() -> None:
    """Not one request after the end."""
    provider = ScriptedProvider(lambda _e, n: SUCCEEDED if n == 2 else RUNNING)
    house = build_house({"one": provider}, [entry("a")])
    await run_house(house, 3600)
    assert len(provider.polls) == 2


async def test_a_followed_task_goes_on_at_max() -> None:
    """After its end the next run is awaited at the longest delay."""
    provider = ScriptedProvider(always(SUCCEEDED))
    house = build_house({"one": provider}, [entry("a", follow=True, max=100.0)])
    await run_house(house, 350)
    assert gaps(provider.times()) == [100, 100, 100]


async def test_nobody_polls_in_lockstep_after_a_start() -> None:
    """First polls spread over the shortest delay, or over as long as the rate needs for all of them."""
    row = iter(range(1000))
    provider = ScriptedProvider(always(RUNNING))
    house = build_house(
        {"one": provider}, [entry(f"t{i}", initial=2.0) for i in range(100)], draw=lambda: next(row) % 100 / 100
    )
    await run_house(house, 1.99)
    times = provider.times()
    assert max(Counter(times).values()) == 2
    assert max(times) - min(times) > 1.5


async def test_what_is_due_a_moment_later_goes_along() -> None:
    """Up to 100 ms early, so that there is one wake-up for both; what is due later goes when it is due, nobody late."""
    draws = iter([0.1, 0.5, 0.545, 0.555])
    provider = ScriptedProvider(always(RUNNING))
    entries = [entry(name, initial=10.0) for name in "abcd"]
    house = build_house({"one": provider}, entries, draw=lambda: next(draws, 0.9))
    await run_house(house, 1.5)
    assert provider.times() == pytest.approx([0.2, 1.0, 1.0, 1.11], abs=1e-3)
    assert house.listener.lags == pytest.approx([0.0] * 4, abs=1e-3)
    assert min(house.listener.lags) >= 0


async def test_short_delays_are_hardly_shortened() -> None:
    """By a hundredth at most: who asks for a poll every 200 ms gets no more of them by going along with others."""
    draws = iter([0.1, 0.5, 0.505, 0.515])
    provider = ScriptedProvider(always(RUNNING))
    house = build_house({"one": provider}, [entry(n, initial=0.2) for n in "abcd"], draw=lambda: next(draws, 0.9))
    await run_house(house, 0.15)
    assert provider.times() == pytest.approx([0.02, 0.1, 0.1, 0.103], abs=1e-4)


async def test_the_rate_is_kept_also_by_those_that_go_along() -> None:
    """At most as many in any second as the rate allows, and one that opens it."""
    row = iter(range(100_000))
    provider = ScriptedProvider(always(RUNNING))
    entries = [entry(f"t{i:03}", initial=0.5, max=0.5) for i in range(200)]
    house = build_house({"one": provider}, entries, rate=100.0, draw=lambda: next(row) * 7 % 101 / 101)
    await run_house(house, 20)
    times = provider.times()
    assert len(times) >= 1_500
    for start in times:
        assert sum(1 for at in times if start <= at < start + 1) <= 103


async def test_first_polls_leave_room_between_them() -> None:
    """A quarter more than the rate takes for them: as chance places them, none should have to wait for long."""
    provider = ScriptedProvider(always(RUNNING))
    house = build_house({"one": provider}, [entry(f"t{i:03}") for i in range(101)], rate=10.0, draw=lambda: 1.0)
    await run_house(house, 13)
    assert provider.times()[0] == pytest.approx(12.5, abs=0.01)


async def test_the_rate_is_kept() -> None:
    """However many polls are due, no second sees more than the rate (and the 2 % that timers need)."""
    provider = ScriptedProvider(always(RUNNING))
    house = build_house({"one": provider}, [entry(f"t{i:03}", initial=1.0, max=1.0) for i in range(200)], rate=20.0)
    await run_house(house, 36.2)
    times = provider.times()
    assert 590 <= len(times) <= 603
    for start in times:
        assert sum(1 for at in times if start <= at < start + 1) <= 21


async def test_as_many_polls_as_slots_are_under_way() -> None:
    """max_in_flight is used and never exceeded."""
    provider = ScriptedProvider(always((5.0, RUNNING)))
    provider.script = lambda e, n: RUNNING if (e.name, n) == ("t0", 1) else (5.0, RUNNING)
    house = build_house({"one": provider}, [entry(f"t{i}") for i in range(20)], max_in_flight=4)
    await run_house(house, 60)
    assert provider.most_in_flight == 4


async def test_one_poll_at_a_time_before_the_first_answer() -> None:
    """Nobody knows yet whether the credentials are right: a second poll waits for the first; it is another task's."""
    provider = ScriptedProvider(always((1.0, UNREACHABLE)))
    house = build_house({"one": provider}, [entry(f"t{i}", initial=60.0) for i in range(5)])
    await run_house(house, 6.5)
    assert provider.most_in_flight == 1
    assert len({name for _, name in provider.polls}) == 5


async def test_the_first_answer_opens_the_connection() -> None:
    """From then on polls run side by side."""
    provider = ScriptedProvider(always((1.0, RUNNING)))
    house = build_house({"one": provider}, [entry(f"t{i}") for i in range(10)])
    await run_house(house, 5)
    assert provider.most_in_flight == 9


@pytest.mark.parametrize("seen", [REJECTED, Observation(Outcome.MISSING), Observation(Outcome.UNRECOGNIZED)])
async def test_any_answer_opens_the_connection(seen: Observation) -> None:
    """A refused request, a missing task and a puzzling answer all show that the connection works."""
    provider = ScriptedProvider(always((1.0, seen)))
    house = build_house({"one": provider}, [entry(f"t{i}") for i in range(10)])
    await run_house(house, 3.5)
    assert provider.most_in_flight > 1


async def test_refused_credentials_pause_the_connection() -> None:
    """With wrong keys and 32 tasks waiting one poll goes out, then another one, for another task, after each pause."""
    provider = ScriptedProvider(always(UNAUTHORIZED))
    house = build_house({"one": provider}, [entry(f"t{i:02}") for i in range(32)], auth_pause=300.0)
    await run_house(house, 1000)
    assert gaps(provider.times()) == [300, 300, 300]
    assert len({name for _, name in provider.polls}) == 4


async def test_a_pause_is_logged_when_it_begins_and_ends_only() -> None:
    """Five refusals in a row are one line, and their end another."""
    provider = first(*[UNAUTHORIZED] * 5, then=RUNNING)
    house = build_house({"one": provider}, [entry("a", max=60.0)], auth_pause=60.0)
    await run_house(house, 1000)
    assert len(logged(house, "provider.paused")) == 1
    (resumed,) = logged(house, "provider.resumed")
    assert resumed["reason"] == "unauthorized"
    assert resumed["paused_seconds"] == pytest.approx(300, abs=5)


async def test_changed_credentials_end_a_pause() -> None:
    """A key that is put right is used within a second or so, not after the pause."""
    provider = ScriptedProvider(always(UNAUTHORIZED))
    house = build_house({"one": provider}, [entry("a")], auth_pause=300.0)

    async def rotate() -> None:
        await asyncio.sleep(20)
        provider.script, provider.fresh_version = always(RUNNING), 1

    rotating = asyncio.create_task(rotate())
    await run_house(house, 30)
    await rotating
    assert 20 <= provider.times()[1] <= 21.5


async def test_throttling_pauses_as_long_as_asked() -> None:
    """Retry-After is followed to the second, and no further than max_pause."""
    asked = Observation(Outcome.THROTTLED, retry_after=17.0)
    forever = Observation(Outcome.THROTTLED, retry_after=1e6)
    provider = first(asked, forever, then=RUNNING)
    house = build_house({"one": provider}, [entry("a")], max_pause=100.0)
    await run_house(house, 125)
    assert gaps(provider.times())[:2] == [17, 100]


async def test_throttling_without_a_word_pauses_longer_each_time() -> None:
    """Pauses grow from initial to max, and start anew once the connection has been open."""
    provider = first(*[THROTTLED] * 4, RUNNING, THROTTLED, then=RUNNING)
    house = build_house(
        {"one": provider}, [entry("a", initial=1.0, max=1.0)], rate=100.0, initial=2.0, max=10.0, growth=2.0
    )
    await run_house(house, 30)
    assert gaps(provider.times())[:6] == [2, 4, 8, 10, 1, 2]


async def test_polls_under_way_when_a_pause_begins_change_nothing() -> None:
    """Their answers do not open the connection, and their refusals do not lengthen the row."""
    slow = {"a": (0.0, RUNNING), "b": (1.0, THROTTLED), "c": (2.0, RUNNING), "d": (1.5, THROTTLED)}
    provider = ScriptedProvider(lambda e, n: slow[e.name] if n == 1 else RUNNING)
    house = build_house(
        {"one": provider},
        [entry(name, initial=60.0) for name in "abcd"],
        initial=10.0,
        max=100.0,
        growth=3.0,
        draw=lambda: 0.0,
    )
    await run_house(house, 30)
    second = [at for at, name in provider.polls if name in "bd"][2:]
    assert second == pytest.approx([11.5, 11.5])


async def test_after_a_pause_one_poll_at_a_time_goes_out() -> None:
    """Until one of them is answered."""
    provider = ScriptedProvider(lambda _e, n: THROTTLED if n == 1 else (1.0, RUNNING))
    house = build_house({"one": provider}, [entry(f"t{i}", initial=2.0) for i in range(6)], initial=5.0, max=5.0)
    await run_house(house, 60)
    starts = sorted(provider.times())
    opened = next(at for at in starts if sum(1 for other in starts if abs(other - at) < 0.01) > 1)
    before = [at for at in starts if at < opened]
    assert all(gap >= 1 for gap in gaps(before))


async def test_a_lane_shows_whether_and_until_when_it_is_closed() -> None:
    """Before its first answer, open, paused until a moment on the wall's clock, and after the pause."""
    provider = first(RUNNING, Observation(Outcome.THROTTLED, retry_after=40.0), then=(1e9, RUNNING))
    house = build_house({"one": provider}, [entry("a", initial=10.0, growth=1.0)], max_in_flight=7)
    (lane,) = house.scheduler.connections()
    seen = []

    async def look() -> None:
        for wait in (0.5, 8.5, 16.0, 45.0):
            await asyncio.sleep(wait)
            until = lane.paused_until
            seen.append((lane.phase, lane.paused, None if until is None else round(until - clock().now())))

    assert (lane.phase, lane.slots) == (Phase.PROBING, 7)
    looking = asyncio.create_task(look())
    await run_house(house, 71)
    await looking
    assert seen == [
        (Phase.PROBING, None, None),
        (Phase.OPEN, None, None),
        (Phase.PAUSED, "throttled", 26),
        (Phase.PROBING, "throttled", None),
    ]


async def test_a_throttled_poll_goes_out_right_after_the_pause() -> None:
    """It was due, and the refusal was not its task's: its delay has not grown."""
    provider = first(*[RUNNING] * 9, Observation(Outcome.THROTTLED, retry_after=3.0), then=SUCCEEDED)
    house = build_house({"one": provider}, [entry("a", initial=2.0, max=300.0, growth=2.0)])
    await run_house(house, 2000)
    assert gaps(provider.times())[-1] == 3


@pytest.mark.parametrize(
    "trouble",
    [always((10.0, UNREACHABLE)), always(THROTTLED), always(UNAUTHORIZED), always(UNREACHABLE), always((1e9, RUNNING))],
    ids=["hangs", "throttles", "refuses", "fails", "never comes back"],
)
async def test_one_connection_in_trouble_delays_no_other(trouble: object) -> None:
    """Beside a provider that hangs, throttles or refuses, another one is polled as if it were alone."""

    async def times(with_trouble: bool) -> list[float]:
        well = ScriptedProvider(always((0.1, RUNNING)))
        providers = {"one": well}
        entries: list[Entry] = [entry(f"t{i}", initial=1.0, max=3.0) for i in range(10)]
        if with_trouble:
            providers["ill"] = ScriptedProvider(trouble)  # type: ignore[arg-type]
            entries += [entry(f"x{i}", provider="ill", initial=1.0, max=3.0) for i in range(100)]
        house = build_house(providers, entries)
        start = asyncio.get_running_loop().time()
        await run_house(house, 30)
        return [round(at - start, 6) for at in well.times()]

    assert await times(with_trouble=True) == await times(with_trouble=False)


async def test_an_unreachable_task_backs_off_alone() -> None:
    """Its neighbours on the same connection keep their pace."""
    provider = ScriptedProvider(lambda e, _n: UNREACHABLE if e.name == "a" else RUNNING)
    house = build_house(
        {"one": provider}, [entry("a", initial=1.0, max=64.0, growth=2.0), entry("b", initial=1.0, max=1.0)]
    )
    await run_house(house, 64)
    assert gaps(provider.times("a")) == [1, 2, 4, 8, 16, 32]
    assert set(gaps(provider.times("b"))) == {1.0}


async def test_a_fault_of_poller_ends_neither_lane_nor_task() -> None:
    """An exception where none may be is logged, counts as no answer, and polling goes on."""

    def broken(_entry: Entry, count: int) -> Answer:
        if count == 1:
            raise KeyError("a bug")
        return SUCCEEDED

    provider = ScriptedProvider(broken)
    house = build_house({"one": provider}, [entry("a")])
    await run_house(house, 60)
    assert len(logged(house, "poll.broken")) == 1
    assert [t.target for t in house.listener.transitions] == ["succeeded"]


async def test_a_contradiction_is_noted_once() -> None:
    """An error code beside an answer that is believed is logged for the first task, not for each poll."""
    provider = ScriptedProvider(always(Observation(Outcome.ANSWERED, RUNNING.state, code="Task.NotExist")))
    house = build_house({"one": provider}, [entry("a"), entry("b")])
    await run_house(house, 60)
    (line,) = logged(house, "provider.contradiction")
    assert line["code"] == "Task.NotExist"


async def test_a_lane_that_polls_is_not_stalled_whatever_its_provider_does() -> None:
    """Hanging, pauses and silence are the provider's, and no reason to restart the daemon."""
    for script in (always((10.0, UNREACHABLE)), always(UNAUTHORIZED), always(RUNNING)):
        house = build_house({"one": ScriptedProvider(script)}, [entry("a"), entry("b")], timeout=10.0)
        running = asyncio.create_task(run_house(house, 600))
        for _ in range(100):
            await asyncio.sleep(5)
            assert house.scheduler.stalled() == []
        await running


async def test_a_poll_that_outlives_its_timeout_is_a_stall() -> None:
    """A poll that does not come back though its time is over shows that polling is broken."""
    house = build_house({"one": ScriptedProvider(always((1e6, RUNNING)))}, [entry("a")], timeout=10.0)
    running = asyncio.create_task(run_house(house, 100))
    await asyncio.sleep(35)
    assert house.scheduler.stalled() == []
    await asyncio.sleep(30)
    (sentence,) = house.scheduler.stalled()
    assert sentence.startswith("one: 1 polls")
    await running


async def test_a_lane_nobody_runs_is_a_stall() -> None:
    """Polls are due, nothing holds them back, and none goes out."""
    house = build_house({"one": ScriptedProvider(always(RUNNING))}, [entry("a")], timeout=10.0)
    await asyncio.sleep(100)
    (sentence,) = house.scheduler.stalled()
    assert "nothing has been polled" in sentence


async def test_due_polls_and_polls_in_flight_are_counted() -> None:
    """What waits for a slot is due; what was sent is in flight."""
    provider = ScriptedProvider(lambda e, _n: RUNNING if e.name == "t0" else (1e3, RUNNING))
    house = build_house(
        {"one": provider}, [entry(f"t{i}", initial=1e4, max=1e4) for i in range(8)], max_in_flight=3, draw=lambda: 0.0
    )
    running = asyncio.create_task(run_house(house, 60))
    await asyncio.sleep(30)
    (lane,) = house.scheduler.connections()
    assert (lane.in_flight, lane.due, lane.paused) == (3, 4, None)
    await running


async def test_after_a_pause_another_task_is_tried() -> None:
    """Also one that became due during the pause: the task may be what is refused."""
    provider = ScriptedProvider(lambda e, n: RUNNING if n == 1 else Observation(Outcome.THROTTLED, retry_after=60.0))
    entries = [entry("a", initial=5.0, max=5.0), entry("b", initial=20.0, max=20.0)]
    house = build_house({"one": provider}, entries, max_pause=60.0)
    await run_house(house, 250)
    later = [name for _, name in provider.polls[2:]]
    assert later[:4] == ["a", "b", "a", "b"]


async def test_a_slow_rate_is_no_stall() -> None:
    """Thirty polls an hour are what was asked for."""
    provider = ScriptedProvider(always(RUNNING))
    house = build_house({"one": provider}, [entry(f"t{i}") for i in range(10)], rate=30 / 3600)
    running = asyncio.create_task(run_house(house, 2000))
    for _ in range(190):
        await asyncio.sleep(10)
        assert house.scheduler.stalled() == []
    await running
    assert len(provider.polls) > 10


async def test_a_bad_rotation_costs_one_refused_poll() -> None:
    """Credentials that are renewed by the poll itself are those that its refusal is about."""
    provider = ScriptedProvider(always(RUNNING))
    house = build_house({"one": provider}, [entry("a", initial=30.0, max=30.0)], auth_pause=300.0)

    async def rotate() -> None:
        await asyncio.sleep(10)
        provider.script, provider.fresh_version = always(UNAUTHORIZED), 1

    rotating = asyncio.create_task(rotate())
    await run_house(house, 200)
    await rotating
    assert len(provider.polls) == 2


# --- requests beside the polls -----------------------------------------------------------------------------------


async def asked(house: House, at: float, send: Send) -> tuple[float, Observation]:
    """When what was asked for beside the polls came back, and what it was."""
    lane = house.scheduler.connections()[0]
    await asyncio.sleep(at)
    seen = await lane.ask(send)
    return asyncio.get_running_loop().time(), seen


async def at_once(connection: Provider) -> Observation:
    """A request that is answered at once."""
    return RUNNING


async def test_what_is_asked_for_beside_the_polls_goes_ahead_of_them() -> None:
    """Of polls that are due and wait for their turn it need not wait for."""
    provider = ScriptedProvider(always(RUNNING))
    house = build_house({"one": provider}, [entry(f"t{i}", initial=60.0) for i in range(100)], rate=5.0)
    asking = asyncio.ensure_future(asked(house, 4.0, at_once))
    await run_house(house, 10)
    at, seen = await asking
    assert seen is RUNNING
    assert 4.0 <= at < 4.3


async def test_what_is_asked_for_beside_the_polls_keeps_their_pace() -> None:
    """Both together never exceed the rate."""
    provider = ScriptedProvider(always(RUNNING))
    house = build_house({"one": provider}, [entry(f"t{i}") for i in range(20)], rate=5.0)
    sent: list[float] = []

    async def send(connection: Provider) -> Observation:
        sent.append(asyncio.get_running_loop().time())
        return RUNNING

    asking = [asyncio.ensure_future(asked(house, 2.0, send)) for _ in range(10)]
    await run_house(house, 10)
    await asyncio.gather(*asking)
    times = sorted([*provider.times(), *sent])
    for start in times:
        assert sum(1 for at in times if start <= at < start + 1) <= 6


async def test_what_is_asked_for_beside_the_polls_takes_a_slot() -> None:
    """It waits for one as a poll does."""
    provider = ScriptedProvider(lambda e, n: RUNNING if n == 1 else (5.0, RUNNING))
    house = build_house({"one": provider}, [entry("t", initial=1.0)], max_in_flight=1)
    asking = asyncio.ensure_future(asked(house, 2.5, at_once))
    await run_house(house, 20)
    assert (await asking)[0] > 5.0


@pytest.mark.parametrize(("refusal", "reason"), [(UNAUTHORIZED, "unauthorized"), (THROTTLED, "throttled")])
async def test_nothing_is_sent_beside_the_polls_during_a_pause(refusal: Observation, reason: str) -> None:
    """Whoever asks is told so at once."""
    provider = ScriptedProvider(always(refusal))
    house = build_house({"one": provider}, [entry("t")], initial=60.0)

    async def never(connection: Provider) -> Observation:
        raise AssertionError("sent")

    asking = asyncio.ensure_future(asked(house, 10.0, never))
    await run_house(house, 20)
    at, seen = await asking
    assert at == pytest.approx(10.0, abs=0.1)
    assert (seen.outcome, seen.rule) == (reason, "nothing was sent")


async def test_what_a_request_beside_the_polls_brings_concerns_the_connection() -> None:
    """A refusal pauses it."""
    provider = ScriptedProvider(always(RUNNING))
    house = build_house({"one": provider}, [entry("t")])

    async def refused(connection: Provider) -> Observation:
        return UNAUTHORIZED

    asking = asyncio.ensure_future(asked(house, 10.0, refused))
    await run_house(house, 60)
    assert (await asking)[1] is UNAUTHORIZED
    assert house.scheduler.connections()[0].paused == "unauthorized"
    assert max(provider.times()) <= 10.0


async def test_a_fault_in_a_request_beside_the_polls_does_not_end_the_lane() -> None:
    """It is told and logged, and polls go on."""
    provider = ScriptedProvider(always(RUNNING))
    house = build_house({"one": provider}, [entry("t", max=5.0)])

    async def broken(connection: Provider) -> Observation:
        raise ZeroDivisionError

    asking = asyncio.ensure_future(asked(house, 10.0, broken))
    await run_house(house, 60)
    assert (await asking)[1].outcome is Outcome.UNREACHABLE
    assert max(provider.times()) > 50.0


async def test_a_retired_lane_sends_nothing_more_beside_polls() -> None:
    """Whoever asked is told; what is under way comes back."""
    provider = ScriptedProvider(always(RUNNING))
    house = build_house({"one": provider}, [entry("t")])
    lane = house.scheduler.connections()[0]

    async def slow(connection: Provider) -> Observation:
        await asyncio.sleep(5.0)
        return RUNNING

    under_way = asyncio.ensure_future(asked(house, 10.0, slow))
    late = [asyncio.ensure_future(asked(house, at, at_once)) for at in (12.0, 30.0)]
    asyncio.get_running_loop().call_later(11.0, lane.retire)
    await run_house(house, 60)
    assert (await under_way)[1] is RUNNING
    assert {(await each)[1].outcome for each in late} == {Outcome.UNREACHABLE}
    assert provider.closed


async def test_a_family_is_for_the_connection_to_tell() -> None:
    """It knows the operation."""
    provider = ScriptedProvider(always(RUNNING))
    house = build_house({"one": provider}, [entry("a")])
    (watch,) = house.scheduler.tasks()
    lane = watch.lane
    assert lane.family(replace(entry("a"), family="jobs")) == "jobs"
    assert lane.family(entry("a")) == provider.family(entry("a"))
