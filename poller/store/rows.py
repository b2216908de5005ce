"""How what the domain knows is written as rows, and read back."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import lru_cache
from itertools import starmap
from operator import itemgetter
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
from poller.protocols import FinishedRun, Pulse, Saved, Stored
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

_NONE: Mapping[str, Entry] = {}
_STATES = {state.value: state for state in State}
_BASES = {basis.value: basis for basis in Basis}
_means = itemgetter(*IDENTITY, *MANNER)
_knowledge = itemgetter(*KNOWLEDGE)
_STATE, _SUBTASKS, _RAW, _RUN_SINCE = map(KNOWLEDGE.index, ("state", "subtasks", "raw_status", "run_since"))
_CONTACT_FIELDS = tuple(field.name for field in fields(Contact))
_FAILURE = _CONTACT_FIELDS.index("last_failure")
_SAME_STATUS = tuple(name for name in KNOWLEDGE if name not in {"state", "subtasks"})
_SAME_CONTACT = tuple(field.name for field in fields(Contact) if field.name != "last_failure")
_contact = itemgetter(*_SAME_CONTACT)
_SAME_TRANSITION = tuple(field.name for field in fields(Transition) if field.name not in {"source", "target", "labels"})

_POLICY = frozenset(field.name for field in fields(Policy))

CONTACT = (*_SAME_CONTACT, "failure_outcome", "failure_at", "failure_message", "saved_at")
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
    entry = task.entry
    place = {"name": entry.name, "partition": partition_of(entry.name), "unwatched_at": None, "next_poll_at": None}
    place |= {"expires_at": None, "revision": 0} | _expected_values(None)
    return place | entry_values(entry) | _status_values(task.status) | _contact_values(task.contact, at)


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


def entry_of(row: Values, known: Mapping[str, Entry] = _NONE) -> Entry:
    """The entry that was stored as ``row`` of the tasks: the very one of that name in ``known``, if it is the same."""
    same = known.get(row["name"])
    if same is not None and _means(row) == _means(entry_values(same)):
        return same
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


def stored_of(row: Values, known: Mapping[str, Entry] = _NONE) -> Stored:
    """The task stored as ``row``; its entry is that of ``known`` where it is the same."""
    entry = entry_of(row, known)
    return Stored(entry, _saved_of(row, entry), row["unwatched_at"] is None, _expected_of(row))


def _saved_of(row: Values, entry: Entry) -> Saved:
    return Saved(
        name=entry.name,
        provider=entry.provider,
        operation=entry.operation,
        params=entry.params,
        status=_status_of(row),
        contact=_contact_of(row),
        saved_at=row["saved_at"],
        next_poll_at=row["next_poll_at"],
    )


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
    values = {name: getattr(status, name) for name in _SAME_STATUS}
    values["state"] = status.state.value
    values["subtasks"] = None if status.subtasks is None else _json(asdict(status.subtasks))
    return values


def _status_of(row: Values) -> Status:
    # By position, which takes half the time: 100,000 are read at a start. What is the same in many is there once.
    values = list(_knowledge(row))
    values[_STATE] = _STATES[row["state"]]
    if row["raw_status"] is not None:
        values[_RAW] = intern(row["raw_status"])
    if row["run_since"] == row["first_seen_at"]:
        values[_RUN_SINCE] = row["first_seen_at"]
    if row["subtasks"] is not None:
        values[_SUBTASKS] = _subtasks_of(row["subtasks"])
    return Status(*values)


def _subtasks_of(text: str) -> Subtasks:
    values = orjson.loads(text)
    return Subtasks(values["total"], values["done"], tuple(values["failed"]))


def _contact_values(contact: Contact, at: float) -> Values:
    failure = contact.last_failure
    values = {name: getattr(contact, name) for name in _SAME_CONTACT}
    values["failure_outcome"] = failure.outcome.value if failure else None
    values["failure_at"] = failure.at if failure else None
    values["failure_message"] = failure.message if failure else None
    values["saved_at"] = at
    return values


def _contact_of(row: Values) -> Contact:
    outcome = row["failure_outcome"]
    failure = None if outcome is None else Failure(Outcome(outcome), row["failure_at"], row["failure_message"])
    values = list(_contact(row))
    values.insert(_FAILURE, failure)
    return Contact(*values)


def _expected_values(end: ExpectedEnd | None) -> Values:
    if end is None:
        return dict.fromkeys(EXPECTED)
    return dict(zip(EXPECTED, (end.basis.value, end.at, end.low_at, end.high_at), strict=True))


def _expected_of(row: Values) -> ExpectedEnd | None:
    basis = row["expected_basis"]
    if basis is None:
        return None
    return ExpectedEnd(_BASES[basis], row["expected_at"], row["expected_low_at"], row["expected_high_at"])


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
