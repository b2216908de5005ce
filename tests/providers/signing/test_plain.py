"""Credentials sent as they are, and the registry of all signers."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.providers.credentials.forms import AccessKey, AuthToken, Basic, Bearer, Credentials, HeaderCredential
from poller.providers.credentials.table import FORMS
from poller.providers.request import Request
from poller.providers.signing import SIGNERS, plain
from tests.providers.signing.strategies import visible

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
REQUEST = Request("GET", "https://jobs.example.com", "/v1/jobs/1", (), {"Accept": "application/json"})
ALL_FORMS: tuple[Credentials, ...] = (
    None,
    AccessKey("id", "s3cret"),
    AuthToken("s3cret"),
    Bearer("s3cret"),
    Basic("user", "s3cret"),
    HeaderCredential("X-Api-Key", "s3cret"),
)


@pytest.mark.parametrize(
    ("credentials", "added"),
    [
        (None, {}),
        (Bearer("t0ken"), {"Authorization": "Bearer t0ken"}),
        (Basic("Aladdin", "open sesame"), {"Authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}),
        (HeaderCredential("X-Api-Key", "t0ken"), {"X-Api-Key": "t0ken"}),
        (AuthToken("t0ken"), {"X-Auth-Token": "t0ken"}),
    ],
)
def test_sends_credentials_as_they_are(credentials: Credentials, added: dict[str, str]) -> None:
    """Each form becomes its one header; the Basic example is that of RFC 7617."""
    assert plain.sign(REQUEST, credentials, NOW, "nonce") == added


def test_an_access_key_is_refused() -> None:
    """The secret of an access key is never sent, nor shown."""
    with pytest.raises(TypeError, match="must sign") as refusal:
        plain.sign(REQUEST, AccessKey("id", "s3cret"), NOW, "nonce")
    assert "s3cret" not in str(refusal.value)


@given(visible, visible, st.uuids().map(str))
def test_secrets_are_only_in_the_one_header(name: str, secret: str, nonce: str) -> None:
    """A credential is sent once, whatever time and nonce."""
    for credentials in (Bearer(secret), AuthToken(secret), HeaderCredential("X-Api-Key", secret), Basic(name, secret)):
        added = plain.sign(REQUEST, credentials, NOW, nonce)
        assert len(added) == 1
        assert any(form in "".join(added.values()) for form in credentials.secrets)
        assert dict(REQUEST.with_headers(added).headers) == {"Accept": "application/json", **added}


def test_registry_names() -> None:
    """Specs can name these signers, and for each there are ways to write its credentials."""
    assert set(SIGNERS) == set(FORMS) == {"acs3-hmac-sha256", "sdk-hmac-sha256", "plain"}


@pytest.mark.parametrize("name", SIGNERS)
@pytest.mark.parametrize("credentials", ALL_FORMS, ids=lambda form: type(form).__name__)
def test_signers_accept_exactly_what_they_say(name: str, credentials: Credentials) -> None:
    """What can be written for a signer is taken, any other credentials are a TypeError."""
    if type(credentials) in {form.makes for form in FORMS[name]} or (name == "plain" and credentials is None):
        SIGNERS[name](REQUEST, credentials, NOW, "nonce")
    else:
        with pytest.raises(TypeError):
            SIGNERS[name](REQUEST, credentials, NOW, "nonce")
