"""Whatever the domain may come to know, to be stored and read back."""

from hypothesis import strategies as st

from poller.domain.events import Transition
from poller.domain.family import Run
from poller.domain.observation import Failure, Outcome, Subtasks
from poller.domain.progress import Mark
from poller.domain.state import State
from poller.domain.task import Contact, Entry, Policy, Status, Task
from poller.protocols import FinishedRun

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
"""Every text that every database stores."""

names = st.text("abcXYZ019._:@/+-", min_size=1, max_size=200)
numbers = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 2**63 - 1)
mappings = st.dictionaries(texts, texts, max_size=3)

entries = st.builds(
    Entry,
    name=names,
    provider=texts,
    operation=texts,
    params=mappings,
    labels=mappings,
    policy=st.builds(Policy, initial=numbers, deadline=numbers, missing_polls=counts, adaptive=st.booleans()),
    follow=st.booleans(),
    source=texts,
    family=st.none() | texts,
)

statuses = st.builds(
    Status,
    first_seen_at=numbers,
    since=numbers,
    run_since=numbers,
    state=st.sampled_from(State),
    run=counts,
    run_id=st.none() | texts,
    transitions=counts,
    raw_status=st.none() | texts,
    progress=st.none() | numbers,
    progress_moved_at=st.none() | numbers,
    message=st.none() | texts,
    started_at=st.none() | numbers,
    ended_at=st.none() | numbers,
    duration=st.none() | numbers,
    subtasks=st.none() | st.builds(Subtasks, counts, counts, st.lists(texts, max_size=3).map(tuple)),
    overdue=st.booleans(),
    stalled=st.booleans(),
    unreachable=st.booleans(),
    late=st.booleans(),
    awaited_since=st.none() | numbers,
)

contacts = st.builds(
    Contact,
    polls=counts,
    attempt=counts,
    last_polled_at=st.none() | numbers,
    silent_since=st.none() | numbers,
    unanswered_since=st.none() | numbers,
    consecutive_failures=counts,
    last_failure=st.none() | st.builds(Failure, st.sampled_from(Outcome), numbers, st.none() | texts),
    missing_polls=counts,
    missing_since=st.none() | numbers,
)

tasks = st.builds(Task, entries, statuses, contacts)

transitions = st.builds(
    Transition,
    transition_id=texts,
    ordinal=counts,
    task=names,
    provider=texts,
    operation=texts,
    source=st.sampled_from(State),
    target=st.sampled_from(State),
    at=numbers,
    run=counts,
    raw_status=st.none() | texts,
    progress=st.none() | numbers,
    message=st.none() | texts,
    started_at=st.none() | numbers,
    ended_at=st.none() | numbers,
    duration=st.none() | numbers,
    request_id=st.none() | texts,
    initial=st.booleans(),
    labels=st.none() | mappings,
)

runs = st.builds(Run, numbers, st.lists(st.builds(Mark, numbers, numbers), max_size=3).map(tuple))

finished_runs = st.builds(FinishedRun, texts, texts, numbers, runs)


def several(strategy: st.SearchStrategy[Task]) -> st.SearchStrategy[list[Task]]:
    """Some tasks of different names."""
    return st.lists(strategy, min_size=1, max_size=4, unique_by=lambda task: task.entry.name)
