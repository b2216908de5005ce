"""The one place that builds and wires everything."""

from poller.app.commands import (
    Follower,
    migrate_store,
    needs_migration,
    poll_once,
    probe_once,
    start_and_follow,
    stored_changes,
    stored_history,
    wait_for,
)
from poller.app.daemon import Daemon
from poller.app.sinks import place, send_sample
from poller.app.wiring import Logger, load_config

__all__ = [
    "Daemon",
    "Follower",
    "Logger",
    "load_config",
    "migrate_store",
    "needs_migration",
    "place",
    "poll_once",
    "probe_once",
    "send_sample",
    "start_and_follow",
    "stored_changes",
    "stored_history",
    "wait_for",
]
