"""Transitions as they happen, for any number of readers: one look at the store tells all of them.

What was found is a chain of looks, of which every reader holds the link that it has come to: nothing is copied for
anybody, and what all have read is gone. A reader that is far behind lets go of the chain and goes on from the store, as
one that comes back does.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import anyio

from poller.domain.errors import StoreError
from poller.domain.events import FlagChange, Transition
from poller.domain.place import Place
from poller.protocols import History, News
from poller.web.eventstream import HEARTBEAT_SECONDS, Event, Events
from poller.web.told import json_bytes, transition_json

LOOK_SECONDS = 0.5
"""How often the store is looked at for what other replicas committed; what was committed here is looked for at once."""

TOGETHER_SECONDS = 0.05
"""How long a look waits for more to come: of many commits at once, few are worth one of their own."""

AT_A_TIME = 200
"""Transitions, of one look."""

MOST_BEHIND = 2_000
"""Transitions that a reader may be behind before it has to go on from the store."""

Wanted = Callable[[Transition], bool]
"""Whether a reader wants to be told of a transition."""


_Entries = Sequence[tuple[int, Transition, str]]
"""Transitions with their numbers, and as JSON."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a reader starts. ``lost``: why it may have missed something before."""

    place: Place
    lost: str | None = None


@dataclass(eq=False, slots=True)
class _Link:
    """What one look has found, and the ``place`` behind it; ``following`` is there when there is a next one."""

    place: Place
    count: int = 0
    found: _Entries = ()
    following: "asyncio.Future[_Link]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Feed:
    """Tells readers of what ``history`` has news of; an emitter that is told of each commit here."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._readers = 0
        self._newest: _Link | None = None
        self._wanted = asyncio.Event()
        self._committed = asyncio.Event()

    def transition(self, transition: Transition) -> None:
        """There is something to look for."""
        del transition
        self._committed.set()

    def flag(self, change: FlagChange) -> None:
        """Flags are not told."""

    async def run(self) -> None:
        """Looks for news as long as there are readers; a store that cannot be read is asked again."""
        while True:
            await self._wanted.wait()
            with anyio.move_on_after(LOOK_SECONDS):
                await self._committed.wait()
                await anyio.sleep(TOGETHER_SECONDS)
            self._committed.clear()
            await self._look()

    async def start(self, last_id: str | None) -> Start:
        """Where a reader starts whose last event had this id: behind that event, or with what comes from now on.

        Raises StoreError.
        """
        if last_id is None:
            return Start(await self._history.latest())
        try:
            place = Place.parse(last_id)
        except ValueError:
            return Start(await self._history.latest(), "this id was never given out here")
        if not await self._history.knows(place):
            lost = "what came after this id is no longer in the store, or it is another store's"
            return Start(await self._history.latest(), lost)
        return Start(place)

    async def events(self, start: Start, wanted: Wanted) -> Events:
        """Every transition after ``start`` that is ``wanted``, once each, without an end.

        The first event tells where that is, or, by the name ``reset``, that transitions before it may have been lost.
        """
        if start.lost is None:
            yield Event(id=str(start.place))
        else:
            text = json_bytes({"reason": start.lost, "resumed": "now"}).decode()
            yield Event(text, "reset", str(start.place))
        self._readers += 1
        self._wanted.set()
        try:
            reader = _Reader(start.place, wanted)
            while True:
                link = await self._joined()
                news = await self._news(reader.place)
                for event in reader.told(_entries(news), news.place):
                    yield event
                if not news.whole or not self._shares(link, reader.place):
                    continue
                while not self._is_far_ahead_of(link):
                    link = await asyncio.shield(link.following)
                    for event in reader.told(link.found, link.place):
                        yield event
        finally:
            self._leave()

    async def _joined(self) -> _Link:
        """The newest link: what is committed and not found up to it will be found by a later look."""
        while self._newest is None:
            try:
                place = await self._history.latest()
            except StoreError:
                await anyio.sleep(LOOK_SECONDS)
                continue
            if self._newest is None:
                self._newest = _Link(place)
        return self._newest

    def _shares(self, link: _Link, place: Place) -> bool:
        """Whether who has read all up to ``link`` may go on from it: what may yet fill its gaps is looked for there."""
        if link is not self._newest:
            return False
        link.place = link.place.lacking(place)
        return True

    def _leave(self) -> None:
        self._readers -= 1
        if not self._readers:
            self._wanted.clear()
            self._newest = None

    async def _news(self, place: Place) -> News:
        while True:
            try:
                return await self._history.news(place, AT_A_TIME)
            except StoreError:
                await anyio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        newest = self._newest
        if newest is None:
            return
        place = newest.place
        try:
            news = await self._history.news(place, AT_A_TIME)
        except StoreError:
            return
        if newest.place is not place:
            # Somebody has come since who lacks more.
            self._committed.set()
        elif newest is self._newest and (news.transitions or news.place != newest.place):
            self._newest = _Link(news.place, newest.count + len(news.transitions), _entries(news))
            newest.following.set_result(self._newest)
        if not news.whole:
            self._committed.set()

    def _is_far_ahead_of(self, link: _Link) -> bool:
        return self._newest is not None and self._newest.count - link.count > MOST_BEHIND


class _Reader:
    """What one reader has seen and is told."""

    def __init__(self, place: Place, wanted: Wanted) -> None:
        self.place = place
        self._wanted = wanted
        self._told_at = anyio.current_time()

    def told(self, found: _Entries, behind: Place) -> Iterator[Event]:
        """The events that ``found`` makes for it; ``behind`` is the place of who has seen all of it."""
        for number, transition, text in found:
            if number in self.place:
                continue
            self.place = self.place.seen(number, transition.transition_id)
            if self._wanted(transition):
                yield self._event(text, "transition")
        self.place = self.place.joined(behind)
        if anyio.current_time() - self._told_at >= HEARTBEAT_SECONDS:
            # What it did not want need not be looked at again when it comes back, nor be remembered until then.
            yield self._event()

    def _event(self, text: str = "", name: str | None = None) -> Event:
        self._told_at = anyio.current_time()
        return Event(text, name, str(self.place))


def _entries(news: News) -> _Entries:
    return [(number, each, json_bytes(transition_json(each)).decode()) for number, each in news.transitions]
