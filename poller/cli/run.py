"""`poller run`: the daemon."""

import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

import anyio
import typer

from poller.app import Daemon, Logger, load_config
from poller.cli.options import ConfigPath, run_async
from poller.config.loading import Loaded
from poller.domain.errors import PollerError
from poller.emit.logs import configure_logging

_TURN = 1e-3
"""Seconds that a thread which waits for the interpreter leaves to the others, a fifth of what it does as a rule: the
store's has little to do, but often, and a busy event loop is in no hurry to let go."""


def register(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def run(config: ConfigPath) -> None:
        """Watch the tasks of a config file until told to stop.

        Example: poller run -c poller.yaml

        Ends with SIGTERM or SIGINT, with exit status 0; nothing is lost by that. 1: a failure, 2: a bad config.
        """
        # Until there is a daemon that can stop in order, there is nothing to be put in order.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        # What is loaded stays; the daemon goes back to collecting when it is ready.
        gc.disable()
        sys.setswitchinterval(_TURN)
        checked = load_config(config)
        logger = configure_logging(checked.settings.log.level, checked.settings.log.format)
        run_async(lambda: _run(checked, lambda before: load_config(config, before=before), logger))


async def _run(loaded: Loaded, load: Callable[[Loaded], Loaded], logger: Logger) -> None:
    """Runs the daemon until SIGTERM or SIGINT; SIGHUP reloads."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:

        async def signalled(daemon: Daemon) -> str:
            async with anyio.create_task_group() as reloads:
                async for number in signals:
                    if number is not signal.SIGHUP:
                        reloads.cancel_scope.cancel()
                        return number.name
                    reloads.start_soon(_reload, daemon)
            return "no more signals"

        await Daemon(loaded, load, logger).run(signalled)
    # All is committed and told. Threads may hang in a look-up of a host's name for longer than anyone waits.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


async def _reload(daemon: Daemon) -> None:
    """Reloads; that it could not be done is in the log already."""
    with suppress(PollerError):
        await daemon.reload()
