"""With POLLER_TEST_REQUIRE_ALL=1 nothing may be left out; without it a test whose tool is missing just skips."""

import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent

import pytest

from tests.conftest import ROOT, TRACED

# One test file for each way to leave a test out, by the reason it gives.
LEFT_OUT = {
    "skip in a test": """
        def test_it():
            pytest.skip(REASON)
        """,
    "skip in a fixture": """
        @pytest.fixture
        def promtool():
            pytest.skip(REASON)

        def test_it(promtool): ...
        """,
    "skip mark": """
        @pytest.mark.skip(reason=REASON)
        def test_it(): ...
        """,
    "skip of a whole module": """
        pytestmark = pytest.mark.skipif(True, reason=REASON)

        def test_it(): ...
        """,
    "skip during collection": """
        pytest.skip(REASON, allow_module_level=True)
        """,
    "missing library": """
        pytest.importorskip("no_such_library", reason=REASON)
        """,
    "unittest skip": """
        import unittest

        class TestIt(unittest.TestCase):
            @unittest.skip(REASON)
            def test_it(self): ...
        """,
    "expected failure": """
        @pytest.mark.xfail(reason=REASON)
        def test_it():
            raise FileNotFoundError
        """,
    "expected failure that is not even run": """
        @pytest.mark.xfail(run=False, reason=REASON)
        def test_it(): ...
        """,
    "expected failure declared on the way": """
        def test_it():
            pytest.xfail(REASON)
        """,
}

Run = Callable[[dict[str, str]], pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs test files, given by the reason each calls REASON, under this project's conftest.py."""
    monkeypatch.delenv("POLLER_TEST_REQUIRE_ALL", raising=False)
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text())

    def run(bodies: dict[str, str]) -> pytest.RunResult:
        for reason, body in bodies.items():
            text = f"import pytest\nREASON = {reason!r}\n{dedent(body)}"
            pytester.makepyfile(**{f"test_{reason.replace(' ', '_')}": text})
        return pytester.runpytest_inprocess("--continue-on-collection-errors", "-p", "no:cloudcoil")

    return run


def test_what_is_left_out_fails_in_ci_and_says_why(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLLER_TEST_REQUIRE_ALL", "1")
    result = run(LEFT_OUT)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    outcomes = result.parseoutcomes()
    assert outcomes["failed"] + outcomes["errors"] == len(LEFT_OUT)
    told = [line for line in result.outlines if line.startswith("left out, but POLLER_TEST_REQUIRE_ALL=1 ")]
    assert not [reason for reason in LEFT_OUT if not any(line.endswith(reason) for line in told)]


@pytest.mark.parametrize("value", [None, "", "0"])
def test_what_is_left_out_is_no_failure_elsewhere(run: Run, monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is not None:
        monkeypatch.setenv("POLLER_TEST_REQUIRE_ALL", value)
    outcomes = run(LEFT_OUT).parseoutcomes()
    assert outcomes.keys() == {"skipped", "xfailed"}
    assert sum(outcomes.values()) == len(LEFT_OUT)


def test_passes_and_failures_stay_what_they_are(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLLER_TEST_REQUIRE_ALL", "1")
    result = run({"passes": "def test_it(): ...", "fails": "def test_it(): assert 1 == 2"})
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E * assert 1 == 2"])


def test_a_subtest_left_out_fails_in_ci(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLLER_TEST_REQUIRE_ALL", "1")
    body = """
        def test_it(subtests):
            with subtests.test("one"):
                pytest.skip(REASON)
        """
    result = run({"skip in a subtest": body})
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["left out, but POLLER_TEST_REQUIRE_ALL=1 *skip in a subtest"])


def test_what_must_be_covered_is_there_and_so_are_its_tests() -> None:
    """One that was renamed would else be covered by nobody, and nobody would notice."""
    covered = tomllib.loads((ROOT.parent / "pyproject.toml").read_text("utf-8"))["tool"]["coverage"]["run"][
        "source_pkgs"
    ]
    assert covered
    assert [name for name in covered if find_spec(name) is None] == []
    assert all(any(folder.glob("**/test_*.py")) for folder in TRACED)
