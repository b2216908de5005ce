"""Commands that look: `check`, `poll`, `schema`."""

import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer

from poller.app import load_config, place, poll_once, probe_once, stored_changes
from poller.cli import tables
from poller.cli.explanation import explanation_json, print_explanations
from poller.cli.kinds import check_spec
from poller.cli.options import AsJson, ConfigPath, run_async
from poller.config.loading import Loaded, json_schema
from poller.domain.errors import ConfigError, PollerError
from poller.domain.observation import Outcome
from poller.emit.logs import configure_logging
from poller.providers.binding import bind
from poller.providers.spec import json_schema as spec_schema


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(check)
    app.command()(poll)
    app.command()(schema)


def check(
    config: Annotated[
        Path | None,
        typer.Option("-c", "--config", envvar="POLLER_CONFIG", help="The config file; not needed beside --spec."),
    ] = None,
    skip_secrets: Annotated[
        bool, typer.Option("--skip-secrets", help="Secrets that cannot be had are no mistake, for CI.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Print what a reload would add, change and remove instead.")
    ] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Also ask each provider once, for one of its tasks, and tell how it does.")
    ] = False,
    spec: Annotated[
        str | None, typer.Option(metavar="FILE|KIND", help="Check this spec file, or the spec of this kind, instead.")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Test the spec against the recorded answers in this folder.")
    ] = None,
) -> None:
    """Check config, provider specs and watchlist offline, and print what would be watched.

    Example: poller check -c poller.yaml

    Every mistake is told at once, one a line: FILE:LINE: KEY.PATH: what was found, what is allowed.
    Exit status 2 if there are any; with --probe, a connection that does not work is one.

    --spec FILE --answers DIR tests a spec against recorded answers, those in DIR/OPERATION/cases.yaml.
    Exit status 2 if one of them is not read as expected.
    """
    if answers is not None and spec is None:
        raise typer.BadParameter("it needs --spec beside it", param_hint="'--answers'")
    if probe and (skip_secrets or diff or spec):
        raise typer.BadParameter("--probe: it needs the secrets and all of the watchlist; leave the other options away")
    if spec is not None:
        check_spec(spec, answers, config)
        return
    if config is None:
        raise typer.BadParameter("missing, without --spec it is required", param_hint="'-c' / '--config'")
    loaded = load_config(config, skip_secrets)
    if diff:
        tables.print_changes(run_async(lambda: stored_changes(loaded)))
        return
    sinks = {name: place(sink) for name, sink in loaded.settings.sinks.items()}
    tables.print_watchlist(loaded, bind(loaded), sinks)
    if probe:
        _probe(loaded)


def poll(
    config: ConfigPath,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Tasks; without any: all.")] = None,
    as_json: AsJson = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print request, answer, and every rule that was tried on it.")
    ] = False,
) -> None:
    """Poll tasks once, without a daemon, and print what was answered and why it means what it means.

    Example: poller poll -c poller.yaml ctr-model-3 --explain

    Exit status 0 if every task's status was told, else 1.
    """
    loaded = load_config(config)
    wanted = _known(loaded, names or list(loaded.entries))
    logger = configure_logging("warning")
    seen = run_async(lambda: poll_once(loaded, wanted, logger, explained=explain))
    if as_json:
        for name in wanted:
            more = {"explanation": explanation_json(seen[name])} if explain else {}
            tables.print_json(tables.observation_json(loaded.entries[name], seen[name]) | more)
    elif explain:
        print_explanations({name: seen[name] for name in wanted})
    else:
        tables.print_observations(loaded, seen)
    if any(seen[name].outcome is not Outcome.ANSWERED for name in wanted):
        raise typer.Exit(1)


def schema(
    spec: Annotated[bool, typer.Option("--spec", help="That of spec files instead.")] = False,
) -> None:
    """Print the JSON Schema of the config file, for editors.

    Example: poller schema > poller.schema.json
    """
    described = spec_schema() if spec else json_schema()
    sys.stdout.write(orjson.dumps(described, option=orjson.OPT_INDENT_2).decode() + "\n")


def _probe(loaded: Loaded) -> None:
    """Asks each provider once, and prints how it does. ConfigError with every connection that does not work."""
    # What goes wrong is in the table; a pause in the log as well would tell it twice.
    logger = configure_logging("error")
    found = run_async(lambda: probe_once(loaded, logger))
    sys.stdout.write("\n")
    tables.print_probed(found)
    sys.stdout.flush()
    broken = {name: diagnosis for name, (_, diagnosis) in found.items() if not diagnosis.works}
    if broken:
        raise ConfigError(
            loaded.problem(("providers", name), f"{each.verdict}: {each.meaning}") for name, each in broken.items()
        )


def _known(loaded: Loaded, names: list[str]) -> list[str]:
    unknown = [name for name in names if name not in loaded.entries]
    if unknown:
        raise PollerError(f"not on the watchlist: {', '.join(unknown)}; `poller check` lists what is")
    return list(dict.fromkeys(names))
