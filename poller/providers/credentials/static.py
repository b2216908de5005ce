"""Credentials written in the config file: which forms each signer takes, and the value that is valid now."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from poller.providers.credentials.forms import AccessKey, AuthToken, Basic, Bearer, Credentials, HeaderCredential
from poller.providers.credentials.source import NoCredentialsError


class Secret(Protocol):
    """A value that may change under a running daemon."""

    def reveal(self) -> str | None:
        """The value now; None for an optional one that is absent."""
        ...


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write credentials: its keys (dotted where nested), and what is made of them."""

    keys: tuple[str, ...]
    build: Callable[..., Credentials]
    optional: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The form for people: ``access_key + secret_key (+ security_token)``."""
        optional = "".join(f" (+ {key})" for key in self.optional)
        return " + ".join(self.keys) + optional


FORMS: Mapping[str, tuple[Form, ...]] = {
    "acs3-hmac-sha256": (Form(("access_key_id", "access_key_secret"), AccessKey, ("security_token",)),),
    "sdk-hmac-sha256": (
        Form(("access_key", "secret_key"), AccessKey, ("security_token",)),
        Form(("token",), AuthToken),
    ),
    "plain": (
        Form(("bearer",), Bearer),
        Form(("basic.username", "basic.password"), Basic),
        Form(("header.name", "header.value"), HeaderCredential),
        Form(("token",), AuthToken),
    ),
}
"""The forms that each signer takes."""


def form_for(signer: str, keys: set[str]) -> Form | None:
    """The form that ``keys`` are written in; None when they fit none."""
    return next((f for f in FORMS[signer] if set(f.keys) <= keys <= {*f.keys, *f.optional}), None)


def allowed_forms(signer: str) -> tuple[str, ...]:
    """The forms that a signer takes, each for people."""
    return tuple(form.text for form in FORMS[signer])


class StaticSource:
    """Credentials made of secrets, made anew when one of them has changed. Implements `CredentialSource`."""

    def __init__(self, form: Form, secrets: Mapping[str, Secret]) -> None:
        self._build = form.build
        self._required = len(form.keys)
        self._secrets = [secrets[key] for key in (*form.keys, *form.optional) if key in secrets]
        self._values: list[str | None] = []
        self._credentials: Credentials = None
        self._problem = ""
        self.version = 0
        self.look()

    def current(self) -> Credentials:
        """The credentials as they were when last looked at; NoCredentialsError while none could be made."""
        if self._credentials is None:
            raise NoCredentialsError(self._problem)
        return self._credentials

    async def renew(self, refused: int | None = None) -> None:
        """Looks at the secrets again.

        A value that cannot be sent (half-written, say) leaves the last good ones in force.
        """
        del refused
        self.look()

    async def close(self) -> None:
        """Nothing is held."""

    def look(self) -> None:
        """Makes the credentials anew if a secret has changed."""
        values = [secret.reveal() for secret in self._secrets]
        if values == self._values:
            return
        self._values = values
        try:
            if None in values[: self._required]:
                raise ValueError("a part that is needed is absent")
            self._credentials = self._build(*values)
        except ValueError as error:
            self._problem = str(error)
            return
        self.version += 1


class NoCredentials:
    """For an API that asks for none."""

    version = 0

    def current(self) -> Credentials:
        """Nothing."""
        return None

    async def renew(self, refused: int | None = None) -> None:
        """There is nothing to be renewed."""

    async def close(self) -> None:
        """Nothing is held."""
