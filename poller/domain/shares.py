"""Which share of the partitions each replica holds, and until when it may believe so. Pure.

Tasks hash into `PARTITIONS` partitions. Every live replica holds a fair share of them: who has too many lets go of
some, who has too few takes what is free. A lease is held for as long as its replica is heard of; a replica that was
not heard of for `lifetime` seconds, by the store's clock, is dead, and what it held is free. Each taking of a partition
gives it a new epoch, a fencing token: what was concluded in an older one is never written (Kleppmann, "How to do
distributed locking", 2016; the leases of Amazon's Kinesis Client Library).
"""

import hashlib
from collections.abc import Sequence

PARTITIONS = 1024
"""Into how many shares the tasks are divided among replicas. Fixed: it is part of what is stored."""

_LIFETIME = 0.75
_RENEWALS = 4
_DRIFT = 0.02


def lifetime(lease: float) -> float:
    """For how many seconds a replica lives after it was last heard of.

    Shorter than the ``lease``, within which others have noticed and taken over.
    """
    return lease * _LIFETIME


def trusted(lease: float) -> float:
    """For how many seconds by its own clock a replica may believe that it lives, from before it was last heard of.

    Shorter than its lifetime, which the store measures: one of the two clocks may run two percent slower.
    """
    return lifetime(lease) * (1 - _DRIFT)


def renew_every(lease: float) -> float:
    """Seconds between two signs of life; several may get lost in a lifetime."""
    return lifetime(lease) / _RENEWALS


def fair_share(replica: str, alive: Sequence[str], partitions: int = PARTITIONS) -> int:
    """How many partitions ``replica``, one of those ``alive``, should hold. The shares of all add up to all of them."""
    order = sorted(alive)
    each, more = divmod(partitions, len(order))
    return each + (order.index(replica) < more)


def to_take(held: int, share: int, free: int) -> int:
    """How many of the ``free`` partitions one that has ``held`` should take."""
    return max(0, min(free, share - held))


def to_release(held: int, share: int) -> int:
    """How many partitions one that has ``held`` should let go of."""
    return max(0, held - share)


def partition_of(name: str) -> int:
    """The partition that the task ``name`` belongs to, the same for ever and everywhere."""
    digest = hashlib.blake2b(name.encode(errors="replace"), digest_size=4).digest()
    return int.from_bytes(digest) % PARTITIONS
