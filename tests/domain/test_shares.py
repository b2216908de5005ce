"""Shares: which partitions belong to whom, and for how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.domain.shares import (
    PARTITIONS,
    fair_share,
    lifetime,
    partition_of,
    renew_every,
    to_release,
    to_take,
    trusted,
)

names = st.lists(st.text("abc0123", min_size=1, max_size=5), min_size=1, max_size=40, unique=True)


@given(names, st.integers(1, 2000))
def test_the_shares_of_all_are_everything_and_differ_by_one(alive: list[str], partitions: int) -> None:
    """In whatever order the replicas are seen."""
    shares = [fair_share(each, alive, partitions) for each in alive]
    assert sum(shares) == partitions
    assert max(shares) - min(shares) <= 1
    assert [fair_share(each, alive[::-1], partitions) for each in alive] == shares


@given(st.integers(0, 1024), st.integers(0, 1024), st.integers(0, 1024))
def test_nobody_takes_and_lets_go_at_once(held: int, share: int, free: int) -> None:
    """Whoever has too few takes what is free, up to its share; whoever has too many lets go of just that."""
    taken, released = to_take(held, share, free), to_release(held, share)
    assert not (taken and released)
    assert taken <= free
    assert held + taken <= max(held, share)
    assert held - released == min(held, share)


def test_a_task_has_the_same_partition_for_ever() -> None:
    """It is part of what is stored: these must never change, half a surrogate pair is a name too."""
    assert [partition_of(name) for name in ("import", "train/1", "\ud800")] == PLACES


PLACES = [989, 919, 269]


@given(st.text())
def test_every_name_has_a_partition(name: str) -> None:
    """One of those there are."""
    assert 0 <= partition_of(name) < PARTITIONS


@pytest.mark.parametrize("lease", [2.0, 15.0, 3600.0])
def test_a_lease_leaves_time_for_everything(lease: float) -> None:
    """Several signs of life in what a replica believes in, which is less than it lives, which is less than a lease."""
    assert 3 * renew_every(lease) < trusted(lease) < lifetime(lease) < lease
