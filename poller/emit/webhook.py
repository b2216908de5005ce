"""A sink that is told by HTTP: each event is a POST of its own, signed after Standard Webhooks."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from poller.domain.delivery import Answer
from poller.domain.events import Transition
from poller.emit.envelope import CONTENT_TYPE, TRANSITION, event, signature
from poller.protocols import Clock


class NotPostedError(Exception):
    """No answer came; its text says why, without any secret."""


@dataclass(frozen=True, slots=True)
class Posted:
    """The status that a receiver answered with, and for how many seconds it wants to be left alone, if it says so."""

    status: int
    retry_after: float | None = None


Post = Callable[[Mapping[str, str], bytes], Awaitable[Posted]]
"""Sends headers and body to the receiver, once, and follows no redirect. NotPostedError."""


class Webhook:
    """Implements `poller.protocols.Sink`. ``secrets`` gives what is signed with now, ``headers`` what is sent along.

    ``kind`` is the type of the events.
    """

    batch = 1

    def __init__(
        self,
        post: Post,
        clock: Clock,
        parallel: int,
        secrets: Callable[[], Sequence[str]] = tuple,
        headers: Callable[[], Mapping[str, str]] = dict,
        kind: str = TRANSITION,
    ) -> None:
        self.parallel = parallel
        self._post = post
        self._clock = clock
        self._secrets = secrets
        self._headers = headers
        self._kind = kind

    async def deliver(self, transitions: Sequence[Transition]) -> Answer:
        """Posts the one transition."""
        (transition,) = transitions
        body = event(transition, self._kind)
        try:
            posted = await self._post(self._signed(transition.transition_id, body), body)
        except (NotPostedError, ValueError) as error:
            return Answer(str(error))
        return judged(posted)

    def _signed(self, event_id: str, body: bytes) -> Mapping[str, str]:
        timestamp, secrets = int(self._clock.now()), self._secrets()
        signed = {"webhook-signature": signature(event_id, timestamp, body, secrets)} if secrets else {}
        own = {"Content-Type": CONTENT_TYPE, "webhook-id": event_id, "webhook-timestamp": str(timestamp)}
        return {**self._headers(), **own, **signed}


def judged(posted: Posted) -> Answer:
    """What the answer of a receiver means. Only 2xx is a success; 410 says that no other attempt will be."""
    status = posted.status
    if 200 <= status < 300:
        return Answer()
    busy = status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE} and posted.retry_after is not None
    return Answer(_words(status), posted.retry_after, whole=busy, final=status == HTTPStatus.GONE)


def _words(status: int) -> str:
    known = f"HTTP {status}"
    if 300 <= status < 400:
        return f"{known}: a redirect, which is not followed: let url name the place that it leads to"
    try:
        return f"{known} {HTTPStatus(status).phrase}"
    except ValueError:
        return known
