"""Says in the log which tasks' polls fail: when that starts, changes and ends, and an outage in a few lines.

poll.failed                     a task's polls began to fail, or fail in another way (outcome, error code)
poll.recovered                  they tell the status again
provider.polls_failing          in the same way more fail than are told one by one
provider.polls_failing_ended    none of them does any more
"""

from collections import Counter
from dataclasses import dataclass
from typing import TypeAlias

from structlog.typing import FilteringBoundLogger

from poller.domain.moments import rfc3339
from poller.domain.observation import REFUSALS, TELLS_STATUS, Observation
from poller.protocols import Clock
from poller.runtime.watch import Watch

MOST_TOLD = 10
"""Tasks told one by one that fail in one way, until none does any more; and ways told of one task until it recovers."""
MOST_CODES = 20
"""Error codes told apart at a time, of one operation and outcome: a provider may make up another for each poll."""
OTHER_CODES = "(others)"

_Way: TypeAlias = tuple[str, str, str, str | None]
"""Provider, operation, outcome and error code."""


@dataclass(slots=True)
class _Failing:
    """A task whose polls fail: since when on the loop's clock, how many, and how many lines told of it."""

    way: _Way
    since: float
    polls: int = 0
    lines: int = 0


@dataclass(slots=True)
class _Group:
    """The tasks whose polls fail in one way, and what became of them since the first one did."""

    since: float
    failing: int = 0
    joined: int = 0
    told: int = 0
    recovered: int = 0
    crowded: bool = False


class FailingPolls:
    """Which tasks' polls fail, as the log tells it. Holds no more than the tasks that fail now.

    A refusal that pauses the connection is no failure of a poll: `provider.paused` tells it. "No such task" tells the
    task's status.
    """

    def __init__(self, clock: Clock, logger: FilteringBoundLogger) -> None:
        self._clock = clock
        self._logger = logger
        self._tasks: dict[str, _Failing] = {}
        self._groups: dict[_Way, _Group] = {}
        self._codes: Counter[tuple[str, str, str]] = Counter()

    def observed(self, watch: Watch, seen: Observation) -> None:
        """Heeds what a poll brought, once the next one is planned."""
        name = watch.task.entry.name
        if seen.outcome in TELLS_STATUS:
            self._recover(name)
        elif watch.task.over:
            self.forget(name)
        elif seen.outcome not in REFUSALS:
            self._fail(watch, seen)

    def forget(self, name: str) -> None:
        """Is told that the task of that name is polled no more; its transition, or the reload, says why."""
        failing = self._tasks.pop(name, None)
        if failing is not None:
            self._leave(failing.way)

    def _fail(self, watch: Watch, seen: Observation) -> None:
        name, way = watch.task.entry.name, self._way(watch, seen)
        failing = self._tasks.get(name)
        if failing is None:
            failing = self._tasks[name] = _Failing(way, self._clock.monotonic())
            self._join(way)
        elif failing.way != way:
            self._join(way)
            self._leave(failing.way)
            failing.way = way
        else:
            failing.polls += 1
            return
        failing.polls += 1
        self._tell(watch, seen, failing)

    def _way(self, watch: Watch, seen: Observation) -> _Way:
        entry = watch.task.entry
        kind = (entry.provider, entry.operation, seen.outcome.value)
        way = (*kind, seen.code)
        return way if way in self._groups or self._codes[kind] < MOST_CODES else (*kind, OTHER_CODES)

    def _join(self, way: _Way) -> None:
        group = self._groups.get(way)
        if group is None:
            group = self._groups[way] = _Group(self._clock.monotonic())
            self._codes[way[:3]] += 1
        group.failing += 1
        group.joined += 1

    def _leave(self, way: _Way, recovered: bool = False) -> None:
        group = self._groups[way]
        group.failing -= 1
        group.recovered += recovered
        if group.failing:
            return
        del self._groups[way]
        self._codes[way[:3]] -= 1
        if not self._codes[way[:3]]:
            del self._codes[way[:3]]
        if group.crowded:
            self._logger.info(
                "provider.polls_failing_ended",
                **_facts(way),
                times_failed=group.joined,
                times_recovered=group.recovered,
                failed_seconds=round(self._clock.monotonic() - group.since, 3),
            )

    def _tell(self, watch: Watch, seen: Observation, failing: _Failing) -> None:
        group = self._groups[failing.way]
        if failing.lines >= MOST_TOLD:
            return
        if group.told >= MOST_TOLD:
            self._tell_crowd(seen, failing.way, group)
            return
        group.told += 1
        failing.lines += 1
        self._logger.warning(
            "poll.failed",
            task=watch.task.entry.name,
            provider=watch.task.entry.provider,
            operation=watch.task.entry.operation,
            outcome=seen.outcome.value,
            http_status=seen.http_status,
            code=seen.code,
            message=seen.message,
            rule=seen.rule,
            request_id=seen.request_id,
            next_poll_at=rfc3339(watch.next_poll_at),
        )

    def _tell_crowd(self, seen: Observation, way: _Way, group: _Group) -> None:
        if not group.crowded:
            group.crowded = True
            self._logger.warning(
                "provider.polls_failing", **_facts(way), told_one_by_one=MOST_TOLD, message=seen.message
            )

    def _recover(self, name: str) -> None:
        failing = self._tasks.pop(name, None)
        if failing is None:
            return
        if failing.lines:
            self._logger.info(
                "poll.recovered",
                task=name,
                **_facts(failing.way),
                failed_polls=failing.polls,
                failed_seconds=round(self._clock.monotonic() - failing.since, 3),
            )
        self._leave(failing.way, recovered=True)


def _facts(way: _Way) -> dict[str, str | None]:
    return dict(zip(("provider", "operation", "outcome", "code"), way, strict=True))
