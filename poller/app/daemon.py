"""The daemon: builds and wires everything, and reloads the config."""

import gc
import os
import random
import secrets
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup
from prometheus_client import CollectorRegistry

from poller.app.sinks import open_sink
from poller.app.wiring import Logger, open_lane, start_json, store_of
from poller.config.loading import Loaded
from poller.config.settings import Retention, Settings
from poller.config.watchlist import AddedReader, Diff, EntryReader, diff, keep_equal
from poller.domain.errors import ConfigError, PollerError, StoreError, UnstartableError
from poller.domain.shares import PARTITIONS
from poller.domain.state import State
from poller.domain.task import Entry
from poller.emit.exposition import Exposition
from poller.emit.logs import LogEmitter
from poller.emit.metrics import Metrics
from poller.emit.sinkmetrics import SinkMetrics
from poller.protocols import Cluster, Emitter, Standing, Written
from poller.providers.binding import Binding, bind, entry_check
from poller.providers.spec import Kind
from poller.runtime import filewatch
from poller.runtime.additions import Additions
from poller.runtime.census import Census
from poller.runtime.clock import LoopClock
from poller.runtime.committer import Committer
from poller.runtime.couriers import Couriers, Desk, Office
from poller.runtime.failing import FailingPolls
from poller.runtime.forecasts import Forecasts
from poller.runtime.lane import Lane
from poller.runtime.membership import Membership, Sole, boot_clock
from poller.runtime.notify import Notifier, summarize, watchdog, watchdog_interval
from poller.runtime.roster import Roster
from poller.runtime.scheduler import Scheduler
from poller.runtime.starts import Starts
from poller.runtime.trouble import Trouble
from poller.web.api import Api
from poller.web.control import Control
from poller.web.eventstream import EventStreams
from poller.web.feed import Feed
from poller.web.listening import serve, url
from poller.web.login import Login
from poller.web.page import StatusPage
from poller.web.pictures import Pictures
from poller.web.protection import Protection
from poller.web.server import build_app
from poller.web.shapes import StartedJson
from poller.web.sinks import SinkApi

LONGEST_STOP = 4.0
"""Seconds that a stopping daemon goes on trying to commit what is left; closing the store may take some more."""

LONGEST_GOODBYE = 1.0
"""Seconds that a stopping replica tries to tell that it leaves."""

EXPIRE_EVERY = 2.0
"""Seconds between two looks for tasks whose time on the watchlist is over."""

PRUNE_EVERY = 3_600.0
"""Seconds between two looks for what is too old to be kept."""

_TURN = 5e-4
"""Seconds that the thread that reads the config may keep the event loop from going on, each time."""


def _guard(loaded: Loaded, logger: Logger) -> Protection | None:
    """TLS and logins, where the config asks for them."""
    path = loaded.settings.web.config_file
    return None if path is None else Protection(path, logger)


class Daemon:
    """Watches everything in a config; what happened is committed first and told then.

    ``load`` reads the config again for a reload, and is handed the one in force. ``emitters`` are told beside the log
    and the metrics.
    """

    _written: Written | None = None

    def __init__(
        self,
        loaded: Loaded,
        load: Callable[[Loaded], Loaded],
        logger: Logger,
        env: Mapping[str, str] = os.environ,
        emitters: Sequence[Emitter] = (),
    ) -> None:
        self._loaded = loaded
        self._kinds: Mapping[str, Kind] = {}
        self._load = load
        self._stamp = filewatch.stamp(self._sources)
        self._logger = logger
        self._env = env
        self._clock = LoopClock()
        self._store = store_of(self._loaded)
        trouble = Trouble(logger)
        self._tenure = _tenure(self._store.cluster(), self._loaded, logger, trouble)
        self._metrics = Metrics(
            CollectorRegistry(), version("poller"), lambda: self._committer.unemitted, self._standing
        )
        self._feed = Feed(self._store)
        told: list[Emitter] = [LogEmitter(logger), self._metrics, self._feed, *emitters]
        self._outbox = self._store.outbox()
        office = Office(self._outbox, self._tenure, self._clock, random.random, logger, trouble)
        self._couriers = couriers = Couriers(office)
        self._sockets: dict[str, AsyncExitStack] = {}
        SinkMetrics(self._metrics.registry, lambda: couriers.counts, lambda: couriers.backlogs, self._clock)
        self._committer = Committer(self._store, told, self._clock, logger, self._tenure, trouble, couriers)
        self._forecasts = Forecasts()
        self.scheduler = Scheduler(
            committer=self._committer,
            observer=self._metrics,
            clock=self._clock,
            draw=random.random,
            retention=_retention(self._loaded.settings.retention),
            failing=FailingPolls(self._clock, logger),
            forecasts=self._forecasts,
            tenure=self._tenure,
        )
        self._roster = Roster(
            store=self._store,
            scheduler=self.scheduler,
            committer=self._committer,
            forecasts=self._forecasts,
            clock=self._clock,
            pollable=self._is_pollable,
            logger=logger,
            known=lambda: self._written,
        )
        self._starts = Starts(self.scheduler, self._committer, logger)
        self._stopped_at: float | None = None
        self._notifier = Notifier.from_env(env)
        self._started = anyio.Event()
        self._reloading = anyio.Lock()
        self._streams = EventStreams()
        self._reason = ""
        self._failure: PollerError | None = None

    async def run(self, until: "Until") -> None:
        """Starts, and polls until ``until`` returns; it may return during the start already.

        Raises StoreError when the store cannot be opened or is in use, PollerError when the web server cannot listen.
        """
        loaded = self._loaded
        where = self._store.place
        self._logger.info("daemon.started", version=version("poller"), store=where, tasks=len(loaded.entries))
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._store.close)
            await self._work(stack, until)
        if self._failure is not None:
            raise self._failure
        self._logger.info("daemon.stopped", reason=self._reason)

    async def _work(self, stack: AsyncExitStack, until: "Until") -> None:
        """Starts and polls until it is time to stop, then drops the polls under way and commits what is left."""
        async with anyio.create_task_group() as writing:
            with anyio.CancelScope() as working:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._await_end, until, working)
                    writing.start_soon(self._committer.run)
                    await self._start(stack, working, group)
                    if self._failure is None:
                        for job in self._jobs():
                            group.start_soon(job)
            self.scheduler.flush(everything=True)
            self._committer.stop()
            writing.cancel_scope.deadline = self._latest_commit()
            await self._couriers.finish()
        await self._leave()
        if self._committer.left:
            self._logger.error("store.not_committed", changes=self._committer.left)

    def _jobs(self) -> Iterator[Callable[[], Coroutine[Any, Any, None]]]:
        """What is done side by side for as long as the daemon runs."""
        yield from (self._roster.run, self._prune, self._expire)
        yield from (self._couriers.run, self._watch_files, self._feed_watchdog, self._feed.run)

    async def _leave(self) -> None:
        """Lets others take over at once what is held here; they would notice anyway."""
        if isinstance(self._tenure, Membership):
            with suppress(StoreError), anyio.move_on_after(LONGEST_GOODBYE):
                await self._tenure.leave()

    async def _await_end(self, until: "Until", working: anyio.CancelScope) -> None:
        self._reason = await until(self)
        self._notifier.stopping(self._reason)
        self._stopped_at = anyio.current_time()
        with anyio.move_on_after(LONGEST_STOP):
            await self._starts.finish()
        self._starts.cut()
        working.cancel()

    def _latest_commit(self) -> float:
        """Until when what is left is tried to be committed: a start that was finished has cost some of the time."""
        now = anyio.current_time()
        return now + LONGEST_STOP if self._stopped_at is None else max(self._stopped_at + LONGEST_STOP, now + 1.0)

    async def _start(self, stack: AsyncExitStack, working: anyio.CancelScope, group: TaskGroup) -> None:
        """Opens everything and loads the watchlist; a failure that the user can act on ends the work."""
        try:
            await self._store.open()
            stack.push_async_callback(self._close_sinks)
            await self._use_sinks(None, self._loaded.settings)
            listen = await self._listen(stack)
            bindings = bind(self._loaded, self._env)
            self._kinds = {name: binding.kind for name, binding in bindings.items()}
            self._written = await self._write(self._loaded.entries, self._clock.now())
            self.scheduler.use(self._lanes(self._loaded, bindings))
            group.start_soon(self.scheduler.run)
            await self._take_up(group)
            self._metrics.reloaded(ok=True, at=self._clock.now())
            self._logger.info("daemon.ready", tasks=len(self._loaded.entries), listen=listen)
            self._tell_ready()
            _settle_memory()
            self._started.set()
        except PollerError as error:
            # Not raised here, where it would come out as one of a group.
            self._failure = error
            working.cancel()

    async def _take_up(self, group: TaskGroup) -> None:
        """Watches what this replica holds from the start; signs of its life go out while it reads that."""
        if isinstance(self._tenure, Membership):
            await self._tenure.join(self._roster)
            await self._tenure.step()
            group.start_soon(self._tenure.run)
        else:
            self._roster.hold(range(PARTITIONS))
        await self._roster.catch_up()

    def _lanes(self, loaded: Loaded, bindings: Mapping[str, Binding]) -> list[Lane]:
        around = (self.scheduler, self._clock, self._logger)
        tenure, held = self._tenure, self._committer.is_full
        return [open_lane(each, loaded, *around, neighbours=tenure, held=held) for each in bindings.values()]

    def _is_pollable(self, entry: Entry) -> bool:
        kind = self._kinds.get(entry.provider)
        operation = kind.operations.get(entry.operation) if kind else None
        return operation is not None and all(name in entry.params for name in operation.required)

    def _standing(self) -> Standing:
        return Standing(
            partitions=self._tenure.held if self._tenure.is_certain() else 0,
            replicas=self._tenure.count,
            failovers=self._tenure.failovers,
            fenced=self._committer.fenced,
            store_up=self._committer.works,
            waiting=self._committer.left,
            strange=self._roster.strange,
        )

    async def _listen(self, stack: AsyncExitStack) -> str:
        """Serves pages, metrics and API until the stack is closed; where, for people."""
        loaded, logger = self._loaded, self._logger
        render = Exposition(self._metrics, self.scheduler, lambda: self._loaded.settings.metrics).render
        control = Control(self.reload, self._api_token, self._start_job, self._additions())
        guard = _guard(loaded, logger)
        login, tls = (Login(guard.users, self._api_token), guard.tls) if guard else (None, None)
        settings = loaded.settings.web
        census = Census(self.scheduler, self._store, self._tenure)
        prefix = settings.route_prefix.rstrip("/")
        pictures = Pictures(census, self.scheduler, self._store, self._tenure, self._metrics, self._clock)
        page = StatusPage(pictures, prefix)
        api = Api(census, self.scheduler, self._store, self._feed, self._streams, prefix)
        desk = Desk(self._outbox, self._clock, self._sink_kinds, self._couriers.wake)
        sinks = SinkApi(desk, control.guarded)
        served = [*control.endpoints(prefix), *api.endpoints(), *sinks.endpoints()]
        app = build_app(self.scheduler, page, served, render, logger, login, settings.route_prefix)
        app.on_shutdown.append(self._streams.close)
        bound = await stack.enter_async_context(serve(app, settings.listen, tls))
        return ", ".join(url(address, tls is not None, settings.route_prefix) for address in bound)

    def _additions(self) -> Additions:
        return Additions(
            store=self._store,
            clock=self._clock,
            reader=self._added_reader,
            started=self._started.wait,
            durable=self._committer.durable,
            follow=self._roster.follow_now,
        )

    def _added_reader(self, tasks: Iterable[tuple[int, object]]) -> AddedReader:
        settings = self._loaded.settings
        return AddedReader(EntryReader(settings), tasks, entry_check(settings, self._kinds))

    async def reload(self) -> Diff:
        """Reads the config again and applies what changed, without disturbing the rest; what that was.

        Raises ConfigError, with every mistake, and leaves everything as it was; StoreError likewise.
        """
        await self._started.wait()
        async with self._reloading:
            self._notifier.reloading()
            self._stamp = filewatch.stamp(self._sources)
            try:
                loaded = await anyio.to_thread.run_sync(self._load_again, abandon_on_cancel=True)
                _check_restart(self._loaded, loaded)
                changes = await self._switch(loaded)
                self._stamp = filewatch.since(self._stamp, filewatch.stamp(self._sources))
            except PollerError as error:
                self._metrics.reloaded(ok=False, at=self._clock.now())
                self._logger.error("config.rejected", reason=str(error))
                raise
            finally:
                self._tell_ready()
        counts = {"added": len(changes.added), "changed": len(changes.changed), "removed": len(changes.removed)}
        self._logger.info("config.reloaded", **counts)
        return changes

    def _load_again(self) -> Loaded:
        """Reads the config in a thread of its own; what is as before is not there twice afterwards."""
        interval = sys.getswitchinterval()
        # The event loop would wait for each look through all that is being made; and for its turn, several times for
        # each poll.
        gc.disable()
        sys.setswitchinterval(_TURN)
        try:
            loaded = self._load(self._loaded)
            keep_equal(self._loaded.entries, loaded.entries)
        finally:
            sys.setswitchinterval(interval)
            gc.enable()
        return loaded

    async def _start_job(self, name: str) -> StartedJson:
        """Starts the job behind a task; what there is to tell whoever asked."""
        watch = self.scheduler.find(name)
        if watch is None and await self._store.task(name) is not None:
            raise UnstartableError(
                f"{name}: is not polled here, but by another replica, or by none whose config knows its provider: "
                "ask the one that polls it to start its job"
            )
        if watch is not None:
            # A next run may be this operation's first.
            self._metrics.expect((), [(watch.task.entry.provider, watch.task.entry.operation)])
        return start_json(await self._starts.start(name))

    def _summary(self) -> str:
        return summarize(watch.task.status.state for watch in self.scheduler.tasks())

    def _tell_ready(self) -> None:
        """A start or a reload is over."""
        # Counting states takes a moment with 100,000 tasks.
        if self._notifier.listened_to:
            self._notifier.ready(self._summary())

    def _api_token(self) -> str | None:
        secret = self._loaded.settings.web.api_token
        return None if secret is None else secret.reveal()

    def _sources(self) -> tuple[Iterable[Path], Iterable[str]]:
        return self._loaded.files, self._loaded.patterns

    async def _watch_files(self) -> None:
        """Reloads when a file of the config changes; what is wrong with it is in the log."""
        async for _ in filewatch.changes(self._sources, lambda: self._stamp):
            with suppress(PollerError):
                await self.reload()

    async def _feed_watchdog(self) -> None:
        await watchdog(self._notifier, self.scheduler.stalled, self._summary, watchdog_interval(self._env))

    async def _switch(self, loaded: Loaded) -> Diff:
        """Goes over from the config in force to another one."""
        before, bindings = self._loaded, bind(loaded, self._env)
        kinds = {name: binding.kind for name, binding in bindings.items()}
        renewed = {
            name: binding
            for name, binding in bindings.items()
            if _connection(before, self._kinds, name) != _connection(loaded, kinds, name)
        }
        changes, now = diff(before.entries, loaded.entries), self._clock.now()
        self._written = await self._write(loaded.entries, now)
        # From here on nothing waits until the new config is in force; what follows from it in the store comes then.
        self._loaded, self._kinds = loaded, kinds
        self.scheduler.use(self._lanes(loaded, renewed))
        gone = before.settings.providers.keys() - loaded.settings.providers.keys()
        if renewed or gone:
            self._roster.reconsider()
        self.scheduler.retire(gone)
        self.scheduler.show(_retention(loaded.settings.retention))
        self._metrics.reloaded(ok=True, at=now)
        await self._use_sinks(before.settings, loaded.settings)
        await self._roster.follow_now()
        return changes

    async def _write(self, entries: Mapping[str, Entry], now: float) -> Written:
        """Makes ``entries`` the watchlist in the store."""
        return Written(entries, await self._store.watch(list(entries.values()), now, self._written))

    async def _use_sinks(self, before: Settings | None, now: Settings) -> None:
        """Goes over from the sinks of one config to those of another, without disturbing those that stay as they are.

        A patience that ends with the history at the latest is part of a sink.
        """
        old = {} if before is None else {name: (each, before.history) for name, each in before.sinks.items()}
        new = {name: (each, now.history) for name, each in now.sinks.items()}
        stopped = [name for name, each in old.items() if new.get(name) != each]
        self._couriers.address({name: each.filter for name, each in now.sinks.items()})
        await self._couriers.dismiss(stopped)
        for name in stopped:
            await self._sockets.pop(name).aclose()
        for name, (settings, history) in new.items():
            if (settings, history) != old.get(name):
                self._sockets[name] = AsyncExitStack()
                sink = open_sink(settings, self._clock, self._sockets[name], self._env)
                self._couriers.employ(name, sink, min(settings.give_up_after, history))

    async def _close_sinks(self) -> None:
        for sockets in self._sockets.values():
            await sockets.aclose()

    def _sink_kinds(self) -> Mapping[str, str]:
        return {name: each.kind for name, each in self._loaded.settings.sinks.items()}

    async def _expire(self) -> None:
        """Takes off the watchlist, from time to time, what was to be on it for a time only."""
        while True:
            await anyio.sleep(EXPIRE_EVERY)
            with suppress(StoreError):
                if await self._store.expire(self._clock.now()):
                    await self._roster.follow_now()

    async def _prune(self) -> None:
        """Forgets, from time to time, what is older than the history to be kept."""
        while True:
            await anyio.sleep(PRUNE_EVERY)
            try:
                forgotten = await self._store.prune(self._clock.now() - self._loaded.settings.history)
            except StoreError as error:
                self._logger.warning("store.not_pruned", error=str(error))
            else:
                self._logger.debug("store.pruned", rows=forgotten)


_COLLECT_AFTER = (10_000, 20, 20)
"""New objects after which the youngest are looked through, and how many times that the next older ones."""

Until = Callable[[Daemon], Awaitable[str]]
"""Waits for what ends the daemon and tells the reason."""


def _settle_memory() -> None:
    """Lets the garbage collector leave alone what has been loaded: it stays, and going through all of it takes long.

    With 100,000 tasks that is a third of a second, in which nothing is polled, for every few thousand polls.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    gc.enable()


def _retention(settings: Retention) -> Callable[[State], float]:
    return lambda state: settings.succeeded if state is State.SUCCEEDED else settings.unsuccessful


def _tenure(cluster: Cluster | None, loaded: Loaded, logger: Logger, trouble: Trouble) -> Sole | Membership:
    """What this replica holds: everything, where there can be no other."""
    if cluster is None:
        return Sole()
    lease = loaded.settings.replicas.lease
    return Membership(cluster, name=_replica_name, lease=lease, clock=boot_clock, logger=logger, trouble=trouble)


def _replica_name() -> str:
    """A name for this process that no other had: its host's, for people, and chance."""
    return f"{socket.gethostname()}-{secrets.token_hex(4)}"


def _connection(loaded: Loaded, kinds: Mapping[str, Kind], provider: str) -> tuple[object, ...] | None:
    """Everything that the connection to a provider is made of; None for a provider that is not there."""
    settings = loaded.settings.providers.get(provider)
    return None if settings is None else (settings, kinds[provider], loaded.settings.policy(provider))


def _fixed(loaded: Loaded, key: str) -> object:
    """What a running daemon keeps of a section; the token is looked up anew with each request."""
    settings = loaded.settings
    return settings.web.model_copy(update={"api_token": None}) if key == "web" else getattr(settings, key)


def _check_restart(before: Loaded, after: Loaded) -> None:
    """ConfigError for changes that a running daemon cannot take over."""
    changed = [
        after.problem((key,), "changed, this needs a restart")
        for key in ("web", "store", "replicas", "log")
        if _fixed(before, key) != _fixed(after, key)
    ]
    if changed:
        raise ConfigError(changed)
