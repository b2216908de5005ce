"""What the store says to its database, built once. Only how an INSERT says "on conflict" belongs to the dialect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Delete, Select, Table, Update, and_, bindparam, delete, func, select, update

from poller.store.rows import CONTACT, IDENTITY, KNOWLEDGE, MANNER
from poller.store.schema import runs, tasks, transitions

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert as PostgresqlInsert
    from sqlalchemy.dialects.sqlite import Insert as SqliteInsert

    Insert = SqliteInsert | PostgresqlInsert

KEY = "key"
"""The parameter that says which row to update, where a column's own name stands for its new value."""


@dataclass(frozen=True, slots=True)
class Inserts:
    """Everything that begins with INSERT, for many rows at a time.

    ``begin_anew`` stores tasks as never seen before, whatever was stored under their names. ``save_change`` stores what
    became known of them, unless a name has come to mean another task since. ``add_transition`` and ``add_run`` leave
    alone what is stored already.
    """

    begin_anew: Insert
    save_change: Insert
    add_transition: Insert
    add_run: Insert


def inserts(insert: Callable[[Table], Insert]) -> Inserts:
    """The statements of the dialect that this is the INSERT of."""
    begin, change = insert(tasks), insert(tasks)
    return Inserts(
        begin.on_conflict_do_update(
            index_elements=[tasks.c.name],
            set_={column.name: begin.excluded[column.name] for column in tasks.columns if not column.primary_key},
        ),
        change.on_conflict_do_update(
            index_elements=[tasks.c.name],
            set_={name: change.excluded[name] for name in (*KNOWLEDGE, *CONTACT)},
            where=and_(*(tasks.c[name] == change.excluded[name] for name in IDENTITY)),
        ),
        insert(transitions).on_conflict_do_nothing(index_elements=[transitions.c.transition_id]),
        insert(runs).on_conflict_do_nothing(index_elements=[runs.c.transition_id]),
    )


def _set(table: Table, key: str, *names: str) -> Update:
    return update(table).where(table.c[key] == bindparam(KEY)).values({name: bindparam(name) for name in names})


WATCH = _set(tasks, "name", *MANNER, "unwatched_at")
UNWATCH = _set(tasks, "name", "unwatched_at")
SAVE_PULSE = _set(tasks, "name", *CONTACT, "next_poll_at")
MARK_TOLD = _set(transitions, "transition_id", "told_at").where(transitions.c.told_at.is_(None))

STORED = select(tasks)
WATCHED = select(tasks).where(tasks.c.unwatched_at.is_(None)).order_by(tasks.c.name)
UNTOLD = select(transitions).where(transitions.c.told_at.is_(None)).order_by(transitions.c.seq)


def newest(name: str | None, before: int | None, limit: int) -> Select[Any]:
    """``limit`` transitions, newest first; ``before`` is the number of the row that the page before ended with."""
    page = select(transitions).order_by(transitions.c.seq.desc()).limit(limit)
    if name is not None:
        page = page.where(transitions.c.task == name)
    if before is not None:
        page = page.where(transitions.c.seq < before)
    return page


def newest_runs(families: Sequence[str], limit: int) -> Select[Any]:
    """The newest ``limit`` runs of each of ``families``, oldest first."""
    newness = runs.c.ended_at.desc(), runs.c.transition_id.desc()
    rank = func.row_number().over(partition_by=runs.c.family, order_by=newness).label("rank")
    ranked = select(runs.c.transition_id, rank).where(runs.c.family.in_(families)).subquery()
    page = select(runs).join(ranked, ranked.c.transition_id == runs.c.transition_id).where(ranked.c.rank <= limit)
    return page.order_by(runs.c.ended_at, runs.c.transition_id)


def forget_transitions(before: float, limit: int) -> Delete:
    """Deletes ``limit`` of the transitions told and older than ``before``."""
    old = select(transitions.c.seq).where(transitions.c.at < before, transitions.c.told_at.is_not(None))
    return delete(transitions).where(transitions.c.seq.in_(old.order_by(transitions.c.at).limit(limit)))


def forget_tasks(before: float, limit: int) -> Delete:
    """Deletes ``limit`` of the tasks that nobody watches since before ``before``."""
    old = select(tasks.c.name).where(tasks.c.unwatched_at < before).limit(limit)
    return delete(tasks).where(tasks.c.name.in_(old))


def forget_runs(before: float, limit: int) -> Delete:
    """Deletes ``limit`` of the runs that ended before ``before``."""
    old = select(runs.c.transition_id).where(runs.c.ended_at < before).order_by(runs.c.ended_at).limit(limit)
    return delete(runs).where(runs.c.transition_id.in_(old))
