"""Why an answer was taken for what it was taken for: a page of it for people, the same as fields for programs."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from rich.console import Console
from rich.text import Text

from poller.cli.tables import STYLES, percent, printable
from poller.domain.explanation import Explanation, Trial
from poller.domain.moments import rfc3339
from poller.domain.observation import Observation

_MARGIN = 11


def print_explanations(seen: Mapping[str, Observation]) -> None:
    """What was asked for each task, what came, and every rule tried on it."""
    console = Console(highlight=False, soft_wrap=True) if sys.stdout.isatty() else None
    for number, (name, observation) in enumerate(seen.items()):
        for line in [Text()] * bool(number) + [Text(name, style="bold"), *_lines(observation)]:
            if console is not None:
                console.print(line)
            else:
                sys.stdout.write(line.plain.rstrip() + "\n")


def explanation_json(seen: Observation) -> dict[str, Any]:
    """The same for programs; times in RFC 3339."""
    told = _told(seen)
    return {
        "request": told.request,
        "http_status": told.http_status,
        "server_time": rfc3339(told.server_time),
        "content_type": told.content_type,
        "answer": told.answer,
        "rules": [{"rule": trial.rule, "matched": trial.matched, "saw": trial.saw} for trial in told.trials],
    }


def _told(seen: Observation) -> Explanation:
    if seen.explain is not None:
        return seen.explain()
    return Explanation(0.0, (Trial(seen.rule or "", True, seen.saw),))


def _lines(seen: Observation) -> Iterator[Text]:
    told = _told(seen)
    yield from _part("request", [Text(printable(told.request or "none was sent"))])
    if told.http_status is not None:
        yield from _part("status", [Text(printable(_status(told)))])
        yield from _part("answer", [Text(line) for line in _pretty(told.answer or "") or ["empty"]])
    yield from _part("rules", (line for trial in told.trials for line in _trial(trial)))
    yield from _part("verdict", [Text(printable(_verdict(seen)), style=STYLES.get(seen.state or seen.outcome, ""))])


def _part(label: str, lines: Iterable[Text]) -> Iterator[Text]:
    """Lines beside their label."""
    for number, line in enumerate(lines):
        margin = "" if number else f"  {label}"
        yield Text.assemble((margin.ljust(_MARGIN), "dim"), line)


def _status(told: Explanation) -> str:
    parts = [f"HTTP {told.http_status}", told.content_type, rfc3339(told.server_time)]
    if told.clock_ahead is not None and abs(told.clock_ahead) >= 2:
        parts.append(f"the clock here is {abs(told.clock_ahead):.0f} s {'ahead' if told.clock_ahead > 0 else 'behind'}")
    return ", ".join(part for part in parts if part)


def _trial(trial: Trial) -> Iterator[Text]:
    yield Text(printable(f"{'yes' if trial.matched else 'no':<4} {trial.rule}"), style="bold" if trial.matched else "")
    if trial.saw is not None:
        yield Text(printable(f"     saw {trial.saw}"), style="dim")


def _verdict(seen: Observation) -> str:
    parts = (seen.outcome, seen.state, percent(seen.progress), seen.message)
    return ", ".join(part for part in parts if part)


def _pretty(answer: str) -> list[str]:
    """The answer's lines: JSON with a line for each value, anything else as it came."""
    # Left as it is: what is no JSON, cut short, or nested too deep.
    with suppress(ValueError, RecursionError):
        answer = json.dumps(json.loads(answer), indent=2, ensure_ascii=False)
    return [printable(line) for line in answer.splitlines()]
