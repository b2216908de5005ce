"""Options that several commands share, and how their coroutines are run."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import anyio
import typer
from pydantic import TypeAdapter, ValidationError

from poller.config.values import Address, Listen
from poller.domain.durations import parse_duration

ConfigPath = Annotated[
    Path,
    typer.Option("-c", "--config", envvar="POLLER_CONFIG", show_default=False, help="The config file."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]

_Result = TypeVar("_Result")
_ADDRESS: TypeAdapter[Address] = TypeAdapter(Listen)


def duration(text: str) -> float:
    """The seconds in an option. typer.BadParameter, with what is allowed, for anything else."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def run_async(main: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
    """Runs ``main`` on the event loop that the daemon runs on."""
    return anyio.run(main, backend_options={"use_uvloop": True})


def address(text: str) -> Address:
    """The address in an option. typer.BadParameter, with what is allowed, for anything else."""
    try:
        return _ADDRESS.validate_python(text)
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"]) from None
