"""What is told to the world."""

import pytest

from poller.domain.events import Transition
from poller.domain.state import State


@pytest.mark.parametrize(
    ("target", "terminal"),
    [
        (State.PENDING, False),
        (State.RUNNING, False),
        (State.SUCCEEDED, True),
        (State.FAILED, True),
        (State.STOPPED, True),
        (State.MISSING, True),
        (State.EXPIRED, True),
    ],
)
def test_a_transition_is_terminal_when_its_target_is(target: State, terminal: bool) -> None:
    """Receivers need no table of their own to tell an end from a change."""
    told = Transition("id", 1, "name", "studio", "system-task", State.UNKNOWN, target, at=0.0, run=1)
    assert told.terminal is terminal
