"""`poller watch`: what is sent, what is told of it, and with which exit status."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from typer.testing import CliRunner, Result

from poller.cli import app
from poller.domain.errors import ConfigError, NoDaemonError, PollerError, StoreError
from poller.web.body import LARGEST_BODY
from tests.daemon.process import poller, write_config
from tests.emit.fakes import watched
from tests.web.fakes import FakeWatchlist, World

JOB = ("--provider", "jobs", "--operation", "job")
Run = Callable[..., Awaitable[Result]]


@pytest.fixture
def world() -> World:
    return World(token="s3cret")


@pytest.fixture
def watchlist(world: World) -> FakeWatchlist:
    assert world.watchlist is not None
    return world.watchlist


@pytest.fixture
async def run(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Run]:
    """Runs the command beside a daemon, with its address and token unless told otherwise."""
    monkeypatch.delenv("POLLER_CONFIG", raising=False)
    monkeypatch.setenv("POLLER_TOKEN", "s3cret")
    async with world.client() as client:
        address = str(client.make_url("/"))

        async def invoke(*arguments: str, url: str | None = address, stdin: bytes = b"") -> Result:
            more = () if url is None else ("--url", url)
            return await asyncio.to_thread(CliRunner().invoke, app, ["watch", *arguments, *more], input=stdin)

        yield invoke


def put(folder: Path, *tasks: Any) -> str:
    """A file of tasks, one a line."""
    path = folder / "tasks.jsonl"
    path.write_text("".join(f"{json.dumps(task)}\n" for task in tasks), "utf-8")
    return str(path)


def job(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "provider": "jobs", "operation": "job", "params": {"job_id": name}, **more}


# --- add ---------------------------------------------------------------------------------------------------------


async def test_a_task_is_added_with_all_that_the_options_say(run: Run, watchlist: FakeWatchlist) -> None:
    """In one word on standard error; values may hold equals signs."""
    options = ("--param", "job_id=7", "--param", "q=a=b", "--label", "team=ads", "--label", "note=")
    more = ("--follow", "--owner", "Ann", "--ttl", "1h30m", "--family", "nightly")
    result = await run("add", "team/job-7", *JOB, *options, *more)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "team/job-7: added\n")
    entry = watchlist.entries["team/job-7"]
    assert entry.params == {"zone": "z", "job_id": "7", "q": "a=b"}
    assert entry.labels == {"team": "ads", "note": ""}
    assert (entry.follow, entry.owner, entry.ttl, entry.family) == (True, "Ann", 5400.0, "nightly")


async def test_adding_again_is_no_error(run: Run) -> None:
    """And tells what it did."""
    add = ("add", "a", *JOB, "--param", "job_id=1")
    told = [(await run(*add, *more)).stderr for more in ((), (), ("--label", "x=y"))]
    assert told == ["a: added\n", "a: unchanged\n", "a: changed\n"]
    result = await run(*add, "--json")
    assert (json.loads(result.stdout), result.stderr) == ({"added": 0, "changed": 1, "unchanged": 0}, "")


async def test_ten_thousand_tasks_of_a_file_are_added_in_one_request(
    run: Run, watchlist: FakeWatchlist, tmp_path: Path
) -> None:
    """With one sentence on what became of them."""
    tasks = [job(f"batch/{number}", owner="Ann", ttl="1d") for number in range(10_000)]
    result = await run("add", "--file", put(tmp_path, *tasks))
    assert (result.exit_code, result.stderr) == (0, "added 10,000, changed 0, 0 unchanged\n")
    assert len(watchlist.entries) == 10_000
    result = await run("add", "-f", put(tmp_path, job("new"), job("batch/1", ttl="2d"), tasks[2]))
    assert result.stderr == "added 1, changed 1, 1 unchanged\n"


async def test_tasks_come_from_standard_input(run: Run, watchlist: FakeWatchlist) -> None:
    """Where the file is called -; mistakes in it are told there too."""
    result = await run("add", "--file", "-", stdin=json.dumps(job("a")).encode() + b"\n")
    assert (result.exit_code, set(watchlist.entries)) == (0, {"a"})
    result = await run("add", "--file", "-", stdin=b"\n{")
    assert (result.exit_code, result.stderr.split(": ")[0]) == (1, "stdin:2")


async def test_every_mistake_is_told_where_it_is(run: Run, watchlist: FakeWatchlist, tmp_path: Path) -> None:
    """By file and line, as `check` does; nothing is added."""
    path = put(tmp_path, job("a"), job("b", operation="jbo"), job("c", ttl="soon"), job("a"))
    result = await run("add", "--file", path)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"{path}:2: operation: 'jbo', job is allowed",
        f"{path}:3: ttl: 'soon', a duration is allowed, like 500ms, 5s, 2m, 1h30m or 7d",
        f"{path}:4: name: 'a', a name of its own is allowed; request:1 has this one",
    ]
    result = await run("add", "a", *JOB)
    assert (result.exit_code, result.stderr) == (1, "a: params.job_id: missing, operation job requires it\n")
    assert watchlist.entries == {}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, ": does not exist, a file that can be read is allowed"),
        (b"\n\xff", ":2: bytes that are not UTF-8, text in UTF-8 is allowed"),
        (b"\n" * (LARGEST_BODY + 1), ": 17 MiB, at most 16 MiB is allowed"),
    ],
)
async def test_a_file_that_cannot_be_sent_is_told(
    run: Run, tmp_path: Path, content: bytes | None, problem: str
) -> None:
    """Before the daemon is asked, as for every file with mistakes: exit status 2."""
    path = tmp_path / "tasks.jsonl"
    if content is not None:
        path.write_bytes(content)
    result = await run("add", "--file", str(path), url="http://127.0.0.1:1")
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == f"{path}{problem}"


async def test_standard_input_has_a_limit_too(run: Run) -> None:
    """It is not read to its end."""
    result = await run("add", "--file", "-", stdin=b"\n" * (LARGEST_BODY + 1))
    assert str(result.exception) == "stdin: more than 16 MiB, at most 16 MiB is allowed"


async def test_another_task_of_that_name_is_refused(run: Run) -> None:
    """With what to do."""
    await run("add", "a", *JOB, "--param", "job_id=1")
    result = await run("add", "a", *JOB, "--param", "job_id=2")
    assert isinstance(result.exception, PollerError)
    assert "remove it first" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["add"], "'NAME': missing, this or --file is needed"),
        (["add", "a", "--operation", "job"], "'--provider': missing"),
        (["add", "a", "--provider", "jobs"], "'--operation': missing"),
        (["add", "a", *JOB, "--param", "job_id"], "'--param': 'job_id', KEY=VALUE is allowed"),
        (["add", "a", *JOB, "--label", "=x"], "'--label': '=x', KEY=VALUE is allowed"),
        (["add", "a", *JOB, "--param", "x=1", "--param", "x=2"], "'--param': 'x' a second time, once is allowed"),
        (["add", "a", *JOB, "--ttl", "soon"], "a duration is allowed, like 500ms, 5s, 2m, 1h30m or 7d"),
        (["add", "a", "--file", "x.jsonl"], "'--file': its tasks say themselves what they are"),
        (["add", "--file", "x.jsonl", "--owner", "Ann"], "'--file': its tasks say themselves what they are"),
        (["remove"], "Missing argument 'NAME...'"),
        (["rearm"], "Missing argument 'NAME...'"),
        (["forget", "a"], "No such command 'forget'"),
    ],
)
def test_wrong_usage_is_told(arguments: list[str], problem: str) -> None:
    """Exit status 2."""
    result = CliRunner().invoke(app, ["watch", *arguments], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    assert result.exit_code == 2
    assert problem in result.stderr


# --- remove and rearm --------------------------------------------------------------------------------------------


async def test_tasks_are_removed_and_removing_them_again_is_no_error(run: Run, watchlist: FakeWatchlist) -> None:
    """A line for each; names with slashes and odd ends are names like others."""
    names = ["a", "b/c", "x/rearm", "y/start", "a+b:c@d"]
    for name in names:
        await run("add", name, *JOB, "--param", "job_id=1")
    result = await run("remove", *names)
    assert (result.exit_code, result.stderr) == (0, "".join(f"{name}: removed\n" for name in names))
    assert watchlist.entries == {}
    result = await run("remove", "a")
    assert (result.exit_code, result.stderr) == (0, "a: was removed before\n")
    result = await run("remove", "a", "--json")
    assert (json.loads(result.stdout), result.stderr) == ({"task": "a", "removed": False}, "")


async def test_one_that_is_refused_keeps_no_other_from_being_removed(run: Run, watchlist: FakeWatchlist) -> None:
    """Exit status 1, and why."""
    await run("add", "a", *JOB, "--param", "job_id=1")
    watchlist.files["f"] = "big.jsonl"
    result = await run("remove", "f", "nobody", "b c", "a")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "poller: f: it stands in big.jsonl; take it away there",
        "poller: no task 'nobody' is known",
        "poller: no task 'b c' is known",
        "a: removed",
    ]


async def test_tasks_are_rearmed(run: Run, watchlist: FakeWatchlist) -> None:
    """Those that have ended so; another is refused."""
    for name in ("a/rearm", "b"):
        await run("add", name, *JOB, "--param", "job_id=1")
    watchlist.ended.add("a/rearm")
    result = await run("rearm", "a/rearm")
    assert (result.exit_code, result.stderr) == (0, "a/rearm: watched anew\n")
    result = await run("rearm", "b")
    assert result.exit_code == 1
    assert result.stderr == "poller: b: it is running, a task that is missing or expired can be rearmed\n"


# --- list --------------------------------------------------------------------------------------------------------


async def test_the_watchlist_is_listed_with_where_each_task_comes_from(run: Run, world: World) -> None:
    """All of it, or an owner's or a source's part; for people or for programs. Needs no token."""
    world.watching.shown += [watched("a"), watched("b", owner="Ann", ttl=5400.0), watched("c", owner="Bob")]
    result = await run("list")
    assert (result.exit_code, result.stdout.splitlines()) == (
        0,
        [
            "TASK  PROVIDER  OPERATION  STATE    SOURCE  OWNER  TTL",
            "a     jobs      job        running  file    -      -",
            "b     jobs      job        running  api     Ann    1h30m",
            "c     jobs      job        running  api     Bob    -",
        ],
    )
    for arguments, names in (
        (("--owner", "Ann"), ["b"]),
        (("--source", "api"), ["b", "c"]),
        (("--source", "file", "--owner", "Ann"), []),
    ):
        result = await run("list", *arguments, "--json")
        assert [json.loads(line)["name"] for line in result.stdout.splitlines()] == names


# --- the daemon --------------------------------------------------------------------------------------------------


async def test_the_token_comes_from_a_file_too(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It wins over the variable; without the right one that is told, and how to give it."""
    monkeypatch.setenv("POLLER_TOKEN", "other")
    add = ("add", "a", *JOB, "--param", "job_id=1")
    result = await run(*add)
    advice = "; give the daemon's web.api_token in POLLER_TOKEN or --token-file"
    assert str(result.exception) == f"the bearer token of web.api_token is needed{advice}"
    (tmp_path / "token").write_text("s3cret\n")
    assert (await run(*add, "--token-file", str(tmp_path / "token"))).exit_code == 0
    result = await run(*add, "--token-file", "/no/such/file")
    assert str(result.exception).startswith("--token-file: /no/such/file cannot be read")


async def test_the_config_tells_address_and_token(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """But its token is for its own daemon only."""
    monkeypatch.delenv("POLLER_TOKEN")
    async with world.client() as client:
        listen = f"127.0.0.1:{client.port}"
        config = write_config(tmp_path, "http://127.0.0.1:1", [], web={"listen": listen, "api_token": "s3cret"})
        add = ("add", "a", *JOB, "--param", "job_id=1", "-c", str(config))
        assert (await run(*add, url=None)).stderr == "a: added\n"
        assert "the bearer token of web.api_token is needed" in str((await run(*add)).exception)


@pytest.fixture
async def elsewhere() -> AsyncIterator[str]:
    """The address of a server that is no daemon."""

    async def text(_request: web.Request) -> web.Response:
        return web.Response(status=404, text="no")

    async def data(_request: web.Request) -> web.Response:
        return web.json_response({"detail": "no"}, status=404)

    app = web.Application()
    app.add_routes([web.delete("/text/{more:.*}", text), web.delete("/json/{more:.*}", data)])
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("/")).rstrip("/")


async def test_a_daemon_that_does_not_do_it_is_told(
    run: Run, world: World, watchlist: FakeWatchlist, elsewhere: str
) -> None:
    """No answer, no store, no token in its config, or something else that answers."""
    result = await run("remove", "a", url="http://127.0.0.1:1")
    assert isinstance(result.exception, NoDaemonError)
    watchlist.broken = True
    result = await run("rearm", "a")
    assert isinstance(result.exception, StoreError)
    assert str(result.exception) == "the store does not answer"
    world.token = None
    result = await run("add", "a", *JOB)
    assert str(result.exception) == "web.api_token is not set: requests that change something are refused"
    for path in ("text", "json"):
        result = await run("remove", "a", url=f"{elsewhere}/{path}")
        assert str(result.exception).endswith("it is not the daemon that answers there; is --url its address?")


@pytest.mark.parametrize("command", [[], ["add"], ["remove"], ["rearm"], ["list"]])
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    """What to type stands in the help."""
    result = CliRunner().invoke(app, ["watch", *command, "--help"])
    assert result.exit_code == 0
    assert "Example: poller watch" in result.stdout


@pytest.mark.e2e
async def test_exit_statuses(tmp_path: Path) -> None:
    """0: done, 1: refused or no answer, 2: usage; one line each, no traceback."""
    world = World(token="s3cret")
    env = {"POLLER_TOKEN": "s3cret", "POLLER_CONFIG": ""}
    async with world.client() as client:
        url = ("--url", str(client.make_url("/")))
        for status, arguments, told in (
            (0, ("add", "a", *JOB, "--param", "job_id=1", *url), "a: added\n"),
            (1, ("add", "a", *JOB, "--param", "job_id=2", *url), "poller: a: another task has this name"),
            (1, ("add", "b", *JOB, *url), "b: params.job_id: missing"),
            (1, ("remove", "b", *url), "poller: no task 'b' is known"),
            (2, ("add", "b", *url), "Usage: "),
        ):
            found = await poller("watch", *arguments, env=env)
            assert (found[0], found[1]) == (status, "")
            assert found[2].startswith(told)
