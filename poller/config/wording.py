"""How a mistake is worded: ``KEY.PATH: what was found, what is allowed``, on one line, in the config file's own terms.

The table below turns what pydantic reports into such a sentence; nothing of pydantic's own wording gets through.
"""

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from poller.domain.errors import Problem

KeyPath: TypeAlias = tuple[str | int, ...]
"""Where a value stands: keys of mappings and positions in lists, from the top of the file."""

LONGEST_QUOTE = 60
"""Characters of a value that a mistake quotes at most."""

_MOST_NAMES = 30
_PLAIN_KEY = re.compile(r"[\w-]+", re.ASCII)
_REFUSED = "refused"
# Pydantic's last step on the way to a mapping's key, where the step before leads to the value.
_KEY_ITSELF = "[key]"


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake whose file is not known yet: where in the data, and what was found and what is allowed."""

    path: KeyPath
    text: str

    def __str__(self) -> str:
        return f"{key_text(self.path)}: {self.text}" if self.path else self.text


def refusal(text: str) -> PydanticCustomError:
    """The error for a validator to raise when ``text`` is the whole of what is to be said."""
    return PydanticCustomError(_REFUSED, "{text}", {"text": text})


def key_text(path: KeyPath) -> str:
    """``path`` as people write it: ``tasks[2].provider``; unusual keys are quoted: ``params['a b']``."""
    return "".join(_step(key) for key in path).removeprefix(".")


def found(value: object) -> str:
    """``value`` as a mistake quotes it: one line, not too long. Never pass what may be a secret."""
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST_QUOTE else value[: LONGEST_QUOTE - 1] + "…")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number_text(value)
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else kind(value)


def kind(value: object) -> str:
    """What sort of value ``value`` is, without quoting it."""
    if value is None:
        return "nothing"
    for sorts, name in _KINDS:
        if isinstance(value, sorts):
            return name
    return "something else"


def number_text(value: float) -> str:
    """``value`` as it was written, where that is known (`yamlfile.WrittenFloat`), else as Python writes it."""
    if isinstance(value, float):
        return str(getattr(value, "text", None) or repr(value))
    # Whole numbers from JSON may have more digits than Python cares to convert.
    return str(value) if abs(value) < 10**LONGEST_QUOTE else f"a number of {math.ceil(math.log10(abs(value)))} digits"


def one_of(value: object, names: Iterable[str]) -> str:
    """``value`` is none of ``names``: what is allowed, and which of them was probably meant."""
    return f"{found(value)}, {_choice(value, names)}"


def mistakes(error: ValidationError, model: type[BaseModel]) -> tuple[Mistake, ...]:
    """Everything that ``error`` found while validating for ``model``."""
    return tuple(_mistake(detail, model) for detail in error.errors(include_url=False))


def problem(file: str, line: int, mistake: Mistake) -> Problem:
    """``mistake`` with its place in a file; line 0 stands for the whole file."""
    return Problem(file, line, key_text(mistake.path), mistake.text)


_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    ((int, float), "a number"),
    (str, "text"),
    (Mapping, "a mapping"),
    ((list, tuple), "a list"),
)

_Wording: TypeAlias = Callable[[ErrorDetails], str]


def _wants(allowed: str) -> _Wording:
    return lambda detail: f"{found(detail['input'])}, {allowed} is allowed"


def _wants_shape(allowed: str) -> _Wording:
    # Text is not quoted here: in a misplaced scalar may be anything.
    return lambda detail: f"{kind(detail['input'])}, {allowed} is allowed"


def _bound(words: str, limit: str) -> _Wording:
    return lambda detail: f"{found(detail['input'])}, {words} {_context(detail)[limit]} is allowed"


def _literal(detail: ErrorDetails) -> str:
    return one_of(detail["input"], re.findall(r"'([^']*)'", str(_context(detail)["expected"])))


def _text_wanted(detail: ErrorDetails) -> str:
    hint = " (quote it)" if isinstance(detail["input"], int | float) else ""
    return f"{found(detail['input'])}, text is allowed{hint}"


_WORDINGS: Mapping[str, _Wording] = {
    _REFUSED: lambda detail: str(_context(detail)["text"]),
    "missing": lambda _: "missing, it is required",
    "model_type": _wants_shape("a mapping"),
    "dict_type": _wants_shape("a mapping"),
    "list_type": _wants_shape("a list"),
    "tuple_type": _wants_shape("a list"),
    "string_type": _text_wanted,
    "string_too_short": lambda _: "empty text, text that is not empty is allowed",
    "string_unicode": lambda _: "text with half a surrogate pair, text that UTF-8 can carry is allowed",
    "string_pattern_mismatch": _wants("text that is not empty, without control characters,"),
    "bool_type": _wants("true or false"),
    "int_type": _wants("a whole number"),
    "float_type": _wants("a number"),
    "finite_number": _wants("a finite number"),
    "greater_than": _bound("more than", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("less than", "lt"),
    "less_than_equal": _bound("at most", "le"),
    "literal_error": _literal,
    "enum": _literal,
    "too_short": lambda _: "nothing in it, at least one is required",
}


def _mistake(detail: ErrorDetails, model: type[BaseModel]) -> Mistake:
    path = detail["loc"]
    if detail["type"] == "extra_forbidden":
        return Mistake(path, f"unknown key, {_choice(path[-1], _keys_at(model, path[:-1]))}")
    if path[-1:] == (_KEY_ITSELF,) and len(path) > 2:
        path = path[:-1]
    wording = _WORDINGS.get(detail["type"])
    return Mistake(path, wording(detail) if wording else f"{kind(detail['input'])}, which is not allowed here")


def _context(detail: ErrorDetails) -> Mapping[str, object]:
    return detail.get("ctx", {})


def _choice(value: object, names: Iterable[str]) -> str:
    known = sorted(names)
    if not known:
        return "none is allowed here"
    shown = ", ".join(known[:_MOST_NAMES]) + (", …" if len(known) > _MOST_NAMES else "")
    allowed = f"one of {shown} is allowed" if len(known) > 1 else f"{shown} is allowed"
    return allowed + did_you_mean(value, known)


def did_you_mean(value: object, names: Iterable[str]) -> str:
    """A hint at the one of ``names`` that ``value`` resembles, in parentheses; empty when it resembles none."""
    close = difflib.get_close_matches(str(value)[:LONGEST_QUOTE], list(names), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _keys_at(model: type[BaseModel], path: KeyPath) -> list[str]:
    """The keys allowed at ``path`` of what ``model`` describes."""
    annotation: Any = model
    for step in path:
        annotation = _bare(_below(annotation, step))
    return sorted(annotation.model_fields) if _is_model(annotation) else []


def _below(annotation: Any, step: str | int) -> Any:
    if _is_model(annotation):
        field = annotation.model_fields.get(str(step))
        return field.annotation if field else None
    inner = [argument for argument in get_args(annotation) if argument is not Ellipsis]
    return inner[-1] if inner and get_origin(annotation) in (dict, list, tuple, Mapping) else None


def _bare(annotation: Any) -> Any:
    """``annotation`` without what only says that it may be absent, or how it is read."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (UnionType, Union):
        inner = [argument for argument in get_args(annotation) if argument is not type(None)]
        return _bare(inner[0]) if len(inner) == 1 else None
    return annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _step(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if _PLAIN_KEY.fullmatch(key) else f"[{found(key)}]"
