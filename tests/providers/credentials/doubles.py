"""What sources of credentials are tested with: secrets that change, a wire by script, a clock, a log."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import structlog
from structlog.testing import LogCapture
from structlog.typing import FilteringBoundLogger

from poller.providers.credentials.source import CredentialSource, Means, Origin
from poller.providers.request import Reply, Request
from poller.providers.transport import NotBroughtError

START = 1_800_000_000.0
"""Epoch seconds at which the loop's clock stands at 0; 2027-01-15T08:00:00Z."""

Answer = Reply | NotBroughtError | Callable[[], Awaitable[Reply]]


@dataclass
class Changing:
    """A secret that the test changes."""

    value: str | None

    def reveal(self) -> str | None:
        """The value now."""
        return self.value


class LoopTime:
    """A wall clock that goes with the loop's virtual time."""

    def now(self) -> float:
        """Epoch seconds."""
        return START + self.monotonic()

    def monotonic(self) -> float:
        """The loop's time."""
        return asyncio.get_running_loop().time()


@dataclass
class Script:
    """A transport that answers by script, in the end with the last answer again and again."""

    answers: list[Answer]
    requests: list[Request] = field(default_factory=list)
    closed: bool = False

    async def exchange(self, request: Request) -> Reply:
        """The next answer."""
        self.requests.append(request)
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        if isinstance(answer, NotBroughtError):
            raise answer
        return answer if isinstance(answer, Reply) else await answer()

    async def close(self) -> None:
        """Remembers it."""
        self.closed = True


def reply(body: str | bytes = b"", status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """An answer."""
    return Reply(status, headers or {}, body.encode() if isinstance(body, str) else body)


def captured() -> tuple[FilteringBoundLogger, LogCapture]:
    """A logger, and what it logged."""
    logs = LogCapture()
    return structlog.wrap_logger(None, processors=[logs], wrapper_class=structlog.make_filtering_bound_logger(0)), logs


def opened(origin: Origin, script: Script | None = None) -> CredentialSource:
    """The source of a connection."""
    return origin.open(Means(LoopTime(), captured()[0], lambda: script or Script([])))
