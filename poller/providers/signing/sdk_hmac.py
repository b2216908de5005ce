"""SDK-HMAC-SHA256, the signature of Huawei Cloud's API gateway, and the IAM token it accepts instead.

Source: "AK/SK signing and authentication" in Huawei Cloud's API signing guide, and the official Python SDK where that
is silent.
"""

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote, unquote

from poller.providers.credentials.forms import AccessKey, AuthToken, Credentials
from poller.providers.request import Request
from poller.providers.signing import canonical

_ALGORITHM = "SDK-HMAC-SHA256"
# In the order in which they are signed.
_SIGNED = ("content-type", "host", "workspace", "x-project-id", "x-sdk-date", "x-security-token")


def sign(request: Request, credentials: Credentials, now: datetime, _nonce: str) -> dict[str, str]:
    """Gives the headers that authenticate `request`: a signature for an access key, else the token itself.

    This scheme knows no nonce. `TypeError` for any other credentials, `ValueError` for a time not in UTC.
    """
    if isinstance(credentials, AuthToken):
        return {"X-Auth-Token": credentials.token}
    if isinstance(credentials, AccessKey):
        return _sign_with_key(request, credentials, now)
    raise TypeError(f"{_ALGORITHM} signs with an access key or sends a token, not {type(credentials).__name__}")


def signed_headers(request: Request, added: Mapping[str, str]) -> dict[str, str]:
    """Selects the headers that are signed, in order; `added` are the signer's own."""
    headers = canonical.all_headers(request, added)
    return {name: headers[name] for name in _SIGNED if name in headers}


def canonical_request(request: Request, headers: Mapping[str, str]) -> str:
    """Puts together what is signed of `request`."""
    return canonical.canonical_request(request, canonical_path(request.path), headers)


def canonical_path(path: str) -> str:
    """Decodes once, encodes by segment, ends in `/`. An encoded slash is signed as a slash, officially too."""
    encoded = quote(unquote(path), safe="/~")
    return encoded if encoded.endswith("/") else f"{encoded}/"


def string_to_sign(canonical_text: str, timestamp: str) -> str:
    """Gives the text that the HMAC is made of; `timestamp` is the value of `X-Sdk-Date`."""
    return f"{_ALGORITHM}\n{timestamp}\n{canonical.sha256_hex(canonical_text.encode())}"


def _sign_with_key(request: Request, key: AccessKey, now: datetime) -> dict[str, str]:
    added = _unsigned_headers(key, now)
    headers = signed_headers(request, added)
    text = string_to_sign(canonical_request(request, headers), added["X-Sdk-Date"])
    added["Authorization"] = (
        f"{_ALGORITHM} Access={key.id}, SignedHeaders={';'.join(headers)}, "
        f"Signature={canonical.hmac_sha256_hex(key.secret, text)}"
    )
    return added


def _unsigned_headers(key: AccessKey, now: datetime) -> dict[str, str]:
    canonical.check_utc(now)
    headers = {"X-Sdk-Date": f"{now:%Y%m%dT%H%M%SZ}"}
    if key.token is not None:
        headers["X-Security-Token"] = key.token
    return headers
