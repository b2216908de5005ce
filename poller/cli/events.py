"""`poller events`: the transitions of a running daemon, those of the past and those to come."""

import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from poller.cli import tables
from poller.cli.daemon_api import Access, fetch_transitions, stream_transitions
from poller.cli.options import (
    AsJson,
    Authorities,
    DaemonConfig,
    DaemonUrl,
    Insecure,
    User,
    daemon_at,
    ended_quietly,
    moment,
    run_async,
)
from poller.domain.durations import format_duration
from poller.domain.moments import rfc3339


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(events)


def events(
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with those to come, until Ctrl-C.")] = False,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="From when on: 1h ago, or 2026-11-01T00:00:00Z. Without it: 1h, or now with -f."
        ),
    ] = None,
    config: DaemonConfig = None,
    url: DaemonUrl = None,
    user: User = None,
    ca: Authorities = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Show what happened to the tasks of a running daemon, and what happens: each change of a state, oldest first.

    Example: poller events --follow --since 10m --url http://127.0.0.1:9817

    A connection that breaks is made again, also to another replica, and nothing
    is shown twice. What could not be told is said.

    Exit status 0: done, 1: no daemon answers, 2: usage, 130: Ctrl-C.
    """
    begin = None if follow and since is None else moment(since or "1h", time.time())
    address, prefix, _ = daemon_at(url, config)
    access = Access(address, prefix, user, ca, insecure)
    with ended_quietly():
        run_async(lambda: _show(_told(access, begin, follow), as_json))


async def _told(access: Access, begin: float | None, follow: bool) -> AsyncIterator[Mapping[str, Any]]:
    """The transitions from ``begin`` on, and if they are to be followed those to come, each once."""
    if not follow:
        for each in await fetch_transitions(access, {"since": rfc3339(begin) or ""}):
            yield each
        return
    known: set[str] = set()
    async with aclosing(stream_transitions(access, _say)) as coming:
        # The first of all tells that the stream is open: what is committed from now on will be in it.
        await anext(coming)
        if begin is not None:
            for each in await fetch_transitions(access, {"since": rfc3339(begin) or ""}):
                known.add(each["transition_id"])
                yield each
        async for transition in coming:
            if transition is not None and transition["transition_id"] not in known:
                yield transition


async def _show(told: AsyncIterator[Mapping[str, Any]], as_json: bool) -> None:
    async for transition in told:
        if as_json:
            tables.print_json(transition)
        else:
            print_transition(transition)
        sys.stdout.flush()


def print_transition(told: Mapping[str, Any]) -> None:
    """One transition, as the API tells it, on one line."""
    took = (
        f" after {format_duration(told['duration_seconds'])}" if told["terminal"] and told["duration_seconds"] else ""
    )
    run = f" (run {told['run']})" if told["run"] > 1 else ""
    why = f": {told['message']}" if told["message"] else ""
    at = datetime.fromisoformat(told["at"]).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    line = Text(f"{at}  {tables.printable(told['task'])}{run}: ")
    line.append(f"{told['from']} -> ").append(told["to"], style=tables.STYLES.get(told["to"], ""))
    line.append(tables.printable(f"{took}{why}"))
    if sys.stdout.isatty():
        Console(highlight=False, soft_wrap=True).print(line)
    else:
        sys.stdout.write(f"{line.plain}\n")


def _say(text: str) -> None:
    sys.stderr.write(f"{tables.printable(text)}\n")
