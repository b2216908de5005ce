"""What the page of connections and replicas says, in words. Pure; the templates only lay it out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from poller.domain.durations import format_duration
from poller.domain.observation import Outcome
from poller.domain.shares import PARTITIONS
from poller.protocols import ConnectionView, Member
from poller.web.view import Moment, gate_words, moment


@dataclass(frozen=True, slots=True)
class Line:
    """One connection. ``rate`` is below ``full_rate`` while it is ``slowed``. ``outcomes`` are those of its polls."""

    provider: str
    href: str
    phase: str
    gate: str
    until: Moment | None
    rate: str
    full_rate: str
    slowed: bool
    in_flight: int
    slots: int
    due: int
    tasks: int
    polls: int
    outcomes: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class ReplicaLine:
    """One replica, the share of all partitions that it holds, and for how long it has lived."""

    name: str
    is_here: bool
    partitions: int
    share: float
    lived: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Replicas:
    """The replicas; none where there can be only one. ``free`` partitions are held by nobody. ``trouble`` with them."""

    lines: Sequence[ReplicaLine] = ()
    free: int = 0
    trouble: str | None = None


def line(connection: ConnectionView, tasks: int, outcomes: Mapping[Outcome, int], now: float) -> Line:
    """The line of one connection, over which ``tasks`` are polled."""
    return Line(
        provider=connection.provider,
        href=f".?{urlencode({'provider': connection.provider}, errors='replace')}",
        phase=connection.phase,
        gate=gate_words(connection),
        until=moment(connection.paused_until, now),
        rate=f"{connection.rate:.3g}/s",
        full_rate=f"{connection.share_of_rate:.3g}/s",
        slowed=connection.rate < connection.share_of_rate,
        in_flight=connection.in_flight,
        slots=connection.slots,
        due=connection.due,
        tasks=tasks,
        polls=sum(outcomes.values()),
        outcomes=[(str(outcome), count) for outcome, count in outcomes.items() if count],
    )


def replicas(members: Sequence[Member]) -> Replicas:
    """The replicas that are alive."""
    lines = [
        ReplicaLine(
            each.name,
            each.is_here,
            each.partitions,
            100.0 * each.partitions / PARTITIONS,
            format_duration(each.seconds),
        )
        for each in members
    ]
    return Replicas(lines, PARTITIONS - sum(each.partitions for each in members))
