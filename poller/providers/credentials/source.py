"""Where a connection's credentials come from."""

from typing import Protocol

from poller.providers.credentials.forms import Credentials


class NoCredentialsError(ValueError):
    """There are no credentials to be used now; its text says why, in words for the operator, and quotes no secret."""


class CredentialSource(Protocol):
    """Where a connection's credentials come from."""

    def current(self) -> Credentials:
        """The credentials to sign with now; NoCredentialsError while there are none."""
        ...

    @property
    def version(self) -> int:
        """Changes when the credentials do."""
        ...

    async def renew(self, refused: int | None = None) -> None:
        """Sees to it that the credentials are good to be used now; waits only if there are none to be used meanwhile.

        Asked before each poll, so it costs nothing as a rule. ``refused`` is the version of credentials that the
        provider refuses: if they are still the current ones, others are looked for. Never raises: what went wrong is
        told by `current`.
        """
        ...

    async def close(self) -> None:
        """Lets go of what it fetches them with."""
        ...
