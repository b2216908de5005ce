"""What every store promises."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any
from uuid import UUID

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poller.domain.errors import StoreError
from poller.domain.events import Transition
from poller.domain.family import Run
from poller.domain.forecast import MOST_RUNS
from poller.domain.lifecycle import advance, begin
from poller.domain.observation import Observation, Outcome, Subtasks
from poller.domain.state import State
from poller.domain.task import Contact, Entry, Policy, Task
from poller.protocols import Batch, Change, FinishedRun, Pulse, Saved, Store
from tests.contract import anything
from tests.contract.conftest import StoreFactory

T0 = 1_700_000_000.0

searching = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
"""The examples of a test share a store, as the tasks of a life do."""


def entry(name: str = "import", generation: str = "1", **others: object) -> Entry:
    """An entry of the watchlist."""
    return replace(Entry(name, "search", "function-task", {"generation": generation}), **others)  # type: ignore[arg-type]


def seen(task: Task, state: State, at: float) -> Change:
    """What becomes of ``task`` when it is seen in ``state``."""
    step = advance(task, Observation(Outcome.ANSWERED, state, raw_status=state.upper()), at)
    return Change(step.task, step.transition)


def ended(name: str = "import", at: float = T0 + 5) -> Change:
    """A task that has just been seen to have ended."""
    return seen(begin(entry(name), T0), State.SUCCEEDED, at)


def told_by(change: Change) -> Transition:
    """The transition in ``change``, which has one."""
    assert change.transition is not None
    return change.transition


def saved(task: Task, at: float, next_poll_at: float | None = None) -> Saved:
    """What the store is to tell of ``task``, committed at ``at``."""
    entry = task.entry
    return Saved(entry.name, entry.provider, entry.operation, entry.params, task.status, task.contact, at, next_poll_at)


async def known(store: Store, entries: Sequence[Entry], now: float = T0 + 100) -> dict[str, Saved]:
    """What a start of the program would learn of ``entries``."""
    await store.watch(entries, now)
    return {stored.entry.name: stored.saved for stored in (await store.tasks()).tasks}


async def all_transitions(store: Store) -> list[Transition]:
    """Every transition in the store, newest first."""
    return list((await store.transitions(limit=1000)).transitions)


# What goes in comes out


@searching
@given(tasks=anything.several(anything.tasks), at=anything.numbers)
async def test_a_task_comes_back_exactly_as_it_was_committed(store: Store, tasks: list[Task], at: float) -> None:
    """Every text, every float to the last bit, and every None."""
    entries = [task.entry for task in tasks]
    began = {name: it.status.first_seen_at for name, it in (await known(store, entries)).items()}
    tasks = [replace(it, status=replace(it.status, first_seen_at=began[it.entry.name])) for it in tasks]
    await store.commit(Batch(at, [Change(task) for task in tasks]))
    assert await known(store, entries) == {task.entry.name: saved(task, at) for task in tasks}


@searching
@given(ticked=st.dictionaries(anything.names, st.tuples(anything.contacts, st.none() | anything.numbers), max_size=4))
async def test_a_pulse_comes_back_exactly_as_it_was_committed(
    store: Store, ticked: dict[str, tuple[Contact, float | None]]
) -> None:
    """What ticks is stored under its task, with the time at which it was."""
    entries = [entry(name) for name in ticked]
    await store.watch(entries, T0)
    await store.commit(Batch(T0 + 7, pulses=[Pulse(name, *pulse) for name, pulse in ticked.items()]))
    found = await known(store, entries)
    assert {name: (it.contact, it.next_poll_at) for name, it in found.items()} == ticked
    assert {it.saved_at for it in found.values()} <= {T0 + 7}


async def test_many_come_back_as_they_were_committed(store: Store) -> None:
    """However many rows are written together: each in its place, transitions in their order."""
    entries = [entry(f"job-{number}", str(number)) for number in range(637)]
    changes = [seen(begin(each, T0), State.RUNNING, T0 + number) for number, each in enumerate(entries)]
    await store.watch(entries, T0)
    await store.commit(Batch(T0 + 700, changes))
    told = [told_by(change) for change in changes]
    assert await store.untold() == told
    pulses = [Pulse(e.name, Contact(polls=number, last_polled_at=T0 + number), T0 + number + 0.5)
              for number, e in enumerate(entries)]  # fmt: skip
    await store.commit(Batch(T0 + 800, pulses=pulses, told=[it.transition_id for it in told[:633]]))
    assert await store.untold() == told[633:]
    expected = {}
    for change, pulse in zip(changes, pulses, strict=True):
        task = replace(change.task, contact=pulse.contact)
        expected[pulse.name] = saved(task, T0 + 800, pulse.next_poll_at)
    assert await known(store, entries) == expected


@searching
@given(transitions=st.lists(anything.transitions, min_size=1, max_size=4, unique_by=lambda it: it.transition_id))
async def test_a_transition_comes_back_exactly_as_it_was_committed(store: Store, transitions: list[Transition]) -> None:
    """In a page, and among those to be told."""
    before = len(await all_transitions(store))
    new = [replace(it, transition_id=f"{before} {it.transition_id}") for it in transitions]
    await store.commit(Batch(T0, [Change(begin(entry(), T0), it) for it in new]))
    assert (await store.transitions(limit=len(new))).transitions == new[::-1]
    assert await store.untold() == new
    await store.commit(Batch(T0, told=[it.transition_id for it in new]))


async def test_what_no_database_stores_is_replaced_and_never_an_error(store: Store) -> None:
    """A message may hold NUL or half a surrogate pair; it must not keep everything else from being stored."""
    bad, good = "a\0b\ud800c\U0001f600", "a\ufffdb\ufffdc\U0001f600"
    watched = entry(params={"id": bad}, labels={"team": bad}, source=bad)
    status = replace(begin(watched, T0).status, message=bad, run_id=bad, subtasks=Subtasks(1, 0, (bad,)))
    transition = replace(told_by(ended()), message=bad, raw_status=bad, labels={"team": bad}, request_id=bad)
    run = FinishedRun(bad, bad, T0, Run(5.0))
    await store.commit(Batch(T0, [Change(Task(watched, status), transition)], runs=[run]))
    assert await store.runs([good]) == {good: [run.run]}
    (stored,) = (await known(store, [watched])).values()
    assert (stored.status.message, stored.status.run_id) == (good, good)
    (read,) = await all_transitions(store)
    assert (read.message, read.raw_status, read.request_id) == (good, good, good)


async def test_everything_is_there_again_after_a_restart(lasting_factory: StoreFactory) -> None:
    """State, counters, due time, transitions, and which of them were told."""
    store = await lasting_factory.start()
    await store.watch([entry("a"), entry("b")], T0)
    first, second = ended("a"), ended("b", T0 + 6)
    pulse = Pulse("b", Contact(polls=9), T0 + 60)
    await store.commit(Batch(T0 + 7, [first, second], [pulse], [told_by(first).transition_id]))
    store = await lasting_factory.start()
    found = await known(store, [entry("a"), entry("b")])
    assert (found["a"].status, found["a"].contact) == (first.task.status, first.task.contact)
    assert (found["b"].status, found["b"].contact, found["b"].next_poll_at) == (
        second.task.status,
        pulse.contact,
        T0 + 60,
    )
    assert await store.untold() == [second.transition]
    assert await all_transitions(store) == [second.transition, first.transition]


# The watchlist


async def test_nothing_is_known_of_a_task_never_stored(store: Store) -> None:
    """It is stored as unknown, first seen then, and that is known of it the next time."""
    for now in (T0, T0 + 9):
        assert await known(store, [entry()], now) == {"import": saved(begin(entry(), T0), T0)}


async def test_only_what_is_asked_for_comes_back(store: Store) -> None:
    """What is known of tasks outside the watchlist is kept and not given."""
    await store.watch([entry("a"), entry("b")], T0)
    assert set(await known(store, [entry("b"), entry("c")])) == {"b", "c"}
    assert set(await known(store, [])) == set()


async def test_a_task_goes_on_where_it_was_when_it_is_watched_again(store: Store) -> None:
    """However long it was away; what had ended stays ended."""
    change = ended()
    await store.watch([entry()], T0)
    await store.commit(Batch(T0 + 5, [change]))
    assert await known(store, [], T0 + 10) == {}
    assert await known(store, [], T0 + 20) == {}
    for now in (T0 + 30, T0 + 40):
        assert (await known(store, [entry()], now))["import"].status == change.task.status


@pytest.mark.parametrize(
    "other",
    [entry(provider="studio"), entry(operation="processor-task"), entry(generation="2"), entry(params={})],
    ids=["provider", "operation", "parameter", "fewer parameters"],
)
@pytest.mark.parametrize("away", [False, True], ids=["watched", "unwatched"])
async def test_another_task_under_an_old_name_begins_anew(store: Store, other: Entry, away: bool) -> None:
    """What was known is lost, be it watched or not when its identity changes, and first sight is now."""
    await store.watch([entry()], T0)
    await store.commit(Batch(T0 + 5, [ended()], [Pulse("import", Contact(polls=9), T0 + 60)]))
    if away:
        await store.watch([], T0 + 6)
    for now in (T0 + 10, T0 + 20):
        assert await known(store, [other], now) == {"import": saved(begin(other, T0 + 10), T0 + 10)}


@pytest.mark.parametrize(
    "other",
    [
        entry(labels={"team": "ads"}),
        entry(policy=Policy(deadline=5.0)),
        entry(follow=True),
        entry(source="api"),
        entry(family="trainings"),
        entry(params={"generation": "1"}),
    ],
    ids=["labels", "policy", "follow", "source", "family", "equal parameters"],
)
async def test_other_changes_of_an_entry_keep_what_is_known(store: Store, other: Entry) -> None:
    """Another provider, operation or parameter makes another task; nothing else does."""
    change = ended()
    await store.watch([entry()], T0)
    await store.commit(Batch(T0 + 5, [change]))
    for now in (T0 + 10, T0 + 20):
        assert (await known(store, [other], now))["import"].status == change.task.status


async def test_the_order_of_parameters_means_nothing(store: Store) -> None:
    """A watchlist that was only sorted names the same tasks."""
    await store.watch([entry(params={"a": "1", "b": "2"})], T0)
    assert set(await known(store, [entry(params={"b": "2", "a": "1"})])) == {"import"}


async def test_an_answer_that_comes_after_its_name_changed_hands_is_not_taken_for_the_new_task(store: Store) -> None:
    """A poll of the old one may be under way while the watchlist is reloaded. Its transition is told all the same."""
    late = ended()
    await store.watch([entry()], T0)
    await store.watch([entry(generation="2")], T0 + 1)
    await store.commit(Batch(T0 + 5, [late]))
    new = entry(generation="2")
    assert await known(store, [new]) == {"import": saved(begin(new, T0 + 1), T0 + 1)}
    assert await store.untold() == [late.transition]


async def test_an_answer_that_comes_after_its_task_was_unwatched_is_kept(store: Store) -> None:
    """But does not bring the task back to the watchlist."""
    late = ended()
    await store.watch([entry()], T0)
    await store.watch([], T0 + 1)
    await store.commit(Batch(T0 + 5, [late]))
    assert (await known(store, [entry()]))["import"].status == late.task.status


async def test_a_long_watchlist_is_stored_and_known_again(store: Store) -> None:
    """Six hundred tasks, each with what is known of it; half of them go and come back."""
    entries = [entry(f"job-{number}", str(number)) for number in range(600)]
    changes = [seen(begin(each, T0), State.RUNNING, T0 + 1) for each in entries]
    await store.watch(entries, T0)
    await store.commit(Batch(T0 + 1, changes))
    assert len(await known(store, entries[::2])) == 300
    found = await known(store, entries)
    assert [found[change.task.entry.name].status for change in changes] == [change.task.status for change in changes]
    assert len(await store.untold()) == 600


# Commits


async def test_an_empty_batch_is_no_work(store: Store) -> None:
    """Nothing happens."""
    await store.commit(Batch(T0))
    assert await all_transitions(store) == []


async def test_a_commit_that_fails_midway_leaves_nothing_behind(store: Store) -> None:
    """All of it or nothing: neither what came before the fault nor what comes after; and the next commit goes in."""
    await store.watch([entry("a"), entry("b")], T0)
    good = ended("a")
    broken = replace(ended("b"), transition=replace(told_by(ended("b")), at=None))  # type: ignore[arg-type]
    pulse = Pulse("a", Contact(polls=9), T0 + 60)
    with pytest.raises(StoreError):
        await store.commit(Batch(T0 + 5, [good, broken], [pulse]))
    found = await known(store, [entry("a"), entry("b")])
    assert found == {name: saved(begin(entry(name), T0), T0) for name in ("a", "b")}
    assert await all_transitions(store) == []
    await store.commit(Batch(T0 + 5, [good], [pulse]))
    assert await store.untold() == [good.transition]


async def test_a_transition_is_stored_once_however_often_it_is_committed(store: Store) -> None:
    """Neither a commit tried again nor one batch tells it twice, and that it was told is not forgotten."""
    change = ended()
    await store.commit(Batch(T0, [change, change]))
    await store.commit(Batch(T0 + 1, [change]))
    assert await all_transitions(store) == [change.transition]
    await store.commit(Batch(T0 + 2, told=[told_by(change).transition_id]))
    await store.commit(Batch(T0 + 3, [change]))
    assert await store.untold() == []


async def test_of_several_changes_of_a_task_the_last_one_holds(store: Store) -> None:
    """Within a batch and from batch to batch, and its transitions keep their order."""
    first = seen(begin(entry(), T0), State.PENDING, T0 + 1)
    second = seen(first.task, State.RUNNING, T0 + 2)
    third = seen(second.task, State.FAILED, T0 + 3)
    await store.commit(Batch(T0 + 2, [first, second]))
    await store.commit(Batch(T0 + 3, [third]))
    assert (await known(store, [entry()]))["import"].status == third.task.status
    assert await store.untold() == [first.transition, second.transition, third.transition]


async def test_a_change_without_a_transition_is_kept_too(store: Store) -> None:
    """Progress, a message or a flag."""
    task = begin(entry(), T0)
    task = replace(task, status=replace(task.status, progress=41.5, stalled=True))
    await store.commit(Batch(T0, [Change(task)]))
    assert (await known(store, [entry()]))["import"].status == task.status
    assert await store.untold() == []


async def test_in_one_batch_a_pulse_comes_after_a_change(store: Store) -> None:
    """It knows when the task is polled next, and the change does not; nor does a later change forget that."""
    await store.commit(Batch(T0, [ended()], [Pulse("import", Contact(polls=9), T0 + 60)]))
    stored = (await known(store, [entry()]))["import"]
    assert (stored.contact.polls, stored.next_poll_at) == (9, T0 + 60)
    await store.commit(Batch(T0 + 1, [ended()]))
    assert (await known(store, [entry()]))["import"].next_poll_at == T0 + 60


async def test_a_pulse_of_an_unknown_task_is_no_error(store: Store) -> None:
    """What ticks is lost without harm."""
    await store.commit(Batch(T0, pulses=[Pulse("nobody", Contact(), None)]))
    assert await known(store, []) == {}


async def test_commits_made_at_once_all_go_in(store: Store) -> None:
    """In the order in which they were asked for, pages being read meanwhile."""
    changes = [ended(f"job-{number}") for number in range(20)]
    await asyncio.gather(
        *(store.commit(Batch(T0, [change])) for change in changes), *(store.transitions() for _ in range(20))
    )
    assert await store.untold() == [change.transition for change in changes]


# What is told


async def test_what_was_not_told_comes_back_oldest_first(store: Store) -> None:
    """Until it is marked; a mark for something unknown does no harm."""
    changes = [ended(f"job-{number}") for number in range(5)]
    await store.commit(Batch(T0, changes))
    ids = [told_by(change).transition_id for change in changes]
    await store.commit(Batch(T0 + 1, told=[ids[3], ids[0], "no such id"]))
    assert [transition.transition_id for transition in await store.untold()] == [ids[1], ids[2], ids[4]]


async def test_a_transition_can_be_marked_in_the_commit_that_stores_it(store: Store) -> None:
    """Told marks come last."""
    change = ended()
    await store.commit(Batch(T0, [change], told=[told_by(change).transition_id]))
    assert await store.untold() == []
    assert await all_transitions(store) == [change.transition]


# Finished runs


def finished(number: int, family: str = "trainings", at: float | None = None) -> FinishedRun:
    """A run that took so many seconds, and ended ``at`` or as many seconds after the start."""
    return FinishedRun(f"{family} {number}", family, T0 + number if at is None else at, Run(float(number)))


async def durations(store: Store, *families: str) -> dict[str, list[float]]:
    """How long the runs took that are given back of each of ``families``."""
    return {family: [run.duration for run in runs] for family, runs in (await store.runs(families)).items()}


@searching
@given(made=st.lists(anything.finished_runs, max_size=6, unique_by=lambda it: it.transition_id), salt=st.uuids())
async def test_a_run_comes_back_exactly_as_it_was_committed(store: Store, made: list[FinishedRun], salt: UUID) -> None:
    """Duration and marks, to the last bit, under its own family alone."""
    new = [replace(it, transition_id=f"{salt} {it.transition_id}", family=f"{salt} {it.family}") for it in made]
    await store.commit(Batch(T0, runs=new))
    kept = sorted(new, key=lambda it: (it.ended_at, it.transition_id.encode()))
    families = {it.family: [each.run for each in kept if each.family == it.family] for it in kept}
    assert await store.runs(families.keys() | {"nobody's"}) == families


async def test_runs_are_given_oldest_first_by_their_ends(store: Store) -> None:
    """In whatever order they were committed, and those of families not asked for are left."""
    await store.commit(Batch(T0, runs=[finished(3), finished(1), finished(7, "others")]))
    await store.commit(Batch(T0, runs=[finished(2), finished(4, "imports"), finished(9, at=T0)]))
    assert await durations(store, "imports", "trainings") == {"imports": [4], "trainings": [9, 1, 2, 3]}
    assert await durations(store) == {}


async def test_a_run_is_stored_once_however_often_it_is_committed(store: Store) -> None:
    """Neither a commit tried again nor one batch counts it twice, nor changes it."""
    await store.commit(Batch(T0, runs=[finished(1), finished(1)]))
    await store.commit(Batch(T0, runs=[replace(finished(1), run=Run(99.0)), finished(2)]))
    assert await durations(store, "trainings") == {"trainings": [1, 2]}


async def test_of_a_family_only_the_newest_runs_are_given(store: Store) -> None:
    """Each family's own, whatever others have, and runs that ended at once count too."""
    many = [finished(number) for number in range(1, MOST_RUNS + 8)]
    at_once = [replace(finished(number, "at once"), ended_at=T0) for number in range(MOST_RUNS + 3)]
    await store.commit(Batch(T0, runs=[*many, *at_once, finished(5, "few")]))
    found = await durations(store, "few", "trainings", "at once")
    assert found["trainings"] == [float(number) for number in range(8, MOST_RUNS + 8)]
    assert (found["few"], len(found["at once"])) == ([5], MOST_RUNS)


async def test_however_many_families_are_asked_for_all_come(store: Store) -> None:
    """More than fit into one question."""
    await store.commit(Batch(T0, runs=[finished(number, f"job-{number}") for number in range(1, 1302)]))
    found = await durations(store, *(f"job-{number}" for number in range(1, 2000)))
    assert found == {f"job-{number}": [number] for number in range(1, 1302)}


async def test_a_run_is_in_with_its_transition_or_neither_is(store: Store) -> None:
    """One transaction has both."""
    broken = replace(finished(2), ended_at=None)  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        await store.commit(Batch(T0, [ended()], runs=[finished(1), broken]))
    assert (await store.untold(), await durations(store, "trainings")) == ([], {})
    await store.commit(Batch(T0, [ended()], runs=[finished(1)]))
    assert (len(await store.untold()), await durations(store, "trainings")) == (1, {"trainings": [1]})


async def test_old_runs_are_forgotten(store: Store) -> None:
    """Those that ended before, and they are counted."""
    await store.commit(Batch(T0, runs=[finished(number) for number in range(1, 5)]))
    assert await store.prune(T0 + 3) == 2
    assert await durations(store, "trainings") == {"trainings": [3, 4]}
    assert await store.prune(T0 + 3) == 0


async def test_runs_outlive_the_program_and_their_tasks(lasting_factory: StoreFactory) -> None:
    """Those of a task that is watched no more teach the next one of its family."""
    store = await lasting_factory.start()
    await store.watch([entry()], T0)
    await store.commit(Batch(T0, [ended()], runs=[finished(1)]))
    await store.watch([], T0 + 1)
    store = await lasting_factory.start()
    assert await durations(store, "trainings") == {"trainings": [1]}


# Pages


async def committed(store: Store, count: int, names: Sequence[str] = ("a",)) -> list[Transition]:
    """Commits transitions of ``names`` in turn, one a second, and gives them back, newest first."""
    made = [
        replace(told_by(ended()), transition_id=f"{number}", task=names[number % len(names)], at=T0 + number)
        for number in range(count)
    ]
    await store.commit(Batch(T0, [Change(begin(entry(it.task), T0), it) for it in made]))
    return made[::-1]


async def pages(store: Store, limit: int, name: str | None = None) -> list[list[Transition]]:
    """Every page, from the newest on."""
    page = await store.transitions(name, limit)
    found = [list(page.transitions)]
    while page.next_cursor is not None:
        page = await store.transitions(name, limit, page.next_cursor)
        found.append(list(page.transitions))
    return found


@pytest.mark.parametrize(("limit", "sizes"), [(1, [1] * 6), (4, [4, 2]), (3, [3, 3]), (7, [6])])
async def test_pages_hold_every_transition_once_newest_first(store: Store, limit: int, sizes: list[int]) -> None:
    """No page is empty or too long, and the last one says that it is."""
    made = await committed(store, 6)
    found = await pages(store, limit)
    assert [len(page) for page in found] == sizes
    assert list(chain(*found)) == made


async def test_pages_of_one_task_hold_its_transitions_alone(store: Store) -> None:
    """Exactly that name's, not those of names that begin with it."""
    made = await committed(store, 9, ["a", "ab", "A"])
    assert list(chain(*await pages(store, 2, "a"))) == [it for it in made if it.task == "a"]
    assert await pages(store, 2, "nobody") == [[]]


async def test_pages_of_ends_hold_what_ended_a_run(store: Store) -> None:
    """Of one task or of all, page after page."""
    made = await committed(store, 12, ["a", "b"])
    targets = [State.RUNNING, State.SUCCEEDED, State.PENDING, State.MISSING]
    more = [replace(it, transition_id=f"more {it.transition_id}", target=targets[i % 4]) for i, it in enumerate(made)]
    await store.commit(Batch(T0, [Change(begin(entry(it.task), T0), it) for it in more]))
    expected = [it for it in [*more[::-1], *made] if it.terminal]
    for name in (None, "a"):
        page = await store.transitions(name, 4, ends=True)
        found = list(page.transitions)
        while page.next_cursor is not None:
            page = await store.transitions(name, 4, page.next_cursor, ends=True)
            found += page.transitions
        assert found == [it for it in expected if name in {None, it.task}]


async def test_a_page_is_a_hundred_unless_asked(store: Store) -> None:
    """As the API says."""
    await committed(store, 101)
    assert len((await store.transitions()).transitions) == 100


async def test_new_transitions_do_not_move_the_pages(store: Store) -> None:
    """Who reads on after a page sees neither a repeat nor a gap."""
    made = await committed(store, 6)
    page = await store.transitions(limit=3)
    await store.commit(Batch(T0 + 99, [ended("newer")]))
    assert (await store.transitions(limit=3, cursor=page.next_cursor)).transitions == made[3:]


@pytest.mark.parametrize("rubbish", ["", "0", "x" * 500, "\ud800"])
async def test_a_cursor_that_was_not_given_out_is_refused(store: Store, rubbish: str) -> None:
    """As the caller's mistake, not the store's."""
    with pytest.raises(ValueError, match="cursor"):
        await store.transitions(cursor=rubbish)


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_page_of_nothing_is_refused(store: Store, limit: int) -> None:
    """It could not say where it ends."""
    with pytest.raises(ValueError, match="at least 1"):
        await store.transitions(limit=limit)


# Opening, closing, cancelling


async def cancel_after(steps: int, work: asyncio.Future[Any]) -> None:
    """Cancels ``work`` after so many turns of the loop."""
    for _ in range(steps):
        await asyncio.sleep(0)
    work.cancel()
    await asyncio.wait([work])


async def test_a_store_that_is_not_open_says_so(store_factory: StoreFactory) -> None:
    """Before it is opened, and after it was closed."""
    store = await store_factory.start()
    await store_factory.close()
    for call in (store.watch([], T0), store.commit(Batch(T0, [ended()])), store.untold(), store.runs(["a"])):
        with pytest.raises(StoreError, match="is not open"):
            await call


async def test_a_store_may_be_closed_twice(store: Store) -> None:
    """One after the other or at once."""
    await asyncio.gather(store.close(), store.close())
    await store.close()


async def test_a_store_is_opened_once(store: Store) -> None:
    """Opening an open store is an error and does it no harm."""
    with pytest.raises(StoreError):
        await store.open()
    await store.commit(Batch(T0, [ended()]))


async def test_a_cancelled_commit_is_wholly_in_or_wholly_out(store: Store) -> None:
    """Wherever it was, the store goes on working."""
    for steps in range(8):
        pair, last = [ended(f"{steps}a"), ended(f"{steps}b")], ended(f"{steps}c")
        entries = [change.task.entry for change in pair]
        await store.watch(entries, T0)
        await cancel_after(steps, asyncio.ensure_future(store.commit(Batch(T0 + 5, pair))))
        await store.commit(Batch(T0 + 6, [last]))
        untold = await store.untold()
        states = {it.status.state for it in (await known(store, entries)).values()}
        assert (untold, states) in (
            ([last.transition], {State.UNKNOWN}),
            ([*(change.transition for change in pair), last.transition], {State.SUCCEEDED}),
        )
        await store.commit(Batch(T0 + 7, told=[it.transition_id for it in untold]))


async def test_a_commit_cancelled_by_a_scope_leaves_a_store_that_closes(lasting_factory: StoreFactory) -> None:
    """`close` waits for what is under way, even when it is itself cancelled and asked again."""
    store = await lasting_factory.start()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.commit(Batch(T0, [ended()]))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.close()
    await store.close()
    store = await lasting_factory.start()
    assert len(await store.untold()) in {0, 1}


async def test_reading_that_is_cancelled_harms_nothing(store: Store) -> None:
    """Neither what is stored nor the next reader."""
    made = await committed(store, 3)
    for steps in range(8):
        await cancel_after(steps, asyncio.ensure_future(store.transitions()))
    assert await all_transitions(store) == made
