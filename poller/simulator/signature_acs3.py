"""Checks of ACS3-HMAC-SHA256, the signature of Alibaba Cloud's gateway, on the request as it came over the wire.

Source: Alibaba Cloud, "V3 request structure and signature".
"""

from collections.abc import Mapping
from datetime import UTC, datetime

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

ALGORITHM = "ACS3-HMAC-SHA256"
_REQUIRED = (
    "host",
    "x-acs-action",
    "x-acs-version",
    "x-acs-date",
    "x-acs-signature-nonce",
    "x-acs-content-sha256",
)


def verify_acs3(raw: RawRequest, keys: Mapping[str, SigningKey], now: float) -> Refusal | None:
    """None if ``raw`` is signed by one of ``keys`` (by id) within 15 minutes of ``now`` (epoch seconds), else why not.

    Whether the nonce was used before is not looked at: that takes a memory.
    """
    authorization = parse_authorization(raw.header("Authorization"), ALGORITHM, "Credential")
    if authorization is None:
        return _incomplete("the Authorization header is missing or not of the form of " + ALGORITHM)
    key = keys.get(authorization.key_id)
    if key is None:
        return Refusal(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
    return (
        _completeness_fault(raw, authorization)
        or _date_fault(raw.folded["x-acs-date"], now)
        or _token_fault(raw.header("x-acs-security-token"), key)
        or _signature_fault(raw, authorization, key)
    )


def _completeness_fault(raw: RawRequest, authorization: Authorization) -> Refusal | None:
    if missing := [name for name in _REQUIRED if not raw.header(name)]:
        return _incomplete(f"headers missing: {', '.join(missing)}")
    if not well_ordered(authorization.signed_headers):
        return _incomplete("SignedHeaders is not sorted and in lower case")
    due = {"host", "content-type"} | {name for name in raw.folded if name.startswith("x-acs-")}
    if loose := unsigned(raw, authorization.signed_headers, due):
        return _incomplete(f"headers not signed: {', '.join(loose)}")
    return None


def _date_fault(date: str, now: float) -> Refusal | None:
    try:
        sent = datetime.strptime(date, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return Refusal(400, "InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted.")
    if abs(now - sent) > ALLOWED_SKEW:
        return Refusal(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
    return None


def _token_fault(token: str | None, key: SigningKey) -> Refusal | None:
    if token == key.security_token:
        return None
    if token is None:
        return Refusal(400, "MissingSecurityToken", "SecurityToken is mandatory for this action.")
    message = "Specified SecurityToken mismatch with the AccessKey."
    return Refusal(400, "InvalidSecurityToken.MismatchWithAccessKey", message)


def _signature_fault(raw: RawRequest, authorization: Authorization, key: SigningKey) -> Refusal | None:
    if raw.folded["x-acs-content-sha256"] != sha256(raw.body):
        return _mismatch("x-acs-content-sha256 is not the hash of the body")
    path = "/" + "/".join(encoded(segment) for segment in raw.segments)
    canonical = canonical_request(raw, path, authorization.signed_headers)
    string_to_sign = f"{ALGORITHM}\n{sha256(canonical.encode())}"
    if signature_matches(key.secret, string_to_sign, authorization.signature):
        return None
    # As the real gateway does: whoever debugs a signer compares the two texts.
    return _mismatch(f"server string to sign is: {string_to_sign!r}, server canonical request is: {canonical!r}")


def _incomplete(why: str) -> Refusal:
    return Refusal(400, "IncompleteSignature", f"The request signature does not conform to Aliyun standards: {why}.")


def _mismatch(why: str) -> Refusal:
    return Refusal(400, "SignatureDoesNotMatch", f"Specified signature is not matched with our calculation. {why}")
