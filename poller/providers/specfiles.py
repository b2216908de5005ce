"""Spec files of one's own: the kinds they describe beside the built-in ones, or every mistake in them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pydantic import ValidationError

from poller.config.wording import Mistake, found, kind, mistakes, one_of
from poller.config.yamlfile import Document
from poller.domain.errors import Problem
from poller.providers.catalog import ANY_HTTP, builtin_kinds, builtin_models
from poller.providers.spec import Kind, KindModel, SpecError, compile_kind


@dataclass(frozen=True, slots=True)
class Kinds:
    """The kinds that a config may name, and every mistake in its spec files.

    ``spoilt`` are the kinds that have mistakes; None when nobody knows what they were to be called.
    """

    known: Mapping[str, Kind]
    problems: tuple[Problem, ...] = ()
    spoilt: frozenset[str] | None = frozenset()

    def may_be_spoilt(self, name: str) -> bool:
        """Whether a kind that is not known may be one that has mistakes: to name it is no further one."""
        return self.spoilt is None or name in self.spoilt


def all_kinds(files: Iterable[Document] = ()) -> Kinds:
    """The built-in kinds and those in ``files``; compiled here, once for all that use them."""
    reader = _Reader()
    for file in files:
        reader.add(file)
    return reader.kinds() if reader.files else Kinds(builtin_kinds())


class _Reader:
    """Gathers spec files, then makes kinds of them."""

    def __init__(self) -> None:
        self.files = 0
        self._named: dict[str, Document] = {}
        self._models: dict[str, KindModel] = {}
        self._problems: list[Problem] = []
        self._nameless = False

    def add(self, file: Document) -> None:
        """A spec file, which may be anything."""
        self.files += 1
        name, wrong = _name(file), list(_mistakes(file))
        if name is None:
            self._nameless = True
        elif name in builtin_models():
            wrong.append(Mistake(("kind",), f"{found(name)}, a name of its own is allowed; poller comes with this one"))
        elif name in self._named:
            wrong.append(Mistake(("kind",), f"{found(name)}, a name of its own is allowed; {self._place(name)}"))
        else:
            self._named[name] = file
            if not wrong and not file.problems:
                self._models[name] = KindModel.model_validate(file.data)
        self._problems += [*file.problems, *(file.problem(mistake.path, mistake.text) for mistake in wrong)]

    def kinds(self) -> Kinds:
        """What became of them. What extends a kind with mistakes is none, but makes no mistake by that."""
        kinds: dict[str, Kind] = dict(builtin_kinds())
        for name, file in self._named.items():
            made, wrong = None, [*self._wrong_line(name)]
            try:
                made = self._compiled(name)
            except SpecError as error:
                wrong.append(Mistake(error.key, str(error)))
            wrong += self._misfits(made) if made else ()
            self._problems += [file.problem(mistake.path, mistake.text) for mistake in wrong]
            if made and made.operations and not wrong:
                kinds[name] = made
        spoilt = None if self._nameless else frozenset(self._named.keys() - kinds.keys())
        return Kinds(MappingProxyType(dict(sorted(kinds.items()))), tuple(self._problems), spoilt)

    def _place(self, name: str) -> str:
        file = self._named[name]
        return f"{file.file}:{file.lines.at(('kind',))} has this one"

    def _compiled(self, name: str) -> Kind | None:
        models = {**builtin_models(), **self._models}
        line = self._line(name)
        if line[-1] != ANY_HTTP or not models.keys() >= set(line):
            return None
        return compile_kind(models[name], [models[parent] for parent in line[1:]])

    def _line(self, name: str) -> list[str]:
        """``name`` and what it extends, nearest first, up to `http`, an unknown name, or one that was there before."""
        line = [name]
        while (parent := self._parent(line[-1])) is not None and line.count(line[-1]) == 1:
            line.append(parent)
        return line

    def _parent(self, name: str) -> str | None:
        if name in self._named:
            return _text(self._named[name], "extends") or ANY_HTTP
        model = builtin_models().get(name)
        return None if model is None or name == ANY_HTTP else model.extends or ANY_HTTP

    def _wrong_line(self, name: str) -> Iterator[Mistake]:
        """Mistakes in what a kind itself extends; those of its parents are told of them."""
        line = self._line(name)
        known = {*self._named, *builtin_models()}
        if len(line) > 1 and line[1] not in known and not self._nameless:
            yield Mistake(("extends",), one_of(line[1], known))
        if line[-1] == name and len(line) > 1:
            text = f"{found(line[1])}, a kind that does not extend this one is allowed ({' > '.join(line)})"
            yield Mistake(("extends",), text)

    def _misfits(self, made: Kind) -> Iterator[Mistake]:
        """Mistakes that only show when a kind is seen together with what it extends."""
        extended = self._nameless or any(self._parent(other) == made.name for other in self._named)
        if not made.operations and not extended:
            text = "none, at least one operation is required in a kind that no other one extends"
            yield Mistake(("operations",), text)


def _mistakes(file: Document) -> Iterator[Mistake]:
    """What is wrong with a spec file by itself, beside what the YAML reader found."""
    if file.data is None:
        if not file.problems:
            yield Mistake((), "empty, a mapping that describes a kind is required")
        return
    if not isinstance(file.data, dict):
        yield Mistake((), f"{kind(file.data)}, a mapping that describes a kind is allowed")
        return
    try:
        KindModel.model_validate(file.data)
    except ValidationError as error:
        yield from mistakes(error, KindModel)


def _name(file: Document) -> str | None:
    return _text(file, "kind")


def _text(file: Document, key: str) -> str | None:
    value = file.data.get(key) if isinstance(file.data, dict) else None
    return value if isinstance(value, str) and value else None
