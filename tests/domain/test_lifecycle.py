"""What an observation, or time passing without one, makes of a task: states, runs, ends and what is told of them."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from poller.domain.events import Transition
from poller.domain.lifecycle import MOVES, Step, advance, begin, lapse, resume
from poller.domain.observation import UNCHANGED, Failure, Observation, Outcome, Subtasks
from poller.domain.state import State
from poller.domain.task import Contact, Status, Task
from tests.domain.lives import (
    ALIVE,
    ANSWERABLE,
    CALM,
    NAME,
    NO_ANSWER,
    REPORTED_ENDS,
    T0,
    answer,
    entry,
    poll,
    task_in,
)

NOW = T0 + 100.0

# What an answer makes of a task: a row is the task's state, "+" where the task is followed, a column the state told.
#   -      nothing happens
#   move   the task goes to the state told
#   run    so it does, and a new run has begun
#   again  a new run has begun and ended in the same state if the run's id is another one, else nothing happens
ANSWERED = """
from         pending  running  succeeded  failed  stopped  unknown  missing  expired
unknown      move     move     move       move    move     -        -        -
pending      -        move     move       move    move     -        -        -
running      move     -        move       move    move     -        -        -
succeeded    -        -        -          -       -        -        -        -
failed       -        -        -          -       -        -        -        -
stopped      -        -        -          -       -        -        -        -
missing      -        -        -          -       -        -        -        -
expired      -        -        -          -       -        -        -        -
unknown+     move     move     move       move    move     -        -        -
pending+     -        move     move       move    move     -        -        -
running+     move     -        move       move    move     -        -        -
succeeded+   run      run      again      run     run      -        -        -
failed+      run      run      run        again   run      -        -        -
stopped+     run      run      run        run     again    -        -        -
missing+     -        -        -          -       -        -        -        -
expired+     -        -        -          -       -        -        -        -
"""

# What ripe evidence makes of a task that is not over: a row is what comes, a column the evidence.
#   missed   "no such task" often and long enough before
#   silent   no answer for long enough before
RIPE = """
comes          missed   silent
missing        missing  -
unrecognized   -        expired
rejected       -        expired
unreachable    -        expired
throttled      -        expired
unauthorized   -        expired
nothing        -        expired
"""

# The moves that there are; nothing else may ever happen.
POSSIBLE = {
    "unknown": "pending running succeeded failed stopped missing expired",
    "pending": "running succeeded failed stopped missing expired",
    "running": "pending succeeded failed stopped missing expired",
    "succeeded": "pending running succeeded failed stopped missing expired",
    "failed": "pending running succeeded failed stopped missing expired",
    "stopped": "pending running succeeded failed stopped missing expired",
    "missing": "pending running succeeded failed stopped",
    "expired": "pending running succeeded failed stopped",
}

# The run id known before, and the one told.
RUN_IDS = {
    "never told": (None, None),
    "told first": (None, "b"),
    "not told again": ("a", None),
    "told empty": ("a", ""),
    "the same": ("a", "a"),
    "another": ("a", "b"),
}

NO_NEW_RUN_ID = ("never told", "not told again", "told empty", "the same")

EVIDENCE = {
    "missed": Contact(missing_polls=2, missing_since=NOW - 10),
    "silent": Contact(silent_since=NOW - 45, unanswered_since=NOW - 45),
}

FOLLOW = (False, True)
ENDURING = [*product(ALIVE, FOLLOW), *product(REPORTED_ENDS, [True])]
"""States, followed or not, of tasks that are not over."""


def rows(table: str) -> dict[str, dict[str, str]]:
    """A table's cells by row and column."""
    head, *lines = (line.split() for line in table.strip().splitlines())
    return {line[0]: dict(zip(head[1:], line[1:], strict=True)) for line in lines}


def named(row: str, run_id: str | None = None, contact: Contact | None = None) -> Task:
    """The task that a row's name stands for."""
    return task_in(State(row.rstrip("+")), follow=row.endswith("+"), run_id=run_id, contact=contact)


def became(before: Task, step: Step) -> tuple[State, int, bool]:
    """The state a task is in now, how many runs have begun, and whether a transition is told."""
    return step.task.status.state, step.task.status.run - before.status.run, step.transition is not None


def expected(before: Task, told: str, cell: str, another: bool) -> tuple[State, int, bool]:
    """What `became` must give for a cell of the table."""
    if cell == "-" or (cell == "again" and not another):
        return before.status.state, 0, False
    return State(told), int(cell != "move"), True


@pytest.mark.parametrize("ids", RUN_IDS)
@pytest.mark.parametrize("row", rows(ANSWERED))
def test_what_an_answer_makes_of_a_task(row: str, ids: str) -> None:
    """For every state, followed or not, every state told and every kind of run id: the move in the table, no other."""
    known, told_id = RUN_IDS[ids]
    before = named(row, known)
    actual = {told: became(before, advance(before, answer(State(told), run_id=told_id), NOW)) for told in State}
    assert actual == {
        told: expected(before, told, cell, ids == "another") for told, cell in rows(ANSWERED)[row].items()
    }


@pytest.mark.parametrize("row", rows(ANSWERED))
def test_what_is_no_move_and_nothing_new_changes_nothing(row: str) -> None:
    """A state told again, and one that no answer can tell, leave the very same status: nothing is to be written."""
    for ids, (told, cell) in product(NO_NEW_RUN_ID, rows(ANSWERED)[row].items()):
        known, told_id = RUN_IDS[ids]
        before = named(row, known)
        step = advance(before, answer(State(told), run_id=told_id), NOW)
        assert (step.task.status is before.status) is (cell in {"-", "again"}), (ids, told)
        assert step.changed is (cell not in {"-", "again"}), (ids, told)


@pytest.mark.parametrize("row", rows(ANSWERED))
def test_a_poll_without_an_answer_changes_nothing(row: str) -> None:
    """A poll that failed is never taken for a task that failed, whatever state its observation should carry."""
    before = named(row, "a")
    for outcome, told in product([*NO_ANSWER, Outcome.MISSING], [None, *State]):
        step = advance(before, Observation(outcome, told, run_id="b", progress=50.0, message="no"), NOW)
        assert step.task.status is before.status, (outcome, told)
        assert (step.changed, step.transition, step.flags) == (False, None, ()), (outcome, told)


@pytest.mark.parametrize("evidence", EVIDENCE)
@pytest.mark.parametrize("comes", rows(RIPE))
def test_what_ripe_evidence_makes_of_a_task(comes: str, evidence: str) -> None:
    """Missing takes one more "no such task", expired one more poll or moment without an answer, whatever the state."""
    cell = rows(RIPE)[comes][evidence]
    for state, follow in ENDURING:
        before = task_in(state, follow=follow, contact=EVIDENCE[evidence])
        step = lapse(before, NOW) if comes == "nothing" else advance(before, Observation(Outcome(comes)), NOW)
        assert became(before, step) == (state if cell == "-" else State(cell), 0, cell != "-"), (state, follow)


@pytest.mark.parametrize("evidence", EVIDENCE)
@pytest.mark.parametrize("told", ANSWERABLE)
def test_an_answer_outweighs_all_evidence(told: State, evidence: str) -> None:
    """However long there was no answer, or no such task: what the provider says now is what the task is in."""
    for state, follow in ENDURING:
        before = task_in(state, follow=follow, contact=EVIDENCE[evidence])
        assert advance(before, answer(told), NOW).task.status.state is told, (state, follow)


OVER = [*product(REPORTED_ENDS, [False]), *product((State.MISSING, State.EXPIRED), FOLLOW)]


@pytest.mark.parametrize("contact", [Contact(), *EVIDENCE.values()])
@pytest.mark.parametrize(("state", "follow"), OVER)
def test_a_task_that_is_over_stays_the_very_same(state: State, follow: bool, contact: Contact) -> None:
    """Neither late polls nor time touch it: not its status, not the record of the asking."""
    before = task_in(state, follow=follow, contact=contact)
    seen = [*(answer(told, run_id="b") for told in State), *map(Observation, [*NO_ANSWER, Outcome.MISSING])]
    steps = [*(advance(before, each, NOW) for each in seen), lapse(before, NOW), lapse(before, NOW, held_since=T0)]
    assert all(step == Step(before) and step.task is before for step in steps)


def every_step() -> Iterator[Step]:
    """Every observation and lapse, on every kind of evidence, for a followed and an awaited task in every state."""
    seen = [*(answer(told, run_id="b") for told in State), *map(Observation, [*NO_ANSWER, Outcome.MISSING])]
    for state, contact, awaited in product(State, [Contact(), *EVIDENCE.values()], [None, T0]):
        task = task_in(state, follow=True, run_id="a", contact=contact, awaited_since=awaited)
        yield lapse(task, NOW)
        yield from (advance(task, each, NOW) for each in seen)


def test_the_table_of_moves_is_exactly_what_can_happen() -> None:
    """`MOVES` promises no move that never comes, and none comes that it does not promise."""
    reached = {state: set[State]() for state in State}
    for step in every_step():
        if step.transition:
            reached[step.transition.source].add(step.transition.target)
    assert reached == MOVES


def test_the_table_of_moves_is_the_documented_one() -> None:
    """From the ends anything may follow, even the same again; from missing and expired only a run."""
    assert {source: set(targets.split()) for source, targets in POSSIBLE.items()} == MOVES


def test_an_answer_without_a_state_is_a_mistake_in_the_program() -> None:
    """Nobody may invent a state for it."""
    with pytest.raises(ValueError, match="an answered observation carries a state"):
        advance(task_in(State.RUNNING), Observation(Outcome.ANSWERED), NOW)


# --- what is known of a task -----------------------------------------------------------------------------------


def test_a_new_task_is_unknown() -> None:
    """Nothing is known before the first answer, and the first run counts from first sight."""
    assert begin(entry(), T0) == Task(entry(), Status(first_seen_at=T0, since=T0, run_since=T0), Contact())
    assert begin(entry(), T0).status.state is State.UNKNOWN


def test_the_answer_is_what_is_known() -> None:
    """Raw status, progress, message, start, parts and run id are as last told."""
    told = answer(
        State.RUNNING, raw_status="RUN", progress=40.0, message="m", started_at=T0, subtasks=Subtasks(3, 1), run_id="a"
    )
    status = advance(task_in(State.PENDING, raw_status="PEND", message="old"), told, NOW).task.status
    assert (status.raw_status, status.progress, status.message) == ("RUN", 40.0, "m")
    assert (status.started_at, status.subtasks, status.run_id) == (T0, Subtasks(3, 1), "a")


def test_a_start_and_a_run_id_once_told_are_remembered() -> None:
    """An answer that leaves them out does not make them unknown; what else it leaves out is no longer so."""
    known = task_in(State.RUNNING, started_at=T0, run_id="a", progress=40.0, message="m")
    status = advance(known, answer(State.RUNNING), NOW).task.status
    assert (status.started_at, status.run_id, status.progress, status.message) == (T0, "a", None, None)


def test_since_tells_when_the_state_was_noticed() -> None:
    """It moves with the state, not with what else is told."""
    running = advance(task_in(State.PENDING), answer(State.RUNNING), NOW).task
    assert running.status.since == NOW
    assert advance(running, answer(State.RUNNING, progress=1.0), NOW + 5).task.status.since == NOW


def test_a_change_beside_the_state_is_a_change_without_a_transition() -> None:
    """Progress is worth writing down, not worth telling the world."""
    step = advance(task_in(State.RUNNING, progress=1.0), answer(State.RUNNING, progress=2.0), NOW)
    assert (step.changed, step.transition, step.task.status.progress) == (True, None, 2.0)


# --- how the asking goes ---------------------------------------------------------------------------------------

FAILING = Contact(
    polls=7,
    attempt=4,
    last_polled_at=T0 + 7,
    silent_since=T0 + 5,
    unanswered_since=T0 + 3,
    consecutive_failures=3,
    last_failure=Failure(Outcome.UNREACHABLE, T0 + 7, "no route"),
)


def asked(outcome: Outcome) -> Contact:
    """The record of a failing running task after one more poll with this outcome."""
    seen = Observation(outcome, State.RUNNING if outcome is Outcome.ANSWERED else None, message="new")
    return advance(task_in(State.RUNNING, contact=FAILING), seen, T0 + 9).task.contact


@pytest.mark.parametrize("outcome", [Outcome.ANSWERED, Outcome.MISSING])
def test_what_tells_of_the_task_ends_the_silence(outcome: Outcome) -> None:
    """No failure counts any longer, but the last one can still be shown."""
    contact = asked(outcome)
    assert (contact.silent_since, contact.unanswered_since, contact.consecutive_failures) == (None, None, 0)
    assert contact.last_failure == FAILING.last_failure


@pytest.mark.parametrize("outcome", NO_ANSWER)
def test_what_does_not_tell_of_the_task_is_one_more_failure(outcome: Outcome) -> None:
    """It is counted and kept to be shown, and the wait for an answer goes on from where it began."""
    contact = asked(outcome)
    assert (contact.unanswered_since, contact.consecutive_failures) == (T0 + 3, 4)
    assert contact.last_failure == Failure(outcome, T0 + 9, "new")


@pytest.mark.parametrize("outcome", Outcome)
def test_only_a_reply_ends_the_silence(outcome: Outcome) -> None:
    """Any reply of the provider does; a timeout, a throttling, a refused key are silence."""
    silent = outcome in {Outcome.UNREACHABLE, Outcome.THROTTLED, Outcome.UNAUTHORIZED}
    assert asked(outcome).silent_since == (T0 + 5 if silent else None)


@pytest.mark.parametrize("outcome", Outcome)
def test_every_poll_is_counted(outcome: Outcome) -> None:
    """Each poll counts as one; as an attempt it counts unless the connection was refused."""
    contact = asked(outcome)
    refused = outcome in {Outcome.THROTTLED, Outcome.UNAUTHORIZED}
    assert (contact.polls, contact.last_polled_at, contact.attempt) == (8, T0 + 9, 4 if refused else 5)


def test_attempts_are_counted_anew_from_a_move() -> None:
    """The poll that showed the new state is its first."""
    moved = advance(task_in(State.PENDING, contact=FAILING), answer(State.RUNNING), NOW).task
    assert (moved.contact.attempt, moved.contact.polls) == (1, 8)


# --- missing ---------------------------------------------------------------------------------------------------

MISS = Observation(Outcome.MISSING, code="no-such-task", message="there is no such task", request_id="r1")
LOST = Observation(Outcome.UNREACHABLE)
RUNS = answer(State.RUNNING)


@pytest.mark.parametrize(
    ("polls", "state"),
    [
        ([(0, MISS), (9, MISS)], State.RUNNING),
        ([(0, MISS), (60, MISS)], State.RUNNING),
        ([(0, MISS), (5, MISS), (9, MISS)], State.RUNNING),
        ([(0, MISS), (5, MISS), (10, MISS)], State.MISSING),
        ([(0, MISS), (3, MISS), (6, MISS), (9, MISS)], State.RUNNING),
        ([(0, MISS), (3, MISS), (6, MISS), (9, MISS), (12, MISS)], State.MISSING),
        ([(0, MISS), (30, RUNS), (31, MISS), (40, MISS)], State.RUNNING),
        ([(0, MISS), (30, RUNS), (31, MISS), (36, MISS), (40, MISS)], State.RUNNING),
        ([(0, MISS), (30, RUNS), (31, MISS), (36, MISS), (41, MISS)], State.MISSING),
        ([(0, MISS), (5, MISS), (8, LOST), (11, MISS), (14, MISS)], State.RUNNING),
        ([(0, MISS), (5, MISS), (8, LOST), (11, MISS), (14, MISS), (21, MISS)], State.MISSING),
    ],
)
def test_missing_takes_three_polls_in_a_row_over_long_enough(
    polls: list[tuple[float, Observation]], state: State
) -> None:
    """Both must be: often enough and long enough. Any other outcome between starts the count anew."""
    assert poll(task_in(State.RUNNING), *polls).status.state is state


def test_any_outcome_but_missing_interrupts_the_streak() -> None:
    """In a row means nothing else came between."""
    missed = task_in(State.RUNNING, contact=EVIDENCE["missed"])
    for outcome in NO_ANSWER:
        contact = advance(missed, Observation(outcome), NOW).task.contact
        assert (contact.missing_polls, contact.missing_since) == (0, None), outcome


def test_a_lapse_does_not_interrupt_the_streak() -> None:
    """Time passing says nothing about the task, held back or not."""
    missed = task_in(State.RUNNING, contact=EVIDENCE["missed"])
    waited = lapse(missed, NOW, held_since=NOW - 1).task
    assert advance(waited, MISS, NOW).task.status.state is State.MISSING


def test_a_missing_task_tells_what_the_provider_said() -> None:
    """Its code and its words, as the transition's raw status and message."""
    told = advance(task_in(State.RUNNING, contact=EVIDENCE["missed"]), MISS, NOW).transition
    assert told is not None
    assert (told.raw_status, told.message, told.request_id) == ("no-such-task", "there is no such task", "r1")
    assert (told.target, told.terminal, told.initial, told.at) == (State.MISSING, True, False, NOW)


# --- expired ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", NO_ANSWER)
def test_a_task_without_an_answer_for_long_enough_expires(outcome: Outcome) -> None:
    """Any outcome that does not tell the status counts, from the first of them, and the last one says why."""
    seen = Observation(outcome, message="what went wrong")
    waiting = poll(task_in(State.RUNNING), (10, seen), (54, seen))
    assert waiting.status.state is State.RUNNING
    gone = poll(waiting, (55, seen))
    assert (gone.status.state, gone.status.message, gone.status.since) == (State.EXPIRED, "what went wrong", T0 + 55)


@pytest.mark.parametrize("seen", [RUNS, MISS])
def test_news_of_the_task_puts_the_giving_up_off(seen: Observation) -> None:
    """An answer, or the word that there is no such task, starts the wait anew."""
    task = poll(task_in(State.RUNNING), (0, LOST), (44, seen), (50, LOST), (94, LOST))
    assert task.status.state is State.RUNNING
    assert poll(task, (95, LOST)).status.state is State.EXPIRED


def test_a_task_expires_by_the_mere_passing_of_time() -> None:
    """Nobody needs to poll for it."""
    lost = poll(task_in(State.RUNNING), (10, LOST))
    assert lapse(lost, T0 + 54).task.status.state is State.RUNNING
    assert lapse(lost, T0 + 55).task.status.state is State.EXPIRED


def test_a_task_held_back_all_the_time_expires_and_says_so() -> None:
    """Polls that a closed connection never let out are as silent as those that failed."""
    held = lapse(task_in(State.RUNNING), T0 + 44, held_since=T0).task
    told = lapse(held, T0 + 45, held_since=T0).transition
    assert told is not None
    assert (told.target, told.message) == (State.EXPIRED, "its connection was closed all the time")
    assert told.request_id is None


def test_a_failure_before_the_last_answer_does_not_explain_the_giving_up() -> None:
    """Last week's timeout has nothing to do with a connection that is closed today."""
    timeout = Observation(Outcome.UNREACHABLE, message="timeout")
    well = poll(task_in(State.RUNNING), (0, timeout), (1, RUNS))
    assert lapse(well, T0 + 60, held_since=T0 + 10).task.status.message == "its connection was closed all the time"


def test_an_expired_task_keeps_what_was_last_known() -> None:
    """Progress and raw status stay as a trace of how far it had come."""
    lost = task_in(State.RUNNING, contact=EVIDENCE["silent"], progress=40.0, raw_status="RUNNING")
    gone = lapse(lost, NOW).task.status
    assert (gone.progress, gone.raw_status, gone.ended_at) == (40.0, "RUNNING", None)


# --- after a downtime ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gap", [0.0, 1.0, 10_000.0])
def test_a_downtime_is_not_held_against_a_task(gap: float) -> None:
    """After a restart a silent task has as long to go to unreachable and expired as it had before."""
    lost = poll(task_in(State.RUNNING, policy=replace(CALM, unreachable_after=15.0)), (10, LOST))
    back = resume(lost.entry, lost.status, lost.contact, saved_at=T0 + 12, now=T0 + 12 + gap)
    assert not lapse(back, T0 + 24 + gap).task.status.unreachable
    assert lapse(back, T0 + 25 + gap).task.status.unreachable
    assert lapse(back, T0 + 54 + gap).task.status.state is State.RUNNING
    assert lapse(back, T0 + 55 + gap).task.status.state is State.EXPIRED


def test_a_downtime_changes_nothing_for_a_task_that_answered() -> None:
    """There was no silence, so none goes on."""
    well = poll(task_in(State.RUNNING), (10, RUNS))
    assert resume(well.entry, well.status, well.contact, T0 + 12, T0 + 9_999) == well


def test_a_clock_set_back_does_not_shift_the_silence() -> None:
    """A stored moment that lies in the future is no downtime."""
    lost = poll(task_in(State.RUNNING), (10, LOST))
    assert resume(lost.entry, lost.status, lost.contact, saved_at=T0 + 12, now=T0) == lost


def test_a_task_goes_on_under_its_new_entry() -> None:
    """Following may be switched on while the daemon is down: what had ended then goes on."""
    over = task_in(State.SUCCEEDED)
    back = resume(replace(over.entry, follow=True), over.status, over.contact, T0, NOW)
    assert (over.over, back.over) == (True, False)


# --- runs ------------------------------------------------------------------------------------------------------


def test_a_new_run_knows_nothing_of_the_last() -> None:
    """Start, end, progress, parts and run id are its own; only the task's identity and its count go on."""
    ended = task_in(
        State.SUCCEEDED,
        follow=True,
        run=3,
        run_id="a",
        transitions=5,
        raw_status="success",
        progress=100.0,
        progress_moved_at=T0,
        message="done",
        started_at=T0,
        ended_at=T0 + 9,
        duration=9.0,
        subtasks=Subtasks(1, 1),
    )
    status = advance(ended, answer(State.PENDING), NOW).task.status
    assert status == Status(T0, since=NOW, run_since=NOW, state=State.PENDING, run=4, transitions=6)


def test_a_run_that_came_and_went_between_two_polls_is_told() -> None:
    """Another run id under the same end is a transition from that state to itself, noticed now."""
    ended = task_in(State.FAILED, follow=True, run_id="a", ended_at=T0 + 9, transitions=2)
    told = advance(ended, answer(State.FAILED, run_id="b"), NOW).transition
    assert told is not None
    assert (told.source, told.target, told.run, told.ordinal) == (State.FAILED, State.FAILED, 2, 3)
    assert (told.ended_at, told.initial) == (NOW, False)


def test_another_run_id_while_running_is_no_new_run() -> None:
    """A run begins only after an end: providers name a run as late as at its end."""
    status = advance(task_in(State.RUNNING, run_id="a"), answer(State.RUNNING, run_id="b"), NOW).task.status
    assert (status.run, status.run_id) == (1, "b")


def test_a_run_id_told_late_is_no_new_run() -> None:
    """Only an id that differs from a known one shows another run."""
    named_late = advance(task_in(State.SUCCEEDED, follow=True), answer(State.SUCCEEDED, run_id="a"), NOW)
    assert (named_late.task.status.run, named_late.task.status.run_id, named_late.transition) == (1, "a", None)


# --- ends ------------------------------------------------------------------------------------------------------

NAN = float("nan")

# Seconds after T0, and seconds: start known before; start, end, duration told; end and duration that come of it.
# Noticed at 100.
ENDS = [
    ("as reported", 10, None, 50, None, 50, 40),
    ("as reported, with its start", None, 10, 50, None, 50, 40),
    ("as reported, though the three disagree", None, 10, 50, 7, 50, 7),
    ("start and duration", None, 10, None, 7, 17, 7),
    ("start known before, and duration", 10, None, None, 7, 17, 7),
    ("a new start counts", 10, 20, None, 7, 27, 7),
    ("nothing told but the start: when it was noticed", 10, None, None, None, 100, 90),
    ("nothing told: when it was noticed", None, None, None, None, 100, None),
    ("no time at all, as reported", 10, None, None, 0, 10, 0),
    ("duration alone", None, None, None, 7, 100, 7),
    ("no time at all", 10, None, 10, None, 10, 0),
    ("an end before the start has no duration", 50, None, 10, None, 10, None),
    ("a start after its end was noticed has none either", 120, None, None, None, 100, None),
    ("a negative duration proves nothing", 10, None, None, -5, 100, 90),
    ("no number proves nothing", 10, None, None, NAN, 100, 90),
    ("a placeholder of 1970 for a start gives no duration", -T0, None, None, None, 100, None),
    ("two times of 1970 give one", -T0 + 10, None, -T0 + 50, None, -T0 + 50, 40),
]


def after_t0(seconds: float | None) -> float | None:
    """A moment so many seconds after the first sight."""
    return None if seconds is None else T0 + seconds


@pytest.mark.parametrize(
    ("known", "started", "ended", "lasted", "end", "duration"), [row[1:] for row in ENDS], ids=[row[0] for row in ENDS]
)
@pytest.mark.parametrize("state", REPORTED_ENDS)
def test_when_a_run_ended_and_how_long_it_took(
    state: State,
    known: float | None,
    started: float | None,
    ended: float | None,
    lasted: float | None,
    end: float,
    duration: float | None,
) -> None:
    """The end is as reported, else start plus duration, else when it was noticed; no duration is ever negative."""
    told = answer(state, started_at=after_t0(started), ended_at=after_t0(ended), duration=lasted)
    status = advance(task_in(State.RUNNING, started_at=after_t0(known)), told, NOW).task.status
    assert (status.ended_at, status.duration) == (T0 + end, duration)


@pytest.mark.parametrize(
    ("started", "ended", "lasted", "end", "duration"),
    [
        (None, None, None, None, None),
        (10, None, None, None, None),
        (None, 50, None, 50, None),
        (10, 50, None, 50, 40),
        (10, None, 7, 17, 7),
        (None, None, 7, None, 7),
    ],
)
def test_an_end_at_first_sight_is_only_known_as_reported(
    started: float | None, ended: float | None, lasted: float | None, end: float | None, duration: float | None
) -> None:
    """It may have been long ago: when it was noticed says nothing about it, not even later on."""
    told = answer(State.FAILED, started_at=after_t0(started), ended_at=after_t0(ended), duration=lasted)
    first = advance(task_in(State.UNKNOWN, follow=True), told, NOW).task
    again = advance(first, told, NOW + 50)
    assert (first.status.ended_at, first.status.duration) == (after_t0(end), duration)
    assert again.task.status is first.status


def test_an_end_noticed_once_stays_when_it_was_noticed() -> None:
    """A followed task that is asked again between runs does not end later each time."""
    ended = advance(task_in(State.RUNNING, follow=True), answer(State.SUCCEEDED), NOW).task
    assert advance(ended, answer(State.SUCCEEDED), NOW + 50).task.status is ended.status


def test_an_end_reported_late_replaces_the_noticed_one() -> None:
    """The provider knows better, and says so without another transition."""
    ended = advance(task_in(State.RUNNING, follow=True), answer(State.SUCCEEDED), NOW).task
    step = advance(ended, answer(State.SUCCEEDED, ended_at=T0 + 90), NOW + 50)
    assert (step.task.status.ended_at, step.transition) == (T0 + 90, None)


@pytest.mark.parametrize("state", [State.PENDING, State.RUNNING])
def test_a_run_under_way_has_no_end(state: State) -> None:
    """An end or duration reported while it runs (so far, or foreseen) is none."""
    told = answer(state, started_at=T0, ended_at=T0 + 9, duration=9.0)
    status = advance(task_in(State.UNKNOWN), told, NOW).task.status
    assert (status.ended_at, status.duration) == (None, None)


# --- what is told ----------------------------------------------------------------------------------------------


def test_a_transition_tells_all_that_is_known() -> None:
    """Receivers need ask nobody."""
    told = answer(State.FAILED, raw_status="FAILED", progress=40.0, message="disk full", started_at=T0, request_id="r1")
    task = Task(entry(labels={"team": "ads"}), task_in(State.RUNNING, transitions=1, run=2).status)
    transition = advance(task, told, NOW).transition
    assert transition is not None
    assert transition == Transition(
        transition_id=transition.transition_id,
        ordinal=2,
        task=NAME,
        provider="studio",
        operation="system-task",
        source=State.RUNNING,
        target=State.FAILED,
        at=NOW,
        run=2,
        raw_status="FAILED",
        progress=40.0,
        message="disk full",
        started_at=T0,
        ended_at=NOW,
        duration=100.0,
        request_id="r1",
        initial=False,
        labels={"team": "ads"},
    )


@pytest.mark.parametrize(("state", "told"), [*product(ALIVE, ANSWERABLE)])
def test_only_an_end_at_first_sight_is_initial(state: State, told: State) -> None:
    """Alerts can leave out what had ended before anybody watched; what was seen under way is news."""
    transition = advance(task_in(state), answer(told), NOW).transition
    assert transition is None or transition.initial is (state is State.UNKNOWN and told in REPORTED_ENDS)


def test_an_end_after_failed_polls_only_is_still_initial() -> None:
    """The first answer counts, not the first poll."""
    told = advance(poll(task_in(State.UNKNOWN), (0, LOST), (1, MISS)), answer(State.FAILED), NOW).transition
    assert told is not None
    assert told.initial


def transition_id(task: Task) -> str:
    """The id under which the task's end is told."""
    told = advance(task, answer(State.FAILED), NOW).transition
    assert told is not None
    return told.transition_id


def test_the_same_transition_has_the_same_id_whatever_else_is_told_of_it() -> None:
    """A crash between commit and telling repeats the id: a receiver can tell a repeat."""
    known = task_in(State.RUNNING, progress=40.0, message="m", contact=FAILING)
    assert transition_id(task_in(State.RUNNING)) == transition_id(known)


@pytest.mark.parametrize("other", [{"transitions": 1}, {"first_seen_at": T0 + 1}])
def test_another_transition_has_another_id(other: dict[str, Any]) -> None:
    """The next one of the task, and one of a task begun anew under the same name, are no repeats."""
    assert transition_id(task_in(State.RUNNING, **other)) != transition_id(task_in(State.RUNNING))


def test_tasks_of_different_names_never_share_an_id() -> None:
    """The name is part of it."""
    other = replace(entry(), name="another")
    assert transition_id(begin(other, T0)) != transition_id(begin(entry(), T0))


def test_the_policy_decides_when_missing_is_concluded() -> None:
    """One poll is enough where one is configured."""
    hasty = replace(CALM, missing_polls=1, missing_time=0.0)
    assert advance(task_in(State.RUNNING, policy=hasty), MISS, NOW).task.status.state is State.MISSING


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("told", ANSWERABLE)
@pytest.mark.parametrize("state", State)
def test_an_answer_that_says_the_same_again_may_as_well_not_be_read(state: State, told: State, follow: bool) -> None:
    """Whatever the first one made of the task, reading it once more makes the same of it as knowing that it is."""
    seen = answer(told, progress=30.0, message="m", started_at=T0 - 50.0, run_id="r-1")
    task = advance(task_in(state, follow=follow), seen, NOW).task
    for now in (NOW + 1.0, NOW + 10 * 86_400.0):
        assert advance(task, UNCHANGED, now) == advance(task, seen, now)
