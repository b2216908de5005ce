"""Why the next poll is when it is: what people are told of each reason."""

from dataclasses import replace
from typing import Any

import pytest

from poller.domain.circuit import Phase
from poller.domain.nextpoll import Gate, why_next
from poller.domain.observation import Failure, Outcome
from poller.domain.prospect import Basis, ExpectedEnd
from poller.domain.state import State
from poller.domain.task import Contact, Entry, Policy, Status, Task

NOW = 1_790_000_000.0
POLICY = Policy(initial=2.0, max=60.0, growth=1.5, give_up_after=3600.0)
OPEN = Gate(Phase.OPEN, None, None, 50.0, 50.0, 0, 32, 0)
POLLED = Contact(polls=5, attempt=4, last_polled_at=NOW - 3)


def task(
    state: State = State.RUNNING,
    contact: Contact = POLLED,
    policy: Policy = POLICY,
    follow: bool = False,
    **status: Any,
) -> Task:
    known = Status(NOW - 900, NOW - 60, NOW - 900, state=state, **status)
    return Task(Entry("n", "jobs", "job", policy=policy, follow=follow), known, contact)


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        (State.SUCCEEDED, "It is polled no more: it has ended (succeeded)."),
        (State.MISSING, "It is polled no more: the provider says that there is no such task. It can be rearmed."),
        (
            State.EXPIRED,
            "It is polled no more: no poll told its status for 1h (give_up_after). It can be rearmed.",
        ),
    ],
)
def test_what_has_ended_is_polled_no_more(ended: State, expected: str) -> None:
    """And it is said why."""
    assert why_next(task(ended), NOW, None, None, OPEN) == expected


def test_of_what_others_poll_only_they_know() -> None:
    """As long as they have not told."""
    told = why_next(task(), NOW, None, None, None)
    assert told == "When it is polled next is not known here: the process that polls it has not told yet."


PAUSED = replace(OPEN, phase=Phase.PAUSED, reason=Outcome.THROTTLED, until=NOW + 40)


@pytest.mark.parametrize(
    ("gate", "expected"),
    [
        (None, "."),
        (OPEN, ": it is under way."),
        (PAUSED, " and waits: the connection is paused (throttled), for 40s more."),
        (replace(PAUSED, until=None), " and waits: the connection is paused (throttled)."),
        (
            replace(OPEN, phase=Phase.PROBING, waiting=3),
            " and waits: before its first answer a connection lets out one poll at a time, until one is answered.",
        ),
        (
            replace(OPEN, phase=Phase.PROBING, reason=Outcome.UNAUTHORIZED, waiting=3),
            " and waits: after a pause (unauthorized) a connection lets out one poll at a time, until one is answered.",
        ),
        (replace(OPEN, phase=Phase.PROBING), ": it is under way."),
        (
            replace(OPEN, in_flight=32, waiting=3),
            " and waits for a slot: all 32 polls that may be under way at once are (max_in_flight).",
        ),
        (replace(OPEN, waiting=1), " and waits for its turn: 1 poll is due, and 50 a second may go."),
        (
            replace(OPEN, waiting=1200, rate=12.5),
            " and waits for its turn: 1,200 polls are due, and 12.5 a second, of 50, since it was throttled, may go.",
        ),
    ],
)
def test_what_is_due_waits_for_its_connection(gate: Gate | None, expected: str) -> None:
    """For the end of a pause, a slot, or its turn; or it is on its way."""
    assert why_next(task(), NOW, NOW - 12, None, gate) == f"It has been due for 12s{expected}"


FAILING = Contact(5, 4, NOW - 3, consecutive_failures=2, last_failure=Failure(Outcome.UNREACHABLE, NOW - 3))
END = ExpectedEnd(Basis.HISTORY, NOW + 720, NOW + 480, NOW + 1200)
STEP = "Back-off: step 4 in this state, 6.8s, growing by 1.5 to 1m."


@pytest.mark.parametrize(
    ("known", "end", "expected"),
    [
        (task(contact=Contact()), None, "It has not been polled yet: first polls are spread over a short time."),
        (
            task(State.SUCCEEDED, follow=True),
            None,
            "This run has ended, and the task is followed: the next run is looked for every 1m (max).",
        ),
        (
            task(contact=FAILING),
            END,
            f"The last poll did not tell its status (unreachable), so forecasts rest. {STEP}",
        ),
        (
            task(contact=replace(FAILING, last_failure=None)),
            END,
            f"The last poll did not tell its status (no answer), so forecasts rest. {STEP}",
        ),
        (
            task(),
            END,
            "It is polled where its end is likely. That is expected in 12m (8m-20m): earlier runs took about as long.",
        ),
        (
            task(),
            replace(END, basis=Basis.PROGRESS),
            "It is polled where its end is likely. That is expected in 12m (8m-20m): "
            "its progress, and how earlier runs came to their end, foretell it.",
        ),
        (
            task(),
            ExpectedEnd(Basis.PACE, NOW + 90, None, None),
            "It is polled where its end is likely. That is expected in 1m30s: its own progress goes at that pace.",
        ),
        (task(), None, f"When it will end cannot be foretold yet. {STEP}"),
        (
            task(contact=replace(POLLED, attempt=0)),
            None,
            "When it will end cannot be foretold yet. Back-off: step 1 in this state, 2s, growing by 1.5 to 1m.",
        ),
        (
            task(contact=replace(POLLED, attempt=40)),
            None,
            "When it will end cannot be foretold yet. Back-off has grown to its longest, 1m (max).",
        ),
        (task(policy=replace(POLICY, adaptive=False)), None, f"Forecasts are off for it (adaptive: false). {STEP}"),
        (
            task(State.SUCCEEDED, awaited_since=NOW - 5),
            None,
            f"When it will end cannot be foretold yet. {STEP}",
        ),
    ],
)
def test_what_is_planned_was_planned_for_a_reason(known: Task, end: ExpectedEnd | None, expected: str) -> None:
    """A forecast, the back-off, or the wait for a next run; and how long that is after the last poll."""
    distance = " With jitter that makes 8s after the last poll." if known.contact.polls else ""
    assert why_next(known, NOW, NOW + 5, end, OPEN) == expected + distance


@pytest.mark.parametrize(
    ("gate", "held"),
    [
        (PAUSED, True),
        (replace(PAUSED, until=NOW + 4), False),
        (replace(PAUSED, until=None), False),
        (OPEN, False),
        (None, False),
    ],
)
def test_a_pause_that_lasts_longer_is_told_too(gate: Gate | None, held: bool) -> None:
    """But not one that is over by then."""
    told = why_next(task(), NOW, NOW + 5, None, gate)
    assert told.endswith(" But the connection is paused (throttled), for 40s more: it will wait.") is held


def test_a_plan_from_before_the_last_poll_tells_no_distance() -> None:
    """Clocks are set back now and then."""
    assert "after the last poll" not in why_next(
        task(contact=replace(POLLED, last_polled_at=NOW + 9)), NOW, NOW + 5, None, OPEN
    )
