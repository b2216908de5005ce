"""ACS3-HMAC-SHA256 against signatures made with the official signers."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.providers.credentials.forms import AccessKey, AuthToken, Basic, Bearer, Credentials, HeaderCredential
from poller.providers.request import Request, encode_segment
from poller.providers.signing import acs3
from tests.providers.signing.strategies import keys, queries, requests, respelled, times

VECTORS = json.loads((Path(__file__).parents[2] / "data/vectors/acs3_hmac_sha256.json").read_text("utf-8"))["vectors"]

INSTANCES = "/v4/openapi/app-groups/{}/functions/{}/instances"
TEMPLATES = {
    "GetFunctionTask": INSTANCES + "/{}/tasks/{}",
    "GetFunctionInstance": INSTANCES + "/{}",
    "CreateFunctionTask": INSTANCES + "/{}/tasks",
    "ListFunctionTasks": INSTANCES + "/{}/tasks",
    "ListFunctionInstances": INSTANCES,
    "RunInstances": "/",
}
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NONCE = "0123456789abcdef0123456789abcdef"
KEY = AccessKey("key-id", "key-secret")
REQUEST = Request(
    "GET", "https://opensearch.cn-hangzhou.aliyuncs.com", "/v4/a", (), {"x-acs-action": "GetFunctionTask"}
)

headers = st.dictionaries(
    st.sampled_from(("x-acs-action", "X-Acs-Version", "Content-Type", "Accept", "X-Other")),
    st.text("abc 123é", max_size=8),
)


def request_of(vector: dict[str, Any]) -> Request:
    path = TEMPLATES[vector["action"]].format(*map(encode_segment, vector["path_segments"]))
    given_headers = {"x-acs-action": vector["action"], "x-acs-version": vector["version"]}
    origin = f"https://{vector['host']}"
    return Request(
        vector["method"], origin, path, tuple(vector["query"].items()), given_headers, vector["body"].encode()
    )


def key_of(vector: dict[str, Any]) -> AccessKey:
    return AccessKey(vector["access_key_id"], vector["access_key_secret"], vector["security_token"])


def sign(vector: dict[str, Any]) -> dict[str, str]:
    return acs3.sign(request_of(vector), key_of(vector), datetime.fromisoformat(vector["date"]), vector["nonce"])


def signature(headers_added: dict[str, str]) -> str:
    return headers_added["Authorization"].rpartition("Signature=")[2]


def test_there_are_vectors() -> None:
    """The file holds all sixteen vectors, each of a name of its own."""
    assert len({vector["name"] for vector in VECTORS}) == len(VECTORS) == 16


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
class TestVector:
    def test_target(self, vector: dict[str, Any]) -> None:
        """What goes over the wire is what the official client sends."""
        assert request_of(vector).path == vector["canonical_uri"]
        assert request_of(vector).target == vector["wire_target"]
        assert request_of(vector).host == vector["host"]

    def test_steps(self, vector: dict[str, Any]) -> None:
        """Each intermediate text is the official one, so a failure shows where the two part."""
        asked = request_of(vector)
        canonical = acs3.canonical_request(asked, acs3.signed_headers(asked, sign(vector)))
        assert canonical == vector["canonical_request"]
        assert acs3.string_to_sign(canonical) == vector["string_to_sign"]

    def test_result(self, vector: dict[str, Any]) -> None:
        """The headers sent, signature included, are the official ones."""
        added = sign(vector)
        assert signature(added) == vector["signature"]
        assert added["Authorization"] == vector["authorization"]
        assert added["x-acs-content-sha256"] == vector["hashed_payload"]
        sent = {"host": request_of(vector).host, **request_of(vector).with_headers(added).headers}
        assert sent == {**vector["headers"], "Authorization": vector["authorization"]}


def test_published_signature() -> None:
    """The example printed in Alibaba Cloud's description of the signature is reproduced."""
    (vector,) = [vector for vector in VECTORS if vector["name"] == "official_doc_RunInstances"]
    assert signature(sign(vector)) == "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"


def test_content_type_is_signed_when_sent() -> None:
    """A content type is signed if the request has one; other headers are not."""
    asked = REQUEST.with_headers({"Content-Type": " application/json ", "Accept": "*/*"})
    signed = acs3.signed_headers(asked, {})
    assert signed == {
        "content-type": "application/json",
        "host": REQUEST.host,
        "x-acs-action": "GetFunctionTask",
    }
    assert list(signed) == sorted(signed)


def test_body_is_hashed() -> None:
    """The hash of the body is sent and signed."""
    added = acs3.sign(replace(REQUEST, body=b"{}"), KEY, NOW, NONCE)
    assert added["x-acs-content-sha256"] == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert signature(added) != signature(acs3.sign(REQUEST, KEY, NOW, NONCE))


def test_stale_headers_are_replaced() -> None:
    """Headers of an earlier attempt neither go out nor are signed."""
    again = REQUEST.with_headers({"X-Acs-Date": "old", "X-ACS-Signature-Nonce": "old"})
    assert acs3.sign(again, KEY, NOW, NONCE) == acs3.sign(REQUEST, KEY, NOW, NONCE)


@pytest.mark.parametrize(
    "credentials", [None, AuthToken("t0ken"), Bearer("t0ken"), Basic("u", "t0ken"), HeaderCredential("X-Key", "t0ken")]
)
def test_other_credentials_are_refused(credentials: Credentials) -> None:
    """Only an access key can sign, and the message shows no secret."""
    with pytest.raises(TypeError, match="access key") as refusal:
        acs3.sign(REQUEST, credentials, NOW, NONCE)
    assert "t0ken" not in str(refusal.value)


@pytest.mark.parametrize("now", [NOW.replace(tzinfo=None), NOW.astimezone(timezone(timedelta(hours=8)))])
def test_other_times_than_utc_are_refused(now: datetime) -> None:
    """A local time would be signed as if it were UTC, hours off."""
    with pytest.raises(ValueError, match="UTC"):
        acs3.sign(REQUEST, KEY, now, NONCE)


@pytest.mark.parametrize("nonce", ["a\r\nb", "a\n", "\r"])
def test_line_breaks_in_the_nonce_are_refused(nonce: str) -> None:
    """No header line can be smuggled in by way of the nonce."""
    with pytest.raises(ValueError, match="x-acs-signature-nonce"):
        acs3.sign(REQUEST, KEY, NOW, nonce)


@given(requests(headers), keys, times, st.data())
def test_spelling_of_headers_does_not_matter(
    asked: Request, key: AccessKey, now: datetime, data: st.DataObject
) -> None:
    """Neither case nor order of the request's headers changes the signature."""
    other = respelled(asked, data.draw(st.permutations(list(asked.headers))))
    assert acs3.sign(other, key, now, NONCE) == acs3.sign(asked, key, now, NONCE)


@given(requests(headers), queries, st.data())
def test_query_order_does_not_matter(asked: Request, query: tuple[tuple[str, str], ...], data: st.DataObject) -> None:
    """The query is signed sorted, in whatever order it is sent."""
    other = replace(asked, query=tuple(data.draw(st.permutations(query))))
    assert acs3.sign(other, KEY, NOW, NONCE) == acs3.sign(replace(asked, query=query), KEY, NOW, NONCE)


@given(requests(headers), keys, times)
def test_secrets_stay_where_they_belong(asked: Request, key: AccessKey, now: datetime) -> None:
    """The secret is never sent; the session token only in its own header."""
    added = acs3.sign(asked, key, now, NONCE)
    assert all(key.secret not in value for value in added.values())
    assert added.get("x-acs-security-token") == key.token


@pytest.mark.parametrize(
    "changed",
    [
        replace(REQUEST, method="POST"),
        replace(REQUEST, origin="https://opensearch.cn-beijing.aliyuncs.com"),
        replace(REQUEST, path="/v4/b"),
        replace(REQUEST, query=(("output", "detail"),)),
        replace(REQUEST, body=b"x"),
        REQUEST.with_headers({"x-acs-version": "2017-12-25"}),
        REQUEST.with_headers({"x-acs-action": "GetFunctionInstance"}),
    ],
)
def test_every_part_is_signed(changed: Request) -> None:
    """A request that differs in any part that is signed has another signature."""
    assert signature(acs3.sign(changed, KEY, NOW, NONCE)) != signature(acs3.sign(REQUEST, KEY, NOW, NONCE))


def test_time_nonce_and_key_are_signed() -> None:
    """So does one sent at another time, with another nonce or another key."""
    first = signature(acs3.sign(REQUEST, KEY, NOW, NONCE))
    assert signature(acs3.sign(REQUEST, KEY, NOW + timedelta(seconds=1), NONCE)) != first
    assert signature(acs3.sign(REQUEST, KEY, NOW, "other")) != first
    assert signature(acs3.sign(REQUEST, AccessKey("key-id", "other"), NOW, NONCE)) != first
    assert signature(acs3.sign(REQUEST, AccessKey("key-id", "key-secret", "token"), NOW, NONCE)) != first
