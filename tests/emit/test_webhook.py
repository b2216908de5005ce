"""One event posted: what is sent, and what the answer means."""

from collections.abc import Mapping

import pytest
from standardwebhooks import Webhook as Verifier

from poller.domain.delivery import Answer
from poller.emit.envelope import event
from poller.emit.webhook import NotPostedError, Posted, Webhook, judged
from tests.emit.test_envelope import MOVED, SECRET, now


class Wall:
    """A clock that stands."""

    def now(self) -> float:
        return now() + 0.9

    def monotonic(self) -> float:
        return 0.0


class Receiver:
    """Remembers what was posted, and answers or not."""

    def __init__(self, answer: Posted | Exception) -> None:
        self._answer = answer
        self.headers: Mapping[str, str] = {}
        self.body = b""

    async def post(self, headers: Mapping[str, str], body: bytes) -> Posted:
        self.headers, self.body = headers, body
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


async def test_an_event_is_posted_with_its_id_signed_and_with_the_headers_of_the_config() -> None:
    """The id is the transition's, so that a repeat is known; own headers cannot be overridden."""
    receiver = Receiver(Posted(204))
    own = {"X-Team": "ads", "webhook-id": "forged"}
    sink = Webhook(receiver.post, Wall(), 4, lambda: [SECRET], lambda: own)
    assert await sink.deliver([MOVED]) == Answer()
    assert receiver.body == event(MOVED)
    assert receiver.headers["Content-Type"] == "application/cloudevents+json"
    assert receiver.headers["webhook-id"] == MOVED.transition_id
    assert receiver.headers["X-Team"] == "ads"
    Verifier(SECRET).verify(receiver.body, dict(receiver.headers))


async def test_without_a_secret_nothing_is_signed() -> None:
    """Id and time are there nonetheless."""
    receiver = Receiver(Posted(200))
    await Webhook(receiver.post, Wall(), 4).deliver([MOVED])
    assert {"webhook-id", "webhook-timestamp"} <= receiver.headers.keys()
    assert "webhook-signature" not in receiver.headers


@pytest.mark.parametrize("error", [NotPostedError("no answer within 10 s"), ValueError("no answer within 10 s")])
async def test_no_answer_is_a_failure_that_says_why(error: Exception) -> None:
    """It never raises."""
    assert await Webhook(Receiver(error).post, Wall(), 4).deliver([MOVED]) == Answer("no answer within 10 s")


async def test_a_secret_that_is_no_longer_one_is_a_failure() -> None:
    """Its file may have been changed to anything."""
    answer = await Webhook(Receiver(Posted(200)).post, Wall(), 4, lambda: ["whsec_h@nter2"]).deliver([MOVED])
    assert answer.error == "the secret is not base64 behind whsec_"


@pytest.mark.parametrize(
    ("posted", "answer"),
    [
        (Posted(200), Answer()),
        (Posted(202), Answer()),
        (Posted(299, 5.0), Answer()),
        (Posted(199), Answer("HTTP 199")),
        (Posted(400), Answer("HTTP 400 Bad Request")),
        (Posted(410), Answer("HTTP 410 Gone", final=True)),
        (Posted(429, 7.0), Answer("HTTP 429 Too Many Requests", 7.0, whole=True)),
        (Posted(429), Answer("HTTP 429 Too Many Requests")),
        (Posted(503, 7.0), Answer("HTTP 503 Service Unavailable", 7.0, whole=True)),
        (Posted(500, 7.0), Answer("HTTP 500 Internal Server Error", 7.0)),
        (Posted(599), Answer("HTTP 599")),
    ],
)
def test_only_2xx_is_a_success(posted: Posted, answer: Answer) -> None:
    """A busy receiver is left alone altogether, for as long as it says; one that is gone is not tried again."""
    assert judged(posted) == answer


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_a_failure_that_says_what_to_do(status: int) -> None:
    """It is not followed: what is sent is signed, and for one address."""
    answer = judged(Posted(status))
    assert answer.error is not None
    assert "redirect" in answer.error
    assert "url" in answer.error
