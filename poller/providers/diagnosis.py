"""What one answer, or none, says of a connection as a whole, in words that an operator can act on. Pure.

Credentials, clock, endpoint and permissions fail in ways that look alike; what tells them apart is in the tables here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from poller.config.settings import Provider
from poller.domain.durations import format_duration
from poller.domain.explanation import Explanation
from poller.domain.observation import Observation, Outcome
from poller.providers.classify import cut
from poller.providers.spec import Kind

CLOCK_REMARKABLE = 60.0
"""Seconds by which two clocks may differ without anybody being told."""
CLOCK_REFUSED = 900.0
"""Seconds by which they may differ before the vendors refuse signatures."""

_LONGEST_SAID = 200


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """How a connection does: in two words, what that means and what to do, and whether it ``works``."""

    verdict: str
    meaning: str
    works: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What the words need to know of the request: what its sender must be allowed to do, and who that was."""

    action: str
    credentials: str
    """Where the credentials come from."""
    signed: bool
    """Whether the request carries a signature, which holds only for so long."""


UNASKED = Diagnosis("unasked", "no task names it", works=True)


def asked_with(settings: Provider, kind: Kind, operation: str, origin: str = "none") -> Asked:
    """What is known of the requests that ``operation`` makes on a connection.

    ``origin`` is where its credentials come from if the config has none.
    """
    op = kind.operations[operation]
    action = next((text for name, text in op.headers.items() if name.lower() == "x-acs-action"), None)
    return Asked(action or f"{op.method} {op.path}", _written(settings) or origin, kind.signer != "plain")


def diagnose(seen: Observation, told: Explanation, asked: Asked) -> Diagnosis:
    """What ``seen`` says of the connection."""
    return _with_clock(_BY_OUTCOME[seen.outcome](seen, told, asked), told, asked)


def _answered(seen: Observation, _told: Explanation, _asked: Asked) -> Diagnosis:
    return Diagnosis("ok", f"answered: {seen.state}", works=True)


def _missing(seen: Observation, _told: Explanation, _asked: Asked) -> Diagnosis:
    return Diagnosis("ok", f"it works, but does not know the task ({_said(seen)})", works=True)


def _throttled(seen: Observation, _told: Explanation, _asked: Asked) -> Diagnosis:
    wait = "" if seen.retry_after is None else f" and asks to wait for {format_duration(seen.retry_after)}"
    return Diagnosis("throttled", f"it works, but had too many requests{wait} ({_said(seen)})", works=True)


def _unrecognized(seen: Observation, told: Explanation, _asked: Asked) -> Diagnosis:
    if _is_elsewhere(told):
        return _elsewhere(seen)
    if seen.raw_status is not None:
        return Diagnosis("ok", f"it works, but the answer is not understood ({_said(seen)})", works=True)
    return _broken("not understood", seen, "see whether endpoint and spec are those of the API that answers there")


def _rejected(seen: Observation, told: Explanation, asked: Asked) -> Diagnosis:
    if _is_elsewhere(told):
        return _elsewhere(seen)
    if seen.http_status == 403 or _fits(seen.code, _FORBIDDEN):
        return _broken("no permission", seen, f"the owner of these credentials may not {asked.action}, grant it")
    if _fits(seen.code, _NO_SUCH_API) or (seen.http_status in (404, 405) and _by_http_alone(seen)):
        return _broken("wrong path or host", seen, "see whether endpoint and region are those of this API")
    return _broken("rejected", seen, "see the parameters of provider and task")


def _unauthorized(seen: Observation, told: Explanation, asked: Asked) -> Diagnosis:
    if seen.http_status is None:
        return _broken("no credentials", seen, f"the credentials come from {asked.credentials}")
    if seen.http_status == 407:
        return _broken("proxy", seen, "a proxy on the way wants a login")
    off = abs(told.clock_ahead or 0.0)
    if _fits(seen.code, ("InvalidTimeStamp*",)) or (asked.signed and off >= CLOCK_REFUSED):
        return _broken("clock off", seen, "set the clock, for signatures hold for 15 minutes")
    why = next(
        (words for codes, words in _REFUSED.items() if _fits(seen.code, (codes,))), "the provider does not take them"
    )
    return _broken("credentials refused", seen, f"{why}; the credentials come from {asked.credentials}")


def _unreachable(seen: Observation, _told: Explanation, _asked: Asked) -> Diagnosis:
    if seen.http_status is not None:
        return _broken("failing", seen, "the trouble is on the provider's side, or a gateway's; try again later")
    message = seen.message or ""
    verdict, advice = next(words for pattern, words in _SILENCES if re.search(pattern, message, re.IGNORECASE))
    return _broken(verdict, seen, advice)


_BY_OUTCOME: dict[Outcome, Callable[[Observation, Explanation, Asked], Diagnosis]] = {
    Outcome.ANSWERED: _answered,
    Outcome.MISSING: _missing,
    Outcome.THROTTLED: _throttled,
    Outcome.UNRECOGNIZED: _unrecognized,
    Outcome.REJECTED: _rejected,
    Outcome.UNAUTHORIZED: _unauthorized,
    Outcome.UNREACHABLE: _unreachable,
}

_REFUSED = {
    "InvalidAccessKeyId*": "there is no such access key, or it was disabled",
    "SignatureDoesNotMatch": "the secret is not the one of the access key",
    "IncompleteSignature": "the signature did not arrive whole, as when a proxy changes headers",
    "MissingSecurityToken": "the key is a temporary one, and needs its security token",
    "InvalidSecurityToken.Expired": "the security token has expired",
    "InvalidSecurityToken*": "the security token is not the one of the access key",
    "API*.0301": "key, secret or token is wrong, or the key is locked for 5 minutes after too many failures",
    "API*.0303": "the app's key or secret is wrong",
    "API*.0307": "the token has expired",
}
"""What the vendors mean by their codes; the first one that fits."""
_FORBIDDEN = ("Forbidden*", "NoPermission*", "API*.0302", "API*.0304", "API*.0306", "API*.0310")
_NO_SUCH_API = ("API*.0101", "InvalidApi.NotFound")

_SILENCES = (
    (r"\bproxy\b", ("proxy", "see the proxy's address, login and rules")),
    (
        r"not resolve|name or service|nodename|name resolution|getaddrinfo|DNSError|no address associated",
        ("name unknown", "see the host in endpoint or region, and this machine's resolver"),
    ),
    (
        r"certificate|self.signed|hostname mismatch",
        ("not trusted", "see whether the host is the right one, and which authorities are trusted"),
    ),
    (r"\bSSL(?!:default)|\bTLS\b|handshake", ("no TLS", "see whether the endpoint is https, and at this port")),
    (r"refused|connect call failed", ("refused", "nothing listens there: see host and port of the endpoint")),
    (
        r"no answer within|timed? ?out",
        ("timeout", "see whether a firewall or a proxy is on the way, and whether the timeout is long enough"),
    ),
    (r"unreachable|no route", ("no route", "see this machine's network, and the endpoint's address")),
    (r"ClientResponseError|no HTTP", ("no HTTP", "something else answers there: see host and port of the endpoint")),
    (
        r"reset|disconnect|closed|broken pipe",
        ("cut off", "it hung up: see whether a firewall or a proxy is on the way"),
    ),
    (r"", ("no answer", "see host and port of the endpoint")),
)
"""What the transport says when no answer comes, what that is called, and what to look at; the last one fits all."""


def _broken(verdict: str, seen: Observation, advice: str) -> Diagnosis:
    return Diagnosis(verdict, f"{advice} ({_said(seen)})", works=False)


def _said(seen: Observation) -> str:
    """What came, on one line: vendors put whole requests into their messages."""
    printable = "".join(c if c.isprintable() else " " for c in seen.message or "nothing")
    return cut(" ".join(printable.split()), _LONGEST_SAID)


def _elsewhere(seen: Observation) -> Diagnosis:
    advice = "a page came, perhaps of a proxy or a login: see host and path of the endpoint"
    return _broken("something else", seen, advice)


def _is_elsewhere(told: Explanation) -> bool:
    """Whether a page, or the way to one, came in place of an answer."""
    is_page = "html" in (told.content_type or "").lower() or (told.answer or "").lstrip().lower().startswith("<")
    return is_page or (told.http_status or 0) // 100 == 3


def _by_http_alone(seen: Observation) -> bool:
    """Whether no rule of the API's own knew what to make of the answer."""
    return (seen.rule or "").startswith("http rule")


def _fits(code: str | None, patterns: tuple[str, ...]) -> bool:
    return code is not None and any(fnmatchcase(code, pattern) for pattern in patterns)


def _with_clock(diagnosis: Diagnosis, told: Explanation, asked: Asked) -> Diagnosis:
    """``diagnosis``, and how far the clocks differ, if that is worth a word and has not been said."""
    ahead = told.clock_ahead
    if ahead is None or abs(ahead) < CLOCK_REMARKABLE or "the clock here" in diagnosis.meaning:
        return diagnosis
    way = "ahead of" if ahead > 0 else "behind"
    limit = ", and signatures hold for 15 minutes" if asked.signed else ""
    meaning = f"{diagnosis.meaning}; the clock here is {abs(ahead):.0f} s {way} the server's{limit}: set it"
    return replace(
        diagnosis, verdict="ok, clock off" if diagnosis.verdict == "ok" else diagnosis.verdict, meaning=meaning
    )


def _written(settings: Provider) -> str:
    """Where in the config the credentials stand, without what they are."""
    written: dict[str, list[str]] = {}
    for path, secret in settings.secrets():
        if secret.reveal():
            written.setdefault(secret.source, []).append(".".join(path[1:]))
    return ", ".join(f"{source} ({', '.join(keys)})" for source, keys in written.items())
