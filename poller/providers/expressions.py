"""Expressions into a JSON answer: JMESPath, compiled once, with keys folded where documents disagree on their spelling.

A plain path (``result.status``) is a plain look-up, and so are several of them (``error.message || message``). With
folding, keys are compared without case and underscores, but not inside opaque values: those are the caller's own data,
and are read as JSON where they are JSON in a string.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from typing import Any, Protocol, cast

import jmespath
import orjson
from jmespath.exceptions import IncompleteExpressionError, JMESPathError, LexerError
from jmespath.functions import Functions
from jmespath.parser import ParsedResult

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_DEEPEST = 64
"""Levels that are folded; no provider nests its answers deeper, and recursion stays bounded."""
_SHOWN = 10
"""Characters that a mistake shows from where an expression goes wrong."""
_MOST_FOLDED = 5_000
"""Values of an answer that are folded, and keys of an object that are looked through for another spelling: more would
hold up every other connection. Those beyond are found where they are spelled as they are compared."""
_LONGEST_KEY = 200
"""Characters of a key that is folded: a megabyte of key is nobody's spelling of a short one."""
_CHAINS = ("subexpression", "index_expression")
"""The nodes of a syntax tree whose children each look into what the one before found."""
_PROJECTIONS = ("pipe", "projection", "value_projection", "filter_projection")
"""Those whose other children look into what the first one found."""


class Folding:
    """How keys are compared: ``keys`` without case and underscores, not inside the values of ``opaque`` keys."""

    def __init__(self, keys: bool = False, opaque: Iterable[str] = ()) -> None:
        self.keys = keys
        self.opaque = frozenset(map(self.fold, opaque))

    def fold(self, key: str) -> str:
        """``key`` as it is compared."""
        return _fold(key) if self.keys and len(key) <= _LONGEST_KEY else key

    def document(self, value: object) -> object:
        """``value`` with its keys folded and its opaque values read; where two keys fold alike the first one stays."""
        return self._folded(value, [_MOST_FOLDED], 0)

    def _folded(self, value: object, left: list[int], depth: int) -> object:
        """``value`` folded as far as ``left``, its only item, allows; that counts down."""
        if not isinstance(value, dict | list) or depth > _DEEPEST or len(value) > left[0]:
            return value
        left[0] -= len(value)
        if isinstance(value, list):
            return [self._folded(item, left, depth + 1) for item in value]
        folded: dict[str, object] = {}
        for key, item in value.items():
            name = self.fold(key)
            folded.setdefault(name, _read_opaque(item) if name in self.opaque else self._folded(item, left, depth + 1))
        return folded


@lru_cache(maxsize=4_096)
def _fold(key: str) -> str:
    # Cached, because all answers of an operation have the same few keys.
    return key.replace("_", "").lower()


class Document:
    """A JSON answer, folded when an expression first needs that."""

    def __init__(self, value: object, folding: Folding) -> None:
        self.value = value
        self._folding = folding

    @cached_property
    def folded(self) -> object:
        """The answer as JMESPath sees it."""
        if self._folding.keys or self._folding.opaque:
            return self._folding.document(self.value)
        return self.value


class Expression(Protocol):
    """Something that finds a value in an answer; None when it is not there."""

    def find(self, document: Document) -> Any:
        """The value, None for none."""
        ...


class _Path:
    """A plain path. Behind an opaque key, keys are compared as they are spelled."""

    def __init__(self, keys: Iterable[str], folding: Folding) -> None:
        self._folding = folding
        self._steps: list[tuple[str, bool, bool]] = []
        folds = folding.keys
        for key in keys:
            opens = folding.fold(key) in folding.opaque and not self._is_opaque
            self._steps.append((key, folds, opens))
            folds = folds and not opens

    @property
    def _is_opaque(self) -> bool:
        return any(opens for _, _, opens in self._steps)

    def find(self, document: Document) -> Any:
        value = document.value
        for key, folds, opens in self._steps:
            if not isinstance(value, dict):
                return None
            if key in value:
                value = value[key]
            elif folds and len(value) <= _MOST_FOLDED:
                value = self._find_folded(value, key)
            else:
                return None
            if opens:
                value = _read_opaque(value)
        return value

    def _find_folded(self, value: Mapping[str, object], key: str) -> object:
        wanted = self._folding.fold(key)
        return next((item for name, item in value.items() if self._folding.fold(name) == wanted), None)


class _FirstOf:
    """``a || b``: the first that finds anything, in JMESPath's sense, or what the last one finds."""

    def __init__(self, paths: Iterable[_Path]) -> None:
        self._paths = tuple(paths)

    def find(self, document: Document) -> Any:
        value = None
        for path in self._paths:
            value = path.find(document)
            if is_true(value):
                break
        return value


class _Search:
    def __init__(self, parsed: ParsedResult) -> None:
        self._parsed = parsed

    def find(self, document: Document) -> Any:
        try:
            return self._parsed.search(document.folded)
        except (JMESPathError, ArithmeticError, TypeError, ValueError, RecursionError):
            # A function given a value of another type than documented: there is nothing to be found there.
            return None


def is_true(value: object) -> bool:
    """What JMESPath holds to be true: anything but null, false and what is empty."""
    return value is not None and value is not False and value not in ("", [], {})


def compile_expression(text: str, folding: Folding) -> Expression:
    """The expression in ``text``. Raises ValueError, saying where it goes wrong."""
    plain = [each.strip() for each in text.split("||")]
    if all(map(_PLAIN.fullmatch, plain)):
        paths = [_Path(each.split("."), folding) for each in plain]
        return paths[0] if len(paths) == 1 else _FirstOf(paths)
    try:
        parsed = jmespath.compile(text)
    except JMESPathError as error:
        raise ValueError(f"no JMESPath expression: {_complaint(text, error)}") from error
    written = cast("dict[str, Any]", parsed.parsed)
    _check_functions(written)
    tree: Any = _fold_fields(written, folding)
    return _Search(ParsedResult(text, tree))


def _complaint(text: str, error: JMESPathError) -> str:
    """Where ``text`` goes wrong; JMESPath's own words are about its parser."""
    if not text:
        return "it is empty"
    position = error.lexer_position if isinstance(error, LexerError) else getattr(error, "lex_position", len(text))
    if isinstance(error, IncompleteExpressionError) or position >= len(text):
        return "it ends too early"
    return f"it goes wrong at column {position + 1}, {text[position:][:_SHOWN]!r}"


def _check_functions(node: dict[str, Any]) -> None:
    """Refuses a function that JMESPath would complain about only when it is called, and then find nothing for ever."""
    inner = [child for child in node["children"] if isinstance(child, dict)]
    if node["type"] == "function_expression":
        known = Functions.FUNCTION_TABLE.get(node["value"])
        if known is None:
            raise ValueError(f"no JMESPath function: {node['value']}")
        wanted = known["signature"]
        if len(inner) < len(wanted) or (len(inner) > len(wanted) and not wanted[-1].get("variadic")):
            raise ValueError(f"JMESPath function {node['value']}: {len(inner)} arguments, {len(wanted)} expected")
    for child in inner:
        _check_functions(child)


def _fold_fields(node: dict[str, Any], folding: Folding) -> dict[str, Any]:
    """The syntax tree with fields folded as the document's keys will be; behind an opaque key they stay."""
    if node["type"] in _CHAINS + _PROJECTIONS:
        return {**node, "children": _fold_chain(node, folding)}
    folded = {**node, "children": [_fold_child(child, folding) for child in node["children"]]}
    if node["type"] in ("field", "key_val_pair"):
        folded["value"] = folding.fold(node["value"])
    return folded


def _fold_child(child: Any, folding: Folding) -> Any:
    return _fold_fields(child, folding) if isinstance(child, dict) else child


def _fold_chain(node: dict[str, Any], folding: Folding) -> list[Any]:
    folded: list[Any] = []
    for child in node["children"]:
        before = folded if node["type"] in _CHAINS else folded[:1]
        opaque = any(_ends_opaque(found, folding) for found in before)
        folded.append(child if opaque else _fold_child(child, folding))
    return folded


def _ends_opaque(node: dict[str, Any], folding: Folding) -> bool:
    """Whether what ``node`` finds lies inside an opaque value."""
    if node["type"] == "field":
        return node["value"] in folding.opaque
    if node["type"] not in (*_CHAINS, *_PROJECTIONS, "flatten"):
        return False
    # The third child is a filter's condition, which finds nothing.
    inner = node["children"][:2] if node["type"] in _PROJECTIONS else node["children"]
    return any(_ends_opaque(child, folding) for child in inner)


def _read_opaque(value: object) -> object:
    """JSON in a string, escaped once or twice, as what it says; anything else as it is."""
    if not isinstance(value, str):
        return value
    for text in (value, value.replace('\\"', '"').replace("\\\\", "\\")):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            continue
    return value
