"""Promises that hold throughout any life of a task, whatever happens in it and in whatever order.

What a life should come to is kept here in a ledger of its own: plain bookkeeping of when what was last heard.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from poller.domain.lifecycle import MOVES, begin, next_lapse, resume
from poller.domain.observation import Outcome
from poller.domain.state import Flag, State
from poller.domain.task import Status, Task
from tests.domain.lives import BRISK, LATE_AGE, NAME, T0, Lived, Moment, entry, live, lives, moments

THOROUGHLY = settings(max_examples=100)
"""For the two promises that decide all the others."""

BRIEFLY = settings(max_examples=40)

FINAL = {"missing", "expired"}
ENDS = {"succeeded", "failed", "stopped"}
TELLING = {"answered", "missing"}
REPLIES = {"answered", "missing", "unrecognized", "rejected"}


@dataclass
class Ledger:
    """When what was last heard of a task."""

    silent_from: float | None = None
    unanswered_from: float | None = None
    misses: int = 0
    missing_from: float = 0.0
    run_from: float = T0
    started: float | None = None
    progress: float | None = None
    moved: float | None = None
    stalled: bool = False

    def book(self, lived: Lived) -> None:
        """Notes one moment, before what became of it is judged."""
        if lived.moment.seen is None:
            self._held(lived.held_since)
            return
        outcome = lived.moment.seen.outcome
        self.silent_from = None if outcome in REPLIES else _first(self.silent_from, lived.now)
        self.unanswered_from = None if outcome in TELLING else _first(self.unanswered_from, lived.now)
        self._missed(outcome, lived.now)
        if outcome == "answered":
            self._answered(lived)

    def _held(self, since: float | None) -> None:
        self.silent_from = _first(self.silent_from, since)
        self.unanswered_from = _first(self.unanswered_from, since)

    def _missed(self, outcome: Outcome, now: float) -> None:
        self.misses = self.misses + 1 if outcome == "missing" else 0
        self.missing_from = now if self.misses == 1 else self.missing_from

    def _answered(self, lived: Lived) -> None:
        seen = lived.moment.seen
        assert seen is not None
        if lived.after.run > lived.before.status.run:
            self.run_from, self.started, self.progress, self.moved = lived.now, None, None, None
        if None not in (seen.progress, self.progress) and seen.progress != self.progress:
            self.moved = lived.now
        self.started = seen.started_at if seen.started_at is not None else self.started
        self.progress = seen.progress
        self.stalled = self.moved is not None and lived.now - self.moved >= BRISK.stalled_after

    def gone(self, lived: Lived) -> bool:
        """Whether the provider has said often and long enough that there is no such task."""
        return self.misses >= BRISK.missing_polls and lived.now - self.missing_from >= BRISK.missing_time

    def given_up(self, lived: Lived) -> bool:
        """Whether there has been no answer for long enough."""
        return self.unanswered_from is not None and lived.now - self.unanswered_from >= BRISK.give_up_after

    def flags(self, lived: Lived) -> tuple[bool, bool, bool, bool]:
        """Whether the task should be overdue, stalled, unreachable, late."""
        alive = lived.after.state not in FINAL | ENDS
        self.stalled = self.stalled and alive
        silent = self.silent_from is not None and lived.now - self.silent_from >= BRISK.unreachable_after
        age = lived.now - (self.started or self.run_from)
        unreachable = silent and lived.after.state != "expired"
        return alive and age >= BRISK.deadline, self.stalled, unreachable, alive and age >= LATE_AGE


def _first(moment: float | None, now: float | None) -> float | None:
    return now if moment is None else moment


def over(task: Task) -> bool:
    """Whether a task is polled no more."""
    return task.status.state in FINAL or (task.status.state in ENDS and not task.entry.follow)


def flags(status: Status) -> tuple[bool, bool, bool, bool]:
    """Whether a task is overdue, stalled, unreachable, late."""
    return status.overdue, status.stalled, status.unreachable, status.late


@THOROUGHLY
@given(lives)
def test_only_answers_and_the_two_conclusions_move_a_task(life: list[Lived]) -> None:
    """The state is what was last answered, missing by the missing rule, expired after give_up_after; nothing else."""
    ledger = Ledger()
    for lived in life:
        ledger.book(lived)
        assert lived.after.state == deserved(ledger, lived)


def deserved(ledger: Ledger, lived: Lived) -> str:
    """The state a task should be in after a moment."""
    seen = lived.moment.seen
    if over(lived.before):
        return lived.before.status.state
    if seen is not None and seen.state is not None:
        return seen.state
    if seen is not None and seen.outcome == "missing":
        return "missing" if ledger.gone(lived) else lived.before.status.state
    return "expired" if ledger.given_up(lived) else lived.before.status.state


@THOROUGHLY
@given(lives)
def test_flags_stand_exactly_while_their_reason_does(life: list[Lived]) -> None:
    """Each rises and clears by itself, by its own rule, whatever else goes on."""
    ledger = Ledger()
    for lived in life:
        ledger.book(lived)
        assert over(lived.before) or flags(lived.after) == ledger.flags(lived)


@BRIEFLY
@given(lives)
def test_a_change_of_flags_is_told_once_and_no_other_is(life: list[Lived]) -> None:
    """Told is what is different now, no more and no less, in the moment it becomes so."""
    for lived in life:
        before, after = flags(lived.before.status), flags(lived.after)
        names = zip(("overdue", "stalled", "unreachable", "late"), before, after, strict=True)
        told = [(change.flag, change.raised, change.at) for change in lived.step.flags]
        assert told == [(name, now, lived.now) for name, was, now in names if was != now]


@BRIEFLY
@given(lives)
def test_a_transition_is_told_for_every_move_and_only_for_a_move(life: list[Lived]) -> None:
    """At most one in a step, from the state before to the state after, and one that the table allows."""
    for lived in life:
        before, after, told = lived.before.status, lived.after, lived.step.transition
        assert (told is not None) is (before.state != after.state or before.run != after.run)
        if told is not None:
            assert (told.source, told.target, told.run, told.at) == (before.state, after.state, after.run, lived.now)
            assert told.target in MOVES[told.source]


@BRIEFLY
@given(lives)
def test_transitions_are_a_chain(life: list[Lived]) -> None:
    """They are numbered from 1 without a gap, and each begins where the one before led."""
    told = [lived.step.transition for lived in life if lived.step.transition is not None]
    states = ["unknown", *(transition.target for transition in told)]
    assert [transition.ordinal for transition in told] == [*range(1, len(told) + 1)]
    assert [(transition.source, transition.target) for transition in told] == [*pairwise(states)]


@BRIEFLY
@given(lives)
def test_no_two_transitions_of_a_life_share_an_id(life: list[Lived]) -> None:
    """A receiver that has seen an id may drop it."""
    ids = [lived.step.transition.transition_id for lived in life if lived.step.transition is not None]
    assert len(set(ids)) == len(ids)


@BRIEFLY
@given(lives)
def test_changed_tells_whether_there_is_anything_to_write(life: list[Lived]) -> None:
    """It is set exactly when the status differs; an equal status is the very same one."""
    for lived in life:
        before, after = lived.before.status, lived.after
        assert lived.step.changed is (before != after)
        assert lived.step.changed or before is after
        assert lived.step.changed or (lived.step.transition, lived.step.flags) == (None, ())


@BRIEFLY
@given(lives)
def test_what_is_over_stays_over_and_the_very_same(life: list[Lived]) -> None:
    """A terminal task that is not followed, a missing one and an expired one never change again."""
    for lived in life:
        if over(lived.before):
            assert lived.step.task is lived.before
            assert (lived.step.changed, lived.step.transition, lived.step.flags) == (False, None, ())
        assert lived.before.over is over(lived.before)


@BRIEFLY
@given(lives)
def test_a_run_begins_only_after_an_end(life: list[Lived]) -> None:
    """Runs are counted one by one, by answers, from the ends of followed tasks; no run begins otherwise."""
    for lived in life:
        before, after = lived.before.status, lived.after
        begun = after.run - before.run
        assert begun in {0, 1}
        if begun:
            assert before.state in ENDS
            assert lived.before.entry.follow
            assert after.run_since == lived.now
        assert begun or after.run_since == before.run_since


@BRIEFLY
@given(lives)
def test_since_and_first_sight_tell_the_truth(life: list[Lived]) -> None:
    """First sight never moves; `since` moves exactly with a transition."""
    for lived in life:
        assert lived.after.first_seen_at == T0
        assert lived.after.since == (lived.now if lived.step.transition else lived.before.status.since)


@BRIEFLY
@given(lives)
def test_an_end_has_no_negative_duration_and_a_run_under_way_has_no_end(life: list[Lived]) -> None:
    """Durations feed a histogram: none is negative, none older than anybody believes."""
    for lived in life:
        status = lived.after
        if status.state in {"unknown", "pending", "running"}:
            assert (status.ended_at, status.duration) == (None, None)
        assert status.duration is None or 0 <= status.duration < 1e9


@BRIEFLY
@given(lives)
def test_an_end_is_initial_only_as_the_first_answer_ever(life: list[Lived]) -> None:
    """At most one transition of a life is, and it leads from unknown to a reported end."""
    told = [lived.step.transition for lived in life if lived.step.transition is not None]
    for transition in told:
        assert transition.initial is (transition.source == "unknown" and transition.target in ENDS)
        assert not transition.initial or transition.ordinal == 1


@BRIEFLY
@given(st.booleans(), moments)
def test_a_life_lived_again_is_the_same_life(follow: bool, moments: list[Moment]) -> None:
    """Nothing but what is given decides: the same moments make equal steps, ids included."""
    first, again = (live(begin(entry(follow, BRISK), T0), moments) for _ in range(2))
    assert first == again


@BRIEFLY
@given(st.booleans(), moments, st.integers(0, 60))
def test_a_life_goes_on_after_a_restart_as_if_nothing_had_been(follow: bool, moments: list[Moment], cut: int) -> None:
    """A task stored and resumed at once, at any moment, comes to what it would have come to."""
    whole = live(begin(entry(follow, BRISK), T0), moments)
    for lived in whole[cut : cut + 1]:
        task = lived.step.task
        assert resume(task.entry, task.status, task.contact, lived.now, lived.now) == task


@BRIEFLY
@given(lives)
def test_the_record_of_the_asking_is_right(life: list[Lived]) -> None:
    """Polls are counted while the task is polled, and failures in a row until something tells of the task."""
    polls = failures = 0
    for lived in life:
        if lived.moment.seen is not None and not over(lived.before):
            polls += 1
            failures = 0 if lived.moment.seen.outcome in TELLING else failures + 1
        contact = lived.step.task.contact
        assert (contact.polls, contact.consecutive_failures) == (polls, failures)


@BRIEFLY
@given(lives)
def test_there_is_always_a_next_look_ahead_until_a_task_is_over(life: list[Lived]) -> None:
    """Whatever happened, the next lapse lies in the future; only what is over needs none."""
    for lived in life:
        at = next_lapse(lived.step.task, lived.now, LATE_AGE)
        assert over(lived.step.task) if at is None else at > lived.now


@BRIEFLY
@given(moments)
def test_names_keep_lives_apart(moments: list[Moment]) -> None:
    """Two tasks that live through the same moments tell transitions of different ids."""
    twin = replace(entry(policy=BRISK), name=f"{NAME}-2")
    one, other = (live(begin(each, T0), moments) for each in (entry(policy=BRISK), twin))
    ids = [{lived.step.transition.transition_id for lived in life if lived.step.transition} for life in (one, other)]
    assert not ids[0] & ids[1]


def test_the_lives_tried_here_come_to_every_end() -> None:
    """A promise kept because nothing ever happens is none: within a few hundred lives every state and flag is met."""
    met: set[str] = set()

    @settings(max_examples=300, derandomize=True, database=None)
    @given(lives)
    def collect(life: list[Lived]) -> None:
        for lived in life:
            met.add(lived.after.state)
            met.update(change.flag for change in lived.step.flags)

    collect()
    assert met >= {*State, *Flag}
