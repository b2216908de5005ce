"""What is asked of the servers that give credentials out, byte for byte, and what comes of whatever they answer."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from poller.providers.credentials.alibaba import CredentialsUri, EcsRole, OidcRole, sts_endpoint, uri_request
from poller.providers.credentials.fetching import Fetched, Fetcher, NotFetchedError
from poller.providers.credentials.forms import AccessKey, AuthToken, Credentials
from poller.providers.credentials.huawei import EcsAgency, IamUser, iam_endpoint
from poller.providers.request import Reply, Request
from poller.providers.transport import HttpTransport, NotBroughtError
from tests.providers.credentials.doubles import START, Answer, Changing, Script, reply
from tests.providers.wire import Wire, http, then_silence

OIDC_TOKEN, META, PASSWORD = "oidc-token/+=", "meta-token-1234", "pass wörd"
SECRETS = (OIDC_TOKEN, META, PASSWORD, "path-secret", "query-secret", "key-secret", "session-token")
KEY = {
    "AccessKeyId": "key-id",
    "AccessKeySecret": "key-secret",
    "SecurityToken": "session-token",
    "Expiration": "2027-01-15T09:00:00Z",
}
STS_ANSWER = json.dumps({"RequestId": "r", "AssumedRoleUser": {}, "Credentials": KEY})
KEY_ANSWER = json.dumps({"Code": "Success", "LastUpdated": "2027-01-15T08:00:00Z", **KEY})
AGENCY = {
    "access": "key-id",
    "secret": "key-secret",
    "securitytoken": "session-token",
    "expires_at": "2027-01-15T09:00:00.000000Z",
}
AGENCY_ANSWER = json.dumps({"credential": AGENCY})
TOKEN = {"expires_at": "2027-01-15T09:00:00.000000Z", "user": {}, "catalog": [{}]}
TOKEN_ANSWER = json.dumps({"token": TOKEN})
SUBJECT = {"X-Subject-Token": "subject-token"}
KEY_FETCHED = Fetched(AccessKey("key-id", "key-secret", "session-token"), START + 3_600)
META_TOKEN = reply(f"{META}\n")


def oidc(session: str | None = None) -> OidcRole:
    values = (Changing("acs:ram::1:role/r"), Changing("acs:ram::1:oidc-provider/p"), Changing(OIDC_TOKEN))
    return OidcRole("https://sts.cn-hangzhou.aliyuncs.com", *values, Changing(session))


def iam(project: str | None = "cn-north-1_ml", project_id: str | None = None) -> IamUser:
    values = (Changing("ann"), Changing(PASSWORD), Changing("acme"), Changing(project))
    return IamUser("https://iam.cn-north-1.myhuaweicloud.com", *values, project_id)


ROLE = EcsRole("http://100.100.100.200", Changing("my role"))
STRICT_ROLE = EcsRole("http://100.100.100.200", Changing("my role"), needs_token=True)
URI = CredentialsUri(Changing("http://127.0.0.1:9000/path-secret?key=query-secret"))
EC2 = EcsAgency("http://169.254.169.254")


async def fetched(fetcher: Fetcher, *answers: Answer) -> tuple[Fetched, list[Request]]:
    script = Script(list(answers))
    return await fetcher.fetch(script, START), script.requests


async def refusal(fetcher: Fetcher, *answers: Answer) -> NotFetchedError:
    with pytest.raises(NotFetchedError) as caught:
        await fetched(fetcher, *answers)
    assert not [secret for secret in SECRETS if secret in str(caught.value)]
    assert len(str(caught.value).splitlines()) == 1
    return caught.value


def sent(request: Request) -> tuple[str, str, dict[str, str], bytes]:
    return request.method, request.url, dict(request.headers), request.body


# --- what is sent ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("session", "name"), [(None, "poller"), ("job 7", "job%207")])
async def test_a_role_is_assumed_with_the_oidc_token(session: str | None, name: str) -> None:
    """Unsigned; the token travels in the body, where no access log shows it."""
    result, (request,) = await fetched(oidc(session), reply(STS_ANSWER))
    assert sent(request) == (
        "POST",
        "https://sts.cn-hangzhou.aliyuncs.com/?Action=AssumeRoleWithOIDC&Format=JSON"
        "&Timestamp=2027-01-15T08%3A00%3A00Z&Version=2015-04-01",
        {"Content-Type": "application/x-www-form-urlencoded"},
        b"DurationSeconds=3600&OIDCProviderArn=acs%3Aram%3A%3A1%3Aoidc-provider%2Fp&OIDCToken=oidc-token%2F%2B%3D"
        b"&RoleArn=acs%3Aram%3A%3A1%3Arole%2Fr&RoleSessionName=" + name.encode(),
    )
    assert result == KEY_FETCHED


async def test_the_oidc_token_is_that_of_now() -> None:
    """Kubernetes writes another one into the file every hour."""
    role = oidc()
    _, (first,) = await fetched(role, reply(STS_ANSWER))
    before = role.asks_with
    role.oidc_token.value = "another"  # type: ignore[attr-defined]
    _, (second,) = await fetched(role, reply(STS_ANSWER))
    assert (b"OIDCToken=oidc-token" in first.body, b"OIDCToken=another" in second.body) == (True, True)
    assert role.asks_with != before


@pytest.mark.parametrize(
    ("region", "env", "endpoint"),
    [
        ("cn-hangzhou", {}, "https://sts.cn-hangzhou.aliyuncs.com"),
        (None, {}, "https://sts.aliyuncs.com"),
        (None, {"ALIBABA_CLOUD_STS_REGION": "eu-central-1"}, "https://sts.eu-central-1.aliyuncs.com"),
        ("cn-beijing", {"ALIBABA_CLOUD_STS_REGION": "eu-central-1"}, "https://sts.cn-beijing.aliyuncs.com"),
        ("cn-beijing", {"ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED": "true"}, "https://sts-vpc.cn-beijing.aliyuncs.com"),
        ("cn-beijing", {"ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED": "false"}, "https://sts.cn-beijing.aliyuncs.com"),
    ],
)
def test_sts_is_that_of_the_region(region: str | None, env: dict[str, str], endpoint: str) -> None:
    """The provider's, else the one that the cluster's webhook names; inside the VPC where it says so."""
    assert sts_endpoint(region, env) == endpoint


@pytest.mark.parametrize(
    ("region", "endpoint"),
    [
        ("cn-north-1", "https://iam.cn-north-1.myhuaweicloud.com"),
        ("eu-west-101", "https://iam.eu-west-101.myhuaweicloud.eu"),
        (None, "https://iam.myhuaweicloud.com"),
    ],
)
def test_iam_is_that_of_the_region(region: str | None, endpoint: str) -> None:
    """European regions have a domain of their own."""
    assert iam_endpoint(region) == endpoint


ROLE_URL = "http://100.100.100.200/latest/meta-data/ram/security-credentials/my%20role"
ROLE_TOKEN = (
    "PUT",
    "http://100.100.100.200/latest/api/token",
    {"X-aliyun-ecs-metadata-token-ttl-seconds": "21600"},
    b"",
)
KEY_URL = "http://169.254.169.254/openstack/latest/securitykey"
KEY_TOKEN = ("PUT", "http://169.254.169.254/meta-data/latest/api/token", {"X-Metadata-Token-Ttl-Seconds": "21600"}, b"")
NO_TOKENS: list[Answer] = [
    reply("not found", 404),
    reply("", 405),
    reply("", 503),
    reply("  "),
    NotBroughtError("no answer within 3 s"),
]


@pytest.mark.parametrize(
    ("fetcher", "answer", "put", "get", "header"),
    [
        (ROLE, KEY_ANSWER, ROLE_TOKEN, ROLE_URL, "X-aliyun-ecs-metadata-token"),
        (STRICT_ROLE, KEY_ANSWER, ROLE_TOKEN, ROLE_URL, "X-aliyun-ecs-metadata-token"),
        (EC2, AGENCY_ANSWER, KEY_TOKEN, KEY_URL, "X-Metadata-Token"),
    ],
)
async def test_a_metadata_server_is_asked_for_a_token_first(
    fetcher: Fetcher, answer: str, put: object, get: str, header: str
) -> None:
    """And shown it beside the request for the key."""
    result, requests = await fetched(fetcher, META_TOKEN, reply(answer))
    assert [sent(request) for request in requests] == [put, ("GET", get, {header: "meta-token-1234"}, b"")]
    assert result == KEY_FETCHED


@pytest.mark.parametrize("token", NO_TOKENS)
@pytest.mark.parametrize(("fetcher", "answer", "get"), [(ROLE, KEY_ANSWER, ROLE_URL), (EC2, AGENCY_ANSWER, KEY_URL)])
async def test_a_metadata_server_without_tokens_is_asked_without(
    fetcher: Fetcher, answer: str, get: str, token: Answer
) -> None:
    """Older servers have none."""
    result, requests = await fetched(fetcher, token, reply(answer))
    assert sent(requests[1]) == ("GET", get, {}, b"")
    assert result == KEY_FETCHED


@pytest.mark.parametrize("token", NO_TOKENS)
async def test_never_without_a_token_where_that_is_forbidden(token: Answer) -> None:
    """ALIBABA_CLOUD_IMDSV1_DISABLED: no request for the key goes out."""
    script = Script([token, reply(KEY_ANSWER)])
    with pytest.raises(NotFetchedError, match=r"http://100\.100\.100\.200: no (token, HTTP|answer within)"):
        await STRICT_ROLE.fetch(script, START)
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("http://127.0.0.1:9000/path-secret?key=query-secret", "http://127.0.0.1:9000/path-secret?key=query-secret"),
        ("https://h.example.com", "https://h.example.com/"),
        ("http://h/a b?x=ü&y", "http://h/a%20b?x=%C3%BC&y="),
    ],
)
async def test_a_credentials_uri_is_asked_as_it_is_written(uri: str, url: str) -> None:
    """Nothing is added."""
    result, (request,) = await fetched(CredentialsUri(Changing(uri)), reply(KEY_ANSWER))
    assert sent(request) == ("GET", url, {}, b"")
    assert result == KEY_FETCHED


@pytest.mark.parametrize("uri", ["", "h/path", "ftp://h/x", "http://", "http://user:path-secret@h/", "http://h:x/"])
def test_what_is_no_uri_is_refused_and_not_quoted(uri: str) -> None:
    """It may hold a secret."""
    with pytest.raises(ValueError, match=r"^not a URI like http://host:port/path$"):
        uri_request(uri)


@pytest.mark.parametrize(
    ("project", "project_id", "scope"),
    [("cn-north-1_ml", None, {"name": "cn-north-1_ml"}), (None, "p1", {"id": "p1"}), ("a", "p1", {"name": "a"})],
)
async def test_a_token_is_asked_for_with_the_password(
    project: str | None, project_id: str | None, scope: dict[str, str]
) -> None:
    """For the project that is named, else for the one whose id the parameters hold."""
    answer = reply(TOKEN_ANSWER, 201, SUBJECT)
    result, (request,) = await fetched(iam(project, project_id), answer)
    user = {"name": "ann", "password": "pass wörd", "domain": {"name": "acme"}}
    identity = {"methods": ["password"], "password": {"user": user}}
    assert json.loads(request.body) == {"auth": {"identity": identity, "scope": {"project": scope}}}
    assert sent(request)[:3] == (
        "POST",
        "https://iam.cn-north-1.myhuaweicloud.com/v3/auth/tokens",
        {"Content-Type": "application/json"},
    )
    assert result == Fetched(AuthToken("subject-token"), START + 3_600)


# --- what comes back -------------------------------------------------------------------------------------------------


SERVERS: dict[str, tuple[Fetcher, list[Answer], Callable[[dict[str, Any]], str], dict[str, Any], str, int]] = {
    "sts": (oidc(), [], lambda d: json.dumps({"Credentials": d}), KEY, "https://sts.cn-hangzhou.aliyuncs.com", 200),
    "ecs": (ROLE, [META_TOKEN], json.dumps, {"Code": "Success", **KEY}, "http://100.100.100.200", 200),
    "uri": (URI, [], json.dumps, KEY, "http://127.0.0.1:9000", 200),
    "agency": (EC2, [META_TOKEN], lambda d: json.dumps({"credential": d}), AGENCY, "http://169.254.169.254", 200),
    "iam": (iam(), [], lambda d: json.dumps({"token": d}), TOKEN, "https://iam.cn-north-1.myhuaweicloud.com", 201),
}
BAD_BODIES = [
    "",
    "null",
    "[]",
    "<html>502</html>",
    '{"cut',
    "\xff",
    '"text"',
    "{}",
    '{"credential": 1, "Credentials": [], "token": ""}',
]
SENT = {"sts": [OIDC_TOKEN], "ecs": [META], "uri": ["path-secret", "query-secret"], "agency": [META], "iam": [PASSWORD]}


@pytest.mark.parametrize("server", SERVERS)
class TestEveryServer:
    @pytest.mark.parametrize("body", BAD_BODIES)
    async def test_an_unreadable_answer_is_told(self, server: str, body: str) -> None:
        """By the server's name, and what is wrong with the answer."""
        fetcher, before, _, _, where, status = SERVERS[server]
        told = str(await refusal(fetcher, *before, reply(body.encode("latin-1"), status, SUBJECT)))
        assert told.startswith(f"{where}: ")
        assert "no JSON mapping in the answer" in told or "is missing in the answer" in told

    @pytest.mark.parametrize("field", [*KEY, *AGENCY, "expires_at"])
    @pytest.mark.parametrize("value", [None, "", " ", 5, {}, "line\nbreak"])
    async def test_a_missing_field_is_named(self, server: str, field: str, value: object) -> None:
        """What is empty, or no text, or cannot be sent, is as good as missing."""
        fetcher, before, wrap, good, where, status = SERVERS[server]
        if field not in good:
            return
        told = str(await refusal(fetcher, *before, reply(wrap({**good, field: value}), status, SUBJECT)))
        assert told.startswith(f"{where}: ")
        assert f"{field} is missing" in told or "is no time" in told or "control character inside" in told

    @pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 500, 503])
    async def test_an_error_is_told_with_code_and_message(self, server: str, status: int) -> None:
        """As the vendors write them; secrets that the server repeats are taken out."""
        fetcher, before, _, _, where, _ = SERVERS[server]
        message = f"No such {' '.join([*SENT[server], *(quote(secret, safe='~') for secret in SENT[server])])} here"
        for body in (
            {"Code": "EntityNotExist.Role", "Message": message, "RequestId": "r"},
            {"error_code": "EntityNotExist.Role", "error_msg": message},
            {"error": {"code": "EntityNotExist.Role", "message": message, "title": "Unauthorized"}},
        ):
            error = await refusal(fetcher, *before, reply(json.dumps(body), status))
            assert str(error) in (
                f"{where}: HTTP {status}, EntityNotExist.Role, No such {stars} here"
                for stars in ("*** ***", "*** *** *** ***")
            )
            assert error.refused == (status in (401, 403))

    @pytest.mark.parametrize("body", ["", "<html>", "[1]", '{"error": "x"}', '{"Code": {}, "Message": []}'])
    async def test_an_error_without_words_is_told_by_its_status(self, server: str, body: str) -> None:
        """Bodies are not quoted."""
        fetcher, before, _, _, where, _ = SERVERS[server]
        assert str(await refusal(fetcher, *before, reply(body, 500))) == f"{where}: HTTP 500"

    async def test_a_redirect_is_no_answer(self, server: str) -> None:
        """It is not followed: what was sent is for this server alone."""
        fetcher, before, _, _, where, _ = SERVERS[server]
        error = await refusal(fetcher, *before, reply("", 307, {"Location": "http://stranger/"}))
        assert str(error) == f"{where}: HTTP 307"

    async def test_a_body_that_is_too_long_is_no_answer(self, server: str) -> None:
        """The transport hands it on as none."""
        fetcher, before, _, _, where, status = SERVERS[server]
        error = await refusal(fetcher, *before, Reply(status, SUBJECT, None))
        assert str(error) == f"{where}: no JSON mapping in the answer (HTTP {status})"

    async def test_no_answer_is_told(self, server: str) -> None:
        """In the transport's words, without what was sent."""
        fetcher, before, _, _, where, _ = SERVERS[server]
        said = f"InvalidURL: {where}/{'?x='.join(SENT[server])}"
        error = await refusal(fetcher, *before, NotBroughtError(said))
        assert str(error).startswith(f"{where}: InvalidURL: ")

    async def test_a_time_without_zone_is_utc(self, server: str) -> None:
        """The documents always write Z."""
        fetcher, before, wrap, good, _, status = SERVERS[server]
        field = "Expiration" if "Expiration" in good else "expires_at"
        result, _ = await fetched(
            fetcher, *before, reply(wrap({**good, field: "2027-01-15T09:00:00"}), status, SUBJECT)
        )
        assert result.expires_at == START + 3_600


@pytest.mark.parametrize(
    ("fetcher", "asks_with"),
    [
        (oidc(), ("acs:ram::1:role/r", "acs:ram::1:oidc-provider/p", OIDC_TOKEN)),
        (ROLE, ("my role",)),
        (URI, ("http://127.0.0.1:9000/path-secret?key=query-secret",)),
        (EC2, ()),
        (iam(), ("ann", PASSWORD, "acme")),
    ],
)
def test_what_may_change_is_known(fetcher: Fetcher, asks_with: tuple[str, ...]) -> None:
    """Another one is reason to ask at once after a failure."""
    assert fetcher.asks_with == asks_with


async def test_success_must_be_said_where_a_code_is_there() -> None:
    """A metadata server tells its failures with HTTP 200."""
    error = await refusal(ROLE, META_TOKEN, reply(json.dumps({**KEY, "Code": "Failed"})))
    assert str(error) == "http://100.100.100.200: the answer's Code is not Success but 'Failed'"


async def test_a_token_without_its_header_is_none() -> None:
    """The body holds everything but the token."""
    error = await refusal(iam(), reply(TOKEN_ANSWER, 201))
    assert str(error).endswith("the header X-Subject-Token is missing in the answer")


@pytest.mark.parametrize(
    ("fetcher", "told"),
    [
        (OidcRole("https://sts", Changing("r"), Changing("p"), Changing(None)), "OIDC token: there is none"),
        (OidcRole("https://sts", Changing(None), Changing("p"), Changing("t")), "ARN of the role: there is none"),
        (OidcRole("https://s ts", Changing("r"), Changing("p"), Changing("t")), "https://s ts: "),
        (EcsRole("http://m", Changing("..")), "http://m: '..' cannot be a path segment"),
        (CredentialsUri(Changing("path-secret")), "credentials URI: not a URI like"),
        (IamUser("https://i", Changing("u"), Changing(None), Changing("d"), None, "p"), "password: there is none"),
    ],
)
async def test_what_cannot_be_asked_is_told_and_nothing_sent(fetcher: Fetcher, told: str) -> None:
    """Secrets change under a running daemon."""
    script = Script([reply(STS_ANSWER)])
    with pytest.raises(NotFetchedError) as caught:
        await fetcher.fetch(script, START)
    assert str(caught.value).startswith(told)
    assert script.requests == []


# --- over the wire ---------------------------------------------------------------------------------------------------


async def over_the_wire(wire: Wire, patience: float = 5.0) -> Credentials:
    await wire.start()
    transport = HttpTransport(timeout=patience, max_in_flight=1)
    try:
        return (await CredentialsUri(Changing(f"{wire.url}/key")).fetch(transport, START)).credentials
    finally:
        await transport.close()
        await wire.stop()


async def test_a_server_that_hangs_is_given_up() -> None:
    """After the source's own timeout."""
    with pytest.raises(NotFetchedError, match=r"^http://127\.0\.0\.1:\d+: no answer within 0\.1 s$"):
        await over_the_wire(Wire((then_silence(),)), patience=0.1)


async def test_the_environments_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent to these servers is for nobody else."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert await over_the_wire(Wire((http(KEY_ANSWER.encode()),))) == KEY_FETCHED.credentials


async def test_a_redirect_is_not_followed() -> None:
    """Neither to the same server nor to a stranger."""
    stranger = Wire((http(KEY_ANSWER.encode()),))
    await stranger.start()
    wire = Wire((http(b"", "302 Found", Location=f"{stranger.url}/"),))
    with pytest.raises(NotFetchedError, match="HTTP 302"):
        await over_the_wire(wire)
    await stranger.stop()
    assert (len(wire.requests), len(stranger.requests)) == (1, 0)
