"""Whatever came of an attempt can be explained: to the same verdict, and without a secret."""

import json
from collections.abc import Callable
from html import escape, unescape
from urllib.parse import quote, unquote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from poller.domain.explanation import Explanation, Trial
from poller.providers.classify import classify
from poller.providers.credentials.forms import AccessKey, Basic, Bearer, Credentials
from poller.providers.explain import LONGEST_ANSWER, explain_reply, explain_silence
from poller.providers.request import Reply, Request
from poller.providers.spec import Operation
from tests.providers.answers import DATE, NOW, OPERATIONS
from tests.providers.test_classify import answers, bodies, headers, operations, statuses

REQUEST = Request("GET", "https://api.example.com", "/v1/jobs/1", headers={"Authorization": "Bearer open-sesame"})
JOB = OPERATIONS["http", "job"]
KEY = Bearer("open-sesame")


def explained(body: bytes | None, status: int = 200, credentials: Credentials = KEY, **more: str) -> Explanation:
    """What is told of an answer; ``more`` are its headers."""
    reply = Reply(status, CIMultiDict({name.replace("_", "-"): value for name, value in more.items()}), body)
    return explain_reply(JOB, REQUEST, reply, NOW, credentials)


def texts(explanation: Explanation) -> list[str]:
    """Everything that was not written by whoever wrote the spec."""
    saw = [trial.saw for trial in explanation.trials]
    return [text for text in (explanation.request, explanation.content_type, explanation.answer, *saw) if text]


class TestAnswer:
    def test_is_told_whole(self) -> None:
        """What was sent, what came, and when the server thinks that was."""
        told = explained(b'{"status": "success"}', Date=DATE, content_type="application/json")
        assert told == Explanation(
            at=NOW,
            trials=(
                Trial("missing: error.code == 'not_found'", False, "HTTP 200, found false"),
                Trial("status success is succeeded", True, "status 'success'"),
            ),
            request="GET https://api.example.com/v1/jobs/1",
            http_status=200,
            server_time=NOW + 60,
            content_type="application/json",
            answer='{"status": "success"}',
        )
        assert told.clock_ahead == -60

    @pytest.mark.parametrize(
        ("body", "answer"),
        [
            (b"", ""),
            (None, "(more than 1048576 bytes, which were not read)"),
            (b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR", "(16 bytes that are no text)"),
            (bytes(range(128, 228)), "(100 bytes that are no text)"),
            ("no text".encode("utf-16"), "(16 bytes that are no text)"),
            (b"<html>\r\n\tIt works! \xe4", "<html>\r\n\tIt works! \ufffd"),
            ("模型".encode(), "模型"),
            (b"x" * LONGEST_ANSWER, "x" * LONGEST_ANSWER),
            (b"x" * 1_000_000, "x" * (LONGEST_ANSWER - 1) + "…"),
        ],
    )
    def test_is_readable_and_not_too_long(self, body: bytes | None, answer: str) -> None:
        """Text as it came, as far as it goes; what is none in words."""
        assert explained(body).answer == answer

    def test_may_not_tell_the_time(self) -> None:
        """Without a date, or with one that is none, nothing is known of the server's clock."""
        assert explained(b"").clock_ahead is None
        assert explained(b"", Date="soon").clock_ahead is None


class TestSilence:
    def test_tells_what_was_asked(self) -> None:
        """No answer: the request is told, and that there was nothing to be judged."""
        request = Request("GET", "https://h", "/open-sesame")
        assert explain_silence("no answer came", NOW, request, KEY) == Explanation(
            NOW, (Trial("no answer came", True),), "GET https://h/***"
        )

    def test_tells_that_nothing_was_asked(self) -> None:
        """Nothing was sent: there is no request."""
        assert explain_silence("nothing was sent", NOW).request is None


class TestVerdict:
    @given(operations, statuses, headers, bodies | answers.map(orjson.dumps))
    def test_is_the_one_that_was_given(
        self, operation: Operation, status: int, headers: CIMultiDict[str], body: bytes | None
    ) -> None:
        """Whatever came: no error, each rule but the last let the next one speak, and the last is the verdict's."""
        reply = Reply(status, headers, body)
        seen = classify(operation, reply, NOW)
        *tried, last = explain_reply(operation, REQUEST, reply, NOW, None).trials
        assert (last.rule, last.matched, last.saw) == (seen.rule, True, seen.saw)
        assert not any(trial.matched for trial in tried[:-1])
        assert all(trial.saw for trial in tried)


DISGUISES: list[Callable[[str], str]] = [
    str,
    lambda secret: json.dumps(secret)[1:-1],
    lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1],
    lambda secret: json.dumps(json.dumps(secret))[3:-3],
    lambda secret: "".join(f"\\u{ord(c):04X}" if ord(c) < 65_536 else c for c in secret),
    lambda secret: json.dumps(secret)[1:-1].replace("/", "\\/"),
    quote,
    lambda secret: quote(secret, safe="").lower() if secret.isascii() and secret.islower() else quote(secret, safe=""),
    escape,
    lambda secret: "".join(f"&#{ord(c)};" for c in secret),
    lambda secret: "".join(f"&#x{ord(c):X};" for c in secret),
]
secrets = st.text("aZ9 -_.~/+='\"\\&<>%é模😀", min_size=2, max_size=40).map(lambda text: f"S{text}k".strip())
around = st.text("a \"'{}<>…\\n\\\\", max_size=6) | st.sampled_from(["x" * 195, "x" * 4_090, "x" * 65_530])


def plainly(text: str) -> list[str]:
    """A text as somebody may read it who tries."""
    read = [text, unescape(text), unquote(text)]
    for each in (f'"{text}"', json.dumps(text).replace("\\\\", "\\"), text):
        try:
            read.append(str(json.loads(each)))
        except ValueError:
            continue
    return read


class TestSecret:
    @given(secrets, st.sampled_from(DISGUISES), around, around, statuses, st.sampled_from(["body", "error", "header"]))
    def test_is_told_nowhere(
        self, secret: str, disguise: Callable[[str], str], before: str, after: str, status: int, where: str
    ) -> None:
        """However and wherever a provider echoes it."""
        echoed = before + disguise(secret) + after
        body = {"body": echoed.encode(), "error": json.dumps({"code": echoed}).encode(), "header": b"{}"}[where]
        reply = Reply(status, CIMultiDict({"Content-Type": echoed if where == "header" else "text/plain"}), body)
        told = explain_reply(JOB, REQUEST, reply, NOW, Basic("user", secret))
        for text in texts(told):
            assert not any(secret in read for read in plainly(text)), text

    @pytest.mark.parametrize("shift", range(0, 100, 3))
    @pytest.mark.parametrize("disguise", [str, DISGUISES[4], DISGUISES[10]])
    def test_is_not_begun_where_an_answer_is_cut(self, shift: int, disguise: Callable[[str], str]) -> None:
        """Not even where so much is taken out of a long answer that the end of what was read of it shows."""
        secret = "open-sesame-and-all-the-rest-of-it"
        told = explained(b"." * shift + disguise(secret).encode() * 2_000, credentials=Bearer(secret)).answer
        assert set(told or "") <= set(".*…")

    def test_within_another_one_leaves_nothing_of_it(self) -> None:
        """The longer one goes first."""
        told = explained(b"a abcdefgh b abcd c", credentials=AccessKey("id", "abcd", "abcdefgh"))
        assert told.answer == "a *** b *** c"

    def test_in_the_request_is_not_told(self) -> None:
        """Though it is a parameter, percent-encoded."""
        request = Request("GET", "https://h", "/jobs/a%2Fsecret")
        told = explain_reply(JOB, request, Reply(200, {}, b""), NOW, Bearer("a/secret"))
        assert told.request == "GET https://h/jobs/***"

    def test_of_three_characters_is_left(self) -> None:
        """What is found in every other word is no secret worth hiding: answers stay readable."""
        assert explained(b"abracadabra", credentials=Bearer("abr")).answer == "abracadabra"
