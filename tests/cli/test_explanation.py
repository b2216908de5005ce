"""An explanation as people read it, and as programs do."""

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.cli.explanation import explanation_json, print_explanations
from poller.domain.explanation import Explanation, Trial
from poller.domain.observation import Observation, Outcome
from poller.domain.state import State

NOW = 1_790_000_000.5
TOLD = Explanation(
    at=NOW,
    trials=(
        Trial("missing: error", False, "HTTP 200, found nothing"),
        Trial("status 1 is running", True, "status '1'"),
    ),
    request="GET https://h/jobs/1",
    http_status=200,
    server_time=NOW - 300.5,
    content_type="application/json",
    answer='{"status": 1, "name": "模型", "parts": []}',
)
RUNNING = Observation(
    Outcome.ANSWERED, State.RUNNING, progress=30.0, message="fine", rule="status 1 is running", explain=lambda: TOLD
)


def shown(capsys: pytest.CaptureFixture[str], **seen: Observation) -> str:
    """What is printed."""
    print_explanations(seen)
    return capsys.readouterr().out


def test_tells_request_answer_rules_and_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    """In the order in which they came, the answer with a line for each value."""
    assert (
        shown(capsys, a=RUNNING)
        == """\
a
  request  GET https://h/jobs/1
  status   HTTP 200, application/json, 2026-09-21T14:08:20.000Z, the clock here is 300 s ahead
  answer   {
             "status": 1,
             "name": "模型",
             "parts": []
           }
  rules    no   missing: error
                saw HTTP 200, found nothing
           yes  status 1 is running
                saw status '1'
  verdict  answered, running, 30 %, fine
"""
    )


def test_of_several_tasks_are_set_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """By an empty line. Where nothing was sent or came, that is what is told."""
    told = Explanation(NOW, (Trial("no answer came", True),), "GET https://h/jobs/2")
    unasked = Observation(Outcome.UNAUTHORIZED, message="HTTP 401", rule="not asked, the connection was refused: x")
    silent = Observation(Outcome.UNREACHABLE, message="no answer within 2 s", explain=lambda: told)
    assert shown(capsys, a=silent, b=unasked) == (
        "a\n"
        "  request  GET https://h/jobs/2\n"
        "  rules    yes  no answer came\n"
        "  verdict  unreachable, no answer within 2 s\n"
        "\n"
        "b\n"
        "  request  none was sent\n"
        "  rules    yes  not asked, the connection was refused: x\n"
        "  verdict  unauthorized, HTTP 401\n"
    )


@pytest.mark.parametrize(
    ("answer", "lines"),
    [
        ("", ["empty"]),
        ("plain text", ["plain text"]),
        ("<html>\r\n\t<b>", ["<html>", "    <b>"]),
        ('{"cut": "sho…', ['{"cut": "sho…']),
        ("[" * 4_000, ["[" * 4_000]),
        ("\x1b]0;title\x07\x1b[31mred", [r"\x1b]0;title\x07\x1b[31mred"]),
        ('"\\u001b[31m\\ud800"', [r'"\u001b[31m\ud800"']),
        ("\u202eleft", [r"\u202eleft"]),
    ],
)
def test_an_answer_is_shown_whatever_it_is(capsys: pytest.CaptureFixture[str], answer: str, lines: list[str]) -> None:
    """Text as it came, and nothing in it moves the cursor, colours the screen or turns the writing around."""
    told = Explanation(NOW, (), "GET /", 200, answer=answer)
    text = shown(capsys, a=Observation(Outcome.UNRECOGNIZED, explain=lambda: told))
    start = text.index("answer")
    assert [line[11:] for line in text[start - 2 :].splitlines()][: len(lines)] == lines


@given(st.text(), st.text(), st.text())
def test_no_text_breaks_a_line(answer: str, saw: str, message: str) -> None:
    """Whatever a provider says: one line stays one line, and everything can be written."""
    told = Explanation(NOW, (Trial("r", True, saw),), "GET /", 200, content_type=message, answer=answer)
    seen = Observation(Outcome.REJECTED, message=message, explain=lambda: told)
    with pytest.MonkeyPatch.context() as patch:
        written: list[str] = []
        patch.setattr(sys.stdout, "write", written.append)
        patch.setattr(sys.stdout, "isatty", lambda: False)
        print_explanations({"a": seen})
    assert all(line.endswith("\n") and line[:-1].isprintable() for line in written)


def test_on_a_terminal_is_told_with_little_colour(capsys: pytest.CaptureFixture[str]) -> None:
    """The same words; bold is what decided, and long lines are left to the terminal."""
    plain = shown(capsys, a=RUNNING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.stdout, "isatty", lambda: True)
        patch.setenv("FORCE_COLOR", "1")
        patch.setenv("TERM", "xterm-256color")
        patch.delenv("NO_COLOR", raising=False)
        coloured = shown(capsys, a=RUNNING)
    assert "\x1b[1myes  status 1 is running\x1b[0m" in coloured
    assert re.sub("\x1b\\[[0-9;]*m", "", coloured) == plain


def test_for_programs_has_the_same_as_fields() -> None:
    """Times in RFC 3339, rules in their order."""
    assert explanation_json(RUNNING) == {
        "request": "GET https://h/jobs/1",
        "http_status": 200,
        "server_time": "2026-09-21T14:08:20.000Z",
        "content_type": "application/json",
        "answer": TOLD.answer,
        "rules": [
            {"rule": "missing: error", "matched": False, "saw": "HTTP 200, found nothing"},
            {"rule": "status 1 is running", "matched": True, "saw": "status '1'"},
        ],
    }
    unasked = Observation(Outcome.UNAUTHORIZED, rule="not asked")
    assert explanation_json(unasked)["rules"] == [{"rule": "not asked", "matched": True, "saw": None}]
