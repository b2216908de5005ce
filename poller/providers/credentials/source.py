"""Where a connection's credentials come from: before there is a connection, and while it lives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from poller.protocols import Clock
from poller.providers.credentials.forms import Credentials
from poller.providers.transport import Transport


class NoCredentialsError(ValueError):
    """There are no credentials to be used now; its text says why, in words for the operator, and quotes no secret."""


class Secret(Protocol):
    """A value that may change under a running daemon."""

    def reveal(self) -> str | None:
        """The value now; None for an optional one that is absent."""
        ...


class CredentialSource(Protocol):
    """Where a connection's credentials come from."""

    def current(self) -> Credentials:
        """The credentials to sign with now; NoCredentialsError while there are none."""
        ...

    @property
    def version(self) -> int:
        """Changes when the credentials do, and when they lapse."""
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


@dataclass(frozen=True, slots=True)
class Means:
    """What a connection lends to the source of its credentials. ``transport`` makes one that goes the polls' own way,
    through the same proxy; what must not go through any makes its own.
    """

    clock: Clock
    logger: FilteringBoundLogger
    transport: Callable[[], Transport]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the credentials of a connection to be made will come from: in words for people, and the source itself."""

    name: str
    open: Callable[[Means], CredentialSource]
