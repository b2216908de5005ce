"""A request goes over the wire byte for byte as it stands."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import FrozenInstanceError
from socket import AF_INET
from urllib.parse import parse_qsl, unquote

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import assume, given
from hypothesis import strategies as st
from yarl import URL

from poller.providers.request import Request, encode_segment

ORIGIN = "https://api.example.com"

# What transports, proxies and form encoders like to rewrite.
ODD_VALUES = (
    "a b",
    "a/b",
    "模型-é",
    "a+b",
    "100%",
    "a%2Fb",
    "%7E",
    "a*b",
    "~a",
    "a:b",
    "user@host",
    "it's",
    '"quoted"',
    "a&b=c",
    "a?b#c",
    "a;b,c",
    "[a]{b}|c\\d^e`f",
    "...",
    "!$()",
    " ",
    "a\u00a0b",
    "😀",
    "A.B_c-d",
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
segments = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20).filter(
    lambda value: value not in (".", "..")
)
queries = st.lists(st.tuples(texts, texts), max_size=5).map(tuple)


def request(**changes: object) -> Request:
    return Request(**{"method": "GET", "origin": ORIGIN, "path": "/", **changes})  # type: ignore[arg-type]


class TestSegment:
    @pytest.mark.parametrize(
        ("value", "encoded"),
        [
            ("ctr_test-1.2~3", "ctr_test-1.2~3"),
            ("a b", "a%20b"),
            ("a/b", "a%2Fb"),
            ("a+b", "a%2Bb"),
            ("100%", "100%25"),
            ("a*b", "a%2Ab"),
            ("é", "%C3%A9"),
            ("...", "..."),
        ],
    )
    def test_encodes(self, value: str, encoded: str) -> None:
        """Everything but RFC 3986's unreserved characters is percent-encoded."""
        assert encode_segment(value) == encoded

    @pytest.mark.parametrize("value", ["", ".", "..", "a\nb", "a\r", "\0", "\x7f", "\x85", "\t", "\ud800"])
    def test_refuses_what_would_not_arrive(self, value: str) -> None:
        """A value that a transport would rewrite, or cannot carry, is refused, and the message quotes it."""
        with pytest.raises(ValueError, match="cannot be a path segment") as refusal:
            encode_segment(value)
        assert repr(value) in str(refusal.value)
        refusal.value.args[0].encode()

    @given(segments)
    def test_is_one_segment_that_decodes_to_the_value(self, value: str) -> None:
        """Whatever the value, it stays one segment and is read back as given."""
        encoded = encode_segment(value)
        assert "/" not in encoded
        assert unquote(encoded, errors="strict") == value


class TestTarget:
    def test_keeps_wire_order_and_empty_values(self) -> None:
        """The query goes out in the order given, with `k=` for an empty value and `%20` for a blank."""
        asked = request(path="/p", query=(("b", ""), ("a", "1 2"), ("b", "~*+")))
        assert asked.query_string == "b=&a=1%202&b=~%2A%2B"
        assert asked.target == "/p?b=&a=1%202&b=~%2A%2B"
        assert asked.url == ORIGIN + asked.target

    def test_has_no_question_mark_without_a_query(self) -> None:
        """No query, no question mark."""
        assert request(path="/p").target == "/p"
        assert request(path="/p").query_string == ""

    @given(st.lists(segments, min_size=1, max_size=4), queries)
    def test_decodes_to_the_parameters_given(self, values: list[str], query: tuple[tuple[str, str], ...]) -> None:
        """The wire target decodes back to exactly the parameters given, and is plain ASCII."""
        path = "".join(f"/{encode_segment(value)}" for value in values)
        path_sent, _, query_sent = request(path=path, query=query).target.partition("?")
        assert [unquote(segment) for segment in path_sent.split("/")[1:]] == values
        assert tuple(parse_qsl(query_sent, keep_blank_values=True, strict_parsing=bool(query))) == query
        assert (path_sent + query_sent).isascii()

    @given(st.lists(segments, min_size=1, max_size=4), queries)
    def test_survives_yarl(self, values: list[str], query: tuple[tuple[str, str], ...]) -> None:
        """A pre-encoded URL keeps the target and the host untouched."""
        asked = request(path="".join(f"/{encode_segment(value)}" for value in values), query=query)
        url = URL(asked.url, encoded=True)
        assert url.raw_path_qs == asked.target
        assert url.host_port_subcomponent == asked.host


class TestHost:
    @pytest.mark.parametrize(
        ("origin", "host"),
        [
            ("https://api.example.com", "api.example.com"),
            ("https://API.Example.COM", "api.example.com"),
            ("HTTPS://api.example.com:443", "api.example.com"),
            ("http://api.example.com:80", "api.example.com"),
            ("https://api.example.com:80", "api.example.com:80"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("https://[::1]:8443", "[::1]:8443"),
            ("https://api.example.com.", "api.example.com"),
        ],
    )
    def test_is_what_clients_send(self, origin: str, host: str) -> None:
        """The host is in lower case and without a default port, and so is the URL."""
        asked = request(origin=origin)
        assert asked.host == host
        assert URL(asked.url, encoded=True).host_port_subcomponent == host

    @pytest.mark.parametrize(
        "origin",
        [
            "",
            "api.example.com",
            "https://",
            "https://api.example.com/",
            "https://api.example.com/prefix",
            "https://api.example.com?x",
            "https://api.example.com#x",
            "https://api.example.com:",
            "https://api.example.com:https",
            "https://api.example.com:99999",
            "https://api example.com",
            "https://api.example.com\n",
            "https://bücher.example",
            "https://[::1",
            "ftp://api.example.com",
        ],
    )
    def test_refuses_what_is_more_or_less_than_an_origin(self, origin: str) -> None:
        """An origin is scheme, host and perhaps port; the message says so."""
        with pytest.raises(ValueError, match=r"expected https://host\[:port\]"):
            request(origin=origin)

    def test_never_quotes_a_password(self) -> None:
        """Credentials in an origin are refused without being shown."""
        with pytest.raises(ValueError, match=r"api\.example\.com") as refusal:
            request(origin="https://user:hunter2@api.example.com")
        assert "hunter2" not in str(refusal.value)


class TestChecks:
    @pytest.mark.parametrize("method", ["", "get", "GET ", "GET\r\n", "GÉT"])
    def test_refuses_a_method_that_would_be_rewritten(self, method: str) -> None:
        """Clients send methods in upper case; what is signed must be what is sent."""
        with pytest.raises(ValueError, match="upper-case"):
            request(method=method)

    @pytest.mark.parametrize("path", ["", "p", "/a b", "/é", "/a?b", "/a#b", "/a\nb"])
    def test_refuses_a_path_that_is_not_encoded(self, path: str) -> None:
        """A path is encoded when it comes, and carries no query."""
        with pytest.raises(ValueError, match="encoded path"):
            request(path=path)

    @pytest.mark.parametrize("pair", [("\ud800", "1"), ("a", "\udfff")])
    def test_refuses_a_query_that_cannot_be_encoded(self, pair: tuple[str, str]) -> None:
        """Half a surrogate pair, which JSON can hold, is found at once and not at the first poll."""
        with pytest.raises(ValueError, match="surrogate"):
            request(query=(pair,))

    @pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\n", "a\r", "a\0", "\x1b", "\ud800"])
    def test_refuses_line_breaks_in_a_header(self, value: str) -> None:
        """No value can start another header line, and the message does not show it."""
        with pytest.raises(ValueError, match="header workspace") as refusal:
            request(headers={"workspace": value})
        assert value not in str(refusal.value)
        with pytest.raises(ValueError, match="header workspace"):
            request().with_headers({"workspace": value})

    @pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "é"])
    def test_refuses_what_is_no_header_name(self, name: str) -> None:
        """A header name is a token."""
        with pytest.raises(ValueError, match="not a header name"):
            request(headers={name: "1"})

    def test_refuses_a_header_given_twice(self) -> None:
        """Names that differ only in case are one header, and which value would be signed is anyone's guess."""
        with pytest.raises(ValueError, match="differ only in case"):
            request(headers={"Workspace": "1", "workspace": "2"})

    @pytest.mark.parametrize("name", ["Host", "host", "HOST"])
    def test_refuses_a_host_of_its_own(self, name: str) -> None:
        """The host that is signed is that of the origin, so no other can be sent."""
        with pytest.raises(ValueError, match="follows from the origin"):
            request(headers={name: "other.example.com"})


class TestHeaders:
    def test_are_replaced_in_whatever_case(self) -> None:
        """An added header takes the place of its namesake; the rest and the original stay."""
        asked = request(headers={"X-Sdk-Date": "old", "workspace": "ws1"}, query=(("a", "b"),), body=b"x")
        added = asked.with_headers({"x-sdk-date": "new"})
        assert added.headers == {"workspace": "ws1", "x-sdk-date": "new"}
        assert (added.method, added.url, added.body) == (asked.method, asked.url, asked.body)
        assert asked.headers == {"X-Sdk-Date": "old", "workspace": "ws1"}

    def test_never_show_in_repr(self) -> None:
        """A request can be logged: headers and body, where credentials travel, are left out."""
        shown = repr(request(headers={"Authorization": "Bearer hunter2"}, body=b"hunter2"))
        assert "hunter2" not in shown
        assert ORIGIN in shown

    def test_belong_to_a_frozen_request(self) -> None:
        """A request is not changed once it is made."""
        with pytest.raises(FrozenInstanceError):
            request().path = "/other"  # type: ignore[misc]


class OneAddress(AbstractResolver):
    """Finds every host at one local port, so that default ports can be tried."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(self, host: str, port: int = 0, family: int = AF_INET) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=self._port, family=AF_INET, proto=0, flags=0),
        ]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def raw_server(heads: list[bytes]) -> AsyncIterator[int]:
    """Keeps the head of every request as it arrives, and gives the port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def heads_of(requests_at: Callable[[int], list[Request]]) -> tuple[list[Request], list[bytes]]:
    """Sends requests as the client does and gives them with the heads that arrived."""
    heads: list[bytes] = []
    async with raw_server(heads) as port:
        sent = requests_at(port)
        connector = aiohttp.TCPConnector(resolver=OneAddress(port))
        async with aiohttp.ClientSession(connector=connector) as session:
            for asked in sent:
                url = URL(asked.url, encoded=True)
                async with session.request(
                    asked.method, url, headers=asked.headers, data=asked.body or None
                ) as response:
                    assert response.status == 204
    return sent, heads


def host_line(head: bytes) -> bytes:
    (line,) = [line for line in head.split(b"\r\n") if line.lower().startswith(b"host:")]
    return line.partition(b":")[2].strip()


class TestOverTheWire:
    async def test_targets_arrive_byte_for_byte(self) -> None:
        """What a server reads is the target as it was signed, whatever characters a parameter holds."""

        def odd(port: int) -> list[Request]:
            origin = f"http://127.0.0.1:{port}"
            return [
                Request("GET", origin, f"/v1/{encode_segment(value)}/x", ((value, value), ("empty", "")))
                for value in ODD_VALUES
            ]

        sent, heads = await heads_of(odd)
        assert len(heads) == len(ODD_VALUES)
        for asked, head in zip(sent, heads, strict=True):
            assert head.split(b"\r\n")[0] == f"GET {asked.target} HTTP/1.1".encode("ascii")
            assert host_line(head) == asked.host.encode("ascii")

    async def test_host_arrives_as_promised(self) -> None:
        """The Host header is `host`, in whatever case the endpoint was written and with or without its default port."""

        def spelled(port: int) -> list[Request]:
            origins = (
                "http://API.Example.com",
                "http://api.example.com:80",
                "http://api.example.com.",
                f"http://LOCALHOST:{port}",
            )
            return [Request("POST", origin, "/", (), {"x-acs-action": "A"}) for origin in origins]

        sent, heads = await heads_of(spelled)
        for asked, head in zip(sent, heads, strict=True):
            assert host_line(head) == asked.host.encode("ascii")
            assert head.lower().count(b"\r\nhost:") == 1
            assert b"x-acs-action: A\r\n" in head

    async def test_unencoded_url_would_be_rewritten(self) -> None:
        """Without `encoded=True` the target is another: the reason why callers must say so."""
        target = request(path="/a%2Ab/%7E").url
        assert URL(target).raw_path != "/a%2Ab/%7E"
        assert URL(target, encoded=True).raw_path == "/a%2Ab/%7E"


@given(queries, queries)
def test_different_queries_have_different_targets(
    one: tuple[tuple[str, str], ...], other: tuple[tuple[str, str], ...]
) -> None:
    """Two requests look alike on the wire only if they are alike."""
    assume(one != other)
    assert request(query=one).target != request(query=other).target
