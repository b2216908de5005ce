"""What the daemon learns from runs that end, and what it does with that."""

import asyncio
from dataclasses import replace

import pytest

from poller.config.watchlist import diff
from poller.domain.family import Run
from poller.domain.observation import Observation, Outcome
from poller.domain.prospect import Basis
from poller.domain.state import State
from poller.domain.task import Entry
from poller.runtime.forecasts import Forecasts
from poller.runtime.watch import Watch
from tests.runtime.doubles import RUNNING, START, House, ScriptedProvider, always, build_house, clock, entry, run_house

pytestmark = pytest.mark.looptime

KNOWN = [Run(600.0 + step) for step in range(-20, 20, 2)]


def trainings(name: str, **policy: float) -> Entry:
    """A task of the family of trainings."""
    return replace(entry(name, "one", False, **policy), family="trainings")


def knowing() -> Forecasts:
    """Forecasts that have learned of twenty runs of ten minutes."""
    made = Forecasts()
    made.learn({"trainings": KNOWN})
    return made


def begun(at: float) -> Observation:
    """Running, since so many seconds after the start of the clock."""
    return replace(RUNNING, started_at=START + at)


def watched(house: House, name: str) -> Watch:
    """The task of that name."""
    found = house.scheduler.find(name)
    assert found is not None
    return found


async def test_polls_go_where_the_end_is_likely() -> None:
    """Few before it, many around it, and the end is noticed at once."""

    def script(_entry: Entry, _count: int) -> Observation:
        now = asyncio.get_running_loop().time() - began
        if now < 605:
            return begun(began)
        return Observation(Outcome.ANSWERED, State.SUCCEEDED, started_at=START + began, ended_at=START + began + 605)

    began = asyncio.get_running_loop().time()
    provider = ScriptedProvider(script)
    house = build_house({"one": provider}, [trainings("t", max=60.0)], forecasts=knowing())
    await run_house(house, 700)
    times = [at - began for at in provider.times()]
    early, near = [at for at in times if at < 500], [at for at in times if 560 < at < 605]
    assert len(early) < 10
    assert len(near) > len(early)
    assert times[-1] - 605 < 10
    assert watched(house, "t").task.status.state is State.SUCCEEDED


async def test_a_run_that_ends_is_learned_and_stored_once() -> None:
    """With the id of the transition that ended it, and its family; the next of the family is foreseen by it."""
    provider = ScriptedProvider(lambda e, n: begun(0.0) if n < 3 else replace(ENDED, duration=30.0))
    house = build_house({"one": provider}, [trainings("t", max=5.0)])
    await run_house(house, 60)
    (ended,) = [told for told in house.store.stored if told.terminal]
    (stored,) = house.store.finished.values()
    assert (stored.transition_id, stored.family, stored.run.duration) == (ended.transition_id, "trainings", 30.0)


ENDED = Observation(Outcome.ANSWERED, State.SUCCEEDED)


async def test_expectations_follow_the_family() -> None:
    """A task that is given another family is foreseen by that one; one of no known family is not foreseen."""
    house = build_house({"one": ScriptedProvider(always(RUNNING))}, [trainings("a"), entry("b")], forecasts=knowing())
    running = asyncio.create_task(run_house(house, 60))
    await asyncio.sleep(10)
    seen = watched(house, "a").prospect
    assert seen is not None
    assert seen.basis is Basis.HISTORY
    assert (watched(house, "a").late_age or 0.0) > 600.0
    assert watched(house, "b").prospect is None
    old = {"a": trainings("a"), "b": entry("b")}
    new = {"a": entry("a"), "b": trainings("b")}
    house.scheduler.apply(new, diff(old, new), {}, clock().now())
    assert watched(house, "a").prospect is None
    assert watched(house, "b").prospect is not None
    await running


async def test_failing_polls_back_off_whatever_is_expected() -> None:
    """Where no answer comes no end would be seen: no requests are heaped on an outage."""
    provider = ScriptedProvider(lambda e, n: begun(0.0) if n == 1 else Observation(Outcome.UNREACHABLE))
    house = build_house({"one": provider}, [trainings("t", initial=2.0, max=60.0)], forecasts=knowing())
    await run_house(house, 700)
    gaps = [later - sooner for sooner, later in zip(provider.times(), provider.times()[1:], strict=False)]
    assert gaps[-1] == pytest.approx(60.0)
    assert len(provider.polls) < 25


async def test_a_family_is_forgotten_with_its_last_task() -> None:
    """And asked of the store again when another comes."""
    forecasts = knowing()
    house = build_house({"one": ScriptedProvider(always(RUNNING))}, [trainings("t")], forecasts=forecasts)
    assert set(forecasts.unknown({"trainings", "other"})) == {"other"}
    house.scheduler.apply({}, diff({"t": trainings("t")}, {}), {}, clock().now())
    assert set(forecasts.unknown({"trainings"})) == {"trainings"}


async def test_a_task_that_takes_the_place_of_another_is_foreseen_by_its_runs() -> None:
    """The next generation comes in the reload in which the last one goes: what its family taught is not lost."""
    house = build_house({"one": ScriptedProvider(always(RUNNING))}, [trainings("old")], forecasts=knowing())
    old, new = {"old": trainings("old")}, {"new": trainings("new")}
    house.scheduler.apply(new, diff(old, new), {}, clock().now())
    assert watched(house, "new").late_age is not None


async def test_the_name_of_a_family_is_there_once() -> None:
    """Thousands of tasks may be of one; whoever joins later, and when all but one have left, too."""
    house = build_house({"one": ScriptedProvider(always(RUNNING))}, [entry(name) for name in "abc"])
    assert len({id(watched(house, name).family) for name in "abc"}) == 1
    entries = {name: entry(name) for name in "cd"}
    changes = diff({name: entry(name) for name in "abc"}, entries)
    house.scheduler.apply(entries, changes, {}, clock().now())
    assert watched(house, "d").family is watched(house, "c").family
