"""What the daemon and the commands without one are built from."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import structlog

from poller.config.loading import Loaded, load
from poller.config.webfile import read_web_file
from poller.domain.circuit import Pauses
from poller.domain.errors import ConfigError, Problem, StoreError
from poller.protocols import Clock, Neighbours
from poller.providers.binding import Binding, check
from poller.runtime.lane import Lane, Reporter
from poller.runtime.limits import Limits
from poller.runtime.membership import SOLE
from poller.runtime.starts import Start
from poller.store.sql import SqlStore, open_store
from poller.web.shapes import StartedJson
from poller.web.tls import server_context

Logger = structlog.typing.FilteringBoundLogger


def load_config(
    path: Path, skip_secrets: bool = False, env: Mapping[str, str] = os.environ, before: Loaded | None = None
) -> Loaded:
    """The config at ``path``, checked against the specs of its providers too. ConfigError with every mistake.

    ``before`` is what was loaded of it last.
    """

    def beyond_the_file(loaded: Loaded) -> Iterator[Problem]:
        yield from _store_problems(loaded)
        yield from _web_problems(loaded, skip_secrets)
        yield from check(loaded, env, skip_secrets)

    return load(path, skip_secrets=skip_secrets, env=env, check=beyond_the_file, before=before)


def _web_problems(loaded: Loaded, skip_secrets: bool) -> Iterator[Problem]:
    """Mistakes in the web config file; without secrets, which its hashes and keys are, only where it can be read."""
    path = loaded.settings.web.config_file
    if path is None or (skip_secrets and not os.access(path, os.R_OK)):
        return
    try:
        read = read_web_file(path)
        if not skip_secrets:
            server_context(read)
    except ConfigError as error:
        yield from error.problems


def _store_problems(loaded: Loaded) -> Iterator[Problem]:
    try:
        open_store(loaded.settings.store.url)
    except StoreError as error:
        yield loaded.problem(("store",), str(error).removeprefix("store: "))


def open_lane(
    binding: Binding,
    loaded: Loaded,
    reporter: Reporter,
    clock: Clock,
    logger: Logger,
    repeats: bool = True,
    neighbours: Neighbours = SOLE,
    held: Callable[[], bool] = lambda: False,
) -> Lane:
    settings, policy = binding.settings, loaded.settings.policy(binding.name)
    pauses = Pauses(settings.auth_pause, settings.max_pause, policy.initial, policy.max, policy.growth)
    return Lane(
        binding.name,
        binding.connect(clock, logger, repeats),
        Limits(settings.rate_limit, settings.max_in_flight, settings.timeout, pauses),
        clock=clock,
        reporter=reporter,
        logger=logger,
        neighbours=neighbours,
        held=held,
    )


def store_of(loaded: Loaded) -> SqlStore:
    """The store that the config names, yet to be opened."""
    place = loaded.settings.store
    return open_store(place.url, place.password.reveal if place.password else lambda: None)


def start_json(start: Start) -> StartedJson:
    """A start, as the API and commands tell it. ``watched_run``: the `run` of the task that it will be, if any."""
    return {
        "task": start.task,
        "run": start.started.run_id,
        "already_running": start.started.already_running,
        "watched_run": start.watched_run,
        "request_id": start.started.request_id,
        "message": start.words,
    }
