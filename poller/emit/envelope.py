"""What goes to other systems: a transition as an event of CloudEvents 1.0, and its signature after Standard Webhooks.

Pure. https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import orjson

from poller.domain.events import Transition
from poller.domain.moments import rfc3339

CONTENT_TYPE = "application/cloudevents+json"
TRANSITION = "poller.task.transition"
"""The type of events that tell a transition."""
SAMPLE = "poller.sink.test"
"""The type of the event that `poller sinks test` sends."""
BEGINNING = b'{"specversion":"1.0","id":"'
"""What every event begins with."""


def event(transition: Transition, kind: str = TRANSITION) -> bytes:
    """``transition`` as an event, JSON on one line: the same bytes however often it is told, and by whomever.

    Its ``source`` is the provider: ``/poller/NAME``.
    """
    told: dict[str, Any] = {
        "specversion": "1.0",
        "id": transition.transition_id,
        "source": f"/poller/{quote(transition.provider, safe='', errors='replace')}",
        "type": kind,
        "subject": transition.task,
        "time": rfc3339(transition.at),
        "datacontenttype": "application/json",
        "data": transition.facts,
    }
    return orjson.dumps({key: value for key, value in told.items() if value is not None})


def signature(event_id: str, timestamp: int, body: bytes, secrets: Iterable[str]) -> str:
    """The ``webhook-signature`` header: one signature for each of ``secrets``, so that they can be rotated.

    A secret is ``whsec_`` and base64; ValueError, which does not quote it, for one that is not.
    """
    signed = b"%s.%d.%s" % (event_id.encode(), timestamp, body)
    digests = (hmac.digest(_key(secret), signed, hashlib.sha256) for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the secret is not base64 behind whsec_") from None
