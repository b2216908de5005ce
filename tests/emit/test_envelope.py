"""Events as other systems read them: CloudEvents 1.0, signed after Standard Webhooks."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from poller.domain.events import Transition
from poller.domain.state import State
from poller.emit.envelope import BEGINNING, SAMPLE, event, signature

T0 = 1_795_000_000.25
MOVED = Transition(
    transition_id="e4127780ef5c0d07b3878f466b8769ac",
    ordinal=2,
    task="ads/ctr-model",
    provider="a b/ü",
    operation="function-task",
    source=State.RUNNING,
    target=State.SUCCEEDED,
    at=T0,
    run=1,
    progress=100.0,
    started_at=T0 - 12,
    duration=12.0,
    labels={"team": "ads"},
)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def told(transition: Transition = MOVED, *kind: str) -> dict[str, Any]:
    text: dict[str, Any] = json.loads(event(transition, *kind))
    return text


def test_an_event_has_every_attribute_that_cloudevents_requires_and_what_the_log_says_as_its_data() -> None:
    """Id and source tell it from all others, the subject is the task, the time is the transition's."""
    assert told() == {
        "specversion": "1.0",
        "id": "e4127780ef5c0d07b3878f466b8769ac",
        "source": "/poller/a%20b%2F%C3%BC",
        "type": "poller.task.transition",
        "subject": "ads/ctr-model",
        "time": "2026-11-18T11:06:40.250Z",
        "datacontenttype": "application/json",
        "data": MOVED.facts,
    }
    assert told(MOVED, SAMPLE)["type"] == "poller.sink.test"


def test_an_event_is_one_line_that_begins_as_all_do() -> None:
    """A file of them can be told from another file, and is read line by line."""
    assert event(MOVED).startswith(BEGINNING)
    assert b"\n" not in event(MOVED)


def test_a_time_that_no_calendar_holds_is_left_out() -> None:
    """CloudEvents knows no null."""
    strange = Transition("x", 1, "a", "p", "o", State.RUNNING, State.FAILED, 1e300, 1)
    assert "time" not in told(strange)


def now() -> int:
    return int(datetime.now(UTC).timestamp())


def headers(body: bytes, *secrets: str, event_id: str = "msg_1") -> dict[str, str]:
    timestamp = now()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(event_id, timestamp, body, secrets),
    }


@given(key=st.binary(min_size=24, max_size=64), text=st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_signed_the_official_library_verifies(key: bytes, text: str) -> None:
    """With the same secret, whatever the text."""
    secret = f"whsec_{base64.b64encode(key).decode()}"
    body = json.dumps({"text": text}).encode()
    assert Webhook(secret).verify(body, headers(body, secret)) == {"text": text}


def test_each_of_several_secrets_verifies() -> None:
    """While a secret is rotated, the old and the new one."""
    other = f"whsec_{base64.b64encode(b'k' * 32).decode()}"
    body = event(MOVED)
    signed = headers(body, SECRET, other)
    for secret in (SECRET, other):
        Webhook(secret).verify(body, signed)


def test_another_secret_body_or_id_does_not_verify() -> None:
    """Nothing can be put in another's place."""
    body = event(MOVED)
    signed = headers(body, SECRET)
    for secret, text, found in (
        (f"whsec_{base64.b64encode(b'k' * 32).decode()}", body, signed),
        (SECRET, body + b" ", signed),
        (SECRET, body, {**signed, "webhook-id": "msg_2"}),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(text, found)


def test_the_example_of_the_standard() -> None:
    """As in the specification's own test vector."""
    body = b'{"test": 2432232314}'
    found = signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body, [SECRET])
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_that_is_none_is_not_quoted() -> None:
    """A secret file may be changed to anything."""
    with pytest.raises(ValueError, match="the secret is not base64") as error:
        signature("a", 1, b"", ["whsec_h@nter2"])
    assert "nter2" not in str(error.value)
