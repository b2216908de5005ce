"""The polls of one connection that wait for their time, or for their turn."""

import heapq
from collections.abc import Collection, Iterable
from itertools import count

from poller.domain.urgency import TURN
from poller.runtime.limits import TOGETHER
from poller.runtime.watch import Watch

_EARLY = 0.01
"""By which share of its shortest delay a poll may go out early when another one does, up to `TOGETHER`: together they
cost fewer wake-ups than alone."""

_Place = tuple[float, int, Watch]
"""A moment, the ticket that is valid while its watch has it, and the watch."""


class DueQueue:
    """Planned polls, and of those that are due the one that should go first. Times are on the loop's clock.

    That is the one which may least wait: its due time and its slack together are over first. But ahead of all go, in
    turn, those that have not been polled for `TURN` times their longest delay: so nobody starves where the rate
    suffices for that, and where it does not there are only turns.
    """

    def __init__(self) -> None:
        self._tickets = count(1)
        self._planned: list[_Place] = []
        self._due: set[Watch] = set()
        # Only where several are due, it matters who goes first: until then they are not put in order.
        self._unordered: list[Watch] = []
        self._latest: list[_Place] = []
        self._turns: list[_Place] = []
        self._closed = 0.0

    def plan(self, watch: Watch, due: float, slack: float, now: float) -> bool:
        """Plans the next poll of ``watch`` at ``due``, in place of any before; whether that is now to be awaited first.

        Where others are due already, it is not.
        """
        self.drop(watch)
        watch.ticket, watch.due, watch.slack = next(self._tickets), due, slack
        watch.turn = now - self._closed + TURN * watch.task.entry.policy.max
        heapq.heappush(self._planned, (due, watch.ticket, watch))
        return not self._due and self._planned[0][1] == watch.ticket

    def drop(self, watch: Watch) -> None:
        """Takes ``watch`` out."""
        watch.ticket = 0
        self._due.discard(watch)

    def clear(self) -> None:
        """Takes everybody out."""
        for places in (self._planned, self._unordered, self._latest, self._turns, self._due):
            places.clear()

    def was_closed(self, seconds: float) -> None:
        """Nobody could be polled for so long: nobody's turn has come nearer by that."""
        self._closed += seconds

    def due(self, now: float) -> int:
        """How many are due."""
        self._advance(now)
        return len(self._due)

    def wait(self, now: float, along: bool = False) -> float | None:
        """Seconds until one is due; 0 if one is, None if nobody is planned.

        With ``along``, when another one goes now, one counts as due that would be a moment later; see `_EARLY`.
        """
        self._advance(now)
        if not self._due:
            first = _first(self._planned)
            if first is None:
                return None
            if not (along and first[0] <= now + _lead(first[2])):
                return first[0] - now
            self._advance(first[0])
        return 0.0

    def late(self, now: float) -> float:
        """For how many seconds one has been due, at most; 0 if nobody is."""
        self._advance(now)
        return max((now - watch.due for watch in self._due if watch.due is not None), default=0.0)

    def take(self, now: float, refused: Iterable[Watch] = ()) -> Watch:
        """Takes out the one that should go first; one must be due.

        Those ``refused``, longest ago first, go only when all others have gone: the task may be what is refused.
        """
        self._advance(now)
        if len(self._due) == 1:
            (watch,) = self._due
        else:
            self._order()
            held = [watch for watch in refused if watch in self._due]
            watch = held[0] if len(held) == len(self._due) else self._foremost(now, held)
        self.drop(watch)
        if not self._due:
            # What is left there are places that nobody has any more.
            for places in (self._unordered, self._latest, self._turns):
                places.clear()
        return watch

    def _advance(self, now: float) -> None:
        """Lets those wait for their turn whose time has come."""
        planned = self._planned
        while planned and planned[0][0] <= now:
            _, ticket, watch = heapq.heappop(planned)
            if ticket == watch.ticket:
                self._due.add(watch)
                self._unordered.append(watch)

    def _order(self) -> None:
        """Puts those in order that have become due since."""
        for watch in self._unordered:
            if watch in self._due and watch.due is not None:
                heapq.heappush(self._latest, (watch.due + watch.slack, watch.ticket, watch))
                heapq.heappush(self._turns, (watch.turn, watch.ticket, watch))
        self._unordered.clear()

    def _foremost(self, now: float, held: Collection[Watch]) -> Watch:
        turn = _first(self._turns, held)
        if turn is not None and turn[0] <= now - self._closed:
            return turn[2]
        latest = _first(self._latest, held)
        assert latest is not None
        return latest[2]


def _lead(watch: Watch) -> float:
    """Seconds by which ``watch`` may go out early."""
    return min(TOGETHER, _EARLY * watch.task.entry.policy.initial)


def _first(places: list[_Place], held: Collection[Watch] = ()) -> _Place | None:
    """The first place whose watch is not ``held``; those that were left are cleared away on the way."""
    aside = []
    while places and (places[0][1] != places[0][2].ticket or places[0][2] in held):
        place = heapq.heappop(places)
        if place[1] == place[2].ticket:
            aside.append(place)
    first = places[0] if places else None
    for place in aside:
        heapq.heappush(places, place)
    return first
