"""One HTTP request as plain data, in exactly the form it goes over the wire; and what came back.

A signature covers bytes, so nothing may be re-quoted, reordered or normalized between signing and sending. Everything a
transport would change on its own is therefore settled, or refused, when the request is made.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from string import ascii_letters, digits
from unicodedata import category
from urllib.parse import quote

from yarl import URL

# RFC 9110, section 5.6.2: the characters of a token.
_TOKEN_CHARACTERS = frozenset(ascii_letters + digits + "!#$%&'*+-.^_`|~")


# RFC 3986, section 2.3: what needs no encoding.
_UNRESERVED = frozenset(ascii_letters + digits + "-._~")
_DOTS = ("", ".", "..")


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is sent as it stands: `yarl.URL(request.url, encoded=True)` and `headers`.

    `ValueError` for whatever could not be sent unchanged: see the checks below. Its `repr` shows neither headers nor
    body, because credentials travel there.
    """

    method: str
    """Upper case, as HTTP clients send it."""
    origin: str
    """`https://host[:port]`, kept in lower case, because a pre-encoded URL is sent in the case it was given."""
    path: str
    """Percent-encoded, with an endpoint's path prefix; starts with `/`."""
    query: tuple[tuple[str, str], ...] = ()
    """Decoded names and values, in wire order."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Names in any case, no two of them the same; never `Host`, which follows from the origin."""
    body: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "origin", self.origin.lower())
        _host_header(self.origin)
        _check_method(self.method)
        _check_path(self.path)
        _check_query(self.query)
        _check_headers(self.headers)

    @property
    def host(self) -> str:
        """The Host header an HTTP client derives from `origin`: the default port is left out."""
        return _host_header(self.origin)

    @property
    def query_string(self) -> str:
        """The query in wire order, encoded as RFC 3986 has it: `%20` for a blank, `k=` for an empty value."""
        return encode_query(self.query)

    @property
    def target(self) -> str:
        """The request target (RFC 9112, section 3.2.1): the path, and the query if there is one."""
        return f"{self.path}?{encode_query(self.query)}" if self.query else self.path

    @property
    def url(self) -> str:
        """The whole URL, already encoded: a client must be told so, or it encodes it anew."""
        return self.origin + self.target

    def with_headers(self, extra: Mapping[str, str]) -> "Request":
        """Gives a copy with `extra` added; a header of the same name, in whatever case, gives way."""
        _check_headers(extra)
        kept = _not_among(tuple(self.headers), tuple(extra))
        # All but what is extra was checked already.
        copy, put = object.__new__(Request), object.__setattr__
        put(copy, "method", self.method)
        put(copy, "origin", self.origin)
        put(copy, "path", self.path)
        put(copy, "query", self.query)
        put(copy, "headers", {**{name: self.headers[name] for name in kept}, **extra})
        put(copy, "body", self.body)
        return copy


@lru_cache(maxsize=1024)
def _not_among(names: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    """Those of ``names`` that are not among ``others``, whatever their case."""
    lower = {name.lower() for name in others}
    return tuple(name for name in names if name.lower() not in lower)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back over HTTP.

    ``headers`` compares names without case, ``body`` is the decoded content, None if it was too long.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes | None


def encode_segment(value: str) -> str:
    """Encodes `value` as one path segment, never more: `/` becomes `%2F`.

    `ValueError` for what cannot arrive as given: nothing, `.` and `..` (transports resolve them, RFC 3986 section
    5.2.4, after the path was signed) and control characters.
    """
    if is_unreserved(value) and value not in _DOTS:
        return value
    if value in _DOTS:
        raise ValueError(f"{value!r} cannot be a path segment: give a value other than '', '.' and '..'")
    if holds_unsendable(value):
        raise ValueError(f"{value!r} cannot be a path segment: it holds a control character or half a surrogate pair")
    return quote(value, safe="~")


def is_unreserved(text: str) -> bool:
    """Whether ``text`` is the same percent-encoded (RFC 3986, section 2.3): most names and ids are."""
    return _UNRESERVED.issuperset(text)


def encode_query(pairs: Iterable[tuple[str, str]]) -> str:
    """Encodes decoded pairs in the order given (RFC 3986, not the `+` of HTML forms)."""
    return "&".join([f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs])


def holds_unsendable(text: str) -> bool:
    """Tells whether `text` has control characters (CR, LF and others) or lone surrogates, which UTF-8 cannot carry."""
    # Almost every text is printable, and asking that costs nothing.
    return not text.isprintable() and any(category(character) in ("Cc", "Cs") for character in text)


def check_header(name: str, value: str) -> None:
    """Refuses with `ValueError` what could not be one header line, and `Host`, which is not for anyone to set.

    The message does not quote the value: it may be secret.
    """
    if not _is_token(name):
        raise ValueError(f"{name!r} is not a header name: letters, digits and !#$%&'*+-.^_`|~ are allowed")
    if name.lower() == "host":
        raise ValueError("header Host: it follows from the origin; change the endpoint instead")
    if holds_unsendable(value):
        raise ValueError(f"header {name}: its value holds a line break or another control character")


@lru_cache(maxsize=1024)
def _is_token(name: str) -> bool:
    return bool(name) and _TOKEN_CHARACTERS.issuperset(name)


@lru_cache(maxsize=1024)
def _host_header(origin: str) -> str:
    """Derives the Host header by the code that will send it, and refuses what is not just scheme, host and port."""
    try:
        url = URL(origin, encoded=True)
        sound = url.scheme in ("http", "https") and _is_plain_ascii(origin) and origin == _spelled_out(url)
        host = url.host_port_subcomponent if sound else None
    except ValueError:
        host = None
    if not host:
        # Not the part before an @, which may be a password.
        raise ValueError(f"origin {origin.rpartition('@')[2]!r}: expected https://host[:port] and nothing else")
    return host


def _spelled_out(url: URL) -> str:
    port = "" if url.explicit_port is None else f":{url.explicit_port}"
    return f"{url.scheme}://{url.host_subcomponent}{port}"


def _is_plain_ascii(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


@lru_cache(maxsize=16)
def _check_method(method: str) -> None:
    if not (method.isascii() and method.isalpha() and method.isupper()):
        raise ValueError(f"method {method!r}: expected upper-case letters, like GET")


def _check_path(path: str) -> None:
    if not path.startswith("/") or not _is_plain_ascii(path) or "?" in path or "#" in path:
        raise ValueError(f"path {path!r}: expected an encoded path that starts with / and has no query or fragment")


def _check_query(query: tuple[tuple[str, str], ...]) -> None:
    for name, value in query:
        text = name + value
        if not text.isprintable() and any(category(character) == "Cs" for character in text):
            raise ValueError(f"query parameter {name!r}: half a surrogate pair cannot be encoded")


def _check_headers(headers: Mapping[str, str]) -> None:
    # Nearly all values are printable, and the names of an operation's headers are always the same.
    if not "".join(headers.values()).isprintable():
        for name, value in headers.items():
            check_header(name, value)
    _check_header_names(tuple(headers))


@lru_cache(maxsize=1024)
def _check_header_names(names: tuple[str, ...]) -> None:
    for name in names:
        check_header(name, "")
    if len({name.lower() for name in names}) != len(names):
        raise ValueError("headers: two names differ only in case; give each header once")
