"""How what the domain knows is written as rows, and read back."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from functools import lru_cache
from itertools import starmap
from operator import attrgetter, itemgetter
from sys import intern
from typing import Any

import orjson

from poller.domain.events import Transition
from poller.domain.family import Run
from poller.domain.observation import Failure, Outcome, Subtasks
from poller.domain.progress import Mark
from poller.domain.prospect import Basis, ExpectedEnd
from poller.domain.shares import partition_of
from poller.domain.state import State
from poller.domain.task import Contact, Entry, Policy, Status, Task
from poller.protocols import FinishedRun, Pulse, Saved, Stored, Written
from poller.store.schema import storable

Values = dict[str, Any]
"""A row: values by column."""

IDENTITY = ("provider", "operation", "params")
"""The columns that tell which remote task a name means: `Entry.same_task` in terms of rows."""

MANNER = ("labels", "policy", "follow", "source", "family", "owner", "ttl")
"""The columns that tell how a task is watched."""

KNOWLEDGE = tuple(field.name for field in fields(Status))
"""The columns that tell what is known of a task."""

EXPECTED = ("expected_basis", "expected_at", "expected_low_at", "expected_high_at")
"""The columns that tell when a run will probably end."""

_STATES = {state.value: state for state in State}
_knowledge = attrgetter(*KNOWLEDGE)
_BASES = {basis.value: basis for basis in Basis}
_STATE, _SUBTASKS, _RAW = map(KNOWLEDGE.index, ("state", "subtasks", "raw_status"))
_FIRST_SEEN, _RUN_SINCE = map(KNOWLEDGE.index, ("first_seen_at", "run_since"))
_CONTACT_FIELDS = tuple(field.name for field in fields(Contact))
_LAST_FAILURE = _CONTACT_FIELDS.index("last_failure")
_SAME_CONTACT = tuple(field.name for field in fields(Contact) if field.name != "last_failure")
_contact = attrgetter(*_SAME_CONTACT)
_SAME_TRANSITION = tuple(field.name for field in fields(Transition) if field.name not in {"source", "target", "labels"})

_POLICY = frozenset(field.name for field in fields(Policy))

_FAILURE = ("failure_outcome", "failure_at", "failure_message")
CONTACT = (*_SAME_CONTACT, *_FAILURE, "saved_at")
"""The columns that tell how the asking went, and when that was written."""


def entry_values(entry: Entry) -> Values:
    """What tells which task ``entry`` means and how it is watched."""
    return {
        "provider": entry.provider,
        "operation": entry.operation,
        "params": json_object(entry.params),
        "labels": json_object(entry.labels),
        "policy": _policy_text(entry.policy),
        "follow": entry.follow,
        "source": entry.source,
        "family": entry.family,
        "owner": entry.owner,
        "ttl": entry.ttl,
    }


def task_values(task: Task, at: float) -> Values:
    """The whole row of ``task``, written at ``at``, as one that is watched."""
    place = {"unwatched_at": None, "next_poll_at": None, "expires_at": None, "revision": 0} | _expected_values(None)
    return place | named_values(task.entry) | known_values(task, at)


def named_values(entry: Entry) -> Values:
    """Under which name it is watched, too."""
    return {"name": entry.name, "partition": partition_of(entry.name)} | entry_values(entry)


def known_values(task: Task, at: float) -> Values:
    """What is known of ``task``, written at ``at``."""
    return _status_values(task.status) | _contact_values(task.contact, at)


def pulse_values(pulse: Pulse, at: float) -> Values:
    """What ticks, written at ``at``."""
    ticks = {"next_poll_at": pulse.next_poll_at} | _expected_values(pulse.expected)
    return _contact_values(pulse.contact, at) | ticks


def transition_values(transition: Transition) -> Values:
    """The row of ``transition``, not told yet."""
    values = {name: getattr(transition, name) for name in _SAME_TRANSITION}
    values["source"] = transition.source.value
    values["target"] = transition.target.value
    values["labels"] = None if transition.labels is None else json_object(transition.labels)
    return values


def run_values(finished: FinishedRun) -> Values:
    """The row of a run that ended."""
    return {
        "transition_id": finished.transition_id,
        "family": finished.family,
        "ended_at": finished.ended_at,
        "duration": finished.run.duration,
        "marks": orjson.dumps([*map(tuple, finished.run.marks)]).decode(),
    }


def entry_of(row: Values) -> Entry:
    """The entry that was stored as ``row`` of the tasks."""
    return Entry(
        name=row["name"],
        provider=row["provider"],
        operation=row["operation"],
        params=orjson.loads(row["params"]),
        labels=orjson.loads(row["labels"]),
        policy=_policy_of(row["policy"]),
        follow=row["follow"],
        source=row["source"],
        family=row["family"],
        owner=row["owner"],
        ttl=row["ttl"],
    )


class TaskReader:
    """Makes tasks of rows with columns of these ``names``: `streams.Reader`.

    By position, which takes half the time: 100,000 are read at a start. An entry that is ``known``, and that nobody
    changed since, is that one itself.
    """

    def __init__(self, names: Sequence[str], known: Written | None = None) -> None:
        self._names = names
        self._known: Mapping[str, Entry] = {} if known is None else known.entries
        self._known_at = 0 if known is None else known.revision
        place = {name: number for number, name in enumerate(names)}
        self._status = itemgetter(*(place[name] for name in KNOWLEDGE))
        self._contact = itemgetter(*(place[name] for name in _SAME_CONTACT))
        self._failure = itemgetter(*(place[name] for name in _FAILURE))
        self._expected = itemgetter(*(place[name] for name in EXPECTED))
        self._rest = itemgetter(
            *(place[name] for name in ("name", "revision", "unwatched_at", "saved_at", "next_poll_at"))
        )

    def __call__(self, row: Sequence[Any]) -> Stored:
        """The task that was stored as ``row``."""
        name, revision, unwatched_at, saved_at, next_poll_at = self._rest(row)
        entry = self._known.get(name) if revision <= self._known_at else None
        if entry is None:
            entry = entry_of(dict(zip(self._names, row, strict=True)))
        saved = Saved(
            entry.name,
            entry.provider,
            entry.operation,
            entry.params,
            _status_of(self._status(row)),
            _contact_of(self._contact(row), self._failure(row)),
            saved_at,
            next_poll_at,
        )
        return Stored(entry, saved, unwatched_at is None, _expected_of(*self._expected(row)))


def transition_of(row: Values) -> Transition:
    """The transition stored as ``row``."""
    return Transition(
        source=State(row["source"]),
        target=State(row["target"]),
        labels=None if row["labels"] is None else orjson.loads(row["labels"]),
        **{name: row[name] for name in _SAME_TRANSITION},
    )


def run_of(row: Values) -> tuple[str, Run]:
    """The run stored as ``row``, behind its family."""
    return row["family"], Run(row["duration"], tuple(starmap(Mark, orjson.loads(row["marks"]))))


def _status_values(status: Status) -> Values:
    values = dict(zip(KNOWLEDGE, _knowledge(status), strict=True))
    values["state"] = status.state.value
    if status.subtasks is not None:
        values["subtasks"] = _json(asdict(status.subtasks))
    return values


def _status_of(known: Iterable[Any]) -> Status:
    # What is the same in many is there once.
    values = list(known)
    values[_STATE] = _STATES[values[_STATE]]
    if values[_RAW] is not None:
        values[_RAW] = intern(values[_RAW])
    if values[_RUN_SINCE] == values[_FIRST_SEEN]:
        values[_RUN_SINCE] = values[_FIRST_SEEN]
    if values[_SUBTASKS] is not None:
        values[_SUBTASKS] = _subtasks_of(values[_SUBTASKS])
    return Status(*values)


def _subtasks_of(text: str) -> Subtasks:
    values = orjson.loads(text)
    return Subtasks(values["total"], values["done"], tuple(values["failed"]))


def _contact_values(contact: Contact, at: float) -> Values:
    failure = contact.last_failure
    told = (None, None, None) if failure is None else (failure.outcome.value, failure.at, failure.message)
    return dict(zip(CONTACT, (*_contact(contact), *told, at), strict=True))


def _contact_of(contact: Iterable[Any], failure: tuple[str | None, float, str | None]) -> Contact:
    outcome, at, message = failure
    values = list(contact)
    values.insert(_LAST_FAILURE, None if outcome is None else Failure(Outcome(outcome), at, message))
    return Contact(*values)


def _expected_values(end: ExpectedEnd | None) -> Values:
    if end is None:
        return dict.fromkeys(EXPECTED)
    return dict(zip(EXPECTED, (end.basis.value, end.at, end.low_at, end.high_at), strict=True))


def _expected_of(basis: str | None, at: float, low_at: float, high_at: float) -> ExpectedEnd | None:
    return None if basis is None else ExpectedEnd(_BASES[basis], at, low_at, high_at)


# Watched by the thousand, tasks share a handful of policies.
@lru_cache(maxsize=256)
def _policy_text(policy: Policy) -> str:
    defaults = asdict(Policy())
    return _json({key: value for key, value in asdict(policy).items() if value != defaults[key]})


@lru_cache(maxsize=256)
def _policy_of(text: str) -> Policy:
    return Policy(**{key: value for key, value in orjson.loads(text).items() if key in _POLICY})


def json_object(values: Mapping[str, str]) -> str:
    """``values`` as they are stored: sorted, without blanks."""
    return _json(dict(values)) if values else "{}"


def _json(values: Mapping[str, Any]) -> str:
    try:
        return orjson.dumps(values, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError:
        # Half a surrogate pair, which orjson refuses.
        return storable(json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":")))
