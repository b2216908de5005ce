"""`poller export`: the history that is in the store, for programs and spreadsheets."""

import csv
import io
import os
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import orjson
import typer

from poller.app import stored_history
from poller.cli.options import ConfigPath, config_of_store, moment, run_async
from poller.domain.errors import PollerError
from poller.domain.events import Transition
from poller.domain.state import State
from poller.web.told import run_json, transition_json

_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet takes for a formula."""

_ANY = Transition("", 0, "", "", "", State.UNKNOWN, State.UNKNOWN, 0.0, 0)

Pages = AsyncGenerator[Sequence[Transition]]
Row = Mapping[str, Any]
Encode = Callable[[Iterable[Row]], bytes]


class Kind(StrEnum):
    """What a line tells of."""

    TRANSITIONS = "transitions"
    RUNS = "runs"


class Format(StrEnum):
    """How it is written."""

    JSONL = "jsonl"
    CSV = "csv"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(export)


def export(
    config: ConfigPath,
    since: Annotated[str, typer.Option(metavar="TIME", help="From when on: 7d ago, or 2026-11-01T00:00:00Z.")],
    form: Annotated[Format, typer.Option("--format", help="JSON or CSV, one object or row a line.")] = Format.JSONL,
    kind: Annotated[Kind, typer.Option("--kind", help="Every transition, or the runs that ended.")] = Kind.TRANSITIONS,
    output: Annotated[Path | None, typer.Option("-o", metavar="FILE", help="Write to this file instead.")] = None,
) -> None:
    """Export the history that is in the store, oldest first; a daemon may work on it meanwhile.

    Example: poller export --since 7d --format csv -c poller.yaml -o week.csv

    Lines of JSON have the keys that the API gives a transition or a run. A row of CSV has them as columns, labels as
    JSON, nothing where nothing is known. In CSV a text that begins like a formula gets an apostrophe in front, so that
    no spreadsheet runs what a provider wrote; in JSON everything stands as it is.

    History is kept for as long as `history` in the config says.
    """
    begin = moment(since, time.time())
    loaded = config_of_store(config)
    tell = run_json if kind is Kind.RUNS else transition_json
    encode = lines_of_json if form is Format.JSONL else Csv(tell(_ANY))
    pages = stored_history(loaded, begin, ends=kind is Kind.RUNS)
    try:
        if output is None:
            run_async(lambda: _write(pages, tell, encode, sys.stdout.buffer))
            return
        with output.open("wb") as file:
            run_async(lambda: _write(pages, tell, encode, file))
    except BrokenPipeError:
        # Who reads has seen enough. Nothing is left to be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise PollerError(
            f"{output or 'standard output'} cannot be written: {(error.strerror or '').lower()}"
        ) from None


def lines_of_json(rows: Iterable[Row]) -> bytes:
    """One object a line."""
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


class Csv:
    """Rows as RFC 4180 has them, under the names of their ``columns``."""

    def __init__(self, columns: Iterable[str]) -> None:
        self._text = io.StringIO()
        self._writer = csv.writer(self._text, lineterminator="\r\n")
        self._writer.writerow(columns)

    def __call__(self, rows: Iterable[Row]) -> bytes:
        """The bytes of ``rows``, the first time behind those of the head."""
        self._writer.writerows(map(_cell, row.values()) for row in rows)
        written = self._text.getvalue().encode()
        self._text.seek(0)
        self._text.truncate()
        return written


async def _write(pages: Pages, tell: Callable[[Transition], Row], encode: Encode, file: BinaryIO) -> None:
    async with aclosing(pages):
        async for page in pages:
            file.write(encode(map(tell, page)))
            file.flush()
    file.write(encode(()))
    file.flush()


def _cell(value: object) -> str | float | None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    text = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return f"'{text}" if text.startswith(_FORMULAS) else text
