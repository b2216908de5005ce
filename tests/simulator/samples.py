"""The JSON samples in the providers' documents, dug out of their text."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

SEEDS = Path(__file__).parents[1] / "data" / "seeds"


def samples(document: str) -> list[dict[str, Any]]:
    """Every outermost object in a document that can be read, in order.

    Read as YAML, since the documents leave commas behind; objects with worse faults are left out.
    """
    text = (SEEDS / document).read_text(encoding="utf-8")
    return list(_objects(text))


def _objects(text: str) -> Iterator[dict[str, Any]]:
    at = 0
    while (start := text.find("{", at)) >= 0:
        end = _end(text, start)
        found = _read(text[start:end])
        if found:
            yield found
        at = end if found else start + 1


def _end(text: str, start: int) -> int:
    depth = 0
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return at + 1
    return len(text)


def _read(text: str) -> dict[str, Any] | None:
    # A sample spreads over lines; what does not is a placeholder of a path, or a table's example.
    if "\n" not in text:
        return None
    try:
        return json.loads(json.dumps(yaml.safe_load(text)))  # type: ignore[no-any-return]
    except yaml.YAMLError:
        return None


def shape(value: object) -> object:
    """``value`` with every leaf replaced by its type and every list by its first element."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return type(value).__name__
