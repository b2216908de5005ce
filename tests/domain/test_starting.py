"""When a request to start may be sent, and what is followed afterwards: a table of everything that may come."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.domain.observation import OPENS, Observation, Outcome, Run
from poller.domain.starting import (
    LOOK_DELAYS,
    MOST_REQUESTS,
    GaveUp,
    Job,
    Look,
    Next,
    Reply,
    Send,
    Started,
    Starting,
    reply_to,
)
from poller.domain.state import State
from poller.domain.task import Entry

# How a start goes: what there was before, what came of each request and look, and what is done next.
#   before, lists   the runs, newest first: 3r is run 3, running; e: ended, p: pending, ?: a status that stands for none
#   send=…          the answer to a request: started, running, refused, lost
#   [ … ]           a look at the list that shows these runs;  [x] one that could not be read;  *5: so many times
#   next            send, look, follow RUN (+: it was under way already), latest, give up (!: nothing was started)
PATHS = """
before  | what came                                             | next
        |                                                       | send
2e 1e   | send=started                                          | look
2e 1e   | send=started [3r 2e 1e]                               | follow 3
2e 1e   | send=started [3? 2e 1e]                               | follow 3
        | send=started [1p]                                     | follow 1
2e 1e   | send=started [3e 2e 1e]                               | follow 3
2e 1e   | send=started [4r 3e 2e 1e]                            | follow 3
2e      | send=started [2e 1e]                                  | look
2e 1e   | send=started [2e 1e]*4                                | look
2e 1e   | send=started [2e 1e]*4 [3r 2e 1e]                     | follow 3
2e 1e   | send=started [2e 1e]*5                                | latest
2e 1e   | send=started [x]*5                                    | latest
2r 1e   | send=started [2r 1e]*5                                | follow 2+
2r 1e   | send=started [2e 1e]*5                                | latest
2r 1e   | send=running                                          | look
2r 1e   | send=running [2r 1e]                                  | follow 2+
2p 1e   | send=running [2p 1e]                                  | follow 2+
2e 1e   | send=running [3r 2e 1e]                               | follow 3+
2e 1e   | send=running [3e 2e 1e]                               | follow 3+
2e 1e   | send=running [2e 1e]*4                                | look
2e 1e   | send=running [2e 1e]*5                                | latest+
2e 1e   | send=running [x]*5                                    | latest+
2e 1e   | send=refused                                          | give up!
2e 1e   | send=lost                                             | look
2e 1e   | send=lost [3r 2e 1e]                                  | follow 3
2e 1e   | send=lost [x] [3r 2e 1e]                              | follow 3
2e 1e   | send=lost [2e 1e]*4                                   | look
2e 1e   | send=lost [2e 1e]*5                                   | send
2r 1e   | send=lost [2r 1e]*5                                   | send
2e 1e   | send=lost [x]*5                                       | give up
2e 1e   | send=lost [2e 1e]*4 [x]                               | give up
2e 1e   | send=lost [2e 1e]*5 send=started                      | look
2e 1e   | send=lost [2e 1e]*5 send=started [3r 2e 1e]           | follow 3
2e 1e   | send=lost [2e 1e]*5 send=running [3r 2e 1e]           | follow 3
2r 1e   | send=lost [2r 1e]*5 send=running [2r 1e]              | follow 2+
2e 1e   | send=lost [2e 1e]*5 send=running [2e 1e]*5            | latest
2e 1e   | send=lost [2e 1e]*5 send=refused                      | give up
2e 1e   | send=lost [2e 1e]*5 send=lost [2e 1e]*5               | send
2e 1e   | send=lost [2e 1e]*5 send=lost [2e 1e]*5 send=lost     | look
2e 1e   | send=lost [2e 1e]*5 send=lost [2e 1e]*5 send=lost [2e 1e]*5 | give up
"""

ANSWERS = {
    "started": Observation(Outcome.ANSWERED, State.PENDING, request_id="r1"),
    "running": Observation(Outcome.ANSWERED, State.RUNNING, request_id="r1"),
    "refused": Observation(Outcome.REJECTED, message="HTTP 403"),
    "lost": Observation(Outcome.UNREACHABLE, message="no answer within 10 s", request_id="r1"),
}
STATES = {"r": State.RUNNING, "p": State.PENDING, "e": State.SUCCEEDED, "?": None}


def runs(text: str) -> tuple[Run, ...]:
    """The runs in a list."""
    return tuple(Run(word[:-1], STATES[word[-1]]) for word in text.split())


def after(before: str, came: str) -> Starting:
    """The start after all that came."""
    starting = Starting(runs(before))
    for kind, text in events(came):
        seen = ANSWERS[text] if kind == "send" else listed(text)
        starting = starting.sent(seen) if kind == "send" else starting.looked(seen)
    return starting


def listed(text: str) -> Observation:
    """What a look brings."""
    if text == "x":
        return Observation(Outcome.UNREACHABLE, message="HTTP 503")
    return Observation(Outcome.ANSWERED, State.PENDING, runs=runs(text))


def events(came: str) -> Iterator[tuple[str, str]]:
    """Each request and look, in order."""
    rest = came
    while rest := rest.strip():
        if rest.startswith("send="):
            answer, _, rest = rest.removeprefix("send=").partition(" ")
            yield "send", answer
            continue
        shown, _, rest = rest.removeprefix("[").partition("]")
        times = 1
        if rest.startswith("*"):
            times, rest = int(rest[1]), rest[2:]
        yield from [("look", shown)] * times


def words(step: Next) -> str:
    """A step as the table writes it."""
    match step:
        case Send():
            return "send"
        case Look():
            return "look"
        case Started(run_id, already):
            return f"{f'follow {run_id}' if run_id else 'latest'}{'+' if already else ''}"
        case GaveUp():
            return "give up!" if step.certain else "give up"


ROWS = [tuple(cell.strip() for cell in line.split("|")) for line in PATHS.strip().splitlines()[1:]]


@pytest.mark.parametrize(("before", "came", "expected"), ROWS, ids=[" ".join(row) for row in ROWS])
def test_what_comes_next(before: str, came: str, expected: str) -> None:
    """For everything that may have come, one thing is next."""
    assert words(after(before, came).next()) == expected


@pytest.mark.parametrize("outcome", Outcome)
def test_only_silence_and_what_cannot_be_read_leave_it_open_whether_a_run_was_started(outcome: Outcome) -> None:
    """Every other answer but a success is a refusal, by which nothing was started."""
    seen = Observation(outcome, State.PENDING if outcome is Outcome.ANSWERED else None)
    expected = {
        Outcome.ANSWERED: Reply.STARTED,
        Outcome.UNREACHABLE: Reply.UNCERTAIN,
        Outcome.UNRECOGNIZED: Reply.UNCERTAIN,
    }
    assert reply_to(seen) is expected.get(outcome, Reply.REFUSED)


def test_looks_come_ever_less_often() -> None:
    """The first at once."""
    starting = after("", "send=started")
    delays = []
    while isinstance(step := starting.next(), Look):
        delays.append(step.delay)
        starting = starting.looked(listed(""))
    assert tuple(delays) == LOOK_DELAYS == tuple(sorted(LOOK_DELAYS))


def test_the_end_names_the_request() -> None:
    """So that the provider's support can find it."""
    step = after("2e", "send=started [3r 2e]").next()
    assert isinstance(step, Started)
    assert step.request_id == "r1"


def test_what_went_wrong_is_told_in_words() -> None:
    """What the provider said, and whether something was started."""
    refused, lost = after("", "send=refused").next(), after("", "send=lost [x]*5").next()
    assert isinstance(refused, GaveUp)
    assert isinstance(lost, GaveUp)
    assert refused.text == "the start was refused (rejected: HTTP 403); nothing was started"
    assert "it is not known whether a run was started" in lost.text
    assert lost.text.endswith("no answer within 10 s")


WHATEVER = [*ANSWERS.values(), *(Observation(outcome) for outcome in OPENS - {Outcome.ANSWERED})]
LISTS = [listed(text) for text in ("x", "", "1e", "1r", "2r 1e", "2e 1e", "3p 2e 1e", "3? 2? 1?")]


@given(st.sampled_from(LISTS), st.lists(st.sampled_from(WHATEVER), min_size=4), st.lists(st.sampled_from(LISTS)))
def test_whatever_comes_no_request_is_repeated_blindly(
    before: Observation, answers: list[Observation], lists: list[Observation]
) -> None:
    """At most three go out; another one only after silence, and looks that could be read and showed nothing new."""
    starting, looks = Starting(before.runs), iter([*lists, *[LISTS[1]] * 20])
    replies = iter(answers)
    seen_since: list[Observation] = []
    for _ in range(MOST_REQUESTS * (len(LOOK_DELAYS) + 1) + 1):
        match starting.next():
            case Send():
                if starting.replies:
                    assert reply_to(starting.replies[-1]) is Reply.UNCERTAIN
                    assert len(seen_since) == len(LOOK_DELAYS)
                    assert {seen.outcome for seen in seen_since} == {Outcome.ANSWERED}
                starting, seen_since = starting.sent(next(replies)), []
            case Look():
                seen_since.append(next(looks))
                starting = starting.looked(seen_since[-1])
            case _:
                break
    else:
        pytest.fail("it goes on for ever")
    assert len(starting.replies) <= MOST_REQUESTS


def test_a_job_tells_which_entries_watch_whichever_run_is_the_latest() -> None:
    """And turns them to one run, which is not followed to the next one."""
    job = Job("k", "function-task", "generation")
    latest = Entry("n", "search", "function-instance", {"instanceName": "i"}, follow=True)
    run = job.run(latest, "4")
    assert (job.watches_latest(latest), job.watches_latest(run)) == (True, False)
    assert run == Entry("n", "search", "function-task", {"instanceName": "i", "generation": "4"})
