"""The `poller` command."""

import gc
import sys
from importlib import import_module, metadata
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from poller.domain.errors import ConfigError, PollerError

COMMANDS = {
    "run": ("run", "Watch the tasks of a config file until told to stop."),
    "check": ("inspect", "Check config, provider specs and watchlist offline, and print what would be watched."),
    "poll": (
        "inspect",
        "Poll tasks once, without a daemon, and print what was answered and why it means what it means.",
    ),
    "status": ("status", "Show the tasks of a running daemon."),
    "schema": ("inspect", "Print the JSON Schema of the config file, for editors."),
    "providers": (
        "kinds",
        "Show the kinds of providers there are, or one kind with its operations, parameters and states.",
    ),
    "start": ("start", "Start the job behind a watched task, and follow it to its end."),
    "wait": ("wait", "Wait until tasks have ended; the exit status tells whether they succeeded."),
    "events": (
        "events",
        "Show what happened to the tasks of a running daemon, and what happens: each change of a state, oldest first.",
    ),
    "watch": ("watch", "Change the watchlist of a running daemon."),
    "sinks": ("sinks", "See how sinks do: the other systems that are told of transitions."),
    "export": (
        "export",
        "Export the history that is in the store, oldest first; a daemon may work on it meanwhile.",
    ),
    "migrate": ("migrate", "Bring the store's schema up to date, and make the store where there is none."),
    "simulate": (
        "simulate",
        "Run a local cloud that speaks the documented APIs, checks signatures and runs scripted tasks.",
    ),
    "demo": ("demo", "Watch a demo watchlist on a local cloud: no accounts, no files left behind."),
}
"""The module of each command, and what `--help` says of it: that is all that is read before one is chosen."""


class Commands(TyperGroup):
    """The commands, each of which is imported when it is to be run."""

    def list_commands(self, _: object) -> list[str]:
        """In the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, _: object, name: str) -> Any:
        """What there is to say of a command."""
        return TyperCommand(name, help=COMMANDS[name][1]) if name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command itself."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and _load(command.name or ""), rest


def _load(name: str) -> Any:
    one = typer.Typer()
    # What is imported stays: to look through it for garbage, again and again, is a tenth of a start.
    gc.disable()
    import_module(f"poller.cli.{COMMANDS[name][0]}").register(one)
    gc.enable()
    return typer.main.get_group(one).commands[name]


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"poller {metadata.version('poller')}\n")
        raise typer.Exit


app = typer.Typer(
    name="poller",
    cls=Commands,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
