"""Many rows at a time, and other coroutines in between."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain, islice
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Dialect, Insert, Select, Update
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import AsyncConnection

from poller.store.rows import Values
from poller.store.statements import reserve

T = TypeVar("T")

Reader = Callable[[Sequence[str]], Callable[[Sequence[Any]], T]]
"""Given the names of columns, gives what makes something of a row of them."""

ROWS_AT_A_TIME = 500
"""Rows made or read in one go, and then other coroutines have their turn: some 10 ms."""
_TOGETHER = (ROWS_AT_A_TIME, 100, 20, 4, 1)
"""Rows of one execution: few sizes, for the driver keeps each statement. At 50 columns SQLite takes 650 of them."""


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
        if isinstance(connection.dialect, SQLiteDialect):
            await _execute_together(connection, prepared, some)
        else:
            await connection.exec_driver_sql(prepared.text, [*map(prepared.arguments, some)])


async def _execute_together(connection: AsyncConnection, prepared: "_Prepared", rows: Sequence[Values]) -> None:
    """Executes the statement for many ``rows`` at a time.

    SQLite's driver lets go of the interpreter and waits to get it back for each execution. With an event loop that has
    a lot to do that is 5 ms each time, and for thousands of rows half a minute.
    """
    start = 0
    while start < len(rows):
        count = next(size for size in _TOGETHER if size <= len(rows) - start)
        some = [prepared.arguments(row) for row in rows[start : start + count]]
        await connection.exec_driver_sql(prepared.text_for(count), tuple(chain.from_iterable(some)))
        start += count


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
        self._texts = {1: self.text}
        self._columns = len(names)
        self._pick = itemgetter(*names)
        self._processors = [(place, each) for place, each in enumerate(processors) if each is not None]

    def arguments(self, row: Values) -> tuple[Any, ...]:
        """What ``row`` is to the driver. StatementError for a value that is of another type than its column."""
        values = list(self._pick(row))
        try:
            for place, process in self._processors:
                values[place] = process(values[place])
        except (TypeError, ValueError, AttributeError) as error:
            raise StatementError("a value does not fit", self.text, None, error, hide_parameters=True) from error
        return tuple(values)

    def text_for(self, rows: int) -> str:
        """The same for so many rows at once, with ``?`` for each argument: an INSERT of one row, or an UPDATE of it."""
        if rows not in self._texts:
            row = f"({', '.join('?' * self._columns)})"
            together = ", ".join([row] * rows)
            if row in self.text:
                self._texts[rows] = self.text.replace(row, together)
            else:
                # Since SQLite 3.33: https://www.sqlite.org/lang_update.html#update_from
                parts = self.text.split("?")
                named = "".join(f"{part}given.column{number}" for number, part in enumerate(parts[:-1], 1)) + parts[-1]
                self._texts[rows] = named.replace(" WHERE ", f" FROM (VALUES {together}) AS given WHERE ", 1)
        return self._texts[rows]


_prepared = lru_cache(maxsize=64)(_Prepared)


def _itself(row: Values) -> Values:
    return row
