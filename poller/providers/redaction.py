"""What a provider echoes of the secrets it was sent, taken out again."""

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from html import escape
from typing import Any
from urllib.parse import quote

import orjson

from poller.domain.observation import Observation
from poller.providers.credentials.forms import Credentials

_ECHOING = ("message", "raw_status", "code", "request_id", "run_id", "saw")
_SHORTEST_HIDDEN = 4
"""Characters from which on a secret is looked for; a shorter one would be found in every other word."""
_HEAD = 32
"""Characters of a secret that are looked for in every disguise; what follows is then compared one by one."""
_LONGEST_DISGUISE = 12
"""Characters that one character of a secret may be written in: four bytes, percent-encoded."""


def redacted(seen: Observation, credentials: Credentials) -> Observation:
    """``seen`` without any secret of ``credentials`` that the provider echoed."""
    hidden = _hidden(credentials.secrets) if credentials else []
    texts = {name: getattr(seen, name) for name in _ECHOING}
    clean: dict[str, Any] = {name: _without(text, hidden) for name, text in texts.items() if text}
    if seen.subtasks is not None:
        failed = tuple(_without(name, hidden) for name in seen.subtasks.failed)
        clean["subtasks"] = replace(seen.subtasks, failed=failed)
    if seen.runs:
        clean["runs"] = tuple(replace(run, run_id=_without(run.run_id, hidden)) for run in seen.runs)
    return seen if all(getattr(seen, name) == value for name, value in clean.items()) else replace(seen, **clean)


def without(text: str, secrets: Iterable[str]) -> str:
    """``text``, which may have been cut with an ellipsis, without any of ``secrets``, plain or as in a URL."""
    return _without(text, _hidden(form for secret in secrets for form in (secret, quote(secret, safe="~"))))


def unmasked(text: str, credentials: Credentials, is_cut: bool = False) -> str:
    """``text``, of whatever format, without any secret of ``credentials``, however its characters are written there.

    That is slow, and for texts that somebody wants to see. Of a text that ``is_cut`` so much is left out at its end as
    may be the beginning of a secret.
    """
    if not credentials:
        return text
    text = _without(text, _hidden(credentials.secrets))
    for secret in sorted(credentials.secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_HIDDEN:
            text = _without_disguised(text, secret)
    return text[: -_LONGEST_DISGUISE * _HEAD] if is_cut else text


def _without_disguised(text: str, secret: str) -> str:
    """``text`` without ``secret``, or as much of it as there is, if that is its head at least."""
    head, kept, at = _disguised(secret[:_HEAD]), [], 0
    while match := head.search(text, at):
        kept += [text[at : match.start()], "***"]
        at = _end_of(secret[_HEAD:], text, match.end())
    return "".join([*kept, text[at:]])


def _end_of(rest: str, text: str, at: int) -> int:
    for character in rest:
        match = _disguised(character).match(text, at)
        if match is None:
            break
        at = match.end()
    return at


@lru_cache(maxsize=512)
def _disguised(part: str) -> re.Pattern[str]:
    return re.compile("".join(map(_any_spelling, part)))


def _any_spelling(character: str) -> str:
    """A pattern for a character as it is, and as JSON (in JSON, too), URLs and HTML may write it."""
    units = character.encode("utf-16-be", "surrogatepass").hex()
    ways = [
        re.escape(character),
        r"\\{1,4}" + re.escape(character),
        "".join(rf"\\{{1,4}}u(?i:{units[i : i + 4]})" for i in range(0, len(units), 4)),
        "".join(f"(?i:%{byte:02x})" for byte in character.encode("utf-8", "surrogatepass")),
        f"&#0*{ord(character)};",
        f"(?i:&#x0*{ord(character):x};)",
    ]
    named = escape(character)
    return f"(?:{'|'.join(ways if named == character else [*ways, re.escape(named)])})"


def _hidden(secrets_: Iterable[str]) -> list[str]:
    """What must not be seen, as it is and as JSON writes it; the longest first, for one secret may hold another."""
    long = [secret for secret in secrets_ if len(secret) >= _SHORTEST_HIDDEN]
    return sorted({*long, *(orjson.dumps(secret).decode()[1:-1] for secret in long)}, key=len, reverse=True)


def _without(text: str, hidden: Iterable[str]) -> str:
    for secret in hidden:
        text = text.replace(secret, "***")
        if "…" in text:
            *shortened, rest = text.split("…")
            text = "…".join([*(_without_start(part, secret) for part in shortened), rest])
    return text


def _without_start(text: str, secret: str) -> str:
    """``text``, which was cut at its end, without the start of ``secret`` where it was cut in the middle of that."""
    lengths = range(min(len(secret), len(text)), _SHORTEST_HIDDEN - 1, -1)
    length = next((length for length in lengths if text.endswith(secret[:length])), 0)
    return f"{text[:-length]}***" if length else text
