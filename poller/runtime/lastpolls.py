"""What the last polls of each task brought, as far as they changed something: for people who ask why.

In memory, and bounded: so many for each task, and so many bytes for all of them, of which the oldest leave first.
"""

import sys
from collections import OrderedDict
from collections.abc import Sequence
from itertools import count

from poller.domain.observation import Observation, fingerprint
from poller.domain.task import Task
from poller.protocols import PollRecord
from poller.runtime.watch import Watch

PER_TASK = 10
MOST_BYTES = 16 * 1024 * 1024
_OVERHEAD = 600
"""Bytes of a record beside its texts, measured: the record, its places in both indexes, and a task's share of these."""


class LastPolls:
    """The last polls that changed something."""

    def __init__(self, per_task: int = PER_TASK, most_bytes: int = MOST_BYTES) -> None:
        self._per_task = per_task
        self._most_bytes = most_bytes
        self._bytes = 0
        self._numbers = count()
        # By a number that grows, the oldest first; and the numbers of each task's, in the same order.
        self._records: OrderedDict[int, tuple[str, PollRecord]] = OrderedDict()
        self._of: dict[str, list[int]] = {}

    def note(self, watch: Watch, seen: Observation, now: float) -> None:
        """Keeps what a poll brought, if that is not what the one before brought; ``watch`` is as it is after it.

        Progress alone is no change, nor are times. Only what is kept is explained.
        """
        told = _fingerprint(watch.task, seen)
        if told != watch.told:
            watch.told = told
            self._keep(watch.task.entry.name, _record(watch.task, seen, now))

    def of(self, name: str) -> Sequence[PollRecord]:
        """Those of a task, newest first."""
        return [self._records[number][1] for number in reversed(self._of.get(name, ()))]

    def forget(self, name: str) -> None:
        """Lets go of those of a task."""
        for _ in tuple(self._of.get(name, ())):
            self._drop_oldest_of(name)

    def _keep(self, name: str, record: PollRecord) -> None:
        if len(self._of.get(name, ())) == self._per_task:
            self._drop_oldest_of(name)
        number = next(self._numbers)
        self._records[number] = (name, record)
        self._of.setdefault(name, []).append(number)
        self._bytes += _size(record)
        while self._bytes > self._most_bytes:
            self._drop_oldest_of(next(iter(self._records.values()))[0])

    def _drop_oldest_of(self, name: str) -> None:
        numbers = self._of[name]
        _, record = self._records.pop(numbers.pop(0))
        self._bytes -= _size(record)
        if not numbers:
            del self._of[name]


def _fingerprint(task: Task, seen: Observation) -> int:
    """A number for what people would call the same answer: a task's whole last poll would take more memory."""
    status = task.status
    return fingerprint((status.state, status.run, seen.raw_status, seen.outcome, seen.rule, seen.message))


def _record(task: Task, seen: Observation, now: float) -> PollRecord:
    told = seen.explain() if seen.explain else None
    return PollRecord(
        at=now,
        outcome=seen.outcome,
        state=task.status.state,
        raw_status=seen.raw_status,
        http_status=seen.http_status,
        code=seen.code,
        message=seen.message,
        rule=seen.rule,
        saw=seen.saw,
        request=told.request if told else None,
        answer=told.answer if told else None,
        request_id=seen.request_id,
    )


def _size(record: PollRecord) -> int:
    texts = (
        record.raw_status,
        record.code,
        record.message,
        record.rule,
        record.saw,
        record.request,
        record.answer,
        record.request_id,
    )
    return _OVERHEAD + sum(sys.getsizeof(text) for text in texts if text is not None)
