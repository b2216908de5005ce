"""Scenarios are read strictly: all mistakes at once, each with its line."""

from pathlib import Path

import pytest

from poller.simulator import Scenario, ScenarioError, load_scenario

WRONG = """\
taskz: []
rate_limit: 5
accounts: {huawei: [{secret_key: 5}]}
latency: [2s, 1s]
tasks:
  - api: function-task
    params: {appGroupIdentity: a, functionName: f, instanceName: i, generation: 1}
    duration: 5
    ends: stopped
  - {api: job, params: {job_id: j1}}
  - {api: job, params: {job_id: j1}, name: x}
  - {api: train, params: {job_id: j1}}
  - {api: system-task, params: {task_id: t, worksp: w}, faults: [{kind: boo, for: 3}]}
  - api: function-instance
    params: {appGroupIdentity: a, functionName: f, instanceName: j}
    runs: [{ends: never}, {}]
  - api: job
    params: {job_id: ""}
    duration: 1s
    duration: 2s
  - {api: function-task, params: {appGroupIdentity: a, functionName: f, instanceName: i, generation: x}}
  - {api: job, params: {job_id: j9}, name: x}
generate:
  - {api: job, count: 3, prefix: j, ends: {stopped: 0}}
  - {api: system-task, count: 0, ends: {stopped: 1}}
  - {api: job, count: 10, prefix: j}
"""

KINDS = "'throttle', 'unauthorized', 'error', 'hang', 'lost', 'garbage' or 'reset'"
MISTAKES = [
    "1: taskz: unknown key",
    "2: rate_limit: found 5; a rate above zero is allowed, like 10/s or 300/m",
    "3: accounts.huawei.0.secret_key: Input should be a valid string",
    "4: latency: one duration, or [shortest, longest], is allowed",
    "8: tasks.0.duration: found 5; a duration is allowed, like 500ms, 5s, 2m, 1h30m or 7d",
    "9: tasks.0.ends: found 'stopped'; this API has no such status: succeeded, failed or never is allowed",
    "11: tasks.2: job/j1 is taken already, by tasks.1",
    "12: tasks.3: api: one of function-task, function-instance, system-task, processor-task, job is allowed",
    "13: tasks.4.faults.0.for: found 3; a duration is allowed, like 500ms, 5s, 2m, 1h30m or 7d",
    f"13: tasks.4.faults.0.kind: found 'boo'; Input should be {KINDS}",
    "13: tasks.4.params: no project_id, unknown worksp; allowed: project_id, task_id, workspace (optional)",
    "16: tasks.5.runs: a run that never ends is followed by another, only the last may be such a one",
    "18: tasks.6.params.job_id: found ''; String should have at least 1 character",
    "19: tasks.6.duration: this key stands there twice",
    "21: tasks.7.params: generation is 'x', a number from 1 on is allowed",
    "22: tasks.8: name/x is taken already, by tasks.2",
    "24: generate.0.ends: weights of zero or more, at least one above zero, are allowed",
    "25: generate.1.count: found 0; Input should be greater than or equal to 1",
    "25: generate.1.ends: stopped is no status of a system-task",
    "25: generate.1.params: no project_id; allowed: project_id, workspace (optional)",
    "26: generate.2: job/j1 is taken already, by tasks.1",
]


def _write(path: Path, text: str) -> Path:
    file = path / "scenario.yaml"
    file.write_text(text)
    return file


def test_every_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    file = _write(tmp_path, WRONG)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(file)
    assert list(caught.value.mistakes) == [f"{file}:{mistake}" for mistake in MISTAKES]
    assert str(caught.value).splitlines() == list(caught.value.mistakes)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a\n", ":1: a mapping is allowed"),
        ("tasks: [\n", ": not YAML: "),
        ("tasks: !!python/object:os.system {}\n", ": not YAML: "),
    ],
)
def test_what_is_no_scenario_at_all_is_refused(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=told):
        load_scenario(_write(tmp_path, text))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"none\.yaml: cannot be read"):
        load_scenario(tmp_path / "none.yaml")


def test_an_empty_file_is_a_cloud_with_nothing_in_it(tmp_path: Path) -> None:
    assert load_scenario(_write(tmp_path, "")) == Scenario()


def test_an_instance_s_runs_and_listed_generations_must_not_meet() -> None:
    params = {"appGroupIdentity": "a", "functionName": "f", "instanceName": "i"}
    instance = {"api": "function-instance", "params": params, "runs": [{}, {}]}
    listed = {"api": "function-task", "params": {**params, "generation": 2}}
    with pytest.raises(ValueError, match=r"tasks\.1: function-task/a/f/i/2 is taken already, by tasks\.0"):
        Scenario.model_validate({"tasks": [instance, listed]})
    Scenario.model_validate({"tasks": [{**instance, "first_generation": 3}, listed]})
