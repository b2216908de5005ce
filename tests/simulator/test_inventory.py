"""Things made by the dozen are the same ones every time."""

from collections import Counter
from typing import Any

import pytest

from poller.simulator.inventory import Inventory, generated
from poller.simulator.scenario import Generator, Scenario
from poller.simulator.script import Ending, Run

PLAN: dict[str, Any] = {
    "api": "job",
    "count": 1000,
    "prefix": "job-",
    "duration": ["5s", "60s"],
    "ends": {"succeeded": 0.8, "failed": 0.15, "stopped": 0.05},
    "seed": 7,
}


def _runs(**changes: Any) -> list[Run]:
    generator = Generator.model_validate({**PLAN, **changes})
    return [known.script.runs[0] for _, known in generated(generator)]


def test_a_seed_makes_the_same_runs_and_another_makes_others() -> None:
    assert _runs() == _runs()
    assert _runs(seed=8) != _runs()


def test_the_first_ones_stay_the_same_when_more_are_asked_for() -> None:
    assert _runs(count=10) == _runs()[:10]


def test_one_setting_leaves_the_values_of_the_others_alone() -> None:
    changed = _runs(pending=["0s", "9s"], ends={"failed": 1})
    assert [run.duration for run in changed] == [run.duration for run in _runs()]
    assert len({run.pending for run in changed}) > 900


def test_weights_do_not_depend_on_the_order_they_are_listed_in() -> None:
    assert _runs(ends={"stopped": 0.05, "failed": 0.15, "succeeded": 0.8}) == _runs()


def test_spans_and_weights_are_kept_to() -> None:
    runs = _runs()
    assert all(5 <= run.duration <= 60 for run in runs)
    assert 30 < sum(run.duration for run in runs) / 1000 < 35
    ends = Counter(run.ends for run in runs)
    assert ends.keys() == {Ending.SUCCEEDED, Ending.FAILED, Ending.STOPPED}
    assert 760 < ends[Ending.SUCCEEDED] < 840
    assert 120 < ends[Ending.FAILED] < 180


@pytest.mark.parametrize(
    ("api", "params", "expected"),
    [
        ("job", {}, "job/x1"),
        ("processor-task", {"project_id": "p"}, "processor-task/p/x1"),
        ("system-task", {"project_id": "p", "workspace": "w"}, "system-task/p/x1"),
        ("function-task", {"appGroupIdentity": "a", "functionName": "f"}, "function-task/a/f/x1/1"),
        ("function-instance", {"appGroupIdentity": "a", "functionName": "f"}, "function-instance/a/f/x1"),
    ],
)
def test_every_api_can_be_filled(api: str, params: dict[str, str], expected: str) -> None:
    plan = {"api": api, "params": params, "count": 2, "prefix": "x"}
    inventory = Inventory.of(Scenario.model_validate({"generate": plan}))
    known = [*inventory.jobs.values(), *inventory.processor_tasks.values(), *inventory.system_tasks.values()]
    known += [made for instance in inventory.instances.values() for made in instance.generations.values()]
    assert [thing.name for thing in known] == [expected, expected.replace("x1", "x2")]
    assert {thing.workspace for thing in known} == {params.get("workspace")}
