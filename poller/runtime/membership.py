"""This replica among the others: which partitions it holds, until when it may believe so, and what all must heed.

`Membership` keeps giving signs of life, takes its fair share, lets go of what is too much, and buries the dead; what to
do of these `poller.domain.shares` decides. While the store cannot be asked it goes on with what it holds: commits are
fenced by epochs, so the worst is a poll too many. `Sole` is the same where there is nobody to share with.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import anyio
from structlog.typing import FilteringBoundLogger

from poller.domain.errors import StoreError
from poller.domain.observation import Outcome
from poller.domain.shares import PARTITIONS, fair_share, lifetime, renew_every, to_release, to_take, trusted
from poller.protocols import Cluster, Look, Member, Refusal
from poller.runtime.trouble import Trouble

LOOK_EVERY = 0.4
"""Seconds between two looks at the others: so soon it is seen that partitions are free or the watchlist has changed."""


class Holder(Protocol):
    """Who watches the tasks of the partitions that are held."""

    def hold(self, partitions: Collection[int]) -> None:
        """Begins to watch what is in ``partitions``, as soon as it is read."""
        ...

    async def hand_over(self, partitions: Collection[int]) -> None:
        """Stops watching what is in ``partitions``, and makes durable what is known of it, as far as that can be."""
        ...

    def drop(self, partitions: Collection[int]) -> None:
        """Stops watching what is in ``partitions``: somebody else does. What is not committed is forgotten."""
        ...

    def follow(self, revision: int) -> None:
        """The watchlist is at ``revision``."""
        ...

    def heed(self, replicas: int, refusals: Mapping[str, Refusal], unsaid: Collection[str]) -> None:
        """So many replicas share every rate, and others have met with ``refusals``, by provider.

        Of the providers ``unsaid`` something is known here that the others were not told yet.
        """
        ...

    def confirmed(self) -> None:
        """What is held is certain again, or still."""
        ...


class Sole:
    """The only replica there can be: it holds everything. Implements `Tenure`, `Replicas` and `Neighbours`."""

    epochs: Mapping[int, int] | None = None
    count = 1
    held = PARTITIONS
    failovers = 0

    def may_poll(self) -> bool:
        """Always."""
        return True

    def is_certain(self) -> bool:
        """Always."""
        return True

    async def members(self) -> Sequence[Member]:
        """Nobody to tell of."""
        return ()

    async def may_probe(self, provider: str, seconds: float) -> bool:
        """Always: a connection is one at a time by itself."""
        del provider, seconds
        return True

    def probed(self, provider: str) -> None:
        """Concerns nobody."""

    def refused(self, provider: str, reason: Outcome, seconds: float) -> None:
        """Concerns nobody."""

    def answered(self, provider: str) -> None:
        """Concerns nobody."""


SOLE = Sole()
"""It knows nothing, so one is enough."""


def boot_clock() -> float:
    """Seconds that go on while the process is stopped and the machine sleeps; the event loop's time may not."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Membership:
    """A replica on ``cluster``. Implements `Tenure`, `Replicas` and `Neighbours`.

    ``name`` gives a name never used before, at each call: one that was declared dead comes back as another. ``lease``
    is after how many seconds its death is noticed and made up for. ``clock`` is monotonic. ``trouble`` is told when the
    store cannot be asked.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        name: Callable[[], str],
        lease: float,
        clock: Callable[[], float],
        logger: FilteringBoundLogger,
        trouble: Trouble,
    ) -> None:
        self._trouble = trouble
        self._cluster = cluster
        self._name = name
        self._lease = lease
        self._patience = lifetime(lease) / 2
        self._clock = clock
        self._logger = logger
        self._until = float("-inf")
        self._renew_at = float("-inf")
        self._joined = False
        self._leaving: dict[int, int] = {}
        self._freed: set[str] = set()
        self._verdicts: dict[str, tuple[Outcome, float] | None] = {}
        self.id = name()
        self.epochs: dict[int, int] = {}
        self.count = 1
        self.failovers = 0
        self.store_answers = True

    @property
    def held(self) -> int:
        """How many partitions are held."""
        return len(self.epochs)

    def may_poll(self) -> bool:
        """Whether polls may go out; see `Neighbours.may_poll`."""
        return not self.store_answers or self._clock() < self._until

    def is_certain(self) -> bool:
        """Whether nobody else can hold what is held here; see `Tenure.is_certain`.

        One that was alone when the store fell silent believes that it still is.
        """
        return self._clock() < self._until or (not self.store_answers and self.count == 1)

    async def members(self) -> Sequence[Member]:
        """The replicas alive, the oldest first. StoreError, after a while also where the store does not answer."""
        try:
            with anyio.fail_after(self._patience):
                found = await self._cluster.members()
        except TimeoutError:
            raise StoreError("the store does not answer") from None
        return [replace(each, is_here=each.name == self.id) for each in found]

    async def join(self, holder: Holder) -> None:
        """Becomes a replica, for which ``holder`` watches what is held. StoreError."""
        self._holder = holder
        await self._join()

    async def _join(self) -> None:
        sent = self._clock()
        await self._cluster.join(self.id, lifetime(self._lease))
        self._joined = True
        self._alive_since(sent)
        self._logger.info("replica.joined", replica=self.id)

    async def run(self) -> None:
        """Holds its share until cancelled."""
        while True:
            try:
                with anyio.fail_after(self._patience):
                    await self.step()
            except (StoreError, TimeoutError) as error:
                self._doubt(error)
            await anyio.sleep(LOOK_EVERY)

    async def leave(self) -> None:
        """Lets go of everything; what is not committed by now is lost to it."""
        self._until = float("-inf")
        await self._cluster.leave(self.id)
        self._logger.info("replica.left", replica=self.id, partitions=self.held)

    async def step(self) -> None:
        """One look at the others, and what follows from it. StoreError."""
        sent = self._clock()
        seconds = lifetime(self._lease) if sent >= self._renew_at else None
        look = await self._cluster.look(self.id, seconds)
        if look is None:
            await self._begin_anew()
            return
        self._joined = True
        if seconds is not None:
            self._alive_since(sent)
        self._believe()
        await self._bury(look.dead)
        if look.held != self.held:
            self._settle(await self._cluster.held(self.id))
        self.count = len(look.alive)
        refusals = {name: told for name, told in look.refusals.items() if told.by != self.id}
        self._holder.heed(self.count, refusals, self._verdicts.keys())
        self._holder.follow(look.revision)
        await self._balance(look)
        # Last: whoever keeps this from being said must not keep it from giving signs of life.
        await self._say()

    def _alive_since(self, sent: float) -> None:
        # From before the request was sent: by the store's clock it is alive for longer.
        self._until = sent + trusted(self._lease)
        self._renew_at = sent + renew_every(self._lease)

    def _believe(self) -> None:
        self.store_answers = True
        self._trouble.end("leases")
        if self.is_certain():
            self._holder.confirmed()

    def _doubt(self, error: Exception) -> None:
        """The store cannot be asked: what is held is held on to."""
        self.store_answers = False
        self._trouble.begin("leases", error)

    async def _begin_anew(self) -> None:
        """It has been declared dead, and everything was taken from it.

        If it had not come to live under its name it tries the same one again: asked for twice it would seem to be two.
        """
        if self._joined:
            self._lose_everything()
        await self._join()

    def _lose_everything(self) -> None:
        lost, self.epochs, self._leaving = self.epochs, {}, {}
        self._until = self._renew_at = float("-inf")
        self._holder.drop(lost.keys())
        self._logger.warning("replica.lost_leases", replica=self.id, partitions=len(lost))
        self.id, self._joined = self._name(), False

    async def _bury(self, dead: Collection[str]) -> None:
        for each in dead:
            if await self._cluster.bury(each):
                self.failovers += 1
                self._logger.warning("replica.died", replica=each)

    def _settle(self, held: Mapping[int, int]) -> None:
        """Holds exactly what the store says: an answer may have been lost on its way.

        What it was letting go of it does not hold again: that may yet happen.
        """
        self._lose([number for number, epoch in self.epochs.items() if held.get(number) != epoch])
        self._leaving = {number: epoch for number, epoch in self._leaving.items() if held.get(number) == epoch}
        mine = self.epochs.keys() | self._leaving.keys()
        self._gain({number: epoch for number, epoch in held.items() if number not in mine})

    def _lose(self, partitions: Collection[int]) -> None:
        if partitions:
            self._holder.drop(partitions)
            for number in partitions:
                self.epochs.pop(number, None)

    def _gain(self, taken: Mapping[int, int]) -> None:
        if taken:
            self.epochs.update(taken)
            self._holder.hold(taken.keys())
            self._logger.info("partitions.taken", replica=self.id, partitions=len(taken), held=self.held)

    async def _balance(self, look: Look) -> None:
        share = fair_share(self.id, look.alive)
        staying = sorted(self.epochs.keys() - self._leaving.keys())
        surplus = staying[len(staying) - to_release(len(staying), share) :]
        self._leaving |= {number: self.epochs[number] for number in surplus}
        if self._leaving:
            await self._release()
        missing = to_take(self.held, share, look.free)
        if missing:
            self._gain(await self._cluster.take(self.id, missing))

    async def _release(self) -> None:
        """Lets go of what is leaving; begun and not known to be done, it is done again by the next step."""
        with anyio.move_on_after(self._patience / 2):
            await self._holder.hand_over(self._leaving.keys())
        for number in self._leaving:
            self.epochs.pop(number, None)
        await self._cluster.release(self.id, self._leaving)
        self._logger.info("partitions.released", replica=self.id, partitions=len(self._leaving), held=self.held)
        self._leaving = {}

    # --- what connections tell each other ---

    async def may_probe(self, provider: str, seconds: float) -> bool:
        """Whether a poll may go out that must be alone; where the store cannot be asked it may."""
        if not self.store_answers:
            return True
        if provider in self._freed:
            return False  # Others have their turn first.
        try:
            with anyio.fail_after(self._patience):
                return await self._cluster.probe(provider, self.id, seconds)
        except (StoreError, TimeoutError):
            return True

    def probed(self, provider: str) -> None:
        """A poll that had to be alone has come back."""
        self._freed.add(provider)

    def refused(self, provider: str, reason: Outcome, seconds: float) -> None:
        """Tells everybody to pause."""
        self._verdicts[provider] = reason, self._clock() + seconds

    def answered(self, provider: str) -> None:
        """Tells everybody that the pause is over."""
        self._verdicts[provider] = None

    async def _say(self) -> None:
        """Says what there is to say; what cannot be said is said by a later step, as far as it still holds."""
        for provider, verdict in list(self._verdicts.items()):
            await self._pass_on(provider, verdict)
            if self._verdicts[provider] is verdict:
                del self._verdicts[provider]
        for provider in sorted(self._freed):
            await self._cluster.probed(provider, self.id)
            self._freed.remove(provider)

    async def _pass_on(self, provider: str, verdict: tuple[Outcome, float] | None) -> None:
        if verdict is None:
            await self._cluster.resume(provider)
            return
        reason, until = verdict
        seconds = until - self._clock()
        if seconds > 0:
            await self._cluster.pause(provider, Refusal(reason, seconds, self.id))
