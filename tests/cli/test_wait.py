"""`poller wait`: what is refused, what is shown, and how often a daemon is asked."""

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
import typer
from typer.testing import CliRunner

from poller.cli import app, following
from poller.cli.daemon_api import Access
from poller.cli.following import Show, follow_daemon, run_to_the_end
from poller.domain.errors import NoDaemonError, NoSuchTaskError
from poller.domain.prospect import Basis, Prospect
from poller.domain.state import State
from poller.web.api import task_json
from tests.daemon.process import job, write_config
from tests.emit.fakes import watched

DAEMON = Access("http://127.0.0.1:1")


@pytest.mark.parametrize("arguments", [["j"], [], ["j", "-c", "x.yaml", "--timeout", "soon"], ["--nobody"]])
def test_wrong_usage_is_told(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 2, which no end of a task has."""
    monkeypatch.delenv("POLLER_CONFIG", raising=False)
    assert CliRunner().invoke(app, ["wait", *arguments]).exit_code == 2


def test_unknown_names_are_wrong_usage_too(tmp_path: Path) -> None:
    """Nothing is asked."""
    config = write_config(tmp_path, DAEMON.address, [job("j")])
    result = CliRunner().invoke(app, ["wait", "j", "nobody", "-c", str(config)])
    assert result.exit_code == 2
    assert "not on the watchlist: nobody" in result.output


@pytest.mark.parametrize("choice", ["--all", "--any"])
def test_an_empty_watchlist_needs_no_waiting(tmp_path: Path, choice: str) -> None:
    """Which is said."""
    config = write_config(tmp_path, DAEMON.address, [])
    result = CliRunner().invoke(app, ["wait", choice, "-c", str(config)])
    assert (result.exit_code, result.output) == (0, "There is nothing to wait for: the watchlist is empty.\n")


def test_no_daemon_at_first_sight_is_an_error() -> None:
    """A wrong address would never get right."""
    result = CliRunner().invoke(app, ["wait", "j", "--url", DAEMON.address])
    assert isinstance(result.exception, NoDaemonError)


def told(name: str, state: State = State.RUNNING, **more: Any) -> dict[str, Any]:
    """A task, as the API tells it."""
    return dict(task_json(watched(name, state, **more)))


@pytest.mark.parametrize(
    ("states", "succeeded"),
    [
        ([], False),
        ([State.RUNNING], False),
        ([State.SUCCEEDED, State.RUNNING], True),
        ([State.SUCCEEDED, State.SUCCEEDED], True),
        *(([State.SUCCEEDED, bad], False) for bad in (State.FAILED, State.STOPPED, State.MISSING, State.EXPIRED)),
    ],
)
def test_what_has_ended_decides(states: list[State], succeeded: bool) -> None:
    """All that ended must have succeeded, and something must have ended."""
    with Show(as_json=False) as show:
        for number, state in enumerate(states):
            show.show(told(str(number), state))
    assert show.all_succeeded is succeeded


def test_the_next_run_of_a_followed_task_changes_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    """What was waited for has ended. A task not answered yet is not worth a line."""
    with Show(as_json=False) as show:
        for state, run in ((State.UNKNOWN, 1), (State.SUCCEEDED, 1), (State.RUNNING, 2), (State.FAILED, 2)):
            show.show(told("n", state, run=run))
    assert show.all_succeeded
    assert show.left(["n", "m"]) == ["m"]
    assert capsys.readouterr().err.splitlines() == ["n: succeeded", "n: running", "n: failed"]


def test_a_bar_tells_state_progress_age_and_expected_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal; it goes with the end."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    now = datetime.now(UTC).timestamp()
    running = watched(
        "n", progress=42.0, started_at=now - 65.0, prospect=Prospect(Basis.HISTORY, 785.5, 545.5, 1265.5, 1)
    )
    with Show(as_json=False) as show:
        show.looked(running)
        (bar,) = show._progress.tasks
        assert (bar.description, bar.percentage, bar.fields["state"]) == ("n", 42.0, "running")
        assert (bar.fields["elapsed"], bar.fields["end"]) == ("1m5s", "ends in 12m (8m-20m)")
        show.looked(watched("n", prospect=Prospect(Basis.HISTORY, 720.0, 480.0, 1200.0, 1)))
        (bar,) = show._progress.tasks
        assert bar.total is None
        assert bar.fields["end"].startswith("end passed ")
        show.show(told("n", State.SUCCEEDED))
        assert not show._progress.tasks
    capsys.readouterr()


async def test_a_daemon_is_asked_only_for_what_has_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """And it may fall silent after its first answer, which is said once each time; not before that."""
    asked: list[list[str]] = []
    answers: list[dict[str, State] | Exception] = [
        {"a": State.RUNNING, "b": State.RUNNING},
        NoDaemonError("gone"),
        NoDaemonError("gone"),
        {"a": State.SUCCEEDED, "b": State.RUNNING},
        {"b": State.SUCCEEDED},
    ]

    async def fetch(access: Access, names: Collection[str]) -> list[dict[str, Any]]:
        asked.append(list(names))
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [told(name, state) for name, state in answer.items()]

    monkeypatch.setattr(following, "fetch_some", fetch)
    monkeypatch.setattr(following, "ASK_EVERY", 0.0)
    said: list[str] = []
    with Show(as_json=False) as show:
        monkeypatch.setattr(show, "say", said.append)
        await follow_daemon(DAEMON, {"a": 0, "b": 0}, show)
        assert asked == [["a", "b"]] * 4 + [["b"]]
        assert [line for line in said if "again" in line] == ["gone; it is asked again"]
        answers[:] = [NoDaemonError("gone")]
        with pytest.raises(NoDaemonError):
            await follow_daemon(DAEMON, {"x": 0}, show)
        answers[:] = [{"x": State.RUNNING}, NoSuchTaskError("x")]
        with pytest.raises(NoSuchTaskError):
            await follow_daemon(DAEMON, {"x": 0}, show)


async def test_the_first_end_is_enough_if_any_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other is left as it is."""

    async def fetch(access: Access, names: Collection[str]) -> list[dict[str, Any]]:
        return [told("c", State.FAILED), told("d")]

    monkeypatch.setattr(following, "fetch_some", fetch)
    with Show(as_json=False) as show:
        await follow_daemon(DAEMON, {"c": 0, "d": 0}, show, any)
    assert show.left(["c", "d"]) == ["d"]


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["a"], "a: not ended within 0.1s; the job goes on\n"),
        (list("abcdefg"), "a, b, c, d, e and 2 more: not ended within 0.1s; the jobs go on\n"),
    ],
)
def test_what_has_not_ended_in_time_is_named(names: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A few of many."""
    with pytest.raises(typer.Exit) as exit_:
        run_to_the_end(anyio.sleep_forever, 0.1, lambda: names)
    assert (exit_.value.exit_code, capsys.readouterr().err) == (124, line)
