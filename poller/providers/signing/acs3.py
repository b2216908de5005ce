"""ACS3-HMAC-SHA256, the V3 signature of Alibaba Cloud's OpenAPI.

Source: "V3 request structure and signature" of Alibaba Cloud, and the official Python SDK where that is silent.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

from poller.providers.credentials.forms import AccessKey, Credentials
from poller.providers.request import Request, check_header
from poller.providers.signing import canonical

_ALGORITHM = "ACS3-HMAC-SHA256"
_SIGNED = ("content-type", "host")


def sign(request: Request, credentials: Credentials, now: datetime, nonce: str) -> dict[str, str]:
    """Gives the headers that authenticate `request`.

    `nonce` must be new for every attempt. `TypeError` for anything but an access key, `ValueError` for a time not in
    UTC and for a nonce with line breaks.
    """
    if not isinstance(credentials, AccessKey):
        raise TypeError(f"{_ALGORITHM} signs with an access key, not with {type(credentials).__name__}")
    added = _unsigned_headers(request, credentials, now, nonce)
    headers = signed_headers(request, added)
    text = string_to_sign(canonical_request(request, headers))
    added["Authorization"] = (
        f"{_ALGORITHM} Credential={credentials.id},SignedHeaders={';'.join(headers)},"
        f"Signature={canonical.hmac_sha256_hex(credentials.secret, text)}"
    )
    return added


def signed_headers(request: Request, added: Mapping[str, str]) -> dict[str, str]:
    """Selects the headers that are signed, in order: the host, the content type if sent, and every `x-acs-*`."""
    headers = canonical.all_headers(request, added)
    return {name: headers[name] for name in _selected(tuple(headers))}


@lru_cache(maxsize=256)
def _selected(names: tuple[str, ...]) -> tuple[str, ...]:
    # Cached, because all requests of an operation have the same headers.
    return tuple(name for name in sorted(names) if name.startswith("x-acs-") or name in _SIGNED)


def canonical_request(request: Request, headers: Mapping[str, str]) -> str:
    """Puts together what is signed of `request`: its path as it is sent, each segment encoded once."""
    return canonical.canonical_request(request, request.path, headers)


def string_to_sign(canonical_text: str) -> str:
    """Gives the text that the HMAC is made of."""
    return f"{_ALGORITHM}\n{canonical.sha256_hex(canonical_text.encode())}"


def _unsigned_headers(request: Request, key: AccessKey, now: datetime, nonce: str) -> dict[str, str]:
    canonical.check_utc(now)
    check_header("x-acs-signature-nonce", nonce)
    headers = {
        # Of the same form as strftime's, in a third of the time.
        "x-acs-date": now.isoformat(timespec="seconds")[:19] + "Z",
        "x-acs-signature-nonce": nonce,
        "x-acs-content-sha256": canonical.sha256_hex(request.body),
    }
    if key.token is not None:
        headers["x-acs-security-token"] = key.token
    return headers
