"""The steps that both signature schemes share. Written from the vendors' documents alone: a second opinion."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from poller.simulator.wire import RawRequest

_FIELD = re.compile(r"(\w+)=([^,\s]*)")

ALLOWED_SKEW = 15 * 60.0
"""Seconds that a request's date may be off, for both vendors."""


@dataclass(frozen=True, slots=True)
class Authorization:
    """A signed request's Authorization header, taken apart."""

    key_id: str
    signed_headers: tuple[str, ...]
    signature: str


def parse_authorization(value: str | None, algorithm: str, key_field: str) -> Authorization | None:
    """Takes ``ALGORITHM Key=…,SignedHeaders=…,Signature=…`` apart; None if it is not that. Blanks may follow commas."""
    scheme, _, rest = (value or "").partition(" ")
    fields = dict(_FIELD.findall(rest))
    if scheme != algorithm or not {key_field, "SignedHeaders", "Signature"} <= fields.keys():
        return None
    return Authorization(fields[key_field], tuple(fields["SignedHeaders"].split(";")), fields["Signature"])


def encoded(text: str) -> str:
    """``text`` percent-encoded but for RFC 3986's unreserved characters."""
    return quote(text, safe="~")


def canonical_query(raw: RawRequest) -> str:
    """The query sorted by decoded name, then value; ``k=`` where the value is empty."""
    return "&".join(f"{encoded(name)}={encoded(value)}" for name, value in sorted(raw.query))


def canonical_request(raw: RawRequest, path: str, signed_headers: Sequence[str]) -> str:
    """Method, path, query, headers, header names and the body's hash, one below the other."""
    headers = "".join(f"{name}:{raw.folded.get(name, '')}\n" for name in signed_headers)
    lines = (raw.method, path, canonical_query(raw), headers, ";".join(signed_headers), sha256(raw.body))
    return "\n".join(lines)


def unsigned(raw: RawRequest, signed_headers: Iterable[str], required: Iterable[str]) -> list[str]:
    """The headers of ``required`` that were sent, but are not covered by the signature."""
    covered = set(signed_headers)
    return sorted(name for name in required if name in raw.folded and name not in covered)


def well_ordered(signed_headers: Sequence[str]) -> bool:
    """Whether the names are in lower case, sorted, and each there once."""
    return list(signed_headers) == sorted({name.lower() for name in signed_headers})


def sha256(data: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(data).hexdigest()


def signature_matches(secret: str, string_to_sign: str, signature: str) -> bool:
    """Whether ``signature`` is the hex HMAC-SHA256 of ``string_to_sign``."""
    expected = hmac.new(secret.encode(), string_to_sign.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode())
