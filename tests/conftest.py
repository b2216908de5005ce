"""What holds for every test: how hypothesis searches, what is traced, and that in CI nothing is left out."""

import asyncio
import os
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent

pytest_plugins = ["tests.postgresql", "tests.pgbouncer"]

settings.register_profile("default", deadline=None, max_examples=50)
settings.register_profile(
    "ci", settings.get_profile("ci"), deadline=None, max_examples=50, derandomize=True, print_blob=True
)
if profile := os.environ.get("HYPOTHESIS_PROFILE"):
    settings.load_profile(profile)


@pytest.fixture(scope="session", autouse=True)
def loop_between_tests() -> Generator[None]:
    """A loop that looptime, which asks for one in synchronous tests too, need not make and then leave open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


TRACED = (ROOT / "domain", ROOT / "providers")
"""The tests of the code that must be covered to the last branch."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Leaves untraced what tests something else. And moves virtual time after few rounds of a loop that has nothing to
    do: the default, 42, is most of a long test.
    """
    if not any(item.path.is_relative_to(folder) for folder in TRACED):
        item.add_marker(pytest.mark.no_cover)
    marks = list(item.iter_markers("looptime"))
    if marks and not any("noop_cycles" in mark.kwargs for mark in marks):
        item.add_marker(pytest.mark.looptime(noop_cycles=4))


Report = TypeVar("Report", pytest.CollectReport, pytest.TestReport)


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("POLLER_TEST_REQUIRE_ALL") == "1":
        config.pluginmanager.register(NothingLeftOut(), "poller-nothing-left-out")


class NothingLeftOut:
    """Turns each skip and expected failure into a failure that tells its reason: CI has every tool."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        return _failed_if_skipped(report)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        return _failed_if_skipped(report)


def _failed_if_skipped(report: Report) -> Report:
    if report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = f"left out, but POLLER_TEST_REQUIRE_ALL=1 wants every test: {_reason(report)}"
        vars(report).pop("wasxfail", None)
    return report


def _reason(report: pytest.CollectReport | pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return f"expected to fail: {report.wasxfail}"
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2]
    return str(report.longrepr)
