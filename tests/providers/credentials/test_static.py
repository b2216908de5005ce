"""Credentials that are secrets themselves: the value that is valid now."""

import pytest

from poller.providers.credentials.forms import AccessKey, Bearer
from poller.providers.credentials.source import NoCredentialsError
from poller.providers.credentials.static import NoCredentials, StaticSource
from poller.providers.credentials.table import form_for


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
    required, optional = ([secrets[key] for key in keys if key in secrets] for keys in (form.keys, form.optional))
    return StaticSource(form.makes, required, optional), secrets


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
