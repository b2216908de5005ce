"""`poller status`: the tasks of a running daemon, once or again and again."""

import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Annotated, Any

import anyio
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from poller.cli import tables
from poller.cli.daemon_api import Access, fetch_tasks
from poller.cli.options import (
    AsJson,
    Authorities,
    DaemonConfig,
    DaemonUrl,
    Insecure,
    User,
    daemon_at,
    ended_quietly,
    run_async,
)
from poller.domain.errors import NoDaemonError
from poller.domain.state import State

LOOK_EVERY = 1.0
"""Seconds between two looks."""

Tasks = Sequence[dict[str, Any]]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(status)


def status(
    config: DaemonConfig = None,
    url: DaemonUrl = None,
    user: User = None,
    ca: Authorities = None,
    insecure: Insecure = False,
    watch: Annotated[
        bool, typer.Option("-w", "--watch", help="Look again every second, until Ctrl-C; off a terminal tell changes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the tasks of a running daemon.

    Example: poller status --watch --url http://127.0.0.1:9817

    The address may be that of a unix socket (unix:PATH), and may hold a login (https://NAME:PASSWORD@HOST).

    Exit status 0, 1: no daemon answers, 2: usage, 130: Ctrl-C.
    """
    address, prefix, _ = daemon_at(url, config)
    access = Access(address, prefix, user, ca, insecure)
    if watch:
        with ended_quietly():
            run_async(lambda: _watch_status(access, as_json))
        return
    tasks = run_async(lambda: fetch_tasks(access))
    if as_json:
        for task in tasks:
            tables.print_json(task)
    else:
        tables.print_status(tasks)


async def _watch_status(access: Access, as_json: bool) -> None:
    """Shows the tasks of a daemon for as long as it is let: on a terminal in one place, elsewhere what changes.

    NoDaemonError if no daemon answers the first time; later it may go and come again.
    """
    tasks: Tasks = await fetch_tasks(access)
    if as_json or not sys.stdout.isatty():
        await _print_changes(access, tasks, as_json)
        return
    console, trouble = Console(highlight=False), ""
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            live.update(_page(tasks, trouble, console), refresh=True)
            await anyio.sleep(LOOK_EVERY)
            try:
                tasks, trouble = await fetch_tasks(access), ""
            except NoDaemonError as error:
                trouble = f"{error}; it is asked again"


def _page(tasks: Tasks, trouble: str, console: Console) -> Group:
    """As many tasks as there is room for, those first that have not ended, and how many there are of which kind."""
    room = max(console.height - 4, 1)
    shown = sorted(tasks, key=itemgetter("terminal", "name"))[:room]
    more = f"and {len(tasks) - room:,} more, which poller status shows without --watch" if len(tasks) > room else ""
    last = Text(tables.printable(trouble), style="yellow") if trouble else Text(more, style="dim")
    last.truncate(console.width, overflow="ellipsis")
    return Group(Text(_title(tasks), style="dim"), tables.status_table(shown, console), last)


def _title(tasks: Tasks) -> str:
    counts = Counter(task["state"] for task in tasks)
    kinds = ", ".join(f"{counts[state]:,} {state}" for state in State if counts[state])
    return f"{len(tasks):,} tasks{f' ({kinds})' if kinds else ''} at {datetime.now(UTC):%H:%M:%S} UTC; Ctrl-C ends"


async def _print_changes(access: Access, tasks: Tasks, as_json: bool) -> None:
    """Each task as it is, and again whenever more of it changes than how often it was polled."""
    known: dict[str, Any] = {}
    silent = False
    while True:
        changed = [task for task in tasks if known.get(task["name"]) != _matter(task)]
        known = {task["name"]: _matter(task) for task in tasks}
        if as_json:
            for task in changed:
                tables.print_json(task)
        elif changed:
            tables.print_status(changed)
        sys.stdout.flush()
        await anyio.sleep(LOOK_EVERY)
        try:
            tasks, silent = await fetch_tasks(access), False
        except NoDaemonError as error:
            if not silent:
                sys.stderr.write(f"{error}; it is asked again\n")
            silent = True


_TICKS = frozenset({"polls", "last_polled_at", "next_poll_at", "consecutive_failures", "last_failure"})


def _matter(task: dict[str, Any]) -> dict[str, Any]:
    """What is worth a line when it changes."""
    return {key: value for key, value in task.items() if key not in _TICKS and not key.startswith("expected_")}
