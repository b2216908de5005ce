"""What is said of a task beside its state, and when to look again: overdue, stalled, unreachable, `next_lapse`."""

from dataclasses import replace
from math import nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.domain.events import FlagChange
from poller.domain.lifecycle import LONGEST_BELIEVED_AGE, Step, advance, begin, lapse, next_lapse
from poller.domain.observation import Observation, Outcome
from poller.domain.state import Flag, State
from poller.domain.task import Contact, Policy, Task
from tests.domain.lives import (
    ALIVE,
    BRISK,
    NAME,
    NO_ANSWER,
    REPLIES_WITHOUT_STATUS,
    REPORTED_ENDS,
    SILENT,
    T0,
    answer,
    entry,
    poll,
    task_in,
)

NEVER = 1e6
RUNS = answer(State.RUNNING)
LOST = Observation(Outcome.UNREACHABLE, message="no route")
ONLY_DEADLINE = replace(BRISK, unreachable_after=NEVER, give_up_after=NEVER, stalled_after=NEVER)
ONLY_STALLED = replace(BRISK, stalled_after=12.0, deadline=NEVER, unreachable_after=NEVER, give_up_after=NEVER)
ONLY_SILENCE = replace(BRISK, deadline=NEVER, stalled_after=NEVER)


def flags(step: Step) -> tuple[bool, bool, bool]:
    """Whether the task is overdue, stalled, unreachable."""
    status = step.task.status
    return status.overdue, status.stalled, status.unreachable


def changes(step: Step) -> list[tuple[Flag, bool]]:
    """The flags that are told to have risen or cleared."""
    return [(change.flag, change.raised) for change in step.flags]


# --- overdue ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("started_at", "deadline_at"),
    [
        (None, T0 + 40),
        (T0, T0 + 40),
        (T0 - 30, T0 + 10),
        (T0 + 30, T0 + 70),
        (0.0, T0 + 40),
        (T0 - LONGEST_BELIEVED_AGE, T0 + 40),
        (-1.0, T0 + 40),
    ],
)
@pytest.mark.parametrize("state", [State.PENDING, State.RUNNING])
def test_a_task_is_overdue_from_its_deadline_on(state: State, started_at: float | None, deadline_at: float) -> None:
    """The deadline runs from the reported start, else (or if that is a placeholder of 1970) from first sight."""
    task = task_in(state, policy=ONLY_DEADLINE, started_at=started_at)
    assert not flags(lapse(task, deadline_at - 1))[0]
    assert flags(lapse(task, deadline_at))[0]


def test_a_task_that_started_long_ago_is_overdue_at_first_sight() -> None:
    """Nobody waits another deadline for it."""
    step = advance(task_in(State.UNKNOWN, policy=ONLY_DEADLINE), answer(State.RUNNING, started_at=T0 - 41), T0)
    assert (flags(step)[0], changes(step)) == (True, [(Flag.OVERDUE, True)])


@pytest.mark.parametrize(("years", "believed"), [(1, True), (9, True), (11, False), (50, False)])
def test_a_start_of_more_than_ten_years_ago_is_not_believed(years: int, believed: bool) -> None:
    """No task takes that long; documented samples hold placeholders of 1970."""
    task = task_in(State.RUNNING, policy=ONLY_DEADLINE, started_at=T0 - years * 365 * 86_400)
    assert flags(lapse(task, T0))[0] is believed


@pytest.mark.parametrize("state", ALIVE)
@pytest.mark.parametrize("outcome", [*NO_ANSWER, Outcome.MISSING])
def test_no_answer_is_needed_for_being_overdue(state: State, outcome: Outcome) -> None:
    """Time passes for a task that cannot be read, too, and for one that was never read."""
    task = task_in(state, policy=ONLY_DEADLINE)
    assert flags(advance(task, Observation(outcome), T0 + 40))[0]


@pytest.mark.parametrize("state", REPORTED_ENDS)
def test_a_task_that_has_ended_is_not_overdue(state: State) -> None:
    """The flag clears with the end, and does not rise between two runs."""
    late = lapse(task_in(State.RUNNING, policy=ONLY_DEADLINE, follow=True), T0 + 50).task
    ended = advance(late, answer(state), T0 + 60)
    assert changes(ended) == [(Flag.OVERDUE, False)]
    assert not lapse(ended.task, T0 + 500).changed


@pytest.mark.parametrize(
    ("started_at", "deadline_at"), [(None, T0 + 140), (T0 + 90, T0 + 130), (0.0, T0 + 140), (T0, T0 + 100)]
)
def test_each_run_has_its_own_deadline(started_at: float | None, deadline_at: float) -> None:
    """From its own reported start, else from when the run was first seen; never from the last run's."""
    ended = task_in(State.SUCCEEDED, policy=ONLY_DEADLINE, follow=True, started_at=T0)
    step = advance(ended, answer(State.RUNNING, started_at=started_at), T0 + 100)
    assert flags(step)[0] is (deadline_at <= T0 + 100)
    assert flags(lapse(step.task, deadline_at))[0]
    assert not flags(lapse(step.task, deadline_at - 1))[0] or deadline_at <= T0 + 100


def test_overdue_clears_when_a_later_start_becomes_known() -> None:
    """A task that waited in a queue is not late once it says when it really began."""
    late = lapse(task_in(State.PENDING, policy=ONLY_DEADLINE), T0 + 50).task
    step = advance(late, answer(State.RUNNING, started_at=T0 + 45), T0 + 51)
    assert (flags(step)[0], changes(step)) == (False, [(Flag.OVERDUE, False)])


# --- stalled ---------------------------------------------------------------------------------------------------


def progressing(*told: tuple[float, float | None]) -> Task:
    """A running task that told so much progress, each so many seconds after first sight."""
    task = task_in(State.RUNNING, policy=ONLY_STALLED)
    return poll(task, *((after, answer(State.RUNNING, progress=progress)) for after, progress in told))


@pytest.mark.parametrize(
    ("told", "stalled"),
    [
        ([(0, 10), (1, 20), (12, 20)], False),
        ([(0, 10), (1, 20), (13, 20)], True),
        ([(0, 10), (1, 20), (13, 21)], False),
        ([(0, 10), (1, 20), (13, 15)], False),
        ([(0, 10), (1, 20), (13, None)], True),
        ([(0, 10), (13, 10), (500, 10)], False),
        ([(0, 10), (500, 20)], False),
        ([(0, None), (1, 20), (500, 20)], False),
        ([(0, None), (500, None)], False),
        ([(0, 10), (1, 20), (13, 20), (14, 21)], False),
        ([(0, 10), (1, 20), (13, 20), (14, 21), (26, 21)], True),
    ],
)
def test_stalled_is_a_task_whose_progress_has_moved_but_not_for_long(
    told: list[tuple[float, float | None]], stalled: bool
) -> None:
    """A provider that reports no progress, or always the same, proves nothing; a move in any direction is one."""
    assert progressing(*told).status.stalled is stalled


MOVED = progressing((0, 10), (1, 20))
STALLED = progressing((0, 10), (1, 20), (13, 20))


def test_stalled_is_told_when_it_rises_and_when_it_clears() -> None:
    """Each once."""
    risen = advance(MOVED, answer(State.RUNNING, progress=20), T0 + 13)
    assert changes(risen) == [(Flag.STALLED, True)]
    assert changes(advance(risen.task, answer(State.RUNNING, progress=20), T0 + 14)) == []
    assert changes(advance(risen.task, answer(State.RUNNING, progress=30), T0 + 14)) == [(Flag.STALLED, False)]


@pytest.mark.parametrize("outcome", [*NO_ANSWER, Outcome.MISSING])
def test_a_task_that_cannot_be_read_is_not_called_stalled(outcome: Outcome) -> None:
    """Only an answer tells of progress, or of none; until one comes the flag stays as it is."""
    assert not flags(advance(MOVED, Observation(outcome), T0 + 500))[1]
    assert flags(advance(STALLED, Observation(outcome), T0 + 500))[1]


def test_time_alone_stalls_nothing() -> None:
    """The same goes for the passing of time."""
    assert not flags(lapse(MOVED, T0 + 500))[1]
    assert flags(lapse(STALLED, T0 + 500))[1]


@pytest.mark.parametrize("state", REPORTED_ENDS)
def test_a_task_that_has_ended_is_not_stalled(state: State) -> None:
    """The flag clears with the end."""
    assert changes(advance(STALLED, answer(state, progress=20), T0 + 14)) == [(Flag.STALLED, False)]


def test_a_new_run_is_not_stalled_by_the_progress_of_the_last() -> None:
    """From 100 back to 0 is no move, and the last run's moves are long ago."""
    ended = task_in(State.SUCCEEDED, policy=ONLY_STALLED, follow=True, progress=100.0, progress_moved_at=T0)
    begun = advance(ended, answer(State.RUNNING, progress=0.0), T0 + 500)
    assert not flags(begun)[1]
    assert not flags(advance(begun.task, answer(State.RUNNING, progress=0.0), T0 + 999))[1]


# --- unreachable -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ALIVE)
@pytest.mark.parametrize("outcome", SILENT)
def test_a_task_without_a_reply_for_long_enough_is_unreachable(outcome: Outcome, state: State) -> None:
    """From the first poll that brought none, by a poll or by the passing of time."""
    lost = poll(task_in(state, policy=ONLY_SILENCE), (0, Observation(outcome)))
    assert not flags(lapse(lost, T0 + 14))[2]
    assert flags(lapse(lost, T0 + 15))[2]
    assert flags(advance(lost, Observation(outcome), T0 + 15))[2]


@pytest.mark.parametrize("outcome", REPLIES_WITHOUT_STATUS)
def test_a_task_whose_provider_replies_is_not_unreachable(outcome: Outcome) -> None:
    """Even if the replies tell nothing of the task."""
    task = poll(task_in(State.RUNNING, policy=ONLY_SILENCE), *((5.0 * n, Observation(outcome)) for n in range(9)))
    assert not task.status.unreachable


@pytest.mark.parametrize("outcome", [Outcome.ANSWERED, Outcome.MISSING, *REPLIES_WITHOUT_STATUS])
def test_any_reply_clears_unreachable(outcome: Outcome) -> None:
    """The provider is there again."""
    lost = poll(task_in(State.RUNNING, policy=ONLY_SILENCE), (0, LOST), (20, LOST))
    seen = Observation(outcome, State.RUNNING if outcome is Outcome.ANSWERED else None)
    assert changes(advance(lost, seen, T0 + 21)) == [(Flag.UNREACHABLE, False)]


def test_a_reply_in_between_starts_the_silence_anew() -> None:
    """Unreachable is silence without a break."""
    lost = poll(task_in(State.RUNNING, policy=ONLY_SILENCE), (0, LOST), (14, RUNS), (20, LOST))
    assert not flags(lapse(lost, T0 + 34))[2]
    assert flags(lapse(lost, T0 + 35))[2]


def test_a_task_held_back_by_a_closed_connection_is_unreachable_in_the_end() -> None:
    """A poll that was due and never went out is as silent as one that failed."""
    task = task_in(State.RUNNING, policy=ONLY_SILENCE)
    assert not flags(lapse(task, T0 + 24, held_since=T0 + 10))[2]
    assert flags(lapse(task, T0 + 25, held_since=T0 + 10))[2]


def test_being_held_back_goes_on_from_the_silence_before() -> None:
    """The earlier of the two is when the silence began."""
    lost = poll(task_in(State.RUNNING, policy=ONLY_SILENCE), (0, LOST))
    assert flags(lapse(lost, T0 + 15, held_since=T0 + 10))[2]


def test_a_task_that_is_not_due_is_not_silent() -> None:
    """Without a poll that failed or was held back, time passing means nothing."""
    answered = poll(task_in(State.RUNNING, policy=ONLY_SILENCE), (0, RUNS))
    assert not lapse(answered, T0 + 100_000).changed


def test_a_followed_task_between_runs_can_be_unreachable_too() -> None:
    """Nobody would notice its next run."""
    assert flags(lapse(task_in(State.SUCCEEDED, policy=ONLY_SILENCE, follow=True), T0 + 15, held_since=T0))[2]


def test_a_new_run_does_not_tell_unreachable_again() -> None:
    """The answer that shows the run clears the flag, once."""
    lost = poll(task_in(State.SUCCEEDED, policy=ONLY_SILENCE, follow=True), (0, LOST), (15, LOST))
    assert changes(advance(lost, answer(State.RUNNING), T0 + 16)) == [(Flag.UNREACHABLE, False)]


def test_an_expired_task_is_not_unreachable() -> None:
    """It is polled no more: the flag clears with the end."""
    lost = poll(task_in(State.RUNNING, policy=ONLY_SILENCE), (0, LOST), (15, LOST))
    gone = lapse(lost, T0 + 45)
    assert (gone.task.status.state, changes(gone)) == (State.EXPIRED, [(Flag.UNREACHABLE, False)])


@pytest.mark.parametrize(
    ("polls", "message"),
    [
        ([(0, LOST)], "no route"),
        ([(0, LOST), (1, Observation(Outcome.THROTTLED, message="slow down"))], "slow down"),
        ([(0, LOST), (1, RUNS)], None),
        ([], None),
    ],
)
def test_an_unreachable_task_tells_why(polls: list[tuple[float, Observation]], message: str | None) -> None:
    """The last failure since the last answer; one before that explains nothing."""
    task = poll(task_in(State.RUNNING, policy=ONLY_SILENCE), *polls)
    told = lapse(task, T0 + 44, held_since=T0 + 2).flags
    assert told == (FlagChange(NAME, "studio", "system-task", Flag.UNREACHABLE, True, T0 + 44, State.RUNNING, message),)


def test_flags_that_change_together_are_told_together() -> None:
    """Each with its own message, none with another's."""
    lost = poll(task_in(State.RUNNING, policy=BRISK), (0, LOST))
    told = lapse(lost, T0 + 40).flags
    assert [(change.flag, change.raised, change.message) for change in told] == [
        (Flag.OVERDUE, True, None),
        (Flag.UNREACHABLE, True, "no route"),
    ]


# --- late ------------------------------------------------------------------------------------------------------

ONLY_LATE = replace(BRISK, deadline=NEVER, stalled_after=NEVER, unreachable_after=NEVER, give_up_after=NEVER)


@pytest.mark.parametrize("state", ALIVE)
@pytest.mark.parametrize(("started_at", "late_at"), [(None, T0 + 40), (T0 - 30, T0 + 10), (0.0, T0 + 40)])
def test_a_run_is_late_from_the_age_of_its_family_on(state: State, started_at: float | None, late_at: float) -> None:
    """From the reported start, else (or if that is a placeholder) from first sight; by a poll or by time alone."""
    task = task_in(state, policy=ONLY_LATE, started_at=started_at)
    assert not lapse(task, late_at - 1, late_age=40.0).changed
    risen = lapse(task, late_at, late_age=40.0)
    assert (risen.task.status.late, changes(risen)) == (True, [(Flag.LATE, True)])
    assert changes(advance(task, LOST, late_at, 40.0)) == [(Flag.LATE, True)]
    assert not lapse(risen.task, late_at + 1, late_age=40.0).changed


def test_a_run_whose_family_is_unknown_is_never_late() -> None:
    """Nor is it still late when nothing is known of its family any more."""
    task = task_in(State.RUNNING, policy=ONLY_LATE)
    assert not lapse(task, T0 + 1e5).changed
    assert changes(advance(replace(task, status=replace(task.status, late=True)), RUNS, T0 + 1e5)) == [
        (Flag.LATE, False)
    ]


@pytest.mark.parametrize("state", REPORTED_ENDS)
def test_late_clears_with_the_end_and_a_next_run_starts_anew(state: State) -> None:
    """Between two runs nothing is late; the age of the next counts from its own beginning."""
    late = lapse(task_in(State.RUNNING, policy=ONLY_LATE, follow=True), T0 + 50, late_age=40.0).task
    ended = advance(late, answer(state), T0 + 60, 40.0)
    assert changes(ended) == [(Flag.LATE, False)]
    assert not lapse(ended.task, T0 + 500, late_age=40.0).changed
    begun = advance(ended.task, RUNS, T0 + 500, 40.0)
    assert changes(begun) == []
    assert changes(lapse(begun.task, T0 + 540, late_age=40.0)) == [(Flag.LATE, True)]


def test_late_clears_when_the_family_turns_out_to_take_longer() -> None:
    """With the next poll, or the next look without one."""
    late = lapse(task_in(State.RUNNING, policy=ONLY_LATE), T0 + 50, late_age=40.0).task
    assert changes(advance(late, RUNS, T0 + 51, 60.0)) == [(Flag.LATE, False)]
    assert changes(lapse(late, T0 + 51, late_age=60.0)) == [(Flag.LATE, False)]


@pytest.mark.parametrize(
    ("task", "late_age", "at"),
    [
        (task_in(State.RUNNING, policy=BRISK), 10.0, T0 + 10),
        (task_in(State.RUNNING, policy=BRISK), 30.0, T0 + 15),
        (task_in(State.RUNNING, policy=ONLY_LATE, started_at=T0 - 10), 40.0, T0 + 30),
        (task_in(State.RUNNING, policy=ONLY_LATE), None, T0 + NEVER),
        (task_in(State.RUNNING, policy=ONLY_LATE, late=True), 40.0, T0 + NEVER),
        (task_in(State.SUCCEEDED, policy=ONLY_LATE, follow=True), 40.0, T0 + NEVER),
    ],
)
def test_when_to_look_for_what_is_late(task: Task, late_age: float | None, at: float) -> None:
    """A run that is not late yet is looked at when it will be; no other is on that account."""
    assert next_lapse(task, T0, late_age) == at


# --- when to look again ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "at"),
    [
        (begin(entry(policy=BRISK), T0), T0 + 15),
        (begin(entry(policy=ONLY_DEADLINE), T0), T0 + 40),
        (task_in(State.RUNNING, policy=ONLY_DEADLINE, started_at=T0 - 10), T0 + 30),
        (task_in(State.RUNNING, policy=ONLY_DEADLINE, started_at=0.0), T0 + 40),
        (task_in(State.RUNNING, policy=BRISK, contact=Contact(silent_since=T0 - 5, unanswered_since=T0 - 9)), T0 + 10),
        (task_in(State.RUNNING, policy=BRISK, contact=Contact(unanswered_since=T0 - 35)), T0 + 10),
        (task_in(State.RUNNING, policy=BRISK, overdue=True, unreachable=True), T0 + 45),
        (task_in(State.SUCCEEDED, policy=ONLY_DEADLINE, follow=True), T0 + NEVER),
        (task_in(State.SUCCEEDED, policy=BRISK, follow=True), T0 + 15),
        (task_in(State.SUCCEEDED, policy=BRISK), None),
        (task_in(State.EXPIRED, policy=BRISK, follow=True), None),
    ],
)
def test_when_to_look_again(task: Task, at: float | None) -> None:
    """At the next moment a flag may rise or the task may expire, were nothing to be heard from now on."""
    assert next_lapse(task, T0) == at


SPANS = st.floats(0.001, 1e8)


@st.composite
def waiting(draw: st.DrawFn) -> tuple[Task, float]:
    """A task that is not over, as time has left it at some moment; nothing about its numbers is round."""
    now = draw(st.floats(1.5e9, 2.5e9))
    policy = Policy(deadline=draw(SPANS), unreachable_after=draw(SPANS), give_up_after=draw(SPANS))
    moments = st.none() | SPANS.map(lambda ago: now - ago)
    status = {"first_seen_at": now, "run_since": now - draw(SPANS), "started_at": draw(moments | st.just(0.0))}
    contact = Contact(silent_since=draw(moments), unanswered_since=draw(moments))
    state = draw(st.sampled_from([*ALIVE, State.SUCCEEDED]))
    return lapse(task_in(state, policy=policy, follow=True, contact=contact, **status), now).task, now


@given(waiting())
def test_whoever_has_looked_need_not_look_again_at_once(case: tuple[Task, float]) -> None:
    """After a look the next one lies ahead, however the numbers round: no loop runs hot."""
    task, now = case
    at = next_lapse(task, now)
    assert task.over if at is None else at > now


@given(waiting(), SPANS)
def test_nothing_changes_before_the_time_to_look(case: tuple[Task, float], later: float) -> None:
    """Whoever looks when told to misses nothing: what a look changes, it was time for."""
    task, now = case
    if lapse(task, now + later).changed:
        at = next_lapse(task, now)
        assert at is not None
        assert at <= now + later


@given(waiting())
def test_a_silent_task_changes_exactly_when_it_is_time_to_look(case: tuple[Task, float]) -> None:
    """Not a rounding later, and not a rounding sooner: each look makes the progress it promised."""
    task, now = case
    at = next_lapse(task, now)
    if at is not None and None not in (task.contact.silent_since, task.contact.unanswered_since):
        assert not lapse(task, nextafter(at, 0.0)).changed
        assert lapse(task, at).changed


@given(waiting(), SPANS)
def test_a_task_held_back_is_done_with_in_few_looks(case: tuple[Task, float], ago: float) -> None:
    """From a closed connection to expired it takes a handful of looks, each at its time, none in vain for ever."""
    task, now = case
    held_since, looks = now - ago, 0
    while (at := next_lapse(task, now)) is not None:
        assert at > now or looks == 0
        task, now, looks = lapse(task, at, held_since).task, at, looks + 1
    assert task.status.state is State.EXPIRED
    assert looks <= 6
