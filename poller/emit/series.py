"""The series of single tasks, written straight from what is watched: nothing to register, nothing left behind.

A line costs a fraction of a microsecond, since all that does not change of a task, its labels, is made into text once.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from poller.domain.state import State
from poller.domain.task import Entry, Task
from poller.emit.textformat import labels_text
from poller.protocols import WatchedTask

_RESERVED = ("task", "provider", "operation")


@dataclass(frozen=True, slots=True)
class TaskLabels:
    """The labels of one task's series, as text: ``key`` of all of them, ``info`` of poller_task_info."""

    entry: Entry
    key: str
    info: str


@dataclass(frozen=True, slots=True)
class TaskFamily:
    """A family with at most one sample for each task; ``line`` writes it, or nothing."""

    name: str
    kind: str
    text: str
    line: Callable[[TaskLabels, Task], str]

    def lines(self, labels: Iterable[TaskLabels], tasks: Iterable[Task]) -> str:
        """The samples of ``tasks``, whose labels come in the same order."""
        return "".join(map(self.line, labels, tasks))


class LabelCache:
    """The labels of the tasks shown last; those of a task no longer shown are forgotten with the next page."""

    def __init__(self) -> None:
        self._known: dict[str, TaskLabels] = {}
        self._shown: dict[str, TaskLabels] = {}

    def forget_others(self) -> None:
        """Forgets the tasks that have not been asked for since the last time."""
        self._known, self._shown = self._shown, {}

    def labels(self, entry: Entry) -> TaskLabels:
        """The labels of the task of this entry."""
        labels = self._known.get(entry.name)
        if labels is None or labels.entry is not entry:
            labels = task_labels(entry)
        self._shown[entry.name] = labels
        return labels


def task_labels(entry: Entry) -> TaskLabels:
    """The labels of ``entry``'s series."""
    key = labels_text((("task", entry.name), ("provider", entry.provider), ("operation", entry.operation)))
    return TaskLabels(entry, key, ",".join(filter(None, (key, labels_text(valid_labels(entry.labels).items())))))


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


def _state(labels: TaskLabels, task: Task) -> str:
    return f"poller_task_state{{{labels.key}{_STATE_ENDINGS[task.status.state]}"


def _info(labels: TaskLabels, _task: Task) -> str:
    return f"poller_task_info{{{labels.info}}} 1\n"


def _gauge(name: str, text: str, value: Callable[[Task], float | None]) -> TaskFamily:
    def line(labels: TaskLabels, task: Task) -> str:
        number = value(task)
        return "" if number is None else f"{name}{{{labels.key}}} {number!r}\n"

    return TaskFamily(name, "gauge", text, line)


def _flag(name: str, text: str, value: Callable[[Task], bool]) -> TaskFamily:
    def line(labels: TaskLabels, task: Task) -> str:
        return f"{name}{{{labels.key}}} {'1' if value(task) else '0'}\n"

    return TaskFamily(name, "gauge", text, line)


def _progress_ratio(task: Task) -> float | None:
    progress = task.status.progress
    return None if progress is None else progress / 100


FAMILIES = (
    TaskFamily("poller_task_state", "gauge", "1 for the state that the task is in, and no other.", _state),
    _gauge("poller_task_progress_ratio", "Progress as reported, 0 to 1.", _progress_ratio),
    _gauge("poller_task_start_timestamp_seconds", "When it began, as reported.", lambda task: task.status.started_at),
    _gauge("poller_task_end_timestamp_seconds", "When it ended, or was seen to.", lambda task: task.status.ended_at),
    _gauge("poller_task_last_poll_timestamp_seconds", "Its last poll.", lambda task: task.contact.last_polled_at),
    _flag("poller_task_overdue", "Whether it is past its deadline.", lambda task: task.status.overdue),
    _flag("poller_task_stalled", "Whether its progress has stopped moving.", lambda task: task.status.stalled),
    _flag("poller_task_unreachable", "Whether nothing answers about it.", lambda task: task.status.unreachable),
    _flag("poller_task_late", "Whether nearly all earlier runs had ended by now.", lambda task: task.status.late),
    TaskFamily("poller_task", "info", "The task's own labels.", _info),
)
"""Every family of single tasks, but the one that most tasks are not in."""

EXPECTED_END = "poller_task_expected_end_timestamp_seconds"
EXPECTED_END_TEXT = "When it will probably end, as of its last poll."


def expected_end_line(labels: TaskLabels, watched: WatchedTask) -> str:
    """The sample of a task whose end is to be expected; nothing for others."""
    end = watched.expected
    return "" if end is None else f"{EXPECTED_END}{{{labels.key}}} {end.at!r}\n"
