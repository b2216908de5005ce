"""`poller start`: starts the job behind a task, and follows it."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from poller.app import load_config, start_and_follow
from poller.cli.daemon_api import Access, start_task
from poller.cli.following import Show, follow_daemon, run_to_the_end
from poller.cli.options import AsJson, Authorities, Insecure, TokenFile, duration, given_token
from poller.domain.errors import NoSuchTaskError, PollerError
from poller.emit.logs import configure_logging


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(start)


def start(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The task on the watchlist.")],
    config: Annotated[
        Path | None, typer.Option("-c", "--config", envvar="POLLER_CONFIG", help="The config file.")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(parser=duration, metavar="DURATION", help="Stop following after so long, like 90s or 2h."),
    ] = None,
    url: Annotated[str | None, typer.Option(help="Have the daemon at this address start and follow it.")] = None,
    token_file: TokenFile = None,
    ca: Authorities = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Start the job behind a watched task, and follow it to its end.

    Example: poller start ctr-model -c poller.yaml --timeout 2h

    Only where its provider can, which is alibaba-opensearch.

    A run that is under way already is followed. A request that brought no answer
    is looked for before it is sent again.

    Exit status 0: succeeded, 1: not, 2: usage, 124: the time is over, 130: Ctrl-C.
    The job goes on after the last two.
    """
    with Show(as_json) as show:
        if url is not None:
            access = Access(url, ca=ca, insecure=insecure, token=given_token(token_file))
            work = _through_daemon(access, name, show)
        elif config is not None:
            work = _alone(config, name, show)
        else:
            raise typer.BadParameter("missing, this or --url is needed", param_hint="'-c' / '--config'")
        run_to_the_end(work, timeout, lambda: [name])
    if not show.all_succeeded:
        raise typer.Exit(1)


def _alone(config: Path, name: str, show: Show) -> Callable[[], Awaitable[None]]:
    loaded = load_config(config)
    if name not in loaded.entries:
        raise NoSuchTaskError(name)
    logger = configure_logging("error")
    return lambda: start_and_follow(loaded, name, show, logger)


def _through_daemon(access: Access, name: str, show: Show) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        told = await start_task(access, name)
        show.started(told)
        if told["watched_run"] is None:
            raise PollerError(
                f"{name}: the daemon watches another run under this name: what was started is not followed"
            )
        await follow_daemon(access, {name: told["watched_run"]}, show)

    return work
