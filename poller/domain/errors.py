"""The errors of poller.

PollerError                 what the user is told, exit status 1
├── ConfigError             mistakes in config, specs or watchlist, all of them at once; exit status 2
├── NoSuchTaskError         nothing of that name is watched
├── NoSuchSinkError         no sink of that name is in the config
├── WatchlistError          a change of the watchlist is refused, and nothing of it was done
├── NoDaemonError           a command got no answer from a running daemon; later it may
├── StartError              a job was not started, or nobody knows whether it was
│   ├── UnstartableError    its provider cannot start such jobs
│   └── StoppingError       not now: the daemon is about to end
└── StoreError              the store cannot be opened, read or written
    ├── StoreLockedError    another daemon works on it
    └── StoreBusyError      another replica is at the same thing, and takes its time
"""

from collections.abc import Iterable
from dataclasses import dataclass

from poller.domain.observation import Observation


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


class NoSuchTaskError(PollerError):
    """No task of this name is known."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no task {name!r} is known")
        self.name = name


class NoSuchSinkError(PollerError):
    """No sink of this name is in the config."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no sink {name!r} is in the config")
        self.name = name


class WatchlistError(PollerError):
    """A change of the watchlist is refused, and nothing of it was done; ``tasks`` are the names it fails for."""

    def __init__(self, text: str, tasks: Iterable[str]) -> None:
        super().__init__(text)
        self.tasks = tuple(tasks)


class NoDaemonError(PollerError):
    """No daemon answers where a command looks for one, or not yet."""


class StartError(PollerError):
    """A job was not started, or nobody knows whether it was; ``seen`` is the provider's last answer, if any."""

    def __init__(self, text: str, seen: Observation | None = None) -> None:
        super().__init__(text)
        self.seen = seen


class UnstartableError(StartError):
    """The provider has no request that starts such a job."""


class StoppingError(StartError):
    """The daemon is about to end: it starts nothing more."""


class StoreError(PollerError):
    """The store cannot be opened, read or written."""


class StoreBusyError(StoreError):
    """Another replica writes what was to be written, and is not ready yet: later it can be."""


class StoreLockedError(StoreError):
    """Another daemon works on this store."""
