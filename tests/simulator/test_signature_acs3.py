"""The check of ACS3-HMAC-SHA256 agrees with the official signers, and with nothing else."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from poller.simulator.keys import ALIBABA_DEMO_KEY, SigningKey
from poller.simulator.signature_acs3 import verify_acs3
from poller.simulator.wire import RawRequest
from tests.simulator.caller import APP, START, acs3, with_header

VECTORS = json.loads((Path(__file__).parents[1] / "data/vectors/acs3_hmac_sha256.json").read_text())["vectors"]
KEYS = {ALIBABA_DEMO_KEY.id: ALIBABA_DEMO_KEY}
TARGET = f"{APP}/ctr_test/tasks/3?b=2&a=1"


def _key(vector: dict[str, Any]) -> SigningKey:
    return SigningKey(vector["access_key_id"], vector["access_key_secret"], vector["security_token"])


def _request(vector: dict[str, Any]) -> RawRequest:
    headers = (*vector["headers"].items(), ("Authorization", vector["authorization"]))
    return RawRequest(vector["method"], vector["wire_target"], headers, vector["body"].encode())


def _date(vector: dict[str, Any]) -> float:
    return datetime.fromisoformat(vector["date"]).timestamp()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_what_the_official_signers_made_is_accepted(vector: dict[str, Any]) -> None:
    key = _key(vector)
    assert verify_acs3(_request(vector), {key.id: key}, _date(vector)) is None


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_another_secret_is_refused(vector: dict[str, Any]) -> None:
    key = SigningKey(vector["access_key_id"], "another", vector["security_token"])
    refusal = verify_acs3(_request(vector), {key.id: key}, _date(vector))
    assert refusal
    assert (refusal.status, refusal.code) == (400, "SignatureDoesNotMatch")
    assert repr(vector["canonical_request"]) in refusal.message


def test_every_vector_is_there() -> None:
    assert len(VECTORS) == 16


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"target": TARGET.replace("tasks/3", "tasks/4")}, "SignatureDoesNotMatch"),
        ({"target": TARGET.replace("a=1", "a=2")}, "SignatureDoesNotMatch"),
        ({"target": TARGET.replace("ctr_test", "ctr%2Ftest")}, "SignatureDoesNotMatch"),
        ({"method": "POST"}, "SignatureDoesNotMatch"),
        ({"body": b"{}"}, "SignatureDoesNotMatch"),
    ],
)
def test_a_request_changed_on_its_way_is_refused(changed: dict[str, Any], code: str) -> None:
    raw = acs3(TARGET, START)
    parts = {"method": raw.method, "target": raw.target, "headers": raw.headers, "body": raw.body}
    refusal = verify_acs3(RawRequest(**{**parts, **changed}), KEYS, START)
    assert refusal
    assert refusal.code == code


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("host", "elsewhere", "SignatureDoesNotMatch"),
        ("x-acs-action", "DeleteEverything", "SignatureDoesNotMatch"),
        ("x-acs-signature-nonce", "another", "SignatureDoesNotMatch"),
        ("x-acs-content-sha256", "0" * 64, "SignatureDoesNotMatch"),
        ("x-acs-date", "2026-11-21T12:00:01Z", "SignatureDoesNotMatch"),
        ("x-acs-date", "yesterday", "InvalidTimeStamp.Format"),
        ("x-acs-date", None, "IncompleteSignature"),
        ("x-acs-signature-nonce", None, "IncompleteSignature"),
        ("x-acs-extra", "not signed", "IncompleteSignature"),
        ("content-type", "application/json", "IncompleteSignature"),
        ("x-acs-security-token", "not signed", "IncompleteSignature"),
        ("authorization", None, "IncompleteSignature"),
        ("authorization", "Basic eDp5", "IncompleteSignature"),
        ("authorization", "ACS3-HMAC-SHA256 Credential=x", "IncompleteSignature"),
        (
            "authorization",
            "ACS3-HMAC-SHA256 Credential=x,SignedHeaders=host,Signature=0",
            "InvalidAccessKeyId.NotFound",
        ),
        (
            "authorization",
            f"ACS3-HMAC-SHA256 Credential={ALIBABA_DEMO_KEY.id},SignedHeaders=x-acs-date;host,Signature=0",
            "IncompleteSignature",
        ),
    ],
)
def test_a_header_changed_added_or_taken_away_is_refused(name: str, value: str | None, code: str) -> None:
    raw = acs3(TARGET, START)
    assert verify_acs3(raw, KEYS, START) is None
    refusal = verify_acs3(with_header(raw, name, value), KEYS, START)
    assert refusal
    assert refusal.code == code


def test_a_hash_that_is_not_the_body_s_is_refused_even_if_signed() -> None:
    refusal = verify_acs3(acs3(TARGET, START, content_hash="0" * 64), KEYS, START)
    assert refusal
    assert "not the hash of the body" in refusal.message


@pytest.mark.parametrize(("off", "accepted"), [(-901, False), (-900, True), (0, True), (900, True), (901, False)])
def test_a_date_may_be_a_quarter_of_an_hour_off(off: float, accepted: bool) -> None:
    refusal = verify_acs3(acs3(TARGET, START + off), KEYS, START)
    assert (refusal is None) is accepted
    assert refusal is None or refusal.code == "InvalidTimeStamp.Expired"


@pytest.mark.parametrize(
    ("due", "sent", "code"),
    [
        ("t1", "t1", None),
        ("t1", None, "MissingSecurityToken"),
        ("t1", "t2", "InvalidSecurityToken.MismatchWithAccessKey"),
        (None, "t1", "InvalidSecurityToken.MismatchWithAccessKey"),
    ],
)
def test_a_temporary_key_needs_its_token(due: str | None, sent: str | None, code: str | None) -> None:
    raw = acs3(TARGET, START, key=SigningKey("id", "secret", sent))
    refusal = verify_acs3(raw, {"id": SigningKey("id", "secret", due)}, START)
    assert (refusal.code if refusal else None) == code
