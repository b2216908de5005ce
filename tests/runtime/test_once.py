"""Every task asked once."""

from dataclasses import replace

import pytest

from poller.domain.explanation import Explanation
from poller.domain.observation import Observation, Outcome
from poller.runtime.once import Once
from tests.runtime.doubles import (
    RUNNING,
    UNAUTHORIZED,
    UNREACHABLE,
    Script,
    ScriptedProvider,
    always,
    build_lane,
    clock,
    entry,
)

pytestmark = pytest.mark.looptime


async def ask(script: Script, count: int, explained: bool = False) -> tuple[dict[str, Observation], ScriptedProvider]:
    once, provider = Once(clock(), explained), ScriptedProvider(script)
    once.add_lane(build_lane("one", provider, once))
    await once.run([entry(f"t{i}") for i in range(count)])
    return once.seen, provider


async def test_each_task_is_asked_exactly_once() -> None:
    """Answered or not."""
    seen, provider = await ask(lambda e, _n: UNREACHABLE if e.name == "t3" else (1.0, RUNNING), 50)
    assert len(seen) == 50
    assert set(provider.counts.values()) == {1}


async def test_a_connection_that_refuses_is_not_asked_again() -> None:
    """One refusal stands for all of its tasks, and says so for those that were not asked."""
    seen, provider = await ask(always(UNAUTHORIZED), 20)
    assert len(provider.polls) == 1
    assert {observation.outcome for observation in seen.values()} == {Outcome.UNAUTHORIZED}
    assert sum("not asked" in (observation.rule or "") for observation in seen.values()) == 19


async def test_only_what_is_wanted_holds_on_to_its_answer() -> None:
    """Whole answers of 100,000 tasks would take gigabytes."""
    explicable = replace(RUNNING, explain=lambda: Explanation(0.0, ()))
    assert (await ask(always(explicable), 1))[0]["t0"].explain is None
    assert (await ask(always(explicable), 1, explained=True))[0]["t0"].explain is explicable.explain


async def test_what_was_not_asked_has_nothing_to_explain() -> None:
    """A shared refusal is told, but not that it was this task's request that was refused."""
    refused = replace(UNAUTHORIZED, explain=lambda: Explanation(0.0, ()))
    seen, _ = await ask(always(refused), 3, explained=True)
    assert sum(observation.explain is None for observation in seen.values()) == 2
