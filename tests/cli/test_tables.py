"""What commands print for people."""

import re
import sys

import pytest

from poller.cli.tables import print_table

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
