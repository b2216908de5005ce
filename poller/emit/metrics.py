"""What is counted: polls, transitions, and how long things take. All of it starts at 0 with the daemon.

`Metrics.polled` runs for every poll and costs a fraction of a microsecond, which prometheus_client's counters, each
behind a lock, do not; so these are plain numbers, made into prometheus_client's families when somebody asks.
"""

import platform
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, GCCollector, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from poller.domain.events import FlagChange, Transition
from poller.domain.lifecycle import MOVES
from poller.domain.observation import Observation, Outcome
from poller.domain.shares import PARTITIONS
from poller.domain.state import ENDS, TERMINAL, State
from poller.domain.task import Entry
from poller.protocols import Standing

_MINUTE, _HOUR, _DAY = 60.0, 3_600.0, 86_400.0

POLL_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LAG_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
TASK_SECONDS = (
    *(1.0, 5.0, 15.0, 30.0),
    *(minutes * _MINUTE for minutes in (1, 2, 5, 10, 20, 30)),
    *(hours * _HOUR for hours in (1, 2, 4, 8, 12)),
    *(days * _DAY for days in (1, 2, 4, 7)),
)

_MOVES = tuple((source, target) for source in State for target in State if target in MOVES[source])
_FIRST_RUN_MOVES = tuple(move for move in _MOVES if move[0] not in TERMINAL)
_LATER_RUN_MOVES = tuple(move for move in _MOVES if move[0] in ENDS)


class Tally:
    """The numbers of one histogram: how many fell into each bucket, the last one unbounded, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Counts ``value``; a negative one, from a clock that was set back, as 0."""
        if value > 0.0:
            self.counts[bisect_left(self.bounds, value)] += 1
            self.total += value
        else:
            self.counts[0] += 1

    def add_to(self, family: HistogramMetricFamily, labels: tuple[str, ...]) -> None:
        """Adds the histogram to ``family``, its buckets cumulated."""
        bounds = (*map(repr, self.bounds), "+Inf")
        family.add_metric(labels, list(zip(bounds, accumulate(self.counts), strict=True)), self.total)


class _Connection:
    """What is counted of one provider."""

    __slots__ = ("duration", "lag")

    def __init__(self) -> None:
        self.duration = Tally(POLL_SECONDS)
        self.lag = Tally(LAG_SECONDS)


class _Operation:
    """What is counted of one operation of a provider."""

    __slots__ = ("connection", "durations", "polls", "transitions")

    def __init__(self, connection: _Connection) -> None:
        self.connection = connection
        self.polls = dict.fromkeys(Outcome, 0)
        self.transitions = dict.fromkeys(_FIRST_RUN_MOVES, 0)
        self.durations = {state: Tally(TASK_SECONDS) for state in State if state in ENDS}


_ALONE = Standing(PARTITIONS, 1, 0, 0, store_up=True, waiting=0, strange=0)


class Metrics(Collector):
    """Counts what it is told as an emitter and as the observer of polls.

    ``registry`` gets it, and the metrics of the process. ``unemitted`` is asked, whenever these are collected, for
    the number of transitions committed and not yet told, ``standing`` for how this replica stands.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        version: str,
        unemitted: Callable[[], int],
        standing: Callable[[], Standing] = lambda: _ALONE,
    ) -> None:
        self._standing = standing
        self.registry = registry
        self._build = {"version": version, "python": platform.python_version()}
        self._unemitted = unemitted
        self._connections: dict[str, _Connection] = {}
        self._operations: dict[tuple[str, str], _Operation] = {}
        self._reload_successful = 0
        self._reloaded_at = 0.0
        registry.register(self)
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)

    def polled(self, entry: Entry, seen: Observation, duration: float, lag: float) -> None:
        """Counts a poll that took ``duration`` seconds and was sent ``lag`` seconds later than planned."""
        counted = self._operations.get((entry.provider, entry.operation)) or self._know(entry.provider, entry.operation)
        counted.polls[seen.outcome] += 1
        counted.connection.duration.observe(duration)
        counted.connection.lag.observe(lag)

    def polls_of(self, provider: str) -> Mapping[Outcome, int]:
        """The polls of a provider, by what came of them."""
        total = Counter(dict.fromkeys(Outcome, 0))
        for (name, _), counted in self._operations.items():
            if name == provider:
                total.update(counted.polls)
        return total

    @property
    def polls(self) -> int:
        """All polls."""
        return sum(sum(counted.polls.values()) for counted in self._operations.values())

    def transition(self, transition: Transition) -> None:
        """Counts a transition, and how long a task took that has ended."""
        counted = self._know(transition.provider, transition.operation)
        move = (transition.source, transition.target)
        counted.transitions[move] = counted.transitions.get(move, 0) + 1
        tally = counted.durations.get(transition.target)
        if tally and transition.duration is not None:
            tally.observe(transition.duration)

    def flag(self, change: FlagChange) -> None:
        """Counts nothing: a flag is a property of its task, read when the tasks are shown."""

    def reloaded(self, ok: bool, at: float) -> None:
        """The config was loaded, or refused, ``at`` epoch seconds."""
        self._reload_successful = int(ok)
        if ok:
            self._reloaded_at = at

    def expect(self, operations: Iterable[tuple[str, str]], followed: Iterable[tuple[str, str]]) -> None:
        """Lets the series of each (provider, operation) start at 0, those of moves to a next run where ``followed``."""
        for provider, operation in operations:
            self._know(provider, operation)
        for provider, operation in followed:
            transitions = self._know(provider, operation).transitions
            for move in _LATER_RUN_MOVES:
                transitions.setdefault(move, 0)

    def collect(self) -> Iterator[Metric]:
        """One family after the other; no family is spread over two steps of the iterator."""
        yield InfoMetricFamily("poller_build", "The version of poller and of the Python it runs on.", value=self._build)
        yield self._collect_polls()
        yield self._collect_poll_seconds("duration", "How long polls took.", lambda seen: seen.duration)
        yield self._collect_poll_seconds("lag", "How much later than planned polls were sent.", lambda seen: seen.lag)
        yield self._collect_transitions()
        yield self._collect_durations()
        yield from self._collect_daemon()

    def _know(self, provider: str, operation: str) -> _Operation:
        known = self._operations.get((provider, operation))
        if known is None:
            connection = self._connections.setdefault(provider, _Connection())
            known = self._operations[provider, operation] = _Operation(connection)
        return known

    def _collect_polls(self) -> Metric:
        family = CounterMetricFamily(
            "poller_polls", "Polls made, by what came of them.", labels=("provider", "operation", "outcome")
        )
        for (provider, operation), counted in self._operations.items():
            for outcome, count in counted.polls.items():
                family.add_metric((provider, operation, outcome.value), count)
        return family

    def _collect_poll_seconds(self, what: str, text: str, tally: Callable[[_Connection], Tally]) -> Metric:
        family = HistogramMetricFamily(f"poller_poll_{what}_seconds", text, labels=("provider",))
        for provider, counted in self._connections.items():
            tally(counted).add_to(family, (provider,))
        return family

    def _collect_transitions(self) -> Metric:
        family = CounterMetricFamily(
            "poller_transitions", "Moves of tasks from state to state.", labels=("provider", "operation", "from", "to")
        )
        for (provider, operation), counted in self._operations.items():
            for (source, target), count in counted.transitions.items():
                family.add_metric((provider, operation, source.value, target.value), count)
        return family

    def _collect_durations(self) -> Metric:
        family = HistogramMetricFamily(
            "poller_task_duration_seconds",
            "How long tasks ran that have ended, as far as it is known.",
            labels=("provider", "operation", "state"),
        )
        for (provider, operation), counted in self._operations.items():
            for state, tally in counted.durations.items():
                tally.add_to(family, (provider, operation, state.value))
        return family

    def _collect_daemon(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "poller_transitions_unemitted", "Transitions committed and not yet told.", value=self._unemitted()
        )
        yield from _standing(self._standing())
        yield GaugeMetricFamily(
            "poller_config_last_reload_successful",
            "Whether the config was accepted when it was last loaded.",
            value=self._reload_successful,
        )
        yield GaugeMetricFamily(
            "poller_config_last_reload_success_timestamp_seconds",
            "When the config was last accepted.",
            value=self._reloaded_at,
        )


def _standing(now: Standing) -> Iterator[Metric]:
    gauges = (
        ("poller_partitions_held", "Partitions of the tasks that this replica holds, of 1024.", now.partitions),
        ("poller_replicas_alive", "Replicas alive, as this one sees it.", now.replicas),
        ("poller_store_up", "Whether the store took the last thing it was asked to write.", int(now.store_up)),
        ("poller_changes_waiting", "Changes not yet committed.", now.waiting),
        ("poller_tasks_not_pollable", "Tasks held that the config does not know how to poll.", now.strange),
    )
    counters = (
        ("poller_failovers", "Dead replicas whose partitions this one declared free.", now.failovers),
        ("poller_fenced_commits", "Commits that lost something because its partition was lost.", now.fenced),
    )
    yield from (GaugeMetricFamily(name, text, value=value) for name, text, value in gauges)
    yield from (CounterMetricFamily(name, text, value=value) for name, text, value in counters)
