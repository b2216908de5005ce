"""How a job is started that must not be started twice: what to do next, after each answer. Pure.

A start is a list of the runs that there are, one request to start, and looks at the list until the run shows. What an
answer to the request means, and what is done then, is this table:

    answer         a look shows            next
    refused        -                       give up: nothing was started
    started        a new run               follow it
                   nothing new, often      follow the one that was under way before, else the latest, whichever it is
    under way      a run under way         follow it; it counts as started here after an uncertain answer, if it is new
                   only ended ones, often  follow the latest, whichever it is
    uncertain      a new run               follow it: it was started
                   nothing new, often      send the request again, at most `MOST_REQUESTS` times; then give up
                   not always readable     give up: nobody knows

The request is repeated on no other ground. That is safe with providers that let a job run once at a time: had a request
arrived after all, the next one would be told that a run is under way.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import takewhile

from poller.domain.observation import Observation, Outcome, Run
from poller.domain.state import State
from poller.domain.task import Entry

MOST_REQUESTS = 3
"""Requests that one start may cost."""

LOOK_DELAYS = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each look that follows a request: lists may lag behind what they list."""

_UNDER_WAY = frozenset({State.PENDING, State.RUNNING})


@dataclass(frozen=True, slots=True)
class Job:
    """What a request would start. ``key`` is the same for the same job of a connection.

    ``operation`` asks for one run of it, which ``param`` names.
    """

    key: str
    operation: str
    param: str

    def watches_latest(self, entry: Entry) -> bool:
        """Whether ``entry`` asks for the job's latest run, whichever it is."""
        return entry.operation != self.operation

    def run(self, entry: Entry, run_id: str) -> Entry:
        """``entry`` turned to one run of its job."""
        params: Mapping[str, str] = {**entry.params, self.param: run_id}
        return replace(entry, operation=self.operation, params=params, follow=False)


class Reply(StrEnum):
    """What an answer to a request to start means."""

    STARTED = "started"
    UNDER_WAY = "under way"
    REFUSED = "refused"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class Send:
    """Next: the request to start, once."""


@dataclass(frozen=True, slots=True)
class Look:
    """Next: the list of runs, after ``delay`` seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class Started:
    """The end: a run to follow. None stands for one that does not show in the list: the latest, whichever it is."""

    run_id: str | None
    already_running: bool
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The end without a run, in words. ``seen`` is the answer to blame; ``certain``: nothing was started."""

    text: str
    seen: Observation
    certain: bool


Next = Send | Look | Started | GaveUp


def reply_to(seen: Observation) -> Reply:
    """What ``seen``, which came of a request to start, means; specs tell a run under way as state running."""
    match seen.outcome:
        case Outcome.ANSWERED:
            return Reply.UNDER_WAY if seen.state is State.RUNNING else Reply.STARTED
        case Outcome.UNREACHABLE | Outcome.UNRECOGNIZED:
            return Reply.UNCERTAIN
    return Reply.REFUSED


@dataclass(frozen=True, slots=True)
class Starting:
    """A start as far as it has come. ``before`` are the runs that there were, ``shown`` those of the last look.

    ``replies`` are the answers to each request; ``looks`` and ``blind`` count the looks since the last one, those that
    could be read and those that could not.
    """

    before: tuple[Run, ...]
    replies: tuple[Observation, ...] = ()
    looks: int = 0
    blind: int = 0
    shown: tuple[Run, ...] = ()

    def sent(self, seen: Observation) -> "Starting":
        """After a request to start brought ``seen``."""
        return replace(self, replies=(*self.replies, seen), looks=0, blind=0)

    def looked(self, seen: Observation) -> "Starting":
        """After a look at the list brought ``seen``."""
        if seen.outcome is not Outcome.ANSWERED:
            return replace(self, blind=self.blind + 1)
        return replace(self, looks=self.looks + 1, shown=seen.runs)

    def next(self) -> Next:
        """What to do next."""
        if not self.replies:
            return Send()
        reply = reply_to(self.replies[-1])
        if reply is Reply.REFUSED:
            return self._refused()
        run = self._run(reply) if self.looks else None
        if run is not None:
            return self._follow(run.run_id, reply)
        if self.looks + self.blind < len(LOOK_DELAYS):
            return Look(LOOK_DELAYS[self.looks + self.blind])
        return self._unseen(reply)

    def _run(self, reply: Reply) -> Run | None:
        """The run that this start is about, if the list shows it."""
        fresh = self._fresh()
        if reply is Reply.UNDER_WAY:
            under_way = next((run for run in self.shown if run.state in _UNDER_WAY), None)
            return under_way or (fresh[-1] if fresh else None)
        # Where there are several, a later one was started by somebody else.
        return fresh[-1] if fresh else None

    def _fresh(self) -> list[Run]:
        """The runs that were not there before, newest first; below an old one all are old, on whatever page."""
        known = {run.run_id for run in self.before}
        return list(takewhile(lambda run: run.run_id not in known, self.shown))

    def _follow(self, run_id: str | None, reply: Reply) -> Started:
        fresh = run_id is None or run_id in {run.run_id for run in self._fresh()}
        ours = reply is not Reply.UNDER_WAY or (fresh and len(self.replies) > 1)
        return Started(run_id, not ours, self.replies[-1].request_id)

    def _unseen(self, reply: Reply) -> Next:
        """The run does not show, often as it was looked for."""
        if reply is Reply.UNDER_WAY:
            return self._follow(None, reply)
        if reply is Reply.STARTED:
            return self._still_under_way() or self._follow(None, reply)
        if self.blind:
            return self._gave_up("it is not known whether a run was started: the list of runs cannot be had either")
        if len(self.replies) < MOST_REQUESTS:
            return Send()
        return self._gave_up(f"no run shows after {MOST_REQUESTS} requests to start one")

    def _still_under_way(self) -> Started | None:
        """Some answers hold both a success and the code for a run under way: then the list shows that very run."""
        before = {run.run_id for run in self.before if run.state in _UNDER_WAY}
        run = next((run for run in self.shown if run.run_id in before and run.state in _UNDER_WAY), None)
        return Started(run.run_id, True, self.replies[-1].request_id) if run else None

    def _gave_up(self, text: str) -> GaveUp:
        seen = self.replies[-1]
        return GaveUp(f"{text}; the last answer: {seen.message}", seen, certain=False)

    def _refused(self) -> GaveUp:
        seen = self.replies[-1]
        nothing = "nothing was started" if len(self.replies) == 1 else "an earlier request shows no run"
        return GaveUp(
            f"the start was refused ({seen.outcome}: {seen.message}); {nothing}", seen, certain=len(self.replies) == 1
        )
