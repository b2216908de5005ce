"""Many rows at a time, and other coroutines in between."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import islice
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Dialect, Insert, Select, Update
from sqlalchemy.ext.asyncio import AsyncConnection

from poller.store.rows import Values
from poller.store.statements import reserve

T = TypeVar("T")

Reader = Callable[[Sequence[str]], Callable[[Sequence[Any]], T]]
"""Given the names of columns, gives what makes something of a row of them."""

ROWS_AT_A_TIME = 500
"""Rows made or read in one go, and then other coroutines have their turn: some 10 ms."""


def by_name(make: Callable[[Values], T]) -> Reader[T]:
    """The reader that has ``make`` make something of each row."""
    return lambda names: lambda row: make(dict(zip(names, row, strict=True)))


async def select(
    connection: AsyncConnection, query: Select[Any], reader: Reader[T], take: Callable[[Iterable[T]], None]
) -> None:
    """Lets ``take`` have what ``reader`` makes of every row that ``query`` finds, some at a time."""
    async with connection.stream(query) as result:
        read = reader(tuple(result.keys()))
        async for rows in result.partitions(ROWS_AT_A_TIME):
            take(map(read, rows))
            await asyncio.sleep(0)


async def select_rows(
    connection: AsyncConnection, query: Select[Any], take: Callable[[Iterable[Values]], None]
) -> None:
    """Lets ``take`` have every row that ``query`` finds, some at a time."""
    await select(connection, query, by_name(_itself), take)


async def execute_rows(connection: AsyncConnection, statement: Insert | Update, rows: Iterable[Values]) -> None:
    """Executes ``statement`` for every one of ``rows``, which are made as they are needed, of the same columns.

    They go to the driver as they are: SQLAlchemy would take longer for each of them than the database does.
    """
    remaining = iter(rows)
    while some := list(islice(remaining, ROWS_AT_A_TIME)):
        prepared = _prepared(statement, connection.dialect, tuple(some[0]))
        await connection.exec_driver_sql(prepared.text, [*map(prepared.arguments, some)])


async def lock_rows(connection: AsyncConnection, names: Iterable[str]) -> None:
    """Locks the tasks of these names in their order, so that nobody who does so waits for another in a circle.

    Whoever writes tasks in one pass, sorted by name, need not.
    """
    remaining = iter(sorted(names))
    while some := list(islice(remaining, ROWS_AT_A_TIME)):
        await connection.execute(reserve(some))


class _Prepared:
    """A statement as one driver wants it."""

    def __init__(self, statement: Insert | Update, dialect: Dialect, columns: tuple[str, ...]) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=columns)
        names = compiled.positiontup or ()
        processors = [compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect) for name in names]
        self.text = str(compiled)
        self._pick = itemgetter(*names)
        self._processors = [(place, each) for place, each in enumerate(processors) if each is not None]

    def arguments(self, row: Values) -> tuple[Any, ...]:
        """What ``row`` is to the driver."""
        values = list(self._pick(row))
        for place, process in self._processors:
            values[place] = process(values[place])
        return tuple(values)


_prepared = lru_cache(maxsize=64)(_Prepared)


def _itself(row: Values) -> Values:
    return row
