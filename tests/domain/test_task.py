"""The task as such: which one it is, and whether it is polled any more."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest

from poller.domain.state import State
from poller.domain.task import ADDED, Contact, Entry, Policy
from tests.domain.lives import task_in

PARAMS = {"task_id": "008aae2e", "workspace": "ws1"}
ENTRY = Entry("import-traffic", "studio", "system-task", PARAMS, labels={"team": "ads"})


@pytest.mark.parametrize(
    ("provider", "operation", "params", "same"),
    [
        ("studio", "system-task", {"workspace": "ws1", "task_id": "008aae2e"}, True),
        ("studio", "system-task", MappingProxyType(PARAMS), True),
        ("search", "system-task", PARAMS, False),
        ("studio", "function-task", PARAMS, False),
        ("studio", "system-task", {**PARAMS, "workspace": "ws2"}, False),
        ("studio", "system-task", {"task_id": "008aae2e"}, False),
        ("studio", "system-task", {}, False),
    ],
)
def test_provider_operation_and_params_make_the_task(
    provider: str, operation: str, params: Mapping[str, str], same: bool
) -> None:
    """Another one of these three under the same name is another task; the order of parameters is none of them."""
    assert ENTRY.same_task(provider, operation, params) is same


# state, terminal, over unless followed, over though followed
OVER = [
    (State.UNKNOWN, False, False, False),
    (State.PENDING, False, False, False),
    (State.RUNNING, False, False, False),
    (State.SUCCEEDED, True, True, False),
    (State.FAILED, True, True, False),
    (State.STOPPED, True, True, False),
    (State.MISSING, True, True, True),
    (State.EXPIRED, True, True, True),
]


@pytest.mark.parametrize(("state", "terminal", "over", "over_though_followed"), OVER)
def test_when_a_task_is_over(state: State, terminal: bool, over: bool, over_though_followed: bool) -> None:
    """A task is over in every terminal state; a followed one goes on after the ends that a provider reports."""
    alone, followed = task_in(state), task_in(state, follow=True)
    assert (alone.status.terminal, followed.status.terminal) == (terminal, terminal)
    assert (alone.over, followed.over) == (over, over_though_followed)


def test_the_default_policy_is_the_documented_one() -> None:
    """What the config file leaves out is as the manual says."""
    minute, hour, day = 60.0, 3_600.0, 86_400.0
    assert Policy() == Policy(
        initial=2.0,
        max=5 * minute,
        growth=1.5,
        jitter=0.1,
        deadline=day,
        unreachable_after=5 * minute,
        stalled_after=hour,
        give_up_after=7 * day,
        missing_polls=3,
        missing_time=minute,
        adaptive=True,
    )


def test_a_new_contact_has_nothing_to_tell() -> None:
    """Nobody has asked yet: no polls, no failures, no silence."""
    contact = Contact()
    assert (contact.polls, contact.attempt, contact.consecutive_failures, contact.missing_polls) == (0, 0, 0, 0)
    assert {contact.last_polled_at, contact.silent_since, contact.unanswered_since, contact.missing_since} == {None}


def test_what_the_api_added_stands_in_no_file() -> None:
    """By its source, which no file can have."""
    assert replace(ENTRY, source=ADDED).added
    assert not ENTRY.added
    assert not replace(ENTRY, source="tasks.yaml").added
