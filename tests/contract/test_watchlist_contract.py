"""What every store promises of a watchlist that is changed while daemons run."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace

import pytest

from poller.domain.errors import NoSuchTaskError, WatchlistError
from poller.domain.lifecycle import advance, begin
from poller.domain.observation import Observation, Outcome
from poller.domain.shares import partition_of
from poller.domain.state import CONCLUDED, State
from poller.domain.task import ADDED, Contact, Entry, Task
from poller.protocols import Added, Batch, Change, Pulse, Store, Stored, Written
from poller.store import open_store
from tests.contract.conftest import StoreFactory

T0 = 1_700_000_000.0


def entry(name: str = "a", generation: str = "1", **others: object) -> Entry:
    """An entry that is added at runtime."""
    made = Entry(name, "search", "function-task", {"generation": generation}, source=ADDED)
    return replace(made, **others)  # type: ignore[arg-type]


def filed(name: str = "a", generation: str = "1", **others: object) -> Entry:
    """An entry that stands in a file."""
    return entry(name, generation, source="tasks.yaml", **others)


def ended(entry: Entry, at: float = T0 + 5) -> Change:
    """What becomes of a task, first seen at T0, that is seen to have ended."""
    step = advance(begin(entry, T0), Observation(Outcome.ANSWERED, State.SUCCEEDED), at)
    return Change(step.task, step.transition)


def concluded(entry: Entry, state: State) -> Change:
    """A task of which poller itself concluded that it has ended."""
    task = begin(entry, T0)
    return Change(Task(entry, replace(task.status, state=state, since=T0 + 5), task.contact))


def ids(*changes: Change) -> list[str]:
    """The ids of the transitions in ``changes``."""
    return [change.transition.transition_id for change in changes if change.transition]


async def revision(store: Store) -> int:
    """The revision of the watchlist."""
    return (await store.tasks()).revision


async def watched(store: Store) -> dict[str, Entry]:
    """The entries that are watched."""
    return {stored.entry.name: stored.entry for stored in (await store.tasks()).tasks}


async def found(store: Store, name: str = "a") -> Stored:
    """A task that is watched."""
    stored = await store.task(name)
    assert stored is not None
    return stored


def names(tasks: Sequence[Stored]) -> list[str]:
    """The names of ``tasks``, as they come."""
    return [stored.entry.name for stored in tasks]


# Adding


async def test_what_is_added_is_watched_as_never_seen_before(store: Store) -> None:
    """With everything that tells what to watch and how, also after a reload of files that do not know it."""
    added = entry(labels={"team": "ads"}, owner="ann", ttl=60.0, follow=True, family="trainings")
    assert await store.add([added, entry("b")], T0) == Added(added=2)
    await store.watch([filed("c")], T0 + 1)
    assert await watched(store) == {"a": added, "b": entry("b"), "c": filed("c")}
    assert (await found(store)).task == begin(added, T0)


async def test_adding_nothing_is_no_work(store: Store) -> None:
    """It is no mistake either."""
    before = await revision(store)
    assert await store.add([], T0) == Added()
    assert (await revision(store), await watched(store)) == (before, {})


async def test_adding_again_changes_nothing_and_is_counted_as_that(store: Store) -> None:
    """Not even the revision: nobody has anything to read again."""
    await store.add([entry("a"), entry("b")], T0)
    before = await revision(store)
    assert await store.add([entry("b"), entry("a")], T0 + 9) == Added(unchanged=2)
    assert await revision(store) == before
    assert (await found(store)).saved.status.first_seen_at == T0


async def test_what_is_there_takes_over_how_it_is_to_be_watched(store: Store) -> None:
    """And keeps what is known of it."""
    change = ended(entry())
    await store.add([entry()], T0)
    await store.commit(Batch(T0 + 5, [change]))
    now = entry(labels={"team": "ads"}, owner="ann")
    assert await store.add([now, entry("b")], T0 + 9) == Added(added=1, changed=1)
    stored = await found(store)
    assert (stored.entry, stored.saved.status) == (now, change.task.status)


@pytest.mark.parametrize(
    "other",
    [entry(provider="studio"), entry(operation="processor-task"), entry(generation="2"), entry(params={})],
    ids=["provider", "operation", "parameter", "fewer parameters"],
)
async def test_one_name_that_means_another_task_refuses_all(store: Store, other: Entry) -> None:
    """Nothing of it is done, whatever else was asked for, and the error tells the name."""
    await store.add([entry()], T0)
    before = await revision(store)
    with pytest.raises(WatchlistError, match=r"^a: means another task") as caught:
        await store.add([entry("0"), other, entry("z")], T0 + 1)
    assert caught.value.tasks == ("a",)
    assert (await watched(store), await revision(store)) == ({"a": entry()}, before)


async def test_of_many_conflicts_all_are_told_and_a_few_quoted(store: Store) -> None:
    """A request of thousands gets no message of thousands."""
    await store.add([entry(f"{number}") for number in range(9)], T0)
    with pytest.raises(WatchlistError, match=r"^0, 1, 2, 3, 4 and 4 more: mean other tasks") as caught:
        await store.add([entry(f"{number}", "2") for number in range(9)], T0 + 1)
    assert len(caught.value.tasks) == 9


async def test_what_was_taken_off_goes_on_where_it_was(store: Store) -> None:
    """What had ended stays ended, and it counts as added."""
    change = ended(entry())
    await store.add([entry()], T0)
    await store.commit(Batch(T0 + 5, [change]))
    await store.remove("a", T0 + 6)
    assert await store.add([entry(owner="bob")], T0 + 7) == Added(added=1)
    stored = await found(store)
    assert (stored.saved.status, stored.entry.owner) == (change.task.status, "bob")


async def test_another_task_under_a_name_that_was_taken_off_begins_anew(store: Store) -> None:
    """The name is free."""
    await store.add([entry()], T0)
    await store.commit(Batch(T0 + 5, [ended(entry())]))
    await store.remove("a", T0 + 6)
    other = entry(generation="2")
    assert await store.add([other], T0 + 7) == Added(added=1)
    assert (await found(store)).task == begin(other, T0 + 7)


async def test_many_are_added_at_once(store: Store) -> None:
    """More than are written in one go."""
    many = [entry(f"job-{number:04}") for number in range(1203)]
    assert await store.add(many, T0) == Added(added=1203)
    assert await store.add([*many, entry("one-more")], T0) == Added(added=1, unchanged=1203)


# Files


async def test_a_task_of_a_file_stays_as_it_is(store: Store) -> None:
    """However it is added; it gets no time limit either."""
    await store.watch([filed()], T0)
    before = await revision(store)
    assert await store.add([entry(owner="ann", ttl=1.0)], T0 + 1) == Added(unchanged=1)
    assert (await watched(store), await revision(store)) == ({"a": filed()}, before)
    assert await store.expire(T0 + 99) == 0
    with pytest.raises(WatchlistError):
        await store.add([entry(generation="2")], T0 + 1)


@pytest.mark.parametrize("generation", ["1", "2"])
async def test_a_file_wins_over_what_was_added(store: Store, generation: str) -> None:
    """Whether it means the same task or another one; the time limit is gone, and the task goes with its file."""
    await store.add([entry(ttl=5.0)], T0)
    await store.watch([filed(generation=generation)], T0 + 1)
    assert await watched(store) == {"a": filed(generation=generation)}
    assert await store.expire(T0 + 99) == 0
    await store.watch([], T0 + 100)
    assert await watched(store) == {}


async def test_a_task_that_left_its_file_can_be_added(store: Store) -> None:
    """And is one that was added from then on."""
    await store.watch([filed()], T0)
    await store.watch([], T0 + 1)
    assert await store.add([entry()], T0 + 2) == Added(added=1)
    await store.watch([], T0 + 3)
    assert await watched(store) == {"a": entry()}


async def test_what_was_added_outlives_the_program(lasting_factory: StoreFactory) -> None:
    """With its time limit, which goes on."""
    store = await lasting_factory.start()
    await store.add([entry("a", ttl=60.0), entry("b")], T0)
    store = await lasting_factory.start()
    await store.watch([], T0 + 1)
    assert await watched(store) == {"a": entry("a", ttl=60.0), "b": entry("b")}
    assert (await store.expire(T0 + 59), await store.expire(T0 + 60)) == (0, 1)


# Removing


async def test_removing_again_says_that_it_was_done(store: Store) -> None:
    """Only the first time anything changes."""
    await store.add([entry("a"), entry("b")], T0)
    assert await store.remove("a", T0 + 1) is True
    before = await revision(store)
    assert await store.remove("a", T0 + 2) is False
    assert (await revision(store), set(await watched(store))) == (before, {"b"})
    assert await store.task("a") is None


async def test_a_name_that_was_never_stored_cannot_be_removed(store: Store) -> None:
    """Which is another thing than one that is off already."""
    before = await revision(store)
    with pytest.raises(NoSuchTaskError):
        await store.remove("a", T0)
    assert await revision(store) == before


async def test_a_task_of_a_file_is_not_removed(store: Store) -> None:
    """The error tells which file, and once it left that, it is off."""
    await store.watch([filed()], T0)
    with pytest.raises(WatchlistError, match=r"^a: stands in tasks\.yaml") as caught:
        await store.remove("a", T0 + 1)
    assert caught.value.tasks == ("a",)
    assert set(await watched(store)) == {"a"}
    await store.watch([], T0 + 2)
    assert await store.remove("a", T0 + 3) is False


async def test_the_history_of_what_was_removed_stays(store: Store) -> None:
    """Until it is pruned."""
    change = ended(entry())
    await store.add([entry()], T0)
    await store.commit(Batch(T0 + 5, [change]))
    await store.remove("a", T0 + 6)
    assert (await store.transitions("a")).transitions == [change.transition]


# Arming anew


@pytest.mark.parametrize("state", sorted(CONCLUDED))
@pytest.mark.parametrize(
    "wanted", [entry(labels={"team": "ads"}, owner="ann"), filed(follow=True)], ids=["api", "file"]
)
async def test_a_task_that_poller_gave_up_is_watched_anew(store: Store, wanted: Entry, state: State) -> None:
    """As never seen before, but in the same way; an answer of before that comes late is not taken for one of it."""
    if wanted.added:
        await store.add([wanted], T0)
    else:
        await store.watch([wanted], T0)
    await store.commit(Batch(T0 + 5, [concluded(wanted, state)], [Pulse("a", Contact(polls=9), T0 + 60)]))
    before = await revision(store)
    await store.rearm("a", T0 + 10)
    stored = await found(store)
    assert (stored.task, stored.next_poll_at) == (begin(wanted, T0 + 10), None)
    assert names((await store.tasks(before)).tasks) == ["a"]
    await store.commit(Batch(T0 + 11, [ended(wanted)]))
    assert (await found(store)).task == begin(wanted, T0 + 10)


async def test_a_task_armed_anew_keeps_its_time_limit(store: Store) -> None:
    """It began when the task was added."""
    await store.add([entry(ttl=60.0)], T0)
    await store.commit(Batch(T0 + 5, [concluded(entry(ttl=60.0), State.EXPIRED)]))
    await store.rearm("a", T0 + 30)
    assert (await store.expire(T0 + 59), await store.expire(T0 + 60)) == (0, 1)


async def test_only_what_poller_gave_up_is_armed_anew(store: Store) -> None:
    """Not what runs or what has ended, nor what is not watched."""
    await store.add([entry("a"), entry("b"), entry("off")], T0)
    await store.commit(Batch(T0 + 5, [ended(entry("b")), concluded(entry("off"), State.MISSING)]))
    await store.remove("off", T0 + 6)
    before = await revision(store)
    for name, state in (("a", "unknown"), ("b", "succeeded")):
        with pytest.raises(WatchlistError, match=f"^{name}: is {state}, only what is expired or missing"):
            await store.rearm(name, T0 + 7)
    for name in ("off", "never"):
        with pytest.raises(NoSuchTaskError):
            await store.rearm(name, T0 + 7)
    assert await revision(store) == before


# Time limits


async def test_what_has_a_time_limit_leaves_by_itself(store: Store) -> None:
    """When it is over and not before; who follows the revisions is told."""
    await store.add([entry("a", ttl=10.0), entry("b", ttl=20.0), entry("c")], T0)
    before = await revision(store)
    assert await store.expire(T0 + 9.9) == 0
    assert await revision(store) == before
    assert await store.expire(T0 + 10) == 1
    assert set(await watched(store)) == {"b", "c"}
    assert [(each.entry.name, each.watched) for each in (await store.tasks(before)).tasks] == [("a", False)]
    assert await store.expire(T0 + 10) == 0
    assert await store.expire(T0 + 1000) == 1


async def test_a_time_limit_begins_when_a_task_is_added_again(store: Store) -> None:
    """Also where nothing else changes; one that is added without any has none."""
    await store.add([entry("a", ttl=10.0), entry("b", ttl=10.0)], T0)
    assert await store.add([entry("a", ttl=10.0)], T0 + 8) == Added(unchanged=1)
    assert await store.add([entry("b")], T0 + 8) == Added(changed=1)
    assert (await store.expire(T0 + 17), await store.expire(T0 + 18)) == (0, 1)
    assert set(await watched(store)) == {"b"}


async def test_what_expired_goes_on_when_it_is_added_again(store: Store) -> None:
    """For as long as it is added for."""
    change = ended(entry(ttl=10.0))
    await store.add([entry(ttl=10.0)], T0)
    await store.commit(Batch(T0 + 5, [change]))
    await store.expire(T0 + 10)
    assert await store.add([entry(ttl=10.0)], T0 + 20) == Added(added=1)
    assert (await found(store)).saved.status == change.task.status
    assert (await store.expire(T0 + 29), await store.expire(T0 + 30)) == (0, 1)


async def test_what_expired_long_ago_is_forgotten(store: Store) -> None:
    """Like every other task that is watched no more: from when it left on, not from when it was added."""
    await store.add([entry(ttl=10.0)], T0)
    await store.expire(T0 + 10)
    assert await store.prune(T0 + 10) == 0
    assert await store.prune(T0 + 11) == 1
    with pytest.raises(NoSuchTaskError):
        await store.remove("a", T0 + 12)


# Reading


async def test_only_what_changed_since_comes(store: Store) -> None:
    """What was added, changed, taken off and armed anew, each once; what ticked or was concluded is no change."""
    await store.watch([filed("file")], T0)
    await store.add([entry(name) for name in ("a", "b", "c", "d")], T0)
    before = await revision(store)
    await store.commit(Batch(T0 + 5, [ended(entry("c")), concluded(entry("d"), State.MISSING)]))
    assert list((await store.tasks(before)).tasks) == []
    await store.add([entry("a", owner="ann"), entry("e")], T0 + 6)
    await store.remove("b", T0 + 7)
    await store.rearm("d", T0 + 8)
    roll = await store.tasks(before)
    assert {each.entry.name: each.watched for each in roll.tasks} == {"a": True, "b": False, "d": True, "e": True}
    assert roll.revision == before + 3
    assert list((await store.tasks(roll.revision)).tasks) == []


async def test_a_reload_without_a_change_is_no_change(store: Store) -> None:
    """And one with some tells those only."""
    await store.watch([filed("a"), filed("b")], T0)
    await store.add([entry("c")], T0)
    before = await revision(store)
    await store.watch([filed("b"), filed("a")], T0 + 1)
    assert await revision(store) == before
    await store.watch([filed("b", follow=True)], T0 + 2)
    assert {each.entry.name: each.watched for each in (await store.tasks(before)).tasks} == {"a": False, "b": True}


async def test_who_knows_what_was_written_last_writes_the_same_as_who_does_not(store: Store) -> None:
    """Changed, new, gone and unchanged entries; a name that was added at runtime since becomes the file's."""
    first = {name: filed(name) for name in ("changed", "gone", "other", "same")}
    before = Written(first, await store.watch(list(first.values()), T0))
    then = {
        "changed": replace(first["changed"], labels={"team": "ads"}),
        "new": filed("new"),
        "other": filed("other", "2"),
        "same": first["same"],
    }
    at = await store.watch(list(then.values()), T0 + 1, before)
    assert at == await revision(store) > before.revision
    assert await watched(store) == then
    assert (await found(store, "other")).saved.status.first_seen_at == T0 + 1
    assert (await found(store, "changed")).saved.status.first_seen_at == T0
    assert await store.watch(list(then.values()), T0 + 2, Written(then, at)) == at
    assert await watched(store) == then


async def test_what_was_written_last_is_not_relied_on_when_something_changed_since(store: Store) -> None:
    """Somebody else may have written over it."""
    first = {"a": filed("a")}
    before = Written(first, await store.watch(list(first.values()), T0))
    await store.watch([filed("a", "2")], T0 + 1)
    await store.add([entry("b")], T0 + 2)
    at = await store.watch([first["a"], filed("b")], T0 + 3, before)
    assert at == await revision(store)
    assert (await watched(store))["a"] == first["a"]
    assert (await watched(store))["b"] == filed("b")


async def test_only_the_partitions_asked_for_come(store: Store) -> None:
    """From the beginning, and since a revision; of none of them nothing."""
    everything = [entry(f"job-{number}") for number in range(40)]
    await store.add([entry("first")], T0)
    before = await revision(store)
    await store.add(everything, T0)
    some = {partition_of(f"job-{number}") for number in range(10)} - {partition_of("first")}
    expected = {each.name for each in everything if partition_of(each.name) in some}
    for since in (0, before):
        assert set(names((await store.tasks(since, some)).tasks)) == expected
    assert list((await store.tasks(0, ())).tasks) == []


@pytest.mark.parametrize("some", [None, range(0, 1024, 2)])
async def test_all_tasks_come_little_by_little(
    store: Store, some: Collection[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each once, by name, as they would come in one go; the last ones say that they are that."""
    monkeypatch.setattr("poller.store.sql._TASKS_A_ROLL", 7)
    await store.watch([filed(f"job-{number}") for number in range(40)], T0)
    told: list[str] = []
    after: str | None = ""
    while after is not None:
        roll = await store.tasks(0, some, after=after)
        assert len(roll.tasks) <= 7
        told += [each.entry.name for each in roll.tasks]
        after = roll.onward
    assert told == sorted(names((await store.tasks(0, some)).tasks))
    assert len(told) == 40 or some


async def test_pages_are_sorted_as_python_sorts(store: Store) -> None:
    """By code points, whatever the database's language, and each goes on behind a name, be that there or not."""
    given = ["a", "B", "_", "A/1", "A", "a-b", "ab", "a.b", "Z", "z", "0", "@", "a/b", "A:1", "+"]
    await store.watch([filed(name) for name in given[:7]], T0)
    await store.add([entry(name) for name in given[7:]], T0)
    await store.add([entry("off")], T0)
    await store.remove("off", T0)
    listed: list[str] = []
    while page := await store.page(listed[-1] if listed else "", 4):
        listed += names(page)
    assert listed == sorted(given)
    assert names(await store.page("A0", 3)) == [name for name in sorted(given) if name > "A0"][:3]


async def test_a_task_that_is_read_is_as_it_was_committed(store: Store) -> None:
    """What is known, how the asking went, and when it is polled next."""
    change, pulse = ended(entry(follow=True)), Pulse("a", Contact(polls=9), T0 + 60)
    await store.add([entry(follow=True)], T0)
    await store.commit(Batch(T0 + 5, [change], [pulse]))
    stored = await found(store)
    assert (stored.task, stored.next_poll_at) == (replace(change.task, contact=pulse.contact), T0 + 60)
    assert list(await store.page("", 9)) == [stored]
    assert await store.task("nobody") is None


# History


async def test_what_is_watched_never_forgets_that_it_ended(store: Store) -> None:
    """However long ago: it would be polled again, and told again. Its transitions go."""
    change = ended(filed())
    await store.watch([filed()], T0)
    await store.commit(Batch(T0 + 5, [change], told=ids(change)))
    assert await store.prune(T0 + 10**9) == 1
    assert list((await store.transitions()).transitions) == []
    assert (await found(store)).saved.status == change.task.status


async def test_a_task_is_not_forgotten_while_something_of_it_is_untold(store: Store) -> None:
    """Whose it is to tell goes by its task; afterwards both go."""
    change = ended(entry())
    await store.add([entry(), entry("b")], T0)
    await store.commit(Batch(T0 + 5, [change]))
    for name in ("a", "b"):
        await store.remove(name, T0 + 6)
    assert await store.prune(T0 + 100) == 1
    assert await store.untold([partition_of("a")]) == [change.transition]
    await store.commit(Batch(T0 + 101, told=ids(change)))
    assert await store.prune(T0 + 100) == 2
    with pytest.raises(NoSuchTaskError):
        await store.remove("a", T0 + 102)


# Several daemons on one store


@pytest.fixture
async def pair(postgres_store_url: str) -> AsyncIterator[Sequence[Store]]:
    """Two stores, opened, on one database."""
    stores = [open_store(postgres_store_url) for _ in range(2)]
    for store in stores:
        await store.open()
    yield stores
    for store in stores:
        await store.close()


async def test_changes_from_two_daemons_come_one_after_the_other(pair: Sequence[Store]) -> None:
    """Whatever they change at once, in whatever order: none fails, and no revision is given twice or lost."""
    many = [entry(f"job-{number}") for number in range(60)]
    before = await revision(pair[0])

    async def change(number: int) -> None:
        turned = many if number % 3 else many[::-1]
        await pair[number % 2].add([replace(each, owner=f"{number}") for each in turned], T0 + number)

    await asyncio.gather(*map(change, range(12)))
    assert await revision(pair[0]) == before + 12
    owners = {each.owner for each in (await watched(pair[1])).values()}
    assert len(owners) == 1, "one of them was the last, for every task"


async def test_who_follows_the_revisions_misses_no_change(pair: Sequence[Store]) -> None:
    """One that is committed later has a later revision."""
    known: set[str] = set()
    since, done = 0, False
    adding = asyncio.gather(*(pair[number % 2].add([entry(f"job-{number}")], T0) for number in range(40)))
    while not done:
        done = adding.done()
        roll = await pair[0].tasks(since)
        known |= set(names(roll.tasks))
        since = roll.revision
    assert len(known) == 40
    await adding


async def test_commits_and_changes_of_the_watchlist_never_wait_in_a_circle(pair: Sequence[Store]) -> None:
    """Both lock tasks in the order of their names, a commit those of its changes and pulses together."""
    many = [entry(f"job-{number:02}") for number in range(40)]
    await pair[0].add(many, T0)

    async def commit() -> None:
        changes = [ended(each) for each in many[20:]]
        pulses = [Pulse(each.name, Contact(), None) for each in many[:20]]
        for number in range(60):
            await pair[0].commit(Batch(T0 + number, changes, pulses))

    async def change() -> None:
        for number in range(60):
            turned = many if number % 2 else many[::-1]
            await pair[1].add([replace(each, owner=f"{number}") for each in turned], T0)

    await asyncio.gather(commit(), change())


async def test_replicas_may_prune_at_once(pair: Sequence[Store]) -> None:
    """Each row is counted by whoever deleted it, and none of them fails."""
    changes = [ended(entry(f"job-{number}")) for number in range(1300)]
    await pair[0].watch([filed(change.task.entry.name) for change in changes], T0)
    await pair[0].commit(Batch(T0 + 5, changes, told=ids(*changes)))
    await pair[0].watch([], T0 + 6)
    assert sum(await asyncio.gather(*(store.prune(T0 + 100) for store in pair))) == 2600


async def test_only_one_daemon_expires_a_task(pair: Sequence[Store]) -> None:
    """The others find nothing to do, and make no revision of that."""
    await pair[0].add([entry(ttl=1.0)], T0)
    before = await revision(pair[0])
    assert sum(await asyncio.gather(*(pair[number % 2].expire(T0 + 9) for number in range(6)))) == 1
    assert await revision(pair[1]) == before + 1


async def test_an_entry_that_is_known_is_not_made_again(store: Store) -> None:
    """It is the very one; what was changed since it was written, or was not, is as the store has it."""
    stored = [filed(name, labels={"team": "ads"}) for name in ("a", "b")]
    known = Written({each.name: each for each in stored}, await store.watch(stored, T0))
    changed = replace(stored[1], labels={})
    await store.watch([stored[0], changed], T0 + 1)
    await store.add([entry("c")], T0 + 2)
    told = {each.entry.name: each for each in (await store.tasks(known=known)).tasks}
    assert told["a"].entry is stored[0]
    assert told["a"].saved.params == stored[0].params
    assert (told["b"].entry, told["c"].entry) == (changed, entry("c"))
    since = {each.entry.name: each for each in (await store.tasks(known.revision, known=known)).tasks}
    assert {name: each.entry for name, each in since.items()} == {"b": changed, "c": entry("c")}
