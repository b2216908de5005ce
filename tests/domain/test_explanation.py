"""What an explanation tells of two clocks."""

import pytest

from poller.domain.explanation import Explanation


@pytest.mark.parametrize(("server_time", "ahead"), [(None, None), (90.0, 10.0), (100.0, 0.0), (130.5, -30.5)])
def test_the_clock_here_is_compared_with_the_server_s(server_time: float | None, ahead: float | None) -> None:
    """Positive where it is ahead; unknown where the server did not tell."""
    assert Explanation(100.0, (), server_time=server_time).clock_ahead == ahead
