"""The page of metrics is valid in both formats and tells of every task exactly what it is now."""

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from poller.config.settings import TaskMetrics
from poller.domain.prospect import Basis, Prospect
from poller.domain.state import Flag, State
from poller.domain.task import Contact
from poller.emit.exposition import LINES_PER_PIECE, TASKS_PER_PIECE, Exposition
from poller.emit.metrics import Metrics
from tests.emit.fakes import NOW, FakeConnection, FakeWatched, FakeWatching, watched

OPENMETRICS = "application/openmetrics-text"
PROMTOOL = shutil.which("promtool")

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse_openmetrics(text: str) -> Iterable[Metric]:
    families: Iterable[Metric] = openmetrics_parser.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    return families


def exposition(watching: FakeWatching) -> Exposition:
    return Exposition(Metrics(CollectorRegistry(), "1.2.3", lambda: 0), watching)


def page(watching: FakeWatching, accept: str = "") -> str:
    return b"".join(exposition(watching).render(accept)[1]).decode()


def samples(families: Iterable[Metric]) -> Samples:
    """Every sample of poller's own; that no series comes twice is checked on the way."""
    listed = [sample for family in families for sample in family.samples if sample.name.startswith("poller_")]
    found = {(sample.name, frozenset(sample.labels.items())): float(sample.value) for sample in listed}
    assert len(found) == len(listed)
    return found


def of_task(text: str, name: str) -> dict[str, float]:
    """The values of one task's series; the state is part of the key."""
    return {
        f"{metric}{{{dict(labels)['state']}}}" if metric == "poller_task_state" else metric: value
        for (metric, labels), value in samples(parse_plain(text)).items()
        if ("task", name) in labels
    }


@pytest.fixture
def every_state() -> FakeWatching:
    shown = [
        watched(f"in/{state}", state, labels={"team": "ads", "cost-center": "7"}, follow=state is State.SUCCEEDED)
        for state in State
    ]
    contact = Contact(polls=3, last_polled_at=NOW)
    full = watched("full", progress=42.0, started_at=NOW - 60, ended_at=NOW, overdue=True, late=True, contact=contact)
    full.prospect = Prospect(Basis.HISTORY, 90.0, 80.0, 120.0, 85.0)
    shown.append(full)
    lanes = [FakeConnection("jobs", 3, 12, "throttled"), FakeConnection("idle")]
    return FakeWatching(shown, lanes, [("jobs", "job"), ("idle", "job")])


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: it comes with Prometheus")
def test_promtool_finds_nothing_to_complain_about(every_state: FakeWatching) -> None:
    checked = subprocess.run(
        [str(PROMTOOL), "check", "metrics"], input=page(every_state), capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_both_formats_tell_the_same(every_state: FakeWatching) -> None:
    plain = samples(parse_plain(page(every_state)))
    assert samples(parse_openmetrics(page(every_state, OPENMETRICS))) == plain
    assert len(plain) > 200


def test_the_content_type_is_that_of_the_format() -> None:
    render = exposition(FakeWatching()).render
    assert render("")[0] == "text/plain; version=0.0.4; charset=utf-8"
    assert render(OPENMETRICS)[0] == "application/openmetrics-text; version=1.0.0; charset=utf-8"


def test_families_are_in_one_piece(every_state: FakeWatching) -> None:
    headers = [line for line in page(every_state).splitlines() if line.startswith("# TYPE")]
    assert len(headers) == len(set(headers))


def test_a_task_is_told_completely(every_state: FakeWatching) -> None:
    assert of_task(page(every_state), "full") == {
        "poller_task_state{running}": 1,
        "poller_task_progress_ratio": 0.42,
        "poller_task_start_timestamp_seconds": NOW - 60,
        "poller_task_end_timestamp_seconds": NOW,
        "poller_task_last_poll_timestamp_seconds": NOW,
        "poller_task_overdue": 1,
        "poller_task_stalled": 0,
        "poller_task_unreachable": 0,
        "poller_task_late": 1,
        "poller_task_expected_end_timestamp_seconds": NOW + 30,
        "poller_task_info": 1,
    }


def test_what_is_not_known_of_a_task_has_no_series(every_state: FakeWatching) -> None:
    flags = {f"poller_task_{flag}": 0 for flag in Flag}
    assert of_task(page(every_state), "in/pending") == {"poller_task_state{pending}": 1, "poller_task_info": 1, **flags}


def test_a_task_that_moves_or_goes_leaves_no_ghost() -> None:
    watching = FakeWatching([watched("n"), watched("other")])
    render = exposition(watching).render
    assert "poller_task_state{running}" in of_task(b"".join(render()[1]).decode(), "n")
    watching.shown[0] = watched("n", State.SUCCEEDED)
    second = b"".join(render()[1]).decode()
    assert [key for key in of_task(second, "n") if "state" in key] == ["poller_task_state{succeeded}"]
    del watching.shown[0]
    assert '"n"' not in b"".join(render()[1]).decode()


def test_tasks_are_counted_by_state_from_zero(every_state: FakeWatching) -> None:
    found = samples(parse_plain(page(every_state)))

    def tasks(provider: str, state: str) -> float:
        return found["poller_tasks", frozenset({"provider": provider, "operation": "job", "state": state}.items())]

    assert (tasks("jobs", "running"), tasks("jobs", "failed"), tasks("idle", "running")) == (2, 1, 0)


def test_connections_are_told(every_state: FakeWatching) -> None:
    text = page(every_state)
    assert 'poller_polls_in_flight{provider="jobs"} 3.0' in text
    assert 'poller_polls_due{provider="jobs"} 12.0' in text
    assert 'poller_provider_paused{provider="jobs"} 1.0' in text
    assert 'poller_provider_paused{provider="idle"} 0.0' in text
    assert 'poller_provider_rate{provider="jobs"} 50.0' in text


def test_series_of_an_operation_start_at_zero_before_its_first_poll(every_state: FakeWatching) -> None:
    text = page(every_state)
    assert 'poller_polls_total{provider="idle",operation="job",outcome="answered"} 0.0' in text
    assert 'poller_transitions_total{provider="idle",operation="job",from="running",to="failed"} 0.0' in text
    assert 'poller_transitions_total{provider="jobs",operation="job",from="succeeded",to="running"} 0.0' in text
    assert 'poller_transitions_total{provider="idle",operation="job",from="succeeded",to="running"}' not in text


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_an_expected_end_is_told_of_tasks_under_way_alone(accept: str) -> None:
    """What has ended, or was never seen, has none; and nothing is left of one that was."""
    foreseen = Prospect(Basis.PACE, 90.0, 90.0, 90.0, 85.0)
    watching = FakeWatching([watched(state, state, prospect=foreseen) for state in State] + [watched("unforeseen")])
    lines = [line for line in page(watching, accept).splitlines() if line.startswith("poller_task_expected_end")]
    assert [line.partition('",')[0] for line in lines] == [
        f'poller_task_expected_end_timestamp_seconds{{task="{state}' for state in ("pending", "running")
    ]
    assert {line.rpartition(" ")[2] for line in lines} == {repr(NOW - 900 + 90)}


@settings(max_examples=50)
@given(st.lists(st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=4), min_size=1, max_size=3))
def test_any_label_can_be_read_back(labels: list[dict[str, str]]) -> None:
    watching = FakeWatching([watched(f"n{number}", labels=each) for number, each in enumerate(labels)])
    plain = samples(parse_plain(page(watching)))
    assert samples(parse_openmetrics(page(watching, OPENMETRICS))) == plain
    infos = [dict(found) for name, found in plain if name == "poller_task_info"]
    for number, each in enumerate(labels):
        (info,) = [found for found in infos if found["task"] == f"n{number}"]
        assert sorted(info.values()) == sorted([*each.values(), f"n{number}", "jobs", "job"])


def test_half_a_character_does_not_take_all_metrics_down() -> None:
    assert 'note="?"' in page(FakeWatching([watched("n", labels={"note": "\ud800"})]))


def test_a_page_shows_each_task_as_of_one_moment_though_it_is_made_in_pieces() -> None:
    watching = FakeWatching([watched(f"n{number}") for number in range(TASKS_PER_PIECE + 1)])
    _, pieces = exposition(watching).render()
    taken = [next(pieces), next(pieces)]
    watching.shown[0].task = replace(
        watching.shown[0].task, status=watched("n", State.FAILED, progress=7.0).task.status
    )
    del watching.shown[1:]
    text = b"".join([*taken, *pieces]).decode()
    assert 'state="failed"' not in "".join(line for line in text.splitlines() if "poller_task_state" in line)
    assert "poller_task_progress_ratio{" not in text
    assert text.count("poller_task_state{") == TASKS_PER_PIECE + 1


def test_no_piece_holds_more_than_its_share_of_tasks() -> None:
    watching = FakeWatching([watched(f"n{number}") for number in range(LINES_PER_PIECE + 1)])
    pieces = [piece.decode() for piece in exposition(watching).render()[1]]
    assert max(piece.count('task="n') for piece in pieces) == LINES_PER_PIECE


def test_a_page_of_no_tasks_is_valid() -> None:
    empty: list[FakeWatched] = []
    assert samples(parse_openmetrics(page(FakeWatching(empty), OPENMETRICS)))


@pytest.mark.parametrize(
    ("which", "names", "left_out"),
    [
        (TaskMetrics(), {"a", "b", "c"}, 0),
        (TaskMetrics(max_tasks=2), {"a", "b"}, 1),
        (TaskMetrics(tasks="active"), {"a", "c"}, 1),
        (TaskMetrics(tasks="active", max_tasks=1), {"a"}, 2),
        (TaskMetrics(tasks="none"), set(), 3),
    ],
)
def test_series_of_tasks_are_bounded_and_totals_are_not(which: TaskMetrics, names: set[str], left_out: int) -> None:
    """The first by name have series; how many are left out is told, and all are counted."""
    watching = FakeWatching(
        [watched("a"), watched("b", state=State.SUCCEEDED), watched("c")],
    )
    shown = Exposition(Metrics(CollectorRegistry(), "1", lambda: 0), watching, lambda: which)
    found = samples(parse_plain(b"".join(shown.render()[1]).decode()))
    assert {dict(labels)["task"] for _, labels in found if "task" in dict(labels)} == names
    assert found["poller_tasks_not_exported", frozenset()] == left_out
    assert sum(value for (name, _), value in found.items() if name == "poller_tasks") == 3
