"""What each page of the status page shows at a moment, gathered from those who know."""

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from multidict import MultiMapping

from poller.domain.errors import NoSuchTaskError, StoreError
from poller.protocols import Census, Clock, History, PollCounts, Replicas, WatchedTask, Watching
from poller.web import connectionview
from poller.web.ordering import Listing, Order, parse_number, parse_order
from poller.web.selection import Selection, in_turns, parse_selection
from poller.web.taskview import MOST_STEPS, Past, task_parts
from poller.web.view import Counts, Row, link, notices, paging, row, summary

ROWS = 100
"""Tasks on a page."""

TASKS_PER_TURN = 250
"""So few that counting and sorting them keeps the event loop for a millisecond or two."""

FILTERS = ("state", "flag", "provider", "operation", "owner", "source", "label", "q", "limit", "cursor", "page")

_MOST_PASTS = 100


@dataclass(frozen=True, slots=True)
class Picture:
    """What a page shows at ``now``, epoch seconds: facts by the element they stand in, and the rows of its list.

    ``is_partial``: the store could not be read, and something is missing. ``rendered`` is what was made of them so far,
    for all who look at the same page.
    """

    now: float
    title: str
    parts: Mapping[str, object]
    rows: Sequence[Row] = ()
    is_partial: bool = False
    rendered: dict[tuple[str, str], str] = field(default_factory=dict, compare=False)


class Pictures:
    """Looks at what is watched, here and elsewhere, at what the store remembers, and at who else is there."""

    def __init__(
        self,
        census: Census,
        watching: Watching,
        history: History,
        replicas: Replicas,
        counts: PollCounts,
        clock: Clock,
    ) -> None:
        self._census = census
        self._watching = watching
        self._history = history
        self._replicas = replicas
        self._polls = counts
        self._clock = clock
        self._pasts: OrderedDict[str, Past] = OrderedDict()

    def changes(self) -> object:
        """Something that stays equal while surely nothing has changed, but for what time alone does."""
        return self._polls.polls if self._replicas.count == 1 else object()

    async def tasks(self, query: MultiMapping[str], with_labels: bool = False) -> tuple[Picture, Counts]:
        """The list of tasks that ``query`` asks for, and how many there are of all. BadQueryError, StoreError."""
        selection, order, number = asked_for(query)
        now = self._clock.now()
        counts, listing = Counts(), Listing(order, number, selection.limit, now)
        async for part in self._census.slices():
            async for some in in_turns(part, TASKS_PER_TURN):
                counts.add(some, with_labels)
                listing.add(selection.of(some))
        clear = link(query, **dict.fromkeys(FILTERS)) if any(query.get(key) for key in FILTERS) else None
        rows = [row(watched, now) for watched in listing.tasks()]
        parts = {
            "notices": self._notices(),
            "summary": summary(query, counts),
            "paging": paging(query, listing.count, listing.shown, selection.limit, clear),
        }
        return Picture(now, f"poller: {counts.states.total():,} tasks", parts, rows), counts

    async def connections(self) -> Picture:
        """The connections of this process, and all replicas."""
        now, counts = self._clock.now(), Counter[str]()
        async for part in in_turns(self._watching.tasks()):
            counts.update(watched.task.entry.provider for watched in part)
        lines = [
            connectionview.line(each, counts[each.provider], self._polls.polls_of(each.provider), now)
            for each in self._watching.connections()
        ]
        parts = {"notices": self._notices(), "connections": lines, "replicas": await self._members()}
        return Picture(now, "poller: connections", parts)

    async def task(self, name: str) -> Picture:
        """All of one task. NoSuchTaskError, StoreError."""
        watched = await self._census.find(name)
        if watched is None:
            raise NoSuchTaskError(name)
        past = await self._past(watched)
        now, provider = self._clock.now(), watched.task.entry.provider
        connection = next((each for each in self._watching.connections() if each.provider == provider), None)
        parts = task_parts(watched, now, connection, past, self._watching.polls(name))
        return Picture(now, f"{name}: {watched.task.status.state}", parts, is_partial=past.trouble is not None)

    def _notices(self) -> object:
        return notices(self._watching.stalled(), self._watching.ready, self._watching.connections())

    async def _members(self) -> connectionview.Replicas:
        try:
            members = await self._replicas.members()
        except StoreError as error:
            return connectionview.Replicas(trouble=str(error))
        return connectionview.replicas(members) if members else connectionview.Replicas()

    async def _past(self, watched: WatchedTask) -> Past:
        """What the store remembers of a task; read again only when there is more of it."""
        name, count = watched.task.entry.name, watched.task.status.transitions
        known = self._pasts.get(name)
        # What has just happened may not be committed yet, and another task may have taken the name.
        if known is not None and known.newest == (watched.task.status.first_seen_at, count):
            self._pasts.move_to_end(name)
            return known
        try:
            steps = (await self._history.transitions(name, MOST_STEPS)).transitions
            runs = (await self._history.transitions(name, MOST_STEPS, ends=True)).transitions
        except StoreError as error:
            return Past(trouble=str(error))
        newest = (watched.task.status.first_seen_at, steps[0].ordinal if steps else 0)
        self._pasts[name] = past = Past(steps, runs, newest=newest)
        if len(self._pasts) > _MOST_PASTS:
            self._pasts.popitem(last=False)
        return past


def asked_for(query: MultiMapping[str]) -> tuple[Selection, Order, int]:
    """Which tasks a query asks for, in which order, and which page of them. BadQueryError for what means nothing."""
    return parse_selection(query, ROWS), parse_order(query.get("sort", "")), parse_number(query.get("page", ""))
