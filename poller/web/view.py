"""What the list of tasks says, in words. Pure; the templates only lay it out.

What ticks, such as how long ago something was, is left out when two of these are compared: a page that is open lets it
tick by itself, and is told only of what changed.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import quote, urlencode

from multidict import MultiMapping

from poller.domain.circuit import Phase
from poller.domain.durations import format_duration
from poller.domain.moments import relative, rfc3339
from poller.domain.prospect import ExpectedEnd
from poller.domain.state import Flag, State
from poller.domain.task import Task
from poller.protocols import ConnectionView, WatchedTask
from poller.web.ordering import Column, Order, elapsed, running_since
from poller.web.selection import flags_of

LONGEST_NOTE = 240
"""Characters of a message that the list shows; the task's page has all of it."""
LONGEST_STATUS = 60
"""The same of what the provider calls the state."""
LONGEST_LABEL = 60

_STRANGE_SEGMENTS = {"", ".", ".."}


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time: exactly, in epoch seconds, and in words as seen from now."""

    exact: str
    at: float
    words: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Span:
    """How long something took, or has been going on ``since`` then, epoch seconds; ``about``: as far as was seen."""

    since: float | None
    took: float | None
    about: bool
    words: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Foreseen:
    """When an end is expected, and between which moments, in words."""

    moment: Moment
    between: str | None


@dataclass(frozen=True, slots=True)
class Label:
    """A label of a task, and the link to all that have it."""

    text: str
    href: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list of tasks."""

    name: str
    href: str
    provider: str
    operation: str
    run: int
    labels: Sequence[Label]
    state: State
    since: Moment | None
    flags: Sequence[Flag]
    progress: float | None
    subtasks: str | None
    raw_status: str | None
    elapsed: Span | None
    expected: Foreseen | None
    polled: Moment | None
    message: str | None
    failure: str | None


@dataclass(frozen=True, slots=True)
class Tile:
    """A number of the summary, with a link to what it counts."""

    name: str
    count: int
    href: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """How many tasks there are, of all that are shown."""

    total: int
    total_href: str
    all_shown: bool
    states: Sequence[Tile]
    flags: Sequence[Tile]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that everybody who looks should know."""

    title: str
    text: str
    is_bad: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    """The head of a column: following its link sorts by it. ``direction`` is ascending or descending, if it does."""

    text: str
    href: str | None = None
    direction: str | None = None


@dataclass(frozen=True, slots=True)
class Paging:
    """Which part of the tasks that match is on the page, and the way to the others; links that lead nowhere are None.

    ``clear_href`` takes all filters away, if there are any.
    """

    first: int
    last: int
    count: int
    number: int
    pages: int
    begin_href: str | None
    previous_href: str | None
    next_href: str | None
    end_href: str | None
    clear_href: str | None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tasks there are: by state, by flag, by provider and by label."""

    states: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    providers: Counter[str] = field(default_factory=Counter)
    labels: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, tasks: Sequence[WatchedTask], with_labels: bool = True) -> None:
        """Counts ``tasks`` too; their labels are of no interest to who has the page open already."""
        # Plain texts: a member of an enumeration takes much longer to be looked up.
        self.states.update([watched.task.status.state._value_ for watched in tasks])
        self.providers.update([watched.task.entry.provider for watched in tasks])
        for watched in tasks:
            task = watched.task
            if flags := flags_of(task):
                self.flags.update(flags)
            if with_labels and task.entry.labels:
                self.labels.update(task.entry.labels.items())


_COLUMNS: Sequence[tuple[str, Column | None, bool]] = (
    ("Task", Column.NAME, False),
    ("State", Column.STATE, False),
    ("Progress", Column.PROGRESS, True),
    ("Elapsed", Column.ELAPSED, True),
    ("Expected end", Column.EXPECTED, False),
    ("Last poll", Column.POLLED, True),
    ("Message", None, False),
)
"""What each is called, by what it sorts, and whether from the greatest down when asked for the first time."""


def link(query: MultiMapping[str], **changes: str | None) -> str:
    """The address of the list with other parameters: those in ``changes`` are replaced, or left out where None."""
    pairs = [(key, value) for key, value in query.items() if key not in changes and value]
    pairs += [(key, value) for key, value in changes.items() if value]
    return f"?{urlencode(pairs, errors='replace')}" if pairs else "."


def task_path(name: str) -> str:
    """The way from the list to the page of the task of that name.

    Its slashes stay: proxies that decode addresses then change nothing. Where they would be taken for something else,
    they are percent-encoded.
    """
    is_strange = not _STRANGE_SEGMENTS.isdisjoint(name.split("/"))
    return f"tasks/{quote(name, safe='@:+' if is_strange else '/@:+')}"


def tiles(query: MultiMapping[str], key: str, kind: type[StrEnum], counts: Mapping[str, int]) -> list[Tile]:
    """A tile for each member of ``kind``; following a chosen one's link takes the choice back."""
    chosen = set(query.getall(key, ()))
    others: dict[str, None] = {"page": None, **dict.fromkeys({"state", "flag"} - {key})}
    return [
        Tile(name, counts[name], link(query, **others, **{key: None if name in chosen else name}), name in chosen)
        for name in kind
    ]


def summary(query: MultiMapping[str], counts: Counts) -> Summary:
    """How many tasks there are, whatever the filters leave of them."""
    return Summary(
        total=counts.states.total(),
        total_href=link(query, state=None, flag=None, page=None),
        all_shown=not any(query.get(key) for key in ("state", "flag")),
        states=tiles(query, "state", State, counts.states),
        flags=tiles(query, "flag", Flag, counts.flags),
    )


def headings(query: MultiMapping[str], order: Order) -> list[Heading]:
    """The heads of the columns. A column sorted by turns round when it is asked for again."""
    return [_heading(query, order, *column) for column in _COLUMNS]


def _heading(query: MultiMapping[str], order: Order, text: str, column: Column | None, downwards: bool) -> Heading:
    if column is None:
        return Heading(text)
    is_sorted = order.column is column
    following = Order(column, not order.downwards if is_sorted else downwards)
    wanted = None if following == Order() else str(following)
    direction = "descending" if order.downwards else "ascending"
    return Heading(text, link(query, sort=wanted, page=None), direction if is_sorted else None)


def paging(query: MultiMapping[str], count: int, number: int, size: int, clear_href: str | None) -> Paging:
    """Which of ``count`` tasks are on the ``number``-th page of ``size``, and where the others are."""
    pages = max(1, -(-count // size))

    def to(target: int) -> str | None:
        known = 1 <= target <= pages and target != number
        return link(query, page=str(target) if target > 1 else None) if known else None

    return Paging(
        first=min(count, (number - 1) * size + 1),
        last=min(count, number * size),
        count=count,
        number=number,
        pages=pages,
        begin_href=to(1),
        previous_href=to(number - 1),
        next_href=to(number + 1),
        end_href=to(pages),
        clear_href=clear_href,
    )


def notices(stalled: Iterable[str], ready: bool, connections: Iterable[ConnectionView]) -> list[Notice]:
    """What is wrong with the watching itself."""
    found = [Notice("Polling makes no progress.", sentence, is_bad=True) for sentence in stalled]
    if not found and not ready:
        text = "The watchlist is not loaded yet, or the store does not take what is written; the log says more."
        found.append(Notice("Not ready.", text))
    paused = [each for each in connections if each.paused]
    return found + [Notice(f"{each.provider}: {gate_words(each)}.", _paused_text(each)) for each in paused]


def gate_words(connection: ConnectionView) -> str:
    """Whether a connection lets polls out."""
    if connection.phase is Phase.OPEN:
        return "open"
    if connection.paused is None:
        return "before its first answer"
    return f"paused ({connection.paused})" if connection.phase is Phase.PAUSED else f"probing ({connection.paused})"


def _paused_text(connection: ConnectionView) -> str:
    waiting = f"{connection.due:,} poll{'' if connection.due == 1 else 's'} wait{'s' if connection.due == 1 else ''}."
    return waiting if connection.phase is Phase.PAUSED else f"One poll at a time goes out. {waiting}"


def row(watched: WatchedTask, now: float) -> Row:
    """The line of one task, as seen ``now``."""
    task = watched.task
    entry, status = task.entry, task.status
    return Row(
        name=entry.name,
        href=task_path(entry.name),
        provider=entry.provider,
        operation=entry.operation,
        run=status.run,
        labels=labels(entry.labels),
        state=status.state,
        since=moment(status.since, now),
        flags=flags_of(task),
        progress=status.progress,
        subtasks=subtasks(task),
        raw_status=short(status.raw_status, LONGEST_STATUS),
        elapsed=span(watched, now),
        expected=expectation(watched.expected, now),
        polled=moment(task.contact.last_polled_at, now),
        message=short(status.message),
        failure=short(failure(task)),
    )


def labels(known: Mapping[str, str]) -> tuple[Label, ...]:
    """The labels of a task, with links to the list."""
    return tuple(
        Label(
            short(f"{key}: {value}", LONGEST_LABEL) or "",
            f"?{urlencode({'label': f'{key}:{value}'}, errors='replace')}",
        )
        for key, value in sorted(known.items())
    )


def moment(at: float | None, now: float) -> Moment | None:
    """A point in time as seen from ``now``; None for none, and for one that no calendar holds."""
    exact = rfc3339(at)
    return None if at is None or exact is None else Moment(exact, round(at, 3), relative(at, now))


def span(watched: WatchedTask, now: float) -> Span | None:
    """How long the task took, or has been running."""
    seconds, status = elapsed(watched, now), watched.task.status
    if seconds is None:
        return None
    since = running_since(watched) if status.duration is None else None
    about = since is not None and since != status.started_at
    return Span(since, status.duration, about, f"{'~' if about else ''}{format_duration(seconds)}")


def expectation(end: ExpectedEnd | None, now: float) -> Foreseen | None:
    """When a run will probably end, and how sure that is."""
    at = moment(end.at, now) if end else None
    if end is None or at is None:
        return None
    low, high = (None if each is None else _clock(each, now) for each in (end.low_at, end.high_at))
    return Foreseen(at, f"{low}–{high}" if low and high and low != high else None)


def _clock(at: float, now: float) -> str | None:
    """The time of day, UTC, with its date if that is not today's."""
    if rfc3339(at) is None:
        return None
    then, today = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC).date()
    return then.strftime("%H:%M" if then.date() == today else "%d %b %H:%M")


def subtasks(task: Task) -> str | None:
    """How far a task's parts are."""
    parts = task.status.subtasks
    if parts is None or not parts.total:
        return None
    failed = f", {len(parts.failed)} failed" if parts.failed else ""
    return f"{parts.done} of {parts.total} parts{failed}"


def failure(task: Task) -> str | None:
    """Why the status is not known any better, as long as that lasts."""
    last, times = task.contact.last_failure, task.contact.consecutive_failures
    if last is None or not times or task.over:
        return None
    often = f", {times} polls in a row" if times > 1 else ""
    why = f": {last.message}" if last.message else ""
    return f"{last.outcome}{often}{why}"


def short(text: str | None, longest: int = LONGEST_NOTE) -> str | None:
    """``text``, or as much of it as a line takes; None for nothing."""
    if not text:
        return None
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
