"""What `poller export` writes, and what it takes for a time."""

import csv
import io
import json

import pytest
import typer
from hypothesis import given

from poller.cli.export import Csv, lines_of_json
from poller.cli.options import moment as moment_in
from poller.domain.events import Transition
from poller.web.told import run_json, transition_json
from tests.contract import anything

NOW = 1_700_000_000.0


def parsed(content: bytes) -> list[list[str]]:
    """The cells of CSV."""
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


@given(anything.transitions)
def test_lines_of_json_have_what_the_api_tells(transition: Transition) -> None:
    """One object a line, whatever is in it."""
    for told in (transition_json(transition), run_json(transition)):
        content = lines_of_json([told])
        assert content.count(b"\n") == 1
        assert json.loads(content) == told


@given(anything.transitions)
def test_csv_has_the_same_columns_and_gives_them_back(transition: Transition) -> None:
    """RFC 4180: CRLF, quotes where needed; what is unknown is empty, labels are JSON."""
    told = transition_json(transition)
    head, cells = parsed(Csv(told)([told]))
    assert head == list(told)
    found = dict(zip(head, cells, strict=True))
    assert found["message"] in {told["message"] or "", f"'{told['message']}"}
    assert json.loads(found["labels"] or "null") == told["labels"]
    assert found["terminal"] == ("true" if told["terminal"] else "false")
    assert found["duration_seconds"] == ("" if told["duration_seconds"] is None else repr(told["duration_seconds"]))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(text: str) -> None:
    """What a provider wrote must not run in a spreadsheet; a number stays one, below zero too."""
    content = Csv(["message", "progress"])([{"message": text, "progress": -1.5}])
    assert parsed(content)[1] == [f"'{text}", "-1.5"]


def test_the_head_comes_once_and_without_any_rows() -> None:
    """An export of nothing is still a table."""
    encode = Csv(["a", "b"])
    assert encode([]) == b"a,b\r\n"
    assert encode([{"a": 'x "y"\nz', "b": None}]) == b'"x ""y""\nz",\r\n'
    assert encode([]) == b""


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("7d", NOW - 604_800),
        ("1h30m", NOW - 5_400),
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14T23:13:20.500+01:00", NOW + 0.5),
    ],
)
def test_a_time_is_a_duration_or_rfc_3339(text: str, moment: float) -> None:
    """Exactly, whatever the zone."""
    assert moment_in(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "x", "7", "2023-11-14", "2023-11-14T22:13:20", "-7d"])
def test_another_time_is_refused_with_what_is_allowed(text: str) -> None:
    """One without a zone too: it would mean something else on another machine."""
    with pytest.raises(typer.BadParameter, match="a duration"):
        moment_in(text, NOW)
