"""What the store says to its database, built once. Only how an INSERT says "on conflict" belongs to the dialect."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Delete,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    delete,
    func,
    or_,
    select,
    tuple_,
    update,
)

from poller.domain.events import Sought
from poller.domain.place import Place
from poller.domain.state import TERMINAL
from poller.store.rows import CONTACT, EXPECTED, IDENTITY, KNOWLEDGE, MANNER, json_object
from poller.store.schema import runs, storable, tasks, transitions, watchlist

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
    became known of them, unless a name has come to mean another task since, or the same one watched anew.
    ``add_transition`` and ``add_run`` leave alone what is stored already.
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
            where=and_(*(tasks.c[name] == change.excluded[name] for name in (*IDENTITY, "first_seen_at"))),
        ),
        insert(transitions).on_conflict_do_nothing(index_elements=[transitions.c.transition_id]),
        insert(runs).on_conflict_do_nothing(index_elements=[runs.c.transition_id]),
    )


def _set(table: Table, key: str, *names: str) -> Update:
    return update(table).where(table.c[key] == bindparam(KEY)).values({name: bindparam(name) for name in names})


WATCH = _set(tasks, "name", *MANNER, "unwatched_at", "expires_at", "revision")
UNWATCH = _set(tasks, "name", "unwatched_at", "revision")
PROLONG = _set(tasks, "name", "expires_at")
SAVE_PULSE = _set(tasks, "name", *CONTACT, *EXPECTED, "next_poll_at")
MARK_TOLD = _set(transitions, "transition_id", "told_at").where(transitions.c.told_at.is_(None))

_WATCHED = select(tasks).where(tasks.c.unwatched_at.is_(None))
WATCHED = _WATCHED.order_by(tasks.c.name)
_IS_END = transitions.c.target.in_(sorted(TERMINAL))

REVISION = select(watchlist.c.revision)
TAKE_REVISION = REVISION.with_for_update()
ENTRIES = select(*(tasks.c[name] for name in ("name", *IDENTITY, *MANNER, "unwatched_at")))
"""What tells which tasks are watched, and how."""


def set_revision(revision: int) -> Update:
    """The watchlist is at ``revision`` now."""
    return update(watchlist).values(revision=revision)


def named(names: Sequence[str]) -> Select[Any]:
    """The tasks of these names, watched or not."""
    return select(tasks).where(tasks.c.name.in_(names))


def reserve(names: Sequence[str]) -> Select[Any]:
    """Locks the tasks of these names, one after the other, until the transaction ends."""
    return select(tasks.c.name).where(tasks.c.name.in_(names)).order_by(tasks.c.name).with_for_update(key_share=True)


def changed(since: int, partitions: Collection[int] | None) -> Select[Any]:
    """The tasks in ``partitions`` whose place on the watchlist changed after ``since``; those watched if that is 0."""
    rows = select(tasks).where(tasks.c.revision > since if since else tasks.c.unwatched_at.is_(None))
    return rows if partitions is None else rows.where(tasks.c.partition.in_(partitions))


def behind(some: Select[Any], after: str, limit: int) -> Select[Any]:
    """``limit`` of ``some`` tasks, by name, from behind ``after`` on."""
    return some.where(tasks.c.name > after).order_by(tasks.c.name).limit(limit)


def page_of_tasks(after: str, limit: int) -> Select[Any]:
    """``limit`` of the tasks that are watched, by name, from behind ``after`` on."""
    return behind(_WATCHED, after, limit)


def expired(now: float) -> Select[Any]:
    """The names of tasks whose time on the watchlist is over ``now``."""
    return select(tasks.c.name).where(tasks.c.expires_at <= now, tasks.c.unwatched_at.is_(None))


def untold(partitions: Collection[int] | None) -> Select[Any]:
    """The transitions, oldest first, that were not marked as told; all, or those of tasks in ``partitions``."""
    rows = select(transitions).where(transitions.c.told_at.is_(None)).order_by(transitions.c.seq)
    if partitions is None:
        return rows
    return rows.join(tasks, tasks.c.name == transitions.c.task).where(tasks.c.partition.in_(partitions))


def newest(
    name: str | None, rows: tuple[int | None, int | None], limit: int, ends: bool, sought: Sought
) -> Select[Any]:
    """``limit`` transitions, newest first, numbered from the first of ``rows`` on up to below the second.

    With ``ends`` only those with which a run ended.
    """
    first, before = rows
    page = select(transitions).order_by(transitions.c.seq.desc()).limit(limit).where(*_conditions(sought))
    if ends:
        page = page.where(_IS_END)
    if name is not None:
        page = page.where(transitions.c.task == name)
    if first is not None:
        page = page.where(transitions.c.seq >= first)
    if before is not None:
        page = page.where(transitions.c.seq < before)
    return page


def far_back(name: str | None, before: int | None, rows: int) -> Select[Any]:
    """The number of the transition that so many ``rows`` are above, up to below ``before``."""
    row = select(transitions.c.seq).order_by(transitions.c.seq.desc()).offset(rows).limit(1)
    if name is not None:
        row = row.where(transitions.c.task == name)
    return row if before is None else row.where(transitions.c.seq < before)


def _conditions(sought: Sought) -> Iterator[ColumnElement[bool]]:
    kinds = (
        (transitions.c.task, sought.tasks),
        (transitions.c.target, sought.states),
        (transitions.c.provider, sought.providers),
        (transitions.c.operation, sought.operations),
    )
    yield from (column.in_(sorted(storable(each) for each in some)) for column, some in kinds if some)
    for key, value in sought.labels:
        # In the text of an object, whose quotes are escaped where they are no ends of text; LIKE would ignore case.
        pair = json_object({key: value})[1:-1]
        yield or_(*(func.replace(transitions.c.labels, edge + pair, "") != transitions.c.labels for edge in "{,"))
    if sought.since is not None:
        yield transitions.c.at >= sought.since
    if sought.until is not None:
        yield transitions.c.at < sought.until


def oldest(after: tuple[float, int], limit: int, ends: bool) -> Select[Any]:
    """``limit`` transitions, oldest first, from behind the time and number of the row that the page before ended with.

    With ``ends`` only those with which a run ended.
    """
    place = transitions.c.at, transitions.c.seq
    page = select(transitions).where(tuple_(*place) > tuple_(*after)).order_by(*place).limit(limit)
    return page.where(_IS_END) if ends else page


NEWEST = select(transitions.c.seq, transitions.c.transition_id).order_by(transitions.c.seq.desc()).limit(1)
FIRST = select(func.min(transitions.c.seq).label("seq"))


def numbered(number: int) -> Select[Any]:
    """The id of the transition that has this number."""
    return select(transitions.c.transition_id).where(transitions.c.seq == number)


def holes(floor: int, top: int) -> Select[Any]:
    """The numbers above ``floor``, up to ``top``, that have a number missing just below, and the last one before."""
    before = func.lag(transitions.c.seq, 1, floor).over(order_by=transitions.c.seq).label("before")
    rows = select(transitions.c.seq, before).where(transitions.c.seq > floor, transitions.c.seq <= top).subquery()
    return select(rows).where(rows.c.seq - rows.c.before > 1).order_by(rows.c.seq)


def unseen(place: Place, limit: int) -> Select[Any]:
    """``limit`` transitions that were not seen from ``place``, lowest number first."""
    number = transitions.c.seq
    new = or_(number > place.last, *(number.between(gap.first, gap.last) for gap in place.gaps))
    # Said apart, so that no database begins to look at the first row.
    lowest = place.gaps[0].first if place.gaps else place.last + 1
    return select(transitions).where(number >= lowest, new).order_by(number).limit(limit)


FAMILIES_WITH_RUNS = select(runs.c.family).distinct()
"""The families of which a run has ended."""


def newest_runs(families: Sequence[str], limit: int) -> Select[Any]:
    """The newest ``limit`` runs of each of ``families``, oldest first."""
    newness = runs.c.ended_at.desc(), runs.c.transition_id.desc()
    rank = func.row_number().over(partition_by=runs.c.family, order_by=newness).label("rank")
    ranked = select(runs.c.transition_id, rank).where(runs.c.family.in_(families)).subquery()
    page = select(runs).join(ranked, ranked.c.transition_id == runs.c.transition_id).where(ranked.c.rank <= limit)
    return page.order_by(runs.c.ended_at, runs.c.transition_id)


def forget_transitions(before: float, limit: int) -> Delete:
    """Deletes ``limit`` of the transitions told and older than ``before``."""
    is_old = and_(transitions.c.at < before, transitions.c.told_at.is_not(None))
    return forget(transitions.c.seq, is_old, transitions.c.at, limit)


def forget_tasks(before: float, limit: int) -> Delete:
    """Deletes ``limit`` of the tasks that nobody watches since before ``before``, if all of them was told.

    By the task goes which replica tells its transitions.
    """
    untold = select(transitions.c.task).where(transitions.c.told_at.is_(None))
    is_old = and_(tasks.c.unwatched_at < before, tasks.c.name.not_in(untold))
    return forget(tasks.c.name, is_old, tasks.c.unwatched_at, limit)


def forget_runs(before: float, limit: int) -> Delete:
    """Deletes ``limit`` of the runs that ended before ``before``."""
    return forget(runs.c.transition_id, runs.c.ended_at < before, runs.c.ended_at, limit)


def forget(key: Column[Any], is_old: ColumnElement[bool], age: Column[Any], limit: int) -> Delete:
    """Deletes the ``limit`` oldest rows; those that another replica is at are left to it."""
    old = select(key).where(is_old).order_by(age).limit(limit).with_for_update(skip_locked=True)
    return delete(key.table).where(key.in_(old))
