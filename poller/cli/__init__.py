"""The `poller` command."""

import sys
from importlib import metadata
from typing import Annotated

import typer

from poller.cli import demo, export, inspect, kinds, migrate, run, simulate, sinks, start, wait, watch
from poller.domain.errors import ConfigError, PollerError


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"poller {metadata.version('poller')}\n")
        raise typer.Exit


app = typer.Typer(
    name="poller",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for register in (
    run.register,
    inspect.register,
    kinds.register,
    start.register,
    wait.register,
    watch.register,
    sinks.register,
    export.register,
    migrate.register,
    simulate.register,
    demo.register,
):
    register(app)


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Watches long-running remote tasks until they end, and tells."""
    del version


def main() -> None:
    """Runs the command line; what a user can act on is told in words, without a traceback.

    Exit status 2: mistakes in the files; 1: anything else that went wrong.
    """
    try:
        app()
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 - one mistake a line, never wrapped
        sys.exit(2)
    except PollerError as error:
        print(f"poller: {error}", file=sys.stderr)  # noqa: T201 - as above
        sys.exit(1)
