"""Options that several commands share, what they say of a daemon, and how coroutines are run."""

import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import anyio
import typer

from poller.domain.durations import parse_duration
from poller.domain.errors import ConfigError, PollerError

if TYPE_CHECKING:
    from poller.config.loading import Loaded
    from poller.config.secret import Secret
    from poller.config.values import Address

ConfigPath = Annotated[
    Path,
    typer.Option("-c", "--config", envvar="POLLER_CONFIG", show_default=False, help="The config file."),
]
DaemonConfig = Annotated[
    Path | None, typer.Option("-c", "--config", envvar="POLLER_CONFIG", help="The daemon's config file.")
]
DaemonUrl = Annotated[str | None, typer.Option("--url", help="The daemon's address; without it as in the config.")]
User = Annotated[
    str | None, typer.Option(envvar="POLLER_USER", metavar="NAME:PASSWORD", help="Where a login is needed.")
]
TokenFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The daemon's web.api_token; or set POLLER_TOKEN.")
]
Authorities = Annotated[
    Path | None, typer.Option("--ca", metavar="FILE", help="The authorities to trust, in PEM, instead of the system's.")
]
Insecure = Annotated[bool, typer.Option("--insecure", help="Take any certificate for the daemon's.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells have it."""

_Result = TypeVar("_Result")


def duration(text: str) -> float:
    """The seconds in an option. typer.BadParameter, with what is allowed, for anything else."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def moment(text: str, now: float) -> float:
    """The moment in ``--since``, epoch seconds: so long ago, or a time with its zone.

    typer.BadParameter for anything else.
    """
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return found.timestamp()
    except (ValueError, OverflowError):
        pass
    allowed = "a duration (7d) or a time with its zone (2026-11-01T00:00:00Z) is allowed"
    raise typer.BadParameter(f"{text!r} found, {allowed}", param_hint="'--since'")


@contextmanager
def ended_quietly() -> Iterator[None]:
    """What goes on until nobody wants more of it ends without words: by Ctrl-C, and when its reader has gone."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # Nothing is left to be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def daemon_at(url: str | None, config: Path | None) -> "tuple[str, str, Secret | None]":
    """A daemon's address, the path it serves below, and its token, if these options tell it.

    The token of a config is only for the daemon of that config. ConfigError when the file has mistakes.
    """
    if url:
        return url, "", None
    if config is None:
        return "http://127.0.0.1:9817", "", None
    from poller.app import load_config
    from poller.cli.daemon_api import configured_address

    web = load_config(config, skip_secrets=True).settings.web
    return configured_address(web), web.route_prefix.rstrip("/"), web.api_token


def config_of_store(path: Path) -> "Loaded":
    """The config at ``path``, for a command that needs nothing but the store: of all secrets only that one's.

    ConfigError with every mistake.
    """
    from poller.app import load_config

    loaded = load_config(path, skip_secrets=True)
    password = loaded.settings.store.password
    if password is not None and password.missing:
        raise ConfigError([loaded.problem(("store", "password"), password.missing)])
    return loaded


def given_token(file: Path | None) -> str | None:
    """The token in ``file``, else the one in the environment. PollerError for a file that cannot be read."""
    if file is None:
        return os.environ.get("POLLER_TOKEN") or None
    try:
        return file.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise PollerError(f"--token-file: {file} cannot be read: {error}") from None


def run_async(main: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
    """Runs ``main`` on the event loop that the daemon runs on."""
    return anyio.run(main, backend_options={"use_uvloop": True})


def address(text: str) -> "Address":
    """The address in an option. typer.BadParameter, with what is allowed, for anything else."""
    from pydantic import TypeAdapter, ValidationError

    from poller.config.values import Listen

    try:
        found: Address = TypeAdapter(Listen).validate_python(text)
        return found
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"]) from None
