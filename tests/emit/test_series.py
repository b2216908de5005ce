"""Labels of users become labels that Prometheus takes."""

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.domain.lifecycle import begin
from poller.domain.task import Contact, Entry, Task
from poller.emit.series import SeriesCache, task_labels, valid_labels

VALID_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"team": "ads"}, {"team": "ads"}),
        ({"cost-center": "7"}, {"cost_center": "7"}),
        ({"1st": "a"}, {"_1st": "a"}),
        ({"": "a"}, {"_": "a"}),
        ({"größe": "XL"}, {"gr__e": "XL"}),
        ({"__name__": "up"}, {"_name__": "up"}),
        ({"task": "a", "provider": "b"}, {"label_task": "a", "label_provider": "b"}),
        ({"a.b": "1", "a-b": "2", "a_b": "3"}, {"a_b_2": "2", "a_b_3": "1", "a_b": "3"}),
        ({"a.b": "1", "a-b": "2", "a_b_2": "3"}, {"a_b": "2", "a_b_3": "1", "a_b_2": "3"}),
        ({"task": "a", "label_task": "b"}, {"label_task_2": "a", "label_task": "b"}),
    ],
)
def test_names_become_valid_and_stay_apart(labels: Mapping[str, str], expected: Mapping[str, str]) -> None:
    assert valid_labels(labels) == expected


@given(st.dictionaries(st.text("ab_-.:1", max_size=4) | st.sampled_from(["task", "operation", "__task"]), st.text()))
def test_no_label_is_lost_and_order_does_not_matter(labels: dict[str, str]) -> None:
    valid = valid_labels(labels)
    assert sorted(valid.values()) == sorted(labels.values())
    assert all(VALID_NAME.fullmatch(name) for name in valid)
    assert not {"task", "provider", "operation"} & valid.keys()
    assert valid_labels(dict(reversed(labels.items()))) == valid


def test_values_are_escaped() -> None:
    labels = task_labels(Entry("n", "p", "o", labels={"note": 'a "quote"\na \\ line'}))
    assert labels.key == 'task="n",provider="p",operation="o"'
    assert labels.info == labels.key + r',note="a \"quote\"\na \\ line"'


class Shown:
    """A task as it is shown."""

    next_poll_at = None
    expected = None

    def __init__(self, task: Task) -> None:
        self.task = task


def test_lines_are_made_once_while_a_task_stays_as_it_is_and_forgotten_with_it() -> None:
    """A poll that changes nothing makes no new ones; another status or entry does."""
    cache, task = SeriesCache(), begin(Entry("n", "p", "o"), 1.0)
    first = cache.series(Shown(task))
    cache.forget_others()
    assert cache.series(Shown(replace(task, contact=Contact(polls=1)))) is first
    labelled = cache.series(Shown(replace(task, entry=replace(task.entry, labels={"team": "ads"}))))
    assert 'team="ads"' in labelled.labels.info
    ran = cache.series(Shown(replace(task, status=replace(task.status, progress=30.0))))
    assert [line for line in ran.lines if "progress" in line] == [
        'poller_task_progress_ratio{task="n",provider="p",operation="o"} 0.3\n'
    ]
    cache.forget_others()
    cache.forget_others()
    assert cache.series(Shown(task)) is not first
