"""What commands print: for people plain tables, never wrapped when they go to a program; for programs JSON."""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from poller.domain.durations import format_duration
from poller.domain.moments import foreseen, rfc3339
from poller.domain.observation import Observation
from poller.domain.state import Flag, State
from poller.domain.task import Entry

if TYPE_CHECKING:
    from poller.config.loading import Loaded
    from poller.config.settings import Sink
    from poller.config.watchlist import Diff
    from poller.providers.binding import Binding
    from poller.providers.diagnosis import Diagnosis
    from poller.providers.recorded import Verdict

_GAP = 2
"""Blanks between two columns."""
_NARROWEST = 20
"""Characters of the last column that are shown on the narrowest terminal."""
STYLES = {
    "ok": "green",
    "succeeded": "green",
    "answered": "green",
    "running": "cyan",
    "pending": "blue",
    "failed": "bold red",
    "missing": "red",
    "expired": "red",
    "stopped": "yellow",
    "unrecognized": "yellow",
    "rejected": "yellow",
    "throttled": "yellow",
    "unreachable": "red",
    "unauthorized": "bold red",
    "NO": "bold red",
}


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str | None]], folded: bool = False) -> None:
    """Prints rows under their columns' names, a line each; on a terminal the last column is cut where it ends.

    Where it is ``folded``, it takes as many lines of the terminal as it needs.
    """
    lines = _lines(columns, rows)
    widths = _widths(lines)
    if sys.stdout.isatty():
        table, width = _styled(lines, Console().width, folded)
        Console(highlight=False, width=width).print(table)
        return
    for cells in lines:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def _lines(columns: Sequence[str], rows: Iterable[Sequence[str | None]]) -> list[list[str]]:
    return [[name.upper() for name in columns], *([cell or "-" for cell in row] for row in rows)]


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, cells)) for cells in zip(*lines, strict=True)]


def _styled(lines: Sequence[Sequence[str]], room: int, folded: bool = False) -> tuple[Table, int]:
    """A table with colours, and how wide it is.

    Only the last column gives way where the terminal is too narrow: rich would leave others out.
    """
    *fixed, last = _widths(lines)
    taken = sum(fixed) + _GAP * len(fixed)
    columns = [*fixed, min(last, max(room - taken, _NARROWEST))]
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for name, width in zip(lines[0][:-1], fixed, strict=True):
        table.add_column(name, no_wrap=True, overflow="ellipsis", width=width)
    table.add_column(lines[0][-1], no_wrap=not folded, overflow="fold" if folded else "ellipsis", width=columns[-1])
    for cells in lines[1:]:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in cells))
    return table, taken + columns[-1]


def print_watchlist(loaded: "Loaded", bindings: Mapping[str, "Binding"], sinks: Mapping[str, str]) -> None:
    """What would be watched: the connections, the places of the sinks, and each task with the request that asks."""
    counts = Counter(entry.provider for entry in loaded.entries.values())
    print_table(
        ("provider", "kind", "endpoint", "credentials", "tasks"),
        ((name, b.kind.name, str(b.endpoint), b.credentials.name, str(counts[name])) for name, b in bindings.items()),
    )
    sys.stdout.write("\n")
    if sinks:
        print_table(
            ("sink", "kind", "place", "gets"),
            (
                (name, loaded.settings.sinks[name].kind, place, _gets(loaded.settings.sinks[name]))
                for name, place in sinks.items()
            ),
        )
        sys.stdout.write("\n")
    print_table(
        ("task", "provider", "operation", "request"),
        ((e.name, e.provider, e.operation, _request_line(e, bindings[e.provider])) for e in loaded.entries.values()),
    )


def print_probed(found: Mapping[str, tuple[str | None, "Diagnosis"]]) -> None:
    """How each connection does, and which task it was asked for."""
    rows = ((name, asked, diagnosis.verdict, diagnosis.meaning) for name, (asked, diagnosis) in found.items())
    print_table(("provider", "asked about", "verdict", "what it means"), rows, folded=True)


def print_changes(changes: "Diff") -> None:
    """What becomes of the watchlist: a line for each task that does not stay as it is."""
    restarted = set(changes.restarted)
    rows = [("add", name) for name in changes.added]
    rows += [("restart" if name in restarted else "change", name) for name in changes.changed]
    rows += [("remove", name) for name in changes.removed]
    sys.stdout.write("".join(f"{what:<8} {name}\n" for what, name in rows) or "nothing changes\n")


def print_observations(loaded: "Loaded", seen: Mapping[str, Observation]) -> None:
    """What each poll brought, and why it was taken for that."""
    print_table(
        ("task", "outcome", "state", "status", "progress", "message", "because of"),
        (
            (name, o.outcome, o.state, o.raw_status, percent(o.progress), o.message, o.rule)
            for name, o in seen.items()
            if name in loaded.entries
        ),
    )


_STATUS = ("task", "provider", "state", "flags", "progress", "took", "expected end", "polls", "message")


def print_status(tasks: Iterable[Mapping[str, Any]]) -> None:
    """The tasks of a daemon, as its API tells them."""
    print_table(_STATUS, map(_status_row, tasks))


def status_table(tasks: Iterable[Mapping[str, Any]], console: Console) -> Table:
    """The tasks of a daemon as a table for a terminal, no wider than it unless it is very narrow."""
    table, _ = _styled(_lines(_STATUS, map(_status_row, tasks)), console.width)
    return table


def _status_row(task: Mapping[str, Any]) -> tuple[str | None, ...]:
    failure = (task["last_failure"] or {}).get("message") if task["consecutive_failures"] else None
    message = task["message"] or failure
    return (
        task["name"],
        task["provider"],
        task["state"],
        " ".join(flag for flag in Flag if task.get(flag)),
        percent(task["progress"]),
        _took(task),
        expected_end(task, datetime.now(UTC)),
        str(task["polls"]),
        message and printable(message),
    )


def print_listed(tasks: Iterable[Mapping[str, Any]]) -> None:
    """The watchlist of a daemon, as its API tells it: where each task comes from, and how long it stays."""
    print_table(
        ("task", "provider", "operation", "state", "source", "owner", "ttl"),
        (
            (
                *(task[key] for key in ("name", "provider", "operation", "state", "source")),
                task.get("owner"),
                None if task.get("ttl_seconds") is None else format_duration(task["ttl_seconds"]),
            )
            for task in tasks
        ),
    )


def print_json(value: object) -> None:
    """One object on one line, for programs."""
    try:
        text = orjson.dumps(value).decode()
    except TypeError:
        # Half a surrogate pair, which an answer's header may hold; this writes it as its escape.
        text = json.dumps(value)
    sys.stdout.write(text + "\n")


def print_kinds(kinds: Iterable[Mapping[str, Any]]) -> None:
    """The kinds of providers, as `describe` tells them."""
    print_table(
        ("kind", "about", "operations"),
        ((kind["kind"], kind["about"], " ".join(op["operation"] for op in kind["operations"])) for kind in kinds),
    )


def print_kind(kind: Mapping[str, Any]) -> None:
    """One kind of provider: what goes into the config file, and what its answers mean."""
    _print_facts(kind["kind"], kind["about"], _kind_facts(kind))
    for operation in kind["operations"]:
        sys.stdout.write("\n")
        _print_facts(operation["operation"], operation["about"], _operation_facts(operation))


def print_verdicts(verdicts: Iterable["Verdict"]) -> None:
    """What was read in recorded answers, how it differs from what was expected, and why it means what it means."""
    print_table(
        ("operation", "answer", "expected", "got", "ok", "because of"),
        (
            (
                v.case.operation.name,
                v.case.model.title,
                v.case.model.expect,
                v.got,
                "yes" if v.is_right else "NO",
                v.reason,
            )
            for v in verdicts
        ),
    )


def _print_facts(name: str, about: str, facts: Iterable[tuple[str, str]]) -> None:
    sys.stdout.write(f"{name}: {about}\n" if about else f"{name}\n")
    sys.stdout.write("".join(f"  {key:<12} {text}\n" for key, text in facts if text))


def _kind_facts(kind: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    yield "source", kind["source"]
    yield "extends", " > ".join(kind["extends"])
    yield "endpoint", kind["endpoint"] or "none, it must be given"
    yield "signer", kind["signer"]
    yield "credentials", "; or ".join(kind["credentials"])
    yield "", "left out: the first of these that is there" if kind["default_credentials"] else "left out: none are sent"
    for link in kind["default_credentials"]:
        optional = f" (+ {' '.join(link['optional'])})" if link["optional"] else ""
        yield "", f"- {link['from']}: {' + '.join(link['variables'])}{optional}".removesuffix(": ")


def _operation_facts(operation: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    optional = f" (+ {' '.join(operation['optional'])})" if operation["optional"] else ""
    yield "request", f"{operation['method']} {operation['path']}"
    yield "parameters", " ".join(operation["required"]) + optional
    yield "start", f"POST {operation['start']}" if operation["start"] else ""
    for state in sorted({*operation["states"].values(), *operation["rules"].values()}, key=list(State).index):
        told = [raw for raw, means in operation["states"].items() if means == state]
        told += [rule for rule, means in operation["rules"].items() if means == state]
        yield state, ", ".join(told)


def observation_json(entry: Entry, seen: Observation) -> dict[str, Any]:
    """What a poll brought, for programs; times in RFC 3339."""
    return {
        "task": entry.name,
        "provider": entry.provider,
        "operation": entry.operation,
        "outcome": seen.outcome,
        "state": seen.state,
        "raw_status": seen.raw_status,
        "progress": seen.progress,
        "message": seen.message,
        "started_at": rfc3339(seen.started_at),
        "ended_at": rfc3339(seen.ended_at),
        "duration_seconds": seen.duration,
        "request_id": seen.request_id,
        "http_status": seen.http_status,
        "code": seen.code,
        "retry_after_seconds": seen.retry_after,
        "reason": seen.rule,
        "saw": seen.saw,
    }


def printable(text: str) -> str:
    """``text`` on one line, with nothing in it that would move a terminal's cursor."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text.expandtabs(4))


def percent(progress: float | None) -> str | None:
    """Progress for people."""
    return None if progress is None else f"{progress:g} %"


def expected_end(task: Mapping[str, Any], now: datetime) -> str | None:
    """When a task that the API tells of will probably end; None where nobody knows. An older daemon tells nothing."""
    at, low_at, high_at = (_epoch(task.get(f"expected_end_{key}")) for key in ("at", "low_at", "high_at"))
    return None if at is None else foreseen(at, low_at, high_at, now.timestamp())


def _epoch(moment: str | None) -> float | None:
    return None if moment is None else datetime.fromisoformat(moment).timestamp()


def _gets(sink: "Sink") -> str:
    """Which transitions a sink is told of, for people."""
    labels = [f"{key}={value}" for key, value in sink.labels.items()]
    named: dict[str, Sequence[str]] = {
        "states": sink.states,
        "providers": sink.providers,
        "operations": sink.operations,
        "labels": labels,
    }
    told = [f"{key} {' '.join(values)}" for key, values in named.items() if values]
    return "; ".join([*told, *([] if sink.initial else ["not initial"])]) or "all"


def _request_line(entry: Entry, binding: "Binding") -> str:
    from poller.providers.client import build_request

    request = build_request(binding.kind.operations[entry.operation], binding.endpoint, entry.params)
    return f"{request.method} {request.url}"


def _took(task: Mapping[str, Any]) -> str | None:
    if task["duration_seconds"] is not None:
        return format_duration(task["duration_seconds"])
    if task["started_at"] is None or task["terminal"]:
        return None
    return format_duration(max(0.0, (datetime.now(UTC) - datetime.fromisoformat(task["started_at"])).total_seconds()))
