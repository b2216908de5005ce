"""What is told to the world."""

from dataclasses import replace

import pytest

from poller.domain.events import Sought, Transition
from poller.domain.state import State


@pytest.mark.parametrize(
    ("target", "terminal"),
    [
        (State.PENDING, False),
        (State.RUNNING, False),
        (State.SUCCEEDED, True),
        (State.FAILED, True),
        (State.STOPPED, True),
        (State.MISSING, True),
        (State.EXPIRED, True),
    ],
)
def test_a_transition_is_terminal_when_its_target_is(target: State, terminal: bool) -> None:
    """Receivers need no table of their own to tell an end from a change."""
    told = Transition("id", 1, "name", "studio", "system-task", State.UNKNOWN, target, at=0.0, run=1)
    assert told.terminal is terminal


MOVED = Transition(
    "id", 1, "a", "jobs", "job", State.RUNNING, State.FAILED, 10.0, 1, labels={"team": "ads", "tier": "1"}
)


@pytest.mark.parametrize(
    ("sought", "matches"),
    [
        (Sought(), True),
        (Sought(tasks=frozenset({"a", "b"})), True),
        (Sought(tasks=frozenset({"b"})), False),
        (Sought(states=frozenset({State.FAILED})), True),
        (Sought(states=frozenset({State.RUNNING})), False),
        (Sought(providers=frozenset({"jobs"}), operations=frozenset({"job"})), True),
        (Sought(providers=frozenset({"others"})), False),
        (Sought(operations=frozenset({"others"})), False),
        (Sought(labels=(("team", "ads"), ("tier", "1"))), True),
        (Sought(labels=(("team", "ads"), ("tier", "2"))), False),
        (Sought(labels=(("other", "ads"),)), False),
        (Sought(since=10.0, until=10.5), True),
        (Sought(since=10.5), False),
        (Sought(until=10.0), False),
    ],
)
def test_a_transition_is_sought_by_all_that_is_asked_for(sought: Sought, matches: bool) -> None:
    """One thing that does not fit is enough; who asks for nothing gets everything."""
    assert sought.matches(MOVED) is matches
    assert bool(sought) is (sought != Sought())


def test_what_has_no_labels_is_not_sought_by_one() -> None:
    """As a transition of an old store has none."""
    assert not Sought(labels=(("team", "ads"),)).matches(replace(MOVED, labels=None))


def test_all_of_a_transition_is_told_always_under_every_key() -> None:
    """What is not known is null; times are RFC 3339."""
    told = Transition("id", 1, "name", "studio", "system-task", State.UNKNOWN, State.FAILED, at=0.0, run=1)
    facts = replace(told, started_at=-5.0, duration=5.0, labels={"team": "ads"}).facts
    assert facts == {
        "task": "name",
        "provider": "studio",
        "operation": "system-task",
        "from": "unknown",
        "to": "failed",
        "raw_status": None,
        "terminal": True,
        "initial": False,
        "run": 1,
        "progress": None,
        "message": None,
        "at": "1970-01-01T00:00:00.000Z",
        "started_at": "1969-12-31T23:59:55.000Z",
        "ended_at": None,
        "duration_seconds": 5.0,
        "request_id": None,
        "labels": {"team": "ads"},
        "transition_id": "id",
    }
    assert told.facts.keys() == facts.keys()
    assert told.facts["labels"] is None
