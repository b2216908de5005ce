"""What commands print for people."""

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from poller.cli.tables import print_status, print_table
from poller.web.api import task_json
from tests.emit.fakes import watched

ROWS = [("one", "running", "a reason that is rather long and does not fit"), ("two", None, "short")]


def test_a_program_gets_every_column_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """However long the lines get."""
    print_table(("name", "state", "because of"), ROWS)
    assert capsys.readouterr().out.splitlines() == [
        "NAME  STATE    BECAUSE OF",
        "one   running  a reason that is rather long and does not fit",
        "two   -        short",
    ]


@pytest.mark.parametrize(
    ("columns", "shown"), [(30, "a reason that is ra…"), (50, "a reason that is rather long and d…")]
)
def test_on_a_narrow_terminal_only_the_last_column_is_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int, shown: str
) -> None:
    """None is left out."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    print_table(("name", "state", "because of"), ROWS)
    lines = [re.sub("\x1b[^m]*m", "", line).rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["NAME  STATE    BECAUSE OF", f"one   running  {shown}", "two   -        short"]


def test_the_status_tells_the_flags_and_the_expected_end(capsys: pytest.CaptureFixture[str]) -> None:
    """Relative to now, and short; one that has passed says so. What an older daemon does not tell is unknown."""

    def told(name: str, *ends: float | None, **more: Any) -> dict[str, Any]:
        now = datetime.now(UTC)
        keys = (f"expected_end_{key}" for key in ("at", "low_at", "high_at"))
        moments = ((now + timedelta(seconds=end)).isoformat() if end is not None else None for end in ends)
        return task_json(watched(name)) | dict(zip(keys, moments, strict=True)) | more

    old = {key: value for key, value in told("d", None, None, None).items() if "expected" not in key and key != "late"}
    print_status(
        [
            told("a", 720.5, 480.5, 1200.5),
            told("b", -180.5, -190.0, 30.0, late=True, overdue=True),
            told("c", 90.5, None, None),
            old,
        ]
    )
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "TASK  PROVIDER  STATE    FLAGS         PROGRESS  TOOK  EXPECTED END     POLLS  MESSAGE",
        "a     jobs      running  -             -         -     in 12m (8m-20m)  0      -",
        "b     jobs      running  overdue late  -         -     passed 3m ago    0      -",
        "c     jobs      running  -             -         -     in 1m30s         0      -",
        "d     jobs      running  -             -         -     -                0      -",
    ]
