"""What one answer says of a connection: credentials, clock, endpoint and permission are told apart."""

from typing import Any

import pytest
from hypothesis import given
from multidict import CIMultiDict

from poller.config.secret import Secret
from poller.config.settings import Provider
from poller.domain.explanation import Explanation
from poller.domain.observation import Observation, Outcome
from poller.providers.catalog import builtin_kinds, inline_kind
from poller.providers.classify import classify
from poller.providers.diagnosis import Asked, Diagnosis, asked_with, diagnose
from poller.providers.explain import explain_reply
from poller.providers.request import Reply, Request
from poller.providers.spec import Operation
from tests.providers.answers import HTML, NOW, OPERATIONS, encoded
from tests.providers.test_classify import bodies, headers, operations, statuses

REQUEST = Request("GET", "https://h", "/")
SEARCH = OPERATIONS["alibaba-opensearch", "function-task"]
STUDIO = OPERATIONS["huawei-dlf", "system-task"]
JOB = OPERATIONS["http", "job"]
SIGNED = Asked("GetFunctionTask", "file key (access_key_secret)", signed=True)
PLAIN = Asked("GET /v1/jobs/{job_id}", "the config file (bearer)", signed=False)
DATES = {
    0: "Tue, 14 Nov 2023 22:13:20 GMT",
    -61: "Tue, 14 Nov 2023 22:14:21 GMT",
    59: "Tue, 14 Nov 2023 22:12:21 GMT",
    1000: "Tue, 14 Nov 2023 21:56:40 GMT",
}
"""What a server says whose clock is so many seconds behind."""


def of_reply(operation: Operation, status: int, body: Any, ahead: int = 0, **more: str) -> Diagnosis:
    """The diagnosis of an answer, from a server whose clock is ``ahead`` seconds behind."""
    given = {"Date": DATES[ahead], **{name.replace("_", "-"): value for name, value in more.items()}}
    reply = Reply(status, CIMultiDict(given), encoded(body))
    told = explain_reply(operation, REQUEST, reply, NOW, None)
    return diagnose(classify(operation, reply, NOW), told, PLAIN if operation is JOB else SIGNED)


def coded(code: str, message: str = "words") -> dict[str, str]:
    """An error as both vendors write it."""
    return {"code": code, "message": message, "error_code": code, "error_msg": message}


# What came, the verdict, whether the connection works, and a part of what it is said to mean.
ANSWERS: list[tuple[Operation, int, Any, str, bool, str]] = [
    (JOB, 200, {"status": "in_progress"}, "ok", True, "answered: running"),
    (JOB, 404, {"error": {"code": "not_found"}}, "ok", True, "it works, but does not know the task (HTTP 404"),
    (SEARCH, 404, coded("Task.NotExist"), "ok", True, "does not know the task"),
    (STUDIO, 400, coded("DLF.0810"), "ok", True, "does not know the task"),
    (JOB, 200, {"status": "sleeping"}, "ok", True, "the answer is not understood (HTTP 200, status 'sleeping'"),
    (JOB, 200, {"state": "running"}, "not understood", False, "endpoint and spec"),
    (JOB, 200, b"", "not understood", False, "an answer that is not JSON"),
    (JOB, 200, HTML, "something else", False, "perhaps of a proxy or a login"),
    (JOB, 404, HTML, "something else", False, "see host and path of the endpoint"),
    (JOB, 302, b"", "something else", False, "HTTP 302"),
    (JOB, 403, HTML, "something else", False, "HTTP 403"),
    (JOB, 429, {}, "throttled", True, "it works, but had too many requests"),
    (SEARCH, 400, coded("Throttling.User"), "throttled", True, "Throttling.User"),
    (STUDIO, 429, coded("APIGW.0308"), "throttled", True, "APIGW.0308"),
    (JOB, 401, {}, "credentials refused", False, "come from the config file (bearer)"),
    (JOB, 401, HTML, "credentials refused", False, "HTTP 401"),
    (JOB, 407, HTML, "proxy", False, "a proxy on the way wants a login"),
    (SEARCH, 404, coded("InvalidAccessKeyId.NotFound"), "credentials refused", False, "no such access key"),
    (SEARCH, 400, coded("SignatureDoesNotMatch"), "credentials refused", False, "file key (access_key_secret)"),
    (SEARCH, 400, coded("MissingSecurityToken"), "credentials refused", False, "needs its security token"),
    (SEARCH, 403, coded("InvalidSecurityToken.Expired"), "credentials refused", False, "has expired"),
    (SEARCH, 403, coded("InvalidSecurityToken.Malformed"), "credentials refused", False, "not the one of the access"),
    (STUDIO, 401, coded("APIGW.0301"), "credentials refused", False, "key, secret or token is wrong"),
    (STUDIO, 401, coded("APIC.0307"), "credentials refused", False, "the token has expired"),
    (SEARCH, 400, coded("InvalidTimeStamp.Expired"), "clock off", False, "signatures hold for 15 minutes"),
    (SEARCH, 403, coded("Forbidden.RAM"), "no permission", False, "may not GetFunctionTask, grant it"),
    (SEARCH, 400, coded("NoPermission"), "no permission", False, "NoPermission"),
    (STUDIO, 403, coded("APIGW.0302"), "no permission", False, "APIGW.0302"),
    (JOB, 403, {}, "no permission", False, "may not GET /v1/jobs/{job_id}"),
    (JOB, 404, {}, "wrong path or host", False, "endpoint and region"),
    (JOB, 404, coded("nobody.knows.it"), "wrong path or host", False, "nobody.knows.it"),
    (JOB, 405, {}, "wrong path or host", False, "HTTP 405"),
    (STUDIO, 404, coded("APIGW.0101"), "wrong path or host", False, "APIGW.0101"),
    (SEARCH, 404, coded("InvalidApi.NotFound"), "wrong path or host", False, "InvalidApi.NotFound"),
    (SEARCH, 404, coded("App.NotFound"), "rejected", False, "the parameters of provider and task"),
    (STUDIO, 400, coded("DLF.0819"), "rejected", False, "DLF.0819"),
    (JOB, 422, {}, "rejected", False, "HTTP 422"),
    (JOB, 503, HTML, "failing", False, "on the provider's side"),
    (SEARCH, 400, coded("System.Busy"), "failing", False, "System.Busy"),
    (JOB, 408, {}, "failing", False, "HTTP 408"),
    (JOB, 422, {"message": "a\nb\x1b[31m c\u2028d"}, "rejected", False, "(HTTP 422, a b [31m c d)"),
]

# What the transport says, and what that is called.
SILENCES = [
    ("ClientConnectorDNSError: Cannot connect to host x.y:443 ssl:default [Name or service not known]", "name unknown"),
    ("ClientConnectorDNSError: Cannot connect to host x.y:443 ssl:default [Timeout while contacting]", "name unknown"),
    (
        "ClientConnectorError: Cannot connect to host x:1 ssl:default [Temporary failure in name resolution]",
        "name unknown",
    ),
    ("the name x.y does not resolve: NXDOMAIN", "name unknown"),
    ("ClientConnectorError: Cannot connect to host h:1 ssl:default [Connect call failed ('127.0.0.1', 1)]", "refused"),
    ("the connection to h:1 was refused", "refused"),
    ("ConnectionRefusedError: [Errno 111] Connection refused", "refused"),
    (
        "ClientConnectorCertificateError: Cannot connect to host h:443 ssl:True [SSLCertVerificationError: (1, '[SSL: "
        "CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1006)')]",
        "not trusted",
    ),
    ("the certificate of h is not trusted: unknown authority", "not trusted"),
    ("ClientConnectorSSLError: Cannot connect to host h:1 ssl:default [[SSL: WRONG_VERSION_NUMBER] wrong]", "no TLS"),
    ("TLS: the server speaks none that is new enough", "no TLS"),
    ("no answer within 10 s", "timeout"),
    ("connecting to h:443 timed out after 3 s", "timeout"),
    ("OSError: [Errno 101] Network is unreachable", "no route"),
    ("OSError: [Errno 113] No route to host", "no route"),
    ("ServerDisconnectedError: Server disconnected", "cut off"),
    ("ClientOSError: [Errno 104] Connection reset by peer", "cut off"),
    ("the proxy p:3128 refused the connection: 407", "proxy"),
    ("ClientResponseError: Expected HTTP/, RTSP/ or ICE/: b'SSH-2.0-OpenSSH_9.6'", "no HTTP"),
    ("what answers at h:22 speaks no HTTP: SSH-2.0", "no HTTP"),
    ("ValueError: whatever", "no answer"),
    ("", "no answer"),
]


class TestAnswer:
    @pytest.mark.parametrize(("operation", "status", "body", "verdict", "works", "part"), ANSWERS)
    def test_is_put_into_words(
        self, operation: Operation, status: int, body: Any, verdict: str, works: bool, part: str
    ) -> None:
        """In a word or two, what that means and what to do, with what was said."""
        found = of_reply(operation, status, body)
        assert (found.verdict, found.works) == (verdict, works)
        assert part in found.meaning

    def test_in_many_words_is_cut(self) -> None:
        """Some vendors put the whole request into the message."""
        found = of_reply(SEARCH, 400, coded("SignatureDoesNotMatch", "server string to sign is " * 50))
        assert len(found.meaning) < 400

    def test_that_asks_to_wait_says_for_how_long(self) -> None:
        """As the provider asked."""
        assert "and asks to wait for 1m30s" in of_reply(JOB, 429, {}, Retry_After="90").meaning

    @given(operations, statuses, headers, bodies)
    def test_of_whatever_kind_has_words(
        self, operation: Operation, status: int, headers: CIMultiDict[str], body: bytes | None
    ) -> None:
        """On one line, and nothing that moves a cursor; what told of the task works."""
        reply = Reply(status, headers, body)
        seen = classify(operation, reply, NOW)
        found = diagnose(seen, explain_reply(operation, REQUEST, reply, NOW, None), SIGNED)
        assert found.verdict
        assert found.meaning.isprintable()
        assert found.works or seen.outcome not in (Outcome.ANSWERED, Outcome.MISSING, Outcome.THROTTLED)


class TestClock:
    @pytest.mark.parametrize(
        ("operation", "status", "body", "ahead", "verdict", "part"),
        [
            (JOB, 200, {"status": "success"}, 59, "ok", "succeeded"),
            (
                JOB,
                200,
                {"status": "success"},
                -61,
                "ok, clock off",
                "the clock here is 61 s behind the server's: set it",
            ),
            (STUDIO, 200, {"status": "RUNNING"}, -61, "ok, clock off", "and signatures hold for 15 minutes"),
            (STUDIO, 401, coded("APIGW.0301"), 1000, "clock off", "the clock here is 1000 s ahead of the server's"),
            (STUDIO, 401, coded("APIGW.0301"), -61, "credentials refused", "61 s behind"),
            (JOB, 401, {}, 1000, "credentials refused", "1000 s ahead of the server's"),
            (JOB, 503, {}, 1000, "failing", "1000 s ahead of the server's"),
        ],
    )
    def test_that_is_off_is_told(
        self, operation: Operation, status: int, body: Any, ahead: int, verdict: str, part: str
    ) -> None:
        """A warning where all is well, the cause where a signature was refused; once, and with what was answered."""
        found = of_reply(operation, status, body, ahead)
        assert found.verdict == verdict
        assert part in found.meaning
        assert found.meaning.count("the clock here") == (verdict != "ok")


class TestSilence:
    @pytest.mark.parametrize(("message", "verdict"), SILENCES)
    def test_is_put_into_words(self, message: str, verdict: str) -> None:
        """What kept the answer from coming is told by what the transport said."""
        seen = Observation(Outcome.UNREACHABLE, message=message, rule="no answer came")
        found = diagnose(seen, Explanation(NOW, ()), SIGNED)
        assert (found.verdict, found.works) == (verdict, False)
        assert message[:100] in found.meaning

    def test_for_want_of_credentials_tells_where_they_should_be(self) -> None:
        """Nothing was sent."""
        seen = Observation(Outcome.UNAUTHORIZED, message="no credentials: empty", rule="nothing was sent")
        found = diagnose(seen, Explanation(NOW, ()), SIGNED)
        assert (found.verdict, found.works) == ("no credentials", False)
        assert "file key (access_key_secret)" in found.meaning


class TestAsked:
    """What the words need to know of the request."""

    def test_of_alibaba_cloud_is_its_action(self) -> None:
        """It is what permissions are granted for."""
        settings = Provider(kind="alibaba-opensearch")
        asked = asked_with(settings, builtin_kinds()["alibaba-opensearch"], "function-instance", "ECS role r")
        assert asked == Asked("GetFunctionInstance", "ECS role r", signed=True)

    def test_elsewhere_is_method_and_path(self) -> None:
        """There is no other name for it."""
        asked = asked_with(Provider(kind="huawei-dlf"), builtin_kinds()["huawei-dlf"], "system-task")
        assert asked.action == "GET /v1/{project_id}/system-tasks/{task_id}"

    def test_tells_where_credentials_come_from_and_not_what_they_are(self) -> None:
        """By place, with the keys that come from there; absent ones do not count."""
        written = {
            "access_key": Secret.literal("key-id"),
            "secret_key": Secret.from_env("SK", {"SK": "open-sesame"}),
            "security_token": Secret.from_env("ST", {}, optional=True),
        }
        settings = Provider(kind="huawei-dlf").model_copy(update={"credentials": written})
        asked = asked_with(settings, builtin_kinds()["huawei-dlf"], "system-task")
        assert asked.credentials == "the config file (access_key), environment variable SK (secret_key)"

    def test_of_an_api_that_wants_none_has_none(self) -> None:
        """Nor any hint where they might be, nor a signature."""
        job = {"path": "/job", "status": "status", "states": {"succeeded": "ok", "failed": "bad"}}
        asked = asked_with(Provider(kind="http"), inline_kind({"operations": {"job": job}}), "job")
        assert (asked.credentials, asked.signed) == ("none", False)
