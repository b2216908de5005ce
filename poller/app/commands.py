"""What commands do without a daemon: ask once, follow, start, and look into the store."""

import os
import random
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import anyio

from poller.app.wiring import Logger, open_lane, start_json, store_of
from poller.config.loading import Loaded
from poller.config.watchlist import Diff, diff
from poller.domain.errors import PollerError, StartError
from poller.domain.events import Transition
from poller.domain.explanation import Explanation
from poller.domain.observation import Observation
from poller.domain.task import Entry
from poller.providers.binding import bind
from poller.providers.diagnosis import UNASKED, Diagnosis, asked_with, diagnose
from poller.runtime.clock import LoopClock
from poller.runtime.following import Audience, Enough, Following
from poller.runtime.once import Once
from poller.runtime.starts import Start, Starts
from poller.store.migrations import HEAD


async def migrate_store(loaded: Loaded) -> str:
    """Brings the store's schema up to date; what was done, for people. StoreError, also while a daemon holds a file."""
    store = store_of(loaded)
    before = await store.migrate()
    if before == HEAD:
        return f"{store.place}: is up to date (schema {HEAD})"
    return f"{store.place}: {f'schema {before} is now {HEAD}' if before else f'made with schema {HEAD}'}"


async def needs_migration(loaded: Loaded) -> tuple[bool, str]:
    """Whether the store's schema is not up to date, and that for people. Changes nothing, and takes no hold of it."""
    store = store_of(loaded)
    found = await store.revision()
    if found == HEAD:
        return False, f"{store.place}: is up to date (schema {HEAD})"
    return True, f"{store.place}: {f'is at schema {found}, {HEAD} is needed' if found else 'is not there yet'}"


def stored_history(loaded: Loaded, since: float, ends: bool) -> AsyncGenerator[Sequence[Transition]]:
    """What is in the store of a config, beside the daemon that works on it: see `SqlStore.history`."""
    return store_of(loaded).history(since, ends)


async def stored_changes(loaded: Loaded) -> Diff:
    """How the watchlist of a config differs from the one that the daemon on its store loaded last."""
    stored = await store_of(loaded).watchlist()
    return diff(
        _wherever_written(entry for entry in stored if not entry.added), _wherever_written(loaded.entries.values())
    )


def _wherever_written(entries: Iterable[Entry]) -> dict[str, Entry]:
    """The entries by name, all from the same file: a config to be checked often lies elsewhere."""
    return {entry.name: replace(entry, source="") for entry in entries}


async def poll_once(
    loaded: Loaded,
    names: Iterable[str],
    logger: Logger,
    env: Mapping[str, str] = os.environ,
    *,
    explained: bool = False,
    repeats: bool = True,
) -> dict[str, Observation]:
    """One observation of each task in ``names``, without a store; see `Once` and `HttpProvider` for the switches."""
    clock = LoopClock()
    once = Once(clock, explained)
    entries = [loaded.entries[name] for name in names]
    bindings = bind(loaded, env)
    for provider in dict.fromkeys(entry.provider for entry in entries):
        once.add_lane(open_lane(bindings[provider], loaded, once, clock, logger, repeats))
    await once.run(entries)
    return once.seen


async def probe_once(
    loaded: Loaded, logger: Logger, env: Mapping[str, str] = os.environ
) -> dict[str, tuple[str | None, Diagnosis]]:
    """How each connection does, by its name, and which task it was asked for that: exactly one request to each."""
    bindings = bind(loaded, env)
    asked = {entry.provider: entry for entry in reversed(loaded.entries.values())}
    seen = await poll_once(loaded, [e.name for e in asked.values()], logger, env, explained=True, repeats=False)
    found: dict[str, tuple[str | None, Diagnosis]] = dict.fromkeys(bindings, (None, UNASKED))
    for name, entry in asked.items():
        binding, observation = bindings[name], seen[entry.name]
        what = asked_with(binding.settings, binding.kind, entry.operation, binding.credentials.name)
        told = observation.explain() if observation.explain else Explanation(0.0, ())
        found[name] = (entry.name, diagnose(observation, told, what))
    return found


async def start_and_follow(
    loaded: Loaded, name: str, follower: "Follower", logger: Logger, env: Mapping[str, str] = os.environ
) -> None:
    """Starts the job behind the task ``name``, without a daemon, and follows its run to the end.

    Raises StartError when there is no run to follow.
    """
    clock, entry = LoopClock(), loaded.entries[name]
    following = Following(follower, clock, random.random, logger)
    lane = open_lane(bind(loaded, env)[entry.provider], loaded, following.scheduler, clock, logger)
    following.watch([entry], [lane])
    failure: PollerError | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(following.scheduler.run)
        try:
            start = await Starts(following.scheduler, following, logger).start(name)
            follower.started(start_json(start))
            _turn_to_run(following, entry, start)
            await following.follow()
        except PollerError as error:
            # Not raised here, where it would come out as one of a group.
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def wait_for(
    loaded: Loaded,
    names: Iterable[str],
    audience: Audience,
    logger: Logger,
    enough: Enough = all,
    env: Mapping[str, str] = os.environ,
) -> None:
    """Follows the tasks in ``names``, without a daemon and without a store, until all or any of them have ended."""
    clock = LoopClock()
    following = Following(audience, clock, random.random, logger)
    entries = [loaded.entries[name] for name in names]
    bindings = bind(loaded, env)
    providers = dict.fromkeys(entry.provider for entry in entries)
    lanes = [open_lane(bindings[name], loaded, following.scheduler, clock, logger) for name in providers]
    following.watch(entries, lanes)
    async with anyio.create_task_group() as group:
        group.start_soon(following.scheduler.run)
        await following.follow(enough)
        group.cancel_scope.cancel()


def _turn_to_run(following: Following, entry: Entry, start: Start) -> None:
    """Watches the run that was started in place of ``entry``; if it is not known, what watches the latest."""
    run_id = start.started.run_id
    if run_id is not None:
        following.watch([start.job.run(entry, run_id)])
    elif start.watched_run is None:
        raise StartError(f"{entry.name}: {start.words}: it cannot be followed; watch the job's latest run instead")


class Follower(Audience, Protocol):
    """Who watches a run that is started and followed."""

    def started(self, told: Mapping[str, Any]) -> None:
        """What was started, as the API tells it."""
        ...
