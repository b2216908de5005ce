"""The pace of a connection."""

from hypothesis import given
from hypothesis import strategies as st

from poller.runtime.limits import Pacer


@given(st.floats(0.01, 10_000), st.lists(st.floats(0, 2) | st.just(0.0), min_size=1, max_size=200))
def test_no_stretch_sees_more_than_its_rate(rate: float, pauses: list[float]) -> None:
    """In any stretch of time there go at most rate × (its length + 0.1 s) and one; in a second, 2 % over it and one."""
    pacer, now, sent = Pacer(rate), 0.0, []
    for pause in pauses:
        now += pause
        now += pacer.wait(now)
        pacer.take(now)
        sent.append(now)
    for first, start in enumerate(sent):
        for last, end in enumerate(sent[first:], first):
            assert last - first <= rate * (end - start + 0.1) * (1 + 1e-9) + 1e-6
            assert end - start >= 1 or last - first <= rate * 1.02


def test_a_second_that_is_full_is_waited_for() -> None:
    """Also when the rate has fallen: the next one goes when the second it is in would see no more than the rate."""
    pacer, now, sent = Pacer(100.0), 0.0, []
    while now < 3:
        now += pacer.wait(now)
        pacer.take(now)
        sent.append(now)
    assert max(sum(1 for at in sent if start <= at < start + 1) for start in sent) == 103
    assert len(sent) > 300
    pacer.change(10.0)
    wait = pacer.wait(now)
    assert sum(1 for at in sent if at > now + wait - 1) == 10


def test_what_is_not_used_is_not_saved_up() -> None:
    """After an hour of silence polls go at the same pace as ever."""
    pacer = Pacer(10.0)
    pacer.take(0.0)
    pacer.take(3600.0)
    assert round(pacer.wait(3600.0), 3) == 0.0
    pacer.take(3600.0)
    assert round(pacer.wait(3600.0), 3) == 0.1
