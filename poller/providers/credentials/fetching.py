"""Credentials that are fetched, and fetched anew before they lapse.

Each fetch is one asyncio task of the source's own: whoever waits for it may be cancelled without harm to the others,
and it ends with the source. Polls ask at every turn, so what decides whether to fetch is here and looks at the clock
alone:

- without credentials that are valid now a fetch begins, and everybody waits for it;
- from ``ahead`` before they lapse, but never earlier than a quarter of their life before, a fetch begins and nobody
  waits: the old ones are used meanwhile;
- a fetch that fails is tried again after growing pauses, whoever asks; at once when it would ask with something else,
  a new password say;
- credentials that the provider refuses are fetched anew while they are valid, with growing pauses of their own; who
  told of the refusal waits.
"""

import asyncio
import math
from dataclasses import dataclass
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from poller.domain.backoff import backoff
from poller.domain.moments import rfc3339
from poller.protocols import Clock
from poller.providers.credentials.forms import Credentials
from poller.providers.credentials.source import NoCredentialsError
from poller.providers.transport import Transport

EARLIEST = 0.25
"""Share of their life before the end of which credentials are not renewed."""
SHORTEST_LIFE = 1.0
"""Seconds that credentials must be valid for to be worth having."""
FIRST_RETRY, LONGEST_RETRY = 1.0, 60.0
"""Seconds from the beginning of a fetch that fails to the next: doubled each time, from the first to the longest."""
FIRST_FORCED, LONGEST_FORCED = 10.0, 300.0
"""Seconds from one fetch on account of a refusal to the next, likewise; after a long quiet it begins anew."""


class NotFetchedError(Exception):
    """Credentials could not be fetched; its text says why, in words for the operator, and quotes no secret.

    ``refused``: what was asked with is wrong, and asking again will hardly help.
    """

    def __init__(self, text: str, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Fetched:
    """Credentials, and when they lapse (epoch seconds)."""

    credentials: Credentials
    expires_at: float


class Fetcher(Protocol):
    """Asks for credentials once."""

    @property
    def asks_with(self) -> tuple[str | None, ...]:
        """The changeable part of what it asks with now: another one may bring another answer."""
        ...

    async def fetch(self, transport: Transport, now: float) -> Fetched:
        """Credentials, asked for at ``now`` (epoch seconds); NotFetchedError when there are none to be had."""
        ...


@dataclass(frozen=True, slots=True)
class Habits:
    """How credentials of one kind are fetched: what people call their source, what to look after when there are none,
    how many seconds before they lapse to renew them, and how many to wait at least after a refusal.
    """

    name: str
    advice: str
    ahead: float
    after_refusal: float = 0.0


class FetchingSource:
    """Credentials from a server that gives them out for a while. Implements `CredentialSource`."""

    def __init__(
        self, fetcher: Fetcher, habits: Habits, transport: Transport, clock: Clock, logger: FilteringBoundLogger
    ) -> None:
        self.version = 0
        self._fetcher = fetcher
        self._habits = habits
        self._transport = transport
        self._clock = clock
        self._logger = logger.bind(source=habits.name)
        self._held: Fetched | None = None
        self._renew_at = 0.0
        self._problem = ""
        self._failures = 0
        self._retry_at = self._force_at = -math.inf
        self._forced = 0
        self._asked_with: tuple[str | None, ...] = ()
        self._fetching: asyncio.Task[None] | None = None

    def current(self) -> Credentials:
        """The credentials that are valid now; NoCredentialsError while there are none: why, and what to do."""
        if self._held is None or self._held.expires_at <= self._clock.now():
            problem = self._problem or "not fetched yet"
            raise NoCredentialsError(f"{self._habits.name}: {problem}; {self._habits.advice}")
        return self._held.credentials

    async def renew(self, refused: int | None = None) -> None:
        """Begins a fetch if one is due. Waits for one under way without valid credentials, or when they are refused."""
        self._drop_lapsed()
        is_refused = refused == self.version
        if self._fetching is None and self._is_due(is_refused):
            self._fetching = asyncio.create_task(self._fetch())
        if self._fetching is not None and (self._held is None or is_refused):
            # Not awaited itself: a caller that is cancelled would take the fetch along.
            await asyncio.wait([self._fetching])

    async def close(self) -> None:
        """Gives up a fetch under way and closes its sockets."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
        await self._transport.close()

    def _drop_lapsed(self) -> None:
        if self._held is not None and self._held.expires_at <= self._clock.now():
            self._held = None
            self.version += 1
            self._problem = self._problem or "what was fetched last has expired"

    def _is_due(self, is_refused: bool) -> bool:
        now = self._clock.monotonic()
        if now < self._retry_at and self._fetcher.asks_with == self._asked_with:
            return False
        return self._held is None or self._clock.now() >= self._renew_at or (is_refused and self._may_force(now))

    def _may_force(self, now: float) -> bool:
        """Whether a refusal is reason enough for a fetch now; if so, the next one has to wait for longer."""
        if now < self._force_at:
            return False
        self._forced = self._forced + 1 if now < self._force_at + LONGEST_FORCED else 0
        self._force_at = now + backoff(FIRST_FORCED, LONGEST_FORCED, 2.0, self._forced)
        return True

    async def _fetch(self) -> None:
        began, self._asked_with = self._clock.monotonic(), self._fetcher.asks_with
        self._retry_at = began + backoff(FIRST_RETRY, LONGEST_RETRY, 2.0, self._failures)
        try:
            self._take(await self._fetcher.fetch(self._transport, self._clock.now()))
        except NotFetchedError as error:
            self._retry_at = max(self._retry_at, began + self._habits.after_refusal * error.refused)
            self._fail(str(error))
        except Exception as error:
            # A fault of poller's own must end no poll.
            self._logger.exception("credentials.broken")
            self._fail(f"a fault in poller: {type(error).__name__}")
        finally:
            self._fetching = None

    def _take(self, fetched: Fetched) -> None:
        now = self._clock.now()
        life = fetched.expires_at - now
        if life < SHORTEST_LIFE:
            when = rfc3339(fetched.expires_at)
            raise NotFetchedError(f"what came expires at {when}, and it is {rfc3339(now)} by this machine's clock")
        if self._held is None or self._held.credentials != fetched.credentials:
            self.version += 1
        self._held = fetched
        self._renew_at = fetched.expires_at - min(self._habits.ahead, life * EARLIEST)
        self._recover()

    def _recover(self) -> None:
        if self._failures:
            self._logger.info("credentials.renewed", valid_until=self._valid_until)
        self._failures, self._problem, self._retry_at = 0, "", -math.inf

    def _fail(self, problem: str) -> None:
        self._failures += 1
        if problem != self._problem:
            self._logger.warning("credentials.not_renewed", message=problem, valid_until=self._valid_until)
        self._problem = problem

    @property
    def _valid_until(self) -> str | None:
        return None if self._held is None else rfc3339(self._held.expires_at)
