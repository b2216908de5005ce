"""The check of SDK-HMAC-SHA256 agrees with the official signer, and with nothing else."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from poller.simulator.keys import HUAWEI_DEMO_KEY, SigningKey
from poller.simulator.signature_sdk import verify_sdk
from poller.simulator.wire import RawRequest
from tests.simulator.caller import START, sdk, with_header

VECTORS = json.loads((Path(__file__).parents[1] / "data/vectors/sdk_hmac_sha256.json").read_text())["vectors"]
KEYS = {HUAWEI_DEMO_KEY.id: HUAWEI_DEMO_KEY}
TARGET = "/v1/p1/system-tasks/t1?b=2&a=1"


def _key(vector: dict[str, Any]) -> SigningKey:
    given = vector["input"]
    return SigningKey(given["access_key"], given["secret_key"], given["security_token"])


def _request(vector: dict[str, Any]) -> RawRequest:
    headers = tuple(vector["signed_request_headers"].items())
    return RawRequest(
        vector["input"]["method"], vector["request_target"], headers, vector["input"]["body_utf8"].encode()
    )


def _date(vector: dict[str, Any]) -> float:
    return datetime.strptime(vector["input"]["x_sdk_date"], "%Y%m%dT%H%M%S%z").timestamp()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_what_the_official_signer_made_is_accepted(vector: dict[str, Any]) -> None:
    key = _key(vector)
    assert verify_sdk(_request(vector), {key.id: key}, _date(vector)) is None


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_another_secret_is_refused(vector: dict[str, Any]) -> None:
    key = SigningKey(_key(vector).id, "another", _key(vector).security_token)
    refusal = verify_sdk(_request(vector), {key.id: key}, _date(vector))
    assert refusal
    assert (refusal.status, refusal.code) == (401, "APIGW.0301")
    assert repr(vector["string_to_sign"]) in refusal.message


def test_every_vector_is_there() -> None:
    assert len(VECTORS) == 16


@pytest.mark.parametrize(
    "changed",
    [
        {"target": TARGET.replace("t1", "t2")},
        {"target": TARGET.replace("a=1", "a=2")},
        {"method": "POST"},
        {"body": b"{}"},
    ],
)
def test_a_request_changed_on_its_way_is_refused(changed: dict[str, Any]) -> None:
    raw = sdk(TARGET, START)
    parts = {"method": raw.method, "target": raw.target, "headers": raw.headers, "body": raw.body}
    refusal = verify_sdk(RawRequest(**{**parts, **changed}), KEYS, START)
    assert refusal
    assert "verify aksk signature fail" in refusal.message


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("host", "elsewhere", "verify aksk signature fail"),
        ("workspace", "ws2", "verify aksk signature fail"),
        ("x-sdk-date", "20261121T120001Z", "verify aksk signature fail"),
        ("x-sdk-date", "2026-11-21T12:00:00Z", "not of the form"),
        ("x-sdk-date", None, "headers missing: x-sdk-date"),
        ("x-project-id", "p2", "headers not signed: x-project-id"),
        ("content-type", "application/json", "headers not signed: content-type"),
        ("authorization", None, "not of the form"),
        ("authorization", "SDK-HMAC-SHA256 Access=x, SignedHeaders=host, Signature=0", "ak not exist"),
        (
            "authorization",
            f"SDK-HMAC-SHA256 Access={HUAWEI_DEMO_KEY.id}, SignedHeaders=x-sdk-date;host, Signature=0",
            "not sorted",
        ),
    ],
)
def test_a_header_changed_added_or_taken_away_is_refused(name: str, value: str | None, why: str) -> None:
    raw = sdk(TARGET, START, headers={"workspace": "ws1"})
    assert verify_sdk(raw, KEYS, START) is None
    refusal = verify_sdk(with_header(raw, name, value), KEYS, START)
    assert refusal
    assert refusal.code == "APIGW.0301"
    assert why in refusal.message


def test_a_workspace_that_is_not_signed_is_refused() -> None:
    refusal = verify_sdk(with_header(sdk(TARGET, START), "workspace", "ws1"), KEYS, START)
    assert refusal
    assert "headers not signed: workspace" in refusal.message


def test_a_hash_header_beside_an_empty_body_is_refused() -> None:
    refusal = verify_sdk(sdk(TARGET, START, headers={"x-sdk-content-sha256": "x"}), KEYS, START)
    assert refusal
    assert "empty body" in refusal.message


@pytest.mark.parametrize(("off", "accepted"), [(-901, False), (-900, True), (0, True), (900, True), (901, False)])
def test_a_date_may_be_a_quarter_of_an_hour_off(off: float, accepted: bool) -> None:
    refusal = verify_sdk(sdk(TARGET, START + off), KEYS, START)
    assert (refusal is None) is accepted
    assert refusal is None or "expired" in refusal.message


@pytest.mark.parametrize(
    ("due", "sent", "accepted"), [("t1", "t1", True), ("t1", None, False), ("t1", "t2", False), (None, "t1", False)]
)
def test_a_temporary_key_needs_its_token(due: str | None, sent: str | None, accepted: bool) -> None:
    raw = sdk(TARGET, START, key=SigningKey("id", "secret", sent))
    refusal = verify_sdk(raw, {"id": SigningKey("id", "secret", due)}, START)
    assert (refusal is None) is accepted
