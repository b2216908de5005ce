"""The watchlist: which tasks to watch, read from files and made into entries; and how it differs from an older one."""

import json
import math
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from sys import intern
from typing import TypeAlias

import orjson
from pydantic import Field, ValidationError

from poller.config.settings import Provider, Schedule, Section, Settings
from poller.config.textfile import MIB, Unreadable, numbered_lines, read_text
from poller.config.values import Given, GivenName, GivenWait, Name, Owner, ScalarText
from poller.config.wording import Mistake, did_you_mean, found, kind, mistakes, one_of, problem
from poller.config.yamlfile import Document, Lines, read_yaml, written_float
from poller.domain.errors import ConfigError, Problem
from poller.domain.task import ADDED, Entry, Policy

LARGEST_JSON_LINES = 256 * MIB
"""Bytes of a JSON Lines file."""

LONGEST_ADDED = 64 * 1024
"""Characters of a task in a request, so few that no single one keeps an event loop for long."""

ADDED_PER_TURN = 100
"""Tasks so few that making entries of them keeps an event loop for a few milliseconds."""

MISTAKES_PER_TURN = 20
"""Looking for what was meant instead takes up to a millisecond for each."""

MOST_MISTAKES = 10_000
"""Mistakes in one request; what comes after that many is not looked at."""

_JSON_LINES = ".jsonl"
_YAML = (".yaml", ".yml")
_MOST_DIGITS = 1_000
_PLACE_BITS = 32
_POSITION = (1 << _PLACE_BITS) - 1


class WrittenEntry(Section):
    """A task to watch, as it is written in a file or sent to the API."""

    name: Name
    """Unique; what people, metrics and logs call it."""
    provider: Given
    """One of the providers, by the name it has in the config file."""
    operation: Given
    """What to ask the provider: an operation of its kind."""
    params: dict[Given, ScalarText] = Field(default_factory=dict)
    """The operation's parameters, as the provider's documents call them; they override the provider's own."""
    labels: dict[Given, ScalarText] = Field(default_factory=dict)
    """Free text for logs, events, status and metrics."""
    family: GivenName = None
    """What its runs are runs of: tasks of one family are expected to take about as long as one another. Without it:
    tasks of one provider and operation that differ only in the parameters that change from run to run."""
    follow: bool = False
    """Whether it goes on after an end: each new run is watched."""
    schedule: Schedule = Schedule()
    """Overrides of the schedule for this task."""


class AddedEntry(WrittenEntry):
    """A task to watch, as it is sent to a running daemon: what a file keeps track of by itself is said here."""

    owner: Owner = None
    """Whom it is watched for; free text."""
    ttl: GivenWait = None
    """How long it stays on the watchlist, from when it was last added."""


# --- one entry -----------------------------------------------------------------------------------------------------


class EntryReader:
    """Makes entries of plain data. Equal policies, labels and texts are one object in all that one reader makes."""

    def __init__(
        self, settings: Settings, invalid: frozenset[str] | None = frozenset(), trust_schedule: bool = True
    ) -> None:
        """``invalid`` are providers with mistakes in them, None if nobody knows which there were to be: to name one is
        no further mistake, but makes no entry. Without ``trust_schedule`` the settings' schedule has mistakes, and no
        override is checked against it.
        """
        self._providers: Mapping[str, Provider] = settings.providers
        self._invalid = invalid
        self._trust_schedule = trust_schedule
        self._policies = {name: settings.policy(name) for name in settings.providers}
        self._shared_policies: dict[Policy, Policy] = {policy: policy for policy in self._policies.values()}
        self._shared_labels: dict[tuple[tuple[str, str], ...], Mapping[str, str]] = {}
        self._shared_text: dict[str, str] = {}
        self._unknown_providers: dict[str, tuple[Mistake, ...]] = {}

    def read(self, raw: object, source: str) -> Entry | tuple[Mistake, ...]:
        """The entry that ``raw`` describes, or every mistake in it; none at all when only its provider is invalid.

        Where ``source`` is `ADDED`, it was sent to a running daemon, and may have the keys of `AddedEntry`.
        """
        shape = AddedEntry if source == ADDED else WrittenEntry
        try:
            written = shape.model_validate(raw)
        except ValidationError as error:
            wrong = mistakes(error, shape)
            return wrong + self._provider_mistakes(raw) + self._other_schedule_mistakes(raw, wrong)
        policy = self._policies.get(written.provider)
        if policy is None:
            return self._provider_mistakes(raw)
        if "schedule" not in written.model_fields_set:
            return self._entry(written, policy, source)
        return self._schedule_mistakes(written.schedule, policy) or self._entry(
            written, written.schedule.over(policy), source
        )

    def _entry(self, written: WrittenEntry, policy: Policy, source: str) -> Entry:
        owner, ttl = (written.owner, written.ttl) if isinstance(written, AddedEntry) else (None, None)
        return Entry(
            name=written.name,
            provider=intern(written.provider),
            operation=intern(written.operation),
            params=self._params(self._providers[written.provider].params, written.params),
            labels=self._labels(written.labels),
            policy=self._shared_policies.setdefault(policy, policy),
            follow=written.follow,
            source=source,
            family=written.family and intern(written.family),
            owner=owner and intern(owner),
            ttl=ttl,
        )

    def _params(self, defaults: Mapping[str, str], given: Mapping[str, str]) -> Mapping[str, str]:
        if not given:
            return defaults
        share = self._shared_text.setdefault
        return {intern(key): share(value, value) for key, value in {**defaults, **given}.items()}

    def _labels(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        return self._shared_labels.setdefault(tuple(labels.items()), labels)

    def _schedule_mistakes(self, schedule: Schedule, below: Policy) -> tuple[Mistake, ...]:
        wrong = schedule.contradictions(below) if self._trust_schedule else ()
        return tuple(Mistake(("schedule", *mistake.path), mistake.text) for mistake in wrong)

    def _other_schedule_mistakes(self, raw: object, wrong: Iterable[Mistake]) -> tuple[Mistake, ...]:
        """The contradictions in a task that has mistakes elsewhere."""
        if (
            not isinstance(raw, dict)
            or "schedule" not in raw
            or any(mistake.path[:1] == ("schedule",) for mistake in wrong)
        ):
            return ()
        policy = self._policies.get(str(raw.get("provider")))
        return self._schedule_mistakes(Schedule.model_validate(raw["schedule"]), policy) if policy else ()

    def _provider_mistakes(self, raw: object) -> tuple[Mistake, ...]:
        name = raw.get("provider") if isinstance(raw, dict) else None
        if self._invalid is None or not isinstance(name, str) or not name:
            return ()
        known = {*self._providers, *self._invalid}
        if name in known:
            return ()
        if name not in self._unknown_providers:
            self._unknown_providers[name] = (Mistake(("provider",), _no_provider(name, known)),)
        return self._unknown_providers[name]


def _no_provider(name: str, known: Iterable[str]) -> str:
    return one_of(name, known) if known else f"{found(name)}, a provider is allowed, and the config file has none"


# --- files ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TaskFile:
    """A file with tasks: what mistakes call it, what its entries name as their source, and where its values stand.

    A position is a task's place in the list under ``tasks``; in JSON Lines, which have no ``lines``, its line's number.
    Of these, ``packed`` is the text, compressed.
    """

    file: str
    source: str
    lines: Lines | None = field(default=None, repr=False)
    packed: bytes = field(default=b"", repr=False)

    def problem(self, position: int, mistake: Mistake) -> Problem:
        """A mistake in the task at ``position``."""
        if self.lines is None:
            return problem(self.file, position, mistake)
        path = ("tasks", position, *mistake.path)
        return problem(self.file, self.lines.at(path), Mistake(path, mistake.text))

    def is_before(self, later: "TaskFile") -> bool:
        """Whether ``later`` is the same file, as it is now, and both are JSON Lines."""
        return bool(self.packed) and (self.file, self.source) == (later.file, later.source)

    def shown(self, position: int) -> str:
        """``FILE:LINE`` of the task at ``position``."""
        return f"{self.file}:{position if self.lines is None else self.lines.at(('tasks', position))}"


Read: TypeAlias = Callable[[object, str], Entry | tuple[Mistake, ...]]
"""Makes an entry of plain data and the name of its source, or tells every mistake in it, like `EntryReader.read`."""


class Collector:
    """Gathers the entries of all files and the mistakes in them. A name that is used twice is one."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._files: list[TaskFile] = []
        self._entries: dict[str, Entry] = {}
        # Where each entry stands, in the order of the entries: an array, for there may be 100,000 of them.
        self._places = array("Q")
        self._unusable: dict[str, int] = {}
        self._repeats: list[tuple[str, int]] = []
        self._problems: list[Problem] = []

    def add(self, file: TaskFile, tasks: Iterable[tuple[int, object]]) -> None:
        """The tasks of one file, each with its position; a Mistake in place of data was made in writing it down, and an
        Entry was read before.

        More tasks of the same file may follow at once.
        """
        if not self._files or self._files[-1] is not file:
            self._files.append(file)
        number = len(self._files) - 1
        for position, raw in tasks:
            if isinstance(raw, Mistake):
                read: Entry | tuple[Mistake, ...] = (raw,)
            else:
                read = raw if isinstance(raw, Entry) else self._read(raw, file.source)
            place = number << _PLACE_BITS | position
            if isinstance(read, Entry):
                self._keep(read, place)
            else:
                self._problems += [file.problem(position, mistake) for mistake in read]
                self._note_name(raw, place)

    @property
    def wrong(self) -> int:
        """How many mistakes there are so far."""
        return len(self._problems) + len(self._repeats)

    def collected(self) -> "Collected":
        """The entries, and the mistakes in what makes none."""
        places = Places(tuple(self._files), self._entries, self._places)
        repeats = [self._repeat(places, name, place) for name, place in self._repeats]
        return Collected(self._entries, places, (*self._problems, *repeats))

    def _keep(self, entry: Entry, place: int) -> None:
        if entry.name in self._entries or entry.name in self._unusable:
            self._repeats.append((entry.name, place))
        else:
            self._entries[entry.name] = entry
            self._places.append(place)

    def _note_name(self, raw: object, place: int) -> None:
        name = raw.get("name") if isinstance(raw, dict) else None
        if not isinstance(name, str) or not name:
            return
        if name in self._entries or name in self._unusable:
            self._repeats.append((name, place))
        else:
            self._unusable[name] = place

    def _repeat(self, places: "Places", name: str, place: int) -> Problem:
        first = self._unusable[name] if name in self._unusable else places.of(name)
        text = f"{found(name)}, a name of its own is allowed; {places.shown(first)} has this one"
        return places.problem(place, Mistake(("name",), text))


class Places:
    """Where entries stand in their files: a number each, the file's above and the position in it below."""

    def __init__(self, files: tuple[TaskFile, ...], entries: Mapping[str, Entry], places: Sequence[int]) -> None:
        """``places`` are in the order of ``entries``."""
        self._files = files
        self._entries = entries
        self._places = places
        self._index: dict[str, int] = {}

    def of(self, name: str) -> int:
        """The place of the entry ``name``."""
        if not self._index:
            # Only needed when there are mistakes, and then perhaps for every entry.
            self._index = {name: index for index, name in enumerate(self._entries)}
        return self._places[self._index[name]]

    def lines_of(self, file: TaskFile) -> Mapping[str, Entry]:
        """The entries of ``file``, as it was then, by the lines that they stand on; none unless it is JSON Lines."""
        for number, before in enumerate(self._files):
            if before.is_before(file):
                lines = zlib.decompress(before.packed).decode().split("\n")
                placed = zip(self._places, self._entries.values(), strict=True)
                return {lines[(at & _POSITION) - 1]: entry for at, entry in placed if at >> _PLACE_BITS == number}
        return {}

    def problem(self, place: int, mistake: Mistake) -> Problem:
        """A mistake in what stands at ``place``."""
        return self._files[place >> _PLACE_BITS].problem(place & _POSITION, mistake)

    def shown(self, place: int) -> str:
        """``FILE:LINE`` of ``place``."""
        return self._files[place >> _PLACE_BITS].shown(place & _POSITION)


@dataclass(frozen=True, slots=True)
class Collected:
    """What all files brought: entries by name, where they stand, and the mistakes."""

    entries: dict[str, Entry]
    places: Places
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class ReadTasks:
    """What reading one file brought: its tasks with their positions, and the mistakes that concern it as a whole."""

    file: TaskFile
    tasks: Iterable[tuple[int, object]] = ()
    problems: tuple[Problem, ...] = ()


def read_tasks(path: Path, file: str, source: str, before: Places | None = None) -> ReadTasks:
    """The tasks in an included file; mistakes call it ``file``, its entries name ``source``. Raises nothing.

    What ``before`` knows the lines of, if they would be read as then, need not be read again.
    """
    if path.suffix == _JSON_LINES:
        return _read_json_lines(path, TaskFile(file, source), before)
    if path.suffix in _YAML:
        return _read_yaml(path, file, source)
    text = f"a file of another kind, one that ends in {', '.join(_YAML)} or {_JSON_LINES} is allowed"
    return ReadTasks(TaskFile(file, source), problems=(Problem(file, 0, "", text),))


def numbered(tasks: object) -> Iterable[tuple[int, object]]:
    """The tasks of a list with their positions; none when it is no list."""
    return enumerate(tasks) if isinstance(tasks, list) else ()


def _read_yaml(path: Path, file: str, source: str) -> ReadTasks:
    document = read_yaml(path, file)
    data = document.data
    tasks = data.get("tasks") if isinstance(data, dict) else None
    wrong = (*document.problems, *_shape_problems(document))
    return ReadTasks(TaskFile(file, source, document.lines), numbered(tasks), wrong)


def _shape_problems(document: Document) -> Iterator[Problem]:
    """What is wrong with an included file as a whole: anything but a list under ``tasks``."""
    data = document.data
    if data is None:
        if not document.problems:
            yield document.problem((), "empty, a list under 'tasks' is required")
        return
    if not isinstance(data, dict):
        yield document.problem((), f"{kind(data)}, a mapping with a list under 'tasks' is allowed")
        return
    for key in data:
        if key != "tasks":
            yield document.problem((key,), f"unknown key, tasks is allowed{did_you_mean(key, ['tasks'])}")
    if "tasks" not in data:
        yield document.problem(("tasks",), "missing, it is required")
    elif not isinstance(data["tasks"], list):
        yield document.problem(("tasks",), f"{kind(data['tasks'])}, a list is allowed")


def same_rules(old: Settings, new: Settings) -> bool:
    """Whether `EntryReader` makes the same of the same data by both."""
    return _rules(old) == _rules(new)


def _rules(settings: Settings) -> Mapping[str, tuple[Mapping[str, str], Policy]]:
    return {name: (provider.params, settings.policy(name)) for name, provider in settings.providers.items()}


def _read_json_lines(path: Path, file: TaskFile, before: Places | None) -> ReadTasks:
    text = read_text(path, LARGEST_JSON_LINES)
    if isinstance(text, Unreadable):
        return ReadTasks(file, problems=(Problem(file.file, text.line, "", text.text),))
    if not text.strip():
        return ReadTasks(file, problems=(Problem(file.file, 0, "", "empty, one task a line is required"),))
    known = {} if before is None else before.lines_of(file)
    # As lightly as zlib can: lines are so much like one another that it is enough.
    packed = zlib.compress(text.encode(), level=1)
    return ReadTasks(replace(file, packed=packed), json_lines(text, known=known))


_NOTHING: Mapping[str, Entry] = {}


def json_lines(
    text: str, longest: int = LARGEST_JSON_LINES, known: Mapping[str, Entry] = _NOTHING
) -> Iterator[tuple[int, object]]:
    """The values in ``text``, one a line, with the lines' numbers; a Mistake in place of what is none.

    ``longest`` is how many characters a line may have. Of lines that are ``known`` the entries come.
    """
    for number, line in numbered_lines(text):
        entry = known.get(line)
        if entry is not None:
            yield number, entry
        elif line and not line.isspace():
            _, value = _json(line, "one task a line", longest)
            yield number, value


def json_task(text: str, longest: int) -> tuple[int, object]:
    """The one value in ``text``, with position 0; the Mistake that it is none, with its line, where that is known.

    ``longest`` is how many characters it may have.
    """
    return _json(text, "a task", longest)


def _json(text: str, allowed: str, longest: int) -> tuple[int, object]:
    """The value in ``text``, or the Mistake that it is none, and that one's line. No message quotes the text."""
    if len(text) > longest:
        return 0, Mistake((), f"{len(text):,} characters, at most {longest:,} are allowed for a task")
    plain = _plain(text)
    if plain is not None:
        return 0, plain
    try:
        return 0, _DECODER.decode(text)
    except json.JSONDecodeError as error:
        wrong = f'no JSON from column {error.colno} on, {allowed} is allowed, like {{"name": …}}'
        return error.lineno, Mistake((), wrong)
    except _DuplicateError as error:
        return 0, Mistake((error.key,), "a second time, once is allowed")
    except (ValueError, RecursionError):
        return 0, Mistake((), "a number too long or values nested too deep, a task is allowed")


def _plain(text: str) -> object:
    """The object in ``text`` if it is a simple one, as most tasks are; else None, and it takes a closer look.

    In a fifth of the time, for 100,000 are read at a start. A simple one has no numbers, which this decoder rounds, and
    as many colons as keys: a key that came twice, which it does not notice, leaves one too many.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if type(value) is not dict:
        return None
    keys = len(value)
    for each in value.values():
        if type(each) is dict:
            keys += len(each)
            if any(type(inner) is not str for inner in each.values()):
                return None
        elif type(each) is not str and type(each) is not bool:
            return None
    return value if keys == text.count(":") else None


class _DuplicateError(Exception):
    def __init__(self, key: str) -> None:
        self.key = key


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    data = dict(pairs)
    if len(data) != len(pairs):
        keys = [key for key, _ in pairs]
        raise _DuplicateError(next(key for key in keys if keys.count(key) > 1))
    return data


def _json_float(text: str) -> float:
    number = written_float(text)
    if not math.isfinite(number):
        raise ValueError("too large")
    return number


def _json_integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError("too long")
    return int(text)


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_without_duplicates,
    parse_float=_json_float,
    parse_int=_json_integer,
    parse_constant=_no_constant,
)


# --- requests ------------------------------------------------------------------------------------------------------


EntryCheck: TypeAlias = Callable[[Entry], Iterable[Mistake]]
"""Finds the mistakes in an entry that take more knowledge than is had here."""


def _nothing_more(_: Entry) -> Iterable[Mistake]:
    return ()


class AddedReader:
    """Makes entries of the tasks that one request adds, some at a time, so that others have their turn in between.

    ``tasks`` are plain data with their positions, like those that `json_lines` and `json_task` give: the line of each
    in the request, 0 where there is but one. ``check`` is handed every entry that has no mistakes of its own.
    """

    def __init__(
        self, reader: EntryReader, tasks: Iterable[tuple[int, object]], check: EntryCheck = _nothing_more
    ) -> None:
        self._reader = reader
        self._tasks = iter(tasks)
        self._check = check
        self._file = TaskFile("request", ADDED)
        self._collector = Collector(self._read)

    def read_some(self) -> bool:
        """Reads the next tasks; whether there may be more to read."""
        read, before = 0, self._collector.wrong
        while read < ADDED_PER_TURN and self._collector.wrong - before < MISTAKES_PER_TURN:
            task = next(self._tasks, None)
            if task is None:
                return False
            self._collector.add(self._file, (task,))
            read += 1
        return self._collector.wrong <= MOST_MISTAKES

    def entries(self) -> dict[str, Entry]:
        """What was read, by name. ConfigError with every mistake in it; no task at all is one."""
        collected = self._collector.collected()
        if collected.problems:
            raise ConfigError(self._told(collected.problems))
        if not collected.entries:
            raise ConfigError([Problem(self._file.file, 0, "", "empty, one task a line is required")])
        return collected.entries

    def _read(self, raw: object, source: str) -> Entry | tuple[Mistake, ...]:
        read = self._reader.read(raw, source)
        return (tuple(self._check(read)) or read) if isinstance(read, Entry) else read

    def _told(self, problems: Sequence[Problem]) -> Iterator[Problem]:
        yield from problems[:MOST_MISTAKES]
        if len(problems) > MOST_MISTAKES:
            yield Problem(self._file.file, 0, "", f"more than {MOST_MISTAKES:,} mistakes, the rest is not told")


# --- two watchlists ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Diff:
    """How a watchlist differs from an older one, in names; ``restarted`` are those ``changed`` into other tasks."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


def diff(old: Mapping[str, Entry], new: Mapping[str, Entry]) -> Diff:
    """What must be done to go from ``old`` to ``new``."""
    changed = tuple(name for name, entry in new.items() if _is_other(old.get(name), entry))
    return Diff(
        added=tuple(name for name in new if name not in old),
        changed=changed,
        removed=tuple(name for name in old if name not in new),
        restarted=tuple(name for name in changed if not _same_task(old[name], new[name])),
    )


def keep_equal(old: Mapping[str, Entry], new: dict[str, Entry]) -> None:
    """Puts the entries of ``old`` in the place of those in ``new`` that equal them: they are not kept twice."""
    for name, entry in new.items():
        before = old.get(name)
        if before is not None and before == entry:
            new[name] = before


def _is_other(old: Entry | None, new: Entry) -> bool:
    # To compare them value by value takes long for 100,000; most are one and the same.
    return old is not None and old is not new and old != new


def _same_task(old: Entry, new: Entry) -> bool:
    return old.same_task(new.provider, new.operation, new.params)
