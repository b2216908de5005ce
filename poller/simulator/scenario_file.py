"""Reading a scenario from a file, with every mistake told at once and by its line."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from poller.simulator.scenario import AnyEntry, Api, Entry, Generator, Scenario, collisions

DEMO_SCENARIO = Path(__file__).with_name("demo-scenario.yaml")

_ENTRY: TypeAdapter[Entry] = TypeAdapter(AnyEntry)
_GENERATOR = TypeAdapter(Generator)

T = TypeVar("T", bound=BaseModel)

Mistake = tuple[Sequence[int | str], str]
"""Where in the document, and what."""


class ScenarioError(ValueError):
    """A scenario that cannot be used; its text is one mistake a line, ``FILE:LINE: KEY.PATH: what``."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        """``mistakes``: each one line."""
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


def load_scenario(path: Path | None = None) -> Scenario:
    """The scenario in ``path``; without one, that of the demo. Raises ScenarioError with all that is wrong."""
    file = path or DEMO_SCENARIO
    root, document = _parse(file)
    mistakes = sorted(
        (_line(root, where), ".".join(map(str, where)), what)
        for where, what in (*_repeated_keys(root), *_mistakes(document))
    )
    if mistakes:
        raise ScenarioError([_told(file, *mistake) for mistake in mistakes])
    return Scenario.model_validate(document)


def _parse(file: Path) -> tuple[yaml.Node | None, object]:
    """The nodes, which know their lines, and the document itself, which for an empty file is an empty mapping."""
    try:
        text = file.read_text(encoding="utf-8")
        root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
        return root, {} if root is None else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError([f"{file}: cannot be read: {error}"]) from error
    except yaml.YAMLError as error:
        raise ScenarioError([f"{file}: not YAML: {' '.join(str(error).split())}"]) from error


def _mistakes(document: object) -> Iterator[Mistake]:
    try:
        Scenario.model_validate(document)
    except ValidationError as error:
        for detail in error.errors():
            # The model tells collisions too, but only where all else is right, and all in one.
            if detail["loc"]:
                yield _place(detail["loc"]), _what(detail)
            elif not isinstance(document, dict):
                yield (), "a mapping is allowed"
        yield from _collisions(document)


def _collisions(document: object) -> Iterable[Mistake]:
    if not isinstance(document, dict):
        return []
    generators = document.get("generate")
    listed = generators if isinstance(generators, list) else [generators]
    return collisions(_sound(document.get("tasks"), _ENTRY), _sound(listed, _GENERATOR))


def _sound(items: object, adapter: TypeAdapter[T]) -> Iterator[tuple[int, T]]:
    """Those of ``items`` that are right by themselves, with their place."""
    for number, item in enumerate(items if isinstance(items, list) else []):
        try:
            yield number, adapter.validate_python(item)
        except ValidationError:
            continue  # told already, with its own line


def _place(loc: tuple[int | str, ...]) -> Sequence[int | str]:
    """``loc`` without the name of the API, which pydantic puts behind a task's number."""
    return (*loc[:2], *loc[3:]) if loc[0] == "tasks" and len(loc) > 2 and loc[2] in set(Api) else loc


def _what(detail: Mapping[str, Any]) -> str:
    message = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        return "unknown key"
    if detail["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return f"api: one of {', '.join(Api)} is allowed"
    # No value of a secret gets into a message, not even a made-up one.
    if detail["type"] == "missing" or detail["loc"][0] == "accounts" or isinstance(detail["input"], dict | list):
        return message
    return f"found {detail['input']!r}; {message}"


def _told(file: Path, line: int, where: str, what: str) -> str:
    return f"{file}:{line}: {where}: {what}" if where else f"{file}:{line}: {what}"


def _line(root: yaml.Node | None, where: Sequence[int | str]) -> int:
    """The line of the deepest part of ``where`` that the document has, from 1 on."""
    node = root
    for key in where:
        deeper = _child(node, key)
        if deeper is None:
            break
        node = deeper
    return node.start_mark.line + 1 if node else 1


def _child(node: yaml.Node | None, key: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int):
        return node.value[key] if key < len(node.value) else None
    if isinstance(node, yaml.MappingNode):
        return next((value for name, value in node.value if name.value == key), None)
    return None


def _repeated_keys(node: yaml.Node | None, where: tuple[int | str, ...] = ()) -> Iterator[Mistake]:
    """Keys that stand twice in one mapping: YAML would silently keep the last."""
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _repeated_keys(item, (*where, number))
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for name, value in node.value:
            key = str(name.value)
            if key in seen:
                yield (*where, key), "this key stands there twice"
            seen.add(key)
            yield from _repeated_keys(value, (*where, key))
