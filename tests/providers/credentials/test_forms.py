"""Credentials never show a secret, and hold what was meant."""

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.providers.credentials.forms import AccessKey, AuthToken, Basic, Bearer, Credentials, HeaderCredential

SECRET = "s3cr3t-Value/+="
ALL_FORMS: tuple[Credentials, ...] = (
    AccessKey("key-id", SECRET, None),
    AccessKey("key-id", SECRET, f"{SECRET}-token"),
    AuthToken(SECRET),
    Bearer(SECRET),
    Basic("user", SECRET),
    HeaderCredential("X-Api-Key", SECRET),
)


@pytest.mark.parametrize("form", ALL_FORMS)
class TestEveryForm:
    def test_shows_no_secret(self, form: Credentials) -> None:
        """However a form is written out, its secrets are not in it."""
        assert form is not None
        for shown in (repr(form), str(form), f"{form}", f"{form!r:>200}", "%s" % form, repr([form])):  # noqa: UP031
            assert all(secret not in shown for secret in form.secrets)
            assert SECRET not in shown

    def test_lists_its_secrets(self, form: Credentials) -> None:
        """Every secret is listed, so that messages can be cleared of it; none is empty, for everything holds that."""
        assert form is not None
        assert SECRET in form.secrets
        assert all(form.secrets)

    def test_is_frozen(self, form: Credentials) -> None:
        """A form is a value: not changed, equal to its like."""
        assert form is not None
        with pytest.raises((FrozenInstanceError, TypeError)):
            form.extra = 1  # type: ignore[union-attr]
        assert form in ALL_FORMS
        assert not hasattr(form, "__dict__")


def test_ids_are_no_secrets() -> None:
    """Ids and user names help to find a mistake, so they show."""
    key = AccessKey("key-id", SECRET, "token")
    assert key.secrets == (SECRET, "token")
    assert repr(key) == "AccessKey(id='key-id')"
    assert repr(Basic("user", SECRET)) == "Basic(username='user')"
    assert repr(HeaderCredential("X-Api-Key", SECRET)) == "HeaderCredential(name='X-Api-Key')"


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " {}\t", "\n{} \r\n"])
def test_surrounding_blanks_are_stripped(around: str) -> None:
    """The line break an editor leaves at the end of a secret file is not part of the secret."""
    padded = around.format(SECRET)
    assert AccessKey(around.format("id"), padded, padded) == AccessKey("id", SECRET, SECRET)
    assert AuthToken(padded) == AuthToken(SECRET)
    assert Bearer(padded) == Bearer(SECRET)
    assert Basic(around.format("user"), padded) == Basic("user", SECRET)
    assert HeaderCredential(around.format("X-Api-Key"), padded) == HeaderCredential("X-Api-Key", SECRET)


@pytest.mark.parametrize("token", [None, "", " \r\n"])
def test_an_empty_session_token_is_none(token: str | None) -> None:
    """A variable that is set but empty means that there is no session token."""
    key = AccessKey("id", SECRET, token)
    assert key.token is None
    assert key.secrets == (SECRET,)


@pytest.mark.parametrize("empty", ["", " \n"])
def test_empty_secrets_are_refused(empty: str) -> None:
    """A secret that resolved to nothing is a mistake to be told, not one to be signed with."""
    for make in (
        lambda: AccessKey("", SECRET),
        lambda: AccessKey("id", empty),
        lambda: AuthToken(empty),
        lambda: Bearer(empty),
        lambda: HeaderCredential("X-Api-Key", empty),
        lambda: HeaderCredential(empty, SECRET),
    ):
        with pytest.raises(ValueError, match="empty"):
            make()


def test_basic_may_be_half_empty() -> None:
    """Some APIs take a key as the user name and no password; what is sent is a secret all the same."""
    form = Basic("key", "")
    assert form.encoded == "a2V5Og=="
    assert form.secrets == ("a2V5Og==",)


def test_basic_is_encoded_in_utf8() -> None:
    """RFC 7617, section 2.1: the example of the RFC, and its encoded form is a secret as well."""
    form = Basic("test", "123£")
    assert form.encoded == "dGVzdDoxMjPCow=="
    assert form.secrets == ("123£", "dGVzdDoxMjPCow==")


def test_a_colon_in_a_user_name_is_refused() -> None:
    """A colon would move part of the user name into the password (RFC 7617)."""
    with pytest.raises(ValueError, match="colon"):
        Basic("us:er", SECRET)


@pytest.mark.parametrize("name", ["X Api Key", "X-Api-Key:", "X-Clé", "Host"])
def test_a_credential_header_needs_a_header_name(name: str) -> None:
    """A name that could not be sent is found when the credentials are made."""
    with pytest.raises(ValueError, match=r"header name|header Host"):
        HeaderCredential(name, SECRET)


@given(st.text(min_size=1), st.sampled_from("\r\n\0\x1b\x7f\ud800"), st.text(min_size=1))
def test_line_breaks_inside_are_refused(before: str, control: str, after: str) -> None:
    """What could start a header line of its own is refused, and the message does not quote it."""
    broken = f"x{before}{control}{after}x"
    for make in (
        lambda: AccessKey(broken, SECRET),
        lambda: AccessKey("id", broken),
        lambda: AccessKey("id", SECRET, broken),
        lambda: AuthToken(broken),
        lambda: Bearer(broken),
        lambda: Basic(broken, SECRET),
        lambda: Basic("user", broken),
        lambda: HeaderCredential("X-Api-Key", broken),
    ):
        with pytest.raises(ValueError, match="control character") as refusal:
            make()
        assert broken not in str(refusal.value)
