"""Every event is one line, whoever wrote it and whatever is in it."""

import io
import json
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.typing import FilteringBoundLogger

from poller.domain.events import FlagChange, Transition
from poller.domain.state import Flag, State
from poller.emit.logs import LogEmitter, configure_logging

KEYS = [
    *("task", "provider", "operation", "from", "to", "raw_status", "terminal", "initial", "run", "progress", "message"),
    *("started_at", "ended_at", "duration_seconds", "request_id", "labels", "transition_id"),
]
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
NASTY = "a\nb\r\x1b[31m\x00\x85\u2028\u202e\x9b"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def logged(write: Callable[[FilteringBoundLogger], object], log_format: str = "json", level: str = "info") -> list[str]:
    """The lines that ``write`` brings."""
    stream = io.StringIO()
    write(configure_logging(level, log_format, stream))
    text = stream.getvalue()
    assert text == "" or text.endswith("\n")
    return text.split("\n")[:-1]


def logged_json(write: Callable[[FilteringBoundLogger], object]) -> dict[str, Any]:
    (line,) = logged(write)
    return dict(json.loads(line))


def moved(target: State = State.SUCCEEDED, **more: Any) -> Transition:
    return Transition("id1", 1, "n", "jobs", "job", State.RUNNING, target, 1_790_000_000.0, 1, **more)


def raised(flag: Flag, raised: bool = True, state: State = State.RUNNING) -> FlagChange:
    return FlagChange("n", "jobs", "job", flag, raised, 1_790_000_000.0, state, "timed out")


def test_a_transition_carries_every_key_and_null_where_nothing_is_known() -> None:
    event = logged_json(lambda logger: LogEmitter(logger).transition(moved()))
    assert event.keys() >= set(KEYS)
    assert (event["event"], event["from"], event["to"], event["terminal"]) == (
        "task.transition",
        "running",
        "succeeded",
        True,
    )
    assert [key for key in KEYS if event[key] is None] == [
        *("raw_status", "progress", "message", "started_at", "ended_at", "duration_seconds", "request_id", "labels")
    ]


def test_a_transition_tells_what_is_known() -> None:
    transition = moved(
        started_at=1_789_999_000.1234,
        ended_at=1_790_000_000.0,
        duration=999.8766,
        labels=MappingProxyType({"team": "ads"}),
        message="done\nreally",
        progress=100.0,
    )
    event = logged_json(lambda logger: LogEmitter(logger).transition(transition))
    assert event["started_at"] == "2026-09-21T13:56:40.123Z"
    assert event["ended_at"] == event["at"] == "2026-09-21T14:13:20.000Z"
    assert (event["duration_seconds"], event["labels"]) == (999.8766, {"team": "ads"})
    assert (event["message"], event["progress"]) == ("done\nreally", 100.0)


@pytest.mark.parametrize("moment", [1e20, -1e20, float("inf"), float("nan")])
def test_a_time_that_no_calendar_holds_is_null(moment: float) -> None:
    event = logged_json(lambda logger: LogEmitter(logger).transition(moved(started_at=moment)))
    assert event["started_at"] is None


@pytest.mark.parametrize("target", list(State))
def test_bad_ends_are_errors_and_everything_else_is_information(target: State) -> None:
    event = logged_json(lambda logger: LogEmitter(logger).transition(moved(target)))
    assert event["level"] == ("error" if target in {"failed", "missing", "expired"} else "info")


@pytest.mark.parametrize("flag", list(Flag))
def test_a_flag_warns_when_it_rises_and_recovers_when_it_clears(flag: Flag) -> None:
    event = logged_json(lambda logger: LogEmitter(logger).flag(raised(flag)))
    assert (event["event"], event["level"], event["task"]) == (f"task.{flag}", "warning", "n")
    assert event["message"] == "timed out"
    event = logged_json(lambda logger: LogEmitter(logger).flag(raised(flag, raised=False)))
    assert (event["event"], event["level"], event["flag"]) == ("task.recovered", "info", flag.value)


def test_a_flag_that_clears_because_the_task_was_given_up_is_no_recovery() -> None:
    change = raised(Flag.UNREACHABLE, raised=False, state=State.EXPIRED)
    assert logged(lambda logger: LogEmitter(logger).flag(change)) == []


def test_time_level_and_event_come_first() -> None:
    event = logged_json(lambda logger: logger.info("daemon.started", zone="a", age=1))
    assert list(event) == ["timestamp", "level", "event", "zone", "age"]
    assert TIMESTAMP.fullmatch(event["timestamp"])


@pytest.mark.parametrize("log_format", ["json", "console", "logfmt"])
@given(text=st.text() | st.just(NASTY))
def test_no_value_breaks_a_line(log_format: str, text: str) -> None:
    (line,) = logged(lambda logger: logger.info(f"event {text}", message=text, labels={"a": text}), log_format)
    assert not re.search(r"[\x00-\x1f]", line)
    if log_format != "json":
        assert not re.search(r"[\x7f-\x9f\u2028-\u202e\u2066-\u2069]", line)


def test_json_reads_back_what_was_written() -> None:
    assert logged_json(lambda logger: logger.info("e", message=NASTY))["message"] == NASTY


@pytest.mark.parametrize("value", ["\ud800", 2**80, {"nested": "\udfff"}])
def test_json_takes_what_its_fast_writer_refuses(value: object) -> None:
    assert logged_json(lambda logger: logger.info("e", value=value))["value"] == value


def test_json_writes_anything_else_as_text() -> None:
    assert logged_json(lambda logger: logger.info("e", value=ValueError("x")))["value"] == "x"


def test_logfmt_quotes_only_what_could_be_misread() -> None:
    def write(logger: FilteringBoundLogger) -> None:
        logger.info("e", a="plain", b="two words", c='say "x"', d="", e=None, f=True, g=1.5, h={"k": "v"})

    (line,) = logged(write, "logfmt")
    _, _, rest = line.partition(" level=")
    assert rest == 'info event=e a=plain b="two words" c="say \\"x\\"" d="" e=null f=true g=1.5 h="{\\"k\\":\\"v\\"}"'


def test_the_console_shows_time_level_and_event_as_words() -> None:
    (line,) = logged(lambda logger: logger.warning("task.overdue", task="n"), "console")
    time, rest = line.split(" ", 1)
    assert TIMESTAMP.fullmatch(time)
    assert rest == "warning  task.overdue task=n"


def test_auto_is_for_people_on_a_terminal_and_for_programs_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    configure_logging("info", "auto", terminal).info("e", task="n")
    assert "\x1b[" in terminal.getvalue()
    (line,) = logged(lambda logger: logger.info("e"), "auto")
    assert json.loads(line)["event"] == "e"


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    configure_logging("info", "auto", terminal).error("e", task="n")
    assert "\x1b[" not in terminal.getvalue()


def test_logs_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json").info("e")
    captured = capsys.readouterr()
    assert (captured.out, json.loads(captured.err)["event"]) == ("", "e")


def test_what_is_below_the_level_is_left_out() -> None:
    def write(logger: FilteringBoundLogger) -> None:
        logger.info("quiet")
        logging.getLogger("aiohttp").info("quiet")
        logger.warning("loud")

    (line,) = logged(write, level="warning")
    assert json.loads(line)["event"] == "loud"


def test_records_of_other_libraries_take_the_same_way() -> None:
    event = logged_json(lambda _: logging.getLogger("aiohttp.server").warning("bad request from %s", "me\nyou"))
    assert (event["level"], event["event"], event["logger"]) == (
        "warning",
        "bad request from me\nyou",
        "aiohttp.server",
    )
    assert TIMESTAMP.fullmatch(event["timestamp"])


@pytest.mark.parametrize("log_format", ["json", "console", "logfmt"])
def test_an_exception_is_part_of_its_line(log_format: str) -> None:
    def write(logger: FilteringBoundLogger) -> None:
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logger.exception("http.failed")
            logging.getLogger("asyncio").exception("callback failed")

    lines = logged(write, log_format)
    assert len(lines) == 2
    assert all("ValueError: two\\nlines" in line and "Traceback" in line for line in lines)


def test_a_record_whose_arguments_do_not_fit_is_still_one_line() -> None:
    event = logged_json(lambda _: logging.getLogger("other").error("%d tasks", "no number"))
    assert event["logger"] == "other"
    assert event["event"].startswith("unprintable log record: TypeError(")


def test_warnings_take_the_same_way() -> None:
    def write(_: FilteringBoundLogger) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(True)
            warnings.warn("old\nways", UserWarning, stacklevel=1)

    event = logged_json(write)
    assert (event["level"], event["logger"]) == ("warning", "py.warnings")
    assert "old\nways" in event["event"]


def test_a_broken_stream_stops_nobody() -> None:
    stream = io.StringIO()
    logger = configure_logging("info", "json", stream)
    stream.close()
    logger.error("nobody hears this")
    logging.getLogger("other").error("nor this")


def test_configuring_again_replaces_what_was() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logging("info", "json", first)
    configure_logging("info", "logfmt", second)
    logging.getLogger("other").error("e")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1


@pytest.mark.parametrize(("level", "log_format"), [("loud", "json"), ("INFO ", "json"), ("info", "xml")])
def test_an_unknown_level_or_format_is_refused(level: str, log_format: str) -> None:
    with pytest.raises(ValueError, match="is allowed"):
        configure_logging(level, log_format, sys.stderr)
