"""A running daemon goes over to other certificates and another proxy, and says in words what keeps an answer away."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.process import DaemonProcess, daemon, job, local_cloud, poller, providers, write_config
from tests.daemon.test_reload import rewrite
from tests.providers.authority import Authority, tls_server
from tests.providers.wire import Wire, http

pytestmark = pytest.mark.e2e

STATES = {"succeeded": ["ok"], "failed": ["bad"]}
SPEC = {"operations": {"job": {"path": "/jobs/{job_id}", "status": "status", "states": STATES}}}


async def until_failing_with(running: DaemonProcess, text: str) -> str:
    """Waits until the last failure of task a says so; all of what it says."""
    async with asyncio.timeout(20):
        while True:
            failure = (await running.tasks())["a"]["last_failure"]
            if failure and text in failure["message"]:
                return str(failure["message"])
            await asyncio.sleep(0.05)


async def test_certificates_rotate_and_are_reloaded(tmp_path: Path) -> None:
    """An authority's file that changes is heeded without a reload, another setting with one."""
    mine, other = Authority(tmp_path), Authority(tmp_path / "other")
    other.folder.mkdir()
    trusted = tmp_path / "trusted.pem"
    other.file.replace(trusted)
    mine.issue("client.pem", "poller.test")
    with tls_server(mine.context(mutual=True)) as server:
        provider: dict[str, Any] = {"kind": "http", "endpoint": server.url, "spec": SPEC}
        provider["tls"] = {"ca_file": "trusted.pem"}
        config = write_config(tmp_path, "", [job("a")], providers={"jobs": provider})
        async with daemon(config) as running:
            line = await running.until_logged("poll.failed")
            assert line["message"].startswith(
                f"the certificate of {server.url[8:]}, asked for as 127.0.0.1, is not trus"
            )
            mine.file.replace(trusted)
            await until_failing_with(running, "wants a client certificate: tls.cert_file")
            assert running.logged("config.reloaded") == []
            provider["tls"]["cert_file"] = "client.pem"
            rewrite(config, providers={"jobs": provider})
            await running.until_all_over(1, 20)
            assert len(running.logged("poll.recovered")) == 1
            assert await running.stop() == 0
    assert server.shown[-1] == "poller.test"
    assert len(running.logged("poll.failed")) == 1


async def test_polls_go_through_a_proxy_until_a_reload_says_otherwise(tmp_path: Path) -> None:
    """Its password, and the name of its user, show nowhere but there."""
    jobs = [{"api": "job", "name": "a", "params": {"job_id": "a"}, "duration": "60s"}]
    proxy = Wire((http(b"", "407 Login"),))
    await proxy.start()
    async with local_cloud(tasks=jobs) as (simulator, url):
        provider = providers(url)["jobs"] | {"proxy": proxy.url.replace("//", "//me-myself:proxy-password@")}
        config = write_config(tmp_path, url, [job("a")], providers={"jobs": provider})
        async with daemon(config) as running:
            message = await until_failing_with(
                running, "refuses the login (HTTP 407): check user and password in proxy"
            )
            assert simulator.requests.total() == 0
            rewrite(config, providers={"jobs": provider | {"proxy": "none"}})
            await running.until_logged("task.transition")
            pages = [await running.get(page) for page in ("/", "/metrics", "/api/v1/tasks")]
            assert await running.stop() == 0
    await proxy.stop()
    said = message + running.log.read_text("utf-8") + "".join(text for _, text in pages)
    assert "proxy-password" not in said
    assert "me-myself" not in said
    assert {request.header("Proxy-Authorization") for request in proxy.requests} != {None}


async def test_check_tells_what_no_connection_can_be_made_with(tmp_path: Path) -> None:
    """At the lines of the keys; without the proxy's password."""
    Authority(tmp_path).issue("client.pem")
    provider = {"kind": "http", "endpoint": "https://h", "spec": SPEC, "proxy": "socks5://u:hunter2@h"}
    tls = {"ca_file": "none.pem", "cert_file": "client.pem"}
    tasks = [job("a")]
    config = write_config(
        tmp_path, "", tasks, providers={"jobs": provider, "more": {**provider, "proxy": "none", "tls": tls}}
    )
    status, _, err = await poller("check", "-c", str(config))
    lines = err.splitlines()
    assert (status, len(lines)) == (2, 2)
    assert lines[0].endswith(
        "providers.jobs.proxy: a proxy by socks5, http://[user:password@]host:port or none is allowed"
    )
    assert lines[1].endswith("none.pem' does not exist, a file that can be read is allowed")
    assert "providers.more.tls.ca_file: " in lines[1]
