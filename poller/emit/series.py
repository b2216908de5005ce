"""The series of single tasks, written straight from what is watched: nothing to register, nothing left behind.

A line costs a fraction of a microsecond, since all that does not change of a task, its labels, is made into text once.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from poller.domain.state import State
from poller.domain.task import Entry, Status, Task
from poller.emit.textformat import labels_text
from poller.protocols import WatchedTask

_RESERVED = ("task", "provider", "operation")


@dataclass(frozen=True, slots=True)
class TaskLabels:
    """The labels of one task's series, as text: ``key`` of all of them, ``info`` of poller_task_info."""

    key: str
    info: str


@dataclass(frozen=True, slots=True)
class TaskFamily:
    """A family with at most one sample for each task; ``line`` writes it, or nothing.

    Its lines change when the task's entry or status does; those of a family that ``ticks``, with every poll.
    """

    name: str
    kind: str
    text: str
    line: Callable[[TaskLabels, WatchedTask], str]
    ticks: bool = False


class TaskSeries:
    """The lines of one task: those that stay as long as its entry and its status do, in the order of `LASTING`."""

    __slots__ = ("_entry", "_status", "labels", "lines")

    def __init__(self, watched: WatchedTask) -> None:
        task = watched.task
        self._entry, self._status = task.entry, task.status
        self.labels = labels = task_labels(task.entry)
        self.lines = tuple([family.line(labels, watched) for family in LASTING])

    def shows(self, task: Task) -> bool:
        """Whether these are the lines of ``task`` as it is."""
        return self._status is task.status and self._entry is task.entry


class SeriesCache:
    """The lines of the tasks shown last, made anew where a task has changed; those of others are forgotten.

    As kube-state-metrics does: of many tasks few change between two pages.
    """

    def __init__(self) -> None:
        self._known: dict[str, TaskSeries] = {}
        self._shown: dict[str, TaskSeries] = {}

    def forget_others(self) -> None:
        """Forgets the tasks that have not been asked for since the last time."""
        self._known, self._shown = self._shown, {}

    def series(self, watched: WatchedTask) -> TaskSeries:
        """The lines of a task."""
        task = watched.task
        name = task.entry.name
        series = self._known.get(name)
        if series is None or not series.shows(task):
            series = TaskSeries(watched)
        self._shown[name] = series
        return series


def task_labels(entry: Entry) -> TaskLabels:
    """The labels of ``entry``'s series."""
    key = labels_text((("task", entry.name), ("provider", entry.provider), ("operation", entry.operation)))
    return TaskLabels(key, ",".join(filter(None, (key, labels_text(valid_labels(entry.labels).items())))))


def valid_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """The user's ``labels`` under names that Prometheus allows, none of them a name of poller's own.

    A name that needs no change keeps it; of several that become the same, all but the first in order get a number.
    """
    names = {name: _valid_name(name) for name in sorted(labels)}
    taken = {name for name, valid in names.items() if name == valid}
    for name, valid in names.items():
        if name != valid:
            names[name] = _free_name(valid, taken)
            taken.add(names[name])
    return {valid: labels[name] for name, valid in names.items()}


def _valid_name(name: str) -> str:
    valid = re.sub(r"[^a-zA-Z0-9_]", "_", name)
    # Names with two underscores in front are Prometheus' own.
    valid = re.sub(r"^(__+|(?=\d)|$)", "_", valid)
    return f"label_{valid}" if valid in _RESERVED else valid


def _free_name(name: str, taken: set[str]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name.rstrip('_')}_{number}"
    return candidate


_STATE_ENDINGS = {state: f',state="{state.value}"}} 1\n' for state in State}


def _state(labels: TaskLabels, watched: WatchedTask) -> str:
    return f"poller_task_state{{{labels.key}{_STATE_ENDINGS[watched.task.status.state]}"


def _info(labels: TaskLabels, _watched: WatchedTask) -> str:
    return f"poller_task_info{{{labels.info}}} 1\n"


def _gauge(name: str, text: str, value: Callable[[Status], float | None]) -> TaskFamily:
    def line(labels: TaskLabels, watched: WatchedTask) -> str:
        number = value(watched.task.status)
        return "" if number is None else f"{name}{{{labels.key}}} {number!r}\n"

    return TaskFamily(name, "gauge", text, line)


def _flag(name: str, text: str, value: Callable[[Status], bool]) -> TaskFamily:
    def line(labels: TaskLabels, watched: WatchedTask) -> str:
        return f"{name}{{{labels.key}}} {'1' if value(watched.task.status) else '0'}\n"

    return TaskFamily(name, "gauge", text, line)


def _progress_ratio(status: Status) -> float | None:
    return None if status.progress is None else status.progress / 100


def _last_poll(labels: TaskLabels, watched: WatchedTask) -> str:
    at = watched.task.contact.last_polled_at
    return "" if at is None else f"poller_task_last_poll_timestamp_seconds{{{labels.key}}} {at!r}\n"


def _expected_end(labels: TaskLabels, watched: WatchedTask) -> str:
    end = watched.expected
    return "" if end is None else f"poller_task_expected_end_timestamp_seconds{{{labels.key}}} {end.at!r}\n"


FAMILIES = (
    TaskFamily("poller_task_state", "gauge", "1 for the state that the task is in, and no other.", _state),
    _gauge("poller_task_progress_ratio", "Progress as reported, 0 to 1.", _progress_ratio),
    _gauge("poller_task_start_timestamp_seconds", "When it began, as reported.", lambda status: status.started_at),
    _gauge("poller_task_end_timestamp_seconds", "When it ended, or was seen to.", lambda status: status.ended_at),
    TaskFamily("poller_task_last_poll_timestamp_seconds", "gauge", "Its last poll.", _last_poll, ticks=True),
    _flag("poller_task_overdue", "Whether it is past its deadline.", lambda status: status.overdue),
    _flag("poller_task_stalled", "Whether its progress has stopped moving.", lambda status: status.stalled),
    _flag("poller_task_unreachable", "Whether nothing answers about it.", lambda status: status.unreachable),
    _flag("poller_task_late", "Whether nearly all earlier runs had ended by now.", lambda status: status.late),
    TaskFamily("poller_task", "info", "The task's own labels.", _info),
    TaskFamily(
        "poller_task_expected_end_timestamp_seconds",
        "gauge",
        "When it will probably end, as of its last poll.",
        _expected_end,
        ticks=True,
    ),
)
"""Every family of single tasks."""

LASTING = tuple(family for family in FAMILIES if not family.ticks)
TICKING = tuple(family for family in FAMILIES if family.ticks)
