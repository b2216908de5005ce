"""A place says which numbers were seen, and loses none of those that were not."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.domain.place import MOST_GAPS, Gap, Place, mark_of

numbers = st.lists(st.integers(1, 60), unique=True)
moments = st.integers(0, 5)


def place_of(seen: list[int]) -> Place:
    place = Place()
    for number in seen:
        place = place.seen(number, f"t{number}")
    return place


def within(place: Place) -> set[int]:
    return {number for number in range(1, 70) if number in place}


@given(numbers)
def test_seen_is_what_was_seen_in_whatever_order(seen: list[int]) -> None:
    """No number more and none less; the mark is that of the highest."""
    place = place_of(seen)
    assert within(place) == set(seen)
    assert place.last == max(seen, default=0)
    assert place.mark == (mark_of(f"t{place.last}") if seen else "")


@given(numbers)
def test_a_place_is_read_back_from_its_text(seen: list[int]) -> None:
    """With every gap, if there are not too many."""
    place = place_of(seen)
    assert Place.parse(str(place)) == place


def test_a_text_tells_so_many_gaps_and_no_more() -> None:
    """Of many, the lowest become one: what was seen between them comes again, and nothing is lost."""
    place = place_of(list(range(2, 1000, 2)))
    told = Place.parse(str(place))
    assert len(told.gaps) == MOST_GAPS
    assert within(told) <= within(place)
    assert told.gaps[1:] == place.gaps[-MOST_GAPS + 1 :]
    assert len(str(place)) < 600


@given(numbers, numbers)
def test_two_places_joined_have_seen_what_either_has(some: list[int], others: list[int]) -> None:
    """Whichever comes first."""
    for one, other in ((some, others), (others, some)):
        joined = place_of(one).joined(place_of(other))
        assert within(joined) == {*some, *others}
        assert joined == place_of(sorted({*some, *others}))


@given(numbers, numbers)
def test_who_goes_along_with_others_may_lack_what_they_have_seen(some: list[int], others: list[int]) -> None:
    """What lies in the gaps of another place is not seen, up to the last number of one's own, which is."""
    one, other = place_of(some), place_of(others)
    lacking = one.lacking(other)
    assert within(lacking) == {number for number in some if number in other or number >= min(one.last, other.last)}
    assert lacking.last == one.last
    assert Place.parse(str(lacking)) == Place(one.last, one.mark, lacking.gaps)
    assert one.lacking(one) is one


def test_a_gap_is_forgotten_when_nothing_can_fill_it_any_more() -> None:
    """When all transactions are over that there were when it was first looked at; parts of it stay as they are."""
    place = place_of([2, 9]).noted(100)
    assert place.settled(99) == place
    later = place.seen(5, "t5").seen(12, "t12").noted(200)
    assert later.gaps == (Gap(1, 1, 100), Gap(3, 4, 100), Gap(6, 8, 100), Gap(10, 11, 200))
    assert later.settled(100).gaps == (Gap(10, 11, 200),)
    assert later.settled(200).gaps == ()
    assert place_of([2]).settled(10**9).gaps == (Gap(1, 1),)
    assert later.joined(place_of([2, 9])).gaps == later.gaps
    assert place_of([2, 9]).joined(later).gaps == later.gaps


@pytest.mark.parametrize(
    "text",
    [
        *("", "7", "no id", "ä", "\0", "NS4", str(Place(2**63, "00000000")), str(Place(5, "nothexes"))),
        *(
            str(Place(5, "00000000", gaps))
            for gaps in [(Gap(3, 2),), (Gap(0, 2),), (Gap(4, 5),), (Gap(3, 3), Gap(2, 2))]
        ),
    ],
)
def test_what_is_no_place_is_refused(text: str) -> None:
    """A ValueError, whatever it is."""
    with pytest.raises(ValueError, match="not an id"):
        Place.parse(text)


@given(st.text())
def test_no_text_does_harm(text: str) -> None:
    """It is a place or it is none."""
    with contextlib.suppress(ValueError):
        Place.parse(text)
