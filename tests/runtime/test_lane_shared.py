"""A lane whose provider other replicas ask as well: their share of the rate, their pauses, their turn to probe."""

import asyncio
from dataclasses import dataclass, field

import pytest

from poller.domain.circuit import Pauses
from poller.domain.observation import Outcome
from poller.protocols import Refusal
from poller.runtime.lane import Lane
from poller.runtime.limits import Limits
from tests.runtime.doubles import (
    RUNNING,
    THROTTLED,
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


@dataclass
class Others:
    """Neighbours that let this replica probe, or not; asking them takes ``seconds``."""

    count: int = 2
    let: bool = True
    seconds: float = 0.0
    poll: bool = True
    asked: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def may_poll(self) -> bool:
        return self.poll

    async def may_probe(self, provider: str, seconds: float) -> bool:
        self.asked.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.seconds)
        return self.let

    def probed(self, provider: str) -> None:
        self.told.append("probed")

    def refused(self, provider: str, reason: Outcome, seconds: float) -> None:
        self.told.append(f"{reason} {seconds:.0f}")

    def answered(self, provider: str) -> None:
        self.told.append("answered")


def build(others: Others, provider: ScriptedProvider, tasks: int = 1, **limits: float) -> tuple[House, Lane]:
    """A house whose only connection has neighbours."""
    house = build_house({}, [])
    lane = Lane(
        "one",
        provider,
        Limits(limits.get("rate", 10_000.0), int(limits.get("max_in_flight", 32)), 10.0, Pauses()),
        clock=clock(),
        reporter=house.scheduler,
        logger=house.committer._logger,
        neighbours=others,
    )
    watchlist = {each.name: each for each in (entry(f"t{number}", max=1.0) for number in range(tasks))}
    from poller.config.watchlist import diff

    house.scheduler.apply(watchlist, diff({}, watchlist), {}, clock().now(), [lane])
    return house, lane


def answering(answer: Answer = RUNNING) -> ScriptedProvider:
    return ScriptedProvider(always(answer))


async def test_the_first_poll_goes_out_when_it_is_this_replicas_turn() -> None:
    """Until then nothing does; that it has come back is told, and later ones need not ask."""
    others = Others(let=False)
    provider = answering()
    house, _ = build(others, provider)
    running = asyncio.create_task(run_house(house, 20))
    await asyncio.sleep(5)
    assert provider.polls == []
    assert 5 < len(others.asked) < 100
    others.let = True
    await running
    assert len(provider.polls) > 5
    assert others.told == ["probed"]


async def test_a_turn_that_comes_too_late_is_given_back() -> None:
    """While it was asked for, another replica told of a pause."""
    others = Others(seconds=2.0)
    provider = answering()
    house, lane = build(others, provider)
    running = asyncio.create_task(run_house(house, 20))
    await asyncio.sleep(1.5)
    lane.heed(Refusal(Outcome.THROTTLED, 600.0, "two"))
    await running
    assert provider.polls == []
    assert others.told == ["probed"]


async def test_a_refusal_is_told_and_so_is_the_answer_after_it() -> None:
    """An answer where there was no refusal is no news."""
    others = Others()
    provider = ScriptedProvider(lambda _entry, count: THROTTLED if count == 2 else RUNNING)
    house, _ = build(others, provider)
    await run_house(house, 30)
    assert [told for told in others.told if told != "probed"] == ["throttled 2", "answered"]


async def test_a_pause_of_others_is_heeded_until_it_is_over() -> None:
    """Nothing goes out, then one poll at a time; told again it is not longer."""
    others = Others()
    provider = answering()
    house, lane = build(others, provider, tasks=3)
    running = asyncio.create_task(run_house(house, 60))
    await asyncio.sleep(10)
    for passed in range(5):
        lane.heed(Refusal(Outcome.THROTTLED, 20.0 - passed, "two"))
        await asyncio.sleep(1)
    assert lane.paused == "throttled"
    await running
    assert not [at for at in provider.times() if 10.1 < at < 29]
    assert [at for at in provider.times() if 30 < at < 35]
    assert lane.paused is None
    events = [line["event"] for line in house.logs.entries]
    assert events.count("provider.paused") == events.count("provider.resumed") == 1


async def test_an_answer_to_others_ends_the_pause_they_told_of() -> None:
    """One that was met with here goes on."""
    others = Others()
    provider = answering()
    house, lane = build(others, provider)
    running = asyncio.create_task(run_house(house, 40))
    await asyncio.sleep(5)
    lane.heed(Refusal(Outcome.THROTTLED, 600.0, "two"))
    await asyncio.sleep(5)
    lane.heed(None)
    await running
    assert len([at for at in provider.times() if at > 10]) > 5
    own = ScriptedProvider(always(THROTTLED))
    house, lane = build(Others(), own)
    running = asyncio.create_task(run_house(house, 10))
    await asyncio.sleep(1.5)
    polled = len(own.polls)
    lane.heed(None)
    await asyncio.sleep(0.2)
    assert len(own.polls) == polled
    await running


async def test_the_rate_is_shared() -> None:
    """And whole again when the others are gone; of the polls at once there is always one."""
    others = Others(count=4)
    provider = answering((0.5, RUNNING))
    house, lane = build(others, provider, tasks=100, rate=20.0, max_in_flight=8)
    assert (lane.rate, lane.share_of_rate) == (5.0, 5.0)
    running = asyncio.create_task(run_house(house, 50))
    await asyncio.sleep(30)
    assert provider.most_in_flight == 2
    few = len(provider.polls)
    assert 0 < few <= 20 * 5 + 10
    lane.share(1)
    await running
    assert lane.rate == 20.0
    assert len(provider.polls) - few > 2 * few
    lane.share(1000)
    assert lane._most_in_flight == 1


async def test_the_pace_follows_the_number_of_replicas() -> None:
    """Up and down, while the connection is in use."""
    provider = answering()
    house, lane = build(Others(count=4), provider, tasks=200, rate=20.0)
    running = asyncio.create_task(run_house(house, 70))
    await asyncio.sleep(25)  # Until the first polls are due.
    for replicas, expected in ((4, 5.0), (1, 20.0), (4, 5.0)):
        lane.share(replicas)
        await asyncio.sleep(1)
        before = len(provider.polls)
        await asyncio.sleep(10)
        assert (len(provider.polls) - before) / 10 == pytest.approx(expected, rel=0.1)
    await running


async def test_in_doubt_nothing_is_polled() -> None:
    """Until it is certain again what is held."""
    others = Others(poll=False)
    provider = answering()
    house, _ = build(others, provider)
    running = asyncio.create_task(run_house(house, 20))
    await asyncio.sleep(10)
    assert provider.polls == []
    others.poll = True
    await running
    assert len(provider.polls) > 5
