"""One attempt over HTTP: what goes out, and what comes of whatever comes back."""

import asyncio
import gzip
import json
import random
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pytest
from yarl import URL

from poller.domain.observation import UNCHANGED, Observation, Outcome
from poller.domain.state import State
from poller.domain.task import Entry
from poller.providers.catalog import builtin_kinds, inline_kind
from poller.providers.classify import LONGEST_TEXT
from poller.providers.client import HttpProvider, build_request
from poller.providers.credentials.forms import (
    AccessKey,
    AuthToken,
    Basic,
    Bearer,
    Credentials,
    HeaderCredential,
)
from poller.providers.credentials.static import StaticSource
from poller.providers.request import Request
from poller.providers.signing import SIGNERS
from poller.providers.spec import Kind, KindModel, compile_kind
from poller.providers.transport import LONGEST_BODY, HttpTransport
from tests.providers.wire import Behaviour, Endless, Received, Wire, http, slowly, then_close, then_reset, then_silence

NOW = 1_700_000_000.0
TIMEOUT = 0.15
OK_GZIPPED = gzip.compress(b'{"status": "ok"}', mtime=0)
"""Seconds, for who is silent."""
PATIENCE = 5.0
"""Seconds, for who answers: more than it takes on any machine."""
KINDS = builtin_kinds()
JOBS = inline_kind(
    {
        "operations": {
            "job": {
                "path": "/jobs/{id}",
                "query": {"zone": "{zone}"},
                "headers": {"X-Space": "{space}"},
                "status": "status",
                "states": {"succeeded": ["ok"], "failed": ["bad"]},
                "message": "message",
                "run_id": "run",
                "subtasks": {"items": "parts"},
            },
            "push": {
                "method": "POST",
                "path": "/push",
                "headers": {"accept": "application/vnd.jobs+json"},
                "status": "status",
                "states": {"succeeded": ["ok"], "failed": ["bad"]},
            },
        }
    }
)
ASKING_SPEC: dict[str, Any] = {
    "operations": {
        "ask": {
            "method": "POST",
            "path": "/ask",
            "body": {
                "id": "{id}",
                "filter": {"zones": ["{zone}", "all"], "name": "{id}-{zone}"},
                "limit": 5,
                "ratio": 0.5,
                "deep": None,
            },
            "status": "status",
            "states": {"succeeded": ["ok"], "failed": ["bad"]},
        }
    }
}
ASKING = inline_kind(ASKING_SPEC)
OK = http(b'{"status": "ok"}')
PARAMS = {
    "alibaba-opensearch": {
        "appGroupIdentity": "my app",
        "functionName": "a/b",
        "instanceName": "模型",
        "generation": "3",
    },
    "huawei-dlf": {"project_id": "p1", "task_id": "t~1"},
    "huawei-modelarts": {"project_id": "p1", "task_id": "t~1", "training_job_id": "j*1"},
    "http": {"id": "1"},
}
KEY = AccessKey("key-id", "key-secret")
TEMPORARY_KEY = AccessKey("key-id", "key-secret", "session-token")


class Unreadable:
    """A secret that is not there."""

    def reveal(self) -> str | None:
        """Nothing."""
        return None


class StoppedClock:
    """Always the same moment."""

    def now(self) -> float:
        """The moment."""
        return NOW

    def monotonic(self) -> float:
        """Nobody asks."""
        return 0.0


class Given:
    """Credentials that are given, and changed, by the test."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self.version = 1
        self.next: Credentials = None
        self.refused: list[int | None] = []

    def current(self) -> Credentials:
        """What was given."""
        return self.credentials

    async def renew(self, refused: int | None = None) -> None:
        """Goes over to what is given next, once what was given is refused."""
        self.refused.append(refused)
        if refused == self.version and self.next:
            self.credentials, self.next, self.version = self.next, None, self.version + 1

    async def close(self) -> None:
        """Nothing is held."""


def entry(kind: Kind, operation: str, params: Mapping[str, str] | None = None) -> Entry:
    """A task to ask for."""
    return Entry("t", "p", operation, PARAMS[kind.name] if params is None else params)


class Rig:
    """Servers and connections of one test."""

    def __init__(self) -> None:
        self._wires: list[Wire] = []
        self._providers: list[HttpProvider] = []

    async def wire(self, *answers: Behaviour) -> Wire:
        """A server that answers so."""
        wire = Wire(answers)
        await wire.start()
        self._wires.append(wire)
        return wire

    def connect(
        self, url: str, kind: Kind = JOBS, credentials: Credentials = None, timeout: float = PATIENCE, **more: Any
    ) -> HttpProvider:
        """A connection to ``url``."""
        provider = HttpProvider(
            operations=kind.operations,
            endpoint=URL(url),
            signer=SIGNERS[kind.signer],
            credentials=more.pop("source", Given(credentials)),
            transport=HttpTransport(timeout=timeout, max_in_flight=more.pop("max_in_flight", 4)),
            clock=StoppedClock(),
            **more,
        )
        self._providers.append(provider)
        return provider

    async def seen(self, answer: Behaviour, credentials: Credentials = None, within: float = PATIENCE) -> Observation:
        """What comes of one attempt that is answered so."""
        wire = await self.wire(answer)
        seen = await self.connect(wire.url, credentials=credentials, timeout=within).poll(entry(JOBS, "job"))
        assert len(wire.requests) == 1
        return seen

    async def sent(
        self, kind: Kind, operation: str, credentials: Credentials, params: Mapping[str, str] | None = None
    ) -> Received:
        """What goes out for one attempt."""
        wire = await self.wire(OK)
        await self.connect(wire.url, kind, credentials).poll(entry(kind, operation, params))
        (received,) = wire.requests
        return received

    async def close(self) -> None:
        """Hangs up everywhere."""
        for provider in self._providers:
            await provider.close()
        for wire in self._wires:
            await wire.stop()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """Closes what the test has opened."""
    made = Rig()
    yield made
    await made.close()


class TestBuildRequest:
    @pytest.mark.parametrize(
        ("endpoint", "origin", "path"),
        [
            ("https://api.example.com", "https://api.example.com", "/jobs/1"),
            ("https://api.example.com/", "https://api.example.com", "/jobs/1"),
            ("https://API.example.com:8443/v1/", "https://api.example.com:8443", "/v1/jobs/1"),
            ("https://api.example.com:443/a%2Fb/c", "https://api.example.com", "/a%2Fb/c/jobs/1"),
            ("http://[::1]:8080/x", "http://[::1]:8080", "/x/jobs/1"),
        ],
    )
    def test_keeps_the_prefix_of_the_endpoint(self, endpoint: str, origin: str, path: str) -> None:
        """An endpoint may have a path of its own, which comes before the operation's."""
        request = build_request(JOBS.operations["job"], URL(endpoint), {"id": "1"})
        assert (request.origin, request.path) == (origin, path)

    def test_puts_a_parameter_into_one_segment(self) -> None:
        """Whatever a parameter holds, it stays one segment; in a query it is encoded when sent, in a header never."""
        params = {"id": "a/b c", "zone": "x&y", "space": "s p"}
        request = build_request(JOBS.operations["job"], URL("https://h"), params)
        assert (request.target, request.headers) == ("/jobs/a%2Fb%20c?zone=x%26y", {"X-Space": "s p"})

    def test_leaves_out_what_is_not_given(self) -> None:
        """A line of query or headers is left out when its parameter is absent."""
        request = build_request(JOBS.operations["job"], URL("https://h"), {"id": "1"})
        assert (request.method, request.target, request.headers, request.body) == ("GET", "/jobs/1", {}, b"")

    def test_needs_every_parameter_of_the_path(self) -> None:
        """A parameter of the path that is not given is a KeyError that names it."""
        with pytest.raises(KeyError, match="id"):
            build_request(JOBS.operations["job"], URL("https://h"), {"zone": "z"})

    @pytest.mark.parametrize(
        "params", [{"id": ""}, {"id": "."}, {"id": ".."}, {"id": "a\nb"}, {"id": "1", "space": "a\r\nb"}]
    )
    def test_refuses_what_cannot_be_sent(self, params: dict[str, str]) -> None:
        """A parameter that would not arrive as given is a ValueError."""
        with pytest.raises(ValueError, match=r"path segment|line break"):
            build_request(JOBS.operations["job"], URL("https://h"), params)

    @pytest.mark.parametrize(
        ("params", "body"),
        [
            (
                {"id": "1", "zone": "z"},
                {"id": "1", "filter": {"zones": ["z", "all"], "name": "1-z"}, "limit": 5, "ratio": 0.5, "deep": None},
            ),
            ({}, {"filter": {"zones": ["all"]}, "limit": 5, "ratio": 0.5, "deep": None}),
            (
                {"id": '"}{zone}\u2028'},
                {"id": '"}{zone}\u2028', "filter": {"zones": ["all"]}, "limit": 5, "ratio": 0.5},
            ),
        ],
    )
    def test_fills_the_body(self, params: dict[str, str], body: dict[str, Any]) -> None:
        """Parameters stay text, whatever is in them; members and items without theirs are left out, the rest stays."""
        request = build_request(ASKING.operations["ask"], URL("https://h"), params)
        assert json.loads(request.body) == {"deep": None, **body}
        assert request.headers == {"Content-Type": "application/json"}

    def test_refuses_a_body_that_cannot_be_sent(self) -> None:
        """Half a surrogate pair, which UTF-8 cannot carry, is a ValueError."""
        with pytest.raises(ValueError, match="surrogates"):
            build_request(ASKING.operations["ask"], URL("https://h"), {"id": "\ud800"})


class TestRequest:
    @pytest.mark.parametrize(
        ("kind", "operation", "target"),
        [
            (
                "alibaba-opensearch",
                "function-task",
                "/v4/openapi/app-groups/my%20app/functions/a%2Fb/instances/%E6%A8%A1%E5%9E%8B/tasks/3",
            ),
            (
                "alibaba-opensearch",
                "function-instance",
                "/v4/openapi/app-groups/my%20app/functions/a%2Fb/instances/%E6%A8%A1%E5%9E%8B?output=detail",
            ),
            ("huawei-dlf", "system-task", "/v1/p1/system-tasks/t~1"),
            ("huawei-modelarts", "processor-task", "/v2/p1/processor-tasks/t~1"),
            ("huawei-modelarts", "training-job", "/v2/p1/training-jobs/j%2A1"),
        ],
    )
    async def test_goes_out_byte_for_byte(self, rig: Rig, kind: str, operation: str, target: str) -> None:
        """The target is what was signed: nothing is encoded anew or put in order on the way."""
        received = await rig.sent(KINDS[kind], operation, KEY)
        assert received.line == f"GET {target} HTTP/1.1"

    async def test_has_the_headers_of_its_kind_and_no_others(self, rig: Rig) -> None:
        """Nothing goes along that nobody asked for: no Content-Type for an empty body, no cookies, no compression."""
        received = await rig.sent(KINDS["alibaba-opensearch"], "function-task", TEMPORARY_KEY)
        assert {name.lower(): value for name, value in received.headers if name.lower() not in CHECKED_ELSEWHERE} == {
            "host": received.header("host"),
            "accept": "application/json",
            "accept-encoding": "identity",
            "user-agent": f"poller/{version('poller')}",
            "x-acs-action": "GetFunctionTask",
            "x-acs-version": "2017-12-25",
            "x-acs-date": "2023-11-14T22:13:20Z",
            "x-acs-security-token": "session-token",
            "x-acs-content-sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        }

    async def test_names_the_host_as_signed(self, rig: Rig) -> None:
        """The Host header carries the port when it is not the usual one."""
        wire = await rig.wire(OK)
        await rig.connect(wire.url).poll(entry(JOBS, "job"))
        assert wire.requests[0].header("Host") == wire.url.removeprefix("http://")

    async def test_of_an_empty_post(self, rig: Rig) -> None:
        """An empty body has a length and no type, and an operation may ask for another type of answer."""
        received = await rig.sent(JOBS, "push", None)
        assert received.line == "POST /push HTTP/1.1"
        assert received.header("Content-Length") == "0"
        assert received.header("Content-Type") is None
        assert received.header("Accept") == "application/vnd.jobs+json"

    @pytest.mark.parametrize("signer", ["acs3-hmac-sha256", "sdk-hmac-sha256"])
    async def test_with_a_body_is_signed_with_it(self, rig: Rig, signer: str) -> None:
        """The body goes out as it was signed, under its type, once."""
        model = KindModel.model_validate({"kind": "http", "signer": signer, "operations": ASKING_SPEC["operations"]})
        kind = compile_kind(model, [])
        received = await rig.sent(kind, "ask", KEY, {"id": "ü"})
        assert received.body.startswith('{"id":"ü","filter":'.encode())
        assert received.header("Content-Type") == "application/json"
        assert received.header("Authorization") == signature(kind, received, KEY)
        assert "content-type" in str(received.header("Authorization"))

    @pytest.mark.parametrize("params", [{}, {"workspace": "ws1"}])
    async def test_has_a_workspace_only_when_given(self, rig: Rig, params: dict[str, str]) -> None:
        """The header `workspace` of DLF is left out when no workspace is given."""
        received = await rig.sent(KINDS["huawei-dlf"], "system-task", KEY, {**PARAMS["huawei-dlf"], **params})
        assert received.header("workspace") == params.get("workspace")
        assert received.header("X-Project-Id") == "p1"
        assert ("workspace" in str(received.header("Authorization"))) == bool(params)

    @pytest.mark.parametrize(
        ("kind", "operation", "moment"),
        [
            ("alibaba-opensearch", "function-task", "x-acs-date"),
            ("alibaba-opensearch", "function-instance", "x-acs-date"),
            ("huawei-dlf", "system-task", "X-Sdk-Date"),
            ("huawei-modelarts", "processor-task", "X-Sdk-Date"),
        ],
    )
    @pytest.mark.parametrize("key", [KEY, TEMPORARY_KEY], ids=["key", "temporary key"])
    async def test_is_signed(self, rig: Rig, kind: str, operation: str, moment: str, key: AccessKey) -> None:
        """The signature holds for the request as it arrived."""
        received = await rig.sent(KINDS[kind], operation, key)
        assert received.header(moment) in ("2023-11-14T22:13:20Z", "20231114T221320Z")
        assert received.header("Authorization") == signature(KINDS[kind], received, key)

    async def test_carries_a_token(self, rig: Rig) -> None:
        """With a token nothing is signed."""
        received = await rig.sent(KINDS["huawei-dlf"], "system-task", AuthToken("the-token"))
        assert received.header("X-Auth-Token") == "the-token"
        assert received.header("Authorization") is None

    @pytest.mark.parametrize(
        ("credentials", "name", "value"),
        [
            (None, "Authorization", None),
            (Bearer("b"), "Authorization", "Bearer b"),
            (Basic("u", "p"), "Authorization", "Basic dTpw"),
            (HeaderCredential("X-Key", "k"), "X-Key", "k"),
        ],
    )
    async def test_carries_what_is_not_signed(
        self, rig: Rig, credentials: Credentials, name: str, value: str | None
    ) -> None:
        """An API of one's own takes credentials as they are, or none."""
        assert (await rig.sent(JOBS, "job", credentials)).header(name) == value

    async def test_is_signed_anew_for_every_attempt(self, rig: Rig) -> None:
        """No two attempts share a nonce, or a signature."""
        wire = await rig.wire(http(b"{}"))
        provider = rig.connect(wire.url, KINDS["alibaba-opensearch"], KEY)
        for _ in range(3):
            await provider.poll(entry(KINDS["alibaba-opensearch"], "function-task"))
        for header in ("x-acs-signature-nonce", "Authorization"):
            assert len({request.header(header) for request in wire.requests}) == 3

    async def test_takes_the_nonce_it_is_given(self, rig: Rig) -> None:
        """Randomness comes from outside."""
        wire = await rig.wire(http(b"{}"))
        provider = rig.connect(wire.url, KINDS["alibaba-opensearch"], KEY, nonce=lambda: "n-1")
        await provider.poll(entry(KINDS["alibaba-opensearch"], "function-task"))
        assert wire.requests[0].header("x-acs-signature-nonce") == "n-1"

    async def test_is_not_sent_with_a_parameter_that_cannot_be(self, rig: Rig) -> None:
        """Nothing goes out where the request could not arrive as it is meant; why is told."""
        wire = await rig.wire(OK)
        seen = await rig.connect(wire.url).poll(entry(JOBS, "job", {"id": ".."}))
        assert (seen.outcome, wire.connections) == (Outcome.UNREACHABLE, 0)
        assert "'..' cannot be a path segment" in str(seen.message)


CHECKED_ELSEWHERE = {"authorization", "x-acs-signature-nonce"}


def signature(kind: Kind, received: Received, key: AccessKey) -> str:
    """What the signer makes of a request as it arrived."""
    host = received.header("Host")
    path, _, query = received.target.partition("?")
    own = {name: value for name, value in received.headers if name.lower() not in ("host", "authorization")}
    pairs = tuple((name, value) for name, _, value in (pair.partition("=") for pair in query.split("&") if pair))
    method = received.line.split(" ")[0]
    request = Request(method, f"http://{host}", path, pairs, own, received.body)
    nonce = received.header("x-acs-signature-nonce") or ""
    return SIGNERS[kind.signer](request, key, datetime.fromtimestamp(NOW, UTC), nonce)["Authorization"]


class TestAnswer:
    async def test_is_read(self, rig: Rig) -> None:
        """Status, headers in any case and body reach the spec's rules."""
        seen = await rig.seen(http(b'{"status": "ok", "message": "m"}', x_request_id="r-1"))
        assert (seen.state, seen.message, seen.request_id) == (State.SUCCEEDED, "m", "r-1")
        busy = await rig.seen(http(b"", "429 Busy", RETRY_AFTER="7"))
        assert (busy.outcome, busy.retry_after, busy.http_status) == (Outcome.THROTTLED, 7.0, 429)

    @pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
    async def test_that_redirects_is_not_followed(self, rig: Rig, status: str) -> None:
        """Nobody else gets the credentials; the redirect itself is what was answered."""
        other = await rig.wire(OK)
        seen = await rig.seen(http(b"", status, location=f"{other.url}/x"), Bearer("b"))
        assert (seen.outcome, other.connections) == (Outcome.UNRECOGNIZED, 0)

    async def test_sets_no_cookies(self, rig: Rig) -> None:
        """A cookie is not sent back."""
        wire = await rig.wire(http(b"{}", set_cookie="session=1; Path=/"))
        # By name: nobody takes a cookie from an address.
        provider = rig.connect(wire.url.replace("127.0.0.1", "localhost"))
        for _ in range(2):
            await provider.poll(entry(JOBS, "job"))
        assert [request.header("Cookie") for request in wire.requests] == [None, None]

    async def test_leaves_the_connection_open(self, rig: Rig) -> None:
        """One socket serves poll after poll."""
        wire = await rig.wire(OK)
        provider = rig.connect(wire.url)
        for _ in range(3):
            assert (await provider.poll(entry(JOBS, "job"))).state is State.SUCCEEDED
        assert (wire.connections, len(wire.requests)) == (1, 3)

    async def test_opens_no_more_connections_than_allowed(self, rig: Rig) -> None:
        """``max_in_flight`` bounds the sockets too."""
        wire = await rig.wire(OK)
        provider = rig.connect(wire.url, max_in_flight=2)
        await asyncio.gather(*(provider.poll(entry(JOBS, "job")) for _ in range(10)))
        assert (len(wire.requests), wire.at_once) == (10, 2)

    async def test_of_a_header_in_no_known_encoding(self, rig: Rig) -> None:
        """Bytes that are no text do no harm."""
        seen = await rig.seen(http(b'{"status": "ok"}', x_request_id="\xff\xfe"))
        assert seen.state is State.SUCCEEDED


class TestBody:
    @pytest.mark.parametrize(
        ("body", "encoding", "state"),
        [
            (OK_GZIPPED, "gzip", State.SUCCEEDED),
            (OK_GZIPPED, " GZIP ", State.SUCCEEDED),
            (zlib.compress(b'{"status": "ok"}'), "deflate", State.SUCCEEDED),
            (b'{"status": "ok"}', "identity", State.SUCCEEDED),
            (b'{"status": "ok"}', "br", State.SUCCEEDED),
            (b'{"status": "ok"}', "gzip", None),
            (OK_GZIPPED[:-12], "gzip", None),
            (b"", "gzip", None),
            (OK_GZIPPED, "gzip, gzip", None),
        ],
    )
    async def test_may_be_compressed(self, rig: Rig, body: bytes, encoding: str, state: State | None) -> None:
        """A server that compresses unasked is understood; what cannot be decompressed is no readable answer."""
        seen = await rig.seen(http(body, content_encoding=encoding))
        assert (seen.state, seen.outcome) == (state, Outcome.ANSWERED if state else Outcome.UNRECOGNIZED)

    @pytest.mark.parametrize(("more", "state"), [(0, State.SUCCEEDED), (1, None)])
    async def test_is_read_up_to_a_length(self, rig: Rig, more: int, state: State | None) -> None:
        """The longest body that is read, and one byte more."""
        seen = await rig.seen(http(b'{"status": "ok"}'.ljust(LONGEST_BODY + more)))
        assert seen.state is state
        assert state or seen.message == "HTTP 200, an answer too long to be read"

    @pytest.mark.parametrize(("more", "state"), [(0, State.SUCCEEDED), (1, None)])
    async def test_is_decompressed_up_to_a_length(self, rig: Rig, more: int, state: State | None) -> None:
        """The same length bounds what was compressed."""
        packed = gzip.compress(b'{"status": "ok"}'.ljust(LONGEST_BODY + more))
        assert (await rig.seen(http(packed, content_encoding="gzip"))).state is state

    @pytest.mark.parametrize(
        ("head", "more"),
        [
            (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b" " * 65536),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65536 + b"\r\n"),
            (b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65536),
            (b"HTTP/1.1 502 Bad Gateway\r\nContent-Encoding: gzip\r\n\r\n", b"\0" * 65536),
        ],
    )
    async def test_without_end_is_given_up(self, rig: Rig, head: bytes, more: bytes) -> None:
        """An endless body costs a little more than what is read at most, then the connection is closed."""
        endless = Endless(head, more)
        seen = await rig.seen(endless)
        assert seen.outcome is (Outcome.UNREACHABLE if b"502" in head else Outcome.UNRECOGNIZED)
        assert endless.written < 8 * LONGEST_BODY

    async def test_that_is_a_bomb_is_defused(self, rig: Rig) -> None:
        """A little that decompresses to a lot is never held in memory."""
        packer = zlib.compressobj(wbits=31)
        bomb = b"".join(packer.compress(b" " * LONGEST_BODY) for _ in range(64)) + packer.flush()
        tracemalloc.start()
        seen = await rig.seen(http(bomb, content_encoding="gzip"))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert seen.message == "HTTP 200, an answer too long to be read"
        assert most < 8 * LONGEST_BODY


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n"

# What a server that fails does, and a part of what is said of it.
FAILURES: list[tuple[str, Behaviour, str]] = [
    ("hangs up", then_close(), "closed the connection without an answer"),
    ("hangs up within the status line", then_close(b"HTTP/1.1 20"), ""),
    ("hangs up within the headers", then_close(b"HTTP/1.1 200 OK\r\nContent-Le"), ""),
    ("hangs up within the body", then_close(HEAD + b'{"status": '), "the answer was cut short"),
    ("hangs up within a chunk", then_close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{}"), ""),
    ("resets", then_reset(), ""),
    ("resets within the headers", then_reset(b"HTTP/1.1 200 OK\r\n"), ""),
    ("resets within the body", then_reset(HEAD + b'{"status": '), ""),
    ("says nothing", then_silence(), "no answer within 0.15 s"),
    ("says half a status line", then_silence(b"HTTP/1."), "no answer within 0.15 s"),
    ("says only headers", then_silence(HEAD), "no answer within 0.15 s"),
    ("says half a body", then_silence(HEAD + b'{"status": '), "no answer within 0.15 s"),
    ("says it byte by byte", slowly(OK, 0.02), "no answer within 0.15 s"),
    ("continues for ever", then_silence(b"HTTP/1.1 100 Continue\r\n\r\n" * 100), "no answer within 0.15 s"),
    ("speaks another protocol", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "what came is no HTTP: Bad status line"),
    ("speaks TLS", b"\x15\x03\x01\x00\x02\x02\x28\r\n\r\n", ""),
    ("speaks a future HTTP", b"HTTP/9.9 200 OK\r\n\r\n", ""),
    ("has a status that is none", b"HTTP/1.1 abc OK\r\n\r\n", ""),
    ("has a length that is none", b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n", ""),
    ("has two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", ""),
    ("has a length past all bounds", b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 40 + b"\r\n\r\n{}", ""),
    ("has a chunk that is none", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", ""),
    ("has a line too long", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 9_000 + b"\r\n\r\n", ""),
    ("has a first line too long", b"x" * 9_000 + b"\r\n\r\n", ""),
    ("has too many headers", b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 500 + b"\r\n", ""),
    ("has NUL in a header", b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\n{}", ""),
    ("has a header without a name", b"HTTP/1.1 200 OK\r\n: 1\r\nContent-Length: 2\r\n\r\n{}", ""),
]


class TestFailure:
    @pytest.mark.parametrize(("answer", "text"), [row[1:] for row in FAILURES], ids=[row[0] for row in FAILURES])
    async def test_is_no_answer(self, rig: Rig, answer: Behaviour, text: str) -> None:
        """Whatever goes wrong on the way is an outage, in one line of bounded length, after one attempt and in time."""
        async with asyncio.timeout(PATIENCE):
            seen = await rig.seen(answer, within=TIMEOUT if text.startswith("no answer") else PATIENCE)
        assert (seen.outcome, seen.state, seen.http_status) == (Outcome.UNREACHABLE, None, None)
        message = str(seen.message)
        assert text in message
        assert "\n" not in message
        assert 0 < len(message) <= LONGEST_TEXT

    async def test_to_connect(self, rig: Rig) -> None:
        """Nobody there."""
        wire = await rig.wire(OK)
        await wire.stop()
        seen = await rig.connect(wire.url).poll(entry(JOBS, "job"))
        assert seen.outcome is Outcome.UNREACHABLE
        assert str(seen.message).endswith("refused the connection: nothing listens there")

    async def test_to_speak_tls(self, rig: Rig) -> None:
        """Somebody there who does not know TLS."""
        wire = await rig.wire(OK)
        provider = rig.connect(wire.url.replace("http:", "https:"), timeout=TIMEOUT)
        seen = await provider.poll(entry(JOBS, "job"))
        assert (seen.outcome, wire.requests) == (Outcome.UNREACHABLE, [])

    async def test_on_an_old_connection_is_not_tried_again(self, rig: Rig) -> None:
        """The schedule is the only retry: what was signed once is sent once, on a connection used before as well."""
        wire = await rig.wire(OK, then_close(), OK)
        provider = rig.connect(wire.url)
        outcomes = [(await provider.poll(entry(JOBS, "job"))).outcome for _ in range(3)]
        assert outcomes == [Outcome.ANSWERED, Outcome.UNREACHABLE, Outcome.ANSWERED]
        assert (len(wire.requests), wire.connections) == (3, 2)

    async def test_is_soon_over_when_the_connection_is_closed(self, rig: Rig) -> None:
        """Closing ends what is in flight."""
        wire = await rig.wire(then_silence())
        provider = rig.connect(wire.url)
        poll = asyncio.create_task(provider.poll(entry(JOBS, "job")))
        while not wire.requests:
            await asyncio.sleep(0.001)
        await provider.close()
        assert (await asyncio.wait_for(poll, 1)).outcome is Outcome.UNREACHABLE

    async def test_of_any_kind_raises_nothing(self, rig: Rig) -> None:
        """A hundred answers of random bytes, some in the guise of HTTP: no error, and no verdict on the task."""
        chance = random.Random(5)
        starts = (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n", HEAD)
        answers = [chance.choice(starts) + chance.randbytes(chance.randrange(60)) for _ in range(100)]
        wire = await rig.wire(*map(then_close, answers))
        provider = rig.connect(wire.url)
        for _ in answers:
            seen = await provider.poll(entry(JOBS, "job"))
            assert seen.outcome in (Outcome.UNREACHABLE, Outcome.UNRECOGNIZED)


class TestClose:
    async def test_without_a_poll(self, rig: Rig) -> None:
        """A connection that was never used closes too, and twice does no harm."""
        provider = rig.connect("http://127.0.0.1:1")
        await provider.close()
        await provider.close()


class TestCredentials:
    async def test_are_those_of_now(self, rig: Rig) -> None:
        """Each attempt takes the credentials that are valid then; the version tells of a change."""
        wire = await rig.wire(OK)
        source = Given(Bearer("old"))
        provider = rig.connect(wire.url, source=source)
        await provider.poll(entry(JOBS, "job"))
        source.credentials, source.version = Bearer("new"), 2
        await provider.poll(entry(JOBS, "job"))
        assert [request.header("Authorization") for request in wire.requests] == ["Bearer old", "Bearer new"]
        assert provider.credentials_version == 2

    async def test_are_renewed_on_demand(self, rig: Rig) -> None:
        """Renewing looks at the source again without asking the provider anything."""
        source = Given(Bearer("b"))
        await rig.connect("http://127.0.0.1:1", source=source).renew_credentials(1)
        assert source.refused == [1]

    async def test_that_expired_are_renewed_once_and_the_poll_repeated(self, rig: Rig) -> None:
        """An expired token costs no poll: it goes out again with the next one, and no third time."""
        expired = http(b'{"code": "InvalidSecurityToken.Expired"}', "400 Bad Request")
        wire = await rig.wire(expired)
        source = Given(KEY)
        source.next = TEMPORARY_KEY
        kind = KINDS["alibaba-opensearch"]
        seen = await rig.connect(wire.url, kind, source=source).poll(entry(kind, "function-task"))
        tokens = [request.header("x-acs-security-token") for request in wire.requests]
        assert (seen.outcome, seen.credentials_version, tokens) == (
            Outcome.UNAUTHORIZED,
            2,
            [None, "session-token"],
        )

    async def test_that_expired_and_cannot_be_renewed_are_not_sent_again(self, rig: Rig) -> None:
        """The same token would be refused again, and refusals count."""
        wire = await rig.wire(http(b'{"error_code": "APIGW.0307"}', "401 Unauthorized"))
        kind = KINDS["huawei-dlf"]
        seen = await rig.connect(wire.url, kind, AuthToken("old")).poll(entry(kind, "system-task"))
        assert (seen.outcome, seen.credentials_version, len(wire.requests)) == (Outcome.UNAUTHORIZED, 1, 1)

    async def test_that_are_not_there_send_nothing(self, rig: Rig) -> None:
        """Without credentials no request goes out; the observation says what is the matter with them."""
        wire = await rig.wire(OK)
        source = StaticSource(Bearer, [Unreadable()])
        seen = await rig.connect(wire.url, source=source).poll(entry(JOBS, "job"))
        assert (seen.outcome, seen.rule, wire.requests) == (Outcome.UNAUTHORIZED, "nothing was sent", [])
        assert seen.message == "no credentials: a part that is needed is absent"


class TestAgain:
    async def test_a_used_nonce_is_asked_once_more_with_another(self, rig: Rig) -> None:
        """The provider's memory of nonces is no reason to wait for the next poll."""
        used = http(b'{"code": "SignatureNonceUsed"}', "400 Bad Request")
        kind = KINDS["alibaba-opensearch"]
        wire = await rig.wire(used, http(b'{"result": {"status": "success"}}'))
        seen = await rig.connect(wire.url, kind, KEY).poll(entry(kind, "function-task"))
        assert (seen.state, len(wire.requests)) == (State.SUCCEEDED, 2)
        assert len({request.header("x-acs-signature-nonce") for request in wire.requests}) == 2

    async def test_but_not_for_ever(self, rig: Rig) -> None:
        """Asked a second time in vain, it is for the schedule to ask again."""
        kind = KINDS["alibaba-opensearch"]
        wire = await rig.wire(http(b'{"code": "SignatureNonceUsed"}', "400 Bad Request"))
        seen = await rig.connect(wire.url, kind, KEY).poll(entry(kind, "function-task"))
        assert (seen.outcome, len(wire.requests)) == (Outcome.UNREACHABLE, 2)


SECRET = "s3cr3t/key+of=mine"
ODD = 'say "no" \\ twice'
LONG = "".join(f"{number:04}" for number in range(1_000))


def telling(**body: object) -> bytes:
    """A success with more to tell."""
    return http(json.dumps({"status": "ok", **body}).encode())


def refusing(**body: object) -> bytes:
    """A refusal with something to tell."""
    return http(json.dumps(body).encode(), "401 Unauthorized")


# Where a provider echoes a secret.
ECHOES: list[tuple[str, Credentials, Callable[[str], Behaviour]]] = [
    ("message", Bearer(SECRET), lambda secret: telling(message=f"a {secret} b {secret}")),
    ("message, as an object", Bearer(SECRET), lambda secret: telling(message={"a": [secret]})),
    ("message, as an object, escaped", Bearer(ODD), lambda secret: telling(message={"a": [secret]})),
    ("message, cut in the middle", Bearer(SECRET), lambda secret: telling(message="x" * 990 + secret)),
    ("message, all of it", Bearer(LONG), lambda secret: telling(message=secret)),
    ("key of a message", Bearer(SECRET), lambda secret: telling(message={secret: 1})),
    ("run id", Bearer(SECRET), lambda secret: telling(run=secret)),
    ("run id, cut in the middle", Bearer(LONG), lambda secret: telling(run=secret)),
    ("request id", Bearer(SECRET), lambda secret: http(b'{"status": "ok"}', x_request_id=secret)),
    ("name of a part", Bearer(SECRET), lambda secret: telling(parts=[{"name": secret, "status": "bad"}])),
    ("name of a part, cut", Bearer(LONG), lambda secret: telling(parts=[{"name": "x" + secret, "status": "bad"}])),
    ("status", Bearer(SECRET), lambda secret: telling(status=secret)),
    ("status, with quotes", Bearer(ODD), lambda secret: telling(status=secret)),
    ("status, cut in the middle", Bearer(LONG), lambda secret: telling(status="x" + secret)),
    ("error code and message", Bearer(SECRET), lambda secret: refusing(error={"code": secret, "message": secret})),
    ("error code, cut in the middle", Bearer(LONG), lambda secret: refusing(code=secret)),
    ("error, all of it", Bearer(LONG), lambda secret: refusing(error=secret)),
    ("what is no HTTP", Bearer(SECRET), lambda secret: secret.encode() + b"\r\n\r\n"),
    ("what is no HTTP, a lot of it", Bearer(LONG), lambda secret: secret.encode() * 2 + b"\r\n\r\n"),
    ("password", Basic("user", SECRET), lambda secret: telling(message=secret)),
    ("header", HeaderCredential("X-Key", SECRET), lambda secret: telling(message=f"X-Key: {secret}")),
]


class TestSecret:
    @pytest.mark.parametrize(("credentials", "echo"), [row[1:] for row in ECHOES], ids=[row[0] for row in ECHOES])
    async def test_is_shown_nowhere(
        self, rig: Rig, credentials: Bearer | Basic | HeaderCredential, echo: Callable[[str], Behaviour]
    ) -> None:
        """A secret that the provider echoes, whole or cut short, is in no text of the observation."""
        secret = credentials.secrets[0]
        seen = await rig.seen(echo(secret), credentials)
        shown = repr(seen)
        escaped = json.dumps(secret)[1:-1]
        assert "***" in shown
        assert secret not in shown
        assert escaped not in shown
        assert secret[:12] not in shown

    @pytest.mark.parametrize("secrets", [("abcd", "abcdefgh"), ("efgh", "abcdefgh"), ("abcdefgh", "abcd")])
    async def test_within_another_one(self, rig: Rig, secrets: tuple[str, str]) -> None:
        """Where one secret holds the other, no part of either is left."""
        key = AccessKey("id", *secrets)
        wire = await rig.wire(telling(message="abcdefgh"))
        seen = await rig.connect(wire.url, KINDS["huawei-dlf"], key).poll(entry(KINDS["huawei-dlf"], "system-task"))
        assert str(seen.message).endswith("***")
        assert not any(secret in str(seen.message) for secret in secrets)

    async def test_of_three_characters_is_left(self, rig: Rig) -> None:
        """What is found in every other word is no secret worth hiding: texts stay readable."""
        seen = await rig.seen(telling(message="abracadabra"), Bearer("abr"))
        assert seen.message == "abracadabra"

    async def test_that_is_not_echoed_changes_nothing(self, rig: Rig) -> None:
        """Texts that hold no secret stay as they are, an ellipsis in them too."""
        seen = await rig.seen(telling(message="wait… done…", run="r…"), Bearer(SECRET))
        assert (seen.message, seen.run_id) == ("wait… done…", "r…")


class TestExplanation:
    """What one attempt was, told afterwards."""

    async def test_tells_what_went_out_and_came_in(self, rig: Rig) -> None:
        """Method, URL, status, the server's clock, the answer, and the rules; nothing of the credentials."""
        wire = await rig.wire(http(b'{"status": "ok"}', Date="Tue, 14 Nov 2023 22:14:20 GMT", content_type="text/x"))
        seen = await rig.connect(wire.url, credentials=Bearer(SECRET)).poll(entry(JOBS, "job"))
        assert seen.explain is not None
        told = seen.explain()
        assert (told.request, told.http_status, told.content_type) == (f"GET {wire.url}/jobs/1", 200, "text/x")
        assert (told.answer, told.clock_ahead) == ('{"status": "ok"}', -60.0)
        assert (told.trials[-1].rule, told.trials[-1].saw) == (seen.rule, seen.saw)
        assert SECRET not in repr(told)

    @pytest.mark.parametrize(("credentials", "echo"), [row[1:] for row in ECHOES], ids=[row[0] for row in ECHOES])
    async def test_holds_no_secret(
        self, rig: Rig, credentials: Bearer | Basic | HeaderCredential, echo: Callable[[str], Behaviour]
    ) -> None:
        """Whatever the provider echoes, wherever."""
        secret = credentials.secrets[0]
        seen = await rig.seen(echo(secret), credentials)
        assert seen.explain is not None
        shown = repr(seen.explain())
        assert secret not in shown
        assert json.dumps(secret)[1:-1] not in shown
        assert secret[:12] not in shown

    async def test_of_silence_tells_the_request(self, rig: Rig) -> None:
        """No answer came, but it was asked."""
        wire = await rig.wire(then_close())
        seen = await rig.connect(wire.url).poll(entry(JOBS, "job"))
        assert seen.explain is not None
        told = seen.explain()
        assert (told.request, told.answer) == (f"GET {wire.url}/jobs/1", None)
        assert [trial.rule for trial in told.trials] == [seen.rule] == ["no answer came"]

    @pytest.mark.parametrize("params", [{"id": ".."}, None])
    async def test_of_nothing_tells_that_nothing_was_sent(self, rig: Rig, params: dict[str, str] | None) -> None:
        """A request that cannot be made, or signed, is none."""
        source = Given(None) if params else StaticSource(Bearer, [Unreadable()])
        seen = await rig.connect("http://127.0.0.1:1", source=source).poll(entry(JOBS, "job", params))
        assert seen.explain is not None
        told = seen.explain()
        assert (told.request, [trial.rule for trial in told.trials], seen.rule) == (
            None,
            ["nothing was sent"],
            "nothing was sent",
        )

    async def test_is_never_shown_unasked(self, rig: Rig) -> None:
        """Its answer is in no log line that shows an observation, and two of them are compared without it."""
        wire = await rig.wire(telling(message="m", more="of the answer"))
        provider = rig.connect(wire.url)
        first, second = [await provider.poll(entry(JOBS, "job")) for _ in range(2)]
        assert "of the answer" not in repr(first)
        assert first == second


async def test_a_probe_is_one_request(rig: Rig) -> None:
    """Who may ask only once does not ask again, though the answer says that this would be worth it."""
    kind = KINDS["alibaba-opensearch"]
    for repeats, requests in ((False, 1), (True, 2)):
        wire = await rig.wire(http(b'{"code": "SignatureNonceUsed"}', "400 Bad Request"))
        await rig.connect(wire.url, kind, KEY, repeats=repeats).poll(entry(kind, "function-task"))
        assert len(wire.requests) == requests


class TestUnchanged:
    """An answer that says the same again is not read again."""

    async def test_is_what_says_the_same(self, rig: Rig) -> None:
        """Another answer is read, and says so."""
        wire = await rig.wire(telling(), telling(), telling(message="news"))
        provider = rig.connect(wire.url)
        first = await provider.poll(entry(JOBS, "job"))
        assert first.state is State.SUCCEEDED
        assert await provider.poll(entry(JOBS, "job"), first.said) is UNCHANGED
        third = await provider.poll(entry(JOBS, "job"), first.said)
        assert (third.unchanged, third.message) == (False, "news")

    async def test_is_read_again_with_other_credentials(self, rig: Rig) -> None:
        """What they are must be taken out of the same words, too."""
        wire = await rig.wire(telling(message="new-token is here"))
        source = Given(Bearer("old-token"))
        provider = rig.connect(wire.url, source=source)
        first = await provider.poll(entry(JOBS, "job"))
        assert first.message == "new-token is here"
        source.credentials, source.version = Bearer("new-token"), 2
        assert (await provider.poll(entry(JOBS, "job"), first.said)).message == "*** is here"

    async def test_is_not_what_was_read_while_they_changed(self, rig: Rig) -> None:
        """Of which nobody knows whose secrets were taken out."""
        source = Given(Bearer("old-token"))

        async def change(writer: asyncio.StreamWriter) -> None:
            source.credentials, source.version = Bearer("new-token"), 2
            writer.write(telling(message="new-token is here"))

        wire = await rig.wire(change, telling(message="new-token is here"))
        provider = rig.connect(wire.url, source=source)
        first = await provider.poll(entry(JOBS, "job"))
        assert first.said is None
        assert (await provider.poll(entry(JOBS, "job"), first.said)).message == "*** is here"


async def test_who_changes_to_another_protocol_has_answered(rig: Rig) -> None:
    """Nothing more is waited for, and the connection is used no more."""
    upgrade = then_silence(b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
    wire = await rig.wire(upgrade, OK)
    provider = rig.connect(wire.url)
    first, second = [await provider.poll(entry(JOBS, "job")) for _ in range(2)]
    assert (first.outcome, first.http_status) == (Outcome.UNRECOGNIZED, 101)
    assert (second.state, wire.connections) == (State.SUCCEEDED, 2)


@pytest.mark.parametrize("headers", [{}, {"content-length": "2"}])
async def test_a_bodys_length_is_told_once(rig: Rig, headers: Mapping[str, str]) -> None:
    """By whoever made the request, or else on the way."""
    wire = await rig.wire(OK)
    transport = HttpTransport(timeout=PATIENCE, max_in_flight=1)
    await transport.exchange(Request("POST", wire.url, "/", headers=headers, body=b"{}"))
    await transport.close()
    assert wire.requests[0].header("Content-Length") == "2"
