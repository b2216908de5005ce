"""What every store promises of the events that are to go to sinks."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from poller.domain.delivery import Delivery, Receipt
from poller.domain.events import Transition
from poller.domain.lifecycle import advance, begin
from poller.domain.observation import Observation, Outcome
from poller.domain.shares import partition_of
from poller.domain.state import State
from poller.domain.task import Entry
from poller.protocols import Backlog, Batch, Change, Outbox
from poller.store.sql import SqlStore
from tests.contract.conftest import StoreFactory

T0 = 1_700_000_000.0


def life(name: str, *states: State) -> list[Change]:
    """The changes of a task that is seen in these states, one second after the other."""
    changes, task = [], begin(Entry(name, "search", "job", {"id": name}), T0)
    for number, state in enumerate(states):
        step = advance(task, Observation(Outcome.ANSWERED, state, raw_status=state), T0 + number)
        changes.append(Change(step.task, step.transition))
        task = step.task
    return changes


def run(name: str) -> list[Change]:
    """Three transitions: pending, running, succeeded."""
    return life(name, State.PENDING, State.RUNNING, State.SUCCEEDED)


def told(change: Change) -> Transition:
    """The transition of ``change``, which has one."""
    assert change.transition is not None
    return change.transition


async def commit(store: SqlStore, changes: Sequence[Change], *sinks: str) -> None:
    """Commits changes, each transition addressed to all of ``sinks``."""
    addressed = {told(change).transition_id: sinks for change in changes}
    await store.commit(Batch(T0, changes, addressed=addressed))


@pytest.fixture
async def box(store_factory: StoreFactory) -> SqlStore:
    """An empty store, opened, of every kind."""
    store = await store_factory.start()
    assert isinstance(store, SqlStore)
    return store


def states(deliveries: Iterable[Delivery]) -> list[tuple[str, State]]:
    """Task and state of each."""
    return [(each.transition.task, each.transition.target) for each in deliveries]


async def delivered(outbox: Outbox, sink: str, now: float = T0 + 100) -> list[Transition]:
    """What a sink gets that takes everything, in order."""
    taken: list[Transition] = []
    while page := await outbox.due(sink, now, 100):
        await outbox.settle([Receipt(each, now) for each in page])
        taken += [each.transition for each in page]
    return taken


async def test_an_event_is_there_for_each_sink_it_was_addressed_to(box: SqlStore) -> None:
    """It is the transition as it was committed; a sink that it was not addressed to gets nothing."""
    changes = run("a")
    await box.commit(Batch(T0, changes, addressed={told(changes[0]).transition_id: ["ops", "audit"]}))
    outbox = box.outbox()
    for sink in ("ops", "audit"):
        (due,) = await outbox.due(sink, T0, 10)
        assert due == Delivery(due.seq, sink, told(changes[0]))
    assert await outbox.due("other", T0, 10) == []


async def test_of_each_task_only_the_oldest_event_is_due(box: SqlStore) -> None:
    """The next one is when that is delivered, or given up; so the events of a task go in order."""
    await commit(box, [*run("a"), *run("b")], "ops")
    outbox = box.outbox()
    first = await outbox.due("ops", T0, 10)
    assert states(first) == [("a", State.PENDING), ("b", State.PENDING)]
    await outbox.settle([Receipt(first[0], T0), Receipt(first[1], T0, "HTTP 410 Gone")])
    assert states(await outbox.due("ops", T0, 10)) == [("a", State.RUNNING), ("b", State.RUNNING)]


async def test_a_failing_event_holds_back_those_of_its_task_at_its_sink_only(box: SqlStore) -> None:
    """It comes again when it is due, with what is known of its attempts; others go on meanwhile."""
    await commit(box, [*run("a"), *run("b")], "ops", "audit")
    outbox = box.outbox()
    bad, good = await outbox.due("ops", T0, 10)
    await outbox.settle([Receipt(bad, T0 + 1, "HTTP 500", T0 + 50), Receipt(good, T0 + 1)])
    assert {each.transition.task for each in await outbox.due("ops", T0 + 49, 10)} == {"b"}
    assert len(await outbox.due("audit", T0, 10)) == 2
    (again,) = [each for each in await outbox.due("ops", T0 + 50, 10) if each.transition.task == "a"]
    assert again == replace(bad, attempts=1, held_since=T0 + 1)
    await outbox.settle([Receipt(again, T0 + 51)])
    (following,) = [each for each in await outbox.due("ops", T0 + 51, 10) if each.transition.task == "a"]
    assert (following.transition, following.attempts, following.held_since) == (told(run("a")[1]), 0, T0 + 1)


async def test_what_is_committed_behind_a_failing_event_waits_too(box: SqlStore) -> None:
    """Also when it came after the failure."""
    first, *later = run("a")
    await commit(box, [first], "ops")
    outbox = box.outbox()
    (bad,) = await outbox.due("ops", T0, 10)
    await outbox.settle([Receipt(bad, T0, "HTTP 500", T0 + 50)])
    await commit(box, later, "ops")
    assert await outbox.due("ops", T0 + 49, 10) == []
    assert await delivered(outbox, "ops") == [told(change) for change in (first, *later)]


async def test_a_page_is_no_longer_than_asked_for_and_the_rest_follows(box: SqlStore) -> None:
    """However much waits, memory has no more than a page of it; what is due for longest comes first."""
    changes = [change for number in range(7) for change in life(f"t{number}", State.RUNNING)]
    await commit(box, changes, "ops")
    outbox = box.outbox()
    seen: list[tuple[str, State]] = []
    for expected in (3, 3, 1, 0):
        page = await outbox.due("ops", T0, 3)
        assert len(page) == expected
        seen += states(page)
        await outbox.settle([Receipt(each, T0) for each in page])
    assert seen == [(f"t{number}", State.RUNNING) for number in range(7)]


async def test_an_event_is_put_in_once(box: SqlStore) -> None:
    """A commit that is repeated, because nobody knows whether it was done, doubles no event, nor one delivered."""
    changes = run("a")
    await commit(box, changes, "ops")
    assert len(await delivered(box.outbox(), "ops")) == 3
    await commit(box, changes, "ops")
    assert await box.outbox().due("ops", T0 + 1000, 10) == []


async def test_the_outbox_outlives_the_program(lasting_factory: StoreFactory) -> None:
    """What is outstanding, when it is due, and since when it fails."""
    store = await lasting_factory.start()
    assert isinstance(store, SqlStore)
    await commit(store, run("a"), "ops")
    (due,) = await store.outbox().due("ops", T0, 10)
    await store.outbox().settle([Receipt(due, T0 + 3, "HTTP 500", T0 + 50)])
    again = await lasting_factory.start()
    assert isinstance(again, SqlStore)
    assert await again.outbox().due("ops", T0 + 49, 10) == []
    assert await again.outbox().due("ops", T0 + 50, 10) == [replace(due, attempts=1, held_since=T0 + 3)]


async def test_only_events_of_the_partitions_asked_for_are_due(box: SqlStore) -> None:
    """Each replica delivers what is in its own."""
    await commit(box, [*run("a"), *run("b")], "ops")
    outbox = box.outbox()
    assert states(await outbox.due("ops", T0, 10, {partition_of("b")})) == [("b", State.PENDING)]
    assert await outbox.due("ops", T0, 10, set()) == []
    assert await outbox.backlogs({partition_of("b")}) == {"ops": Backlog(3, T0)}


async def test_dead_letters_are_kept_listed_and_delivered_again(box: SqlStore) -> None:
    """Newest first, page after page; those that are named, or all; the others stay."""
    changes = [change for name in "abc" for change in life(name, State.FAILED)]
    await commit(box, changes, "ops")
    outbox = box.outbox()
    page = await outbox.due("ops", T0, 10)
    await outbox.settle([Receipt(each, T0 + 9, "HTTP 410 Gone") for each in page])
    assert await outbox.due("ops", T0 + 1000, 10) == []
    newest = await outbox.dead("ops", 2)
    rest = await outbox.dead("ops", 2, newest.next_cursor)
    letters = [*newest.letters, *rest.letters]
    assert [letter.transition for letter in letters] == [told(change) for change in reversed(changes)]
    assert {(letter.attempts, letter.dead_at, letter.error) for letter in letters} == {(1, T0 + 9, "HTTP 410 Gone")}
    assert rest.next_cursor is None
    assert await outbox.redeliver("ops", [told(changes[1]).transition_id, "nonsense"], T0 + 20) == 1
    assert [each.transition for each in await outbox.due("ops", T0 + 20, 10)] == [told(changes[1])]
    assert await outbox.redeliver("ops", None, T0 + 20) == 2
    assert await outbox.redeliver("other", None, T0 + 20) == 0
    assert len(await delivered(outbox, "ops")) == 3
    assert (await outbox.dead("ops")).letters == []


async def test_what_was_delivered_can_be_delivered_again_and_what_waits_is_left_alone(box: SqlStore) -> None:
    """A redelivery begins anew, without attempts; an event that waits keeps its own."""
    await commit(box, life("a", State.RUNNING), "ops")
    outbox = box.outbox()
    (first,) = await delivered(outbox, "ops")
    assert await outbox.redeliver("ops", [first.transition_id], T0) == 1
    (due,) = await outbox.due("ops", T0, 10)
    assert (due.attempts, due.held_since) == (0, None)
    assert await outbox.redeliver("ops", [first.transition_id], T0) == 0


async def test_what_waits_for_too_long_is_given_up_together(box: SqlStore) -> None:
    """Only what is older than said, and only of that sink."""
    await commit(box, [*life("a", State.RUNNING), *run("b")], "ops", "audit")
    outbox = box.outbox()
    assert await outbox.give_up("ops", T0 + 1, T0 + 9, "no answer") == 2
    assert {letter.error for letter in (await outbox.dead("ops")).letters} == {"no answer"}
    assert states(await outbox.due("ops", T0 + 9, 10)) == [("b", State.RUNNING)]
    assert (await outbox.backlogs())["audit"] == Backlog(4, T0)


async def test_what_was_given_up_while_it_was_under_way_and_is_taken_is_delivered(box: SqlStore) -> None:
    """It is no dead letter; a failure makes nothing of one that is."""
    await commit(box, [*life("a", State.RUNNING), *life("b", State.RUNNING)], "ops")
    outbox = box.outbox()
    a, b = await outbox.due("ops", T0, 10)
    assert await outbox.give_up("ops", T0 + 1, T0 + 9, "no answer") == 2
    await outbox.settle([Receipt(a, T0 + 10), Receipt(b, T0 + 10, "HTTP 500", T0 + 20)])
    assert [letter.transition for letter in (await outbox.dead("ops")).letters] == [b.transition]
    assert (await outbox.records())["ops"].delivered == 1
    assert await outbox.due("ops", T0 + 1000, 10) == []


async def test_how_each_sink_does_is_told(box: SqlStore) -> None:
    """What was delivered, waits and is dead, the last error, and since when what waits fails."""
    await commit(box, [change for name in "abcd" for change in life(name, State.RUNNING)], "ops", "audit")
    outbox = box.outbox()
    a, b, c, _ = await outbox.due("ops", T0, 10)
    await outbox.settle(
        [Receipt(a, T0 + 1), Receipt(b, T0 + 2, "HTTP 410 Gone"), Receipt(c, T0 + 3, "HTTP 500", T0 + 9)]
    )
    records = await outbox.records()
    ops, audit = records["ops"], records["audit"]
    assert (ops.delivered, ops.backlog) == (1, Backlog(2, T0, 1))
    assert (ops.last_error, ops.last_error_at, ops.failing_since) == ("HTTP 500", T0 + 3, T0 + 3)
    assert (audit.delivered, audit.backlog, audit.last_error, audit.failing_since) == (0, Backlog(4, T0), None, None)
    assert await outbox.backlogs() == {"ops": ops.backlog, "audit": audit.backlog}


async def test_old_events_are_forgotten_with_the_history(box: SqlStore) -> None:
    """Those that were delivered, those given up, and those that nobody fetched; newer ones stay."""
    old, new = life("a", State.PENDING, State.RUNNING)
    await commit(box, [old, new], "ops", "gone")
    outbox = box.outbox()
    assert len(await delivered(outbox, "ops")) == 2
    assert await box.prune(T0 + 0.5) == 2
    assert [each.transition for each in await outbox.due("gone", T0 + 9, 10)] == [told(new)]
    records = await outbox.records()
    assert (records["ops"].delivered, records["gone"].backlog.waiting) == (1, 1)


async def test_a_cursor_of_somebody_else_is_refused(box: SqlStore) -> None:
    """Told as a wrong value."""
    with pytest.raises(ValueError, match="cursor"):
        await box.outbox().dead("ops", 10, "nonsense")
