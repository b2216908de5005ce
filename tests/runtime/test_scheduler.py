"""The scheduler: what it remembers, what it does when time passes, and what it shows."""

import asyncio
from dataclasses import replace
from itertools import cycle

import pytest

from poller.config.watchlist import diff
from poller.domain.errors import StoreError
from poller.domain.observation import UNCHANGED, Observation, Outcome
from poller.domain.state import Flag, State
from poller.domain.task import Contact, Entry, Status
from poller.protocols import Saved
from poller.runtime.membership import Sole
from tests.runtime.doubles import (
    RUNNING,
    START,
    SUCCEEDED,
    THROTTLED,
    UNREACHABLE,
    House,
    MemoryStore,
    ScriptedProvider,
    always,
    build_house,
    build_lane,
    entry,
    run_house,
    saved,
)

pytestmark = pytest.mark.looptime

RUNNING_STATUS = Status(
    first_seen_at=START - 100, since=START - 90, run_since=START - 100, state=State.RUNNING, transitions=1
)


def stored(*rows: Saved) -> MemoryStore:
    return MemoryStore(saved={row.name: row for row in rows})


async def test_each_transition_is_committed_and_told_once() -> None:
    """From first sight to the end: one line for each change of state, and none for polls that change nothing."""
    provider = ScriptedProvider(lambda _e, n: SUCCEEDED if n > 5 else RUNNING)
    house = build_house({"one": provider}, [entry("a")])
    await run_house(house, 600)
    assert [(t.source, t.target) for t in house.listener.transitions] == [
        ("unknown", "running"),
        ("running", "succeeded"),
    ]
    assert house.store.stored == house.listener.transitions
    assert house.store.told == {t.transition_id for t in house.store.stored}


async def test_unchanged_polls_write_nothing() -> None:
    """A hundred polls of a running task cost one commit for its first answer, and the flushes of what ticks."""
    provider = ScriptedProvider(always(RUNNING))
    house = build_house({"one": provider}, [entry("a", initial=1.0, max=1.0)])
    await run_house(house, 100)
    assert len(provider.polls) >= 98
    assert sum(len(batch.changes) for batch in house.store.batches) == 1
    assert sum(len(batch.pulses) for batch in house.store.batches) == 2


async def test_many_changes_share_a_commit() -> None:
    """A hundred tasks answered in one instant are one transaction."""
    provider = ScriptedProvider(always((1.0, RUNNING)))
    house = build_house({"one": provider}, [entry(f"t{i}", initial=1000.0) for i in range(100)], max_in_flight=100)
    await run_house(house, 10)
    sizes = [len(batch.changes) for batch in house.store.batches if batch.changes]
    assert max(sizes) == 99


async def test_goes_on_where_it_was() -> None:
    """A restart polls when the next poll was due, with the delay it had grown to, and repeats no transition."""
    a = entry("a", initial=1.0, max=64.0, growth=2.0)
    store = stored(saved(a, RUNNING_STATUS, Contact(polls=9, attempt=5), next_poll_at=START + 20))
    provider = ScriptedProvider(always(RUNNING))
    house = build_house({"one": provider}, [a], store)
    await run_house(house, 60)
    assert provider.times() == pytest.approx([20, 52])
    assert house.listener.transitions == []
    assert house.scheduler.find("a").task.contact.polls == 11  # type: ignore[union-attr]


async def test_what_was_due_while_nobody_ran_is_polled_at_once() -> None:
    """Overdue polls are spread over the shortest delay, not over the one they had grown to."""
    a = entry("a", initial=2.0)
    store = stored(saved(a, RUNNING_STATUS, Contact(attempt=40), next_poll_at=START - 3600))
    provider = ScriptedProvider(always(RUNNING))
    house = build_house({"one": provider}, [a], store)
    await run_house(house, 10)
    assert provider.times()[0] <= 2


async def test_what_had_ended_is_not_asked_again() -> None:
    """No request, no transition."""
    a = entry("a")
    store = stored(saved(a, replace(RUNNING_STATUS, state=State.FAILED)))
    provider = ScriptedProvider(always(RUNNING))
    house = build_house({"one": provider}, [a], store)
    await run_house(house, 3600)
    assert (provider.polls, house.listener.transitions) == ([], [])


async def test_a_long_silence_is_told_though_no_poll_is_due() -> None:
    """The flag rises after unreachable_after, not with the next poll, and clears with the next answer."""
    provider = ScriptedProvider(lambda _e, n: RUNNING if n == 1 else SUCCEEDED if n > 4 else UNREACHABLE)
    house = build_house({"one": provider}, [entry("a", initial=100.0, max=100.0, unreachable_after=150.0)])
    await run_house(house, 1000)
    first = provider.times()[1]
    rose, cleared = house.listener.flags
    assert (rose.flag, rose.raised, round(rose.at - START - first, 1)) == (Flag.UNREACHABLE, True, 150.0)
    assert (cleared.flag, cleared.raised) == (Flag.UNREACHABLE, False)


async def test_tasks_held_back_by_a_pause_become_unreachable_too() -> None:
    """A task whose connection is paused gets no answer either, though it has not been asked."""
    throttled = Observation(Outcome.THROTTLED, retry_after=1000.0)
    provider = ScriptedProvider(lambda e, n: RUNNING if n == 1 else throttled)
    house = build_house({"one": provider}, [entry(name, initial=10.0, max=10.0) for name in "abc"], max_pause=1000.0)
    await run_house(house, 900)
    assert len(provider.polls) < 7
    assert {flag.task: (flag.flag, flag.raised) for flag in house.listener.flags} == dict.fromkeys(
        "abc", (Flag.UNREACHABLE, True)
    )
    assert all(290 <= flag.at - START <= 325 for flag in house.listener.flags)


async def test_overdue_is_told_when_it_happens() -> None:
    """At the deadline, though the next poll is far."""
    provider = ScriptedProvider(always(RUNNING))
    house = build_house({"one": provider}, [entry("a", initial=500.0, max=500.0, deadline=60.0)])
    await run_house(house, 100)
    (flag,) = house.listener.flags
    assert (flag.flag, round(flag.at - START)) == (Flag.OVERDUE, 60)


async def test_gives_up_after_long_silence() -> None:
    """An orphan is not polled for ever: expired, told once, and no request afterwards."""
    provider = ScriptedProvider(always(UNREACHABLE))
    house = build_house({"one": provider}, [entry("a", max=60.0, give_up_after=600.0)])
    await run_house(house, 2000)
    assert [t.target for t in house.listener.transitions] == [State.EXPIRED]
    assert provider.times()[-1] <= 603


async def test_gives_up_though_the_connection_is_closed() -> None:
    """Also when no poll goes out at all any more."""
    provider = ScriptedProvider(lambda _e, n: RUNNING if n == 1 else Observation(Outcome.UNAUTHORIZED))
    house = build_house({"one": provider}, [entry("a", initial=5.0, give_up_after=600.0)], auth_pause=1e6)
    await run_house(house, 2000)
    assert [t.target for t in house.listener.transitions] == [State.RUNNING, State.EXPIRED]


async def test_missing_is_believed_only_when_often_and_long_enough() -> None:
    """Three times in a row over a minute."""
    provider = ScriptedProvider(always(Observation(Outcome.MISSING, code="Task.NotExist")))
    house = build_house({"one": provider}, [entry("a", initial=10.0, max=10.0)])
    await run_house(house, 300)
    (transition,) = house.listener.transitions
    assert (transition.target, transition.raw_status) == (State.MISSING, "Task.NotExist")
    assert len(provider.polls) == 7


async def test_polls_are_reported_with_their_lag() -> None:
    """Each outcome is counted; a poll that waited for its turn was late."""
    provider = ScriptedProvider(always(RUNNING))
    house = build_house({"one": provider}, [entry(f"t{i}", initial=100.0, max=100.0) for i in range(10)], rate=1.0)
    await run_house(house, 50)
    assert house.listener.outcomes == {"answered": 10}
    assert max(house.listener.lags) == pytest.approx(9, abs=0.2)


async def test_a_finished_task_is_shown_as_long_as_its_retention() -> None:
    """Then it leaves lists and metrics, and stays ended."""
    provider = ScriptedProvider(always(SUCCEEDED))
    house = build_house({"one": provider}, [entry("a"), entry("b", follow=True, max=1000.0)])
    running = asyncio.create_task(run_house(house, 5000))
    await asyncio.sleep(100)
    assert [watch.task.entry.name for watch in house.scheduler.tasks()] == ["a", "b"]
    assert house.scheduler.find("a") is not None
    await asyncio.sleep(3600)
    assert [watch.task.entry.name for watch in house.scheduler.tasks()] == ["b"], "a followed task is not finished"
    assert house.scheduler.find("a") is not None, "asked for by name it is still there"
    await running
    assert provider.counts["a"] == 1


async def test_next_poll_is_shown_and_none_after_the_end() -> None:
    """In epoch seconds, as planned."""
    provider = ScriptedProvider(lambda _e, n: SUCCEEDED if n == 2 else RUNNING)
    house = build_house({"one": provider}, [entry("a", initial=50.0)])
    running = asyncio.create_task(run_house(house, 100))
    await asyncio.sleep(10)
    watch = house.scheduler.find("a")
    assert watch is not None
    assert watch.next_poll_at == pytest.approx(START + provider.times()[0] + 50)
    await running
    assert watch.next_poll_at is None


async def test_each_operation_is_listed_once() -> None:
    """For the series that start at 0."""
    provider = ScriptedProvider(always(RUNNING))
    house = build_house({"one": provider}, [entry("a"), entry("b")])
    assert house.scheduler.operations() == [("one", "job")]
    assert [lane.provider for lane in house.scheduler.connections()] == ["one"]
    assert house.scheduler.ready


async def test_nothing_is_shown_that_another_replica_may_show() -> None:
    """As long as it is in doubt what is held; the tasks themselves are not forgotten."""
    house = build_house({"one": ScriptedProvider(always(RUNNING))}, [entry("a")])

    class Doubt(Sole):
        certain = True

        def is_certain(self) -> bool:
            return self.certain

    house.scheduler._tenure = doubt = Doubt()
    assert [watch.task.entry.name for watch in house.scheduler.tasks()] == ["a"]
    doubt.certain = False
    assert house.scheduler.tasks() == []
    assert house.scheduler.find("a") is not None


async def test_it_is_ready_while_the_store_takes_what_is_written() -> None:
    """And the watchlist is loaded."""
    house = build_house({"one": ScriptedProvider(always(RUNNING))}, [entry("a")])
    assert house.scheduler.ready
    house.committer.trouble.begin("commit", StoreError("the disk is full"))
    assert not house.scheduler.ready
    house.committer.trouble.end("commit")
    assert house.scheduler.ready
    house.scheduler.loaded = False
    assert not house.scheduler.ready


async def test_throttled_tasks_all_get_their_poll_afterwards() -> None:
    """A pause loses nobody."""
    provider = ScriptedProvider(lambda _e, n: THROTTLED if n == 1 else SUCCEEDED)
    house = build_house({"one": provider}, [entry(f"t{i}") for i in range(20)], initial=1.0, max=1.0)
    await run_house(house, 60)
    assert house.scheduler.all_over()
    assert len(house.listener.transitions) == 20


def first_polls(house: House) -> dict[str, float]:
    """In how many seconds each task will be polled."""
    return {it.task.entry.name: (it.next_poll_at or 0.0) - START for it in house.scheduler.everything()}


async def test_a_restart_moves_nobody_who_is_not_late() -> None:
    """However many there are: they were spread before. Who is late goes at the rate that there is."""
    late, early = [entry(f"late-{n}") for n in range(50)], [entry(f"early-{n}") for n in range(50)]
    before = [saved(each, RUNNING_STATUS, Contact(polls=9), next_poll_at=START - 5) for each in late]
    before += [saved(each, RUNNING_STATUS, Contact(polls=9), next_poll_at=START + 3) for each in early]
    provider, draws = ScriptedProvider(always(RUNNING)), cycle([0.0, 0.5, 1.0])
    house = build_house({"one": provider}, [*late, *early], stored(*before), rate=10.0, draw=lambda: next(draws))
    planned = first_polls(house)
    assert [planned[each.name] for each in early] == pytest.approx([3.0] * 50)
    assert {round(planned[each.name], 1) for each in late} == {0.0, 3.1, 6.1}


async def test_those_who_come_later_are_spread_behind_the_others() -> None:
    """As when a long watchlist is taken over piece by piece: no sooner than the rate allows."""
    first, second = {f"a{n}": entry(f"a{n}") for n in range(51)}, {f"b{n}": entry(f"b{n}") for n in range(51)}
    provider, draws = ScriptedProvider(always(RUNNING)), cycle([0.0, 0.5, 1.0])
    house = build_house({"one": provider}, first.values(), rate=10.0, draw=lambda: next(draws))
    house.scheduler.apply(second, diff({}, second), {}, START)
    planned = first_polls(house)
    assert {round(planned[name], 3) for name in first} == {0.0, 3.125, 6.25}
    assert {round(planned[name], 3) for name in second} == {6.25, 9.375, 12.5}


async def test_what_has_ended_delays_nobody_after_a_restart() -> None:
    """The first poll of the one that runs does not wait for the rate that all of them would need."""
    entries = [entry(f"t{number:04}") for number in range(2000)] + [entry("runs")]
    ended = replace(RUNNING_STATUS, state=State.SUCCEEDED)
    store = stored(*(saved(each, ended) for each in entries[:-1]), saved(entries[-1], RUNNING_STATUS))
    provider = ScriptedProvider(always(RUNNING))
    house = build_house({"one": provider}, entries, store, rate=1.0, draw=lambda: 0.99)
    await run_house(house, 30)
    assert provider.times()[0] <= 2


async def test_a_connection_is_told_what_the_last_answer_said() -> None:
    """After a poll without an answer or one beside the schedule, over a new connection, and when time has changed the
    task: nothing.
    """
    told: list[int | None] = []

    class Attentive(ScriptedProvider):
        async def poll(self, entry: Entry, said: int | None = None) -> Observation:
            told.append(said)
            return await super().poll(entry, said)

    answers = {2: UNREACHABLE}
    first, second = (Attentive(lambda _, count: answers.get(count, replace(RUNNING, said=count))) for _ in range(2))
    house = build_house({"one": first}, [entry("t", initial=10.0, max=10.0)])
    polling = asyncio.create_task(run_house(house, 125))
    await asyncio.sleep(45)
    house.scheduler.use([build_lane("one", second, house.scheduler)])
    await asyncio.sleep(50)
    (watch,) = house.scheduler.tasks()
    assert watch.said is not None
    await house.scheduler.refresh(watch)
    assert watch.said is None
    await asyncio.sleep(10)
    assert watch.said is not None
    house.scheduler.await_run(watch)
    assert watch.said is None
    await polling
    assert told[:4] == [None, 1, None, 3]
    assert told[len(first.polls) :][:4] == [None, 1, None, 3]


async def test_an_unchanged_answer_is_an_answer() -> None:
    """It changes nothing that is known, and is counted; the task is not unreachable."""
    script = [replace(RUNNING, progress=30.0, said=1), UNREACHABLE, UNCHANGED, UNCHANGED]
    provider = ScriptedProvider(lambda _, count: script[min(count, 4) - 1])
    house = build_house({"one": provider}, [entry("t", initial=10.0, max=10.0, unreachable_after=30.0)])
    await run_house(house, 200)
    (watch,) = house.scheduler.tasks()
    status, contact = watch.task.status, watch.task.contact
    assert (status.state, status.progress, status.unreachable) == (State.RUNNING, 30.0, False)
    assert (contact.consecutive_failures, contact.polls) == (0, len(provider.polls))
    assert len(house.listener.transitions) == 1


async def test_progress_alone_is_committed_once_a_second() -> None:
    """However many polls bring some; an end is committed at once."""
    provider = ScriptedProvider(
        lambda _entry, number: SUCCEEDED if number == 50 else replace(RUNNING, progress=float(number))
    )
    house = build_house({"one": provider}, [entry("a", initial=0.2, max=0.2)])
    await run_house(house, 30)
    changes = [batch for batch in house.store.batches if batch.changes]
    assert len(provider.polls) == 50
    assert len(changes) <= 25
    assert changes[-1].changes[0].task.status.state == State.SUCCEEDED
