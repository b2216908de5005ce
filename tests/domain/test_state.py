"""The states, and what kinds of them there are."""

from poller.domain.state import ENDS, REPORTED, TERMINAL, Flag, State


def test_states_are_called_what_users_and_metrics_call_them() -> None:
    """No state may be renamed, dropped or reordered: dashboards and alerts spell them."""
    assert [*State] == ["unknown", "pending", "running", "succeeded", "failed", "stopped", "missing", "expired"]


def test_terminal_states_are_the_reported_ends_and_pollers_own_two() -> None:
    """Polling ends after five states; two of them are conclusions that no answer can tell."""
    assert sorted(TERMINAL) == ["expired", "failed", "missing", "stopped", "succeeded"]
    assert {"expired", "missing"} == TERMINAL - ENDS


def test_an_answer_can_tell_five_states() -> None:
    """Unknown, missing and expired are never what a provider says of a task."""
    assert set(State) - REPORTED == {"unknown", "missing", "expired"}


def test_flags_are_called_what_users_and_metrics_call_them() -> None:
    """No flag may be renamed or dropped."""
    assert {*Flag} == {"overdue", "stalled", "unreachable", "late"}
