"""What one poll brought: an answer, or which kind of no answer."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import StrEnum

from poller.domain.explanation import Explanation
from poller.domain.state import State


class Outcome(StrEnum):
    """What came of a poll."""

    ANSWERED = "answered"
    MISSING = "missing"
    UNRECOGNIZED = "unrecognized"
    REJECTED = "rejected"
    UNREACHABLE = "unreachable"
    THROTTLED = "throttled"
    UNAUTHORIZED = "unauthorized"


_60_BITS = (1 << 60) - 1

TELLS_STATUS = frozenset({Outcome.ANSWERED, Outcome.MISSING})
"""The outcomes that tell about the task itself."""

REFUSALS = frozenset({Outcome.THROTTLED, Outcome.UNAUTHORIZED})
"""The outcomes that concern the connection, not this poll: its task is due again once the connection may be used."""

OPENS = TELLS_STATUS | {Outcome.UNRECOGNIZED, Outcome.REJECTED}
"""The outcomes that show a connection works: the provider read the request and replied to it."""


@dataclass(frozen=True, slots=True)
class Subtasks:
    """A task's parts: how many there are, how many have ended well, and the names of those that failed."""

    total: int
    done: int
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a job as its provider lists it; its state is None where the provider's status stands for none."""

    run_id: str
    state: State | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A poll that did not tell the task's status, kept to be shown."""

    outcome: Outcome
    at: float
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What one attempt brought. Times are epoch seconds, progress 0 to 100, ``retry_after`` seconds to wait as asked.

    ``state`` is set exactly when ``outcome`` is answered, but for `UNCHANGED`. ``run_id`` is whatever the provider
    changes from one run to the next. ``rule`` tells which rule of the spec decided, ``saw`` what that saw in it,
    ``code`` the provider's error code. ``again``: it is worth asking once more at once. ``credentials_version`` is that
    of the credentials that were refused. ``runs``, newest first, is what a list of runs brought. ``said`` stands for
    what the answer said, its request id left out: another one that says the same need not be read, it is
    ``unchanged``. ``explain`` tells all of it; it never raises, and holds on to the whole answer.
    """

    outcome: Outcome
    state: State | None = None
    raw_status: str | None = None
    progress: float | None = None
    message: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    duration: float | None = None
    subtasks: Subtasks | None = None
    run_id: str | None = None
    request_id: str | None = None
    retry_after: float | None = None
    http_status: int | None = None
    code: str | None = None
    rule: str | None = None
    saw: str | None = None
    again: bool = False
    credentials_version: int = 0
    runs: tuple[Run, ...] = ()
    said: int | None = field(default=None, compare=False, repr=False)
    unchanged: bool = False
    explain: Callable[[], Explanation] | None = field(default=None, compare=False, repr=False)


def fingerprint(facts: Hashable) -> int:
    """A number for ``facts``, this process' own, to tell whether they are others the next time.

    Of 60 bits: one of 61 takes half as much memory again, and some are kept for each of 100,000 tasks.
    """
    return hash(facts) & _60_BITS


UNCHANGED = Observation(Outcome.ANSWERED, unchanged=True)
"""An answer that says what the last one did: all that it tells is known."""
