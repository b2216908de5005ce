"""`poller wait`: follows tasks to their ends."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from poller.app import load_config, wait_for
from poller.cli.daemon_api import Access, fetch_names
from poller.cli.following import Show, follow_daemon, run_to_the_end
from poller.cli.options import AsJson, Authorities, Insecure, User, duration
from poller.config.loading import Loaded
from poller.domain.errors import NoSuchTaskError
from poller.emit.logs import configure_logging
from poller.runtime.following import Enough


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(wait)


def wait(  # noqa: PLR0913, PLR0917 - each is an option of the command
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="Tasks; without any: all.")] = None,
    config: Annotated[
        Path | None,
        typer.Option("-c", "--config", envvar="POLLER_CONFIG", help="The config file; no daemon is needed."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(parser=duration, metavar="DURATION", help="Wait no longer than that, like 90s or 2h."),
    ] = None,
    any_of_them: Annotated[
        bool, typer.Option("--any/--all", help="Wait until the first of them has ended, or until all have.")
    ] = False,
    url: Annotated[str | None, typer.Option(help="Wait for the tasks of the daemon at this address.")] = None,
    user: User = None,
    ca: Authorities = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Wait until tasks have ended; the exit status tells whether they succeeded.

    Example: poller wait ctr-model-3 import-traffic -c poller.yaml --timeout 2h

    With -c it asks the providers itself and keeps nothing. With --url it asks a
    daemon, which may be restarted meanwhile.

    A task has ended when it succeeded, failed, was stopped, is missing or was
    given up (expired); a followed one when one run of it has.

    Exit status 0: those that ended succeeded, 1: one did not, 2: usage,
    124: the time is over, 130: Ctrl-C. The jobs go on after the last two.
    """
    enough: Enough = any if any_of_them else all
    wanted = list(dict.fromkeys(names or ()))
    with Show(as_json) as show:
        if url is not None:
            work = _through_daemon(Access(url, user=user, ca=ca, insecure=insecure), wanted, show, enough)
        elif config is not None:
            work = _alone(load_config(config), wanted, show, enough)
        else:
            raise typer.BadParameter("missing, this or --url is needed", param_hint="'-c' / '--config'")
        try:
            run_to_the_end(work, timeout, lambda: show.left(wanted))
        except NoSuchTaskError as error:
            raise _unknown([error.name]) from None
    if wanted and not show.all_succeeded:
        raise typer.Exit(1)


def _alone(loaded: Loaded, wanted: list[str], show: Show, enough: Enough) -> Callable[[], Awaitable[None]]:
    if unknown := [name for name in wanted if name not in loaded.entries]:
        raise _unknown(unknown)
    wanted += [] if wanted else list(loaded.entries)
    logger = configure_logging("error")

    async def work() -> None:
        if wanted:
            await wait_for(loaded, wanted, show, logger, enough)
        else:
            show.say(_NOTHING)

    return work


def _through_daemon(access: Access, wanted: list[str], show: Show, enough: Enough) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        if not wanted:
            wanted.extend(await fetch_names(access))
        if wanted:
            await follow_daemon(access, dict.fromkeys(wanted, 0), show, enough)
        else:
            show.say(_NOTHING)

    return work


_NOTHING = "There is nothing to wait for: the watchlist is empty."


def _unknown(names: list[str]) -> typer.BadParameter:
    return typer.BadParameter(f"not on the watchlist: {', '.join(names)}", param_hint="'NAME'")
