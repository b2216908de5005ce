"""A run that was asked to start is awaited: the task is watched for it, and no old end is taken for its end."""

from itertools import product

import pytest
from hypothesis import given

from poller.domain.cadence import next_delay
from poller.domain.lifecycle import MOVES, advance, await_run, forget_run, lapse, next_lapse
from poller.domain.observation import Observation, Outcome
from poller.domain.state import State
from poller.domain.task import Contact, Task
from tests.domain.lives import ANSWERABLE, CALM, NO_ANSWER, REPORTED_ENDS, T0, Moment, answer, live, moments, task_in

NOW = T0 + 100.0
TERMINAL = (*REPORTED_ENDS, State.MISSING, State.EXPIRED)

# What an answer makes of a task that has ended and awaits a run: a row is its state, a column the state told.
#   run    it begins the awaited run
#   -      it shows the old end, if it comes with no other run id; with another one it begins the awaited run
AWAITED = """
from         pending  running  succeeded  failed  stopped
succeeded    run      run      -          run     run
failed       run      run      run        -       run
stopped      run      run      run        run     -
missing      run      run      -          -       -
expired      run      run      -          -       -
"""


def cells() -> list[tuple[State, State, str]]:
    """The cells of the table."""
    head, *lines = (line.split() for line in AWAITED.strip().splitlines())
    return [(State(row), State(told), cell) for row, *made in lines for told, cell in zip(head[1:], made, strict=True)]


def awaiting(state: State, **known: object) -> Task:
    """A task in ``state`` that awaits a run since `T0`."""
    return await_run(task_in(state, **known), T0).task  # type: ignore[arg-type]


@pytest.mark.parametrize("state", TERMINAL)
def test_a_task_that_has_ended_is_over_no_longer(state: State) -> None:
    """It is polled again; nothing is told of that, but it is to be kept."""
    step = await_run(task_in(state), NOW)
    assert (step.task.over, step.task.status.settled, step.task.status.state) == (False, False, state)
    assert (step.changed, step.transition, step.flags) == (True, None, ())


@pytest.mark.parametrize("state", TERMINAL)
def test_what_is_not_going_to_come_is_forgotten(state: State) -> None:
    """As if it had never been asked to start."""
    before = task_in(state)
    step = forget_run(await_run(before, NOW).task)
    assert (step.task.status, step.task.over, step.changed) == (before.status, True, True)
    again = forget_run(step.task)
    assert (again.task, again.changed) == (step.task, False)


@pytest.mark.parametrize(("ids", "another"), [((None, None), 0), (("a", None), 0), (("a", "a"), 0), (("a", "b"), 1)])
@pytest.mark.parametrize(("state", "told", "cell"), cells())
def test_what_an_answer_makes_of_a_task_that_awaits_a_run(
    state: State, told: State, cell: str, ids: tuple[str | None, str | None], another: bool
) -> None:
    """The awaited run begins, or the task stays where it was and goes on waiting."""
    before = awaiting(state, run_id=ids[0])
    step = advance(before, answer(told, run_id=ids[1]), NOW)
    status = step.task.status
    if cell == "run" or another:
        assert (status.state, status.run, status.awaited_since) == (told, 2, None)
        assert step.transition is not None
        assert (step.transition.source, step.transition.target, step.transition.run) == (state, told, 2)
        assert told in MOVES[state]
    else:
        assert (status.state, status.run, status.awaited_since) == (state, 1, T0)
        assert step.transition is None
        assert not step.task.over


@pytest.mark.parametrize("end", REPORTED_ENDS)
def test_the_end_of_the_awaited_run_is_the_end(end: State) -> None:
    """Then the task is over, unless it is followed."""
    for follow in (False, True):
        running = advance(awaiting(State.SUCCEEDED, follow=follow), answer(State.RUNNING), NOW).task
        ended = advance(running, answer(end), NOW + 5).task
        assert (ended.status.state, ended.status.run, ended.over) == (end, 2, not follow)


@pytest.mark.parametrize("end", REPORTED_ENDS)
def test_the_old_run_may_end_first(end: State) -> None:
    """Where nobody had noticed yet that it was over: its end is told, and the new run is awaited on."""
    step = advance(awaiting(State.RUNNING), answer(end), NOW)
    assert step.transition is not None
    assert (step.task.status.run, step.task.over, step.task.status.settled) == (1, False, False)
    assert advance(step.task, answer(State.RUNNING), NOW + 1).task.status.run == 2


@pytest.mark.parametrize("outcome", NO_ANSWER)
@pytest.mark.parametrize("state", TERMINAL)
def test_no_answer_leaves_it_waiting(state: State, outcome: Outcome) -> None:
    """As any task."""
    before = awaiting(state)
    assert advance(before, Observation(outcome), NOW).task.status is before.status


@pytest.mark.parametrize("state", [State.UNKNOWN, State.RUNNING, *TERMINAL])
def test_the_wait_ends_when_no_run_showed_until_the_deadline(state: State) -> None:
    """A process that died before it sent anything awaits a run that never comes: not for ever."""
    before = awaiting(state)
    end = T0 + CALM.deadline
    assert next_lapse(before, NOW) is not None
    assert lapse(before, end - 1).task.status.awaited_since == T0
    step = lapse(before, end)
    assert (step.task.status.awaited_since, step.task.status.state, step.transition) == (None, state, None)
    assert step.task.over is (state in TERMINAL)


def test_the_end_of_the_wait_is_looked_for_in_time() -> None:
    """Of an ended task nothing else lapses as soon."""
    before = awaiting(State.SUCCEEDED)
    policy = before.entry.policy
    assert next_lapse(before, T0) == T0 + min(policy.give_up_after, policy.unreachable_after, policy.deadline)


@pytest.mark.parametrize("state", TERMINAL)
def test_conclusions_of_its_own_end_the_wait(state: State) -> None:
    """Missing and expired are as final as ever; told again only where they are news."""
    for seen, concluded in (
        (Observation(Outcome.MISSING), State.MISSING),
        (Observation(Outcome.REJECTED), State.EXPIRED),
    ):
        task, told = awaiting(state), 0
        for number in range(6):
            step = advance(task, seen, T0 + 20 * number)
            task, told = step.task, told + (step.transition is not None)
        news = state in REPORTED_ENDS
        assert (task.status.state, told) == (concluded if news else state, int(news))
        assert task.over
        assert task.status.awaited_since is None


def test_old_silence_is_not_held_against_it() -> None:
    """A task given up yesterday gets as long as any other."""
    silent = Contact(polls=7, silent_since=T0 - 900, unanswered_since=T0 - 900, missing_polls=9, missing_since=T0 - 9)
    task = awaiting(State.EXPIRED, contact=silent)
    assert task.contact == Contact(polls=7)
    assert not advance(task, Observation(Outcome.REJECTED), NOW).task.over


def test_it_is_polled_as_a_task_that_has_just_changed() -> None:
    """Often first, then less; not as rarely as a followed one that waits for whatever comes."""
    task, delays = awaiting(State.SUCCEEDED, follow=True), []
    for number in range(6):
        task = advance(task, answer(State.SUCCEEDED), T0 + number).task
        delays.append(next_delay(task, 0.5))
    assert delays == [1.0, 1.5, 2.25, 3.375, 5.0625, 7.59375]
    assert next_delay(task_in(State.SUCCEEDED, follow=True), 0.5) == CALM.max


@given(moments)
def test_in_any_life_a_run_is_counted_when_it_shows_and_no_old_end_is_one(life: list[Moment]) -> None:
    """Whatever happens after a start: the wait ends with the run, a conclusion or the deadline, and only once."""
    start = awaiting(State.SUCCEEDED, run_id="a")
    waiting = True
    for lived in live(start, life):
        after, seen = lived.after, lived.moment.seen
        if waiting and after.run == 1:
            assert lived.step.transition is None or after.state in (State.MISSING, State.EXPIRED)
        if waiting and seen is not None and seen.state in ANSWERABLE and not lived.before.over:
            shows_another = seen.state is not lived.before.status.state or seen.run_id == "b"
            assert (after.run == 2) is shows_another
        waiting = waiting and after.awaited_since is not None
        assert waiting is (after.awaited_since is not None)


def test_every_move_is_one_of_the_table() -> None:
    """From every end, by every answer."""
    for state, told in product(TERMINAL, ANSWERABLE):
        step = advance(awaiting(state, run_id="a"), answer(told, run_id="b"), NOW)
        assert step.transition is not None
        assert step.transition.target in MOVES[step.transition.source]
