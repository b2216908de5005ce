"""What a task's own page says: its past, its answers, and everything known of it."""

from dataclasses import replace
from typing import Any

import pytest

from poller.domain.circuit import Phase
from poller.domain.events import Transition
from poller.domain.observation import Failure, Outcome, Subtasks
from poller.domain.prospect import Basis, Prospect
from poller.domain.state import State
from poller.domain.task import Contact
from poller.protocols import PollRecord, Saved, Stored
from poller.web.taskview import (
    MOST_STEPS,
    Answers,
    Head,
    Lasted,
    NextPoll,
    Past,
    Runs,
    Timeline,
    durations,
    facts,
    task_parts,
)
from poller.web.taskview import steps as told_steps
from tests.emit.fakes import NOW, FakeConnection, FakeWatched, watched


def step(number: int, source: State, target: State, at: float, run: int = 1, **more: Any) -> Transition:
    return Transition(f"id-{number}", number, "n", "jobs", "job", source, target, NOW + at, run, **more)


PAST = [
    step(5, State.RUNNING, State.FAILED, 100.0, run=2, duration=42.0, message="out of memory"),
    step(4, State.SUCCEEDED, State.RUNNING, 60.0, run=2),
    step(3, State.RUNNING, State.SUCCEEDED, 30.0, ended_at=NOW + 29.0),
    step(2, State.PENDING, State.RUNNING, 10.0, raw_status="go"),
    step(1, State.UNKNOWN, State.PENDING, 4.0),
]
ENDS = [PAST[0], PAST[2]]


def test_each_transition_tells_how_long_the_state_before_had_lasted() -> None:
    """Of the oldest that is known nobody knows."""
    told = told_steps(PAST, NOW)
    assert [(each.source, each.target, each.after) for each in told] == [
        (State.RUNNING, State.FAILED, "40s"),
        (State.SUCCEEDED, State.RUNNING, "30s"),
        (State.RUNNING, State.SUCCEEDED, "20s"),
        (State.PENDING, State.RUNNING, "6s"),
        (State.UNKNOWN, State.PENDING, None),
    ]
    assert told_steps([], NOW) == []


def test_a_run_took_what_the_provider_says_or_what_polls_saw() -> None:
    """From the poll that first showed it; nothing where only its end was seen."""
    assert durations(Past(PAST, ENDS)) == {"id-5": Lasted(42.0, as_told=True), "id-3": Lasted(26.0, as_told=False)}
    found_over = step(1, State.UNKNOWN, State.SUCCEEDED, 5.0, initial=True)
    assert durations(Past([found_over], [found_over])) == {}
    assert durations(Past([], [PAST[2]])) == {}


def parts(watched: FakeWatched | Stored, past: Past | None = None, *polls: PollRecord) -> dict[str, Any]:
    return task_parts(watched, NOW, FakeConnection("jobs"), past or Past(), polls)


def test_runs_are_listed_and_drawn() -> None:
    """Newest first in the table, oldest first in the plot."""
    runs = parts(watched("n"), Past(PAST, ENDS))["runs"]
    assert isinstance(runs, Runs)
    assert [(each.run, each.state, each.took) for each in runs.runs] == [
        (2, State.FAILED, "42s"),
        (1, State.SUCCEEDED, "~26s"),
    ]
    assert runs.runs[1].ended is not None
    assert runs.runs[1].ended.at == NOW + 29.0
    assert runs.plot is not None
    assert [bar.run for bar in runs.plot.bars] == [1, 2]


def test_a_timeline_that_may_be_cut_says_so() -> None:
    """When as many were read as are shown."""
    whole = parts(watched("n"), Past(PAST))["steps"]
    assert isinstance(whole, Timeline)
    assert not whole.more
    many = [step(number, State.PENDING, State.RUNNING, number) for number in range(MOST_STEPS)]
    assert parts(watched("n"), Past(many))["steps"].more


def test_the_head_tells_the_last_failure_only_while_it_lasts() -> None:
    """All of it, however long; not of what is over."""
    failed = Contact(consecutive_failures=2, last_failure=Failure(Outcome.REJECTED, NOW, "w" * 1000))
    head = parts(watched("n", contact=failed, message="m" * 1000))["head"]
    assert isinstance(head, Head)
    assert (head.failure, head.message) == ("w" * 1000, "m" * 1000)
    assert parts(watched("n", contact=replace(failed, consecutive_failures=0)))["head"].failure is None
    assert parts(watched("n", State.MISSING, contact=failed))["head"].failure is None


def test_a_task_polled_elsewhere_is_explained_without_the_connection_here() -> None:
    """And its answers are known there."""
    here = watched("n", contact=Contact(polls=3, attempt=3), next_poll_at=NOW - 5)
    entry, status, contact = here.task.entry, here.task.status, here.task.contact
    saved = Saved("n", "jobs", "job", entry.params, status, contact, NOW, NOW - 5)
    elsewhere = parts(Stored(entry, saved))
    assert elsewhere["next"].why == "It has been due for 5s."
    assert elsewhere["answers"] == Answers([], elsewhere=True)
    assert parts(here)["next"].why == "It has been due for 5s: it is under way."
    assert parts(here)["answers"] == Answers([], elsewhere=False)


def test_a_paused_connection_explains_the_next_poll() -> None:
    """The whole way from the connection to the sentence."""
    paused = FakeConnection("jobs", due=3, paused="throttled", phase=Phase.PAUSED, paused_until=NOW + 40)
    known = watched("n", contact=Contact(polls=1), next_poll_at=NOW - 5)
    told = task_parts(known, NOW, paused, Past(), [])["next"]
    assert isinstance(told, NextPoll)
    assert told.why == "It has been due for 5s and waits: the connection is paused (throttled), for 40s more."


def test_an_answer_tells_what_decided() -> None:
    """And nothing of what was not there."""
    known = {"rule": "rule 1", "saw": "HTTP 404", "answer": "{}"}
    record = PollRecord(NOW, Outcome.MISSING, State.RUNNING, http_status=404, **known)
    (answer,) = parts(watched("n"), None, record)["answers"].answers
    assert [(fact.name, fact.text) for fact in answer.told] == [
        ("Rule", "rule 1"),
        ("It saw", "HTTP 404"),
        ("HTTP status", "404"),
    ]
    assert (answer.outcome, answer.opens, answer.request, answer.answer) == (Outcome.MISSING, False, None, "{}")


@pytest.mark.parametrize(
    ("known", "name", "text"),
    [
        ({}, "Run", "1"),
        ({"run_id": "r-1"}, "Run id", "r-1"),
        ({"state": State.SUCCEEDED, "duration": 90.0}, "Took", "1m30s"),
        ({"subtasks": Subtasks(4, 1, ("load", "copy"))}, "Parts", "1 of 4"),
        ({"subtasks": Subtasks(4, 1, ("load", "copy"))}, "Failed parts", "load, copy"),
        ({"subtasks": Subtasks(4, 1)}, "Failed parts", None),
        (
            {"prospect": Prospect(Basis.HISTORY, 2000, 1900, 2100, 950)},
            "Expected",
            "from how long earlier runs took",
        ),
        ({"follow": True}, "Followed", "run after run"),
        ({"owner": "ann"}, "Added by", "the API"),
        ({}, "Added by", "the config"),
        ({"owner": "ann", "ttl": 7200.0}, "Leaves after", "2h"),
        ({}, "Polled every", "2s to 5m"),
        ({}, "Parameter job_id", "1"),
        ({"contact": Contact(polls=1234)}, "Polls", "1,234"),
        ({"contact": Contact(last_failure=Failure(Outcome.REJECTED, NOW))}, "It was", "rejected"),
    ],
)
def test_every_fact_that_is_known_is_told(known: dict[str, Any], name: str, text: str | None) -> None:
    """And none that is not."""
    told = facts(watched("n", **known), NOW)
    found = {fact.name: fact.text for group in (told.status, told.entry, told.asking) for fact in group}
    assert found.get(name) == text
