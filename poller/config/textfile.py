"""How a file of text is read: all of it or a reason, in words for people, why not."""

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

MIB = 1024 * 1024

Stamp: TypeAlias = tuple[int, ...]

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_REASONS = {
    errno.ENOENT: "does not exist",
    errno.ENOTDIR: "does not exist",
    errno.EISDIR: "a directory",
    errno.EACCES: "may not be read by this user",
    errno.EPERM: "may not be read by this user",
    errno.ELOOP: "a symbolic link that leads in circles",
    errno.ENAMETOOLONG: "a name longer than the system allows",
}


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a file cannot be used; ``line`` is 0 when no line of it is to blame."""

    text: str
    line: int = 0


def read_text(path: Path, limit: int) -> str | Unreadable:
    """The text of a UTF-8 file of at most ``limit`` bytes, without byte order mark. Raises nothing."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = b"" if size > limit else _read(file, limit)
    except (OSError, ValueError) as error:
        return Unreadable(f"{reason(error)}, a file that can be read is allowed")
    size = max(size, len(data))
    return decoded(data) if size <= limit else Unreadable(f"{_size(size)}, at most {_size(limit)} is allowed")


def decoded(data: bytes) -> str | Unreadable:
    """The text that ``data`` is in UTF-8, without byte order mark."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The offset counts from behind a byte order mark, which holds no line break.
        line = data.count(b"\n", 0, error.start) + 1
    return Unreadable("bytes that are not UTF-8, text in UTF-8 is allowed", line)


def reason(error: OSError | ValueError) -> str:
    """What ``error``, raised by opening or reading a file, says about that file."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None:
        return "a name no file can have"
    return _REASONS.get(number) or f"cannot be read ({os.strerror(number)})"


def stamp(found: os.stat_result) -> Stamp:
    """What changes when a file does, or when another takes its place, as in a Kubernetes volume."""
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev)


def holds_control(text: str) -> bool:
    """Whether ``text`` has control characters, or half a surrogate pair, which UTF-8 cannot carry."""
    # Nearly all text is printable, and that is quickly told.
    return not text.isprintable() and _CONTROL.search(text) is not None


def shown_name(name: str) -> str:
    """A file's name on one line, and in text that UTF-8 can carry."""
    return "".join(character if character.isprintable() else "?" for character in name)


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines of ``text`` with their numbers from 1, one at a time, so that a large text is not held twice."""
    number, start = 1, 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield number, text[start:end]
        number, start = number + 1, end + 1


def _read(file: BinaryIO, limit: int) -> bytes:
    """What is in ``file``, up to a little more than ``limit`` bytes, whatever a pipe or device says of its size."""
    data = bytearray()
    while len(data) <= limit and (chunk := file.read(MIB)):
        data += chunk
    return bytes(data)


def _size(count: int) -> str:
    return f"{-(-count // MIB)} MiB" if count >= MIB else f"{count} bytes"
