"""What a task's runs are runs of: what stays the same from one run to the next."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.domain.task import Entry
from poller.providers.catalog import builtin_kinds, inline_kind
from poller.providers.client import family_of
from poller.providers.overview import describe_operation

JOB = inline_kind(
    {
        "operations": {
            "job": {
                "path": "/{project}/jobs/{id}",
                "query": {"zone": "{zone}"},
                "status": "status",
                "states": {"succeeded": "ok", "failed": "bad"},
            }
        }
    }
).operations["job"]
TRAINING = {"appGroupIdentity": "my app", "functionName": "ctr", "instanceName": "a/b", "generation": "3"}
INSTANCE = {name: TRAINING[name] for name in ("appGroupIdentity", "functionName", "instanceName")}
STAYS = "appGroupIdentity=my%20app&functionName=ctr&instanceName=a%2Fb"


def job(provider: str = "p", **params: str) -> Entry:
    """A job of that provider."""
    return Entry("t", provider, "job", params)


@pytest.mark.parametrize(
    ("kind", "operation", "params", "family"),
    [
        ("alibaba-opensearch", "function-task", TRAINING, f"p/function-task?{STAYS}"),
        ("alibaba-opensearch", "function-instance", INSTANCE, f"p/function-instance?{STAYS}"),
        ("huawei-dlf", "system-task", {"project_id": "1", "task_id": "t"}, "p/system-task?project_id=1"),
        (
            "huawei-dlf",
            "system-task",
            {"workspace": "ws", "task_id": "t", "project_id": "1"},
            "p/system-task?project_id=1&workspace=ws",
        ),
        ("huawei-modelarts", "processor-task", {"project_id": "1", "task_id": "t"}, "p/processor-task?project_id=1"),
        (
            "huawei-modelarts",
            "training-job",
            {"project_id": "1", "training_job_id": "t"},
            "p/training-job?project_id=1",
        ),
    ],
)
def test_of_the_built_in_kinds(kind: str, operation: str, params: dict[str, str], family: str) -> None:
    """All but what names the run; an instance is the same from training to training."""
    assert family_of(builtin_kinds()[kind].operations[operation], Entry("t", "p", operation, params)) == family


def test_people_and_programs_can_see_what_names_a_run() -> None:
    """`poller providers --json` tells."""
    assert describe_operation(JOB)["run_params"] == ["id"]


def test_two_runs_of_one_thing_are_of_one_family() -> None:
    """Whatever they are called, in whatever order their parameters stand."""
    one = family_of(JOB, job(project="x", id="1", zone="z"))
    other = replace(job(zone="z", id="2", project="x"), name="u", labels={"a": "b"}, source="api")
    assert family_of(JOB, other) == one == "p/job?project=x&zone=z"


@pytest.mark.parametrize(
    "other",
    [job(project="y", id="1"), job(project="x", id="1", zone=""), job("q", project="x", id="1")],
    ids=["another parameter", "one more", "another provider"],
)
def test_other_things_are_of_other_families(other: Entry) -> None:
    """Another provider, or another parameter that stays."""
    assert family_of(JOB, other) != family_of(JOB, job(project="x", id="1"))


def test_a_parameter_that_the_operation_does_not_know_says_nothing() -> None:
    """A provider's default for its other operations."""
    assert family_of(JOB, job(project="x", id="1", other="o")) == family_of(JOB, job(project="x", id="1"))


def test_where_nothing_stays_the_operation_is_the_family() -> None:
    """Without a question mark."""
    assert family_of(JOB, job(id="1")) == "p/job"


def test_of_a_followed_task_every_parameter_stays() -> None:
    """Its runs all have the same."""
    assert family_of(JOB, replace(job(project="x", id="1"), follow=True)) == "p/job?id=1&project=x"


def test_a_family_that_is_named_is_that_one() -> None:
    """For whatever provider, operation and parameters, followed or not."""
    named = replace(job(project="x", id="1"), family="trainings")
    assert family_of(JOB, named) == family_of(JOB, replace(named, provider="q", follow=True)) == "trainings"


NAMES = st.text("ab/?&=%", max_size=3)


@given(*[st.tuples(NAMES, st.dictionaries(st.sampled_from(["project", "zone"]), NAMES))] * 2)
def test_no_two_families_have_one_name(one: tuple[str, dict[str, str]], other: tuple[str, dict[str, str]]) -> None:
    """Whatever signs stand in names and values."""
    families = [family_of(JOB, job(provider, **params)) for provider, params in (one, other)]
    assert (families[0] == families[1]) == (one == other)


@given(st.text(), st.text())
def test_any_value_has_a_family(one: str, other: str) -> None:
    """Also one that cannot be sent, of plain ASCII."""
    families = [family_of(JOB, job(project=value, id="1")) for value in (one, other)]
    assert (families[0] == families[1]) == (one == other)
    assert all(family.isascii() and family.isprintable() for family in families)


def test_half_a_surrogate_pair_has_one_too() -> None:
    """Two of them have two."""
    assert family_of(JOB, job(project="\ud800")) != family_of(JOB, job(project="\ud801"))
