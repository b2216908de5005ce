"""The config file and all it includes, loaded at once: settings and watchlist, or every mistake in any of the files.

A pattern under ``include`` may match nothing, for a folder's last file may go as its first may come; but the folder
must be there. So must a file that is named. Each file is read once, however often it is named.
"""

import glob
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel, Field

from poller.config.settings import (
    STORE,
    CredentialEndpoints,
    Log,
    MissingAfter,
    Provider,
    Replicas,
    Retention,
    Schedule,
    Settings,
    Sink,
    TlsClient,
    Web,
    parse_settings,
)
from poller.config.specfiles import find_specs
from poller.config.textfile import reason, shown_name
from poller.config.values import Surroundings
from poller.config.watchlist import (
    Collected,
    Collector,
    EntryReader,
    Places,
    TaskFile,
    WrittenEntry,
    numbered,
    read_tasks,
    same_rules,
)
from poller.config.wording import KeyPath, Mistake, found, kind
from poller.config.yamlfile import Document, read_yaml
from poller.domain.errors import ConfigError, Problem
from poller.domain.task import ADDED, Entry

_WILDCARD = re.compile(r"[*?\[]")


class ConfigFile(Settings):
    """The config file of poller. Relative paths are relative to the file they stand in."""

    tasks: list[WrittenEntry] = Field(default_factory=list)
    """The tasks to watch; more may stand in the files under include."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A config that was loaded: with entries merged with their provider's parameters and every schedule above them.

    ``files`` are those that were read, ``patterns`` what was looked for: where changes may change the config.
    ``specs`` are the spec files, as they stand.
    """

    settings: Settings
    entries: dict[str, Entry]
    files: tuple[Path, ...]
    patterns: tuple[str, ...]
    specs: tuple[Document, ...] = field(repr=False)
    _document: Document = field(repr=False)
    _places: Places = field(repr=False)

    def problem(self, path: KeyPath, text: str) -> Problem:
        """A mistake at ``path`` of the config file: what was found, and what is allowed."""
        return self._document.problem(path, text)

    def entry_problem(self, name: str, path: KeyPath, text: str) -> Problem:
        """A mistake at ``path`` of the entry ``name``, in whichever file it stands.

        What the entry has from elsewhere, like its provider's parameters, is shown at the line where the entry begins.
        """
        return self._places.problem(self._places.of(name), Mistake(path, text))


Check: TypeAlias = Callable[[Loaded], Iterable[Problem]]
"""Finds the mistakes that take more knowledge than is had here."""


def _nothing_more(_: Loaded) -> Iterable[Problem]:
    return ()


def load(
    path: Path,
    *,
    skip_secrets: bool = False,
    env: Mapping[str, str] = os.environ,
    check: Check = _nothing_more,
    before: Loaded | None = None,
) -> Loaded:
    """The config in the file at ``path``. ConfigError with every mistake in it and in the files it includes.

    ``check`` is handed what has no mistakes, even when something else has; what it finds is told with the rest. With
    ``skip_secrets`` a secret that cannot be had is no mistake. ``env`` is what secrets and the paths to them refer to.
    ``before`` is what was loaded last: lines of JSON Lines that stand there already are not read again.
    """
    document = read_yaml(path, shown_name(str(path)))
    if not isinstance(document.data, dict):
        raise ConfigError(document.problems or [_no_mapping(document)])
    # Absolute, for files are read again later, and who knows in which folder the process is then.
    top = _read_top(document.data, Surroundings(path.parent.absolute(), env), skip_secrets)
    included = _find(top.include, path)
    specs = find_specs(top.provider_specs, path.parent)
    known = before._places if before is not None and same_rules(before.settings, top.settings) else None
    own = TaskFile(document.file, _source(path), document.lines)
    collected, problems = _collect(top, own, included.files, known)
    files = (path, *(file.path for file in included.files), *specs.files)
    loaded = Loaded(
        settings=top.settings,
        entries=collected.entries,
        files=files,
        patterns=(*included.patterns, *specs.patterns),
        specs=specs.documents,
        # It goes on without its data, which has literal secrets in it.
        _document=replace(document, data=None),
        _places=collected.places,
    )
    located = [document.problem(wrong.path, wrong.text) for wrong in (*top.wrong, *included.wrong, *specs.wrong)]
    every = [*document.problems, *located, *problems, *collected.problems, *check(loaded)]
    if every:
        raise ConfigError(every)
    return loaded


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the config file, for editors."""
    schema = ConfigFile.model_json_schema()
    described = schema["$defs"]
    sections: tuple[BaseModel, ...] = (
        *(Web(), Log(), MissingAfter(), Schedule(), Retention(), Replicas()),
        *(CredentialEndpoints(), TlsClient(), Provider(kind="http"), Sink(kind="webhook")),
    )
    for section in sections:
        _write_defaults(described[type(section).__name__]["properties"], section.model_dump(mode="json"))
    _write_defaults(described[WrittenEntry.__name__]["properties"], {"follow": False})
    _write_defaults(schema["properties"], {"history": Settings().model_dump(mode="json")["history"], "store": STORE})
    schema["properties"]["providers"]["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "poller"}


def _write_defaults(properties: dict[str, Any], defaults: Mapping[str, object]) -> None:
    """Tell defaults as the file would write them; those of sections, and of what may be absent, say nothing."""
    for key, described in properties.items():
        if "default" in described and isinstance(defaults.get(key), str | int | float):
            described["default"] = defaults[key]
        else:
            described.pop("default", None)


# --- the file itself -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Top:
    """What the config file alone says; in ``settings`` there are only providers without mistakes."""

    settings: Settings
    tasks: object
    include: tuple[tuple[int, str], ...]
    provider_specs: tuple[tuple[int, str], ...]
    reader: EntryReader
    wrong: tuple[Mistake, ...]


def _no_mapping(document: Document) -> Problem:
    found_there = "empty" if document.data is None else kind(document.data)
    return document.problem((), f"{found_there}, a mapping with settings is allowed")


def _read_top(data: Mapping[str, object], around: Surroundings, skip_secrets: bool) -> _Top:
    tasks = data.get("tasks", [])
    settings, wrong = parse_settings({key: data[key] for key in data if key != "tasks"}, around, ConfigFile)
    if not isinstance(tasks, list):
        wrong += (Mistake(("tasks",), f"{kind(tasks)}, a list is allowed"),)
    spoilt = {mistake.path for mistake in wrong}
    contradictions = [mistake for mistake in settings.contradictions() if not _is_doubtful(mistake.path, spoilt)]
    unresolved = () if skip_secrets else settings.unresolved()
    settings = _without(settings, {str(path[1]) for path in spoilt if path[0] == "providers" and len(path) > 1})
    trust = all(path[0] != "schedule" for path in spoilt)
    reader = EntryReader(settings, _invalid(data, settings), trust)
    include = _positions(data.get("include"), settings.include)
    specs = _positions(data.get("provider_specs"), settings.provider_specs)
    return _Top(settings, tasks, include, specs, reader, (*wrong, *contradictions, *unresolved))


def _is_doubtful(contradiction: KeyPath, spoilt: Iterable[KeyPath]) -> bool:
    """Whether a contradiction may only come of other mistakes: in the same section, or in what that refers to."""
    section = contradiction[:-1]
    referred = "providers" if contradiction[0] == "sinks" else "schedule"
    return any(path[0] == referred or path[: len(section)] == section for path in spoilt)


def _without(settings: Settings, providers: Collection[str]) -> Settings:
    kept = {name: provider for name, provider in settings.providers.items() if name not in providers}
    return settings.model_copy(update={"providers": kept})


def _positions(written: object, right: Collection[str]) -> tuple[tuple[int, str], ...]:
    """The ``right`` items of a list with their positions in the file, which may have others that are mistakes."""
    items = enumerate(written) if isinstance(written, list) else ()
    return tuple((index, item) for index, item in items if item in right)


def _invalid(data: Mapping[str, object], settings: Settings) -> frozenset[str] | None:
    """The providers that have mistakes; None when there is no telling their names."""
    providers = data.get("providers", {})
    return frozenset(providers) - set(settings.providers) if isinstance(providers, dict) else None


# --- what it includes ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _File:
    """An included file: where it is, and what it is called in the config."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class _Included:
    files: tuple[_File, ...]
    patterns: tuple[str, ...]
    wrong: tuple[Mistake, ...]


def _find(include: Iterable[tuple[int, str]], config: Path) -> _Included:
    files: dict[str, _File] = {}
    patterns: dict[str, None] = {}
    wrong: list[Mistake] = []
    for index, pattern in include:
        matches = _matches(pattern, config.parent)
        if isinstance(matches, str):
            wrong.append(Mistake(("include", index), f"{found(pattern)} {matches}"))
            continue
        if not os.path.lexists(config.parent / pattern):
            patterns[str(Path(glob.escape(str(config.parent)), pattern))] = None
        for name in matches:
            path = config.parent / name
            files.setdefault(os.path.realpath(path), _File(path, name))
    # A pattern may well match the config file, whose tasks are known.
    files.pop(os.path.realpath(config), None)
    return _Included(tuple(files.values()), tuple(patterns), tuple(wrong))


def _matches(pattern: str, folder: Path) -> list[str] | str:
    """The files that ``pattern`` names, sorted, as it names them; or why that is a mistake."""
    name = str(Path(pattern))
    if os.path.lexists(folder / name):
        return [name]
    if not _WILDCARD.search(name):
        return "does not exist, a file or a pattern like watchlist.d/*.yaml is allowed"
    try:
        with os.scandir(_fixed_part(pattern, folder)):
            # Not Path.glob, which would find hidden files, and so each file of a Kubernetes volume several times.
            return sorted(glob.glob(name, root_dir=folder, recursive=True))  # noqa: PTH207
    except OSError as error:
        return f"looks in a folder that {reason(error)}, a folder that can be read is allowed"


def _fixed_part(pattern: str, folder: Path) -> Path:
    """The folder that ``pattern`` looks in."""
    return folder.joinpath(*takewhile(lambda part: not _WILDCARD.search(part), Path(pattern).parent.parts))


def _source(config: Path) -> str:
    """What the config file's own entries name as their source; a file may well be called what no file must be."""
    name = shown_name(config.name)
    return f"./{name}" if name == ADDED else name


def _collect(
    top: _Top, own: TaskFile, included: Iterable[_File], before: Places | None
) -> tuple[Collected, list[Problem]]:
    """The entries of all files, and the mistakes that concern an included file as a whole."""
    collector = Collector(top.reader.read)
    collector.add(own, numbered(top.tasks))
    problems: list[Problem] = []
    for file in included:
        read = read_tasks(file.path, shown_name(str(file.path)), shown_name(file.name), before)
        collector.add(read.file, read.tasks)
        problems += read.problems
    return collector.collected(), problems
