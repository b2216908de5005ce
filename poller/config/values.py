"""The kinds of values in the config file: how each is written, and what it is inside.

Durations are seconds inside, rates are per second, paths absolute. A mistake in a value is raised as a `refusal`; none
quotes what may be, or may hold, a secret.
"""

import base64
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    TypeAdapter,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from poller.config.secret import Secret
from poller.config.textfile import holds_control
from poller.config.wording import did_you_mean, found, kind, number_text, refusal
from poller.domain.durations import format_duration, parse_duration, parse_rate

MOST_BCRYPT_ROUNDS = 18
"""The highest cost of a password's hash: each more doubles what a login costs, here half a minute already."""

LONGEST_DURATION = 36_500 * 86_400.0
"""Seconds, a hundred years: what is added to a time must still be a time."""

SHORTEST_WAIT = 0.001
"""Seconds."""

SHORTEST_LEASE, LONGEST_LEASE = 2.0, 600.0
"""Seconds."""

FASTEST_RATE, SLOWEST_RATE = 100_000.0, 1 / 86_400
"""Per second."""

NO_PROXY: Final = "none"
"""What stands for no proxy at all, whatever the environment says."""

PROXY_ALLOWED = "http://[user:password@]host:port or none is allowed"

_NAME = re.compile(r"[A-Za-z0-9._:@/+-]{1,200}")
_REGION = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_LISTEN = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*):([0-9]{1,5})")
_ENDPOINT = re.compile(
    r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(?P<prefix>(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*)/?"
)
_ROUTE_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")
_HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_-]{1,63})*")
_USER = re.compile(r"[^:\x00-\x1f\x7f]{1,200}")
_BCRYPT = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
_SQLITE = re.compile(r"sqlite:///(?!:memory:)([^?#]+)")
_MOST_PORTS = 65_535
_LONGEST_OWNER = 200
_UNIX = "unix:"
# sun_path of unix(7) has 108 bytes, and the last is NUL; other systems have fewer, and say so when it is bound.
_LONGEST_SOCKET = 107
_SOURCES = ("env", "file")
_SECRET_KEYS = (*_SOURCES, "optional")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What values refer to: the folder that relative paths start from, and the environment."""

    folder: Path = Path()
    env: Mapping[str, str] = field(default_factory=lambda: os.environ)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a host name or IP address, empty for every address there is, and a port, 0 for any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """Where to listen: a unix socket at an absolute path."""

    path: Path

    def __str__(self) -> str:
        return f"{_UNIX}{self.path}"


def _surroundings(info: ValidationInfo) -> Surroundings:
    return info.context if isinstance(info.context, Surroundings) else Surroundings()


# --- text ----------------------------------------------------------------------------------------------------------


def _text(value: object, allowed: str) -> str:
    if not isinstance(value, str):
        raise refusal(f"{found(value)}, {allowed}")
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise refusal(f"{found(value)}, 1 to 200 characters out of A-Z a-z 0-9 . _ : @ / + - are allowed")
    return value


def _given_name(value: object) -> str:
    return _name(_text(value, "text is allowed"))


def _owner(value: object) -> str:
    allowed = f"text of 1 to {_LONGEST_OWNER} characters, without control characters, is allowed"
    text = _text(value, allowed)
    if not text.strip() or len(text) > _LONGEST_OWNER or holds_control(text):
        raise refusal(f"{found(text)}, {allowed}")
    return text


def _scalar_text(value: object) -> str:
    """A value as text; numbers as they were written, since most are identifiers."""
    if isinstance(value, str):
        if holds_control(value):
            raise refusal(f"{found(value)}, text without control characters is allowed")
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number_text(value)
    raise refusal(f"{kind(value)}, a single value (text, a number, true or false) is allowed")


Name = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$"})]
"""Of a task or provider."""

GivenName = Annotated[
    str | None, PlainValidator(_given_name), WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$"})
]
"""Of a family; None only where the key is left out."""

Owner = Annotated[
    str | None,
    PlainValidator(_owner),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": _LONGEST_OWNER}),
]
"""Whom a task is watched for; None only where the key is left out."""

Given = Annotated[
    str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$"), WithJsonSchema({"type": "string", "minLength": 1})
]
"""Text that is not empty, without control characters."""

ScalarText = Annotated[
    str,
    PlainValidator(_scalar_text),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
"""Text, or a number or truth value as it was written."""


# --- durations and rates -------------------------------------------------------------------------------------------


def _parsed(value: object, parse: Callable[[str], float]) -> float:
    try:
        return parse(value if isinstance(value, str) else "")
    except ValueError as error:
        text = f"{found(value)}, {error}"
    raise refusal(text)


def _span(value: object) -> float:
    """A duration in seconds, none at all included."""
    seconds = _parsed(value, parse_duration)
    if seconds > LONGEST_DURATION:
        raise refusal(f"{found(value)}, at most {format_duration(LONGEST_DURATION)} is allowed")
    return seconds


def _wait(value: object) -> float:
    """A duration in seconds that is not nothing."""
    seconds = _span(value)
    if seconds < SHORTEST_WAIT:
        raise refusal(f"{found(value)}, at least 1ms is allowed")
    return seconds


def _lease(value: object) -> float:
    """A duration in seconds that outlasts a busy database's worst answers."""
    seconds = _span(value)
    if not SHORTEST_LEASE <= seconds <= LONGEST_LEASE:
        raise refusal(f"{found(value)}, 2s to 10m is allowed")
    return seconds


def _rate(value: object) -> float:
    """Events per second."""
    rate = _parsed(value, parse_rate)
    if not SLOWEST_RATE <= rate <= FASTEST_RATE:
        raise refusal(f"{found(value)}, 1/d to {FASTEST_RATE:.0f}/s is allowed")
    return rate


_AS_DURATION = (
    PlainSerializer(lambda span: None if span is None else format_duration(span), when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^(\d+(\.\d+)?(ms|[smhd]))+$",
            "examples": ["500ms", "5s", "2m", "1h30m", "7d"],
        }
    ),
)

Span = Annotated[float, PlainValidator(_span), *_AS_DURATION]
"""Seconds, written as a duration."""

Wait = Annotated[float, PlainValidator(_wait), *_AS_DURATION]
"""Seconds, more than none, written as a duration."""

Lease = Annotated[float, PlainValidator(_lease), *_AS_DURATION]
"""The same, for leases."""

GivenWait = Annotated[float | None, PlainValidator(_wait), *_AS_DURATION]
"""The same; None only where the key is left out."""

Rate = Annotated[
    float,
    PlainValidator(_rate),
    PlainSerializer(lambda rate: f"{rate:g}/s", when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?/(ms|[smhd])$", "examples": ["10/s", "300/m"]}),
]
"""Per second, written as a rate."""


# --- addresses -----------------------------------------------------------------------------------------------------


def _listen(value: object) -> Address:
    allowed = "HOST:PORT is allowed, like 127.0.0.1:9817 or [::1]:9817"
    match = _LISTEN.fullmatch(_text(value, allowed))
    if not match or int(match[2]) > _MOST_PORTS or (match[1].startswith("[") and not _is_ipv6(match[1][1:-1])):
        raise refusal(f"{found(value)}, {allowed}")
    return Address(match[1].strip("[]"), int(match[2]))


def _listen_anywhere(value: object, info: ValidationInfo) -> Address | UnixAddress:
    if isinstance(value, str) and value.startswith(_UNIX):
        return UnixAddress(_socket_path(value.removeprefix(_UNIX), info))
    try:
        return _listen(value)
    except PydanticCustomError:
        text = f"{found(value)}, HOST:PORT or unix:PATH is allowed, like 127.0.0.1:9817, [::1]:9817 or unix:web.sock"
    raise refusal(text)


def _socket_path(text: str, info: ValidationInfo) -> Path:
    path = _file_path(text, info)
    length = len(os.fsencode(path))
    if length > _LONGEST_SOCKET:
        raise refusal(f"a path of {length} bytes, for a socket at most {_LONGEST_SOCKET} are allowed")
    return path


def _listens(value: object, info: ValidationInfo) -> tuple[Address | UnixAddress, ...]:
    """Where to listen: one address, or several in a list."""
    if not isinstance(value, list):
        return (_listen_anywhere(value, info),)
    if not value:
        raise refusal("an empty list, an address or a list of addresses is allowed")
    addresses = tuple(_LISTEN_LIST.validate_python(value, context=info.context))
    for index, address in enumerate(addresses):
        if address in addresses[:index] and not (isinstance(address, Address) and address.port == 0):
            raise refusal(f"{found(value[index])} a second time, each address once is allowed")
    return addresses


def _route_prefix(value: object) -> str:
    """A path that starts with a slash and ends in none, but for ``/`` itself."""
    allowed = "a path like /poller is allowed, of letters, digits and . _ ~ - between its slashes"
    text = _text(value, allowed)
    if not text or not _ROUTE_PREFIX.fullmatch(text) or {".", ".."} & set(text.split("/")):
        raise refusal(f"{found(text)}, {allowed}")
    return text.rstrip("/") or "/"


def _file_path(value: object, info: ValidationInfo) -> Path:
    """An absolute path."""
    allowed = "the path of a file is allowed"
    text = _text(value, allowed)
    if not text or holds_control(text):
        raise refusal(f"{found(text)}, {allowed}")
    return _surroundings(info).folder / text


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _region(value: object) -> str:
    allowed = "lower-case letters, digits and dashes are allowed, like cn-hangzhou"
    text = _text(value, allowed)
    # It becomes a part of a host name.
    if not _REGION.fullmatch(text):
        raise refusal(f"{found(text)}, {allowed}")
    return text


def _endpoint(value: object) -> str:
    """An endpoint, without the slash at its end."""
    allowed = "https://host[:port][/prefix] is allowed"
    text = _text(value, allowed)
    for mark, part in (("@", "a user or password"), ("?", "a query"), ("#", "a fragment")):
        if mark in text:
            raise refusal(f"an address with {part}, {allowed}")
    match = _ENDPOINT.fullmatch(text)
    if not match or not _has_good_port(text) or {".", ".."} & set(match["prefix"].split("/")):
        raise refusal(f"{found(text)}, {allowed}")
    return text.rstrip("/")


def _host_name(value: object) -> str:
    allowed = "a host name is allowed, like api.example.com"
    text = _text(value, allowed)
    if not _HOST_NAME.fullmatch(text):
        raise refusal(f"{found(text)}, {allowed}")
    return text


def _is_postgresql(text: str) -> bool:
    return text.startswith("postgresql://") and _has_good_port(text) and len(urlsplit(text).path) > 1


def _has_good_port(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


Listen = Annotated[
    Address,
    PlainValidator(_listen),
    PlainSerializer(str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^[^/@]*:\d{1,5}$"}),
]

_LISTEN_LIST: TypeAdapter[list[Address | UnixAddress]] = TypeAdapter(
    list[Annotated[Any, PlainValidator(_listen_anywhere)]]
)
_LISTEN_SCHEMA: dict[str, Any] = {"type": "string", "pattern": r"^([^/@]*:\d{1,5}|unix:.+)$"}

Listens = Annotated[
    tuple[Address | UnixAddress, ...],
    PlainValidator(_listens),
    PlainSerializer(lambda listen: str(listen[0]) if len(listen) == 1 else [*map(str, listen)], when_used="json"),
    WithJsonSchema({**_LISTEN_SCHEMA, "type": ["string", "array"], "items": _LISTEN_SCHEMA, "minItems": 1}),
]
"""One address to listen on, or several; unix sockets among them."""

RoutePrefix = Annotated[
    str,
    PlainValidator(_route_prefix),
    WithJsonSchema({"type": "string", "pattern": f"^(?=/){_ROUTE_PREFIX.pattern}$"}),
]

FilePath = Annotated[
    Path | None,
    PlainValidator(_file_path),
    PlainSerializer(lambda path: None if path is None else str(path), when_used="json"),
    WithJsonSchema({"type": "string", "minLength": 1}),
]
"""The absolute path of a file; None only where the key is left out."""

Region = Annotated[
    str | None,
    PlainValidator(_region),
    WithJsonSchema({"type": "string", "pattern": f"^{_REGION.pattern}$"}),
]

Endpoint = Annotated[
    str | None,
    PlainValidator(_endpoint),
    WithJsonSchema({"type": "string", "pattern": "^https?://[^@?#]+$"}),
]

HostName = Annotated[
    str | None,
    PlainValidator(_host_name),
    WithJsonSchema({"type": "string", "pattern": f"^{_HOST_NAME.pattern}$"}),
]
"""A host's name; None only where the key is left out."""


# --- secrets -------------------------------------------------------------------------------------------------------


def _secret(value: object, info: ValidationInfo) -> Secret:
    """A secret, read; that it could not be had is no mistake here."""
    if isinstance(value, str) and value.strip():
        return Secret.literal(value)
    if isinstance(value, dict) and value:
        return _referred_secret(value, _surroundings(info))
    what = "empty text" if isinstance(value, str) else "an empty mapping" if value == {} else kind(value)
    hint = " (quote it)" if isinstance(value, int | float) else ""
    raise refusal(f"{what}, a secret (text, {{env: NAME}} or {{file: PATH}}) is allowed{hint}")


def _referred_secret(source: Mapping[str, object], around: Surroundings) -> Secret:
    for key in source:
        # Unknown keys are not quoted: a literal in braces is one.
        if key not in _SECRET_KEYS:
            hint = did_you_mean(key, _SECRET_KEYS)
            raise refusal(f"a mapping with an unknown key, env or file (and optional) is allowed{hint}")
    given = [key for key in _SOURCES if key in source]
    if len(given) != 1:
        raise refusal(f"{' and '.join(given) or 'optional alone'}, one of env and file is allowed")
    optional = source.get("optional", False)
    if not isinstance(optional, bool):
        raise refusal(f"optional: {kind(optional)}, true or false is allowed")
    if given == ["env"]:
        return Secret.from_env(_variable_name(source["env"]), around.env, optional)
    return Secret.from_file(_file_name(source["file"]), around.folder, around.env, optional)


def _variable_name(value: object) -> str:
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        raise refusal("env: not a variable's name, letters, digits and _ are allowed")
    return value


def _file_name(value: object) -> str:
    if not isinstance(value, str) or not value or holds_control(value):
        raise refusal("file: not a file's name, the path of a file is allowed")
    return value


# --- sinks ---------------------------------------------------------------------------------------------------------


_URL_ALLOWED = "https://host[:port]/path is allowed"
_SIGNING_ALLOWED = "whsec_ and behind it 24 to 64 bytes in base64 is allowed"
_SIGNING_BYTES = range(24, 65)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}")
_OWN_HEADERS = {"host", "content-type", "content-length", "transfer-encoding", "connection"}


def _webhook_url(value: object, info: ValidationInfo) -> Secret:
    """A secret, since a key may be in it; what it is, is seen at once where it can be had."""
    return _fit(_secret(value, info), is_webhook_url, _URL_ALLOWED)


def _signing_secrets(value: object, info: ValidationInfo) -> tuple[Secret, ...]:
    """One secret to sign with, or several in a list."""
    if not isinstance(value, list):
        return (_signing_secret(value, info),)
    if not value:
        raise refusal("an empty list, a secret or a list of secrets is allowed")
    return tuple(_SIGNING_LIST.validate_python(value, context=info.context))


def _signing_secret(value: object, info: ValidationInfo) -> Secret:
    return _fit(_secret(value, info), is_signing_secret, _SIGNING_ALLOWED)


def _fit(secret: Secret, fits: Callable[[str], bool], allowed: str) -> Secret:
    text = secret.reveal()
    if text is not None and not fits(text):
        raise refusal(f"{secret.source} holds something else, {allowed}")
    return secret


def is_webhook_url(text: str) -> bool:
    """Whether ``text`` is an address that events can be sent to, with a user, password and query if it has them."""
    if not text.isascii() or not text.isprintable() or set(' "<>\\^`{|}#') & set(text):
        return False
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False


def is_signing_secret(text: str) -> bool:
    """Whether ``text`` is a secret as Standard Webhooks has it for HMAC."""
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        return False
    return text.startswith("whsec_") and len(key) in _SIGNING_BYTES


def _header_name(value: str) -> str:
    if not _HEADER_NAME.fullmatch(value):
        raise refusal(f"{found(value)}, the name of a header is allowed")
    if value.lower() in _OWN_HEADERS or value.lower().startswith("webhook-"):
        raise refusal(f"{found(value)}, which poller sets itself, another name is allowed")
    return value


def _header_value(value: object, info: ValidationInfo) -> Secret:
    return _fit(_secret(value, info), lambda text: not holds_control(text), "text on one line is allowed")


# --- the store -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StorePlace:
    """Where the store is: its URL, with an absolute path, and the password that goes with it, if one does."""

    url: str = field(repr=False)
    """May hold a password."""
    password: Secret | None = None


_STORE_ALLOWED = "sqlite:///FILE or postgresql://USER@HOST/DATABASE is allowed"
_STORE_KEYS = ("url", "password")


def _store(value: object, info: ValidationInfo) -> StorePlace:
    """The store's place. Its URL is never quoted: a password may be in it."""
    if not isinstance(value, dict):
        return StorePlace(_store_url(value, info))
    for key in value:
        if key not in _STORE_KEYS:
            raise refusal(
                f"a mapping with an unknown key, url and password are allowed{did_you_mean(key, _STORE_KEYS)}"
            )
    if "url" not in value:
        raise refusal(f"a mapping without url, {_STORE_ALLOWED} there")
    password = _secret(value["password"], info) if "password" in value else None
    return StorePlace(_store_url(value["url"], info), password)


def _store_url(value: object, info: ValidationInfo) -> str:
    if not isinstance(value, str):
        raise refusal(f"{kind(value)}, {_STORE_ALLOWED}")
    if holds_control(value):
        raise refusal(f"text with control characters, {_STORE_ALLOWED}")
    sqlite = _SQLITE.fullmatch(value)
    if sqlite:
        # Not Path.resolve, which would follow links.
        return f"sqlite:///{os.path.abspath(_surroundings(info).folder / sqlite[1])}"  # noqa: PTH100
    if not _is_postgresql(value):
        raise refusal(f"something else, {_STORE_ALLOWED}")
    return value


_STORE_PATTERN = "^(sqlite:///|postgresql://[^/]*/).+$"

Store = Annotated[
    StorePlace,
    PlainValidator(_store),
    PlainSerializer(lambda place: place.url, when_used="json"),
    WithJsonSchema(
        {
            "type": ["string", "object"],
            "pattern": _STORE_PATTERN,
            "properties": {
                "url": {"type": "string", "pattern": _STORE_PATTERN},
                "password": {"type": ["string", "object"], "minLength": 1, "minProperties": 1},
            },
            "required": ["url"],
            "additionalProperties": False,
        }
    ),
]
"""The store's URL, or a mapping of it and a password."""


def _proxy(value: object, info: ValidationInfo) -> Secret | Literal["none"]:
    """A secret, since a password may be in it; whether it is the address of a proxy is seen when it is used."""
    if value == NO_PROXY:
        return NO_PROXY
    if isinstance(value, str | dict) and value:
        return _secret(value, info)
    raise refusal(f"{kind(value) if value != '' else 'empty text'}, {PROXY_ALLOWED}")


def _credential(value: object, info: ValidationInfo) -> "Credential":
    """A secret, or several under names of their own: ``basic: {username, password}``."""
    if isinstance(value, dict) and value and not set(_SECRET_KEYS) & set(value):
        return _SECRETS.validate_python(value, context=info.context)
    return _secret(value, info)


def _credentials(value: object, info: ValidationInfo) -> Mapping[str, "Credential"]:
    if not isinstance(value, dict):
        raise refusal(f"{kind(value)}, a mapping is allowed; without the key, the vendor's own default chain holds")
    return _CREDENTIALS.validate_python(value, context=info.context)


Credential: TypeAlias = Secret | Mapping[str, Secret]
"""A secret, or several that make one credential together."""

_SECRET_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        *(
            {
                "type": "object",
                "properties": {source: {"type": "string", "minLength": 1}, "optional": {"type": "boolean"}},
                "required": [source],
                "additionalProperties": False,
            }
            for source in _SOURCES
        ),
    ]
}
_CREDENTIAL_SCHEMA: dict[str, Any] = {
    "anyOf": [
        *_SECRET_SCHEMA["anyOf"],
        # With one of these keys it is a secret, not a mapping of secrets.
        {
            "type": "object",
            "additionalProperties": _SECRET_SCHEMA,
            "properties": dict.fromkeys(_SECRET_KEYS, False),
            "minProperties": 1,
        },
    ]
}

# No secret gets into what a model is turned into.
_HIDDEN = PlainSerializer(lambda _: None, when_used="json")

SecretValue = Annotated[Secret | None, PlainValidator(_secret), _HIDDEN, WithJsonSchema(_SECRET_SCHEMA)]
"""A secret; None only where the key is left out."""

Proxy = Annotated[Secret | Literal["none"] | None, PlainValidator(_proxy), _HIDDEN, WithJsonSchema(_SECRET_SCHEMA)]
"""The address of a proxy, or none to use none; None only where the key is left out."""

WebhookUrl = Annotated[Secret | None, PlainValidator(_webhook_url), _HIDDEN, WithJsonSchema(_SECRET_SCHEMA)]
"""Where events are sent; None only where the key is left out."""

SigningSecrets = Annotated[
    tuple[Secret, ...],
    PlainValidator(_signing_secrets),
    _HIDDEN,
    WithJsonSchema({"anyOf": [*_SECRET_SCHEMA["anyOf"], {"type": "array", "items": _SECRET_SCHEMA, "minItems": 1}]}),
]
"""Secrets to sign with, none where the key is left out."""

HeaderName = Annotated[str, AfterValidator(_header_name)]
"""Of a header that is sent along."""

HeaderValue = Annotated[Any, PlainValidator(_header_value), _HIDDEN, WithJsonSchema(_SECRET_SCHEMA)]
"""A secret; what is sent along may be one."""

_SIGNING_LIST: TypeAdapter[list[Secret]] = TypeAdapter(list[Annotated[Any, PlainValidator(_signing_secret)]])

_SECRETS: TypeAdapter[dict[str, Secret]] = TypeAdapter(dict[Given, Annotated[Any, PlainValidator(_secret)]])
_CREDENTIALS: TypeAdapter[dict[str, Credential]] = TypeAdapter(dict[Given, Annotated[Any, PlainValidator(_credential)]])

Credentials = Annotated[
    Mapping[str, Credential] | None,
    PlainValidator(_credentials),
    _HIDDEN,
    WithJsonSchema({"type": "object", "additionalProperties": _CREDENTIAL_SCHEMA}),
]
"""Secrets by the names a provider's kind gives them; None only where the key is left out."""


# --- logins --------------------------------------------------------------------------------------------------------


def _user(value: str) -> str:
    # A colon ends the name in the header of RFC 7617.
    if not _USER.fullmatch(value):
        raise refusal(f"{found(value)}, a user's name of 1 to 200 characters is allowed, without colon or controls")
    return value


def _bcrypt_hash(value: object) -> str:
    """A password's hash; never quoted, for it may be the password itself."""
    match = _BCRYPT.fullmatch(value) if isinstance(value, str) else None
    if not match or int(match[1]) < 4:
        what = "text that is none" if isinstance(value, str) else kind(value)
        raise refusal(f"{what}, a bcrypt hash ($2y$10$...) is allowed, as `htpasswd -nB USER` makes it")
    if int(match[1]) > MOST_BCRYPT_ROUNDS:
        raise refusal(f"a bcrypt hash of cost {match[1]}, at most {MOST_BCRYPT_ROUNDS} is allowed")
    return match[0]


User = Annotated[str, AfterValidator(_user)]
"""A name to log in with."""

BcryptHash = Annotated[str, PlainValidator(_bcrypt_hash), _HIDDEN]
"""What a password is checked against."""


# --- what is for others to read ------------------------------------------------------------------------------------


def _raw_mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise refusal(f"{kind(value)}, a mapping is allowed")
    return value


RawMapping = Annotated[Mapping[str, object] | None, PlainValidator(_raw_mapping), WithJsonSchema({"type": "object"})]
"""A mapping as it stands; None only where the key is left out."""
