"""Notices when files change: written, however slowly, or replaced, or behind a symlink that was swapped."""

import glob
import os
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from stat import S_ISREG

import anyio

SETTLE_SECONDS = 0.3
"""How long files must stay as they are before a change counts as done."""

LONGEST_SETTLING = 30.0
"""Seconds after which files that never rest are taken as they are."""

LOOK_SECONDS = 1.0
"""Seconds between two looks. Looking costs little, and works on file systems that tell nothing of changes."""

Sources = Callable[[], tuple[Iterable[Path], Iterable[str]]]
"""The files to watch, and patterns of files that may come or go (`glob`)."""

Stamp = frozenset[tuple[str, int, int, int, int]]


def stamp(sources: Sources) -> Stamp:
    """What is another one when a file was written, replaced, added or removed, also behind a symlink."""
    files, patterns = sources()
    # Not Path.glob, which would find hidden files, and so each file of a Kubernetes volume several times.
    matching = (path for pattern in patterns for path in glob.glob(pattern, recursive=True))  # noqa: PTH207
    return frozenset(seen for path in (*map(str, files), *matching) if (seen := _stamp(path)))


async def changes(sources: Sources, last: Stamp) -> AsyncIterator[None]:
    """Yields each time the files are no longer as they were (``last``, at first) and have come to rest.

    ``sources`` is asked anew each time, since what was read tells what to watch.
    """
    while True:
        await anyio.sleep(LOOK_SECONDS)
        now = stamp(sources)
        if now != last:
            await _settle(sources, now)
            yield
            last = stamp(sources)


async def _settle(sources: Sources, seen: Stamp) -> None:
    with anyio.move_on_after(LONGEST_SETTLING):
        while True:
            await anyio.sleep(SETTLE_SECONDS)
            before, seen = seen, stamp(sources)
            if seen == before:
                return


def _stamp(path: str) -> tuple[str, int, int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - follows symlinks, and so does what is read
    except OSError:
        return None
    if not S_ISREG(found.st_mode):
        return None
    return path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
