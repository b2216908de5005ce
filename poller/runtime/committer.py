"""Makes changes durable, many to a commit, and tells them afterwards."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import structlog

from poller.domain.errors import StoreError
from poller.domain.events import FlagChange, Transition
from poller.domain.lifecycle import Step
from poller.domain.task import Task
from poller.protocols import Batch, Change, Clock, Emitter, FinishedRun, Pulse, Store
from poller.runtime.clock import Wakeup

_LINGER = 0.02
"""Seconds that the first change of a batch waits for others."""
_TOLD_AFTER = 1.0
"""Seconds after which marks of what was told are written though nothing else is."""
_RETRY_LONGEST = 10.0


@dataclass(slots=True)
class _Collected:
    """What was taken over and is not committed: of each task the latest state, of everything else all, in order."""

    tasks: dict[str, Task] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    flags: list[FlagChange] = field(default_factory=list)
    runs: list[FinishedRun] = field(default_factory=list)
    pulses: list[Pulse] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def batch(self, at: float) -> Batch:
        """What one commit at ``at`` writes of it."""
        return Batch(at, _changes(self.tasks, self.transitions), self.pulses, self.told, self.runs)

    def followed_by(self, newer: "_Collected") -> "_Collected":
        """Both as one. Pulses are left: there will be others."""
        return _Collected(
            tasks=self.tasks | newer.tasks,
            transitions=self.transitions + newer.transitions,
            flags=self.flags + newer.flags,
            runs=self.runs + newer.runs,
            pulses=newer.pulses,
            told=self.told + newer.told,
        )


class Committer:
    """Collects changes, commits them, and then gives them to every emitter.

    What cannot be committed waits and is tried again, in order. Of a task that changes again while waiting only the
    latest state is kept, and every transition and finished run.
    """

    def __init__(
        self, store: Store, emitters: Sequence[Emitter], clock: Clock, logger: structlog.typing.FilteringBoundLogger
    ) -> None:
        self._store = store
        self._emitters = emitters
        self._clock = clock
        self._logger = logger
        self._collected = _Collected()
        self._untold = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._wakeup = Wakeup()
        self._stop = anyio.Event()
        self.failing = False

    @property
    def unemitted(self) -> int:
        """Transitions that are committed and not yet told."""
        return self._untold

    @property
    def left(self) -> int:
        """Changes that are not committed."""
        return len(self._collected.tasks)

    def submit(self, step: Step, finished: FinishedRun | None = None) -> None:
        """Takes over what changed, and the run if one has ended by that."""
        collected = self._collected
        collected.tasks[step.task.entry.name] = step.task
        if step.transition is not None:
            collected.transitions.append(step.transition)
        if finished is not None:
            collected.runs.append(finished)
        collected.flags += step.flags
        self._wakeup.set()

    def flush(self, pulses: Sequence[Pulse]) -> None:
        """Takes over what ticked."""
        self._collected.pulses += pulses
        self._wakeup.set()

    async def durable(self) -> None:
        """Waits until everything taken over so far is committed."""
        committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(committed)
        self._wakeup.set()
        await committed

    async def recover(self) -> int:
        """Tells what an earlier run committed and did not live to tell; how many that were."""
        untold = await self._store.untold()
        self._untold = len(untold)
        self._tell(untold, ())
        return len(untold)

    def stop(self) -> None:
        """Makes `run` write what there is and return."""
        self._stop.set()
        self._wakeup.set()

    async def run(self) -> None:
        """Commits and tells until stopped."""
        delay = _LINGER
        while not self._stop.is_set():
            await self._wakeup.sleep(_TOLD_AFTER if self._collected.told else None)
            with anyio.move_on_after(delay):
                await self._stop.wait()
            delay = _LINGER if await self._commit() else min(max(1.0, delay * 2), _RETRY_LONGEST)
        while self._collected.batch(self._clock.now()) and await self._commit():
            pass

    async def _commit(self) -> bool:
        """One commit of all there is; whether it succeeded."""
        waiting, self._waiting = self._waiting, []
        taken, self._collected = self._collected, _Collected()
        batch = taken.batch(self._clock.now())
        if not batch:
            _release(waiting)
            return True
        try:
            await self._store.commit(batch)
        except StoreError as error:
            self._waiting = waiting + self._waiting
            self._collected = taken.followed_by(self._collected)
            self._wakeup.set()
            self._note_failure(error)
            return False
        self._note_success()
        self._untold += len(taken.transitions)
        _release(waiting)
        self._tell(taken.transitions, taken.flags)
        return True

    def _tell(self, transitions: Sequence[Transition], flags: Sequence[FlagChange]) -> None:
        for transition in transitions:
            for emitter in self._emitters:
                emitter.transition(transition)
            self._collected.told.append(transition.transition_id)
            self._untold -= 1
        for flag in flags:
            for emitter in self._emitters:
                emitter.flag(flag)

    def _note_failure(self, error: StoreError) -> None:
        if not self.failing:
            self._logger.error("store.failing", error=str(error))
        self.failing = True

    def _note_success(self) -> None:
        if self.failing:
            self._logger.info("store.recovered")
        self.failing = False


def _release(waiting: Sequence[asyncio.Future[None]]) -> None:
    for committed in waiting:
        if not committed.done():
            committed.set_result(None)


def _changes(tasks: Mapping[str, Task], transitions: Sequence[Transition]) -> list[Change]:
    """One change for each transition, in order, and for each task without one; each carries the task as it is now."""
    moved = {transition.task for transition in transitions}
    return [Change(tasks[t.task], t) for t in transitions] + [
        Change(task) for name, task in tasks.items() if name not in moved
    ]
