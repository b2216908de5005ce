"""Checks of SDK-HMAC-SHA256, the signature of Huawei Cloud's API gateway, on the request as it came over the wire.

Source: Huawei Cloud, "API Gateway, Signing Guide: AK/SK signing and authentication".
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import unquote

from poller.simulator.canonical import (
    ALLOWED_SKEW,
    Authorization,
    canonical_request,
    encoded,
    parse_authorization,
    sha256,
    signature_matches,
    unsigned,
    well_ordered,
)
from poller.simulator.keys import SigningKey
from poller.simulator.wire import RawRequest, Refusal

ALGORITHM = "SDK-HMAC-SHA256"
_REQUIRED = ("host", "x-sdk-date")
_SIGNED_IF_SENT = (*_REQUIRED, "x-project-id", "x-security-token", "workspace", "content-type", "x-sdk-content-sha256")


def verify_sdk(raw: RawRequest, keys: Mapping[str, SigningKey], now: float) -> Refusal | None:
    """None if ``raw`` is signed by one of ``keys`` (by id) within 15 minutes of ``now`` (epoch seconds), or why not."""
    authorization = parse_authorization(raw.header("Authorization"), ALGORITHM, "Access")
    if authorization is None:
        return incorrect("the Authorization header is not of the form of " + ALGORITHM)
    key = keys.get(authorization.key_id)
    if key is None:
        return incorrect("Get secretKey failed, err: ak not exist")
    return (
        _completeness_fault(raw, authorization)
        or _date_fault(raw.folded["x-sdk-date"], now)
        or _token_fault(raw.header("x-security-token"), key)
        or _signature_fault(raw, authorization, key)
    )


def access_key_of(raw: RawRequest) -> str | None:
    """The access key that ``raw`` claims to be signed with; None if it claims none."""
    authorization = parse_authorization(raw.header("Authorization"), ALGORITHM, "Access")
    return authorization.key_id if authorization else None


def incorrect(why: str) -> Refusal:
    """The gateway's answer to any failed authentication."""
    return Refusal(401, "APIGW.0301", f"Incorrect IAM authentication information: {why}")


def _completeness_fault(raw: RawRequest, authorization: Authorization) -> Refusal | None:
    if missing := [name for name in _REQUIRED if not raw.header(name)]:
        return incorrect(f"headers missing: {', '.join(missing)}")
    if not well_ordered(authorization.signed_headers):
        return incorrect("SignedHeaders is not sorted and in lower case")
    if loose := unsigned(raw, authorization.signed_headers, _SIGNED_IF_SENT):
        return incorrect(f"headers not signed: {', '.join(loose)}")
    if not raw.body and raw.header("x-sdk-content-sha256") is not None:
        return incorrect("x-sdk-content-sha256 beside an empty body")
    return None


def _date_fault(date: str, now: float) -> Refusal | None:
    try:
        sent = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return incorrect("x-sdk-date is not of the form 20261121T120000Z")
    if abs(now - sent) > ALLOWED_SKEW:
        return incorrect("x-sdk-date expired: more than 15 minutes off")
    return None


def _token_fault(token: str | None, key: SigningKey) -> Refusal | None:
    return None if token == key.security_token else incorrect("x-security-token missing or not this key's")


def _signature_fault(raw: RawRequest, authorization: Authorization, key: SigningKey) -> Refusal | None:
    canonical = canonical_request(raw, _canonical_path(raw), authorization.signed_headers)
    string_to_sign = f"{ALGORITHM}\n{raw.folded['x-sdk-date']}\n{sha256(canonical.encode())}"
    if signature_matches(key.secret, string_to_sign, authorization.signature):
        return None
    return incorrect(f"verify aksk signature fail, signature expires or mismatches {string_to_sign!r}")


def _canonical_path(raw: RawRequest) -> str:
    # Decoded as a whole, then encoded by segment: an encoded slash ends up as a separator, as in the official signer.
    path = "/".join(encoded(segment) for segment in unquote(raw.path).split("/"))
    return path if path.endswith("/") else path + "/"
