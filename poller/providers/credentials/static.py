"""Credentials that are secrets themselves, from the config file or the environment, and the value that is valid now."""

from collections.abc import Callable, Sequence

from poller.providers.credentials.forms import Credentials
from poller.providers.credentials.source import Means, NoCredentialsError, Origin, Secret


class StaticSource:
    """Credentials made of secrets, made anew when one of them has changed. Implements `CredentialSource`."""

    def __init__(
        self, build: Callable[..., Credentials], required: Sequence[Secret], optional: Sequence[Secret] = ()
    ) -> None:
        self._build = build
        self._required = len(required)
        self._secrets = [*required, *optional]
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


def no_origin(name: str = "none") -> Origin:
    """Where no credentials come from."""

    def open_source(means: Means) -> NoCredentials:
        del means
        return NoCredentials()

    return Origin(name, open_source)
