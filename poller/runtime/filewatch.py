"""Notices when files change: written, however slowly, or replaced, or behind a symlink that was swapped."""

import os
import stat as file_kinds
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import anyio
import structlog
from watchfiles import awatch

SETTLE_SECONDS = 0.3
"""How long files must stay as they are before a change counts as done."""

LONGEST_SETTLING = 30.0
"""Seconds after which files that never rest are taken as they are."""

LOOK_EVERY_MS = 5_000
"""Milliseconds after which the files are looked at though nothing was noticed: some file systems tell nothing."""

_RETRY_SECONDS = 5.0

Sources = Callable[[], tuple[Iterable[Path], Iterable[Path]]]
"""The files to watch, and the folders in which any file may come or go."""

Stamp = frozenset[tuple[str, int, int, int, int]]


def stamp(sources: Sources) -> Stamp:
    """What is another one when a file was written, replaced, added or removed, also behind a symlink."""
    files, folders = sources()
    inside = (path for folder in folders for path in _listed(folder))
    return frozenset(seen for path in (*files, *inside) if (seen := _stamp(path)))


async def changes(sources: Sources, last: Stamp, logger: structlog.typing.FilteringBoundLogger) -> AsyncIterator[None]:
    """Yields each time the files are no longer as they were (``last``, at first) and have come to rest.

    ``sources`` is asked anew each time, since what was read tells what to watch.
    """
    while True:
        try:
            await _until_noticed(sources)
        except OSError as error:
            logger.warning("config.not_watched", error=str(error))
            await anyio.sleep(_RETRY_SECONDS)
        now = stamp(sources)
        if now != last:
            await _settle(sources, now)
            yield
            last = stamp(sources)


async def _until_noticed(sources: Sources) -> None:
    files, folders = sources()
    watched = {path.parent for path in files} | set(folders)
    noticed = awatch(
        *watched,
        watch_filter=None,
        recursive=False,
        debounce=200,
        step=50,
        rust_timeout=LOOK_EVERY_MS,
        yield_on_timeout=True,
    )
    async for _ in noticed:
        return


async def _settle(sources: Sources, seen: Stamp) -> None:
    with anyio.move_on_after(LONGEST_SETTLING):
        while True:
            await anyio.sleep(SETTLE_SECONDS)
            before, seen = seen, stamp(sources)
            if seen == before:
                return


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _stamp(path: Path) -> tuple[str, int, int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - follows symlinks, and so does what is read
    except OSError:
        return None
    if not file_kinds.S_ISREG(found.st_mode):
        return None
    return str(path), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
