"""Where credentials come from, with the daemon as a process: fetched once, renewed in time, and never shown."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from poller.simulator.keys import SigningKey
from tests.daemon.process import JOB_SPEC, PROJECT, DaemonProcess, daemon, job, poller, write_config
from tests.daemon.stand_ins import OIDC_TOKEN, PASSWORD, ROLE_ARN, URI_SECRET, StandIns, stand_ins

pytestmark = pytest.mark.e2e

FUNCTION = {"appGroupIdentity": "my-app", "functionName": "ctr", "instanceName": "ctr_test"}
RRSA = {
    "ALIBABA_CLOUD_ROLE_ARN": ROLE_ARN,
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "acs:ram::1:oidc-provider/p",
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE": "oidc-token",
}
USER = {"username": "ann", "password": {"file": "password"}, "domain": "acme"}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials of the machine's own; the files that the config may name."""
    for name in ("ACCESS_KEY_ID", "ROLE_ARN", "ECS_METADATA", "ECS_METADATA_DISABLED", "CREDENTIALS_URI"):
        monkeypatch.delenv(f"ALIBABA_CLOUD_{name}", raising=False)
    for name in ("AK", "SK"):
        monkeypatch.delenv(f"HUAWEICLOUD_SDK_{name}", raising=False)
    (tmp_path / "oidc-token").write_text(f"{OIDC_TOKEN}\n")
    (tmp_path / "password").write_text(f"{PASSWORD}\n")


def search(servers: StandIns, **more: Any) -> dict[str, Any]:
    return {
        "kind": "alibaba-opensearch",
        "endpoint": servers.url,
        "params": FUNCTION,
        "credential_endpoints": servers.endpoints,
        **more,
    }


def studio(servers: StandIns, **more: Any) -> dict[str, Any]:
    return {**search(servers, **more), "kind": "huawei-dlf", "params": {"project_id": PROJECT}}


def tasks(provider: str, count: int = 50) -> list[dict[str, Any]]:
    operation = "function-task" if provider == "search" else "system-task"
    names = ("generation", "task_id")
    param = names[operation == "system-task"]
    return [
        {"name": f"{provider}-{i}", "provider": provider, "operation": operation, "params": {param: i}}
        for i in range(1, count + 1)
    ]


def config(folder: Path, provider: dict[str, Any], **more: Any) -> Path:
    name = "search" if provider["kind"] == "alibaba-opensearch" else "studio"
    sections = {"providers": {name: provider}, "log": {"level": "debug", "format": "json"}, **more}
    schedule = {"initial": "500ms", "max": "1s"}
    return write_config(folder, "", [*tasks(name), *more.pop("tasks", [])], schedule=schedule, **sections)


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def everything_said(running: DaemonProcess) -> str:
    pages = [await running.get(p) for p in ("/", "/metrics", "/api/v1/tasks?limit=1000")]
    return running.log.read_text("utf-8") + "".join(text for _, text in pages)


Made = tuple[Callable[[StandIns], dict[str, Any]], dict[str, str], dict[str, Any], dict[str, int]]
SOURCES: dict[str, Made] = {
    "rrsa-by-variables": (search, RRSA, {}, {"sts": 1}),
    "rrsa-in-the-config": (
        lambda servers: search(
            servers,
            credentials={"role_arn": ROLE_ARN, "oidc_provider_arn": "p", "oidc_token_file": "oidc-token"},
        ),
        {},
        {},
        {"sts": 1},
    ),
    "ecs-role": (search, {"ALIBABA_CLOUD_ECS_METADATA": "my-role"}, {}, {"metadata token": 1, "metadata": 1}),
    "ecs-role-without-tokens": (
        lambda servers: search(servers, credentials={"ecs_role": "my-role"}),
        {},
        {"knows_tokens": False},
        {"metadata token": 1, "metadata": 1},
    ),
    "credentials-uri": (
        lambda servers: search(servers, credentials={"credentials_uri": f"{servers.url}/uri/{URI_SECRET}"}),
        {},
        {},
        {"uri": 1},
    ),
    "ecs-agency": (studio, {}, {}, {"metadata token": 1, "metadata": 1}),
    "ecs-agency-without-tokens": (
        lambda servers: studio(servers, credentials={"agency": "ecs"}),
        {},
        {"knows_tokens": False},
        {"metadata token": 1, "metadata": 1},
    ),
    "iam-user": (lambda servers: studio(servers, credentials=USER), {}, {}, {"iam": 1}),
}


@pytest.mark.parametrize("name", SOURCES)
async def test_short_lived_credentials_are_renewed_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Fifty tasks, one fetch in three quarters of the life of what it brings; no poll goes out unsigned or refused."""
    provider, env, options, asked = SOURCES[name]
    for variable, value in env.items():
        monkeypatch.setenv(variable, str(tmp_path / value) if variable.endswith("FILE") else value)
    async with stand_ins(life=2.0, **options) as servers:
        async with daemon(config(tmp_path, provider(servers))) as running:
            await until(lambda: len(servers.polls) > 50 and servers.polls[-1].by == "2")
            said = await everything_said(running)
            states = {task["state"] for task in (await running.tasks()).values()}
            assert await running.stop() == 0
    assert {poll.verdict for poll in servers.polls} == {"good"}
    assert servers.asked == {what: count * len(servers.issued) for what, count in asked.items()}
    assert all(later.issued_at - one.issued_at > 1.4 for one, later in pairwise(servers.issued))
    assert states == {"running"}
    assert running.logged("provider.paused") == []
    assert not [secret for secret in servers.secrets if secret in said]


async def test_one_connections_missing_credentials_are_no_other_ones_trouble(tmp_path: Path) -> None:
    """The token file is out of date: what was fetched is used to its end, then nothing is sent; a new file heals it."""
    async with stand_ins(life=2.0) as servers:
        credentials = {"role_arn": ROLE_ARN, "oidc_provider_arn": "p", "oidc_token_file": "oidc-token"}
        known = {"search": search(servers, credentials=credentials)}
        known["jobs"] = {"kind": "http", "endpoint": servers.url, "spec": JOB_SPEC}
        watched = [*tasks("search"), job("j1"), job("j2")]
        path = write_config(tmp_path, "", watched, providers=known, schedule={"initial": "200ms", "max": "300ms"})
        async with daemon(path) as running:
            await until(lambda: bool(servers.issued))
            servers.oidc_token = "another-token-of-the-account"
            paused = await running.until_logged("provider.paused")
            await until_jobs_go_on(servers)
            polls = len(servers.polls)
            await until_jobs_go_on(servers)
            assert len(servers.polls) == polls, "nothing is sent without credentials"
            assert len(servers.issued) == 1
            assert servers.asked["sts"] <= 8
            (tmp_path / "oidc-token").write_text(servers.oidc_token)
            await running.until_logged("provider.resumed")
            await until(lambda: servers.polls[-1].by == "2")
            said = await everything_said(running)
            assert await running.stop() == 0
    assert (paused["provider"], paused["reason"]) == ("search", "unauthorized")
    assert paused["message"].startswith(
        f"no credentials: RRSA role {ROLE_ARN}: {servers.url}: HTTP 400, Authentication"
    )
    assert {line["provider"] for line in running.logged("provider.paused")} == {"search"}
    assert [line["event"] for line in running.lines() if line["event"].startswith("credentials.")] == [
        "credentials.not_renewed",
        "credentials.renewed",
    ]
    assert {poll.verdict for poll in servers.polls} == {"good"}
    assert not [secret for secret in servers.secrets if secret in said]


async def until_jobs_go_on(servers: StandIns) -> None:
    before = servers.jobs
    await until(lambda: servers.jobs > before + 2)


@pytest.mark.parametrize("kind", ["search", "studio"])
async def test_what_dies_early_is_renewed_once_and_no_poll_is_lost(tmp_path: Path, kind: str) -> None:
    """The provider calls a key or token expired: one fetch, the polls go out again, and nothing pauses."""
    async with stand_ins() as servers:
        uri = {"credentials_uri": f"{servers.url}/uri/{URI_SECRET}"}
        provider = search(servers, credentials=uri) if kind == "search" else studio(servers, credentials=USER)
        async with daemon(config(tmp_path, provider)) as running:
            await until(lambda: len(servers.polls) >= 50)
            servers.issued[0].revoked = True
            await until(lambda: sum(poll.by == "2" for poll in servers.polls) > 50)
            assert await running.stop() == 0
    assert len(servers.issued) == 2
    assert {poll.verdict for poll in servers.polls if poll.by == "2"} == {"good"}
    assert running.logged("provider.paused") == []


async def test_a_wrong_password_is_tried_once_until_its_file_changes(tmp_path: Path) -> None:
    """Five refusals lock a user; the new password is noticed at once."""
    (tmp_path / "password").write_text("old-password-of-the-user\n")
    async with stand_ins() as servers:
        async with daemon(config(tmp_path, studio(servers, credentials=USER))) as running:
            paused = await running.until_logged("provider.paused")
            await asyncio.sleep(1.5)
            assert (servers.asked["iam"], servers.polls) == (1, [])
            (tmp_path / "password").write_text(f"{PASSWORD}\n")
            await running.until_logged("provider.resumed")
            said = await everything_said(running)
            assert await running.stop() == 0
    assert servers.asked["iam"] == 2
    assert "IAM user ann: " in paused["message"]
    assert "HTTP 401" in paused["message"]
    assert "password-of-the-user" not in said


async def test_a_key_file_that_rotates_ends_the_pause(tmp_path: Path) -> None:
    """Long before auth_pause is over, and one poll was refused until then."""
    (tmp_path / "secret").write_text("wrong-secret-of-the-file\n")
    key = SigningKey("static-key", "right-secret-of-the-file")
    async with stand_ins(static=key) as servers:
        credentials = {"access_key_id": key.id, "access_key_secret": {"file": "secret"}}
        async with daemon(config(tmp_path, search(servers, credentials=credentials))) as running:
            await running.until_logged("provider.paused")
            assert [poll.verdict for poll in servers.polls] == ["forged"]
            (tmp_path / "secret").write_text(key.secret)
            await running.until_logged("provider.resumed")
            await until(lambda: len(servers.polls) > 50)
            assert await running.stop() == 0
    assert [poll.verdict for poll in servers.polls].count("forged") == 1
    assert "secret-of-the-file" not in running.log.read_text("utf-8")


async def test_keys_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first link of the chain asks nobody."""
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "static-key")
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "static-secret")
    async with stand_ins(static=SigningKey("static-key", "static-secret")) as servers:
        async with daemon(config(tmp_path, search(servers))) as running:
            await until(lambda: len(servers.polls) >= 50)
            assert await running.stop() == 0
    assert {(poll.by, poll.verdict) for poll in servers.polls} == {("static", "good")}
    assert servers.asked == {}


async def test_check_tells_where_credentials_come_from(tmp_path: Path) -> None:
    """Of each provider, offline, and no secret."""
    servers = StandIns(url="http://127.0.0.1:1")
    known = {
        "a": search(servers, credentials={"access_key_id": "i", "access_key_secret": "my-secret"}),
        "b": search(servers, credentials={"credentials_uri": "http://127.0.0.1:1/my-secret"}),
        "c": search(servers),
        "d": studio(servers),
        "e": studio(servers, credentials={**USER, "password": "my-secret"}),
        "f": {"kind": "http", "endpoint": servers.url, "spec": JOB_SPEC},
    }
    path = write_config(tmp_path, "", [], providers=known)
    status, out, err = await poller("check", "-c", str(path), env={"ALIBABA_CLOUD_ECS_METADATA": "my-role"})
    assert (status, err) == (0, "")
    columns = [" ".join(line.split()[3:-1]) for line in out.splitlines()[:7]]
    assert columns == [
        "CREDENTIALS",
        "config",
        "credentials URI",
        "ECS role my-role",
        "ECS agency",
        "IAM user ann",
        "none",
    ]
    assert "my-secret" not in out
