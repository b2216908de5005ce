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


def since(before: Stamp, now: Stamp) -> Stamp:
    """What tells changes since ``before`` of the files that are watched ``now``; of new ones, changes from now on."""
    known = {seen[0]: seen for seen in before}
    return frozenset(known.get(seen[0], seen) for seen in now)


async def changes(sources: Sources, known: Callable[[], Stamp]) -> AsyncIterator[None]:
    """Yields each time the files are no longer as they are ``known`` and have come to rest.

    Both are asked anew each time: what was read tells what to watch, and whoever reads, on whatever account, knows what
    he reads. A stamp that is taken before reading never stands for what was not read.
    """
    while True:
        await anyio.sleep(LOOK_SECONDS)
        now = stamp(sources)
        if now != known() and await _settle(sources, now) != known():
            yield


async def _settle(sources: Sources, seen: Stamp) -> Stamp:
    """Waits until the files rest; their stamp."""
    with anyio.move_on_after(LONGEST_SETTLING):
        while True:
            await anyio.sleep(SETTLE_SECONDS)
            before, seen = seen, stamp(sources)
            if seen == before:
                break
    return seen


def _stamp(path: str) -> tuple[str, int, int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - follows symlinks, and so does what is read
    except OSError:
        return None
    if not S_ISREG(found.st_mode):
        return None
    return path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
