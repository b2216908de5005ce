"""Over which connection a request goes: encrypted how, by which proxy, and used again for how long."""

import asyncio
import os
import signal
import ssl
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop
from yarl import URL

from poller.config.settings import Provider, TlsClient
from poller.config.values import Surroundings
from poller.providers.proxy import Proxy, parse_proxy, proxy_source
from poller.providers.request import Request
from poller.providers.tls import LOOK_SECONDS, ClientContext
from poller.providers.transport import IDLE_SECONDS, UNHEARD_SECONDS, HttpTransport, NotBroughtError, _Pool
from tests.providers.authority import NOW, Authority, self_signed, tls_server
from tests.providers.wire import Behaviour, Wire, http, then_close, then_reset, then_silence

PATIENCE = 5.0
OK = http(b'{"status": "ok"}')
TLS12, TLS11 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_1


LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


def on_each_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test for the event loop of the daemon and for asyncio's: their errors differ."""

    def run(loop: Callable[[], asyncio.AbstractEventLoop], row: Any, tmp_path: Path) -> None:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(test(row, tmp_path))

    run.__doc__ = test.__doc__
    marked: Callable[..., None] = LOOPS(run)
    return marked


def tls(**files: object) -> TlsClient:
    return TlsClient.model_validate({key: str(value) for key, value in files.items()})


async def brought(url: str, transport: HttpTransport | None = None, **options: Any) -> str:
    """The answer to one request, or why there is none."""
    options = {"timeout": PATIENCE, "max_in_flight": 2, **options}
    carrier = transport or HttpTransport(**options)
    try:
        reply = await carrier.exchange(Request("GET", url, "/x", headers={"Authorization": "Bearer provider-token"}))
        return f"{reply.status} {(reply.body or b'').decode()}"
    except NotBroughtError as error:
        return str(error)
    finally:
        if transport is None:
            await carrier.close()


# --- TLS -----------------------------------------------------------------------------------------------------------

AT = "127.0.0.1:PORT"
UNTRUSTED = f"the certificate of {AT}, asked for as 127.0.0.1, is not trusted"
ANSWERED = '200 {"status": "ok"}'

# What a server shows and wants, what the config says, and what comes of it. MINE is the server's authority, OTHER not.
ROWS: list[tuple[str, Callable[[Authority], ssl.SSLContext], dict[str, str], str]] = [
    ("trusted", lambda a: a.context(), {"ca_file": "MINE"}, ANSWERED),
    ("another name", lambda a: a.context("api.test"), {"ca_file": "MINE", "server_name": "api.test"}, ANSWERED),
    ("client certificate", lambda a: a.context(mutual=True), {"ca_file": "MINE", "cert_file": "CLIENT"}, ANSWERED),
    ("with the newest TLS", lambda a: a.context(), {"ca_file": "MINE", "min_version": "TLS13"}, ANSWERED),
    (
        "an authority unknown to the system",
        lambda a: a.context(),
        {},
        f"{UNTRUSTED}: no authority that signed it is known to this system, or the server leaves out those between;"
        " tls.ca_file names a file with the authority",
    ),
    (
        "another authority",
        lambda a: a.context(),
        {"ca_file": "OTHER"},
        f"{UNTRUSTED}: no authority that signed it is in tls.ca_file, or the server leaves out those between;"
        " tls.ca_file names a file with the authority",
    ),
    (
        "no authority",
        lambda a: self_signed(a.folder / "self.pem"),
        {"ca_file": "MINE"},
        f"{UNTRUSTED}: it is self-signed; if it is the right one, put it into a file and name that in tls.ca_file",
    ),
    (
        "expired",
        lambda a: a.context(not_after=NOW - timedelta(days=3)),
        {"ca_file": "MINE"},
        f"{UNTRUSTED}: certificate has expired",
    ),
    (
        "not yet valid",
        lambda a: a.context(not_before=NOW + timedelta(days=3), not_after=NOW + timedelta(days=9)),
        {"ca_file": "MINE"},
        f"{UNTRUSTED}: certificate is not yet valid",
    ),
    (
        "another address",
        lambda a: a.context("api.test", "10.0.0.1"),
        {"ca_file": "MINE"},
        f"the certificate of {AT} is not for 127.0.0.1: see endpoint;"
        " tls.server_name is for a certificate that rightly has another name",
    ),
    (
        "not that name",
        lambda a: a.context("api.test"),
        {"ca_file": "MINE", "server_name": "api.example"},
        f"the certificate of {AT} is not for api.example: see endpoint;"
        " tls.server_name is for a certificate that rightly has another name",
    ),
    (
        "wants a client certificate",
        lambda a: a.context(mutual=True),
        {"ca_file": "MINE"},
        f"{AT} wants a client certificate: tls.cert_file",
    ),
    (
        "wants a client certificate, TLS 1.2",
        lambda a: a.context(mutual=True, newest=TLS12),
        {"ca_file": "MINE"},
        f"{AT} refuses to speak TLS: no cipher in common, or it wants a client certificate (tls.cert_file)",
    ),
    (
        "wants a client certificate of its own",
        lambda a: a.context(mutual=True),
        {"ca_file": "MINE", "cert_file": "STRANGER"},
        f"{AT} refuses the client certificate, whose authority it does not know: see tls.cert_file",
    ),
    (
        "wants a client certificate that is valid",
        lambda a: a.context(mutual=True),
        {"ca_file": "MINE", "cert_file": "EXPIRED"},
        f"{AT} refuses the client certificate as expired: see tls.cert_file",
    ),
    (
        "too old",
        lambda a: a.context(newest=TLS12),
        {"ca_file": "MINE", "min_version": "TLS13"},
        f"{AT} speaks only versions of TLS older than TLS13: it must be updated, or tls.min_version lowered",
    ),
]  # fmt: skip


def settle(options: dict[str, str], folder: Path, mine: Authority) -> TlsClient:
    """Options with their files in place of the words that stand for them."""
    other = Authority(folder / "other")
    other.folder.mkdir()
    files = {
        "MINE": lambda: mine.file,
        "OTHER": lambda: other.file,
        "CLIENT": lambda: mine.issue("client.pem"),
        "STRANGER": lambda: other.issue("stranger.pem"),
        "EXPIRED": lambda: mine.issue("expired.pem", not_after=NOW - timedelta(days=1)),
    }
    return tls(**{key: files[word]() if word in files else word for key, word in options.items()})


@pytest.mark.parametrize("row", [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
@on_each_loop
async def test_tls_is_spoken_or_it_is_told_why_not(row: Any, tmp_path: Path) -> None:
    """Which certificate, asked for by which name, why it is not trusted, and what to do."""
    shows, options, expected = row
    mine = Authority(tmp_path)
    with tls_server(shows(mine)) as server:
        text = await brought(server.url, tls=settle(options, tmp_path, mine))
        assert text == expected.replace("PORT", str(server.port))
        assert server.requests == (expected == ANSWERED)


NO_TLS_THERE = "does not speak TLS there: is it http:// in endpoint, or another port?"
NO_TLS: list[tuple[str, Behaviour, str]] = [
    ("plain HTTP", http(b"", "400 Bad Request"), NO_TLS_THERE),
    ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n", NO_TLS_THERE),
    ("a hang-up", then_close(), "ended the connection in the middle of TLS"),
    ("a reset", then_reset(), "ended the connection in the middle of TLS"),
]  # fmt: skip


class Blunt(Wire):
    """Answers at once, without waiting for a request."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = self.answers[0]
        if isinstance(answer, bytes):
            writer.write(answer)
            await reader.read()
        else:
            await answer(writer)


@pytest.mark.parametrize("row", [row[1:] for row in NO_TLS], ids=[row[0] for row in NO_TLS])
@on_each_loop
async def test_what_is_no_tls_is_told(row: Any, tmp_path: Path) -> None:
    """A wrong scheme or port is what it mostly is."""
    answer, expected = row
    wire = Blunt((answer,))
    await wire.start()
    text = await brought(wire.url.replace("http:", "https:"))
    await wire.stop()
    assert text == f"{wire.url.removeprefix('http://')} {expected}"


async def test_the_name_asked_for_is_the_servers(tmp_path: Path) -> None:
    """A server behind an address chooses its certificate by the name in tls.server_name."""
    mine = Authority(tmp_path)
    with tls_server(mine.context("api.test")) as server:
        await brought(server.url, tls=tls(ca_file=mine.file, server_name="api.test"))
        assert server.asked == ["api.test"]


# --- files that change ---------------------------------------------------------------------------------------------


class Stopwatch:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_contexts_follow_their_files_once_a_second(tmp_path: Path) -> None:
    """The same one for as long as no file changes; bad files leave the last good ones in force, and are told of."""
    mine, clock = Authority(tmp_path), Stopwatch()
    cert = mine.issue("client.pem")
    newest = ClientContext(tls(ca_file=mine.file, cert_file=cert), clock)
    first = newest.current()
    mine.issue("client.pem")
    assert newest.current() is first
    clock.now += LOOK_SECONDS
    second = newest.current()
    assert second is not first
    clock.now += LOOK_SECONDS
    assert newest.current() is second
    cert.write_text("half a certif")
    clock.now += LOOK_SECONDS
    assert newest.current() is second
    assert newest.problem == f"tls.cert_file: no certificate in '{cert}', certificates in PEM are allowed"
    mine.issue("client.pem")
    clock.now += LOOK_SECONDS
    assert newest.current() is not second
    assert newest.problem == ""


async def test_a_rotated_certificate_is_shown_from_the_next_connection_on(tmp_path: Path) -> None:
    """Without a restart, and connections made with the old one are used no more."""
    mine = Authority(tmp_path)
    settings = tls(ca_file=mine.file, cert_file=mine.issue("client.pem", "old.test"))
    transport = HttpTransport(timeout=PATIENCE, max_in_flight=2, tls=settings)
    with tls_server(mine.context(mutual=True)) as server:
        assert await brought(server.url, transport) == ANSWERED
        mine.issue("client.pem", "new.test")
        assert await brought_anew(server.url, transport) == ANSWERED
        await transport.close()
        assert server.shown == ["old.test", "new.test"]


async def brought_anew(url: str, transport: HttpTransport) -> str:
    """What comes of a request a second later, when the files are looked at again."""
    assert transport._context is not None
    transport._context._looked_at = float("-inf")
    return await brought(url, transport)


async def test_files_that_cannot_be_used_are_told_with_what_fails(tmp_path: Path) -> None:
    """That the certificate from before is still shown may be the reason; without any, nothing is sent."""
    mine = Authority(tmp_path)
    cert = mine.issue("client.pem")
    transport = HttpTransport(timeout=PATIENCE, max_in_flight=2, tls=tls(ca_file=mine.file, cert_file=cert))
    cert.rename(tmp_path / "gone")
    problem = f"tls.cert_file: '{cert}' does not exist, a file that can be read is allowed"
    assert await brought("https://127.0.0.1:1", transport) == problem
    (tmp_path / "gone").rename(cert)
    assert (
        await brought_anew("https://127.0.0.1:1", transport)
        == "127.0.0.1:1 refused the connection: nothing listens there"
    )
    cert.unlink()
    text = await brought_anew("https://127.0.0.1:1", transport)
    assert text == f"127.0.0.1:1 refused the connection: nothing listens there; {problem}"
    await transport.close()


# --- proxies -------------------------------------------------------------------------------------------------------

LOGIN = "user:p%40ss-word"
SENT_LOGIN = "Basic " + b64encode(b"user:p@ss-word").decode()


async def through(answer: Behaviour, url: str, login: str = f"{LOGIN}@", **options: Any) -> tuple[str, Wire]:
    """What comes of a request by way of a proxy that answers so."""
    wire = Wire((answer,))
    await wire.start()
    options["proxy"] = lambda: parse_proxy(wire.url.replace("//", f"//{login}"))
    text = await brought(url, **options)
    await wire.stop()
    return text.replace(wire.url.removeprefix("http://"), "PROXY"), wire


async def test_a_proxy_carries_plain_requests(tmp_path: Path) -> None:
    """With its login, which goes to the proxy alone, as everything does."""
    text, wire = await through(OK, "http://api.test:8080")
    assert text == ANSWERED
    (request,) = wire.requests
    assert request.line == "GET http://api.test:8080/x HTTP/1.1"
    assert request.header("Host") == "api.test:8080"
    assert request.header("Proxy-Authorization") == SENT_LOGIN
    assert request.header("Authorization") == "Bearer provider-token"


async def test_a_proxy_opens_a_tunnel_for_tls(tmp_path: Path) -> None:
    """It is told the host and the login, and neither path nor credentials; they go encrypted to the provider."""
    mine = Authority(tmp_path)
    with tls_server(mine.context("api.test")) as server:
        text, wire = await through(tunnel(server.port), "https://api.test", tls=tls(ca_file=mine.file))
        assert (text, server.requests, server.asked) == (ANSWERED, 1, ["api.test"])
    (request,) = wire.requests
    assert request.line == "CONNECT api.test:443 HTTP/1.1"
    assert request.header("Proxy-Authorization") == SENT_LOGIN
    assert request.header("Authorization") is None


def tunnel(port: int) -> Behaviour:
    """Opens a tunnel to a local port, whatever was asked for."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        reader: asyncio.StreamReader = writer.transport.get_protocol()._stream_reader  # type: ignore[attr-defined]
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        pipes = [asyncio.ensure_future(pipe(reader, back)), asyncio.ensure_future(pipe(there, writer))]
        try:
            await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in pipes:
                each.cancel()
            back.close()
            writer.close()

    return behave


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)


PROXY_FAILURES: list[tuple[str, Behaviour, str, str, str]] = [
    ("407", http(b"", "407 No"), "https://api.test", f"{LOGIN}@",
     "the proxy PROXY refuses the login (HTTP 407): check user and password in proxy"),
    ("407 without a login", http(b"", "407 No"), "https://api.test", "",
     "the proxy PROXY wants a login (HTTP 407): proxy takes http://user:password@host:port"),
    ("407, plain", http(b"", "407 No"), "http://api.test", f"{LOGIN}@",
     "the proxy PROXY refuses the login (HTTP 407): check user and password in proxy"),
    ("403", http(b"", "403 No"), "https://api.test", "",
     "the proxy PROXY does not allow connections to api.test:443 (HTTP 403)"),
    ("502", http(b"", f"502 {SENT_LOGIN}"), "https://api.test", f"{LOGIN}@",
     "the proxy PROXY made no connection to api.test:443 (HTTP 502)"),
    ("hang-up", then_close(), "http://api.test", "", "the proxy PROXY closed the connection without an answer"),
    ("silence", then_silence(), "https://api.test", "",
     "no connection to api.test:443 by way of the proxy PROXY within 0.2 s"),
    ("no HTTP", f"{SENT_LOGIN} p@ss-word\r\n\r\n".encode(), "https://api.test", f"{LOGIN}@", "what came is no HTTP: "),
]  # fmt: skip


@pytest.mark.parametrize("row", [row[1:] for row in PROXY_FAILURES], ids=[row[0] for row in PROXY_FAILURES])
@on_each_loop
async def test_what_a_proxy_refuses_is_told_as_its_own(row: Any, tmp_path: Path) -> None:
    """Not taken for the provider's word; and the login is in no message."""
    answer, url, login, expected = row
    silent = "within 0.2 s" in expected
    text, _ = await through(answer, url, login, timeout=0.2 if silent else PATIENCE)
    assert text.startswith(expected)
    assert "p@ss-word" not in text
    assert SENT_LOGIN not in text
    assert SENT_LOGIN.removeprefix("Basic ") not in text


async def test_a_login_that_comes_back_is_shown_nowhere() -> None:
    """Not even when what answers in the clear sends it back."""
    text, _ = await through(http(f'{{"a": "{SENT_LOGIN} p@ss-word"}}'.encode()), "http://api.test")
    assert text == '200 {"a": "Basic *** ***"}'


async def test_a_proxy_that_is_not_there_is_told() -> None:
    """By its own name."""
    text = await brought("https://api.test", proxy=lambda: parse_proxy("http://u:secret@127.0.0.1:1"))
    assert text == "the proxy 127.0.0.1:1 refused the connection: nothing listens there"


ENDPOINT = URL("https://api.example.com:8443/v1")
ENV = {"HTTPS_PROXY": "http://upper:1", "https_proxy": "http://me:secret@lower:3128", "http_proxy": "plain:8"}


@pytest.mark.parametrize(
    ("endpoint", "env", "expected"),
    [
        ("https://api.example.com", {}, None),
        ("https://api.example.com", ENV, "http://lower:3128"),
        ("http://api.example.com", ENV, "http://plain:8"),
        ("https://api.example.com", {"HTTPS_PROXY": "http://upper:1/"}, "http://upper:1"),
        ("https://api.example.com", {"HTTPS_PROXY": "http://upper:1", "https_proxy": ""}, None),
        ("https://api.example.com", {"HTTP_PROXY": "http://upper:1"}, None),
        ("https://api.example.com", {**ENV, "NO_PROXY": "*"}, None),
        ("https://api.example.com", {**ENV, "no_proxy": "a.test, example.com"}, None),
        ("https://api.example.com", {**ENV, "no_proxy": ".example.com"}, None),
        ("https://API.example.com", {**ENV, "no_proxy": "api.EXAMPLE.com"}, None),
        ("https://api.example.com", {**ENV, "no_proxy": "ample.com"}, "http://lower:3128"),
        ("https://api.example.com:8443", {**ENV, "no_proxy": "api.example.com:8443"}, None),
        ("https://api.example.com:8443", {**ENV, "no_proxy": "api.example.com:443"}, "http://lower:3128"),
        ("https://api.example.com", {**ENV, "no_proxy": "", "NO_PROXY": "*"}, "http://lower:3128"),
        ("https://10.1.2.3", {**ENV, "no_proxy": "10.1.2.3"}, None),
        ("https://[fd00::1]:8443", {**ENV, "no_proxy": "fd00::1"}, None),
        ("https://127.0.0.1:8443", ENV, None),
        ("https://[::1]", ENV, None),
        ("https://localhost", ENV, None),
    ],
)
def test_the_environment_names_a_proxy(endpoint: str, env: dict[str, str], expected: str | None) -> None:
    """As for other programs on the machine: lower case first, NO_PROXY by suffix; loopback never."""
    found = proxy_source(Provider(kind="http"), URL(endpoint), env)()
    assert (None if found is None else str(found.url)) == expected


def test_a_proxy_of_the_config_goes_before_the_environments() -> None:
    """And none means none."""
    written = Provider.model_validate({"kind": "http", "proxy": "http://mine:1"})
    assert proxy_source(written, ENDPOINT, {**ENV, "NO_PROXY": "*"})() == Proxy(URL("http://mine:1"))
    assert proxy_source(Provider.model_validate({"kind": "http", "proxy": "none"}), ENDPOINT, ENV)() is None


def test_a_proxy_in_a_file_is_read_again(tmp_path: Path) -> None:
    """Its password may rotate."""
    file = tmp_path / "proxy"
    file.write_text("http://u:first@h:1\n")
    around = Surroundings(tmp_path, {})
    written = Provider.model_validate({"kind": "http", "proxy": {"file": "proxy"}}, context=around)
    source = proxy_source(written, ENDPOINT, {})
    assert source() == parse_proxy("http://u:first@h:1")
    file.write_text("http://u:second-one@h:1\n")
    assert source() == parse_proxy("http://u:second-one@h:1")
    file.write_text("none")
    assert source() is None


@pytest.mark.parametrize(
    "text",
    ["https://h:1", "socks5://u:hunter2@h:1", "http://", "http://u:hunter2@", "h:1", "http://h/hunter2", "http://h?hunter2",
     "http://h#x", "http://h:hunter2", "http://u:hunter2@h:99999", "http://u:hun\rter2@h", "://", ""],
)  # fmt: skip
def test_what_is_no_proxy_is_refused_without_quoting_it(text: str) -> None:
    """A password may be in it."""
    with pytest.raises(ValueError) as caught:
        parse_proxy(text)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_proxy_shows_no_password() -> None:
    """Whatever prints it."""
    assert "hunter2" not in repr(parse_proxy("http://u:hunter2@h"))


async def test_without_being_told_so_nothing_goes_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the environment nor a .netrc adds anything to a request."""
    wire = Wire((OK,))
    await wire.start()
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert await brought(wire.url.replace("127.0.0.1", "localhost")) == ANSWERED
    await wire.stop()


# --- time ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_connection_has_a_time_of_its_own(scheme: str) -> None:
    """What does not even let a connection come about is told from what lets one wait for an answer."""
    wire = Wire((then_silence(),))
    await wire.start()
    url = wire.url.replace("http:", f"{scheme}:")
    text = await brought(url, timeout=0.3, connect_timeout=0.1)
    await wire.stop()
    place = url.removeprefix(f"{scheme}://")
    assert text == (f"no connection to {place} within 0.1 s" if scheme == "https" else "no answer within 0.3 s")


async def test_the_whole_time_holds_for_a_connection_too() -> None:
    """Where no other time is given."""
    wire = Wire((then_silence(),))
    await wire.start()
    text = await brought(wire.url.replace("http:", "https:"), timeout=0.1)
    await wire.stop()
    assert text == f"no connection to {wire.url.removeprefix('http://')} within 0.1 s"


async def test_each_exchange_has_its_own_time() -> None:
    """One timer does for all of them; who asks later is given up when its own time comes, not before."""
    wire = Wire((then_silence(),))
    await wire.start()
    transport = HttpTransport(timeout=0.4, max_in_flight=4)
    loop = asyncio.get_running_loop()

    async def given_up(after: float) -> float:
        await asyncio.sleep(after)
        began = loop.time()
        assert (await brought(wire.url, transport)).startswith("no answer within")
        return loop.time() - began

    lasted = await asyncio.gather(*map(given_up, (0.0, 0.1, 0.3)))
    await transport.close()
    await wire.stop()
    assert min(lasted) > 0.39


async def test_who_got_a_connection_late_is_given_up_no_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time began when it asked, before that of one that got a connection first."""
    wire = Wire((then_silence(),))
    await wire.start()
    transport, connect, ended = HttpTransport(timeout=0.4, max_in_flight=4), _Pool.connect, []

    async def connect_slowly(*arguments: Any) -> Any:
        monkeypatch.setattr(_Pool, "connect", connect)
        await asyncio.sleep(0.2)
        return await connect(*arguments)

    async def ask(name: str) -> None:
        await brought(wire.url, transport)
        ended.append(name)

    monkeypatch.setattr(_Pool, "connect", connect_slowly)
    first = asyncio.create_task(ask("first"))
    await asyncio.sleep(0.1)
    await asyncio.gather(first, ask("second"))
    await transport.close()
    await wire.stop()
    assert ended == ["first", "second"]


async def test_who_was_answered_is_given_up_no_more() -> None:
    """When its time is over the connection is idle, or somebody else's; it is used on."""
    wire = Wire((OK,))
    await wire.start()
    transport = HttpTransport(timeout=0.2, max_in_flight=2)
    for _ in range(3):
        assert await brought(wire.url, transport) == ANSWERED
        await asyncio.sleep(0.25)
    await transport.close()
    await wire.stop()
    assert wire.connections == 1


# --- connections used again ----------------------------------------------------------------------------------------


async def test_an_idle_connection_is_closed_from_this_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a server does it that lets connections idle for five seconds, and a request is lost on the way."""
    assert IDLE_SECONDS < 5
    monkeypatch.setattr("poller.providers.transport.IDLE_SECONDS", 0.05)
    wire = Wire((OK,))
    await wire.start()
    transport = HttpTransport(timeout=PATIENCE, max_in_flight=2)
    for _ in range(2):
        assert await brought(wire.url, transport) == ANSWERED
        await asyncio.sleep(0.2)
    assert (wire.connections, wire.at_once) == (2, 1)
    await transport.close()
    await wire.stop()


@on_each_loop
async def _frozen(row: Any, tmp_path: Path) -> None:
    """A process that stood still while the server hung up asks on a connection of its own, and its poll is not lost."""
    script = tmp_path / "server.py"
    script.write_text(HANGS_UP)
    with subprocess.Popen(  # noqa: ASYNC220 - what blocks the loop is the point
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        transport = HttpTransport(timeout=PATIENCE, max_in_flight=2)
        assert await brought(f"http://127.0.0.1:{port}", transport) == ANSWERED
        # Nothing runs here meanwhile: the event loop does not hear of the hang-up before the next request is sent.
        assert server.stdout.readline() == "hung up\n"
        time.sleep(1.1 * UNHEARD_SECONDS)  # noqa: ASYNC251 - that is the point
        assert await brought(f"http://127.0.0.1:{port}", transport) == ANSWERED
        assert server.stdout.readline() == "hung up\n"
        await transport.close()
        os.kill(server.pid, signal.SIGKILL)


HANGS_UP = """
import socket
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        with client:
            client.recv(65536)
            client.sendall(b'HTTP/1.1 200 OK\\r\\ncontent-length: 16\\r\\n\\r\\n{"status": "ok"}')
        print("hung up", flush=True)
"""

test_a_connection_closed_meanwhile_costs_no_poll = pytest.mark.parametrize("row", [None])(_frozen)


async def test_a_server_that_hangs_up_at_once_is_asked_once() -> None:
    """Looking for a hang-up never becomes trying again."""
    wire = Blunt((then_close(),))
    await wire.start()
    transport = HttpTransport(timeout=PATIENCE, max_in_flight=8)
    for count in (1, 2, 3):
        assert "the connection" in await brought(wire.url, transport)
        assert wire.connections == count
    await transport.close()
    await wire.stop()


# --- what breaks while a body is being read --------------------------------------------------------------------------

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def in_pieces(*pieces: bytes) -> Behaviour:
    """Says them one by one, so that each is read before the next comes, and then nothing more."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)
        await asyncio.sleep(60)

    return behave


BROKEN = {
    "no chunk": (CHUNKED, b"zz\r\n"),
    "a chunk, then none": (CHUNKED + b"2\r\n{}\r\n", b"zz\r\n"),
    "a trailer that is too long": (CHUNKED + b"0\r\nX: ", b"x" * 65_536),
    "a trailer that is too long, in pieces": (CHUNKED, b"0\r\n", b"X: ", *(b"x" * 2_000,) * 10),
    "too many trailers": (CHUNKED + b"0\r\n", b"X: 1\r\n" * 10_000),
}


async def broken(row: Any, tmp_path: Path) -> None:
    """What is no HTTP is told as soon as it came, wherever in the answer that was; nobody waits for more of it."""
    wire = Wire((in_pieces(*row),))
    await wire.start()
    try:
        assert (await brought(wire.url)).startswith("what came is no HTTP")
    finally:
        await wire.stop()


test_what_breaks_off_in_a_body_is_told_at_once = pytest.mark.parametrize("row", BROKEN.values(), ids=BROKEN)(
    on_each_loop(broken)
)


async def test_a_pool_that_closes_ends_what_is_being_asked() -> None:
    """Who still waits for the rest of an answer is told, and does not wait for ever."""
    wire = Wire((then_silence(CHUNKED),))
    await wire.start()
    transport = HttpTransport(timeout=1.0, max_in_flight=2)
    try:
        asked = asyncio.create_task(brought(wire.url, transport))
        while not wire.requests:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        await transport.close()
        async with asyncio.timeout(PATIENCE):
            assert (await asked).endswith("closed the connection without an answer")
    finally:
        await wire.stop()
