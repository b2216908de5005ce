"""Starts the jobs behind watched tasks, each once, however many ask and whenever the process dies.

That a run is awaited is durable before anything is sent: a process killed at any moment afterwards watches for the run
when it is started again. What is sent when, `poller.domain.starting` decides.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

import anyio
import structlog

from poller.domain.errors import NoSuchTaskError, StartError, StoppingError, StoreError, UnstartableError
from poller.domain.observation import Observation, Outcome
from poller.domain.starting import GaveUp, Job, Look, Send, Started, Starting
from poller.domain.task import Entry
from poller.protocols import Recorder
from poller.runtime.lane import Send as Request
from poller.runtime.scheduler import Scheduler
from poller.runtime.watch import Watch

LONGEST_COMMIT = 5.0
"""Seconds to wait for the store before a start is given up that has not begun."""

Ask = Callable[[Request], Awaitable[Observation]]


@dataclass(frozen=True, slots=True)
class Start:
    """A start that was made. ``watched_run`` is the number under which the task's watch tells of the run, if any."""

    task: str
    job: Job
    started: Started
    watched_run: int | None

    @property
    def words(self) -> str:
        """What came of it, for people."""
        run_id, already = self.started.run_id, self.started.already_running
        if run_id is not None:
            return f"{self.job.param} {run_id} {'is under way already' if already else 'was started'}"
        which = "a run is under way already" if already else "a run was started"
        return f"{which}; which {self.job.param} it is the provider does not list yet"


class Starts:
    """Starts jobs on the lanes of a scheduler. ``recorder`` makes durable what the scheduler concludes."""

    def __init__(self, scheduler: Scheduler, recorder: Recorder, logger: structlog.typing.FilteringBoundLogger) -> None:
        self._scheduler = scheduler
        self._recorder = recorder
        self._logger = logger
        self._under_way: dict[tuple[str, str], asyncio.Future[Started]] = {}
        self._running: set[asyncio.Future[Any]] = set()
        self._stopping = False

    async def start(self, name: str) -> Start:
        """Starts the job behind the task ``name``, or finds it under way. It goes on though its caller is cancelled.

        Raises NoSuchTaskError, StartError, and StoreError when nothing may be sent because nothing can be stored.
        """
        watch = self._scheduler.find(name)
        if watch is None:
            raise NoSuchTaskError(name)
        if self._stopping:
            raise StoppingError("poller is about to end: nothing was started")
        entry = watch.task.entry
        job = watch.lane.job(entry)
        if job is None:
            raise UnstartableError(f"{name}: operation {entry.operation} of {entry.provider} has nothing to start")
        return await asyncio.shield(self._apart(self._start(watch, job)))

    async def finish(self) -> None:
        """Lets the starts under way come to their ends, and begins no more."""
        self._stopping = True
        if self._running:
            await asyncio.wait(self._running)

    def cut(self) -> None:
        """Drops what is still under way; what it started is awaited after the next start of the program."""
        for running in self._running:
            running.cancel()

    def _apart(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Future[Any]":
        """``work`` on its own, so that it ends though nobody waits for it any more."""
        running = asyncio.ensure_future(work)
        self._running.add(running)
        running.add_done_callback(self._forget)
        return running

    def _forget(self, running: "asyncio.Future[Any]") -> None:
        self._running.discard(running)
        if not running.cancelled():
            running.exception()  # Seen, though nobody waits for it any more.

    async def _start(self, watch: Watch, job: Job) -> Start:
        entry = watch.task.entry
        awaits = job.watches_latest(entry)
        if awaits:
            await self._await_run(watch)
        try:
            started = await self._shared(watch, entry, job)
        except StartError as error:
            if awaits and not isinstance(error, _UnknownEndError):
                self._scheduler.forget_run(watch)
            self._tell_failure(entry, error)
            raise
        self._settle(watch, job, started)
        self._tell(entry, started)
        return Start(entry.name, job, started, _watched_run(watch, job, started))

    async def _await_run(self, watch: Watch) -> None:
        """Makes durable, before anything is sent, that a run is awaited; of the one before, all there is to know."""
        if not watch.task.over:
            await self._scheduler.refresh(watch)
        self._scheduler.await_run(watch)
        try:
            with anyio.fail_after(LONGEST_COMMIT):
                await self._recorder.durable()
        except TimeoutError:
            self._scheduler.forget_run(watch)
            raise StoreError("the store cannot be written: nothing was started; see the log") from None
        except StoreError as error:
            if not watch.gone:
                self._scheduler.forget_run(watch)
            raise StoreError(f"{watch.task.entry.name}: nothing was started: {error}") from error
        if watch.gone:
            raise StoreError(f"{watch.task.entry.name}: another replica has taken it over: nothing was started")

    async def _shared(self, watch: Watch, entry: Entry, job: Job) -> Started:
        """The start of ``job`` that is under way, else one begun now."""
        key = (entry.provider, job.key)
        if joined := self._under_way.get(key):
            return replace(await asyncio.shield(joined), already_running=True)
        running = self._apart(start_run(_asking(watch), entry))
        self._under_way[key] = running
        try:
            return await asyncio.shield(running)
        finally:
            del self._under_way[key]

    def _settle(self, watch: Watch, job: Job, started: Started) -> None:
        if not job.watches_latest(watch.task.entry):
            return
        if started.already_running and not watch.task.status.terminal:
            self._scheduler.forget_run(watch)
        self._scheduler.poll_now(watch)

    def _tell(self, entry: Entry, started: Started) -> None:
        self._logger.info(
            "task.start_requested",
            task=entry.name,
            provider=entry.provider,
            operation=entry.operation,
            run_id=started.run_id,
            already_running=started.already_running,
            request_id=started.request_id,
        )

    def _tell_failure(self, entry: Entry, error: StartError) -> None:
        self._logger.warning(
            "task.start_failed",
            task=entry.name,
            provider=entry.provider,
            operation=entry.operation,
            outcome=error.seen.outcome if error.seen else None,
            code=error.seen.code if error.seen else None,
            request_id=error.seen.request_id if error.seen else None,
            message=str(error),
        )


class _UnknownEndError(StartError):
    """Nobody knows whether a run was started: it is awaited all the same."""


async def start_run(ask: Ask, entry: Entry) -> Started:
    """Starts a run of ``entry``'s job, as `Starting` has it; ``ask`` sends one request. StartError if that fails."""
    where = f"{entry.name} at {entry.provider}"
    seen = await ask(lambda connection: connection.list_runs(entry))
    if seen.outcome is not Outcome.ANSWERED:
        reason = f"the runs there are cannot be listed ({seen.outcome}: {seen.message})"
        raise StartError(f"{where}: {reason}; nothing was started", seen)
    starting = Starting(seen.runs)
    while True:
        match starting.next():
            case Send():
                starting = starting.sent(await ask(lambda connection: connection.start_run(entry)))
            case Look(delay):
                await anyio.sleep(delay)
                starting = starting.looked(await ask(lambda connection: connection.list_runs(entry)))
            case Started() as started:
                return started
            case GaveUp() as end:
                raise (StartError if end.certain else _UnknownEndError)(f"{where}: {end.text}", end.seen)


def _asking(watch: Watch) -> Ask:
    """Asks through the watch's lane as it is then: a reload may put another one in its place meanwhile."""

    async def ask(send: Request) -> Observation:
        return await watch.lane.ask(send)

    return ask


def _watched_run(watch: Watch, job: Job, started: Started) -> int | None:
    """The number of the run, as the task's watch counts them; None where it watches another run."""
    status, entry = watch.task.status, watch.task.entry
    if not job.watches_latest(entry):
        return status.run if entry.params[job.param] == started.run_id else None
    return status.run + 1 if status.terminal and not status.settled else status.run
