"""Every task asked once, for `poller poll`: no store, no schedule, the same lanes."""

from collections.abc import Iterable
from dataclasses import replace

import anyio

from poller.domain.lifecycle import begin
from poller.domain.observation import Observation
from poller.domain.task import Entry
from poller.protocols import Clock
from poller.runtime.lane import Lane
from poller.runtime.watch import Watch


class Once:
    """Collects one observation of each task. Implements `poller.runtime.lane.Reporter`.

    Only what is ``explained`` can explain itself afterwards, and holds on to the whole answer for that.
    """

    def __init__(self, clock: Clock, explained: bool = False) -> None:
        self._clock = clock
        self._explained = explained
        self._lanes: dict[str, Lane] = {}
        self._left: dict[str, set[str]] = {}
        self._finished: dict[str, anyio.Event] = {}
        self.seen: dict[str, Observation] = {}

    def add_lane(self, lane: Lane) -> None:
        """Takes a provider connection into use; before the entries that name it."""
        self._lanes[lane.provider] = lane
        self._left[lane.provider] = set()
        self._finished[lane.provider] = anyio.Event()

    async def run(self, entries: Iterable[Entry]) -> None:
        """Polls each entry once. A connection that refuses is not asked again: its other tasks share the refusal."""
        for entry in entries:
            lane = self._lanes[entry.provider]
            self._left[entry.provider].add(entry.name)
            lane.plan(Watch(begin(entry, self._clock.now()), lane), self._clock.monotonic())
        async with anyio.create_task_group() as group:
            for lane in self._lanes.values():
                group.start_soon(self._run_lane, lane)

    def observed(self, watch: Watch, seen: Observation, duration: float, lag: float) -> None:
        """One task's answer came; how long it took is of no interest here."""
        del duration, lag
        name, provider = watch.task.entry.name, watch.task.entry.provider
        left = self._left[provider]
        if name not in left:
            return
        self.seen[name] = seen if self._explained else replace(seen, explain=None)
        left.remove(name)
        if watch.lane.paused:
            rule = f"not asked, the connection was refused: {seen.rule}"
            shared = replace(seen, rule=rule, request_id=None, explain=None)
            self.seen.update(dict.fromkeys(left, shared))
            left.clear()
        if not left:
            self._finished[provider].set()

    async def _run_lane(self, lane: Lane) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(lane.run)
            await self._finished[lane.provider].wait()
            group.cancel_scope.cancel()
