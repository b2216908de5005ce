"""A secret: a value that can be asked for, and shows itself nowhere else."""

import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from poller.config.textfile import Stamp, reason, stamp

LARGEST_SECRET = 64 * 1024
"""Bytes of a secret's file."""

_SHOWN = "Secret(…)"
_BLANKS = " \t\r\n"
_VARIABLE = re.compile(r"\$(?:(\w+)|\{([^{}]*)\})", re.ASCII)


class _UnusableError(Exception):
    """Why a secret cannot be had, in words that do not quote it."""


class Secret:
    """A secret from the config itself, the environment or a file; blanks and line breaks around it do not count.

    A file is looked at with every `reveal` and read again when it has changed; the environment is read once. Whatever
    shows, formats or serializes other values shows nothing of this one. Two are equal when they come from the same
    place and have the same value.
    """

    __slots__ = ("_missing", "_origin", "_path", "_stamp", "_value", "_version")

    def __init__(self, origin: tuple[str, ...], value: str | None, missing: str | None = None) -> None:
        self._origin = origin
        self._value = value
        self._missing = missing
        self._path: Path | None = None
        self._stamp: Stamp | None = None
        self._version = 0

    @classmethod
    def literal(cls, text: str) -> "Secret":
        """The secret ``text`` itself."""
        value = text.strip(_BLANKS)
        return cls(("literal",), value or None, None if value else "empty, text is allowed")

    @classmethod
    def from_env(cls, name: str, env: Mapping[str, str], optional: bool = False) -> "Secret":
        """The value that the environment variable ``name`` has now in ``env``."""
        value = env.get(name, "").strip(_BLANKS)
        state = "empty" if name in env else "not set"
        missing = f"environment variable {name} is {state}, one that holds the secret is allowed"
        return cls(("env", name), value or None, None if value or optional else missing)

    @classmethod
    def from_file(cls, name: str, folder: Path, env: Mapping[str, str], optional: bool = False) -> "Secret":
        """The content of the file ``name``, relative to ``folder``; each ``$VAR`` in it is looked up in ``env`` now."""
        secret = cls(("file", name, str(folder)), None)
        try:
            secret._path = folder / _expanded(name, env)
            secret._refresh(secret._path)
        except _UnusableError as error:
            secret._missing = None if optional else f"file {name!r}: {error}, a file that holds the secret is allowed"
        return secret

    @property
    def source(self) -> str:
        """Where it comes from, in words: ``environment variable NAME``, ``file NAME``, ``the config file``."""
        kind, *names = self._origin
        return {"env": "environment variable ", "file": "file "}[kind] + names[0] if names else "the config file"

    @property
    def missing(self) -> str | None:
        """Why the secret could not be had when the config was loaded; None when it could, or when it is optional."""
        return self._missing

    @property
    def version(self) -> int:
        """How often `reveal` has come upon another value than before."""
        return self._version

    def reveal(self) -> str | None:
        """The secret as it is now; None when there is none. While a file gives none, its last one stands."""
        if self._path is not None:
            before = self._value
            with suppress(_UnusableError):
                self._refresh(self._path)
            self._version += self._value != before
        return self._value

    def _refresh(self, path: Path) -> None:
        """Read the file if it has changed; raise _UnusableError, and keep what is known, when that gives nothing."""
        try:
            now = _regular(path)
            if now == self._stamp:
                return
            # The stamp is from before the reading: what changes meanwhile is read again next time.
            self._value = _read(path)
        except (OSError, ValueError) as error:
            raise _UnusableError(reason(error)) from None
        self._stamp = now

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self._origin, self._value) == (other._origin, other._value)

    def __hash__(self) -> int:
        return hash(self._origin)

    def __repr__(self) -> str:
        return _SHOWN

    def __format__(self, spec: str) -> str:
        return format(_SHOWN, spec)

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: object) -> "Secret":
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is never pickled")


def _expanded(name: str, env: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        variable = match[1] or match[2]
        if not env.get(variable):
            raise _UnusableError(f"environment variable {variable!r} in its path is not set")
        return env[variable]

    return _VARIABLE.sub(value, name)


def _regular(path: Path) -> Stamp:
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise _UnusableError("a directory")
    # Opening a pipe could wait for ever.
    if not stat.S_ISREG(found.st_mode):
        raise _UnusableError("not a regular file")
    return stamp(found)


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(LARGEST_SECRET + 1)
    if len(data) > LARGEST_SECRET:
        raise _UnusableError(f"larger than {LARGEST_SECRET} bytes")
    try:
        value = data.decode("utf-8-sig").strip(_BLANKS)
    except UnicodeDecodeError:
        # Its text would quote the bytes.
        raise _UnusableError("not UTF-8 text") from None
    if not value:
        raise _UnusableError("empty")
    return value
