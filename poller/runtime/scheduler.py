"""All watched tasks: plans their polls, has the domain judge what they bring, and passes on what follows."""

import heapq
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count

import anyio
from anyio.abc import TaskGroup

from poller.config.watchlist import Diff
from poller.domain.cadence import first_delay, next_delay
from poller.domain.lifecycle import Step, advance, await_run, begin, forget_run, lapse, next_lapse, resume
from poller.domain.observation import REFUSALS, Observation, Outcome
from poller.domain.state import State
from poller.domain.task import Entry, Task
from poller.domain.urgency import slack
from poller.protocols import Clock, PollObserver, PollRecord, Pulse, Recorder, Saved, Tenure
from poller.runtime.clock import Wakeup
from poller.runtime.failing import FailingPolls
from poller.runtime.forecasts import Forecasts
from poller.runtime.lane import Lane
from poller.runtime.lastpolls import LastPolls
from poller.runtime.membership import SOLE
from poller.runtime.watch import Watch

FLUSH_EVERY = 60.0
"""Seconds between two flushes of what ticks."""

_ROOM = 1.25
"""How much longer the first polls are spread than the rate takes for them: as chance has it some come close together,
and if there were no room, all after them would have to wait."""

_SOONEST_LAPSE = 0.01
"""Seconds between two looks at the same task on account of time alone: the two clocks never agree to the last digit."""


class Scheduler:
    """The tasks being watched. Implements `poller.protocols.Watching` and `poller.runtime.lane.Reporter`.

    ``draw`` gives random numbers, uniform in [0, 1). ``retention`` tells by its state how many seconds a finished task
    is shown. ``tenure`` tells whether anything is: nothing that another replica may show by now. Whoever hands over the
    watchlist says when it is ``loaded``.
    """

    def __init__(
        self,
        *,
        committer: Recorder,
        observer: PollObserver,
        clock: Clock,
        draw: Callable[[], float],
        retention: Callable[[State], float],
        failing: FailingPolls,
        forecasts: Forecasts,
        tenure: Tenure = SOLE,
    ) -> None:
        self._tenure = tenure
        self._committer = committer
        self._observer = observer
        self._failing = failing
        self._forecasts = forecasts
        self._clock = clock
        self._draw = draw
        self._retention = retention
        self._lanes: dict[str, Lane] = {}
        self._watches: dict[str, Watch] = {}
        self._ordered: list[Watch] | None = None
        self._ticked: set[Watch] = set()
        self._lapses: list[tuple[float, int, Watch]] = []
        self._numbers = count()
        self._wakeup = Wakeup()
        self._polls = LastPolls()
        self._running: TaskGroup | None = None
        self.loaded = False

    def apply(
        self,
        entries: Mapping[str, Entry],
        changes: Diff,
        saved: Mapping[str, Saved],
        now: float,
        lanes: Iterable[Lane] = (),
    ) -> None:
        """Makes ``entries`` the watchlist, ``changes`` being how they differ from those watched so far.

        ``lanes`` are connections that are new or take the place of their namesakes. New tasks are first seen ``now``,
        or go on where ``saved`` left off. What is not among the changes is not touched, nor is a poll under way.
        """
        self.use(lanes)
        for name in (*changes.removed, *changes.restarted):
            self._drop(self._watches.pop(name))
        fresh = [self._begin(entries[name], saved.get(name), now) for name in (*changes.added, *changes.restarted)]
        self._start([watch for watch in fresh if not watch.task.over], saved, now)
        for name in set(changes.changed).difference(changes.restarted):
            self._adjust(self._watches[name], entries[name])
        # Only now: a task that goes may leave its family to one that comes.
        self._forecasts.tidy()
        self._ordered = None

    def families(self, entries: Iterable[Entry], lanes: Iterable[Lane] = ()) -> set[str]:
        """What the runs of ``entries`` are runs of; ``lanes`` are connections that are to be used for them."""
        used = self._lanes | {lane.provider: lane for lane in lanes}
        return {used[entry.provider].family(entry) for entry in entries}

    def use(self, lanes: Iterable[Lane]) -> None:
        """Takes connections into use that are new, or take the place of their namesakes."""
        for lane in lanes:
            self._use(lane)

    def withdraw(self, partitions: Collection[int]) -> list[Pulse]:
        """Watches no longer what is in ``partitions``; what ticked there and was not flushed."""
        gone = [watch for watch in self._watches.values() if watch.partition in partitions]
        pulses = [watch.pulse() for watch in gone if not watch.task.over]
        for watch in gone:
            self._drop(self._watches.pop(watch.task.entry.name))
        self._ticked.difference_update(gone)
        self._forecasts.tidy()
        self._ordered = None
        return pulses

    def everything(self) -> Sequence[Watch]:
        """Every task, however long ago it ended."""
        return list(self._watches.values())

    def retire(self, providers: Iterable[str]) -> None:
        """Lets go of connections that no entry names any more."""
        for name in providers:
            self._lanes.pop(name).retire()

    def show(self, retention: Callable[[State], float]) -> None:
        """Shows finished tasks for as long as ``retention`` tells from now on."""
        self._retention = retention

    async def run(self) -> None:
        """Polls until cancelled."""
        async with anyio.create_task_group() as group:
            self._running = group
            for lane in self._lanes.values():
                group.start_soon(lane.run)
            group.start_soon(self._run_lapses)
            group.start_soon(self._run_flushes)

    def flush(self, everything: bool = False) -> None:
        """Hands over what ticked since the last flush; with ``everything`` also of tasks that wait in silence."""
        ticked, self._ticked = self._ticked, set()
        if everything:
            ticked |= {watch for watch in self._watches.values() if watch.task.contact.unanswered_since is not None}
        pulses = [watch.pulse() for watch in ticked if not watch.gone]
        if pulses:
            self._committer.flush(pulses)

    def observed(self, watch: Watch, seen: Observation, duration: float, lag: float) -> None:
        """What came of a poll: concluded, passed on, and the next poll planned."""
        self._observer.polled(watch.task.entry, seen, duration, lag)
        self._ticked.add(watch)
        now = self._clock.now()
        self._conclude(watch, advance(watch.task, seen, now, watch.late_age), seen)
        is_news = not seen.unchanged
        if is_news:
            self._polls.note(watch, seen, now)
        self._plan(watch, seen, now)
        if is_news:
            self._failing.observed(watch, seen)
            watch.said = seen.said

    async def refresh(self, watch: Watch) -> None:
        """Asks for the task's status beside its schedule, which stays, and concludes what comes of it."""
        began, entry = self._clock.monotonic(), watch.task.entry
        seen = await watch.lane.ask(lambda connection: connection.poll(entry))
        if watch.gone or seen.outcome in REFUSALS or watch.task.entry is not entry:
            return
        self._observer.polled(entry, seen, self._clock.monotonic() - began, 0.0)
        self._ticked.add(watch)
        self._conclude(watch, advance(watch.task, seen, self._clock.now(), watch.late_age), seen)
        watch.said = None  # What polls are compared with from now on is yet to be read.
        self._leave_if_over(watch)

    def poll_now(self, watch: Watch) -> None:
        """Polls as soon as the connection lets it out; a poll under way is not waited for."""
        if not (watch.gone or watch.polling or watch.task.over):
            now = self._clock.monotonic()
            # One that is due already keeps its place: whoever asks again and again would else never be polled.
            watch.lane.plan(watch, now if watch.due is None else min(now, watch.due))

    def await_run(self, watch: Watch) -> None:
        """Watches the task, even one that has ended, for a run that is about to be asked to start."""
        self._conclude(watch, await_run(watch.task, self._clock.now()))
        self._await_lapse(watch)

    def forget_run(self, watch: Watch) -> None:
        """Watches the task no longer for a run that was asked to start."""
        self._conclude(watch, forget_run(watch.task))
        self._leave_if_over(watch)

    @property
    def ready(self) -> bool:
        """Whether the watchlist is loaded, and the store takes what is written."""
        return self.loaded and self._committer.works

    def tasks(self) -> Sequence[Watch]:
        """Every task to be shown, sorted by name; none while another replica may show them."""
        if not self._tenure.is_certain():
            return []
        if self._ordered is None:
            self._ordered = sorted(self._watches.values(), key=lambda watch: watch.task.entry.name)
        now = self._clock.now()
        return [watch for watch in self._ordered if self._shown(watch.task, now)]

    def shows(self, task: Task) -> bool:
        """Whether ``task`` is to be shown: it has not ended, or not long ago."""
        return self._shown(task, self._clock.now())

    def find(self, name: str) -> Watch | None:
        """The task of that name, however long ago it ended."""
        return self._watches.get(name)

    def polls(self, name: str) -> Sequence[PollRecord]:
        """The last polls of the task of that name that changed something, newest first."""
        return self._polls.of(name)

    def connections(self) -> Sequence[Lane]:
        """Every provider connection."""
        return list(self._lanes.values())

    def operations(self) -> Sequence[tuple[str, str]]:
        """Every (provider, operation) that some entry of the watchlist names."""
        return sorted({(w.task.entry.provider, w.task.entry.operation) for w in self._watches.values()})

    def stalled(self) -> Sequence[str]:
        """What makes no progress though it should, one sentence each."""
        return [sentence for lane in self._lanes.values() if (sentence := lane.stalled())]

    def all_over(self) -> bool:
        """Whether every task has ended; a followed one when a run of it has."""
        return all(watch.task.status.settled for watch in self._watches.values())

    def _use(self, lane: Lane) -> None:
        """Takes a connection into use; the watches of the one whose place it takes go over to it."""
        before = self._lanes.get(lane.provider)
        self._lanes[lane.provider] = lane
        if before is not None:
            before.retire()
            for watch in self._watches.values():
                if watch.lane is before:
                    self._move(watch, lane)
        if self._running is not None:
            self._running.start_soon(lane.run)

    def _move(self, watch: Watch, lane: Lane) -> None:
        watch.lane, watch.said = lane, None  # The new one may read answers by other rules.
        self._forecasts.rejoin(watch, self._clock.now())
        if watch.due is not None and not watch.polling:
            lane.plan(watch, watch.due, watch.slack)

    def _drop(self, watch: Watch) -> None:
        watch.gone = True
        watch.lane.drop(watch)
        self._forecasts.leave(watch)
        self._polls.forget(watch.task.entry.name)
        self._failing.forget(watch.task.entry.name)

    def _adjust(self, watch: Watch, entry: Entry) -> None:
        """Gives a watch its entry as it is now; what is known of the task stays."""
        watch.task = replace(watch.task, entry=entry)
        watch.lane = self._lanes[entry.provider]
        self._forecasts.rejoin(watch, self._clock.now())
        if watch.polling:
            return
        if watch.task.over:
            watch.lane.drop(watch)
            return
        latest = self._clock.monotonic() + entry.policy.max
        if watch.due is None:
            watch.lane.plan(watch, self._clock.monotonic() + first_delay(watch.task, self._draw()))
        elif watch.due > latest:
            watch.lane.plan(watch, latest)
        self._await_lapse(watch)

    def _begin(self, entry: Entry, saved: Saved | None, now: float) -> Watch:
        task = resume(entry, saved.status, saved.contact, saved.saved_at, now) if saved else begin(entry, now)
        watch = self._watches[entry.name] = Watch(task, self._lanes[entry.provider])
        self._forecasts.join(watch, now)
        return watch

    def _start(self, watches: Iterable[Watch], saved: Mapping[str, Saved], now: float) -> None:
        """Plans first polls: when they were due before a restart; else spread, behind those that were spread before."""
        unplanned: defaultdict[Lane, list[Watch]] = defaultdict(list)
        for watch in watches:
            before = saved.get(watch.task.entry.name)
            left = 0.0 if before is None or before.next_poll_at is None else before.next_poll_at - now
            if left > 0:
                self._plan_first(watch, left)
            else:
                unplanned[watch.lane].append(watch)
        for lane, some in unplanned.items():
            ahead = max(0.0, lane.spread_until - self._clock.monotonic())
            spread = _ROOM * (len(some) - 1) / lane.share_of_rate
            lane.spread_until = self._clock.monotonic() + ahead + spread
            for watch in some:
                self._plan_first(watch, ahead + first_delay(watch.task, self._draw(), spread))

    def _plan_first(self, watch: Watch, delay: float) -> None:
        known = watch.task.contact.polls > 0
        longest = watch.task.entry.policy.max
        watch.lane.plan(watch, self._clock.monotonic() + (min(delay, longest) if known else delay))
        self._await_lapse(watch)

    def _shown(self, task: Task, now: float) -> bool:
        return not task.over or now < task.status.since + self._retention(task.status.state)

    def _leave_if_over(self, watch: Watch) -> None:
        if watch.task.over:
            watch.lane.drop(watch)
            self._failing.forget(watch.task.entry.name)

    def _conclude(self, watch: Watch, step: Step, seen: Observation | None = None) -> None:
        before, watch.task = watch.task.status, step.task
        finished = None
        if seen is not None:
            finished = self._forecasts.observed(watch, before, step, seen, self._clock.now())
        elif step.changed:
            watch.said = None  # The same answer may mean something else from now on.
        if step.changed:
            self._committer.submit(step, finished, at_once=seen is None)

    def _plan(self, watch: Watch, seen: Observation, now: float) -> None:
        if watch.task.over:
            watch.lane.drop(watch)
            return
        age = now - watch.run_began_at
        # A refused poll is still due: it goes out as soon as its connection may be used.
        delay = 0.0 if seen.outcome in REFUSALS else self._delay(watch, seen, age)
        may_wait = slack(watch.prospect, age + delay, watch.task.entry.policy, delay)
        watch.lane.plan(watch, self._clock.monotonic() + delay, may_wait)

    def _delay(self, watch: Watch, seen: Observation, age: float) -> float:
        # While no answers come, an end would not be seen: the polls wait for better times.
        foreseen = watch.prospect if seen.outcome is Outcome.ANSWERED else None
        return next_delay(watch.task, self._draw(), seen.retry_after, foreseen, age)

    def _await_lapse(self, watch: Watch) -> None:
        now = self._clock.now()
        moment = next_lapse(watch.task, now, watch.late_age)
        if moment is None:
            return
        at = self._clock.monotonic() + max(_SOONEST_LAPSE, moment - now)
        watch.lapse = next(self._numbers)
        heapq.heappush(self._lapses, (at, watch.lapse, watch))
        if self._lapses[0][2] is watch:
            self._wakeup.set()

    async def _run_lapses(self) -> None:
        while True:
            wait = self._lapses[0][0] - self._clock.monotonic() if self._lapses else None
            if wait is not None and wait <= 0:
                _, number, watch = heapq.heappop(self._lapses)
                if watch.lapse == number:
                    self._lapse(watch)
            else:
                await self._wakeup.sleep(wait)

    def _lapse(self, watch: Watch) -> None:
        if watch.gone:
            return
        held = watch.lane.held_since(watch)
        now = self._clock.now()
        held_since = None if held is None else now - (self._clock.monotonic() - held)
        self._conclude(watch, lapse(watch.task, now, held_since, watch.late_age))
        self._leave_if_over(watch)
        self._await_lapse(watch)

    async def _run_flushes(self) -> None:
        while True:
            await anyio.sleep(FLUSH_EVERY)
            self.flush()
