"""What an attempt sent, what came back and how that was judged, told when somebody wants to know. Nothing here raises.

The judging is not done a second way: `classify.retrace` goes through the very steps that led to the verdict.
"""

from poller.domain.explanation import Explanation, Trial
from poller.providers.classify import cut, parse_http_date, retrace
from poller.providers.credentials.forms import Credentials
from poller.providers.redaction import unmasked
from poller.providers.request import Reply, Request
from poller.providers.spec import Operation
from poller.providers.transport import LONGEST_BODY

LONGEST_ANSWER = 4_096
"""Characters shown of an answer."""
_LONGEST_READ = 65_536
"""Bytes of an answer that are looked at; more than are shown, for what is taken out of them makes them fewer."""
_LONGEST_REQUEST = 2_048
_LONGEST_SIGHT = 300
_UNREADABLE = ("\ufffd", *(chr(code) for code in range(1, 32) if chr(code) not in "\t\n\r"))
_MOST_UNREADABLE = 0.1
"""The share of such characters from which on something is no text."""


def explain_reply(
    operation: Operation, request: Request, reply: Reply, at: float, credentials: Credentials
) -> Explanation:
    """What ``reply`` was taken for, and why."""
    return Explanation(
        at=at,
        trials=tuple(_clean(trial, credentials) for trial in retrace(operation, reply, at)),
        request=_request_line(request, credentials),
        http_status=reply.status,
        server_time=parse_http_date(reply.headers.get("Date")),
        content_type=_shown(reply.headers.get("Content-Type"), credentials),
        answer=_answer(reply.body, credentials),
    )


def explain_silence(
    rule: str, at: float, request: Request | None = None, credentials: Credentials = None
) -> Explanation:
    """That there was nothing to be judged: no answer came, or nothing was sent."""
    sent = None if request is None else _request_line(request, credentials)
    return Explanation(at=at, trials=(Trial(rule, True),), request=sent)


def _clean(trial: Trial, credentials: Credentials) -> Trial:
    return Trial(trial.rule, trial.matched, _shown(trial.saw, credentials))


def _request_line(request: Request, credentials: Credentials) -> str:
    return cut(unmasked(f"{request.method} {request.url}", credentials), _LONGEST_REQUEST)


def _answer(body: bytes | None, credentials: Credentials) -> str:
    if body is None:
        return f"(more than {LONGEST_BODY} bytes, which were not read)"
    text = body[:_LONGEST_READ].decode("utf-8", "replace")
    if not _is_text(text):
        return f"({len(body)} bytes that are no text)"
    is_cut = len(body) > _LONGEST_READ
    return cut(unmasked(text, credentials, is_cut) + ("…" if is_cut else ""), LONGEST_ANSWER)


def _is_text(text: str) -> bool:
    unreadable = sum(map(text.count, _UNREADABLE))
    return "\0" not in text and unreadable <= len(text) * _MOST_UNREADABLE


def _shown(text: str | None, credentials: Credentials) -> str | None:
    return None if text is None else cut(unmasked(text, credentials), _LONGEST_SIGHT)
