"""What a provider echoes of the secrets it was sent, taken out again."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import orjson

from poller.domain.observation import Observation
from poller.providers.credentials.forms import Credentials

_ECHOING = ("message", "raw_status", "code", "request_id", "run_id")
_SHORTEST_HIDDEN = 4
"""Characters from which on a secret is looked for; a shorter one would be found in every other word."""


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


def without_secrets(text: str, credentials: Credentials) -> str:
    """``text``, which may have been cut with an ellipsis, without any secret of ``credentials``."""
    return _without(text, _hidden(credentials.secrets)) if credentials else text


def _hidden(secrets_: Iterable[str]) -> list[str]:
    """What must not be seen, as it is and as JSON writes it; the longest first, for one secret may hold another."""
    long = [secret for secret in secrets_ if len(secret) >= _SHORTEST_HIDDEN]
    return sorted({*long, *(orjson.dumps(secret).decode()[1:-1] for secret in long)}, key=len, reverse=True)


def _without(text: str, hidden: Iterable[str]) -> str:
    for secret in hidden:
        *shortened, rest = text.replace(secret, "***").split("…")
        text = "…".join([*(_without_start(part, secret) for part in shortened), rest])
    return text


def _without_start(text: str, secret: str) -> str:
    """``text``, which was cut at its end, without the start of ``secret`` where it was cut in the middle of that."""
    lengths = range(min(len(secret), len(text)), _SHORTEST_HIDDEN - 1, -1)
    length = next((length for length in lengths if text.endswith(secret[:length])), 0)
    return f"{text[:-length]}***" if length else text
