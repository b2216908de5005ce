"""Commands about kinds of providers: `providers`, and what `check --spec` does."""

import sys
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from poller.app import load_config
from poller.cli import tables
from poller.cli.options import AsJson
from poller.config.textfile import shown_name
from poller.config.wording import one_of
from poller.config.yamlfile import Document, read_yaml
from poller.domain.errors import ConfigError, PollerError
from poller.providers.overview import describe
from poller.providers.recorded import read_cases
from poller.providers.spec import Kind
from poller.providers.specfiles import Kinds, all_kinds

OptionalConfig = Annotated[
    Path | None,
    typer.Option("-c", "--config", envvar="POLLER_CONFIG", help="The config file, for kinds of its own."),
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(providers)


def providers(
    kind: Annotated[str | None, typer.Argument(metavar="[KIND]", help="One kind; without it: all.")] = None,
    config: OptionalConfig = None,
    as_json: AsJson = False,
) -> None:
    """Show the kinds of providers there are, or one kind with its operations, parameters and states.

    Example: poller providers huawei-dlf

    With -c also the kinds in the config's own spec files.
    """
    known = _configured(config)
    chosen = [_named(kind, known)] if kind else list(known.known.values())
    if as_json:
        for one in chosen:
            sys.stdout.write(orjson.dumps(describe(one)).decode() + "\n")
    elif kind:
        tables.print_kind(describe(chosen[0]))
    else:
        tables.print_kinds(map(describe, chosen))


def check_spec(spec: str, answers: Path | None, config: Path | None) -> None:
    """Checks one spec: shows it, or tests it against the recorded answers; exit status 2 if it reads one otherwise."""
    kind = _of_file(Path(spec)) if _is_file(spec) else _named(spec, _configured(config))
    if answers is None:
        tables.print_kind(describe(kind))
        return
    verdicts = [case.check() for case in read_cases(answers, kind)]
    tables.print_verdicts(verdicts)
    wrong = sum(not verdict.is_right for verdict in verdicts)
    if wrong:
        sys.stderr.write(f"poller: {wrong} of {len(verdicts)} answers are not read as expected\n")
        raise typer.Exit(2)


def _is_file(spec: str) -> bool:
    return "/" in spec or spec.endswith((".yaml", ".yml")) or Path(spec).is_file()


def _of_file(path: Path) -> Kind:
    document: Document = read_yaml(path, shown_name(str(path)))
    kinds = all_kinds([document])
    if kinds.problems:
        raise ConfigError(kinds.problems)
    data: Any = document.data
    return kinds.known[data["kind"]]


def _configured(config: Path | None) -> Kinds:
    return all_kinds() if config is None else all_kinds(load_config(config, skip_secrets=True).specs)


def _named(name: str, kinds: Kinds) -> Kind:
    if name not in kinds.known:
        raise PollerError(f"no such kind: {one_of(name, kinds.known)}; `poller providers` lists them")
    return kinds.known[name]
