"""`poller simulate`: the local cloud."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import anyio
import typer

from poller.cli.options import address, run_async
from poller.config.values import Address
from poller.domain.errors import ConfigError, PollerError, Problem
from poller.simulator import Scenario, ScenarioError, Simulator, load_scenario, serve


def register(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def simulate(
        listen: Annotated[
            Address, typer.Option(parser=address, metavar="HOST:PORT", help="Where to listen; port 0: a free one.")
        ] = "127.0.0.1:9818",  # type: ignore[assignment]  # typer parses the default as it parses what is given
        scenario: Annotated[
            Path | None, typer.Option(metavar="FILE", help="What happens; without it the scenario of the demo.")
        ] = None,
    ) -> None:
        """Run a local cloud that speaks the documented APIs, checks signatures and runs scripted tasks.

        Example: poller simulate --listen 127.0.0.1:9818, and beside it: poller run -c config/demo.yaml
        """
        played = read_scenario(scenario)
        run_async(lambda: _simulate(played, listen))


def read_scenario(path: Path | None) -> Scenario:
    """The scenario in the file, or the demo's. ConfigError with every mistake in it."""
    try:
        return load_scenario(path)
    except ScenarioError as error:
        raise ConfigError(Problem(str(path), 0, "", line) for line in str(error).splitlines()) from None


async def _simulate(scenario: Scenario, listen: Address) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        try:
            async with serve(Simulator(scenario), listen.host, listen.port) as url:
                sys.stderr.write(f"The local cloud listens on {url}; Ctrl-C ends it.\n")
                async for _ in signals:
                    return
        except OSError as error:
            raise PollerError(
                f"cannot listen on {listen}: {error.strerror or error}; give --listen another address"
            ) from None
