"""A connection's own queue of due polls, with its own pace, slots and pauses: what happens on one delays no other."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio
import structlog

from poller.domain.circuit import Circuit, Phase
from poller.domain.durations import format_duration
from poller.domain.observation import OPENS, REFUSALS, Observation, Outcome
from poller.domain.pace import Pace
from poller.domain.starting import Job
from poller.domain.task import Entry
from poller.protocols import Clock, Neighbours, Provider, Refusal
from poller.runtime.clock import Wakeup
from poller.runtime.crew import Crew
from poller.runtime.duequeue import DueQueue
from poller.runtime.limits import Limits, Pacer
from poller.runtime.membership import SOLE
from poller.runtime.watch import Watch

GRACE = 30.0
"""Seconds beyond its timeout after which a lane that sends nothing and gets nothing back has stalled."""
_TICK = 5e-4
"""Seconds that are not worth a sleep: uvloop's clock and timers know whole milliseconds, and would spin for less."""
_DOUBT = 0.2
"""Seconds between looks at whether other replicas leave the connection to this one."""
_SLACK = 1.0
"""Seconds that a poll may take beyond its timeout before another replica may probe."""
_CREDENTIALS_CHECK = 1.0
"""Seconds between looks at the credentials while a connection pauses on their account."""


Send = Callable[[Provider], Awaitable[Observation]]
"""Asks a connection for something, once."""


class _Errand:
    """A request beside the polls, and who waits for what it brings."""

    __slots__ = ("brought", "send")

    def __init__(self, send: Send) -> None:
        self.send = send
        self.brought: asyncio.Future[Observation] = asyncio.get_running_loop().create_future()

    def bring(self, seen: Observation) -> None:
        if not self.brought.done():
            self.brought.set_result(seen)


class Reporter(Protocol):
    """Who is told what a poll brought, and decides when the next one is due."""

    def observed(self, watch: Watch, seen: Observation, duration: float, lag: float) -> None:
        """A poll came back after ``duration`` seconds, sent ``lag`` seconds later than planned."""
        ...


class Lane:
    """Sends the polls of one provider connection when they are due. Implements `poller.protocols.ConnectionView`.

    While ``held()`` none is sent: what it would bring could not be kept. Requests beside the polls are. Until
    ``spread_until``, on the loop's clock, first polls have been given their places.
    """

    def __init__(
        self,
        provider: str,
        connection: Provider,
        limits: Limits,
        *,
        clock: Clock,
        reporter: Reporter,
        logger: structlog.typing.FilteringBoundLogger,
        neighbours: Neighbours = SOLE,
        held: Callable[[], bool] = lambda: False,
    ) -> None:
        self._neighbours = neighbours
        self._held = held
        self._told_of: Circuit | None = None
        self._probing = False
        self.provider = provider
        self.in_flight = 0
        self.spread_until = float("-inf")
        self._connection = connection
        self._limits = limits
        self._replicas = neighbours.count
        self._pacer = Pacer(limits.rate / self._replicas)
        self._pace = Pace.of(limits.rate)
        self._told_rate = limits.rate
        self._circuit = Circuit()
        self._clock = clock
        self._reporter = reporter
        self._logger = logger
        self._queue = DueQueue()
        self._errands: deque[_Errand] = deque()
        self._wakeup = Wakeup()
        self._retired = False
        self._idle = anyio.Event()
        self._crew = Crew[tuple[Watch | _Errand, int]](self._do, self._look_again)
        self._timer: asyncio.TimerHandle | None = None
        self._short = True
        self._moved_at = clock.monotonic()
        self._paused_at: float | None = None
        self._refused_version = -1
        self._refused: dict[Watch, None] = {}
        self._told_codes: set[tuple[str, str]] = set()

    def plan(self, watch: Watch, due: float, slack: float = 0.0) -> None:
        """Plans the next poll of ``watch`` at ``due``, on the loop's clock, in place of any planned before.

        When not all can go that are due, it may wait ``slack`` seconds longer.
        """
        now = self._clock.monotonic()
        watch.next_poll_at = self._clock.now() + due - now
        if self._queue.plan(watch, due, slack, now):
            self._stir()

    def drop(self, watch: Watch) -> None:
        """Takes ``watch`` out of the queue."""
        self._queue.drop(watch)
        watch.due = watch.next_poll_at = None

    def family(self, entry: Entry) -> str:
        """What ``entry``'s runs are runs of."""
        return self._connection.family(entry)

    def job(self, entry: Entry) -> Job | None:
        """What could be started behind ``entry``'s task; None where its provider cannot."""
        return self._connection.job(entry)

    async def ask(self, send: Send) -> Observation:
        """What a request beside the polls brings: sent once, ahead of them, at their pace and in one of their slots.

        While the connection pauses or has been retired nothing is sent, and the observation says so.
        """
        errand = _Errand(send)
        self._errands.append(errand)
        if self._retired:
            self._decline_errands(self._clock.monotonic())  # Nobody may be at work any more.
        self._stir()
        return await errand.brought

    def share(self, replicas: int) -> None:
        """So many replicas share the rate and the polls at once that the provider may see."""
        if replicas != self._replicas:
            self._replicas = replicas
            self._pacer.change(self.rate)
            self._stir()

    def heed(self, refusal: Refusal | None) -> None:
        """Another replica met with a refusal that is still in force; None: none did, or it has been answered since."""
        now, before = self._clock.monotonic(), self._circuit
        if refusal is not None:
            self._circuit = before.told(refusal.reason, now + refusal.seconds)
        elif before is self._told_of:
            self._circuit = before.relieved()
        if self._circuit is before:
            return
        if refusal is not None:
            self._told_of = self._circuit
            self._refused_version = self._connection.credentials_version
            if refusal.reason is Outcome.THROTTLED:
                self._slow_down(before.epoch)
            self._tell(before, Observation(refusal.reason, message=f"as replica {refusal.by} tells"), now)
        self._wakeup.set()

    @property
    def rate(self) -> float:
        """Polls per second that are allowed here now: a share of what is configured, or less after throttling."""
        return self._pace.rate / self._replicas

    @property
    def share_of_rate(self) -> float:
        """Polls per second, at most, from here; what a throttled connection comes back to."""
        return self._limits.rate / self._replicas

    @property
    def _most_in_flight(self) -> int:
        return max(1, self._limits.max_in_flight // self._replicas)

    @property
    def slots(self) -> int:
        """Polls that may be under way from here at once."""
        return self._most_in_flight

    @property
    def phase(self) -> Phase:
        """How many polls go out now: all that may, one at a time, or none."""
        return self._circuit.passed(self._clock.monotonic()).phase

    @property
    def paused_until(self) -> float | None:
        """When the pause is over during which no polls go out, epoch seconds."""
        if self.phase is not Phase.PAUSED:
            return None
        return self._clock.now() + self._circuit.until - self._clock.monotonic()

    @property
    def due(self) -> int:
        """Polls that wait for rate, slot or the end of a pause."""
        return self._queue.due(self._clock.monotonic())

    @property
    def paused(self) -> str | None:
        """The refusal on whose account no polls, or one at a time, go out."""
        return self._circuit.reason

    def held_since(self, watch: Watch) -> float | None:
        """Since when, on the loop's clock, a due poll of ``watch`` waits for a closed connection, else None."""
        if (
            self._circuit.phase is Phase.OPEN
            or watch.polling
            or watch.due is None
            or watch.due > self._clock.monotonic()
        ):
            return None
        return watch.due

    def stalled(self) -> str | None:
        """What does not move though it should, in a sentence; a pause and a slow provider are no stall.

        Nor are polls that are held for the store: readiness tells of that. Were the daemon started anew on account of
        them, it would lose all that waits.
        """
        now = self._clock.monotonic()
        quiet = now - self._moved_at
        if quiet < self._limits.timeout + GRACE or self._pacer.wait(now) > 0:
            return None
        if self.in_flight:
            return f"{self.provider}: {self.in_flight} polls are under way, and none came back for {quiet:.0f} s"
        if self._circuit.phase is Phase.PAUSED or self._queue.late(now) <= GRACE:
            return None
        return f"{self.provider}: nothing has been polled for {quiet:.0f} s though polls are due"

    def retire(self) -> None:
        """Sends no more polls; `run` ends when those under way have come back. Its watches are another lane's now."""
        self._queue.clear()
        self._retired = True
        self._decline_errands(self._clock.monotonic())
        self._stir()

    async def run(self) -> None:
        """Sends polls until cancelled or retired, then closes the connection."""
        try:
            async with anyio.create_task_group() as workers:
                for _ in range(self._limits.max_in_flight):
                    workers.start_soon(self._crew.member)
                workers.start_soon(self._watch_over)
                await self._idle.wait()
                workers.cancel_scope.cancel()
        finally:
            self._set_timer(None)
            with anyio.CancelScope(shield=True):
                await self._connection.close()

    async def _do(self, item: tuple[Watch | _Errand, int]) -> None:
        due, epoch = item
        await (self._run(due, epoch) if isinstance(due, _Errand) else self._poll(due, epoch))

    def _stir(self) -> None:
        """Looks whether something may go, because something has changed."""
        if self._circuit.phase is Phase.OPEN:
            self._dispatch()
        else:
            self._wakeup.set()

    def _look_again(self) -> None:
        """Somebody has become idle. As a rule nobody waited for that, and a timer is set for what is due next."""
        if self._short:
            self._stir()

    def _dispatch(self) -> None:
        """Sends all that may go over an open connection, and sets a timer for what may go next.

        All of it in one step of the event loop: for each further one it would ask the system once more for news. What
        would be due a moment later goes along.
        """
        along = False
        while True:
            wait = self._wait(self._clock.monotonic(), along)
            self._short = wait is None or (wait == 0 and self._crew.is_busy)
            if wait != 0 or self._short:
                break
            self._send()
            along = True
        self._set_timer(wait or None)

    def _send(self) -> None:
        # The epoch of now: a pause may begin before anything is sent, and is not ended by what comes of this.
        self._crew.give((self._take_errand() if self._errands else self._take(), self._circuit.epoch))

    def _set_timer(self, wait: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if wait is None else asyncio.get_running_loop().call_later(wait, self._stir)

    async def _watch_over(self) -> None:
        """Lets out one poll at a time, or none, while the connection is not open; waits while it is."""
        while True:
            if self._circuit.phase is Phase.OPEN:
                self._dispatch()
                await self._wakeup.sleep(None)
                continue
            self._set_timer(None)
            if self._circuit.phase is Phase.PAUSED:
                await self._heed_credentials()
            now = self._clock.monotonic()
            self._decline_errands(now)
            wait = self._wait(now)
            if wait == 0 and not self._crew.is_busy and await self._may_probe():
                self._send()
            else:
                await self._wakeup.sleep(_DOUBT if wait == 0 else wait)

    async def _may_probe(self) -> bool:
        """Whether a poll may go out that must be alone, as far as other replicas are concerned."""
        if not await self._neighbours.may_probe(self.provider, self._limits.timeout + _SLACK):
            return False
        self._probing = True
        if self._wait(self._clock.monotonic()) == 0:
            return True
        self._probed()
        return False

    def _probed(self) -> None:
        if self._probing:
            self._probing = False
            self._neighbours.probed(self.provider)

    def _decline_errands(self, now: float) -> None:
        """Nobody waits for a pause to end: what is asked for beside the polls is asked for by somebody who waits."""
        self._circuit = self._circuit.passed(now)
        if self._retired:
            self._decline(Outcome.UNREACHABLE, "the connection is being replaced by another one")
        elif self._circuit.phase is Phase.PAUSED and self._circuit.reason is not None:
            left = format_duration(max(0.0, self._circuit.until - now))
            self._decline(self._circuit.reason, f"the connection pauses as {self._circuit.reason}, for {left} yet")

    def _decline(self, outcome: Outcome, message: str) -> None:
        while self._errands:
            seen = Observation(outcome, message=message, rule="nothing was sent")
            self._errands.popleft().bring(seen)

    def _take_errand(self) -> _Errand:
        self._depart()
        return self._errands.popleft()

    async def _run(self, errand: _Errand, epoch: int) -> None:
        seen = Observation(Outcome.UNREACHABLE, message="poller is stopping")
        try:
            seen = await self._guarded(errand.send(self._connection), "beside the polls")
            self._moved_at = self._clock.monotonic()
            self._learn(seen, epoch, self._moved_at)
        finally:
            self._return()
            errand.bring(seen)

    def _wait(self, now: float, along: bool = False) -> float | None:
        """Seconds until the first poll in the queue may go, or go ``along``; None for as long as nothing happens."""
        if self._retired:
            self._leave_when_idle()
            return None
        if not self._neighbours.may_poll():
            return _DOUBT
        if self._held() and not self._errands:
            self._moved_at = now
            return _DOUBT
        if self._circuit.phase is Phase.PAUSED:
            left = self._circuit.until - now
            return min(left, _CREDENTIALS_CHECK) if self._circuit.reason is Outcome.UNAUTHORIZED else left
        if self.in_flight and (self._circuit.phase is Phase.PROBING or self.in_flight >= self._most_in_flight):
            return None
        planned = 0.0 if self._errands else self._queue.wait(now, along)
        if planned is None:
            return None
        wait = max(planned, self._pacer.wait(now))
        return wait if wait > _TICK else 0.0

    def _leave_when_idle(self) -> None:
        if not self.in_flight:
            self._idle.set()

    async def _heed_credentials(self) -> None:
        """Looks for other credentials, if the connection pauses on their account: they end the pause."""
        if self._circuit.reason is not Outcome.UNAUTHORIZED:
            return
        await self._connection.renew_credentials(self._refused_version)
        if self._connection.credentials_version != self._refused_version:
            self._circuit = self._circuit.renewed()

    def _take(self) -> Watch:
        # What was not worth a sleep may not be due yet to the last digit.
        watch = self._queue.take(self._depart() + 2 * _TICK, self._refused)
        watch.polling = True
        return watch

    def _depart(self) -> float:
        """Counts a request that goes out now, and tells when that is."""
        now = self._clock.monotonic()
        self._pacer.take(now)
        self._moved_at = now
        self.in_flight += 1
        return now

    def _return(self) -> None:
        """Counts a request that has come back."""
        self.in_flight -= 1
        self._probed()
        # While it is open, whoever has nothing to do afterwards looks whether somebody waits for that.
        if self._circuit.phase is not Phase.OPEN or self._retired:
            self._stir()

    async def _poll(self, watch: Watch, epoch: int) -> None:
        sent, due = self._clock.monotonic(), watch.due
        entry = watch.task.entry
        try:
            seen = await self._guarded(self._connection.poll(entry, watch.said), entry.name)
        finally:
            watch.polling = False
            self._return()
        came = self._moved_at = self._clock.monotonic()
        self._learn(seen, epoch, came)
        self._note_refusal(watch, seen)
        self._note_contradiction(watch, seen)
        if watch.gone or not watch.task.entry.same_task(entry.provider, entry.operation, entry.params):
            return
        self._reporter.observed(watch, seen, came - sent, max(0.0, sent - (sent if due is None else due)))

    def _note_refusal(self, watch: Watch, seen: Observation) -> None:
        """Remembers who was refused, the latest last, until somebody is answered."""
        if seen.outcome in OPENS:
            self._refused.clear()
        elif seen.outcome in REFUSALS:
            self._refused.pop(watch, None)
            self._refused[watch] = None

    async def _guarded(self, request: Awaitable[Observation], name: str) -> Observation:
        try:
            return await request
        except Exception as error:
            # A fault of poller's own must neither end the lane nor be taken for the task's.
            self._logger.exception("poll.broken", task=name, provider=self.provider)
            return Observation(
                Outcome.UNREACHABLE, message=f"a fault in poller: {type(error).__name__}", rule="no answer came"
            )

    def _learn(self, seen: Observation, epoch: int, now: float) -> None:
        self._keep_pace(seen, epoch, now)
        before = self._circuit
        self._circuit = before.observed(seen, epoch, self._limits.pauses, now)
        if self._circuit is before:
            return
        self._wakeup.set()
        if self._circuit.phase is Phase.PAUSED and self._circuit.reason is not None:
            self._refused_version = seen.credentials_version
            self._neighbours.refused(self.provider, self._circuit.reason, self._circuit.until - now)
        elif before.reason is not None:
            self._neighbours.answered(self.provider)
        self._tell(before, seen, now)

    def _keep_pace(self, seen: Observation, epoch: int, now: float) -> None:
        if seen.outcome is Outcome.THROTTLED:
            self._slow_down(epoch)
        elif seen.outcome in OPENS:
            self._go_at(self._pace.answered(epoch, now))

    def _slow_down(self, epoch: int) -> None:
        self._go_at(self._pace.throttled(epoch))

    def _go_at(self, pace: Pace) -> None:
        before, self._pace = self._pace, pace
        if pace.rate != before.rate:
            self._pacer.change(self.rate)
            self._tell_rate()

    def _tell_rate(self) -> None:
        """Logs that the rate is cut, again when it has come down to half of that, and when it is whole again."""
        rate, configured = self._pace.rate, self._limits.rate
        facts = {"provider": self.provider, "rate": round(rate, 3), "configured": configured}
        if self._pace.whole:
            self._logger.info("provider.rate_restored", **facts)
        elif self._told_rate == configured or rate <= self._told_rate / 2:
            self._logger.warning("provider.slowed", **facts)
        else:
            return
        self._told_rate = rate

    def _tell(self, before: Circuit, seen: Observation, now: float) -> None:
        """Logs a pause when it begins or its reason changes, not each time it is prolonged, and its end."""
        after = self._circuit
        if after.reason is before.reason:
            return
        if after.reason is None:
            lasted = now - (now if self._paused_at is None else self._paused_at)
            self._paused_at = None
            self._queue.was_closed(lasted)
            self._logger.info(
                "provider.resumed", provider=self.provider, reason=before.reason, paused_seconds=round(lasted, 3)
            )
            return
        self._paused_at = now if self._paused_at is None else self._paused_at
        self._logger.warning(
            "provider.paused",
            provider=self.provider,
            reason=after.reason,
            seconds=round(after.until - now, 3),
            message=seen.message,
            request_id=seen.request_id,
        )

    def _note_contradiction(self, watch: Watch, seen: Observation) -> None:
        """Logs, once for each operation and code, that an error code stood beside an answer that was believed."""
        if seen.outcome is not Outcome.ANSWERED or seen.code is None:
            return
        entry = watch.task.entry
        if (entry.operation, seen.code) in self._told_codes or len(self._told_codes) >= 100:
            return
        self._told_codes.add((entry.operation, seen.code))
        self._logger.warning(
            "provider.contradiction",
            provider=self.provider,
            operation=entry.operation,
            task=entry.name,
            code=seen.code,
            raw_status=seen.raw_status,
            request_id=seen.request_id,
        )
