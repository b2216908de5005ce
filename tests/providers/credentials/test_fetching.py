"""Credentials that are fetched: when they are, how often, and who waits."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import anyio
import pytest
from structlog.testing import LogCapture

from poller.providers.credentials.fetching import Fetched, FetchingSource, Habits, NotFetchedError
from poller.providers.credentials.forms import AuthToken
from poller.providers.credentials.source import NoCredentialsError
from poller.providers.transport import Transport
from tests.providers.credentials.doubles import START, LoopTime, Script, captured

pytestmark = pytest.mark.looptime

HOUR = 3_600.0
AHEAD = 900.0
Result = tuple[str, float] | NotFetchedError | Exception
"""A token and for how many seconds it is good, or what goes wrong."""


@dataclass
class Server:
    """Fetches by script: what the n-th fetch (from 1) brings, after ``takes`` seconds."""

    script: Callable[[int], Result]
    takes: float = 0.0
    password: str = "old"
    fetches: list[float] = field(default_factory=list)

    @property
    def asks_with(self) -> tuple[str | None, ...]:
        return (self.password,)

    async def fetch(self, transport: Transport, now: float) -> Fetched:
        self.fetches.append(now - START)
        result = self.script(len(self.fetches))
        await asyncio.sleep(self.takes)
        if isinstance(result, Exception):
            raise result
        return Fetched(AuthToken(result[0]), LoopTime().now() + result[1])


@dataclass
class House:
    """A source, and what is around it."""

    source: FetchingSource
    server: Server
    transport: Script
    logs: LogCapture

    def token(self) -> str | None:
        """The token that requests would go out with now; None if there is none."""
        try:
            current = self.source.current()
        except NoCredentialsError:
            return None
        assert isinstance(current, AuthToken)
        return current.token

    async def use(self, seconds: float, every: float = 1.0, refused: Callable[[], int | None] = lambda: None) -> None:
        """Asks for credentials as polls do, for so long."""
        end = LoopTime().monotonic() + seconds
        while LoopTime().monotonic() < end:
            await self.source.renew(refused())
            await asyncio.sleep(every)

    def logged(self) -> list[str]:
        return [line["event"] for line in self.logs.entries]


def build(script: Callable[[int], Result], takes: float = 0.0, after_refusal: float = 0.0) -> House:
    server, transport, (logger, logs) = Server(script, takes), Script([]), captured()
    habits = Habits("IAM user ann", "look after it", AHEAD, after_refusal)
    return House(FetchingSource(server, habits, transport, LoopTime(), logger), server, transport, logs)


def good(life: float = HOUR) -> Callable[[int], Result]:
    return lambda count: (f"token-{count}", life)


def gaps(times: list[float]) -> list[float]:
    return [round(later - earlier, 3) for earlier, later in pairwise(times)]


# --- waiting ---------------------------------------------------------------------------------------------------------


async def test_fifty_wait_for_one_fetch() -> None:
    """Without credentials everybody waits, for the same ones."""
    house = build(good(), takes=2.0)
    assert house.token() is None
    await asyncio.gather(*(house.source.renew() for _ in range(50)))
    assert (len(house.server.fetches), house.token(), house.source.version) == (1, "token-1", 1)
    assert LoopTime().monotonic() == 2.0


async def test_nobody_waits_for_a_renewal() -> None:
    """While the old ones are valid polls go out with them; one fetch is under way, however many ask."""
    house = build(good(), takes=5.0)
    await house.source.renew()
    await asyncio.sleep(HOUR - AHEAD)
    began = LoopTime().monotonic()
    await asyncio.gather(*(house.source.renew() for _ in range(50)))
    assert (LoopTime().monotonic(), house.token(), len(house.server.fetches)) == (began, "token-1", 2)
    await asyncio.sleep(5.0)
    assert (house.token(), house.source.version) == ("token-2", 2)


async def test_who_comes_when_they_have_lapsed_waits_for_the_renewal_under_way() -> None:
    """The fetch that began while they were valid is not begun again."""
    house = build(good(life=8.0), takes=5.0)
    await house.source.renew()
    await asyncio.sleep(7.0)
    await house.source.renew()
    await asyncio.sleep(2.0)
    assert house.token() is None
    await house.source.renew()
    assert (house.token(), len(house.server.fetches)) == ("token-2", 2)


@pytest.mark.parametrize("cancel", ["asyncio", "anyio"])
async def test_who_is_cancelled_takes_no_fetch_along(cancel: str) -> None:
    """Whoever began the fetch may go: the others get what it brings, and nothing stays locked."""
    house = build(good(), takes=4.0)
    if cancel == "asyncio":
        first = asyncio.create_task(house.source.renew())
        asyncio.get_running_loop().call_later(1.0, first.cancel)
        await asyncio.gather(first, return_exceptions=True)
    else:
        with anyio.move_on_after(1.0):
            await house.source.renew()
    assert LoopTime().monotonic() == 1.0
    await asyncio.gather(*(house.source.renew() for _ in range(3)))
    assert (len(house.server.fetches), house.token(), LoopTime().monotonic()) == (1, "token-1", 4.0)


async def test_closing_ends_the_fetch() -> None:
    """Nothing is asked after the end, and the sockets are closed."""
    house = build(good(), takes=100.0)
    waiting = asyncio.create_task(house.source.renew())
    await asyncio.sleep(1.0)
    await house.source.close()
    await waiting
    assert (house.transport.closed, house.token(), LoopTime().monotonic()) == (True, None, 1.0)


async def test_closing_before_any_use_is_no_trouble() -> None:
    """Most connections are made, reloaded and dropped like that."""
    house = build(good())
    await house.source.close()
    assert (house.transport.closed, house.server.fetches) == (True, [])


# --- renewing in time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("life", "every"), [(6 * HOUR, 6 * HOUR - AHEAD), (HOUR, HOUR * 0.75), (60.0, 45.0), (8.0, 6.0), (2.0, 1.5)]
)
async def test_they_are_renewed_ahead_of_time(life: float, every: float) -> None:
    """A quarter of an hour before they lapse, of short-lived ones a quarter of their life: never at every poll."""
    house = build(good(life))
    await house.use(life * 3, every=life / 1000)
    assert all(every <= gap <= every + life / 500 for gap in gaps(house.server.fetches))
    assert len(house.server.fetches) in (3, 4)


async def test_never_are_lapsed_ones_given_out() -> None:
    """Rather none: a request with them would be refused, and refusals lock keys."""
    house = build(lambda count: ("token-1", 100.0) if count == 1 else NotFetchedError("HTTP 500"))
    await house.source.renew()
    await asyncio.sleep(99.9)
    assert house.token() == "token-1"
    await asyncio.sleep(0.2)
    assert house.token() is None
    await house.source.renew()
    assert house.token() is None


async def test_the_version_tells_of_the_lapse_and_of_what_comes_then() -> None:
    """A connection that pauses for want of credentials goes on when there are any, even the same ones as before."""
    house = build(lambda count: NotFetchedError("HTTP 500") if 1 < count < 4 else ("the-same", 10.0))
    await house.source.renew()
    assert house.source.version == 1
    await asyncio.sleep(10.0)
    await house.source.renew()
    lapsed = house.source.version
    assert (house.token(), lapsed) == (None, 2)
    await house.use(10.0, refused=lambda: lapsed)
    assert (house.token(), house.source.version) == ("the-same", 3)


async def test_the_same_ones_again_are_no_other_version() -> None:
    """A metadata server gives out the same key until shortly before it lapses."""
    house = build(lambda count: ("the-same", 100.0))
    await house.use(300.0)
    assert (house.source.version, len(house.server.fetches)) == (1, 4)


@pytest.mark.parametrize("life", [-3_600.0, 0.0, 0.9])
async def test_what_has_lapsed_when_it_comes_is_a_failure(life: float) -> None:
    """It says so, with both times: a wrong clock is the usual reason."""
    house = build(good(life))
    await house.use(600.0)
    assert house.token() is None
    assert len(house.server.fetches) < 20
    with pytest.raises(NoCredentialsError, match=r"what came expires at 20.*, and it is 20.* by this machine's clock"):
        house.source.current()


# --- failures --------------------------------------------------------------------------------------------------------


async def test_a_renewal_that_fails_keeps_the_old_ones() -> None:
    """They are used as long as they are valid, and it is tried again after growing pauses, never with every poll."""
    house = build(lambda count: ("token-1", HOUR) if count == 1 else NotFetchedError("HTTP 500"))
    await house.use(HOUR - AHEAD + 120.0, every=0.1)
    assert (house.token(), house.source.version) == ("token-1", 1)
    assert [round(gap) for gap in gaps(house.server.fetches)[1:]] == [1, 2, 4, 8, 16, 32]
    await house.use(AHEAD, every=1.0)
    assert house.token() is None
    assert max(gaps(house.server.fetches)[1:]) <= 61


async def test_a_failure_is_told_with_what_to_do() -> None:
    """Which source, what went wrong, and what to look after."""
    house = build(lambda count: NotFetchedError("https://iam: HTTP 503"))
    with pytest.raises(NoCredentialsError, match="IAM user ann: not fetched yet; look after it"):
        house.source.current()
    await house.source.renew()
    with pytest.raises(NoCredentialsError, match="IAM user ann: https://iam: HTTP 503; look after it"):
        house.source.current()


async def test_a_repeating_failure_is_logged_when_it_begins_changes_and_ends() -> None:
    """Not every time; the line says how long the old ones are good for."""
    texts = {2: "HTTP 500", 3: "HTTP 500", 4: "HTTP 503", 5: "HTTP 503"}
    house = build(lambda count: NotFetchedError(texts[count]) if count in texts else (f"token-{count}", HOUR))
    await house.use(HOUR)
    assert house.logged() == ["credentials.not_renewed", "credentials.not_renewed", "credentials.renewed"]
    first, second, last = house.logs.entries
    assert (first["message"], first["source"], first["log_level"]) == ("HTTP 500", "IAM user ann", "warning")
    assert (first["valid_until"], second["message"]) == ("2027-01-15T09:00:00.000Z", "HTTP 503")
    assert last["valid_until"] == "2027-01-15T09:45:15.000Z"


async def test_a_fault_of_pollers_own_ends_no_poll() -> None:
    """It is logged with its traceback, and tried again as any failure."""
    house = build(lambda count: RuntimeError("oh") if count < 3 else ("token", HOUR))
    await house.use(2.0)
    assert house.logged() == ["credentials.broken", "credentials.not_renewed", "credentials.broken"]
    with pytest.raises(NoCredentialsError, match="a fault in poller: RuntimeError"):
        house.source.current()
    await house.use(10.0)
    assert house.token() == "token"


async def test_a_hanging_server_is_not_asked_more_often_for_it() -> None:
    """The pause counts from the beginning of a fetch, and there is one at a time."""
    house = build(lambda count: NotFetchedError("no answer within 10 s"), takes=10.0)
    await asyncio.gather(*(house.use(300.0) for _ in range(5)))
    assert all(gap >= 10.0 for gap in gaps(house.server.fetches))
    assert len(house.server.fetches) < 12


async def test_a_password_that_was_refused_is_not_tried_again_soon_but_another_one_is() -> None:
    """IAM locks a user after five refusals in a quarter of an hour."""
    house = build(lambda count: NotFetchedError("HTTP 401", refused=True), after_refusal=300.0)
    await house.use(899.0)
    assert len(house.server.fetches) == 3
    house.server.script = good()
    house.server.password = "new"
    await house.source.renew()
    assert (house.token(), len(house.server.fetches)) == ("token-4", 4)


# --- refused credentials ---------------------------------------------------------------------------------------------


async def test_refused_ones_are_fetched_anew_once_whoever_tells() -> None:
    """Fifty polls were refused: all wait for one fetch, and who comes later is told at once."""
    house = build(good(), takes=1.0)
    await house.source.renew()
    await asyncio.gather(*(house.source.renew(1) for _ in range(50)))
    assert (len(house.server.fetches), house.source.version, LoopTime().monotonic()) == (2, 2, 2.0)
    await house.source.renew(1)
    assert (len(house.server.fetches), LoopTime().monotonic()) == (2, 2.0)


async def test_other_polls_do_not_wait_when_some_are_refused() -> None:
    """It may be that one request's fault."""
    house = build(good(), takes=1.0)
    await house.source.renew()
    telling = asyncio.create_task(house.source.renew(1))
    await asyncio.sleep(0.5)
    await house.source.renew()
    assert (LoopTime().monotonic(), house.token()) == (1.5, "token-1")
    await telling


async def test_a_lane_that_looks_every_second_does_not_hammer() -> None:
    """The server gives out the same again and again: pauses of ten seconds, growing to five minutes."""
    house = build(lambda count: ("the-same", 24 * HOUR))
    await house.source.renew()
    await house.use(1_500.0, refused=lambda: 1)
    assert house.source.version == 1
    assert gaps(house.server.fetches) == [0, 10, 20, 40, 80, 160, 300, 300, 300]


async def test_new_ones_that_are_refused_as_well_do_not_hammer_either() -> None:
    """STS gives out another key each time; that must not make a loop of refusals."""
    house = build(good(24 * HOUR))
    await house.source.renew()
    await house.use(620.0, refused=lambda: house.source.version)
    assert gaps(house.server.fetches) == [0, 10, 20, 40, 80, 160, 300]


async def test_a_refusal_after_a_long_quiet_is_the_first_again() -> None:
    """What was long ago does not delay."""
    house = build(good(24 * HOUR))
    await house.source.renew()
    for wait in (30.0, 2_000.0, 9.0, 1.1):
        await house.source.renew(house.source.version)
        await asyncio.sleep(wait)
    assert house.server.fetches == [0, 0, 30, 2_030]
    await house.source.renew(house.source.version)
    assert gaps(house.server.fetches) == [0, 30, 2_000, 10.1]


async def test_a_fetch_for_refused_ones_that_fails_keeps_them() -> None:
    """The provider may be wrong; the schedule decides."""
    house = build(lambda count: ("token-1", HOUR) if count == 1 else NotFetchedError("HTTP 500"))
    await house.source.renew()
    await house.use(100.0, refused=lambda: 1)
    assert (house.token(), house.source.version) == ("token-1", 1)
    assert len(house.server.fetches) <= 6
