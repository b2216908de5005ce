"""What the store says to its database, built once; only how an INSERT says "on conflict" is the dialect's own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Delete, Select, Table, Update, bindparam, delete, select, update
from sqlalchemy.dialects.postgresql import Insert as PostgresqlInsert
from sqlalchemy.dialects.sqlite import Insert as SqliteInsert

from poller.store.rows import CONTACT, IDENTITY, KNOWLEDGE, MANNER
from poller.store.schema import tasks, transitions

Insert = PostgresqlInsert | SqliteInsert

KEY = "key"
"""The parameter that says which row, where the column's own name stands for the new value."""


@dataclass(frozen=True, slots=True)
class Statements:
    """The writes of one dialect, all of them meant for many rows at a time."""

    begin_anew: Insert
    save_change: Insert
    add_transition: Insert


def statements(insert: Callable[[Table], Insert]) -> Statements:
    """The statements of the dialect whose INSERT this is."""
    return Statements(_begin_anew(insert), _save_change(insert), _add_transition(insert))


def _begin_anew(insert: Callable[[Table], Insert]) -> Insert:
    """Stores a task as one never seen before, whatever was stored under its name."""
    statement = insert(tasks)
    every = {column.name: statement.excluded[column.name] for column in tasks.columns if not column.primary_key}
    return statement.on_conflict_do_update(index_elements=[tasks.c.name], set_=every)


def _save_change(insert: Callable[[Table], Insert]) -> Insert:
    """Stores what became known of a task, unless its name has come to mean another one since the poll was sent."""
    statement = insert(tasks)
    return statement.on_conflict_do_update(
        index_elements=[tasks.c.name],
        set_={name: statement.excluded[name] for name in (*KNOWLEDGE, *CONTACT)},
        where=_all_equal(statement, IDENTITY),
    )


def _all_equal(statement: Insert, names: tuple[str, ...]) -> ColumnElement[bool]:
    ...
