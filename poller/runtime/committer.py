"""Makes changes durable, many to a commit, and tells them afterwards."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import structlog

from poller.domain.errors import StoreError
from poller.domain.events import FlagChange, Transition
from poller.domain.lifecycle import Step
from poller.domain.shares import partition_of
from poller.domain.state import Flag
from poller.domain.task import Task
from poller.protocols import Batch, Change, Clock, Emitter, FinishedRun, Mailroom, Pulse, Store, Tenure
from poller.runtime.clock import Wakeup
from poller.runtime.membership import SOLE
from poller.runtime.trouble import Trouble

_LINGER = 0.02
"""Seconds that the first change of a batch waits for others."""
_TOLD_AFTER = 1.0
"""Seconds after which marks of what was told are written though nothing else is."""
_UNHURRIED = 1.0
"""Seconds that news wait for others which the next poll would bring again, as progress: commits are dear."""
_RETRY_LONGEST = 10.0

MOST_WAITING = 50_000
"""Transitions that may wait to be committed, some 50 MB: when there are more, the polls wait for the store."""


@dataclass(slots=True)
class _Collected:
    """What was taken over and is not committed: of each task the latest state, of everything else all, in order."""

    tasks: dict[str, Task] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    flags: dict[tuple[str, Flag], FlagChange] = field(default_factory=dict)
    runs: list[FinishedRun] = field(default_factory=list)
    pulses: list[Pulse] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def batch(
        self,
        at: float,
        epochs: Mapping[int, int] | None = None,
        addressed: Mapping[str, Sequence[str]] | None = None,
    ) -> Batch:
        """What one commit at ``at`` writes of it, in these ``epochs``; see `Batch` for who is ``addressed``."""
        changes = _changes(self.tasks, self.transitions)
        return Batch(at, changes, self.pulses, self.told, self.runs, epochs, addressed or {})

    def flip(self, change: FlagChange) -> None:
        """Takes over that a flag rose or cleared; one that does both before it is told is none to be told."""
        key = (change.task, change.flag)
        waiting = self.flags.pop(key, None)
        if waiting is None or waiting.raised == change.raised:
            self.flags[key] = change

    def without(self, is_lost: Callable[[str], bool]) -> "_Collected":
        """The same but for the tasks whose names ``is_lost`` picks out; marks of what was told stay."""
        kept = [each for each in self.transitions if not is_lost(each.task)]
        ids = {each.transition_id for each in kept}
        return _Collected(
            tasks={name: task for name, task in self.tasks.items() if not is_lost(name)},
            transitions=kept,
            flags={key: flag for key, flag in self.flags.items() if not is_lost(flag.task)},
            runs=[run for run in self.runs if run.transition_id in ids],
            pulses=[pulse for pulse in self.pulses if not is_lost(pulse.name)],
            told=self.told,
        )

    def followed_by(self, newer: "_Collected") -> "_Collected":
        """Both as one. Pulses are left: there will be others."""
        both = _Collected(
            tasks=self.tasks | newer.tasks,
            transitions=self.transitions + newer.transitions,
            flags=dict(self.flags),
            runs=self.runs + newer.runs,
            pulses=newer.pulses,
            told=self.told + newer.told,
        )
        for change in newer.flags.values():
            both.flip(change)
        return both


class Committer:
    """Collects changes, commits them, and then gives them to every emitter.

    What cannot be committed waits and is tried again, in order. Of a task that changes again while waiting only the
    latest state is kept, and every transition and finished run.

    ``tenure`` says which partitions are held. What belongs to one that was lost is neither written nor told, and what
    was committed is told only while it is certain that nobody else does. ``trouble`` is what the store's other users
    tell of it as well. ``mailroom`` says at each commit which sinks get what is in it.
    """

    def __init__(
        self,
        store: Store,
        emitters: Sequence[Emitter],
        clock: Clock,
        logger: structlog.typing.FilteringBoundLogger,
        tenure: Tenure = SOLE,
        trouble: Trouble | None = None,
        mailroom: Mailroom | None = None,
    ) -> None:
        self._mailroom = mailroom
        self.trouble = Trouble(logger) if trouble is None else trouble
        self._store = store
        self._tenure = tenure
        self._emitters = emitters
        self._clock = clock
        self._logger = logger
        self._collected = _Collected()
        self._under_way = _Collected()
        self._untold = 0
        self._deferred: list[tuple[Sequence[Transition], Iterable[FlagChange]]] = []
        self.fenced = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._wakeup = Wakeup()
        self._alarm: asyncio.TimerHandle | None = None
        self._stop = anyio.Event()
        self._full = False

    @property
    def unemitted(self) -> int:
        """Transitions that are committed and not yet told."""
        return self._untold

    @property
    def left(self) -> int:
        """Changes that are not committed, as far as anybody knows."""
        return len(self._collected.tasks.keys() | self._under_way.tasks.keys())

    @property
    def works(self) -> bool:
        """Whether nobody has trouble with the store."""
        return not self.trouble

    def is_full(self) -> bool:
        """Whether so much waits to be committed that nothing more should be found out; told when it begins and ends."""
        waiting = len(self._collected.transitions) + len(self._under_way.transitions)
        if self._full != (waiting >= MOST_WAITING):
            self._full = not self._full
            if self._full:
                self._logger.warning("polling.held", reason="too much waits for the store", transitions=waiting)
            else:
                self._logger.info("polling.resumed", transitions=waiting)
        return self._full

    def submit(self, step: Step, finished: FinishedRun | None = None, at_once: bool = True) -> None:
        """Takes over what changed, and the run if one has ended by that.

        Without ``at_once``, what is neither told nor ends a run may wait a second.
        """
        collected = self._collected
        collected.tasks[step.task.entry.name] = step.task
        if step.transition is not None:
            collected.transitions.append(step.transition)
        if finished is not None:
            collected.runs.append(finished)
        for flag in step.flags:
            collected.flip(flag)
        if at_once or step.transition is not None or step.flags:
            self._wakeup.set()
        elif self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_later(_UNHURRIED, self._wakeup.set)

    def flush(self, pulses: Sequence[Pulse]) -> None:
        """Takes over what ticked."""
        self._collected.pulses += pulses
        self._wakeup.set()

    async def durable(self) -> None:
        """Waits until everything taken over so far is committed. StoreError if some of it was another replica's."""
        committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(committed)
        self._wakeup.set()
        await committed

    def retell(self, transitions: Sequence[Transition]) -> None:
        """Tells what was committed, and not told as far as anybody knows."""
        self._untold += len(transitions)
        self._tell(transitions, ())
        self._wakeup.set()

    def confirmed(self) -> None:
        """It is certain what is held: what was committed in doubt is told now."""
        deferred, self._deferred = self._deferred, []
        for transitions, flags in deferred:
            self._tell(transitions, flags)
        if deferred:
            self._wakeup.set()

    def drop(self, partitions: Collection[int]) -> None:
        """Forgets what is not committed or not told of tasks in ``partitions``: somebody else watches them."""
        lost = frozenset(partitions)
        before = self.left

        def is_lost(name: str) -> bool:
            return partition_of(name) in lost

        self._collected = self._collected.without(is_lost)
        if self.left < before:
            self._note_fenced(before - self.left)
        deferred, self._deferred = self._deferred, []
        for transitions, flags in deferred:
            self._deferred.append(self._kept(transitions, flags, lost))

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
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        taken, self._collected = self._collected, _Collected()
        epochs = self._tenure.epochs
        addressed = {} if self._mailroom is None else self._mailroom.addressed(taken.transitions)
        batch = taken.batch(self._clock.now(), None if epochs is None else dict(epochs), addressed)
        if not batch:
            _release(waiting)
            return True
        self._under_way = taken
        try:
            lost = await self._store.commit(batch)
        except StoreError as error:
            self._waiting = waiting + self._waiting
            self._collected = self._still_held(taken, batch).followed_by(self._collected)
            self._under_way = _Collected()
            self._wakeup.set()
            self.trouble.begin("commit", error)
            return False
        # Not when it is cancelled: what is not known to be committed counts as left.
        self._under_way = _Collected()
        self.trouble.end("commit")
        self._untold += len(taken.transitions)
        if addressed and self._mailroom is not None:
            self._mailroom.committed(addressed)
        _release(waiting, None if not lost else StoreError("another replica holds by now what was to be stored"))
        if lost:
            self._note_fenced(sum(partition_of(name) in lost for name in taken.tasks))
        # What was lost since is told by who holds it now: it has read that nobody did.
        untold = {*lost, *self._lost_since(batch)}
        self._tell(*self._kept(taken.transitions, taken.flags.values(), untold))
        return True

    def _still_held(self, taken: _Collected, batch: Batch) -> _Collected:
        """What is to be tried again: what was lost meanwhile, though it be held again, is not."""
        lost = self._lost_since(batch)
        return taken.without(lambda name: partition_of(name) in lost) if lost else taken

    def _lost_since(self, batch: Batch) -> Collection[int]:
        """The partitions that are no longer held as they were when ``batch`` was made."""
        made, now = batch.epochs, self._tenure.epochs
        if made is None or now is None:
            return ()
        return {number for number, epoch in made.items() if now.get(number) != epoch}

    def _kept(
        self, transitions: Sequence[Transition], flags: Iterable[FlagChange], lost: Collection[int]
    ) -> tuple[Sequence[Transition], Sequence[FlagChange]]:
        """What is to be told though ``lost`` were lost: those who hold these tell of them."""
        kept = [each for each in transitions if partition_of(each.task) not in lost] if lost else transitions
        self._untold -= len(transitions) - len(kept)
        return kept, [each for each in flags if not lost or partition_of(each.task) not in lost]

    def _tell(self, transitions: Sequence[Transition], flags: Iterable[FlagChange]) -> None:
        if not self._tenure.is_certain():
            self._deferred.append((transitions, flags))
            return
        for transition in transitions:
            for emitter in self._emitters:
                emitter.transition(transition)
            self._collected.told.append(transition.transition_id)
            self._untold -= 1
        for flag in flags:
            for emitter in self._emitters:
                emitter.flag(flag)

    def _note_fenced(self, changes: int) -> None:
        self.fenced += 1
        self._logger.warning("commit.fenced", changes=changes)


def _release(waiting: Sequence[asyncio.Future[None]], error: StoreError | None = None) -> None:
    for committed in waiting:
        if committed.done():
            continue
        if error is None:
            committed.set_result(None)
        else:
            committed.set_exception(error)


def _changes(tasks: Mapping[str, Task], transitions: Sequence[Transition]) -> list[Change]:
    """One change for each transition, in order, and for each task without one; each carries the task as it is now."""
    moved = {transition.task for transition in transitions}
    return [Change(tasks[t.task], t) for t in transitions] + [
        Change(task) for name, task in tasks.items() if name not in moved
    ]
