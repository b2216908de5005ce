"""The tables of the store, the same in every database.

Times are seconds since the epoch in double precision, so that they come back as they went in. Whatever changes here
needs a new revision in `poller.store.migrations` as well.
"""

import re

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    and_,
    false,
)
from sqlalchemy.types import TypeDecorator

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def storable(text: str) -> str:
    """The nearest text that every database stores: NUL and half a surrogate pair become U+FFFD."""
    # Nearly all texts are plain ones.
    return text if text.isascii() and "\0" not in text else _UNSTORABLE.sub("\ufffd", text)


class AnyText(TypeDecorator[str]):
    """Text that providers and users wrote, made `storable`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - not our signature
        """What is stored for ``value``."""
        return None if value is None else storable(value)


Ordered = AnyText().with_variant(Text(collation="C"), "postgresql")
"""Text that every database sorts by its code points, as Python does."""

_NAMES = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}

metadata = MetaData(naming_convention=_NAMES)

tasks = Table(
    "tasks",
    metadata,
    Column("name", Ordered, primary_key=True),
    Column("partition", Integer, nullable=False),
    # What was asked for. ``policy`` holds what differs from the defaults; the three JSON texts have sorted keys.
    Column("provider", AnyText, nullable=False),
    Column("operation", AnyText, nullable=False),
    Column("params", AnyText, nullable=False),
    Column("labels", AnyText, nullable=False),
    Column("policy", AnyText, nullable=False),
    Column("follow", Boolean, nullable=False),
    Column("source", AnyText, nullable=False),
    Column("family", AnyText),
    Column("owner", AnyText),
    Column("ttl", Double),
    Column("expires_at", Double),
    Column("unwatched_at", Double),
    # The watchlist's revision that this row was last changed by: see `watchlist`.
    Column("revision", BigInteger, nullable=False, server_default="0"),
    # What is known: `Status`.
    Column("first_seen_at", Double, nullable=False),
    Column("since", Double, nullable=False),
    Column("run_since", Double, nullable=False),
    Column("state", AnyText, nullable=False),
    Column("run", BigInteger, nullable=False),
    Column("run_id", AnyText),
    Column("transitions", BigInteger, nullable=False),
    Column("raw_status", AnyText),
    Column("progress", Double),
    Column("progress_moved_at", Double),
    Column("message", AnyText),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("duration", Double),
    Column("subtasks", AnyText),
    Column("overdue", Boolean, nullable=False),
    Column("stalled", Boolean, nullable=False),
    Column("unreachable", Boolean, nullable=False),
    Column("late", Boolean, nullable=False, server_default=false()),
    Column("awaited_since", Double),
    # How the asking went at ``saved_at``: `Contact`.
    Column("polls", BigInteger, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("last_polled_at", Double),
    Column("silent_since", Double),
    Column("unanswered_since", Double),
    Column("consecutive_failures", BigInteger, nullable=False),
    Column("failure_outcome", AnyText),
    Column("failure_at", Double),
    Column("failure_message", AnyText),
    Column("missing_polls", BigInteger, nullable=False),
    Column("missing_since", Double),
    Column("next_poll_at", Double),
    Column("expected_basis", AnyText),
    Column("expected_at", Double),
    Column("expected_low_at", Double),
    Column("expected_high_at", Double),
    Column("saved_at", Double, nullable=False),
    Index("ix_tasks_revision", "revision"),
)

transitions = Table(
    "transitions",
    metadata,
    # SQLite numbers rows by itself only in a column of the type INTEGER.
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("transition_id", AnyText, nullable=False, unique=True),
    Column("ordinal", BigInteger, nullable=False),
    Column("task", AnyText, nullable=False),
    Column("provider", AnyText, nullable=False),
    Column("operation", AnyText, nullable=False),
    Column("source", AnyText, nullable=False),
    Column("target", AnyText, nullable=False),
    Column("at", Double, nullable=False),
    Column("run", BigInteger, nullable=False),
    Column("raw_status", AnyText),
    Column("progress", Double),
    Column("message", AnyText),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("duration", Double),
    Column("request_id", AnyText),
    Column("initial", Boolean, nullable=False),
    Column("labels", AnyText),
    Column("told_at", Double),
    Index("ix_transitions_task_seq", "task", "seq"),
    Index("ix_transitions_at", "at"),
    sqlite_autoincrement=True,
)

# What forecasts learn from. ``marks`` are pairs of age and percent, as JSON.
runs = Table(
    "runs",
    metadata,
    Column("transition_id", AnyText, primary_key=True),
    Column("family", AnyText, nullable=False),
    Column("ended_at", Double, nullable=False),
    Column("duration", Double, nullable=False),
    Column("marks", AnyText, nullable=False),
    Index("ix_runs_ended_at", "ended_at"),
)

# With the id, and the newest first, so that the newest of a family are found in the index alone and without sorting.
Index("ix_runs_family_ended_at", runs.c.family, runs.c.ended_at.desc(), runs.c.transition_id.desc())

# What is untold is little, and is asked for among very much that is told.
Index(
    "ix_transitions_untold",
    transitions.c.seq,
    sqlite_where=transitions.c.told_at.is_(None),
    postgresql_where=transitions.c.told_at.is_(None),
)

# What is to expire is little, and is looked for often.
Index(
    "ix_tasks_expires_at",
    tasks.c.expires_at,
    sqlite_where=tasks.c.expires_at.is_not(None),
    postgresql_where=tasks.c.expires_at.is_not(None),
)

# What is watched no more is looked through for what is old enough to be forgotten.
Index(
    "ix_tasks_unwatched_at",
    tasks.c.unwatched_at,
    sqlite_where=tasks.c.unwatched_at.is_not(None),
    postgresql_where=tasks.c.unwatched_at.is_not(None),
)

# One row. Its revision grows with every change of the watchlist, in the change's own transaction, which locks it: so
# revisions become visible in their order, and who has read up to one has missed nothing before it.
watchlist = Table(
    "watchlist",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("revision", BigInteger, nullable=False),
)

# The outbox: events that are to go to sinks, or have gone. One that is neither delivered nor dead waits for ``due_at``;
# while the oldest of its task at its sink fails, those behind it are held back. ``held_since``: since when that is so.
deliveries = Table(
    "deliveries",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("sink", AnyText, nullable=False),
    Column("transition_id", AnyText, nullable=False),
    Column("task", AnyText, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("at", Double, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("held_since", Double),
    Column("tried_at", Double),
    Column("error", AnyText),
    Column("delivered_at", Double),
    Column("dead_at", Double),
    Index("ix_deliveries_sink_transition_id", "sink", "transition_id", unique=True),
    Index("ix_deliveries_at", "at"),
    sqlite_autoincrement=True,
)

WAITS = and_(deliveries.c.delivered_at.is_(None), deliveries.c.dead_at.is_(None))
"""Whether an event is yet to be delivered."""

# What waits and what went wrong is little among much that was delivered.
for _name, _columns, _some in (
    ("ix_deliveries_due", ("sink", "due_at"), WAITS),
    ("ix_deliveries_order", ("sink", "task", "seq"), WAITS),
    ("ix_deliveries_dead", ("sink", "seq"), deliveries.c.dead_at.is_not(None)),
    ("ix_deliveries_error", ("sink", "tried_at"), deliveries.c.error.is_not(None)),
):
    Index(_name, *(deliveries.c[column] for column in _columns), sqlite_where=_some, postgresql_where=_some)

# The live replicas; one that is not among them is dead, and what it holds is free. Times are the database's.
replicas = Table(
    "replicas",
    metadata,
    Column("id", AnyText, primary_key=True),
    Column("joined_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
)

# Who holds each partition. ``epoch`` grows whenever it is taken.
leases = Table(
    "leases",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("owner", AnyText),
    Column("epoch", BigInteger, nullable=False),
)

# What replicas must know of each other's connections: until when all pause, and which one may ask, alone.
connections = Table(
    "connections",
    metadata,
    Column("provider", AnyText, primary_key=True),
    Column("reason", AnyText),
    Column("paused_until", Double),
    Column("paused_by", AnyText),
    Column("prober", AnyText),
    Column("probing_until", Double),
)
