"""The pace of a connection."""

from hypothesis import given
from hypothesis import strategies as st

from poller.runtime.limits import Pacer


@given(st.floats(0.01, 10_000), st.lists(st.floats(0, 2), min_size=1, max_size=200))
def test_no_stretch_sees_more_than_its_rate(rate: float, pauses: list[float]) -> None:
    """In any stretch of time there go at most rate × (its length + 20 ms) and one."""
    pacer, now, sent = Pacer(rate), 0.0, []
    for pause in pauses:
        now += pause
        now += pacer.wait(now)
        pacer.take(now)
        sent.append(now)
    for first, start in enumerate(sent):
        for last, end in enumerate(sent[first:], first):
            assert last - first <= rate * (end - start + 0.02) * (1 + 1e-9) + 1e-6


def test_what_is_not_used_is_not_saved_up() -> None:
    """After an hour of silence polls go at the same pace as ever."""
    pacer = Pacer(10.0)
    pacer.take(0.0)
    pacer.take(3600.0)
    assert round(pacer.wait(3600.0), 3) == 0.08
