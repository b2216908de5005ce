"""A sink that is a file: one event a line, in JSON. Whole lines only, whatever happens.

The file is opened anew for every write, so it may be moved away at any time, as logrotate does. A line that a power cut
or a full disk left unfinished is taken back before the next one is written: its event was not taken for delivered, and
comes again.
"""

import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import anyio
import orjson

from poller.domain.delivery import Answer
from poller.domain.events import Transition
from poller.emit.envelope import BEGINNING, TRANSITION, event

LINES_AT_A_TIME = 200
"""Events that are written, and forced to the disk, at once."""
_LONGEST_LINE = 1_048_576
"""Bytes that are looked through for the beginning of an unfinished line; no event comes near."""


class EventFile:
    """Implements `poller.protocols.Sink`; ``path`` is absolute. ``kind`` is the type of the events."""

    batch = LINES_AT_A_TIME
    parallel = 1

    def __init__(self, path: Path, kind: str = TRANSITION) -> None:
        self._path = path
        self._kind = kind

    async def deliver(self, transitions: Sequence[Transition]) -> Answer:
        """Appends a line for each transition, all or none, and waits until the disk has them."""
        lines = b"".join(event(each, self._kind) + b"\n" for each in transitions)
        try:
            # A disk that hangs must keep nobody from stopping.
            await anyio.to_thread.run_sync(append, self._path, lines, abandon_on_cancel=True)
        except OSError as error:
            return Answer(f"{self._path}: {os.strerror(error.errno or 0)}", whole=True)
        return Answer()


def append(path: Path, lines: bytes) -> None:
    """Appends whole lines, all or none, and forces them to the disk. OSError, and the file is as it was before."""
    opened = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        # Another process may be at it: `poller sinks test`.
        fcntl.flock(opened, fcntl.LOCK_EX)
        size = _mended(opened)
        try:
            _write(opened, lines)
            os.fsync(opened)
        except OSError:
            with suppress(OSError):
                os.ftruncate(opened, size)
            raise
    finally:
        os.close(opened)


def _write(opened: int, lines: bytes) -> None:
    rest = memoryview(lines)
    while rest:
        rest = rest[os.write(opened, rest) :]


def _mended(opened: int) -> int:
    """Makes the file end with a whole line; its size. What is no unfinished event of ours is left, and ended."""
    size = os.fstat(opened).st_size
    tail = os.pread(opened, _LONGEST_LINE, max(0, size - _LONGEST_LINE))
    torn = tail[tail.rfind(b"\n") + 1 :]
    if not torn:
        return size
    if _is_unfinished(torn):
        os.ftruncate(opened, size - len(torn))
        return size - len(torn)
    return size + os.write(opened, b"\n")


def _is_unfinished(line: bytes) -> bool:
    """Whether it is the beginning of an event, and no more."""
    if not (line.startswith(BEGINNING) or BEGINNING.startswith(line)):
        return False
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return True
    return False
