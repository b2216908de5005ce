"""`poller demo`: the local cloud and the daemon together."""

import signal
import socket
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Annotated

import anyio
import typer

from poller.app import Daemon, Logger, load_config
from poller.cli import tables
from poller.cli.options import address, run_async
from poller.config.values import Address
from poller.domain.durations import format_duration
from poller.domain.events import FlagChange, Transition
from poller.domain.state import State
from poller.emit.logs import configure_logging
from poller.protocols import WatchedTask
from poller.simulator import Simulator, load_scenario, serve

_CLOUD = "http://127.0.0.1:9818"
_LISTEN = "127.0.0.1:9817"


def register(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def demo(
        exit_when_done: Annotated[
            bool, typer.Option("--exit-when-done", help="End when every task has ended, with a summary.")
        ] = False,
        listen: Annotated[
            Address | None,
            typer.Option(parser=address, metavar="HOST:PORT", help="Where the status page is; else 127.0.0.1:9817."),
        ] = None,
    ) -> None:
        """Watch a demo watchlist on a local cloud: no accounts, no files left behind.

        Example: poller demo --exit-when-done
        """
        logger = configure_logging("info")
        page = listen or _free_address()
        run_async(lambda: _Demo(exit_when_done, page).run(logger))


class _Demo:
    """One run of the demo. An emitter as well: it remembers which way each task went."""

    def __init__(self, exit_when_done: bool, listen: Address) -> None:
        self._exit_when_done = exit_when_done
        self._listen = listen
        self._ways: dict[str, list[State]] = {}
        self._watched: list[WatchedTask] = []

    def transition(self, transition: Transition) -> None:
        self._ways.setdefault(transition.task, []).append(transition.target)

    def flag(self, change: FlagChange) -> None: ...

    async def run(self, logger: Logger) -> None:
        with tempfile.TemporaryDirectory(prefix="poller-demo-") as folder:
            async with serve(Simulator(load_scenario()), "127.0.0.1", 0) as cloud:
                config = self._write_config(Path(folder), cloud)
                loaded = load_config(config)
                sys.stderr.write(f"Status page: http://{self._listen}/   Metrics: http://{self._listen}/metrics\n")
                await Daemon(loaded, lambda _: load_config(config), logger, emitters=[self]).run(self._wait)
        self._summarize()

    def _write_config(self, folder: Path, cloud: str) -> Path:
        text = (resources.files("poller.simulator") / "demo.yaml").read_text("utf-8")
        path = folder / "demo.yaml"
        path.write_text(text.replace(_CLOUD, cloud).replace(_LISTEN, str(self._listen)), "utf-8")
        return path

    async def _wait(self, daemon: Daemon) -> str:
        reason = ""
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with anyio.create_task_group() as group:

                async def signalled() -> None:
                    nonlocal reason
                    async for number in signals:
                        reason = number.name
                        group.cancel_scope.cancel()

                group.start_soon(signalled)
                # Nobody but the demo waits for all tasks to be over: not worth an event in the scheduler.
                while not (self._exit_when_done and daemon.scheduler.ready and daemon.scheduler.all_over()):  # noqa: ASYNC110
                    await anyio.sleep(0.2)
                reason = "every task has ended"
                group.cancel_scope.cancel()
        self._watched = list(daemon.scheduler.tasks())
        return reason

    def _summarize(self) -> None:
        rows = [self._row(watched) for watched in self._watched]
        sys.stdout.write("\n")
        tables.print_table(("task", "provider", "way", "polls", "took", "message"), rows)
        shown = {state for way in self._ways.values() for state in way}
        sys.stdout.write(f"\nStates shown: {' '.join(state for state in State if state in shown)}\n")

    def _row(self, watched: WatchedTask) -> tuple[str | None, ...]:
        task = watched.task
        return (
            task.entry.name,
            task.entry.provider,
            " > ".join(self._ways.get(task.entry.name, [])),
            str(task.contact.polls),
            None if task.status.duration is None else format_duration(task.status.duration),
            task.status.message,
        )


def _free_address() -> Address:
    """The usual address, or a free port where something, such as a real daemon, has that one."""
    usual = address(_LISTEN)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((usual.host, usual.port))
        except OSError:
            probe.bind((usual.host, 0))
        return Address(usual.host, probe.getsockname()[1])
