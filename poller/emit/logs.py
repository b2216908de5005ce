"""The log: one event per line, whoever writes it, and what is logged of the tasks.

structlog's own events and those of the standard library's loggers (aiohttp, asyncio, warnings) leave through the same
processors and the same stream. No value can break a line: control characters are escaped in every format.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TextIO

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from poller.domain.events import FlagChange, Transition
from poller.domain.state import State

_BAD_ENDS = frozenset({State.FAILED, State.MISSING, State.EXPIRED})

_BARE = re.compile(r"[^\s\"=\\\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What ends a line somewhere, moves a terminal's cursor or turns its writing direction, and halves of characters."""

_COLORS = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31;1m"}
_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"


def configure_logging(
    level: str = "info", log_format: str = "auto", stream: TextIO | None = None
) -> FilteringBoundLogger:
    """Sets up structlog and the standard library's logging, and gives back a logger of poller's own.

    ``level``: debug, info, warning, error or critical. ``log_format``: json, console, logfmt, or auto: console where
    ``stream`` (standard error by default) is a terminal, json elsewhere. ValueError for any other.
    """
    target = sys.stderr if stream is None else stream
    threshold = _threshold(level)
    chain: list[Processor] = [
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _head,
        _renderer(log_format, target),
    ]
    lines = _Lines(target)
    _configure_standard_library(threshold, chain, lines)
    structlog.configure(
        processors=chain,
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger.bind()


class LogEmitter:
    """Logs what happens to the tasks."""

    def __init__(self, logger: FilteringBoundLogger) -> None:
        self._logger = logger

    def transition(self, transition: Transition) -> None:
        """Logs ``task.transition`` with all its keys, as an error if it failed, is missing or was given up."""
        tell = self._logger.error if transition.target in _BAD_ENDS else self._logger.info
        tell("task.transition", **transition.facts)

    def flag(self, change: FlagChange) -> None:
        """Logs ``task.`` and the flag when it rises, ``task.recovered`` when it clears, but not for a task given up."""
        facts = {
            "task": change.task,
            "provider": change.provider,
            "operation": change.operation,
            "state": change.state.value,
            "message": change.message,
        }
        if change.raised:
            self._logger.warning(f"task.{change.flag.value}", **facts)
        elif change.state is not State.EXPIRED:
            self._logger.info("task.recovered", flag=change.flag.value, **facts)


def _threshold(level: str) -> int:
    names = logging.getLevelNamesMapping()
    if level not in ("debug", "info", "warning", "error", "critical"):
        raise ValueError(f"{level!r} is no log level; debug, info, warning, error or critical is allowed")
    return names[level.upper()]


def _head(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Puts first what a reader looks for first."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"timestamp": now, "level": method, "event": event.pop("event", ""), **event}


def _renderer(log_format: str, stream: TextIO) -> Processor:
    if log_format == "json" or (log_format == "auto" and not stream.isatty()):
        return _json
    if log_format == "logfmt":
        return _logfmt
    if log_format in ("auto", "console"):
        return _Console(colored=stream.isatty() and not os.environ.get("NO_COLOR"))
    raise ValueError(f"{log_format!r} is no log format; auto, json, console or logfmt is allowed")


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return _to_json(event)


def _logfmt(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return " ".join(f"{key}={_word(value)}" for key, value in event.items())


class _Console:
    """For people: as logfmt, but time, level and event come first, as bare words, and last what is not known."""

    def __init__(self, colored: bool) -> None:
        self._colored = colored

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        time, level = event.pop("timestamp"), event.pop("level")
        text = _escape(str(event.pop("event")))
        known = {key: value for key, value in event.items() if value is not None}
        words = _logfmt(logger, method, known)
        unknown = _logfmt(logger, method, {key: None for key in event if key not in known})
        if not self._colored:
            return " ".join(part for part in (time, f"{level:<8}", text, words, unknown) if part).rstrip()
        color = _COLORS.get(level, "")
        head = f"{_DIM}{time}{_PLAIN} {color}{level:<8}{_PLAIN} {_BOLD}{text}{_PLAIN}"
        return " ".join(part for part in (head, words, f"{_DIM}{unknown}{_PLAIN}" if unknown else "") if part)


def _word(value: object) -> str:
    """A logfmt value: bare where nothing in it could be misread, else quoted as in JSON."""
    if isinstance(value, str):
        return value if _BARE.fullmatch(value) else _quote(value)
    text = _to_json(value)
    return text if _BARE.fullmatch(text) else _quote(text)


def _quote(text: str) -> str:
    return _escape(json.dumps(text, ensure_ascii=False))


def _escape(text: str) -> str:
    return _UNSEEN.sub(lambda match: _ESCAPES.get(match[0]) or f"\\u{ord(match[0]):04x}", text)


_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _to_json(value: object) -> str:
    try:
        return orjson.dumps(value, default=_plain).decode()
    except TypeError:
        # orjson refuses halves of surrogate pairs and numbers beyond 64 bits; no log line may fail on what it quotes.
        return json.dumps(value, default=_plain, skipkeys=True)


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


class _Lines:
    """The stream, as structlog's innermost logger: each method writes one line at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass  # The stream is full, broken or closed: there is no place left to say so, and the polling goes on.

    debug = info = warning = error = critical = write


class _RecordHandler(logging.Handler):
    """Takes the standard library's records to the same lines."""

    def __init__(self, lines: _Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - a foreign record's arguments may raise anything when made into text
            facts = {"name": record.name, "levelname": record.levelname, "msg": f"unprintable log record: {error!r}"}
            line = self.format(logging.makeLogRecord(facts))
        self._lines.write(line)


def _configure_standard_library(threshold: int, chain: list[Processor], lines: _Lines) -> None:
    handler = _RecordHandler(lines)
    formatter = structlog.stdlib.ProcessorFormatter
    handler.setFormatter(
        formatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name],
            processors=[formatter.remove_processors_meta, *chain],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # What libraries tell in passing is of interest only to who looks for a fault.
    root.setLevel(threshold if threshold == logging.DEBUG else max(threshold, logging.WARNING))
    logging.captureWarnings(True)
