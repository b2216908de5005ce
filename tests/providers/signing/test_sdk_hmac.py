"""SDK-HMAC-SHA256 against signatures made with the official signer."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.providers.credentials.forms import AccessKey, AuthToken, Basic, Bearer, Credentials, HeaderCredential
from poller.providers.request import Request
from poller.providers.signing import sdk_hmac
from tests.providers.signing.strategies import keys, queries, requests, respelled, times

VECTORS = json.loads((Path(__file__).parents[2] / "data/vectors/sdk_hmac_sha256.json").read_text("utf-8"))["vectors"]

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
NONCE = "not used by this scheme"
KEY = AccessKey("key-id", "key-secret")
REQUEST = Request("GET", "https://modelarts.cn-north-4.myhuaweicloud.com", "/v2/p/processor-tasks/t")

headers = st.dictionaries(
    st.sampled_from(("workspace", "X-Project-Id", "Content-Type", "Accept", "X-Other")), st.text("abc 123é", max_size=8)
)


def request_of(vector: dict[str, Any]) -> Request:
    given_with = vector["input"]
    project = {"X-Project-Id": given_with["project_id"]} if given_with["project_id"] else {}
    return Request(
        given_with["method"],
        f"https://{given_with['host']}",
        given_with["resource_path"],
        # The official client sends the query sorted, and what is not a string as JSON has it.
        tuple(
            sorted(
                (name, value if isinstance(value, str) else json.dumps(value))
                for name, value in given_with["query_params"]
            )
        ),
        {**given_with["headers_before_signing"], **project},
        given_with["body_utf8"].encode(),
    )


def key_of(vector: dict[str, Any]) -> AccessKey:
    given_with = vector["input"]
    return AccessKey(given_with["access_key"], given_with["secret_key"], given_with["security_token"])


def sign(vector: dict[str, Any]) -> dict[str, str]:
    now = datetime.strptime(vector["input"]["x_sdk_date"], "%Y%m%dT%H%M%S%z")
    return sdk_hmac.sign(request_of(vector), key_of(vector), now, NONCE)


def signature(headers_added: dict[str, str]) -> str:
    return headers_added["Authorization"].rpartition("Signature=")[2]


def test_there_are_vectors() -> None:
    """The file holds all sixteen vectors, each of a name of its own."""
    assert len({vector["name"] for vector in VECTORS}) == len(VECTORS) == 16


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
class TestVector:
    def test_target(self, vector: dict[str, Any]) -> None:
        """What goes over the wire is what the official client sends."""
        assert request_of(vector).target == vector["request_target"]
        assert request_of(vector).host == vector["input"]["host"]

    def test_steps(self, vector: dict[str, Any]) -> None:
        """Each intermediate text is the official one, so a failure shows where the two part."""
        asked = request_of(vector)
        canonical = sdk_hmac.canonical_request(asked, sdk_hmac.signed_headers(asked, sign(vector)))
        assert canonical == vector["canonical_request"]
        assert sdk_hmac.string_to_sign(canonical, vector["input"]["x_sdk_date"]) == vector["string_to_sign"]

    def test_result(self, vector: dict[str, Any]) -> None:
        """The headers sent, signature included, are the official ones and no more."""
        added = sign(vector)
        assert signature(added) == vector["signature"]
        assert added["Authorization"] == vector["authorization"]
        sent = {"Host": request_of(vector).host, **request_of(vector).with_headers(added).headers}
        assert sent == vector["signed_request_headers"]


def test_published_signature() -> None:
    """The example printed in Huawei Cloud's signing guide is reproduced."""
    (vector,) = [vector for vector in VECTORS if "published" in vector]
    assert signature(sign(vector)) == vector["published"]["signature"]
    assert vector["string_to_sign"].endswith(vector["published"]["hashed_canonical_request"])


def test_a_token_is_sent_instead_of_a_signature() -> None:
    """With an IAM token nothing is signed, so not even the time is sent."""
    assert sdk_hmac.sign(REQUEST, AuthToken("t0ken"), NOW, NONCE) == {"X-Auth-Token": "t0ken"}


def test_only_known_headers_are_signed() -> None:
    """Headers that proxies may touch are left out; those the gateway reads are in, sorted and trimmed."""
    asked = REQUEST.with_headers(
        {"X-Project-Id": " p ", "Workspace": "ws1", "Content-Type": "text/plain", "Accept": "*/*"}
    )
    signed = sdk_hmac.signed_headers(asked, {"X-Sdk-Date": "now", "X-Security-Token": "t"})
    assert signed == {
        "content-type": "text/plain",
        "host": REQUEST.host,
        "workspace": "ws1",
        "x-project-id": "p",
        "x-sdk-date": "now",
        "x-security-token": "t",
    }
    assert list(signed) == sorted(signed)


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("/", "/"),
        ("/v1/a", "/v1/a/"),
        ("/v1/a/", "/v1/a/"),
        ("/a%2Fb", "/a/b/"),
        ("/%7E%2a", "/~%2A/"),
        ("/a:b", "/a%3Ab/"),
    ],
)
def test_canonical_path(path: str, canonical: str) -> None:
    """The path is decoded once, encoded by segment and ends in one slash."""
    assert sdk_hmac.canonical_path(path) == canonical


@pytest.mark.parametrize(
    "credentials", [None, Bearer("t0ken"), Basic("u", "t0ken"), HeaderCredential("X-Key", "t0ken")]
)
def test_other_credentials_are_refused(credentials: Credentials) -> None:
    """What the gateway would not understand is not sent, and the message shows no secret."""
    with pytest.raises(TypeError, match="access key") as refusal:
        sdk_hmac.sign(REQUEST, credentials, NOW, NONCE)
    assert "t0ken" not in str(refusal.value)


@pytest.mark.parametrize("now", [NOW.replace(tzinfo=None), NOW.astimezone(timezone(timedelta(hours=8)))])
def test_other_times_than_utc_are_refused(now: datetime) -> None:
    """A local time would be signed as if it were UTC, hours off."""
    with pytest.raises(ValueError, match="UTC"):
        sdk_hmac.sign(REQUEST, KEY, now, NONCE)


@given(requests(headers), keys, times, st.data())
def test_spelling_of_headers_does_not_matter(
    asked: Request, key: AccessKey, now: datetime, data: st.DataObject
) -> None:
    """Neither case nor order of the request's headers changes the signature."""
    other = respelled(asked, data.draw(st.permutations(list(asked.headers))))
    assert sdk_hmac.sign(other, key, now, NONCE) == sdk_hmac.sign(asked, key, now, NONCE)


@given(requests(headers), queries, st.data())
def test_query_order_does_not_matter(asked: Request, query: tuple[tuple[str, str], ...], data: st.DataObject) -> None:
    """The query is signed sorted, in whatever order it is sent."""
    other = replace(asked, query=tuple(data.draw(st.permutations(query))))
    assert sdk_hmac.sign(other, KEY, NOW, NONCE) == sdk_hmac.sign(replace(asked, query=query), KEY, NOW, NONCE)


@given(requests(headers), keys, times)
def test_secrets_stay_where_they_belong(asked: Request, key: AccessKey, now: datetime) -> None:
    """The secret is never sent; the session token only in its own header."""
    added = sdk_hmac.sign(asked, key, now, NONCE)
    assert all(key.secret not in value for value in added.values())
    assert added.get("X-Security-Token") == key.token


@pytest.mark.parametrize(
    "changed",
    [
        replace(REQUEST, method="POST"),
        replace(REQUEST, origin="https://modelarts.cn-north-1.myhuaweicloud.com"),
        replace(REQUEST, path="/v2/p/processor-tasks/u"),
        replace(REQUEST, query=(("limit", "1"),)),
        replace(REQUEST, body=b"x"),
        REQUEST.with_headers({"workspace": "ws1"}),
        REQUEST.with_headers({"X-Project-Id": "p"}),
    ],
)
def test_every_part_is_signed(changed: Request) -> None:
    """A request that differs in any part that is signed has another signature."""
    assert signature(sdk_hmac.sign(changed, KEY, NOW, NONCE)) != signature(sdk_hmac.sign(REQUEST, KEY, NOW, NONCE))


def test_time_and_key_are_signed() -> None:
    """So does one sent at another time or with another key."""
    first = signature(sdk_hmac.sign(REQUEST, KEY, NOW, NONCE))
    assert signature(sdk_hmac.sign(REQUEST, KEY, NOW + timedelta(seconds=1), NONCE)) != first
    assert signature(sdk_hmac.sign(REQUEST, AccessKey("key-id", "other"), NOW, NONCE)) != first
    assert signature(sdk_hmac.sign(REQUEST, AccessKey("key-id", "key-secret", "token"), NOW, NONCE)) != first
