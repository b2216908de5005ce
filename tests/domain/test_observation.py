"""The outcomes of a poll, and what each proves."""

import pytest

from poller.domain.observation import OPENS, TELLS_STATUS, Outcome

# outcome, tells about the task itself, shows that the connection works
PROVES = [
    ("answered", True, True),
    ("missing", True, True),
    ("unrecognized", False, True),
    ("rejected", False, True),
    ("unreachable", False, False),
    ("throttled", False, False),
    ("unauthorized", False, False),
]


@pytest.mark.parametrize(("outcome", "tells", "opens"), PROVES)
def test_what_an_outcome_proves(outcome: str, tells: bool, opens: bool) -> None:
    """Only two outcomes tell about the task; two more at least show that the provider read the request."""
    assert (outcome in TELLS_STATUS, outcome in OPENS) == (tells, opens)


def test_there_are_no_other_outcomes() -> None:
    """The outcomes are labels of a metric: none may be renamed, dropped or added unnoticed."""
    assert [*Outcome] == [outcome for outcome, _, _ in PROVES]
