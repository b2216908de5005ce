"""While too much waits for the store, nothing more is found out, so that memory stays bounded."""

import asyncio
from dataclasses import replace

import pytest

from poller.domain.observation import Observation
from poller.domain.task import Entry
from poller.runtime import committer
from poller.runtime.membership import SOLE
from tests.runtime.doubles import RUNNING, SUCCEEDED, House, ScriptedProvider, build_house, entry, run_house

pytestmark = pytest.mark.looptime

MOST = 40
AT_ONCE = 4
TASKS = [entry(f"job-{number}", follow=True, initial=1.0, max=1.0) for number in range(8)]


@pytest.fixture(autouse=True)
def few_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty thousand take long."""
    monkeypatch.setattr(committer, "MOST_WAITING", MOST)


def restless(_: Entry, count: int) -> Observation:
    """A job whose runs end and begin with every poll."""
    seen = RUNNING if count % 2 else SUCCEEDED
    return replace(seen, run_id=str(count // 2))


def build() -> tuple[House, ScriptedProvider]:
    provider = ScriptedProvider(lambda *asked: (0.01, restless(*asked)))
    return build_house({"one": provider}, TASKS, max_in_flight=AT_ONCE), provider


def told(house: House) -> list[str]:
    """What the log says of the store and the polls."""
    return [line["event"] for line in house.logs.entries if line["event"].startswith(("store.", "polling."))]


async def test_polls_stop_when_too_much_waits_and_go_on_when_it_is_committed() -> None:
    """What was under way is kept too, nothing is lost or told twice, and the log tells once when it begins and ends."""
    house, provider = build()
    house.store.failing = True
    running = asyncio.create_task(run_house(house, 1000))
    await asyncio.sleep(100)
    asked = len(provider.polls)
    assert MOST <= len(house.listener.lags) <= asked <= MOST + AT_ONCE + 2 * len(TASKS)
    await asyncio.sleep(700)
    assert len(provider.polls) == asked
    assert told(house) == ["store.failing", "polling.held"]
    house.store.failing = False
    await asyncio.sleep(100)
    assert len(provider.polls) > asked + 50
    await running
    assert told(house) == ["store.failing", "polling.held", "store.recovered", "polling.resumed"]
    ids = [transition.transition_id for transition in house.listener.transitions]
    assert len(ids) == len(set(ids)) > MOST
    for task in TASKS:
        way = [each for each in house.store.stored if each.task == task.name]
        assert [each.source for each in way[1:]] == [each.target for each in way[:-1]]


async def test_held_polls_are_not_a_stall() -> None:
    """Neither while they are held nor when they go on: whoever restarted the daemon for it would lose what waits."""
    house, provider = build()
    house.store.failing = True
    running = asyncio.create_task(run_house(house, 1000))
    stalls: set[str] = set()
    for second in range(990):
        await asyncio.sleep(1)
        house.store.failing = second < 500
        stalls.update(house.scheduler.stalled())
    await running
    assert not stalls
    assert provider.polls[-1][0] > 900


async def test_what_is_being_committed_counts_too() -> None:
    """A commit that hangs holds as much as one that fails."""
    house, provider = build()
    commit = house.store.commit

    async def hang(batch: object) -> object:
        if batch and house.store.failing:
            await asyncio.sleep(300)
        house.store.failing = False
        return await commit(batch)  # type: ignore[arg-type]

    house.store.commit = hang  # type: ignore[assignment, method-assign]
    house.store.failing = True
    running = asyncio.create_task(run_house(house, 600))
    await asyncio.sleep(200)
    asked = len(provider.polls)
    await asyncio.sleep(50)
    assert len(provider.polls) == asked
    await asyncio.sleep(150)
    assert len(provider.polls) > asked
    await running


async def test_a_request_beside_the_polls_is_not_held() -> None:
    """Somebody waits for it, and it is one at a time."""
    house, provider = build()
    house.store.failing = True
    running = asyncio.create_task(run_house(house, 200))
    await asyncio.sleep(100)
    asked = len(provider.polls)
    watch = house.scheduler.find("job-0")
    assert watch is not None
    async with asyncio.timeout(5):
        await house.scheduler.refresh(watch)
    assert len(provider.polls) == asked + 1
    await running


async def test_nobody_is_held_by_a_store_that_works() -> None:
    """However much goes through it."""
    house, provider = build()
    assert SOLE.may_poll()
    await run_house(house, 300)
    assert len(provider.polls) > 5 * MOST
    assert told(house) == []
