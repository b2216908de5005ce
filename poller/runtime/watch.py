"""One task being watched, while the daemon runs."""

from typing import TYPE_CHECKING

from poller.domain.lifecycle import run_began
from poller.domain.progress import Mark
from poller.domain.prospect import Prospect
from poller.domain.task import Task

if TYPE_CHECKING:
    from poller.runtime.lane import Lane


class Watch:
    """A task, the lane it is polled on, and its place in that lane's queue. Implements `poller.protocols.WatchedTask`.

    ``due`` is when its next poll is planned, on the loop's clock, None while none is; ``next_poll_at`` is the same in
    epoch seconds. When not all can go that are due, it may wait ``slack`` seconds longer, and goes ahead of all when
    its ``turn`` has come. ``ticket`` tells its valid place in the queue from those it left. A watch that is ``gone``
    was taken off the watchlist. ``lapse`` tells its valid place among those waiting for time to pass. ``told`` stands
    for what its last poll told, 0 before the first one. ``family`` is what its runs are runs of, ``marks`` are those of
    the progress of its run, ``prospect`` is when that will probably end, and from ``late_age`` on, in seconds, it is
    late.
    """

    __slots__ = (
        *("due", "family", "gone", "lane", "lapse", "late_age", "marks", "next_poll_at", "polling", "prospect"),
        *("slack", "task", "ticket", "told", "turn"),
    )

    def __init__(self, task: Task, lane: "Lane") -> None:
        self.task = task
        self.lane = lane
        self.due: float | None = None
        self.next_poll_at: float | None = None
        self.slack = 0.0
        self.turn = 0.0
        self.ticket = 0
        self.lapse = 0
        self.told = 0
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
