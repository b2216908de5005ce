"""Deliver what is in the outbox: a `Courier` for each sink, so that one in trouble delays no other, and no poll.

What waits stays in the store and is fetched page by page; of each task only the oldest event, so that those behind it
come in order. What became of a page's events is written in one go. Only the replica that holds a task's partition
delivers its events, and only while that is certain.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import anyio
from anyio.abc import TaskGroup
from structlog.typing import FilteringBoundLogger

from poller.domain.delivery import Answer, Condition, Delivery, Filter, Receipt, receipt
from poller.domain.durations import format_duration
from poller.domain.errors import NoSuchSinkError, StoreError
from poller.domain.events import Transition
from poller.domain.shares import partition_of
from poller.protocols import Backlog, Clock, DeadPage, Outbox, Sink, SinkRecord, Tenure
from poller.runtime.clock import Wakeup
from poller.runtime.trouble import Trouble

PAGE = 200
"""Events in memory for one sink, at most, besides those under way."""
LOOK_EVERY = 1.0
"""Seconds between two looks for what is due again, and for what others have put into the outbox or let go of."""
SURVEY_EVERY = 5.0
"""Seconds between two counts of what waits, for metrics."""
SETTLE_AFTER = 0.2
"""Seconds that what became of an event waits for others, to be written with them."""
DOUBT = 0.5
"""Seconds between two looks whether it is certain again what is held."""
MOST_TOLD = 10
"""Ways of failing, and dead letters, that are told one by one until a sink recovers."""
_RETRY_FIRST, _RETRY_LONGEST = 1.0, 10.0
_SHORTEST = 0.01
"""Seconds: a moment that is all but here, or past, is waited for so long; clocks do not tell less."""


@dataclass(frozen=True, slots=True)
class Office:
    """What all couriers work with. ``draw`` gives random numbers from 0 to 1."""

    outbox: Outbox
    tenure: Tenure
    clock: Clock
    draw: Callable[[], float]
    logger: FilteringBoundLogger
    trouble: Trouble


class Courier:
    """Delivers to one sink; ``patience`` are the seconds after which an event that fails is given up.

    ``counts`` is where attempts are counted by what came of them, ``teller`` who says how the sink does.
    """

    def __init__(
        self, name: str, sink: Sink, patience: float, office: Office, counts: Counter[str], teller: "Teller"
    ) -> None:
        self.name = name
        self.trouble = f"events for {name}"
        self._sink = sink
        self._patience = patience
        self._outbox, self._tenure, self._clock = office.outbox, office.tenure, office.clock
        self._draw = office.draw
        self._trouble, self._logger = office.trouble, office.logger
        self._teller = teller
        self._counts = counts
        self._condition = Condition()
        self._queue: deque[Delivery] = deque()
        self._under_way: set[int] = set()
        self._attempts = 0
        self._receipts: list[Receipt] = []
        self._settle_at = float("inf")
        self._look_at = float("-inf")
        self._retry = _RETRY_FIRST
        self._epochs: Mapping[int, int] | None = None
        self._wakeup = Wakeup()

    def wake(self) -> None:
        """There is something in the outbox."""
        self._look_at = float("-inf")
        self._wakeup.set()

    async def run(self) -> None:
        """Delivers until cancelled; `settle` writes what is known then."""
        async with anyio.create_task_group() as group:
            while True:
                await self._wakeup.sleep(max(_SHORTEST, await self._step(group)))

    async def settle(self) -> None:
        """Writes what became of events. StoreError."""
        settled, self._receipts = self._receipts, []
        self._settle_at = float("inf")
        try:
            await self._outbox.settle(settled, self._epochs)
        except StoreError:
            self._receipts = settled + self._receipts
            # Before anything else is sent: what is not noted would have to be sent again.
            self._settle_at = float("-inf")
            raise
        if settled:
            self._look_at = float("-inf")
            self._store_answers()

    async def _step(self, group: TaskGroup) -> float:
        """Does what is to be done now; for how many seconds there is nothing more, if nothing happens."""
        if not self._tenure.is_certain():
            self._drop_page()
            return DOUBT
        try:
            await self._refill()
        except StoreError as error:
            self._trouble.begin(self.trouble, error)
            self._retry = min(self._retry * 2, _RETRY_LONGEST)
            return self._retry
        now = self._clock.monotonic()
        pause = self._condition.paused_until - self._clock.now()
        if pause > 0:
            return min(pause, self._settle_at - now)
        most = 1 if self._condition.down_since is not None else self._sink.parallel
        while self._queue and self._attempts < most:
            self._send(group, [self._queue.popleft() for _ in range(min(len(self._queue), self._sink.batch))])
        return (self._settle_at if self._queue else min(self._look_at, self._settle_at)) - now

    def _drop_page(self) -> None:
        """Whatever was fetched is fetched again when it is to be sent."""
        self._queue.clear()
        self._look_at = float("-inf")

    def _send(self, group: TaskGroup, some: Sequence[Delivery]) -> None:
        some = [each for each in some if self._is_held(each.transition.task)]
        if some:
            self._attempts += 1
            self._under_way |= {each.seq for each in some}
            group.start_soon(self._deliver, some)

    def _is_held(self, task: str) -> bool:
        """Whether the partition of ``task`` is held as it was when its events were fetched."""
        fetched, now = self._epochs, self._tenure.epochs
        if fetched is None or now is None:
            return True
        number = partition_of(task)
        return fetched.get(number) is not None and fetched.get(number) == now.get(number)

    async def _refill(self) -> None:
        """Writes what became of events, and fetches a page where there is none, as often as there is a reason."""
        now = self._clock.monotonic()
        if now >= self._settle_at or (self._receipts and not self._queue and not self._attempts):
            await self.settle()
        if self._queue or now < self._look_at or self._condition.paused_until > self._clock.now():
            return
        await self._give_up()
        self._look_at = now + LOOK_EVERY
        epochs = self._tenure.epochs
        fetched = None if epochs is None else dict(epochs)
        if fetched != self._epochs:
            self._epochs = fetched
            self._condition.forget(lambda task: not self._is_held(task))
        limit = PAGE + len(self._under_way) + len(self._receipts)
        page = await self._outbox.due(self.name, self._clock.now(), limit, fetched)
        self._store_answers()
        tried = self._under_way | {each.delivery.seq for each in self._receipts}
        self._queue.extend(each for each in page if each.seq not in tried)

    def _store_answers(self) -> None:
        self._trouble.end(self.trouble)
        self._retry = _RETRY_FIRST

    async def _give_up(self) -> None:
        """Buries what waits for too long at a sink that takes nothing: it would not all be tried."""
        since, now = self._condition.down_since, self._clock.now()
        if since is None or now - since < self._patience:
            return
        error = f"given up: nothing was taken for {format_duration(self._patience)}"
        buried = await self._outbox.give_up(self.name, now - self._patience, now, error, self._tenure.epochs)
        if buried:
            self._counts["dead"] += buried
            self._condition.forget(lambda _: True)
            self._teller.buried(buried, error)

    async def _deliver(self, some: Sequence[Delivery]) -> None:
        try:
            answer = await self._sink.deliver([each.transition for each in some])
        except Exception as error:
            # A fault of poller's own must not end the daemon, which would meet with it again at the next start.
            self._logger.exception("sink.broken", sink=self.name)
            answer = Answer(f"a fault in poller: {type(error).__name__}")
        self._attempts -= 1
        self._under_way -= {each.seq for each in some}
        for each in some:
            self._note(each, answer)
        self._settle_at = min(self._settle_at, self._clock.monotonic() + SETTLE_AFTER)
        self._wakeup.set()

    def _note(self, delivery: Delivery, answer: Answer) -> None:
        now = self._clock.now()
        told = receipt(delivery, answer, now, self._patience, self._draw())
        self._receipts.append(told)
        self._counts[told.outcome] += 1
        self._condition.note(told, answer.whole, self._draw())
        if self._condition.paused_until > now:
            self._drop_page()
        self._teller.told(told, self._condition.failing_since)


class Teller:
    """What the log says of one sink: when it begins to fail, fails in another way, and recovers; and dead letters."""

    def __init__(self, sink: str, logger: FilteringBoundLogger) -> None:
        self._sink = sink
        self._logger = logger
        self._errors: set[str] = set()
        self._dead = 0
        self._since: float | None = None

    def told(self, receipt: Receipt, failing_since: float | None) -> None:
        """Heeds a receipt; the sink fails since ``failing_since``, or does not."""
        delivery, error = receipt.delivery, receipt.error
        if error is not None:
            self._since = failing_since if self._since is None else self._since
            self._fail(delivery.transition, error)
            if receipt.outcome == "dead":
                self._bury(delivery, error)
        elif failing_since is None and self._since is not None:
            seconds = round(receipt.at - self._since, 3)
            self._logger.info("sink.recovered", sink=self._sink, failed_seconds=seconds, dead_letters=self._dead)
            self._errors.clear()
            self._dead, self._since = 0, None

    def buried(self, count: int, error: str) -> None:
        """So many events were given up at once."""
        self._dead += count
        self._logger.error("sink.dead_letter", sink=self._sink, events=count, error=error)

    def _fail(self, transition: Transition, error: str) -> None:
        if error in self._errors or len(self._errors) >= MOST_TOLD:
            return
        self._errors.add(error)
        self._logger.warning(
            "sink.failing", sink=self._sink, error=error, task=transition.task, transition_id=transition.transition_id
        )

    def _bury(self, delivery: Delivery, error: str) -> None:
        self._dead += 1
        if self._dead > MOST_TOLD:
            return
        self._logger.error(
            "sink.dead_letter",
            sink=self._sink,
            task=delivery.transition.task,
            transition_id=delivery.transition.transition_id,
            attempts=delivery.attempts + 1,
            error=error,
        )


class Couriers:
    """The couriers of all sinks, as the config has them now. Implements `poller.protocols.Mailroom`.

    ``counts`` is what came of attempts, by sink: ``delivered``, ``failed``, ``dead``. ``backlogs`` is what each sink
    has not got of what is held here, as of the last survey.
    """

    def __init__(self, office: Office) -> None:
        self._office = office
        self._filters: dict[str, Filter] = {}
        self._working: dict[str, tuple[Courier, anyio.CancelScope, anyio.Event]] = {}
        self._waiting: dict[str, Courier] = {}
        self._group: TaskGroup | None = None
        self._tellers: dict[str, Teller] = {}
        self.counts: dict[str, Counter[str]] = {}
        self.backlogs: Mapping[str, Backlog] = {}

    def addressed(self, transitions: Sequence[Transition]) -> Mapping[str, Sequence[str]]:
        """Who gets which transition; see `Mailroom.addressed`."""
        if not self._filters:
            return {}
        found = {
            each.transition_id: [name for name, wanted in self._filters.items() if wanted.takes(each)]
            for each in transitions
        }
        return {transition_id: sinks for transition_id, sinks in found.items() if sinks}

    def committed(self, addressed: Mapping[str, Sequence[str]]) -> None:
        """Wakes who has something to deliver."""
        for sink in {sink for sinks in addressed.values() for sink in sinks}:
            self.wake(sink)

    def wake(self, sink: str) -> None:
        """There is something for ``sink`` in the outbox."""
        if sink in self._working:
            self._working[sink][0].wake()

    def address(self, filters: Mapping[str, Filter]) -> None:
        """From now on transitions are for these sinks, as far as their filters let them through."""
        self._filters = dict(filters)
        self.counts = {name: self.counts.get(name, Counter()) for name in filters}
        self._tellers = {name: teller for name, teller in self._tellers.items() if name in filters}

    def employ(self, name: str, sink: Sink, patience: float) -> None:
        """Delivers to ``sink`` from now on, or as soon as it runs; nobody may deliver to that name already."""
        counts = self.counts.setdefault(name, Counter())
        teller = self._tellers.setdefault(name, Teller(name, self._office.logger))
        courier = Courier(name, sink, patience, self._office, counts, teller)
        if self._group is None:
            self._waiting[name] = courier
        else:
            self._begin(self._group, courier)

    async def dismiss(self, names: Collection[str]) -> None:
        """Delivers no more to the sinks of these names. What is under way is dropped, and comes again to the next."""
        stopped = [self._working.pop(name) for name in names if name in self._working]
        for _, scope, _ in stopped:
            scope.cancel()
        for courier, _, ended in stopped:
            await ended.wait()
            await self._settle(courier)
            self._office.trouble.end(courier.trouble)
        for name in names:
            self._waiting.pop(name, None)

    async def run(self) -> None:
        """Delivers until cancelled."""
        async with anyio.create_task_group() as group:
            self._group = group
            for courier in self._waiting.values():
                self._begin(group, courier)
            self._waiting.clear()
            while True:
                await self._survey()
                await anyio.sleep(SURVEY_EVERY)

    async def finish(self) -> None:
        """Writes what became of events until now; what cannot be written is delivered again."""
        for courier, _, _ in self._working.values():
            await self._settle(courier)

    async def _survey(self) -> None:
        tenure = self._office.tenure
        if not self._filters or not tenure.is_certain():
            self.backlogs = {}
            return
        with suppress(StoreError):
            self.backlogs = await self._office.outbox.backlogs(None if tenure.epochs is None else [*tenure.epochs])

    async def _settle(self, courier: Courier) -> None:
        with suppress(StoreError):
            await courier.settle()

    def _begin(self, group: TaskGroup, courier: Courier) -> None:
        scope, ended = anyio.CancelScope(), anyio.Event()
        self._working[courier.name] = (courier, scope, ended)
        group.start_soon(self._work, courier, scope, ended)

    async def _work(self, courier: Courier, scope: anyio.CancelScope, ended: anyio.Event) -> None:
        try:
            with scope:
                await courier.run()
        finally:
            ended.set()


class Desk:
    """What people ask of the sinks. Implements `poller.protocols.SinkDesk`; ``kinds`` are those of the config now."""

    def __init__(
        self, outbox: Outbox, clock: Clock, kinds: Callable[[], Mapping[str, str]], wake: Callable[[str], None]
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._kinds = kinds
        self._wake = wake

    async def records(self) -> Sequence[SinkRecord]:
        """How each sink does; see `SinkDesk.records`."""
        known, kinds = await self._outbox.records(), self._kinds()
        none = SinkRecord("", None, configured=False, delivered=0, backlog=Backlog())
        return [
            replace(known.get(name, none), name=name, kind=kinds.get(name), configured=name in kinds)
            for name in sorted(known.keys() | kinds.keys())
        ]

    async def dead(self, sink: str, limit: int, cursor: str | None) -> DeadPage:
        """The dead letters of a sink; see `SinkDesk.dead`."""
        if sink not in self._kinds() and sink not in await self._outbox.records():
            raise NoSuchSinkError(sink)
        return await self._outbox.dead(sink, limit, cursor)

    async def redeliver(self, sink: str, ids: Sequence[str] | None) -> int:
        """Delivers events of a sink once more; see `SinkDesk.redeliver`."""
        if sink not in self._kinds():
            raise NoSuchSinkError(sink)
        count = await self._outbox.redeliver(sink, ids, self._clock.now())
        self._wake(sink)
        return count
