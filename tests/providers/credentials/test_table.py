"""The table of forms and default chains: what is written, or set in the environment, and what comes of it."""

from typing import Any

import pytest

from poller.providers.credentials.forms import AccessKey, AuthToken, Basic, Bearer, Credentials, HeaderCredential
from poller.providers.credentials.table import CHAINS, FORMS, FormError, Link, Site, default_link, form_for
from poller.providers.request import Request
from poller.providers.signing import SIGNERS
from poller.providers.transport import HttpTransport
from tests.providers.credentials.doubles import Changing, Script, opened

ACS3, SDK = "acs3-hmac-sha256", "sdk-hmac-sha256"
KEYS = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "i", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s"}
RRSA = {
    "ALIBABA_CLOUD_ROLE_ARN": "r",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "p",
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE": "/f",
}
ECS = {"ALIBABA_CLOUD_ECS_METADATA": "my-role"}
URI = {"ALIBABA_CLOUD_CREDENTIALS_URI": "http://h/"}
OFF = {"ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true"}
HUAWEI = {"HUAWEICLOUD_SDK_AK": "i", "HUAWEICLOUD_SDK_SK": "s"}


def origin(signer: str, site: Site, **values: str | None) -> Any:
    """What comes of secrets; a dot in a key is written as two underscores."""
    secrets = {key.replace("__", "."): Changing(value) for key, value in values.items()}
    form = form_for(signer, set(secrets))
    assert form is not None
    return form.origin(secrets, site, "config")


class TestStaticForms:
    @pytest.mark.parametrize(
        ("signer", "values", "credentials"),
        [
            (ACS3, {"access_key_id": "i", "access_key_secret": "s"}, AccessKey("i", "s")),
            (ACS3, {"access_key_secret": "s", "security_token": "t", "access_key_id": "i"}, AccessKey("i", "s", "t")),
            (ACS3, {"access_key_id": "i", "access_key_secret": "s", "security_token": None}, AccessKey("i", "s")),
            (ACS3, {"access_key_id": "i", "access_key_secret": "s", "security_token": " "}, AccessKey("i", "s")),
            (SDK, {"access_key": "i\n", "secret_key": " s\r\n"}, AccessKey("i", "s")),
            (SDK, {"access_key": "i", "secret_key": "s", "security_token": "t"}, AccessKey("i", "s", "t")),
            (SDK, {"token": "t"}, AuthToken("t")),
            ("plain", {"bearer": "b"}, Bearer("b")),
            ("plain", {"basic__username": "u", "basic__password": "p"}, Basic("u", "p")),
            ("plain", {"header__name": "X-Key", "header__value": "v"}, HeaderCredential("X-Key", "v")),
            ("plain", {"token": "t"}, AuthToken("t")),
        ],
    )
    def test_make_credentials(self, signer: str, values: dict[str, Any], credentials: Credentials) -> None:
        """Each way to write credentials makes those its signer takes, in whatever order they are written."""
        assert opened(origin(signer, Site(), **values)).current() == credentials
        assert type(credentials) in {form.makes for form in FORMS[signer]}

    def test_that_cannot_be_sent_are_refused(self) -> None:
        """Before there is a connection, and without quoting them."""
        with pytest.raises(ValueError, match="bearer token: it holds a line break"):
            origin("plain", Site(), bearer="two\nlines")

    @pytest.mark.parametrize(
        ("signer", "keys"),
        [
            (ACS3, set()),
            (ACS3, {"access_key_id"}),
            (ACS3, {"access_key", "secret_key"}),
            (ACS3, {"access_key_id", "access_key_secret", "token"}),
            (ACS3, {"role_arn", "oidc_provider_arn"}),
            (ACS3, {"ecs_role", "credentials_uri"}),
            (ACS3, {"agency"}),
            (SDK, {"access_key", "secret_key", "token"}),
            (SDK, {"security_token"}),
            (SDK, {"username", "password"}),
            (SDK, {"ecs_role"}),
            ("plain", {"bearer", "token"}),
            ("plain", {"basic.username"}),
            ("plain", {"access_key", "secret_key"}),
        ],
    )
    def test_fit_or_do_not(self, signer: str, keys: set[str]) -> None:
        """Too few keys, too many, or those of another signer make no credentials."""
        assert form_for(signer, keys) is None

    def test_read_well(self) -> None:
        """A form can be shown to people."""
        assert [form.text for form in FORMS[SDK]] == [
            "access_key + secret_key (+ security_token)",
            "token",
            "username + password + domain (+ project)",
            "agency",
        ]

    def test_are_there_for_every_signer(self) -> None:
        """No signer is without a way to write its credentials, and of each the chain is known."""
        assert set(FORMS) == set(CHAINS) == set(SIGNERS)

    def test_no_two_forms_take_the_same_keys(self) -> None:
        """What is written means one thing."""
        for forms in FORMS.values():
            assert all(form_for_keys(forms, form.keys) == [form] for form in forms)


def form_for_keys(forms: Any, keys: tuple[str, ...]) -> list[Any]:
    return [form for form in forms if set(form.keys) <= set(keys) <= {*form.keys, *form.optional}]


ROLE = {"role_arn": "acs:ram::1:role/r", "oidc_provider_arn": "p", "oidc_token_file": "t"}
USER = {"username": "ann", "password": "p", "domain": "acme"}
NEAR = {"sts": "http://127.0.0.1:1/sts", "metadata": "http://127.0.0.1:1/meta", "iam": "http://127.0.0.1:1/iam"}


class AskedError(Exception):
    """The first request, in place of its answer."""

    def __init__(self, request: Request) -> None:
        self.request = request


class TestFetchedForms:
    @pytest.mark.parametrize(
        ("signer", "values", "site", "name", "first", "patience"),
        [
            (ACS3, ROLE, Site("r-1"), "RRSA role acs:ram::1:role/r", "https://sts.r-1.aliyuncs.com/", 10.0),
            (ACS3, ROLE, Site(), "RRSA role acs:ram::1:role/r", "https://sts.aliyuncs.com/", 10.0),
            (ACS3, ROLE, Site("r-1", None, 7.0, NEAR), "RRSA role acs:ram::1:role/r", f"{NEAR['sts']}/", 7.0),
            (ACS3, {"ecs_role": "a"}, Site(), "ECS role a", "http://100.100.100.200/latest/api/token", 3.0),
            (ACS3, {"ecs_role": "a"}, Site(endpoints=NEAR), "ECS role a", f"{NEAR['metadata']}/latest/api/token", 3.0),
            (ACS3, {"credentials_uri": "http://h/x"}, Site(timeout=7.0), "credentials URI", "http://h/x", 7.0),
            (SDK, {"agency": "ecs"}, Site(), "ECS agency", "http://169.254.169.254/meta-data/latest/api/token", 3.0),
            (
                *(SDK, {"agency": "ecs"}, Site(endpoints=NEAR), "ECS agency"),
                *(f"{NEAR['metadata']}/meta-data/latest/api/token", 3.0),
            ),
            (
                SDK,
                {**USER, "project": "x"},
                Site("r"),
                "IAM user ann",
                "https://iam.r.myhuaweicloud.com/v3/auth/tokens",
                None,
            ),
            (SDK, USER, Site("eu-1", "p1"), "IAM user ann", "https://iam.eu-1.myhuaweicloud.eu/v3/auth/tokens", None),
            (SDK, USER, Site("r", "p1", 7.0, NEAR), "IAM user ann", f"{NEAR['iam']}/v3/auth/tokens", None),
        ],
    )
    async def test_ask_the_right_server(
        self,
        monkeypatch: pytest.MonkeyPatch,
        signer: str,
        values: dict[str, Any],
        site: Site,
        name: str,
        first: str,
        patience: float | None,
    ) -> None:
        """With the timeout that fits it. IAM alone is asked on the connection's own way, with its proxy."""
        waits: list[float | None] = []

        async def exchange(transport: HttpTransport, request: Request) -> Any:
            waits.append(transport._timeout)
            raise AskedError(request)

        async def refuse() -> Any:
            waits.append(None)
            raise AskedError(lent.requests[-1])

        monkeypatch.setattr(HttpTransport, "exchange", exchange)
        lent = Script([refuse])
        made = origin(signer, site, **values)
        source = opened(made, lent)
        with pytest.raises(AskedError) as asked:
            await source._fetcher.fetch(source._transport, 0.0)  # type: ignore[attr-defined]
        assert (made.name, asked.value.request.url.partition("?")[0], waits) == (name, first, [patience])

    @pytest.mark.parametrize(
        ("signer", "values", "site", "key", "text"),
        [
            (SDK, {"agency": "ec2"}, Site(), "agency", "something else, ecs is allowed"),
            (
                SDK,
                USER,
                Site(),
                "project",
                "missing, a project's name is required here, or its id at params.project_id",
            ),
            (
                SDK,
                {**USER, "project": None},
                Site(),
                "project",
                "missing, a project's name is required here, or its id at",
            ),
            (ACS3, {"ecs_role": ".."}, Site(), "ecs_role", "'..' cannot be a path segment"),
            (ACS3, {"credentials_uri": "my-secret"}, Site(), "credentials_uri", "not a URI like http://host:port/path"),
            (ACS3, {"ecs_role": "a"}, Site(env=OFF), "ecs_role", "ALIBABA_CLOUD_ECS_METADATA_DISABLED is true"),
        ],
    )
    def test_mistakes(self, signer: str, values: dict[str, Any], site: Site, key: str, text: str) -> None:
        """At the key where they are."""
        with pytest.raises(FormError) as error:
            origin(signer, site, **values)
        assert error.value.key == key
        assert str(error.value).startswith(text)


class TestChains:
    @pytest.mark.parametrize(
        ("signer", "env", "link"),
        [
            (ACS3, KEYS, "environment"),
            (ACS3, {**URI, **ECS, **RRSA, **KEYS}, "environment"),
            (ACS3, {**URI, **ECS, **RRSA}, "RRSA"),
            (ACS3, {**URI, **ECS}, "ECS role"),
            (ACS3, {**URI, **ECS, **OFF}, "credentials URI"),
            (ACS3, {**URI, **ECS, "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "false"}, "ECS role"),
            (ACS3, {**URI, "ALIBABA_CLOUD_ECS_METADATA": " "}, "credentials URI"),
            (SDK, HUAWEI, "environment"),
            (SDK, {}, "ECS agency"),
            (SDK, {"HUAWEICLOUD_SDK_AK": "", "HUAWEICLOUD_SDK_SK": ""}, "ECS agency"),
        ],
    )
    def test_the_first_link_that_is_set_holds(self, signer: str, env: dict[str, str], link: str) -> None:
        """In the vendor's order."""
        found = default_link(signer, Site(env=env))
        assert found is not None
        assert found.name == link

    @pytest.mark.parametrize(
        ("signer", "env", "text"),
        [
            (
                SDK,
                {"HUAWEICLOUD_SDK_AK": "i"},
                "environment has HUAWEICLOUD_SDK_AK without HUAWEICLOUD_SDK_SK",
            ),
            (
                ACS3,
                {"ALIBABA_CLOUD_ACCESS_KEY_ID": "i", **ECS},
                "_ACCESS_KEY_ID without ALIBABA_CLOUD_ACCESS_KEY_SECRET",
            ),
            (
                ACS3,
                {"ALIBABA_CLOUD_ROLE_ARN": "r"},
                "ALIBABA_CLOUD_ROLE_ARN without ALIBABA_CLOUD_OIDC_PROVIDER_ARN, ALIBABA_CLOUD_OIDC_TOKEN_FILE",
            ),
            (ACS3, {**ECS, **OFF}, "ALIBABA_CLOUD_CREDENTIALS_URI (credentials URI)"),
            (
                ACS3,
                {},
                "ALIBABA_CLOUD_ECS_METADATA (ECS role); or ALIBABA_CLOUD_CREDENTIALS_URI (credentials URI)",
            ),
        ],
    )
    def test_what_is_set_by_half_is_a_mistake(self, signer: str, env: dict[str, str], text: str) -> None:
        """The next link is another identity: not to be taken because of a slip."""
        with pytest.raises(FormError) as error:
            default_link(signer, Site(env=env))
        assert text in str(error.value)

    def test_an_api_of_ones_own_has_none(self) -> None:
        """It is asked without credentials."""
        assert default_link("plain", Site(env={**KEYS, **HUAWEI})) is None

    @pytest.mark.parametrize(("signer", "link"), [(signer, link) for signer in CHAINS for link in CHAINS[signer]])
    def test_every_link_fills_a_form(self, signer: str, link: Link) -> None:
        """A chain is nothing but forms filled from the environment."""
        assert form_for(signer, link.keys) is not None
