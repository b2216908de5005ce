"""The shipped configuration of Prometheus and Alertmanager is what their own tools accept, and alerts as it should."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from poller.domain.prospect import Basis, Prospect
from poller.domain.state import State
from poller.domain.task import Contact
from poller.emit.exposition import Exposition
from poller.emit.metrics import Metrics
from poller.emit.sinkmetrics import SinkMetrics
from poller.runtime.clock import LoopClock
from tests.deploy.dashboard import queries
from tests.deploy.prometheus import ALERTMANAGER, CONFIG, RULES, RULES_TEST
from tests.emit.fakes import NOW, FakeConnection, FakeWatching, watched

pytestmark = pytest.mark.e2e

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Prometheus")
needs_amtool = pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool comes with Alertmanager")

LABEL = re.compile(r"\$labels\.(\w+)")
METRIC = re.compile(r"(?<![\w:])poller_\w+(?![\w:])")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]
each_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=60)


def fired() -> dict[str, set[str]]:
    """By the name of each alert that the rule tests see fire: the labels that it has there."""
    found: dict[str, set[str]] = {}
    for test in yaml.safe_load(RULES_TEST.read_text("utf-8"))["tests"]:
        for check in test["promql_expr_test"]:
            for sample in check.get("exp_samples", ()):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"]))
                found.setdefault(labels["alertname"], set()).update(labels)
    return found


@needs_promtool
def test_promtool_accepts_the_config() -> None:
    """With the rule files that it names."""
    done = run("promtool", "check", "config", CONFIG)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_has_nothing_against_the_rules() -> None:
    done = run("promtool", "check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_alerts_fire_when_they_should_and_only_then() -> None:
    """The cases are in the file, which operators who change a rule can run as well."""
    done = run("promtool", "test", "rules", RULES_TEST)
    assert done.returncode == 0, done.stdout + done.stderr


@each_alert
def test_an_alert_says_how_bad_it_is_and_what_to_do(alert: dict[str, Any]) -> None:
    """One on a task names the task."""
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    texts = alert["annotations"]
    assert set(texts) == {"summary", "description", "runbook"}
    if alert["alert"].startswith("PollerTask"):
        assert "$labels.task " in texts["summary"]
        assert "$labels.task " in texts["description"]


@each_alert
def test_an_alert_is_tested_and_speaks_only_of_labels_that_it_has(alert: dict[str, Any]) -> None:
    """A label that is not there would be an empty gap in a sentence."""
    assert set(LABEL.findall(str(alert["annotations"]))) <= fired()[alert["alert"]]


def test_rules_and_dashboard_ask_only_for_metrics_that_there_are() -> None:
    """An alert on a misspelt metric would be silent for ever."""
    asked = {name for text in _expressions() for name in METRIC.findall(text)}
    assert asked - _exposed() == set()
    assert len(asked) > 15


def _expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in rules())
    yield from (query.text for query in queries())


def _exposed() -> set[str]:
    """The names of all samples of a poller with a task that has everything that a task can have."""
    task = watched(
        "a", State.RUNNING, progress=1.0, started_at=NOW, ended_at=NOW, contact=Contact(polls=1, last_polled_at=NOW)
    )
    task.prospect = Prospect(Basis.HISTORY, 90.0, 80.0, 120.0, 85.0)
    metrics = Metrics(CollectorRegistry(), "1.2.3", lambda: 0)
    SinkMetrics(metrics.registry, lambda: {"ops": {}}, dict, LoopClock())
    watching = FakeWatching([task], [FakeConnection("jobs")])
    page = b"".join(Exposition(metrics, watching).render()[1]).decode()
    return {sample.name for family in text_string_to_metric_families(page) for sample in family.samples}


@needs_amtool
def test_amtool_accepts_the_alertmanager_config() -> None:
    done = run("amtool", "check-config", ALERTMANAGER)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_explains_an_alert_has_the_labels_that_it_is_recognized_by() -> None:
    """A label that only one of two alerts had would keep the other from ever being held back."""
    for rule in yaml.safe_load(ALERTMANAGER.read_text("utf-8"))["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            for name in _named(matcher):
                assert set(rule["equal"]) <= fired()[name], name


def _named(matcher: str) -> Iterator[str]:
    """The alerts that a matcher such as `alertname=~"A|B(C|D)"` names."""
    _, pattern = matcher.strip('"').split('"')
    for start, ends in re.findall(r"(\w+)(?:\(([^)]*)\))?", pattern):
        yield from (start + end for end in ends.split("|"))


@needs_amtool
@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["severity=critical", "team=ads", "alertname=PollerTaskFailed"], "ads-pager"),
        (["severity=warning", "team=ads", "alertname=PollerTaskOverdue"], "ads-chat"),
        (["severity=info", "team=ads", "alertname=PollerTaskFoundFailed"], "ads-chat"),
        (["severity=critical", "team=vision", "alertname=PollerTaskFailed"], "pager"),
        (["severity=warning", "team=vision", "alertname=PollerTaskStalled"], "chat"),
        (["severity=critical", "alertname=PollerDown"], "pager"),
        (["severity=warning", "alertname=PollerReloadFailed"], "chat"),
        (["severity=info", "alertname=PollerTaskFoundFailed"], "chat"),
    ],
    ids=str,
)
def test_an_alert_goes_to(labels: list[str], receiver: str) -> None:
    """By severity and team."""
    done = run("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", *labels)
    assert (done.returncode, done.stdout.split()) == (0, [receiver]), done.stderr
