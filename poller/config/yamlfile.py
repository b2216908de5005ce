"""YAML as plain data, with the line of every value, and every mistake told.

Plain scalars mean what they do in JSON: ``null`` (also ``~`` or nothing), ``true``, ``false``, whole numbers and
decimal fractions. Everything else is text, so that identifiers stay what they are: ``no``, ``on``, ``1:30``, ``007``,
``0x1F``, ``1e5``, ``2026-11-21``. That is the core schema of YAML 1.2 (section 10.3) less its octal, hexadecimal and
exponential numbers. Keys are always text.

Aliases and merge keys (``<<``) work, within bounds. Tags do not: plain data is all there is. No message quotes a
scalar, which may be a secret.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from poller.config.textfile import MIB, Unreadable, read_text
from poller.config.wording import KeyPath, Mistake, problem
from poller.domain.errors import Problem

LARGEST_FILE = 16 * MIB
"""Bytes; a watchlist larger than that is for JSON Lines."""

DEEPEST = 50
"""Levels of nesting."""

MOST_ALIASED = 100_000
"""Values that aliases may stand for in one file, all taken together."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?", re.ASCII)
# Longer ones are identifiers, and no integer that JSON or a database could hold.
_MOST_DIGITS = 18
_TEXT_TAG = "tag:yaml.org,2002:str"
_MERGE = "<<"
# YAML 1.2, section 5.1: the characters that may not stand in a document.
_UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# What libyaml and its Python twin say of broken YAML, by a part of it that both share, and what is said here.
_SYNTAX = (
    ("tab", "a tab, indentation with blanks is allowed"),
    ("cannot start any token", "a value that starts with {character}, which only quoted text is allowed to"),
    (
        "mapping values are not allowed",
        "a ': ' or an indentation that fits nothing, text that holds ': ' must be quoted",
    ),
    ("sequence entries are not allowed", "a '- ' behind a key, list items are allowed on lines of their own"),
    ("unexpected end of stream", "a quote that is never closed, it must end before the end of the file"),
    ("unknown escape", "an unknown escape in double quotes, use single quotes or write \\\\ for a backslash"),
    ("',' or '}'", "a mapping in braces that is not closed, a ',' or '}}' is expected"),
    ("',' or ']'", "a list in brackets that is not closed, a ',' or ']' is expected"),
    ("could not find expected ':'", "a key without a value, a ':' is expected behind it"),
    ("'-' indicator", "a line that is no list item, a '- ' at the indentation of the others is expected"),
    ("did not find expected key", "a line that does not fit, a key at the indentation of the others is expected"),
    ("<block end>", "a line that does not fit, a key or '- ' at the indentation of the others is expected"),
    ("incompatible YAML document", "an unknown version of YAML, 1.1 and 1.2 are allowed"),
)
_ANY_SYNTAX = "something that is not YAML, a value is expected here"


class WrittenFloat(float):
    """A number that remembers how it was written, where Python would write it otherwise: ``1.10``."""

    __slots__ = ("text",)
    text: str


@dataclass(frozen=True, slots=True)
class Lines:
    """Where a mapping or list stands, and what is in it: a `Lines` again, or the line of a scalar."""

    line: int
    inner: "dict[str, Place] | list[Place]"

    def at(self, path: KeyPath) -> int:
        """The line of the key or list item at ``path``. What is not there has the line of what it is missing from."""
        here: Place = self
        for step in path:
            below = here.below(step) if isinstance(here, Lines) else None
            if below is None:
                break
            here = below
        return here.line if isinstance(here, Lines) else here

    def below(self, step: str | int) -> "Place | None":
        """Where the value under one key or position stands; None when there is none."""
        if isinstance(self.inner, dict):
            return self.inner.get(str(step))
        return self.inner[step] if isinstance(step, int) and 0 <= step < len(self.inner) else None


Place: TypeAlias = Lines | int


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file that was read: its data (None when there is none, or no reading it), and the mistakes in the YAML."""

    file: str
    data: object = field(default=None, repr=False)
    lines: Lines = field(default_factory=lambda: Lines(0, {}), repr=False)
    problems: tuple[Problem, ...] = ()

    def problem(self, path: KeyPath, text: str) -> Problem:
        """A mistake at ``path`` of this file."""
        return problem(self.file, self.lines.at(path), Mistake(path, text))


def read_yaml(path: Path, file: str, limit: int = LARGEST_FILE) -> Document:
    """The document in the file at ``path``; mistakes call it ``file``. Raises nothing."""
    text = read_text(path, limit)
    if isinstance(text, Unreadable):
        return Document(file, problems=(Problem(file, text.line, "", text.text),))
    return parse_yaml(text, file)


def parse_yaml(text: str, file: str) -> Document:
    """The document in ``text``; mistakes call it ``file``. Mistakes in the syntax leave no data, others do."""
    bad = _UNPRINTABLE.search(text)
    if bad:
        line = text.count("\n", 0, bad.start()) + 1
        return Document(file, problems=(Problem(file, line, "", "a control character, printable text is allowed"),))
    return _Builder(text, file).build()


def written_float(text: str) -> float:
    """The number that ``text`` writes, remembering it where needed."""
    number = float(text)
    if repr(number) == text:
        return number
    written = WrittenFloat(number)
    written.text = text
    return written


class _UnusableError(Exception):
    """The rest of the file cannot be made sense of; the reason is among the problems."""


@dataclass(frozen=True, slots=True)
class _Anchor:
    data: object
    place: Place
    size: int


class _Builder:
    """Turns the parser's events into data. Parsing events, not nodes, takes a quarter of the time of `yaml.load`."""

    def __init__(self, text: str, file: str) -> None:
        self._text = text
        self._file = file
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._problems: list[Problem] = []
        self._anchors: dict[str, _Anchor | None] = {}
        self._path: list[str | int] = []
        self._count = 0
        self._aliased = 0

    def build(self) -> Document:
        try:
            data, place = self._document()
        except yaml.YAMLError as error:
            self._problems.append(self._syntax(error))
        except _UnusableError:
            pass
        else:
            lines = place if isinstance(place, Lines) else Lines(place, {})
            return Document(self._file, data, lines, tuple(self._problems))
        return Document(self._file, problems=tuple(self._problems))

    def _document(self) -> tuple[object, Place]:
        next(self._events)
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return None, 0
        event = next(self._events)
        root = self._node(event, _line(event))
        next(self._events)
        second = next(self._events)
        if isinstance(second, yaml.DocumentStartEvent):
            raise self._unusable(_line(second), "a second document, one in a file is allowed")
        return root

    def _node(self, event: Any, line: int) -> tuple[object, Place]:
        """The value that starts with ``event`` and is to be found at ``line``: its own, or its key's."""
        self._count += 1
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, line)
        if event.tag is not None and not self._is_text_tag(event):
            self._note(_line(event), "a tag (!), plain values are allowed; quote text that starts with '!'")
        if event.anchor is None:
            return self._value(event, line)
        return self._anchored(event, line)

    def _value(self, event: Any, line: int) -> tuple[object, Place]:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event), line
        if len(self._path) >= DEEPEST:
            self._path.clear()
            raise self._unusable(_line(event), f"nested deeper than {DEEPEST} levels, which is the most allowed")
        return self._mapping(line) if isinstance(event, yaml.MappingStartEvent) else self._sequence(line)

    def _scalar(self, event: Any) -> object:
        text: str = event.value
        # What is quoted, or tagged, is text.
        if event.tag is not None or not event.implicit[0]:
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        number = _NUMBER.fullmatch(text) if text[0] in "-0123456789" else None
        if number is None or len(text.removeprefix("-")) > _MOST_DIGITS or text == "-0":
            return text
        return written_float(text) if number[1] else int(text)

    def _sequence(self, line: int) -> tuple[object, Place]:
        items: list[object] = []
        places: list[Place] = []
        for event in self._until(yaml.SequenceEndEvent):
            self._path.append(len(items))
            data, place = self._node(event, _line(event))
            self._path.pop()
            items.append(data)
            places.append(place)
        return items, Lines(line, places)

    def _mapping(self, line: int) -> tuple[object, Place]:
        data: dict[str, object] = {}
        places: dict[str, Place] = {}
        merged: list[tuple[object, Place]] = []
        for event in self._until(yaml.MappingEndEvent):
            key = self._key(event)
            self._path.append(key)
            value = self._node(next(self._events), _line(event))
            if key == _MERGE and event.implicit[0]:
                merged.append(value)
            elif key in data:
                self._note(
                    _line(event), f"a second time, once is allowed; the first is in line {_line_of(places[key])}"
                )
            else:
                data[key], places[key] = value
            self._path.pop()
        for source, place in merged:
            self._merge(data, places, source, place)
        return data, Lines(line, places)

    def _merge(self, data: dict[str, object], places: dict[str, Place], source: object, place: Place) -> None:
        """Add what ``source`` has and ``data`` has not; of several, the first wins (https://yaml.org/type/merge.html)."""
        if isinstance(source, list) and isinstance(place, Lines) and isinstance(place.inner, list):
            for item, inner in zip(source, place.inner, strict=True):
                self._merge(data, places, item, inner) if isinstance(item, dict) else self._refuse_merge(inner)
        elif isinstance(source, dict) and isinstance(place, Lines) and isinstance(place.inner, dict):
            for key, value in source.items():
                if key not in data:
                    data[key], places[key] = value, place.inner[key]
        else:
            self._refuse_merge(place)

    def _refuse_merge(self, place: Place) -> None:
        self._note(_line_of(place), "something to merge (<<) that is no mapping, an alias of a mapping is allowed")

    def _key(self, event: Any) -> str:
        if isinstance(event, yaml.ScalarEvent):
            if event.tag is not None and not self._is_text_tag(event):
                self._note(_line(event), "a tag (!) on a key, text is allowed")
            if event.anchor is not None:
                self._anchors[event.anchor] = _Anchor(event.value, _line(event), 1)
            return str(event.value)
        raise self._unusable(_line(event), "a key that is no text, text is allowed")

    def _until(self, end: type[yaml.Event]) -> Iterator[Any]:
        while not isinstance(event := next(self._events), end):
            yield event

    def _anchored(self, event: Any, line: int) -> tuple[object, Place]:
        # None while the value is being read: an alias in there would never end.
        self._anchors[event.anchor] = None
        before = self._count
        data, place = self._value(event, line)
        self._anchors[event.anchor] = _Anchor(data, place, self._count - before + 1)
        return data, place

    def _alias(self, event: Any, line: int) -> tuple[object, Place]:
        anchor = self._anchors.get(event.anchor)
        if anchor is None:
            within = (
                "inside of what it stands for" if event.anchor in self._anchors else "without an anchor (&) before it"
            )
            raise self._unusable(_line(event), f"an alias (*) {within}, quote text that starts with '*'")
        self._aliased += anchor.size
        self._count += anchor.size
        if self._aliased > MOST_ALIASED:
            raise self._unusable(
                _line(event), f"aliases for more than {MOST_ALIASED} values, which is the most allowed"
            )
        return anchor.data, Lines(line, anchor.place.inner) if isinstance(anchor.place, Lines) else line

    def _is_text_tag(self, event: Any) -> bool:
        return isinstance(event, yaml.ScalarEvent) and event.tag in (_TEXT_TAG, "!")

    def _note(self, line: int, text: str) -> None:
        self._problems.append(problem(self._file, line, Mistake(tuple(self._path), text)))

    def _unusable(self, line: int, text: str) -> _UnusableError:
        self._note(line, text)
        return _UnusableError()

    def _syntax(self, error: yaml.YAMLError) -> Problem:
        # Only ever reduced to words of our own: the parser's may quote the file.
        said = str(getattr(error, "problem", None) or "")
        mark = getattr(error, "problem_mark", None)
        if "unexpected end of stream" in said:
            mark = getattr(error, "context_mark", None) or mark
        character = self._text[mark.index : mark.index + 1] if mark else ""
        text = next((text for part, text in _SYNTAX if part in said), _ANY_SYNTAX)
        if character == "\t":
            text = _SYNTAX[0][1]
        # The parser may count one line more than the file has.
        last = self._text.count("\n") + (not self._text.endswith("\n"))
        line = min(mark.line + 1, last) if mark else 0
        return Problem(self._file, line, "", text.format(character=repr(character)))


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _line_of(place: Place) -> int:
    return place.line if isinstance(place, Lines) else place
