"""The forms credentials take, as values that never show a secret.

Their constructors strip the line break an editor leaves at the end of a secret file, and refuse with `ValueError`,
without quoting it, what could not be sent.
"""

from base64 import b64encode
from dataclasses import dataclass, field
from typing import TypeAlias

from poller.providers.request import check_header, holds_unsendable


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key that signs requests, with the session token that comes along with a temporary one."""

    id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    """Absent when empty: environment variables often are set but empty."""

    def __post_init__(self) -> None:
        _settle(self, "id", _required(self.id, "access key id"))
        _settle(self, "secret", _required(self.secret, "access key secret"))
        _settle(self, "token", _clean(self.token or "", "security token") or None)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must appear nowhere but in a request."""
        return (self.secret,) if self.token is None else (self.secret, self.token)


@dataclass(frozen=True, slots=True)
class AuthToken:
    """An IAM token, sent as `X-Auth-Token`."""

    token: str = field(repr=False)

    def __post_init__(self) -> None:
        _settle(self, "token", _required(self.token, "token"))

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must appear nowhere but in a request."""
        return (self.token,)


@dataclass(frozen=True, slots=True)
class Bearer:
    """A bearer token (RFC 6750)."""

    token: str = field(repr=False)

    def __post_init__(self) -> None:
        _settle(self, "token", _required(self.token, "bearer token"))

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must appear nowhere but in a request."""
        return (self.token,)


@dataclass(frozen=True, slots=True)
class Basic:
    """A user name and password (RFC 7617). Either may be empty: some APIs take a key in place of one."""

    username: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        _settle(self, "username", _clean(self.username, "user name"))
        _settle(self, "password", _clean(self.password, "password"))
        if ":" in self.username:
            raise ValueError("user name: a colon would end it (RFC 7617)")

    @property
    def encoded(self) -> str:
        """Both as they are sent, in UTF-8."""
        return b64encode(f"{self.username}:{self.password}".encode()).decode("ascii")

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must appear nowhere but in a request: the encoded form gives the password away as well."""
        return (self.password, self.encoded) if self.password else (self.encoded,)


@dataclass(frozen=True, slots=True)
class HeaderCredential:
    """A secret sent in a header of the provider's own choosing."""

    name: str
    value: str = field(repr=False)

    def __post_init__(self) -> None:
        _settle(self, "name", _required(self.name, "header name"))
        _settle(self, "value", _required(self.value, f"header {self.name}"))
        check_header(self.name, self.value)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must appear nowhere but in a request."""
        return (self.value,)


Credentials: TypeAlias = AccessKey | AuthToken | Bearer | Basic | HeaderCredential | None
"""`None` is an API that asks for nothing."""


def _settle(form: object, name: str, value: str | None) -> None:
    """Sets a field of a frozen form, as only its constructor may."""
    object.__setattr__(form, name, value)


def _required(text: str, what: str) -> str:
    cleaned = _clean(text, what)
    if not cleaned:
        raise ValueError(f"{what}: it is empty")
    return cleaned


def _clean(text: str, what: str) -> str:
    stripped = text.strip(" \t\r\n")
    if holds_unsendable(stripped):
        raise ValueError(f"{what}: it holds a line break or another control character inside")
    return stripped
