"""The one place that builds and wires everything."""

import os
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path

import anyio
import structlog
from prometheus_client import CollectorRegistry

from poller.config.loading import Loaded, load
from poller.config.settings import Retention
from poller.domain.circuit import Pauses
from poller.domain.errors import Problem, StoreError
from poller.domain.observation import Observation
from poller.domain.state import State
from poller.emit.exposition import Exposition
from poller.emit.logs import LogEmitter
from poller.emit.metrics import Metrics
from poller.protocols import Clock, Emitter, Store
from poller.providers.binding import Binding, bind, check
from poller.runtime.clock import LoopClock
from poller.runtime.committer import Committer
from poller.runtime.lane import Lane, Reporter
from poller.runtime.limits import Limits
from poller.runtime.once import Once
from poller.runtime.scheduler import Scheduler
from poller.store.sql import open_store
from poller.web.server import build_app, serve

LONGEST_STOP = 8.0
"""Seconds that a stopping daemon goes on trying to commit what is left."""

PRUNE_EVERY = 3_600.0
"""Seconds between two looks for what is too old to be kept."""

Logger = structlog.typing.FilteringBoundLogger
Until = Callable[[Scheduler], Awaitable[str]]
"""Waits for what ends the daemon and tells the reason; is given what is being watched."""


def load_config(path: Path, skip_secrets: bool = False, env: Mapping[str, str] = os.environ) -> Loaded:
    """The config at ``path``, checked against the specs of its providers too. ConfigError with every mistake."""

    def beyond_the_file(loaded: Loaded) -> Iterator[Problem]:
        yield from _store_problems(loaded)
        yield from check(loaded, env, skip_secrets)

    return load(path, skip_secrets=skip_secrets, env=env, check=beyond_the_file)


def _store_problems(loaded: Loaded) -> Iterator[Problem]:
    try:
        open_store(loaded.settings.store)
    except StoreError as error:
        yield loaded.problem(("store",), str(error).removeprefix("store: "))


async def run_daemon(
    loaded: Loaded,
    logger: Logger,
    until: Until,
    env: Mapping[str, str] = os.environ,
    emitters: Sequence[Emitter] = (),
) -> None:
    """Watches everything in a config until ``until`` returns; what happened until then is committed and told.

    ``emitters`` are told beside the log and the metrics.

    Raises StoreError when the store cannot be opened or is in use, PollerError when the web server cannot listen.
    """
    settings, clock = loaded.settings, LoopClock()
    logger.info(
        "daemon.started", version=version("poller"), store=_shown_store(settings.store), tasks=len(loaded.entries)
    )
    async with AsyncExitStack() as stack:
        store = open_store(settings.store)
        stack.push_async_callback(store.close)
        await store.open()
        metrics = Metrics(CollectorRegistry(), version("poller"), lambda: committer.unemitted)
        committer = Committer(store, [LogEmitter(logger), metrics, *emitters], clock, logger)
        scheduler = Scheduler(
            committer=committer,
            observer=metrics,
            clock=clock,
            draw=random.random,
            retention=_retention(settings.retention),
        )
        app = build_app(scheduler, store, Exposition(metrics, scheduler).render, clock, logger)
        host, port = await stack.enter_async_context(serve(app, settings.web.listen.host, settings.web.listen.port))
        for binding in bind(loaded, env).values():
            scheduler.add_lane(await _open_lane(stack, binding, loaded, scheduler, clock, logger))
        now = clock.now()
        saved = await store.watch(list(loaded.entries.values()), now)
        await committer.recover()
        scheduler.load(list(loaded.entries.values()), saved, now)
        metrics.reloaded(ok=True, at=now)
        logger.info("daemon.ready", tasks=len(loaded.entries), listen=f"http://{host}:{port}")
        async with anyio.create_task_group() as group:
            group.start_soon(_prune, store, settings.history, clock, logger)
            reason = await _poll_until(until, scheduler, committer)
            group.cancel_scope.cancel()
    logger.info("daemon.stopped", reason=reason)


async def poll_once(
    loaded: Loaded, names: Iterable[str], logger: Logger, env: Mapping[str, str] = os.environ
) -> dict[str, Observation]:
    """One observation of each task in ``names``, without a store."""
    clock = LoopClock()
    once = Once(clock)
    entries = [loaded.entries[name] for name in names]
    async with AsyncExitStack() as stack:
        bindings = bind(loaded, env)
        for provider in dict.fromkeys(entry.provider for entry in entries):
            once.add_lane(await _open_lane(stack, bindings[provider], loaded, once, clock, logger))
        await once.run(entries)
    return once.seen


async def _poll_until(until: Until, scheduler: Scheduler, committer: Committer) -> str:
    """Polls until it is time to stop, then lets go of the polls under way and commits what is left."""
    async with anyio.create_task_group() as group:
        group.start_soon(committer.run)
        async with anyio.create_task_group() as polling:
            polling.start_soon(scheduler.run)
            reason = await until(scheduler)
            polling.cancel_scope.cancel()
        scheduler.flush()
        committer.stop()
        group.cancel_scope.deadline = anyio.current_time() + LONGEST_STOP
    return reason


async def _prune(store: Store, history: float, clock: Clock, logger: Logger) -> None:
    """Forgets, from time to time, what is older than ``history`` seconds."""
    while True:
        await anyio.sleep(PRUNE_EVERY)
        try:
            forgotten = await store.prune(clock.now() - history)
        except StoreError as error:
            logger.warning("store.not_pruned", error=str(error))
        else:
            logger.debug("store.pruned", rows=forgotten)


async def _open_lane(
    stack: AsyncExitStack, binding: Binding, loaded: Loaded, reporter: Reporter, clock: Clock, logger: Logger
) -> Lane:
    connection = binding.connect(clock)
    stack.push_async_callback(connection.close)
    settings, policy = binding.settings, loaded.settings.policy(binding.name)
    pauses = Pauses(settings.auth_pause, settings.max_pause, policy.initial, policy.max, policy.growth)
    return Lane(
        binding.name,
        connection,
        Limits(settings.rate_limit, settings.max_in_flight, settings.timeout, pauses),
        clock=clock,
        reporter=reporter,
        logger=logger,
    )


def _retention(settings: Retention) -> Callable[[State], float]:
    return lambda state: settings.succeeded if state is State.SUCCEEDED else settings.unsuccessful


def _shown_store(url: str) -> str:
    """The store's URL without what may be a password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
