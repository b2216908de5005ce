"""The rate limit of a gateway."""

from poller.simulator.limits import RateLimit


def test_a_second_s_worth_may_come_at_once_and_then_one_at_a_time() -> None:
    limit = RateLimit(2.0, now=0.0)
    assert [limit.take(0.0) for _ in range(3)] == [0.0, 0.0, 0.5]
    assert limit.take(0.4) > 0
    assert limit.take(0.5) == 0.0
    assert limit.take(0.5) == 0.5


def test_a_slow_limit_lets_one_pass() -> None:
    limit = RateLimit(0.1, now=0.0)
    assert limit.take(0.0) == 0.0
    assert limit.take(0.0) == 10.0
    assert limit.take(10.0) == 0.0


def test_what_is_not_taken_does_not_pile_up() -> None:
    limit = RateLimit(2.0, now=0.0)
    assert [limit.take(100.0) for _ in range(3)] == [0.0, 0.0, 0.5]


def test_a_limit_says_what_it_is() -> None:
    assert (str(RateLimit(50.0, 0.0)), str(RateLimit(0.5, 0.0))) == ("limit:50,time:1 second", "limit:30,time:1 minute")
