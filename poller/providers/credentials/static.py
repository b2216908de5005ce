"""Credentials written in the config file: which forms each signer takes, and the value that is valid now."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from poller.providers.credentials.forms import AccessKey, AuthToken, Basic, Bearer, Credentials, HeaderCredential


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


class StaticSource:
    """Credentials made of secrets, made anew when one of them has changed."""

    def __init__(self, form: Form, secrets: Mapping[str, Secret]) -> None:
        self._build = form.build
        self._required = len(form.keys)
        self._secrets = [secrets[key] for key in (*form.keys, *form.optional) if key in secrets]
        self._values: list[str | None] = []
        self._credentials: Credentials = None
        self.version = 0

    def current(self) -> Credentials:
        """The credentials as they are now.

        A value that cannot be sent (half-written, say) leaves the last good ones in force; ValueError while there are
        none.
        """
        values = [secret.reveal() for secret in self._secrets]
        if values != self._values:
            self._renew(values)
            self._values = values
        return self._credentials

    def _renew(self, values: list[str | None]) -> None:
        try:
            if None in values[: self._required]:
                raise ValueError("a part that is needed is absent")
            self._credentials = self._build(*values)
        except ValueError:
            if self._credentials is None:
                raise
            return
        self.version += 1


class NoCredentials:
    """For an API that asks for none."""

    version = 0

    def current(self) -> Credentials:
        """Nothing."""
        return None
