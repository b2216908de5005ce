"""One task being watched, while the daemon runs."""

from typing import TYPE_CHECKING

from poller.domain.lifecycle import run_began
from poller.domain.progress import Mark
from poller.domain.prospect import ExpectedEnd, Prospect, expected_end
from poller.domain.shares import partition_of
from poller.domain.task import Task
from poller.protocols import Pulse, Saved, Stored

if TYPE_CHECKING:
    from poller.runtime.lane import Lane


class Watch:
    """A task, the lane it is polled on, and its place in that lane's queue. Implements `poller.protocols.WatchedTask`.

    ``due`` is when its next poll is planned, on the loop's clock, None while none is; ``next_poll_at`` is the same in
    epoch seconds. When not all can go that are due, it may wait ``slack`` seconds longer, and goes ahead of all when
    its ``turn`` has come. ``ticket`` tells its valid place in the queue from those it left. A watch that is ``gone``
    was taken off the watchlist. ``lapse`` tells its valid place among those waiting for time to pass. ``said`` stands
    for what its last answer said, None where that must be read again, and ``told`` for what people would say that its
    last poll told, 0 before the first one. ``family`` is what its runs are runs of, ``marks`` are those of the progress
    of its run, ``prospect`` is when that will probably end, and from ``late_age`` on, in seconds, it is late.
    ``partition`` is the one that it belongs to.
    """

    __slots__ = (
        *("due", "family", "gone", "lane", "lapse", "late_age", "marks", "next_poll_at", "partition", "polling"),
        *("prospect", "said", "slack", "task", "ticket", "told", "turn"),
    )

    def __init__(self, task: Task, lane: "Lane") -> None:
        self.task = task
        self.lane = lane
        self.partition = partition_of(task.entry.name)
        self.due: float | None = None
        self.next_poll_at: float | None = None
        self.slack = 0.0
        self.turn = 0.0
        self.ticket = 0
        self.lapse = 0
        self.told = 0
        self.said: int | None = None
        self.family = ""
        self.marks: tuple[Mark, ...] = ()
        self.prospect: Prospect | None = None
        self.late_age: float | None = None
        self.polling = False
        self.gone = False

    @property
    def run_began_at(self) -> float:
        """What the ages of its run count from, epoch seconds."""
        return run_began(self.task.status)

    @property
    def expected(self) -> ExpectedEnd | None:
        """When its run will probably end, as of its last poll; None where nothing is known, or nothing awaited."""
        return expected_end(self.task.status, self.prospect, self.run_began_at)

    def pulse(self) -> Pulse:
        """What ticks."""
        return Pulse(self.task.entry.name, self.task.contact, self.next_poll_at, self.expected)

    def stored(self, now: float) -> Stored:
        """The task as the store would have it ``now``."""
        entry, status, contact = self.task.entry, self.task.status, self.task.contact
        identity = (entry.name, entry.provider, entry.operation, entry.params)
        return Stored(entry, Saved(*identity, status, contact, now, self.next_poll_at), expected=self.expected)
