"""`poller watch`: changes the watchlist of a running daemon."""

import json
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from poller.cli import tables
from poller.cli.daemon_api import Access, Told, add_tasks, changing, fetch_tasks, rearm_tasks, remove_tasks
from poller.cli.options import (
    AsJson,
    Authorities,
    DaemonConfig,
    DaemonUrl,
    Insecure,
    TokenFile,
    User,
    duration,
    run_async,
)
from poller.config.textfile import Unreadable, decoded, read_text
from poller.domain.errors import ConfigError, PollerError, Problem
from poller.web.body import JSON, JSON_LINES, LARGEST_BODY

_STDIN = Path("-")

Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="The tasks.")]


def register(app: typer.Typer) -> None:
    """Adds the group of commands."""
    group = typer.Typer(no_args_is_help=True)
    group.callback()(_watch)
    group.command("add")(add)
    group.command("remove")(remove)
    group.command("rearm")(rearm)
    group.command("list")(list_tasks)
    app.add_typer(group, name="watch")


def _watch() -> None:
    """Change the watchlist of a running daemon.

    Example: poller watch add job-7 --provider jobs --operation job --param job_id=7

    What is added is kept in the daemon's store, over restarts and reloads.
    Tasks that stand in a file are changed there.
    """


def add(  # noqa: PLR0913, PLR0917 - each is an option of the command
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="What to call the task.")] = None,
    provider: Annotated[str | None, typer.Option(help="One of the providers in the daemon's config.")] = None,
    operation: Annotated[str | None, typer.Option(help="What to ask that provider.")] = None,
    param: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="A parameter of the operation; once for each.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A label; once for each.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on after an end: watch run after run.")] = False,
    owner: Annotated[str | None, typer.Option(help="Whom it is watched for; free text.")] = None,
    ttl: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Take it away again so long after it was last added.")
    ] = None,
    family: Annotated[str | None, typer.Option(help="What its runs are runs of, for forecasts.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "-f", "--file", metavar="FILE", help="Add the tasks in this file, one JSON object a line; - is stdin."
        ),
    ] = None,
    config: DaemonConfig = None,
    url: DaemonUrl = None,
    token_file: TokenFile = None,
    ca: Authorities = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Have a running daemon watch a task, or all those in a file.

    Example: poller watch add job-7 --provider jobs --operation job
    --param job_id=7 --label team=ads --owner ann --ttl 7d

    Example: poller watch add --file tasks.jsonl --url http://127.0.0.1:9817

    Adding what is watched already changes its labels and the like, and its ttl
    begins anew. All of a file is added or nothing of it.

    Exit status 0: done, 1: refused, 2: usage.
    """
    task = _task(
        {"name": name, "provider": provider, "operation": operation, "owner": owner, "ttl": ttl, "family": family},
        {"params": _pairs("--param", param), "labels": _pairs("--label", label), "follow": follow},
    )
    body, content_type = _body(task, file)
    access = changing(config, url, token_file, ca, insecure)
    told = _added(access, body, content_type, name or _shown(file))
    if as_json:
        tables.print_json(told)
    else:
        _say(_sentence(told) if name is None else f"{name}: {_word(told)}")


def remove(
    names: Names,
    config: DaemonConfig = None,
    url: DaemonUrl = None,
    token_file: TokenFile = None,
    ca: Authorities = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Have a running daemon watch tasks no more.

    Example: poller watch remove ctr-3 ctr-4 --url http://127.0.0.1:9817

    Removing one a second time is no error. A task that stands in a file is
    refused: it is taken away there.

    Exit status 0: done, 1: one was refused, 2: usage.
    """
    access = changing(config, url, token_file, ca, insecure)
    _report(remove_tasks(access, names), as_json)


def rearm(
    names: Names,
    config: DaemonConfig = None,
    url: DaemonUrl = None,
    token_file: TokenFile = None,
    ca: Authorities = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Have a running daemon watch tasks anew that are missing or expired.

    Example: poller watch rearm export-legacy --url http://127.0.0.1:9817

    Exit status 0: done, 1: one was refused, 2: usage.
    """
    access = changing(config, url, token_file, ca, insecure)
    _report(rearm_tasks(access, names), as_json)


def list_tasks(  # noqa: PLR0913, PLR0917 - each is an option of the command
    owner: Annotated[str | None, typer.Option(help="Only those of this owner.")] = None,
    source: Annotated[
        str | None, typer.Option(help="Only those from there: api for what was added, or a file's name.")
    ] = None,
    config: DaemonConfig = None,
    url: DaemonUrl = None,
    user: User = None,
    token_file: TokenFile = None,
    ca: Authorities = None,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """List the watchlist of a running daemon: where each task comes from, and how long it stays.

    Example: poller watch list --source api --owner ann --url http://127.0.0.1:9817
    """
    access = replace(changing(config, url, token_file, ca, insecure), user=user)
    filters = {key: value for key, value in (("owner", owner), ("source", source)) if value}
    tasks = run_async(lambda: fetch_tasks(access, filters))
    if as_json:
        for task in tasks:
            tables.print_json(task)
    else:
        tables.print_listed(tasks)


# --- what is sent ------------------------------------------------------------------------------------------------


def _task(texts: Mapping[str, str | None], more: Mapping[str, Any]) -> dict[str, Any]:
    """The task that the options describe: only with the keys that were given."""
    if texts["ttl"] is not None:
        duration(texts["ttl"])
    given = {key: text for key, text in texts.items() if text is not None}
    return {**given, **{key: value for key, value in more.items() if value}}


def _pairs(option: str, given: Iterable[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in given or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{text!r}, KEY=VALUE is allowed", param_hint=f"'{option}'")
        if key in pairs:
            raise typer.BadParameter(f"{key!r} a second time, once is allowed", param_hint=f"'{option}'")
        pairs[key] = value
    return pairs


def _body(task: Mapping[str, Any], file: Path | None) -> tuple[bytes, str]:
    """What to send, and its content type. typer.BadParameter when it is neither a task nor a file, or both."""
    if file is not None:
        if task:
            raise typer.BadParameter(
                "its tasks say themselves what they are; leave the others away", param_hint="'--file'"
            )
        return _read(file), JSON_LINES
    if "name" not in task:
        raise typer.BadParameter("missing, this or --file is needed", param_hint="'NAME'")
    for key in ("provider", "operation"):
        if key not in task:
            raise typer.BadParameter("missing, a task needs it", param_hint=f"'--{key}'")
    # Not orjson: an argument that is not UTF-8 is for the daemon to refuse.
    return json.dumps(task).encode(), JSON


def _read(file: Path) -> bytes:
    """What is in the file. ConfigError when it cannot be read, or is too large for one request."""
    if file == _STDIN:
        text = decoded(data) if len(data := sys.stdin.buffer.read(LARGEST_BODY + 1)) <= LARGEST_BODY else _TOO_LARGE
    else:
        text = read_text(file, LARGEST_BODY)
    if isinstance(text, Unreadable):
        raise ConfigError([Problem(_shown(file), text.line, "", text.text)])
    return text.encode()


_TOO_LARGE = Unreadable("more than 16 MiB, at most 16 MiB is allowed")


def _shown(file: Path | None) -> str:
    return "stdin" if file in (None, _STDIN) else str(file)


# --- what is told ------------------------------------------------------------------------------------------------


def _added(access: Access, body: bytes, content_type: str, where: str) -> dict[str, Any]:
    """What the daemon tells of tasks that it was sent; ``where`` they stand is where its mistakes are."""
    try:
        return run_async(lambda: add_tasks(access, body, content_type))
    except ConfigError as error:
        for problem in error.problems:
            _say(str(replace(problem, file=where)))
        raise typer.Exit(1) from None


def _report(changes: AsyncIterator[tuple[str, Told]], as_json: bool) -> None:
    """Tells what becomes of each task. Exit status 1 when one was refused."""
    refused = False

    async def tell() -> None:
        nonlocal refused
        async for name, told in changes:
            if isinstance(told, PollerError):
                refused = True
                _say(f"poller: {told}")
            elif as_json:
                tables.print_json(told)
            else:
                _say(f"{name}: {_became(told)}")

    run_async(tell)
    if refused:
        raise typer.Exit(1)


def _became(told: Mapping[str, Any]) -> str:
    match told.get("removed"):
        case None:
            return "watched anew"
        case True:
            return "removed"
    return "was removed before"


def _sentence(told: Mapping[str, int]) -> str:
    return f"added {told['added']:,}, changed {told['changed']:,}, {told['unchanged']:,} unchanged"


def _word(told: Mapping[str, int]) -> str:
    return next(word for word in ("added", "changed", "unchanged") if told[word])


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
