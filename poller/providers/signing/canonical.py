"""The steps that ACS3-HMAC-SHA256 and SDK-HMAC-SHA256 share, both being children of AWS Signature Version 4."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from hmac import HMAC

from poller.providers.request import Request, encode_query

_NO_OFFSET = timedelta(0)
_EMPTY_SHA256 = sha256(b"").hexdigest()


def canonical_request(request: Request, path: str, headers: Mapping[str, str]) -> str:
    """Puts together what is signed.

    `path` is the canonical path of the scheme; `headers` are those that are signed, by lower-case name, in order.
    """
    # Both official signers sort the decoded names (then values), not what they encode to.
    query = encode_query(sorted(request.query)) if request.query else ""
    lines = "".join([f"{name}:{value}\n" for name, value in headers.items()])
    return f"{request.method}\n{path}\n{query}\n{lines}\n{';'.join(headers)}\n{sha256_hex(request.body)}"


def all_headers(request: Request, added: Mapping[str, str]) -> dict[str, str]:
    """Gives the headers as a signature sees them, the host among them: lower-case names, trimmed values.

    `added` are those that go out on top of the request's own, and instead of any of the same name.
    """
    headers = {_lower(name): value.strip(" ") for name, value in (*request.headers.items(), *added.items())}
    headers["host"] = request.host
    return headers


# Cached, because all requests have the same few.
_lower = lru_cache(maxsize=1024)(str.lower)


def sha256_hex(content: bytes) -> str:
    """Hashes a body; nearly every one is empty, so that hash is kept."""
    return sha256(content).hexdigest() if content else _EMPTY_SHA256


def hmac_sha256_hex(secret: str, text: str) -> str:
    """Signs `text` with the secret itself: neither scheme derives a key from it."""
    keyed = _keyed(secret).copy()
    keyed.update(text.encode())
    return keyed.hexdigest()


# Cached, because OpenSSL takes longer to begin with a key than to sign.
@lru_cache(maxsize=64)
def _keyed(secret: str) -> HMAC:
    return HMAC(secret.encode(), digestmod=sha256)


def check_utc(now: datetime) -> None:
    """Refuses with `ValueError` a time that would be signed as another: both schemes write UTC without asking."""
    if now.tzinfo is not UTC and now.utcoffset() != _NO_OFFSET:
        raise ValueError(f"{now.isoformat()}: signing needs an aware time in UTC")
