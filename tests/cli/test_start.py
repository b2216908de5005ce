"""`poller start`: what is refused before anything is sent, and what is shown."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from poller.cli import app
from poller.cli.following import Seen, Show
from poller.domain.errors import NoSuchTaskError, PollerError, UnstartableError
from poller.domain.observation import Observation, Outcome
from poller.domain.state import State
from poller.domain.task import Entry, Status, Task
from tests.daemon.process import job, write_config

NOWHERE = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["j"], "j: operation job of jobs has nothing to start"),
        (["nobody"], "no task 'nobody' is known"),
        (
            ["j", "--url", "gopher://x"],
            "--url: an address that is none, http://HOST:PORT, https://… or unix:PATH is allowed",
        ),
        (["j", "--url", NOWHERE, "--token-file", "/no/such/file"], "--token-file: /no/such/file cannot be read"),
        (["j", "--url", NOWHERE], f"no daemon answers at {NOWHERE}/api/v1/tasks/j/start"),
    ],
)
def test_what_cannot_be_started_is_told_in_words(tmp_path: Path, arguments: list[str], error: str) -> None:
    """Without a request to a provider."""
    path = write_config(tmp_path, NOWHERE, [job("j")])
    result = CliRunner().invoke(app, ["start", *arguments, "-c", str(path)])
    assert isinstance(result.exception, PollerError)
    assert str(result.exception).startswith(error)


def test_errors_have_their_own_types(tmp_path: Path) -> None:
    """For callers that tell them apart."""
    path = write_config(tmp_path, NOWHERE, [job("j")])
    for name, kind in (("j", UnstartableError), ("nobody", NoSuchTaskError)):
        assert type(CliRunner().invoke(app, ["start", name, "-c", str(path)]).exception) is kind


@pytest.mark.parametrize("arguments", [["j"], ["j", "-c", "x.yaml", "--timeout", "soon"], []])
def test_wrong_usage_is_told(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 2."""
    monkeypatch.delenv("POLLER_CONFIG", raising=False)
    assert CliRunner().invoke(app, ["start", *arguments]).exit_code == 2


def seen(state: State, **known: object) -> Task:
    """A task in that state."""
    status = Status(**{"first_seen_at": 0.0, "since": 0.0, "run_since": 0.0, "state": state, **known})  # type: ignore[arg-type]
    return Task(Entry("n", "p", "o"), status)


def test_a_line_is_shown_for_each_state_and_not_for_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """With the message, and in the end with how long it took."""
    with Show(as_json=False) as show:
        for progress in (1.0, 2.0):
            show.changed(seen(State.RUNNING, progress=progress))
        assert not show.all_succeeded
        show.changed(seen(State.SUCCEEDED, duration=75.0, message="[well] done"))
        assert show.all_succeeded
    out, err = capsys.readouterr()
    assert (out, err) == ("", "n: running\nn: succeeded after 1m15s: [well] done\n")


def test_polls_that_fail_are_shown_when_they_begin_to(capsys: pytest.CaptureFixture[str]) -> None:
    """And when they fail in another way; not each time."""
    entry = Entry("n", "p", "o")
    with Show(as_json=False) as show:
        for outcome in (
            Outcome.UNREACHABLE,
            Outcome.UNREACHABLE,
            Outcome.THROTTLED,
            Outcome.ANSWERED,
            Outcome.THROTTLED,
        ):
            show.polled(entry, Observation(outcome, message="HTTP 5xx"))
    assert [line.split("(")[1].split(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        "unreachable",
        "throttled",
        "throttled",
    ]


def test_an_end_is_none_as_long_as_a_run_is_awaited() -> None:
    """Whoever follows a daemon's task must not take the old end for the new one's."""
    told = {
        "name": "n", "state": "succeeded", "run": 1, "progress": None, "message": None, "duration_seconds": None,
        "started_at": None, "ended_at": None, "terminal": True, "awaits_run": True,
    }  # fmt: skip
    assert not Seen.told(told).settled
    assert Seen.told({**told, "awaits_run": False}).settled
    assert not Seen.of(seen(State.SUCCEEDED, awaited_since=5.0)).settled
