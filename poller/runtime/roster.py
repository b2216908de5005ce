"""Keeps what is watched here in step with the watchlist in the store, as far as its partitions are held here.

Whoever changes the watchlist, by files or by the API, on this replica or on another one, changes the store: everybody
follows that. Implements `poller.runtime.membership.Holder`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress

import anyio
import anyio.lowlevel
from structlog.typing import FilteringBoundLogger

from poller.config.watchlist import Diff
from poller.domain.errors import StoreError
from poller.domain.events import Transition
from poller.domain.shares import PARTITIONS, partition_of
from poller.domain.task import Entry
from poller.protocols import Clock, Pulse, Refusal, Store, Stored, Written
from poller.runtime.clock import Wakeup
from poller.runtime.committer import Committer
from poller.runtime.forecasts import Forecasts
from poller.runtime.scheduler import Scheduler

_AT_A_TIME = 1_000
"""Tasks taken over in one go: some 20 ms."""
_RETRY = 1.0
"""Seconds between two attempts at reading what is held."""
_HAND_OVER = 2.0
"""Seconds to make durable what is known; what is not by then, the next one who holds it finds out anew."""

Pollable = Callable[[Entry], bool]
"""Whether an entry means something to the config of this replica: its provider, operation and parameters."""


class Roster:
    """``pollable`` says what can be polled; the rest waits for a config that knows it.

    ``known`` is what was written of the config: entries that the store has as well need not be kept twice.
    """

    def __init__(
        self,
        *,
        store: Store,
        scheduler: Scheduler,
        committer: Committer,
        forecasts: Forecasts,
        clock: Clock,
        pollable: Pollable,
        logger: FilteringBoundLogger,
        known: Callable[[], Written | None] = lambda: None,
    ) -> None:
        self._known = known
        self._store = store
        self._scheduler = scheduler
        self._committer = committer
        self._forecasts = forecasts
        self._clock = clock
        self._pollable = pollable
        self._logger = logger
        # Of what is held: what is watched, and what is yet to be read, with what tells this holding from others.
        self._watched: set[int] = set()
        self._unread: dict[int, object] = {}
        self._read_up_to = 0
        self._revision = 0
        self._strange: dict[str, Stored] = {}
        self._told_strange: list[str] = []
        # Of what is half read: what must not be told again if the rest cannot be read yet.
        self._retold: set[str] = set()
        self._behind = False
        self._wakeup = Wakeup()
        self._turn = anyio.Lock()

    @property
    def strange(self) -> int:
        """How many tasks are held that this replica's config does not know how to poll."""
        return len(self._strange)

    # --- what the membership tells ---

    def hold(self, partitions: Collection[int]) -> None:
        """Begins to watch what is in ``partitions``, as soon as it is read."""
        self._watched.difference_update(partitions)
        self._unread.update({number: object() for number in partitions})
        self._wakeup.set()

    async def hand_over(self, partitions: Collection[int]) -> None:
        """Stops watching what is in ``partitions``, and makes durable what is known of it, as far as that can be."""
        self._committer.flush(self._withdraw(partitions))
        with anyio.move_on_after(_HAND_OVER), suppress(StoreError):
            # Twice: what is told after the first commit is marked by the second.
            await self._committer.durable()
            await self._committer.durable()

    def drop(self, partitions: Collection[int]) -> None:
        """Stops watching what is in ``partitions``: somebody else does."""
        self._withdraw(partitions)
        self._committer.drop(partitions)

    def _withdraw(self, partitions: Collection[int]) -> Sequence[Pulse]:
        self._watched.difference_update(partitions)
        for number in partitions:
            self._unread.pop(number, None)
        for name in [name for name in self._strange if partition_of(name) in partitions]:
            del self._strange[name]
        return self._scheduler.withdraw(frozenset(partitions))

    def follow(self, revision: int) -> None:
        """The watchlist is at ``revision``."""
        if revision > self._revision:
            self._revision = revision
            self._wakeup.set()

    def heed(self, replicas: int, refusals: Mapping[str, Refusal], unsaid: Collection[str]) -> None:
        """So many replicas share every rate; others met with ``refusals``, which says nothing of those ``unsaid``."""
        for lane in self._scheduler.connections():
            lane.share(replicas)
            if lane.provider not in unsaid:
                lane.heed(refusals.get(lane.provider))

    def confirmed(self) -> None:
        """What is held is certain: what was committed in doubt is told."""
        self._committer.confirmed()

    # --- the work ---

    async def run(self) -> None:
        """Reads what is to be watched until cancelled."""
        while True:
            await self._wakeup.sleep(_RETRY if self._unread else None)
            await self.follow_now()
            if self._behind:
                await anyio.sleep(_RETRY)

    async def follow_now(self) -> None:
        """Watches what the store says at this moment; if it cannot be read, as soon as it can."""
        try:
            await self.catch_up()
            self._behind = False
            self._committer.trouble.end("watchlist")
        except StoreError as error:
            self._behind = True
            self._committer.trouble.begin("watchlist", error)
            self._wakeup.set()

    async def catch_up(self) -> None:
        """Watches what the store says at this moment, in all partitions that are held. StoreError."""
        async with self._turn:
            await self._read_new_partitions()
            await self._read_changes()
            self._scheduler.loaded = True
            self._tell_strange()

    async def _read_new_partitions(self) -> None:
        """Watches what is in them; the first tasks are polled while others are yet to be read."""
        asked = dict(self._unread)
        if not asked:
            return
        some = None if len(asked) == PARTITIONS else frozenset(asked)
        # Before the tasks: what is told meanwhile by the one who held them comes twice, rather than never.
        untold = await self._store.untold(some)
        first = roll = await self._store.tasks(0, some, self._known(), after="")
        await self._take_over(asked, roll.tasks, untold)
        while roll.onward is not None:
            roll = await self._store.tasks(0, some, self._known(), after=roll.onward)
            await self._take_over(asked, roll.tasks, untold)
        ready = self._still_held(asked)
        for number in ready:
            del self._unread[number]
        if not self._watched:
            self._read_up_to = first.revision
        self._revision = max(self._revision, first.revision)
        self._watched |= ready
        # What is left is of tasks that are watched no more.
        self._retell([each for each in untold if partition_of(each.task) in ready])
        self._retold.clear()

    async def _take_over(
        self, asked: Mapping[int, object], tasks: Sequence[Stored], untold: Sequence[Transition]
    ) -> None:
        """Watches ``tasks``, few at a time, so that others have their turn in between."""
        await self._learn(tasks)
        for start in range(0, len(tasks), _AT_A_TIME):
            # From here on nothing waits. What was lost meanwhile is not watched; held again, it is to be read again.
            held = self._still_held(asked)
            some = {each.entry.name: each for each in tasks[start : start + _AT_A_TIME]}
            if len(held) < PARTITIONS:
                some = {name: each for name, each in some.items() if partition_of(name) in held}
            self._adopt(some.values())
            self._retell([each for each in untold if each.task in some])
            await anyio.lowlevel.checkpoint()

    def _retell(self, untold: Iterable[Transition]) -> None:
        """Has those told that nobody told, but for those that were told a moment ago."""
        waiting = [each for each in untold if each.transition_id not in self._retold]
        self._committer.retell(waiting)
        self._retold.update(each.transition_id for each in waiting)

    def _still_held(self, asked: Mapping[int, object]) -> set[int]:
        return {number for number, holding in asked.items() if self._unread.get(number) is holding}

    async def _read_changes(self) -> None:
        roll = await self._store.tasks(self._read_up_to, frozenset(self._watched), self._known())
        await self._learn(roll.tasks)
        self._read_up_to = roll.revision
        self._revision = max(self._revision, roll.revision)
        self._adopt([each for each in roll.tasks if partition_of(each.entry.name) in self._watched])

    async def _learn(self, tasks: Sequence[Stored]) -> None:
        known = [each.entry for each in tasks if each.watched and self._pollable(each.entry)]
        families = self._forecasts.unknown(self._scheduler.families(known))
        if families:
            self._forecasts.learn(await self._store.runs(families))

    def _adopt(self, tasks: Iterable[Stored]) -> None:
        """Watches ``tasks`` as the store has them from now on."""
        wanted: dict[str, Stored] = {}
        gone: list[str] = []
        for each in tasks:
            name = each.entry.name
            self._strange.pop(name, None)
            if each.watched and self._pollable(each.entry):
                wanted[name] = each
                continue
            if each.watched:
                self._strange[name] = each
            if self._scheduler.find(name) is not None:
                gone.append(name)
        changes = self._compared(wanted, gone)
        if changes:
            entries = {name: each.entry for name, each in wanted.items()}
            saved = {name: each.saved for name, each in wanted.items()}
            self._scheduler.apply(entries, changes, saved, self._clock.now())

    def _compared(self, wanted: Mapping[str, Stored], gone: Sequence[str]) -> Diff:
        added, changed, restarted = [], [], []
        for name, each in wanted.items():
            watch = self._scheduler.find(name)
            if watch is None:
                added.append(name)
                continue
            entry, status = watch.task.entry, watch.task.status
            if status.first_seen_at != each.saved.status.first_seen_at or not _same_task(entry, each.entry):
                changed.append(name)
                restarted.append(name)
            elif entry != each.entry:
                changed.append(name)
        return Diff(tuple(added), tuple(changed), tuple(gone), tuple(restarted))

    # --- what the config does not know ---

    def reconsider(self) -> None:
        """The config is another one: what it knows now is watched, what it knows no more is not."""
        strange = list(self._strange.values())
        now = self._clock.now()
        strange += [w.stored(now) for w in self._scheduler.everything() if not self._pollable(w.task.entry)]
        self._adopt(strange)
        self._tell_strange()

    def _tell_strange(self) -> None:
        providers = sorted({each.entry.provider for each in self._strange.values()})
        if providers == self._told_strange:
            return
        self._told_strange = providers
        if providers:
            self._logger.warning("watchlist.not_pollable", tasks=len(self._strange), providers=providers)


def _same_task(old: Entry, new: Entry) -> bool:
    return old.same_task(new.provider, new.operation, new.params)
