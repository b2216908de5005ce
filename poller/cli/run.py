"""`poller run`: the daemon."""

import signal

import anyio
import typer

from poller.app import Logger, Until, load_config, run_daemon
from poller.cli.options import ConfigPath, run_async
from poller.config.loading import Loaded
from poller.emit.logs import configure_logging
from poller.runtime.scheduler import Scheduler


def register(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def run(config: ConfigPath) -> None:
        """Watch the tasks of a config file until told to stop.

        Example: poller run -c poller.yaml

        Ends with SIGTERM or SIGINT, with exit status 0; nothing is lost by that. 1: a failure, 2: a bad config.
        """
        checked = load_config(config)
        logger = configure_logging(checked.settings.log.level, checked.settings.log.format)
        run_async(lambda: run_until_signalled(checked, logger))


async def run_until_signalled(loaded: Loaded, logger: Logger) -> None:
    """Runs the daemon until SIGTERM or SIGINT."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:

        async def signalled(_: Scheduler) -> str:
            async for number in signals:
                if number is not signal.SIGHUP:
                    return number.name
                logger.warning("config.rejected", reason="this version reads its config at the start only; restart it")
            return "no more signals"

        until: Until = signalled
        await run_daemon(loaded, logger, until)
