"""The errors of poller.

PollerError                 what the user is told, exit status 1
├── ConfigError             mistakes in config, specs or watchlist, all of them at once; exit status 2
└── StoreError              the store cannot be opened, read or written
    └── StoreLockedError    another daemon works on it
"""

from collections.abc import Iterable
from dataclasses import dataclass


class PollerError(Exception):
    """Something the user can act on; its text says what is wrong, where, and what to do."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in a file: where (line 0: the whole file), which key, what was found and what is allowed."""

    file: str
    line: int
    key: str
    text: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.key}: {self.text}" if self.key else f"{where}: {self.text}"


class ConfigError(PollerError):
    """Mistakes in the files; `problems` holds every one of them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(set(problems))
        super().__init__("\n".join(map(str, self.problems)))


class StoreError(PollerError):
    """The store cannot be opened, read or written."""


class StoreLockedError(StoreError):
    """Another daemon works on this store."""
