"""Labels of users become labels that Prometheus takes."""

import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.domain.task import Entry
from poller.emit.series import LabelCache, task_labels, valid_labels

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


def test_labels_are_made_once_for_an_entry_and_forgotten_with_it() -> None:
    cache = LabelCache()
    entry, other = Entry("n", "p", "o"), Entry("n", "p", "o", labels={"team": "ads"})
    first = cache.labels(entry)
    cache.forget_others()
    assert cache.labels(entry) is first
    assert 'team="ads"' in cache.labels(other).info
    cache.forget_others()
    cache.forget_others()
    assert cache.labels(entry) is not first
