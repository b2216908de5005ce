"""`poller sinks`: how the sinks of a running daemon do, and what was given up."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from poller.cli import tables
from poller.cli.daemon_api import Access, changing, fetch_dead, fetch_sinks, redeliver_events
from poller.cli.options import (
    AsJson,
    Authorities,
    ConfigPath,
    DaemonConfig,
    DaemonUrl,
    Insecure,
    TokenFile,
    User,
    run_async,
)
from poller.domain.errors import ConfigError
from poller.domain.moments import relative

SinkName = Annotated[str, typer.Argument(metavar="SINK", help="The sink's name in the config.")]


def register(app: typer.Typer) -> None:
    """Adds the group of commands."""
    group = typer.Typer(no_args_is_help=True)
    group.callback()(_sinks)
    group.command("list")(list_sinks)
    group.command("dead")(dead)
    group.command("redeliver")(redeliver)
    group.command("test")(test)
    app.add_typer(group, name="sinks")


def _sinks() -> None:
    """See how sinks do: the other systems that are told of transitions.

    Example: poller sinks list --url http://127.0.0.1:9817
    """


def list_sinks(
    config: DaemonConfig = None,
    url: DaemonUrl = None,
    user: User = None,
    token_file: TokenFile = None,
    ca: Authorities = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """List the sinks of a running daemon: what they got, what waits, what is dead, and what went wrong last.

    Example: poller sinks list -c poller.yaml

    Sinks that are no longer in the config are listed while something is kept for them; their kind is -.
    """
    access = _access(config, url, token_file, ca, insecure, user)
    records = run_async(lambda: fetch_sinks(access))
    if as_json:
        _print_all(records)
        return
    now = datetime.now(UTC).timestamp()
    tables.print_table(
        ("sink", "kind", "delivered", "waiting", "dead", "fails since", "last error"),
        (
            (
                *(each["name"], each["kind"]),
                *(str(each[key]) for key in ("delivered", "waiting", "dead")),
                _ago(each["failing_since"], now),
                _last_error(each, now),
            )
            for each in records
        ),
    )


def dead(
    sink: Annotated[str | None, typer.Argument(metavar="[SINK]", help="Only those of this sink.")] = None,
    config: DaemonConfig = None,
    url: DaemonUrl = None,
    user: User = None,
    token_file: TokenFile = None,
    ca: Authorities = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """List the dead letters of a running daemon: events that were given up, newest first.

    Example: poller sinks dead ops -c poller.yaml
    """
    access = _access(config, url, token_file, ca, insecure, user)
    letters = run_async(lambda: fetch_dead(access, sink))
    if as_json:
        _print_all(letters)
        return
    now = datetime.now(UTC).timestamp()
    tables.print_table(
        ("sink", "event", "task", "transition", "given up", "attempts", "error"),
        (
            (
                *(each["sink"], each["id"], each["transition"]["task"]),
                f"{each['transition']['from']} > {each['transition']['to']}",
                _ago(each["dead_at"], now),
                str(each["attempts"]),
                each["error"],
            )
            for each in letters
        ),
    )


def redeliver(  # noqa: PLR0913, PLR0917 - each is an option of the command
    sink: SinkName,
    events: Annotated[list[str] | None, typer.Argument(metavar="[EVENT]...", help="Ids of events.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All dead letters of the sink.")] = False,
    config: DaemonConfig = None,
    url: DaemonUrl = None,
    token_file: TokenFile = None,
    ca: Authorities = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Have a running daemon deliver events once more: dead letters, or such as were delivered.

    Example: poller sinks redeliver ops --all -c poller.yaml

    They keep their ids. It needs the bearer token, as `poller watch add` does.

    Exit status 0: done, 1: refused, or an event is not kept or waits anyway, 2: usage.
    """
    if bool(events) == every:
        raise typer.BadParameter("the ids of events, or --all, and not both", param_hint="'[EVENT]...'")
    access = changing(config, url, token_file, ca, insecure)
    asked = list(dict.fromkeys(events or ()))
    told = run_async(lambda: redeliver_events(access, sink, None if every else asked))
    if as_json:
        tables.print_json(told)
    else:
        sys.stderr.write(f"{sink}: {_events(told['redelivered'])} to be delivered\n")
    left = 0 if every else len(asked) - told["redelivered"]
    if left:
        sys.stderr.write(f"poller: {_events(left)} not kept for {sink}, or waiting anyway\n")
        raise typer.Exit(1)


def test(sink: SinkName, config: ConfigPath) -> None:
    """Send one sample event to a sink of a config now, without a daemon, and tell what it answers.

    Example: poller sinks test ops -c poller.yaml

    The event's type is poller.sink.test; a file gets a line.

    Exit status 0: taken, 1: not.
    """
    from poller.app import load_config, send_sample

    # Of all secrets only that sink's are needed, and those may well be what is to be tested.
    loaded = load_config(config, skip_secrets=True)
    settings = loaded.settings.sinks.get(sink)
    missing = [] if settings is None else [(path, each.missing) for path, each in settings.secrets() if each.missing]
    if missing:
        raise ConfigError(loaded.problem(("sinks", sink, *path), text) for path, text in missing)
    answer = run_async(lambda: send_sample(loaded, sink))
    sys.stderr.write(f"{sink}: {answer.error or 'taken'}\n")
    if answer.error is not None:
        raise typer.Exit(1)


def _access(
    config: Path | None,
    url: str | None,
    token_file: Path | None,
    ca: Path | None,
    insecure: bool,
    user: str | None,
) -> Access:
    """How to get to the daemon: as the user that is given, else with the token as for changes."""
    access = changing(config, url, token_file, ca, insecure)
    return replace(access, user=user, token=None) if user else access


def _print_all(objects: Iterable[Mapping[str, Any]]) -> None:
    for each in objects:
        tables.print_json(each)


def _ago(moment: str | None, now: float) -> str | None:
    return None if moment is None else relative(datetime.fromisoformat(moment).timestamp(), now)


def _last_error(record: Mapping[str, Any], now: float) -> str | None:
    return None if record["last_error"] is None else f"{_ago(record['last_error_at'], now)}: {record['last_error']}"


def _events(count: int) -> str:
    return f"{count:,} event is" if count == 1 else f"{count:,} events are"
