"""TLS and logins follow their files while the server runs, and never by way of a file that cannot be used."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog
import trustme
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from structlog.testing import LogCapture

from poller.config.values import Address
from poller.domain.errors import ConfigError
from poller.web.listening import serve
from poller.web.protection import Protection

HASH = "$2y$04$" + "." * 22 + "hGR8nPJMQCNSyNQ.NZ3MQ8vJkY2zZXe"
TLS = "tls_server_config:\n  cert_file: web.crt\n  key_file: web.key\n"
MUTUAL = f"{TLS}  client_ca_file: ca.crt\n  client_auth_type: "


@dataclass
class Files:
    """A web config file with what belongs to it, and the server that follows them."""

    folder: Path
    ca: trustme.CA = field(default_factory=trustme.CA)
    log: LogCapture = field(default_factory=LogCapture)
    writes: int = 0

    def write(self, name: str, content: bytes) -> Path:
        """Another file takes the place of that one, at a time of its own."""
        self.writes += 1
        new = self.folder / f"{name}.new"
        new.write_bytes(content)
        os.utime(new, ns=(self.writes * 10**9,) * 2)
        return new.replace(self.folder / name)

    def config(self, text: str) -> Path:
        return self.write("web.yml", text.encode())

    def issue(self, name: str = "127.0.0.1") -> trustme.LeafCert:
        cert = self.ca.issue_cert(name)
        self.write("ca.crt", self.ca.cert_pem.bytes())
        self.write("web.crt", b"".join(blob.bytes() for blob in cert.cert_chain_pems))
        self.write("web.key", cert.private_key_pem.bytes())
        return cert

    def protection(self) -> Protection:
        return Protection(
            self.folder / "web.yml",
            structlog.wrap_logger(None, processors=[self.log], wrapper_class=structlog.make_filtering_bound_logger(0)),
        )

    def events(self) -> list[str]:
        return [entry["event"] for entry in self.log.entries]

    def client(self, cert: trustme.LeafCert | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        if cert is not None:
            cert.configure_cert(context)
        return context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = Files(tmp_path)
    files.issue()
    files.config(TLS)
    return files


@asynccontextmanager
async def serving(protection: Protection) -> AsyncIterator[str]:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    async with serve(app, [Address("127.0.0.1", 0)], protection.tls) as (bound,):
        yield str(bound)


@dataclass
class Connection:
    """A TLS connection of its own."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def tls(self) -> ssl.SSLObject:
        seen = self.writer.get_extra_info("ssl_object")
        assert isinstance(seen, ssl.SSLObject)
        return seen

    async def ask(self) -> None:
        self.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await self.reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 OK")


@asynccontextmanager
async def connected(address: str, context: ssl.SSLContext) -> AsyncIterator[Connection]:
    host, port = address.split(":")
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
        try:
            yield Connection(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def shown(address: str, context: ssl.SSLContext) -> bytes:
    """The certificate that a new connection is shown; it is good for a request."""
    async with connected(address, context) as connection:
        await connection.ask()
        cert = connection.tls.getpeercert(binary_form=True)
        assert cert is not None
        return cert


REFUSED = (OSError, asyncio.IncompleteReadError)
"""What a client sees whose handshake is refused, at once or, with TLS 1.3, when it reads."""


async def test_new_connections_get_the_new_certificate_and_old_ones_live_on(files: Files) -> None:
    async with serving(files.protection()) as address, connected(address, files.client()) as old:
        await old.ask()
        first = old.tls.getpeercert(binary_form=True)
        assert await shown(address, files.client()) == first
        files.issue()
        assert await shown(address, files.client()) != first
        await old.ask()
    assert files.events() == ["web.config_reloaded"]


@pytest.mark.parametrize(
    ("kind", "bare", "own", "foreign"),
    [
        ("RequestClientCert", True, True, True),
        ("VerifyClientCertIfGiven", True, True, False),
        ("RequireAndVerifyClientCert", False, True, False),
    ],
)
async def test_clients_show_the_certificates_that_are_asked_for(
    files: Files, kind: str, bare: bool, own: bool, foreign: bool
) -> None:
    files.config(MUTUAL + kind)
    certs = [None, files.ca.issue_cert("client"), trustme.CA().issue_cert("client")]
    async with serving(files.protection()) as address:
        for cert, allowed in zip(certs, (bare, own, foreign), strict=True):
            if allowed:
                assert await shown(address, files.client(cert))
            else:
                with pytest.raises(REFUSED):
                    await shown(address, files.client(cert))


async def test_who_is_asked_for_a_certificate_follows_the_file(files: Files) -> None:
    async with serving(files.protection()) as address:
        assert await shown(address, files.client())
        files.config(MUTUAL + "RequireAndVerifyClientCert")
        with pytest.raises(REFUSED):
            await shown(address, files.client())
        assert await shown(address, files.client(files.ca.issue_cert("client")))


@pytest.mark.parametrize(("limit", "spoken"), [("min_version: TLS13", "TLSv1.3"), ("max_version: TLS12", "TLSv1.2")])
async def test_versions_are_kept_to(files: Files, limit: str, spoken: str) -> None:
    files.config(f"{TLS}  {limit}\n")
    async with serving(files.protection()) as address:
        async with connected(address, files.client()) as connection:
            assert connection.tls.version() == spoken
        other = files.client()
        if spoken == "TLSv1.3":
            other.maximum_version = ssl.TLSVersion.TLSv1_2
        else:
            other.minimum_version = ssl.TLSVersion.TLSv1_3
        with pytest.raises(REFUSED):
            await shown(address, other)


async def test_a_new_file_that_cannot_be_used_changes_nothing_and_is_told_once(files: Files) -> None:
    async with serving(files.protection()) as address:
        first = await shown(address, files.client())
        for text in ("", "tls_server_config:\n  cert: x\n", "tls_server_config:\n  cert: x\n"):
            files.config(text)
            for _ in range(3):
                assert await shown(address, files.client()) == first
        assert files.events() == ["web.config_rejected"] * 2
        assert "tls_server_config.cert: unknown key" in files.log.entries[1]["reason"]
        files.config(TLS)
        assert await shown(address, files.client()) == first
    assert files.events() == [*["web.config_rejected"] * 2, "web.config_reloaded"]


async def test_a_certificate_is_taken_once_its_key_is_there_too(files: Files) -> None:
    async with serving(files.protection()) as address:
        first = await shown(address, files.client())
        cert = files.ca.issue_cert("127.0.0.1")
        files.write("web.crt", cert.cert_chain_pems[0].bytes())
        assert await shown(address, files.client()) == first
        assert "is not the key of the certificate" in files.log.entries[0]["reason"]
        files.write("web.key", cert.private_key_pem.bytes())
        assert await shown(address, files.client()) != first


async def test_a_file_that_is_gone_changes_nothing(files: Files) -> None:
    async with serving(files.protection()) as address:
        first = await shown(address, files.client())
        for name in ("web.crt", "web.yml"):
            (files.folder / name).unlink()
            assert await shown(address, files.client()) == first
    assert files.events() == ["web.config_rejected"] * 2


def test_users_follow_the_file(files: Files) -> None:
    files.config(f"basic_auth_users: {{ann: {HASH}}}")
    protection = files.protection()
    assert protection.tls is None
    assert protection.users() == {"ann": HASH}
    files.config(f"basic_auth_users: {{bob: {HASH}}}")
    assert protection.users() == {"bob": HASH}
    files.config("basic_auth_users: {bob: hunter2}")
    assert protection.users() == {"bob": HASH}
    assert files.events() == ["web.config_reloaded", "web.config_rejected"]
    assert not any("hunter2" in str(entry) or HASH in str(entry) for entry in files.log.entries)


@pytest.mark.parametrize(("before", "after", "why"), [("{}", TLS, "new"), (TLS, "{}", "gone")])
def test_tls_neither_comes_nor_goes_without_a_restart(files: Files, before: str, after: str, why: str) -> None:
    files.config(before)
    protection = files.protection()
    files.config(after)
    protection.users()
    (entry,) = files.log.entries
    assert entry["reason"].endswith(f"tls_server_config: {why}, this needs a restart")


def test_files_that_stay_the_same_are_not_read_again(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    protection = files.protection()
    monkeypatch.setattr("poller.web.protection.read_web_file", lambda path: pytest.fail("read"))
    for _ in range(3):
        assert protection.users() == {}


def encrypted(cert: trustme.LeafCert) -> bytes:
    key = serialization.load_pem_private_key(cert.private_key_pem.bytes(), None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"hunter2"),
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "web.crt",
            b"x",
            ":2: tls_server_config.cert_file: no certificate in '{file}', certificates in PEM are allowed",
        ),
        ("web.key", b"x", ":3: tls_server_config.key_file: no private key in '{file}', one in PEM is allowed"),
        (
            "ca.crt",
            b"",
            ":4: tls_server_config.client_ca_file: no certificate in '{file}', certificates in PEM are allowed",
        ),
        (
            "web.key",
            trustme.CA().issue_cert("x").private_key_pem.bytes(),
            ":3: tls_server_config.key_file: '{file}' is not the key of the certificate in cert_file, "
            "the one that belongs to it is allowed",
        ),
        (
            "web.key",
            encrypted(trustme.CA().issue_cert("x")),
            ":3: tls_server_config.key_file: an encrypted private key, one that is not encrypted is allowed",
        ),
    ],
)
def test_what_is_wrong_with_a_certificate_or_key_is_told(files: Files, name: str, content: bytes, said: str) -> None:
    path = files.config(MUTUAL + "RequireAndVerifyClientCert")
    file = files.write(name, content)
    with pytest.raises(ConfigError) as raised:
        files.protection()
    assert str(raised.value) == f"{path}{said.format(file=file)}"


@pytest.mark.parametrize(
    ("name", "place"),
    [("web.crt", ":2: tls_server_config.cert_file"), ("web.key", ":3: tls_server_config.key_file")],
)
def test_a_certificate_or_key_that_is_not_there_is_told(files: Files, name: str, place: str) -> None:
    file = files.folder / name
    file.unlink()
    with pytest.raises(ConfigError) as raised:
        files.protection()
    said = f"'{file}' does not exist, a file that can be read is allowed"
    assert str(raised.value) == f"{files.folder / 'web.yml'}{place}: {said}"
