"""What every store promises to those who follow its transitions."""

from dataclasses import replace

from poller.domain.events import Transition
from poller.domain.lifecycle import begin
from poller.domain.place import Place
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
