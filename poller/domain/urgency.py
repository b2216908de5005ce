"""Which poll may wait when not all can go that are due: the one of a run that hardly ends meanwhile. Pure."""

from poller.domain.forecast import between
from poller.domain.prospect import Prospect
from poller.domain.task import Policy

LONGEST_WAIT = 2.0
"""How many times ``max`` may pass between two polls of a task when not all can go that are due; jitter comes on top."""

TURN = 1.8
"""How many times ``max`` has passed when a task's turn has come, whatever its prospect: in time for `LONGEST_WAIT`."""

_UNKNOWN = 0.5
"""The chance of an end of which nothing is known."""


def chance(foreseen: Prospect, age: float) -> float:
    """The probable share of runs like this one that end before ``age``, in seconds.

    Straight lines through what a prospect tells: a tenth ends before ``low``, half before ``expected``, nine tenths
    before ``high``. Of what is left afterwards, half ends until twice that age.
    """
    if age > foreseen.high:
        return 1.0 - 0.1 * foreseen.high / age
    return between(age, (0.0, foreseen.low, foreseen.expected, foreseen.high), (0.0, 0.1, 0.5, 0.9))


def slack(foreseen: Prospect | None, age: float, policy: Policy, delay: float = 0.0) -> float:
    """Seconds that a poll may wait beyond its due time, at most ``max``: the likelier an end, the fewer.

    The end is one within ``max`` from then on, when the run's ``age`` will be so many seconds. ``delay`` are the
    seconds from the last poll until then: nothing may wait beyond `LONGEST_WAIT`.
    """
    likely = _UNKNOWN if foreseen is None else chance(foreseen, age + policy.max)
    return max(0.0, min((1.0 - likely) * policy.max, LONGEST_WAIT * policy.max - delay))
