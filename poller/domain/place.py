"""Where a reader of transitions is: which of them it has seen.

A store numbers transitions when it writes them, and shows them when their transaction commits. With several writers a
lower number may come to light after a higher one, so that no number says "all up to here". A place is the highest
number seen and the `Gap`s below it: numbers that were not there. Who goes on from a place reads what is above it and
what has turned up in its gaps, which loses nothing and repeats nothing. A gap is forgotten when every transaction is
over that could have filled it; most never are filled, they belong to writes that failed.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Self

MOST_GAPS = 32
"""In the text of a place. Where there are more, the lowest are told as one, and what is between them comes again."""

_LARGEST = 2**63 - 1
_FORM = re.compile(r"(\d{1,19})\.([0-9a-f]{8}|)((?:\.\d{1,19}-\d{1,19})*)")


@dataclass(frozen=True, slots=True)
class Gap:
    """Numbers from ``first`` to ``last`` that were not there.

    Nothing can come of them once every transaction numbered below ``until`` is over; None: that is not known yet.
    """

    first: int
    last: int
    until: int | None = None

    def without(self, number: int) -> Iterator["Gap"]:
        """What is left of it when ``number`` has turned up."""
        if self.first <= number <= self.last:
            parts = (Gap(self.first, number - 1, self.until), Gap(number + 1, self.last, self.until))
            yield from (part for part in parts if part.first <= part.last)
        else:
            yield self


@dataclass(frozen=True, slots=True)
class Place:
    """Everything up to the number ``last`` was seen but for the ``gaps``, which are in order.

    ``mark`` tells the transition of that number from another one that came to have it.
    """

    last: int = 0
    mark: str = ""
    gaps: tuple[Gap, ...] = ()

    def __contains__(self, number: int) -> bool:
        return number <= self.last and not any(gap.first <= number <= gap.last for gap in self.gaps)

    def seen(self, number: int, transition_id: str) -> "Place":
        """The place after the transition of this number and id was seen as well."""
        if number <= self.last:
            return replace(self, gaps=tuple(left for gap in self.gaps for left in gap.without(number)))
        missing = (Gap(self.last + 1, number - 1),) if number > self.last + 1 else ()
        return Place(number, mark_of(transition_id), self.gaps + missing)

    def joined(self, other: "Place") -> "Place":
        """The place of who has seen what either has."""
        low, high = sorted((self, other), key=lambda place: place.last)
        above = tuple(gap for gap in high.gaps if gap.last > low.last)
        gaps = [*_common(low.gaps, high.gaps)]
        gaps += [replace(gap, first=max(gap.first, low.last + 1)) for gap in above]
        return Place(high.last, high.mark, tuple(gaps))

    def lacking(self, other: "Place") -> "Place":
        """The place of who has seen nothing of what lies in the gaps of ``other``, up to its own last number."""
        below = (replace(gap, last=min(gap.last, self.last - 1)) for gap in other.gaps)
        more = [left for gap in below if gap.first <= gap.last for left in _without(gap, self.gaps)]
        return replace(self, gaps=tuple(sorted((*self.gaps, *more), key=lambda gap: gap.first))) if more else self

    def noted(self, coming: int) -> "Place":
        """The same, with every gap settled at the latest when all transactions numbered below ``coming`` are over."""
        return replace(self, gaps=tuple(replace(g, until=coming) if g.until is None else g for g in self.gaps))

    def settled(self, oldest: int) -> "Place":
        """Without the gaps that nothing can come of any more: no transaction below ``oldest`` is under way."""
        return replace(self, gaps=tuple(gap for gap in self.gaps if gap.until is None or gap.until > oldest))

    def __str__(self) -> str:
        """The place as text that means nothing to others; `parse` reads it again."""
        gaps = "".join(f".{gap.first}-{gap.last}" for gap in _fewer(self.gaps))
        return base64.urlsafe_b64encode(f"{self.last}.{self.mark}{gaps}".encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The place in ``text``; ValueError for one that is none."""
        try:
            form = _FORM.fullmatch(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True).decode())
        except (binascii.Error, ValueError):
            form = None
        if form is None:
            raise ValueError("not an id that was given out here")
        gaps = tuple(Gap(*map(int, gap.split("-"))) for gap in form[3].split(".")[1:])
        place = cls(int(form[1]), form[2], gaps)
        if not place._is_sound():
            raise ValueError("not an id that was given out here")
        return place

    def _is_sound(self) -> bool:
        """Whether its numbers are such as stores give, its gaps in order and below its last."""
        before = [0, *(gap.last for gap in self.gaps)]
        in_order = all(low < gap.first <= gap.last for low, gap in zip(before, self.gaps, strict=False))
        return (
            bool(self.mark) == bool(self.last) and in_order and (before[-1] < self.last <= _LARGEST or self == Place())
        )


def mark_of(transition_id: str) -> str:
    """A few characters that tell a transition from others."""
    return hashlib.blake2b(transition_id.encode(errors="replace"), digest_size=4).hexdigest()


def _without(gap: Gap, others: Iterable[Gap]) -> Iterator[Gap]:
    """What of ``gap`` lies in none of ``others``, which are in order."""
    first = gap.first
    for other in others:
        if first < other.first <= gap.last:
            yield replace(gap, first=first, last=other.first - 1)
        first = max(first, other.last + 1) if other.first <= gap.last else first
    if first <= gap.last:
        yield replace(gap, first=first)


def _common(some: Iterable[Gap], others: tuple[Gap, ...]) -> Iterator[Gap]:
    """What is a gap in both."""
    for gap in some:
        for other in others:
            first, last = max(gap.first, other.first), min(gap.last, other.last)
            if first <= last:
                yield Gap(first, last, other.until if gap.until is None else gap.until)


def _fewer(gaps: tuple[Gap, ...]) -> tuple[Gap, ...]:
    if len(gaps) <= MOST_GAPS:
        return gaps
    lowest, rest = gaps[: -MOST_GAPS + 1], gaps[-MOST_GAPS + 1 :]
    return (Gap(lowest[0].first, lowest[-1].last), *rest)
