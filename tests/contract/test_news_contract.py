"""What every store promises to those who follow its transitions."""

from dataclasses import replace

import pytest

from poller.domain.events import Sought, Transition
from poller.domain.lifecycle import begin
from poller.domain.place import Place
from poller.domain.state import State
from poller.protocols import Batch, Change, Store
from tests.contract.conftest import StoreFactory
from tests.contract.test_store_contract import T0, ended, entry, told_by


async def commit(store: Store, *ids: str, at: float = T0) -> list[Transition]:
    """Commits a transition of each of these ids, and gives them back."""
    made = [replace(told_by(ended(name)), transition_id=name, at=at + number) for number, name in enumerate(ids)]
    await store.commit(Batch(at, [Change(begin(entry(it.task), T0), it) for it in made]))
    return made


async def follow(store: Store, place: Place, limit: int = 100) -> tuple[list[str], Place]:
    """The ids of everything that was not seen from ``place``, and the place behind it."""
    ids: list[str] = []
    while True:
        news = await store.news(place, limit)
        ids += [transition.transition_id for _, transition in news.transitions]
        place = news.place
        if news.whole:
            return ids, place


def read_again(place: Place) -> Place:
    return Place.parse(str(place))


async def test_who_comes_now_sees_what_is_committed_from_now_on(store: Store) -> None:
    """Once, in order, as it was committed."""
    await commit(store, "a", "b")
    place = await store.latest()
    assert await follow(store, place) == ([], place)
    made = await commit(store, "c", "d")
    news = await store.news(place, 100)
    assert [transition for _, transition in news.transitions] == made
    assert news.whole
    assert all(number in news.place and number not in place for number, _ in news.transitions)
    assert (await follow(store, news.place))[0] == []


async def test_an_empty_store_is_a_place_as_well(store: Store) -> None:
    """Nothing that is committed later is missed."""
    place = await store.latest()
    assert await store.knows(place)
    await commit(store, "a")
    assert await store.knows(place)
    assert (await follow(store, read_again(place)))[0] == ["a"]


async def test_many_come_some_at_a_time(store: Store) -> None:
    """Each once, whatever the limit; the last part says that it is the last."""
    place = await store.latest()
    ids = [f"t{number}" for number in range(7)]
    await commit(store, *ids)
    for limit in (1, 2, 3, 7, 8):
        assert (await follow(store, place, limit))[0] == ids
    assert not (await store.news(place, 6)).whole
    assert (await store.news(place, 7)).whole


async def test_what_is_committed_again_is_no_news(store: Store) -> None:
    """A number may be lost by that, which nobody notices."""
    await commit(store, "a")
    place = await store.latest()
    await commit(store, "a")
    await commit(store, "b")
    ids, place = await follow(store, place)
    assert ids == ["b"]
    assert (await follow(store, place))[0] == []
    assert not (await store.latest()).gaps or (await follow(store, await store.latest()))[1].gaps == ()


async def test_a_place_outlives_the_program(lasting_factory: StoreFactory) -> None:
    """Its text is all that is needed, in whichever replica."""
    store = await lasting_factory.start()
    await commit(store, "a")
    text = str(await store.latest())
    await commit(store, "b")
    store = await lasting_factory.start()
    await commit(store, "c")
    place = Place.parse(text)
    assert await store.knows(place)
    assert (await follow(store, place))[0] == ["b", "c"]


async def test_what_was_forgotten_is_not_known(store: Store) -> None:
    """Nor is a place of another store: whoever comes from there may have missed something."""
    await commit(store, "a", "b", at=T0)
    old = await store.latest()
    await commit(store, "c", at=T0 + 1000)
    new = await store.latest()
    await store.commit(Batch(T0 + 1000, told=["a", "b", "c"]))
    await store.prune(T0 + 500)
    assert not await store.knows(old)
    assert await store.knows(new)
    assert not await store.knows(Place())
    assert not await store.knows(replace(new, mark="00000000"))
    assert not await store.knows(Place().seen(new.last + 1, "d"))


async def sought(store: Store, what: Sought, limit: int = 100) -> list[str]:
    """The ids of everything that is sought, page after page, newest first."""
    ids: list[str] = []
    cursor = None
    while True:
        page = await store.transitions(limit=limit, cursor=cursor, sought=what)
        ids += [transition.transition_id for transition in page.transitions]
        cursor = page.next_cursor
        if cursor is None:
            return ids


async def test_transitions_can_be_sought(store: Store) -> None:
    """By all that is known of them; nothing in a text means anything but itself."""
    labels = [{"team": "ads"}, {"team": "Ads", 'te"am': "ads"}, {'x","team': "ads"}, {"team": 'a"d%s'}, None, {}]
    made = [
        replace(
            told_by(ended(f"t{number}")),
            transition_id=f"t{number}",
            at=T0 + number,
            labels=each,
            provider="search" if number % 2 else "other",
            target=State.FAILED if number == 3 else State.SUCCEEDED,
        )
        for number, each in enumerate(labels)
    ]
    await store.commit(Batch(T0, [Change(begin(entry(it.task), T0), it) for it in made]))
    for what in (
        Sought(),
        Sought(labels=(("team", "ads"),)),
        Sought(labels=(("team", 'a"d%s'),)),
        Sought(labels=(('te"am', "ads"), ("team", "Ads"))),
        Sought(labels=(("am", "ads"),)),
        Sought(tasks=frozenset({"t1", "t4", "no\0body"})),
        Sought(states=frozenset({State.FAILED, State.STOPPED})),
        Sought(providers=frozenset({"search"}), operations=frozenset({"function-task"})),
        Sought(operations=frozenset({"other"})),
        Sought(since=T0 + 2, until=T0 + 4),
        Sought(providers=frozenset({"search"}), since=T0 + 2),
    ):
        expected = [it.transition_id for it in reversed(made) if what.matches(it)]
        for limit in (1, 2, 100):
            assert await sought(store, what, limit) == expected
    assert await sought(store, Sought(labels=(("team", "ads"),))) == ["t0"]


async def test_what_is_rare_is_sought_little_by_little(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page looks at so many and no more; it may be empty, and tells where to go on."""
    monkeypatch.setattr("poller.store.sql.ROWS_A_PAGE", 3)
    await commit(store, *(f"t{number}" for number in range(10)))
    what = Sought(tasks=frozenset({"t0", "t5"}))
    page = await store.transitions(sought=what)
    assert (page.transitions, page.next_cursor is None) == ([], False)
    assert await sought(store, what) == ["t5", "t0"]
    assert await sought(store, what, 1) == ["t5", "t0"]
    only = Sought(states=frozenset({State.SUCCEEDED}))
    assert len((await store.transitions(limit=2, sought=only)).transitions) == 2
    assert await sought(store, only, 2) == [f"t{number}" for number in reversed(range(10))]
