"""The web server as others meet it: TLS, logins, unix sockets, IPv6, a prefix; and all of it while it runs."""

import asyncio
import base64
import json
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import pytest
import trustme

from tests.daemon.process import DaemonProcess, job, local_cloud, poller, write_config
from tests.ports import free_port

pytestmark = pytest.mark.e2e

PATHS = ["/", "/metrics", "/api/v1/tasks", "/api/v1/transitions", "/nothing"]
HEALTH = ["/-/healthy", "/-/ready"]
TLS = "tls_server_config: {cert_file: web.crt, key_file: web.key}\n"
MUTUAL = (
    "tls_server_config: {cert_file: web.crt, key_file: web.key, client_ca_file: ca.crt, "
    "client_auth_type: RequireAndVerifyClientCert}\n"
)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class House:
    """A folder with a config, a web config file and certificates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.ca.cert_pem.write_to_path(folder / "ca.crt")
        self.renew()

    def renew(self) -> bytes:
        """A new certificate takes the place of the one in use, at once; what clients are shown."""
        cert = self.ca.issue_cert("127.0.0.1", "localhost")
        self._put("web.key", cert.private_key_pem.bytes())
        self._put("web.crt", cert.cert_chain_pems[0].bytes())
        return ssl.PEM_cert_to_DER_cert(cert.cert_chain_pems[0].bytes().decode())

    def write(self, tls: str = "", **passwords: str) -> None:
        """The web config file as it is from now on."""
        hashes = {user: bcrypt.hashpw(each.encode(), bcrypt.gensalt(5)).decode() for user, each in passwords.items()}
        self._put("web.yml", f"{tls}basic_auth_users: {json.dumps(hashes)}\n".encode())

    def _put(self, name: str, content: bytes) -> None:
        new = self.folder / f"{name}.new"
        new.write_bytes(content)
        new.replace(self.folder / name)

    def trust(self, cert: trustme.LeafCert | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        if cert is not None:
            cert.configure_cert(context)
        return context


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@asynccontextmanager
async def running(folder: Path, **web: Any) -> AsyncIterator[DaemonProcess]:
    """A daemon that is ready, by its log: its web server may not let everyone in."""
    tasks = [{"api": "job", "name": "a", "params": {"job_id": "a"}, "duration": "1h"}]
    async with local_cloud(tasks=tasks) as (_, cloud):
        process = DaemonProcess(write_config(folder, cloud, [job("a")], web=web))
        await process.start(wait=False)
        try:
            await process.until_logged("daemon.ready")
            yield process
        finally:
            if process.process.returncode is None:
                assert await process.stop() == 0


async def status_of(
    url: str, context: ssl.SSLContext | None = None, login: tuple[str, str] | None = None, unix: Path | None = None
) -> int:
    """The HTTP status that a new connection gets; 0 when there is no connecting."""
    headers = {} if login is None else {"Authorization": f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"}
    connector = aiohttp.TCPConnector(ssl=context or True) if unix is None else aiohttp.UnixConnector(str(unix))
    try:
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session, session.get(url) as response:
            return response.status
    except (aiohttp.ClientError, OSError):
        return 0


async def certificate(port: int, context: ssl.SSLContext) -> bytes | None:
    """The certificate that a new connection is shown."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    with closing(writer):
        seen: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return seen


async def test_a_login_is_needed_everywhere_but_for_health(house: House) -> None:
    """Over TLS; users change without restart."""
    port = free_port()
    url, trust = f"https://127.0.0.1:{port}", house.trust()
    house.write(TLS, ann="sesame")
    async with running(house.folder, listen=f"127.0.0.1:{port}", config_file="web.yml") as process:
        assert [await status_of(url + path, trust) for path in PATHS] == [401] * 5
        assert [await status_of(url + path, trust) for path in HEALTH] == [200] * 2
        assert [await status_of(url + path, trust, ("ann", "sesame")) for path in PATHS] == [200] * 4 + [404]
        assert await status_of(url + "/metrics", trust, ("ann", "wrong")) == 401
        assert await status_of(url + "/metrics", trust, ("eve", "sesame")) == 401
        assert await status_of(f"http://127.0.0.1:{port}/-/ready") == 0, "health is exempt from the login, not from TLS"
        assert (await process.until_logged("daemon.ready"))["listen"] == url

        house.write(TLS, bob="open")
        assert await status_of(url + "/metrics", trust, ("ann", "sesame")) == 401
        assert await status_of(url + "/metrics", trust, ("bob", "open")) == 200

        (house.folder / "web.yml").write_text("basic_auth_users: {bob: hunter2}\n", "utf-8")
        assert [await status_of(url + "/metrics", trust, ("bob", "open")) for _ in range(3)] == [200] * 3
        (rejected,) = process.logged("web.config_rejected")
        assert "basic_auth_users.bob" in rejected["reason"]
        assert "hunter2" not in process.log.read_text("utf-8")


async def test_certificates_are_renewed_while_connections_go_on(house: House) -> None:
    """An old connection answers on; a new one is shown the new certificate."""
    port = free_port()
    first = house.renew()
    house.write(TLS)
    async with running(house.folder, listen=f"127.0.0.1:{port}", config_file="web.yml") as process:
        assert await certificate(port, house.trust()) == first
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=house.trust())
        second = house.renew()
        assert await certificate(port, house.trust()) == second != first
        writer.write(b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"ready")).startswith(b"HTTP/1.1 200")
        writer.close()
        (house.folder / "web.key").write_text("", "utf-8")
        assert await certificate(port, house.trust()) == second
        assert "tls_server_config.key_file" in process.logged("web.config_rejected")[0]["reason"]


async def test_clients_without_certificate_stay_outside(house: House) -> None:
    """Health included; and whom to ask for one changes without restart."""
    port = free_port()
    url = f"https://127.0.0.1:{port}/-/healthy"
    known, unknown = house.ca.issue_cert("prometheus"), trustme.CA().issue_cert("prometheus")
    house.write(MUTUAL)
    async with running(house.folder, listen=f"127.0.0.1:{port}", config_file="web.yml"):
        assert await status_of(url, house.trust()) == 0
        assert await status_of(url, house.trust(unknown)) == 0
        assert await status_of(url, house.trust(known)) == 200
        house.write(TLS)
        assert await status_of(url, house.trust()) == 200


async def test_a_unix_socket_replaces_a_dead_one_and_goes_with_the_daemon(tmp_path: Path) -> None:
    """Killed daemons leave theirs behind; a second daemon beside a living one is refused."""
    path, port = tmp_path / "web.sock", free_port()
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(path))
    listen = ["unix:web.sock", f"127.0.0.1:{port}"]
    async with running(tmp_path, listen=listen) as process:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert await status_of("http://localhost/metrics", unix=path) == 200
        assert await status_of(f"http://127.0.0.1:{port}/metrics") == 200
        assert (await process.until_logged("daemon.ready"))["listen"] == f"unix:{path}, http://127.0.0.1:{port}"

        other = tmp_path / "other"
        other.mkdir()
        config = write_config(other, "http://127.0.0.1:1", [], web={"listen": ["127.0.0.1:0", f"unix:{path}"]})
        status, _, err = await poller("run", "-c", str(config))
        assert status == 1
        assert f"web.listen: cannot listen on unix:{path}: something else listens there" in err
        assert await status_of("http://localhost/metrics", unix=path) == 200
    assert not path.exists()


@pytest.mark.skipif(not has_ipv6(), reason="this host has no ::1")
@pytest.mark.parametrize("listen", ["[::1]:{}", ":{}"])
async def test_ipv6_is_answered(tmp_path: Path, listen: str) -> None:
    """Alone, or with every other address."""
    port = free_port()
    async with running(tmp_path, listen=listen.format(port)) as process:
        assert await status_of(f"http://[::1]:{port}/metrics") == 200
        assert await status_of(f"http://127.0.0.1:{port}/metrics") == (200 if listen == ":{}" else 0)
        status, out, err = await poller("status", "-c", str(process.config))
        assert (status, "jobs" in out) == (0, True), err


async def test_everything_is_below_a_prefix_and_health_at_its_plain_path_too(tmp_path: Path) -> None:
    """As for a reverse proxy; `status` finds it, over TCP and over a unix socket."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with running(tmp_path, listen=f"127.0.0.1:{port}", route_prefix="/ops/poller/") as process:
        for path in (*PATHS[:-1], *HEALTH):
            assert await status_of(f"{url}/ops/poller{path}") == 200
            assert await status_of(url + path) == (200 if path in HEALTH else 404)
        assert await status_of(f"{url}/ops/poller") == 200
        status, _, err = await poller("status", "-c", str(process.config))
        assert status == 0, err
    other = tmp_path / "other"
    other.mkdir()
    async with running(other, listen="unix:web.sock", route_prefix="/ops") as process:
        status, _, err = await poller("status", "-c", str(process.config))
        assert status == 0, err


async def test_status_gets_through_tls_and_login(house: House) -> None:
    """Each obstacle is told with the option that removes it; no password is."""
    port = free_port()
    house.write(TLS, ann="sesame")
    ca = str(house.folder / "ca.crt")
    async with running(house.folder, listen=f"127.0.0.1:{port}", config_file="web.yml") as process:
        config = ("status", "-c", str(process.config))
        status, _, err = await poller(*config)
        assert (status, "--ca FILE" in err, "Traceback" in err) == (1, True, False), err
        status, _, err = await poller(*config, "--ca", ca)
        assert (status, "--user" in err) == (1, True), err
        status, _, err = await poller(*config, "--ca", ca, "--user", "ann:wrong")
        assert (status, "login" in err, "wrong;" in err) == (1, True, True), err
        assert (await poller(*config, "--ca", ca, "--user", "ann:sesame"))[0] == 0
        assert (await poller(*config, "--insecure", env={"POLLER_USER": "ann:sesame"}))[0] == 0
        assert (await poller("status", "--url", f"https://ann:sesame@127.0.0.1:{port}", "--ca", ca))[0] == 0
        status, _, err = await poller("status", "--url", f"https://ann:hunter2@127.0.0.1:{port}", "--ca", ca)
        assert (status, "hunter2" in err) == (1, False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tls: {}\n", "web.yml:1: tls: unknown key"),
        ("tls_server_config: {cert_file: no.crt, key_file: web.key}\n", "web.yml:1: tls_server_config.cert_file: '"),
        ("basic_auth_users: {ann: sesame}\n", "web.yml:1: basic_auth_users.ann: text that is none"),
        ("", "web.yml: empty"),
    ],
)
@pytest.mark.parametrize("command", ["check", "run"])
async def test_a_web_config_file_with_mistakes_is_refused(house: House, command: str, text: str, said: str) -> None:
    """Before anything starts, with exit status 2, together with the other mistakes."""
    config = write_config(house.folder, "http://127.0.0.1:1", [job("a"), job("a")], web={"config_file": "web.yml"})
    (house.folder / "web.yml").write_text(text, "utf-8")
    status, _, err = await poller(command, "-c", str(config))
    assert status == 2
    assert said in err
    assert "tasks[1].name" in err


async def test_check_without_secrets_needs_no_keys(house: House) -> None:
    """In CI there are neither keys nor hashes of passwords."""
    config = write_config(house.folder, "http://127.0.0.1:1", [job("a")], web={"config_file": "web.yml"})
    assert (await poller("check", "-c", str(config)))[0] == 2
    assert (await poller("check", "-c", str(config), "--skip-secrets"))[0] == 0
    house.write(TLS)
    (house.folder / "web.key").unlink()
    assert (await poller("check", "-c", str(config)))[0] == 2
    assert (await poller("check", "-c", str(config), "--skip-secrets"))[0] == 0
