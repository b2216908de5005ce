"""Credentials from the config file: which forms there are, and the value that is valid now."""

from typing import Any

import pytest

from poller.providers.credentials.forms import AccessKey, AuthToken, Basic, Bearer, Credentials, HeaderCredential
from poller.providers.credentials.source import NoCredentialsError
from poller.providers.credentials.static import FORMS, NoCredentials, StaticSource, form_for
from poller.providers.signing import CREDENTIAL_FORMS, SIGNERS


class Changing:
    """A secret that the test changes."""

    def __init__(self, value: str | None) -> None:
        self.value = value

    def reveal(self) -> str | None:
        """The value now."""
        return self.value


def source(signer: str, **values: str | None) -> tuple[StaticSource, dict[str, Changing]]:
    """Credentials of a form, and the secrets behind them; a dot in a key is written as two underscores."""
    secrets = {key.replace("__", "."): Changing(value) for key, value in values.items()}
    form = form_for(signer, set(secrets))
    assert form is not None
    return StaticSource(form, secrets), secrets


class TestForm:
    @pytest.mark.parametrize(
        ("signer", "values", "credentials"),
        [
            ("acs3-hmac-sha256", {"access_key_id": "i", "access_key_secret": "s"}, AccessKey("i", "s")),
            (
                "acs3-hmac-sha256",
                {"access_key_secret": "s", "security_token": "t", "access_key_id": "i"},
                AccessKey("i", "s", "t"),
            ),
            (
                "acs3-hmac-sha256",
                {"access_key_id": "i", "access_key_secret": "s", "security_token": None},
                AccessKey("i", "s"),
            ),
            (
                "acs3-hmac-sha256",
                {"access_key_id": "i", "access_key_secret": "s", "security_token": " "},
                AccessKey("i", "s"),
            ),
            ("sdk-hmac-sha256", {"access_key": "i\n", "secret_key": " s\r\n"}, AccessKey("i", "s")),
            (
                "sdk-hmac-sha256",
                {"access_key": "i", "secret_key": "s", "security_token": "t"},
                AccessKey("i", "s", "t"),
            ),
            ("sdk-hmac-sha256", {"token": "t"}, AuthToken("t")),
            ("plain", {"bearer": "b"}, Bearer("b")),
            ("plain", {"basic__username": "u", "basic__password": "p"}, Basic("u", "p")),
            ("plain", {"header__name": "X-Key", "header__value": "v"}, HeaderCredential("X-Key", "v")),
            ("plain", {"token": "t"}, AuthToken("t")),
        ],
    )
    def test_makes_credentials(self, signer: str, values: dict[str, Any], credentials: Credentials) -> None:
        """Each way to write credentials makes those its signer takes, in whatever order they are written."""
        made = source(signer, **values)[0].current()
        assert made == credentials
        assert isinstance(made, CREDENTIAL_FORMS[signer])

    @pytest.mark.parametrize(
        ("signer", "keys"),
        [
            ("acs3-hmac-sha256", set()),
            ("acs3-hmac-sha256", {"access_key_id"}),
            ("acs3-hmac-sha256", {"access_key", "secret_key"}),
            ("acs3-hmac-sha256", {"access_key_id", "access_key_secret", "token"}),
            ("sdk-hmac-sha256", {"access_key", "secret_key", "token"}),
            ("sdk-hmac-sha256", {"security_token"}),
            ("plain", {"bearer", "token"}),
            ("plain", {"basic.username"}),
            ("plain", {"access_key", "secret_key"}),
        ],
    )
    def test_fits_or_does_not(self, signer: str, keys: set[str]) -> None:
        """Too few keys, too many, or those of another signer make no credentials."""
        assert form_for(signer, keys) is None

    def test_reads_well(self) -> None:
        """A form can be shown to people."""
        assert [form.text for form in FORMS["sdk-hmac-sha256"]] == [
            "access_key + secret_key (+ security_token)",
            "token",
        ]

    def test_is_there_for_every_signer(self) -> None:
        """No signer is without a way to write its credentials."""
        assert set(FORMS) == set(SIGNERS)


class TestSource:
    def test_follows_a_change(self) -> None:
        """A changed secret is used from the next request on, and the version tells of it."""
        credentials, secrets = source("plain", bearer="old")
        assert (credentials.current(), credentials.version) == (Bearer("old"), 1)
        secrets["bearer"].value = "new"
        credentials.look()
        assert (credentials.current(), credentials.version) == (Bearer("new"), 2)

    def test_is_made_once(self) -> None:
        """While no secret changes the same credentials are given out."""
        credentials, _ = source("plain", bearer="same")
        assert credentials.current() is credentials.current()
        assert credentials.version == 1

    @pytest.mark.parametrize("broken", [None, "", "half\nwritten"])
    def test_keeps_the_last_good_one(self, broken: str | None) -> None:
        """A secret that cannot be sent leaves the last one in force, until it can be again."""
        credentials, secrets = source("acs3-hmac-sha256", access_key_id="i", access_key_secret="good")
        secrets["access_key_secret"].value = broken
        credentials.look()
        assert (credentials.current(), credentials.version) == (AccessKey("i", "good"), 1)
        secrets["access_key_secret"].value = "better"
        credentials.look()
        assert (credentials.current(), credentials.version) == (AccessKey("i", "better"), 2)

    @pytest.mark.parametrize("broken", [None, "", "half\nwritten"])
    def test_is_refused_until_there_is_a_good_one(self, broken: str | None) -> None:
        """Without any that can be sent there are none: requests never go out without credentials instead."""
        credentials, secrets = source("plain", bearer=broken)
        for _ in range(2):
            with pytest.raises(NoCredentialsError, match=r"absent|empty|line break"):
                credentials.current()
        assert credentials.version == 0
        secrets["bearer"].value = "good"
        credentials.look()
        assert (credentials.current(), credentials.version) == (Bearer("good"), 1)

    def test_does_not_quote_a_secret(self) -> None:
        """Why credentials are refused is said without them."""
        credentials, _ = source("plain", bearer="my secret\nof two lines")
        with pytest.raises(ValueError, match="bearer token") as refusal:
            credentials.current()
        assert "my secret" not in str(refusal.value)

    def test_token_may_come_and_go(self) -> None:
        """An optional part is sent while it is there."""
        credentials, secrets = source("sdk-hmac-sha256", access_key="i", secret_key="s", security_token=None)
        assert credentials.current() == AccessKey("i", "s")
        secrets["security_token"].value = "t"
        credentials.look()
        assert credentials.current() == AccessKey("i", "s", "t")
        secrets["security_token"].value = None
        credentials.look()
        assert (credentials.current(), credentials.version) == (AccessKey("i", "s"), 3)


def test_no_credentials_are_always_the_same() -> None:
    """An API that asks for none is given none."""
    assert (NoCredentials().current(), NoCredentials().version) == (None, 0)
