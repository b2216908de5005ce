"""`poller migrate`: brings the store's schema up to date."""

import sys
from typing import Annotated

import typer

from poller.app import migrate_store, needs_migration
from poller.cli.options import ConfigPath, config_of_store, run_async


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(migrate)


def migrate(
    config: ConfigPath,
    check: Annotated[bool, typer.Option("--check", help="Only say whether it is needed: exit status 1.")] = False,
) -> None:
    """Bring the store's schema up to date, and make the store where there is none.

    Example: poller migrate -c poller.yaml

    A daemon does the same when it starts. A file must not be in use by one; on PostgreSQL replicas may go on, and those
    that migrate at the same time wait for each other. It is done wholly or not at all.

    Exit status 0: up to date, 1: it could not be done, 2: mistakes in the config.
    """
    loaded = config_of_store(config)
    if not check:
        sys.stdout.write(run_async(lambda: migrate_store(loaded)) + "\n")
        return
    needed, words = run_async(lambda: needs_migration(loaded))
    sys.stdout.write(words + "\n")
    raise typer.Exit(int(needed))
