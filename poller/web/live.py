"""Open pages are told what has changed, over server-sent events (WHATWG HTML, section 9.2).

Those who have the same page open share one look at what is watched, at most one a second, and rarer where a look takes
long. Who has just come is told everything once: so nobody misses what happened between a page and its stream.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import anyio
import orjson

from poller.domain.errors import PollerError
from poller.web.eventstream import Event
from poller.web.pictures import Picture
from poller.web.rendering import Templates, printable
from poller.web.view import Row

MOST_VIEWERS = 50

LOOK_EVERY = 1.0
"""Seconds between two looks, at least."""
LOOK_ANYWAY = 10.0
"""Seconds after which to look again though no poll was made: time alone changes some things."""
_SHARE = 20.0
"""Looks at one page take at most one in so many parts of the time."""
_ROWS_PER_TURN = 10
"""So few that making them keeps the event loop for a millisecond or two."""

Look = Callable[[], Awaitable[Picture]]


class _Shared:
    """A look that is shared."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.picture: Picture | None = None
        self.changes: object = None
        self.began = self.cost = 0.0


class Live:
    """Follows pages for their viewers. ``changes`` stays equal while nothing changes but by time."""

    def __init__(self, templates: Templates, changes: Callable[[], object]) -> None:
        self._templates = templates
        self._changes = changes
        self._shared: OrderedDict[str, _Shared] = OrderedDict()

    async def follow(self, key: str, look: Look, root: str) -> AsyncGenerator[Event]:
        """Tells what changes on the page called ``key``, which ``look`` looks at. ``root`` leads from it to the first.

        An event ``page`` has what changed, ``trouble`` why the page cannot be looked at for the moment.
        """
        seen: Picture | None = None
        trouble = ""
        while True:
            try:
                picture = await self._look(key, look)
            except PollerError as error:
                if str(error) != trouble:
                    trouble = str(error)
                    yield Event(trouble, name="trouble")
            else:
                if picture is not seen or trouble:
                    message = await self._message(seen, picture, root)
                    if message or trouble:
                        yield Event(message or _frame(picture), name="page")
                    seen, trouble = picture, ""
            await anyio.sleep(LOOK_EVERY)

    async def _look(self, key: str, look: Look) -> Picture:
        shared = self._shared.setdefault(key, _Shared())
        self._shared.move_to_end(key)
        if len(self._shared) > MOST_VIEWERS:
            self._shared.popitem(last=False)
        async with shared.turn:
            if shared.picture is None or self._is_old(shared):
                began, changes = anyio.current_time(), self._changes()
                shared.picture = await look()
                shared.began, shared.changes, shared.cost = began, changes, anyio.current_time() - began
            return shared.picture

    def _is_old(self, shared: _Shared) -> bool:
        age = anyio.current_time() - shared.began
        if age < max(LOOK_EVERY * 0.9, _SHARE * shared.cost):
            return False
        return age >= LOOK_ANYWAY or self._changes() != shared.changes

    async def _message(self, before: Picture | None, after: Picture, root: str) -> str:
        """What is to be told to who has seen ``before``, as JSON; empty where nothing differs."""
        whole = ("", "")
        if before is None and whole in after.rendered:
            return after.rendered[whole]
        changed = await self._difference(before, after, root)
        message = _frame(after, changed) if changed else ""
        if before is None:
            after.rendered[whole] = message
        return message

    async def _difference(self, before: Picture | None, after: Picture, root: str) -> dict[str, Any]:
        """The parts, the rows and their order that differ from ``before``."""
        parts = {} if before is None else before.parts
        changed = {
            name: self._render(after, name, name, facts, root)
            for name, facts in after.parts.items()
            if name not in parts or parts[name] != facts
        }
        rows = {} if before is None else {row.name: row for row in before.rows}
        message: dict[str, Any] = {"parts": changed} if changed else {}
        if new := await self._rows([row for row in after.rows if rows.get(row.name) != row], after, root):
            message["rows"] = new
        order = [row.name for row in after.rows]
        if (after.rows and order != list(rows)) or (rows and not order):
            message["order"] = order
        return message

    async def _rows(self, rows: list[Row], picture: Picture, root: str) -> dict[str, str]:
        made = {}
        for number, row in enumerate(rows):
            made[row.name] = self._render(picture, "task", row.name, row, root)
            if number % _ROWS_PER_TURN == 0:
                await asyncio.sleep(0)
        return made

    def _render(self, picture: Picture, part: str, key: str, facts: object, root: str) -> str:
        """What is made of a part, once for all who look at the same picture."""
        made = picture.rendered.get((part, key))
        if made is None:
            made = picture.rendered[part, key] = self._templates.part(part, facts, root)
        return made


def _frame(picture: Picture, changed: dict[str, Any] | None = None) -> str:
    return orjson.dumps({"now": picture.now, "title": printable(picture.title), **(changed or {})}).decode()
