"""Tasks that one request adds become entries, or every mistake in them is told."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from poller.config.loading import json_schema, load
from poller.config.settings import Settings
from poller.config.watchlist import (
    ADDED_PER_TURN,
    LONGEST_ADDED,
    MISTAKES_PER_TURN,
    MOST_MISTAKES,
    AddedReader,
    EntryCheck,
    EntryReader,
    json_lines,
    json_task,
)
from poller.config.wording import Mistake
from poller.domain.errors import ConfigError
from poller.domain.task import ADDED, Entry, Policy

SETTINGS = Settings.model_validate({"providers": {"p": {"kind": "k", "params": {"zone": "z"}}}})


def task(name: str = "a", **keys: Any) -> dict[str, Any]:
    return {"name": name, "provider": "p", "operation": "o", **keys}


def nothing(_: Entry) -> tuple[Mistake, ...]:
    return ()


def read(*raw: object, check: EntryCheck = nothing) -> dict[str, Entry]:
    """The entries of these, one a line."""
    reading = AddedReader(EntryReader(SETTINGS), enumerate(raw, 1), check)
    while reading.read_some():
        pass
    return reading.entries()


def told(*raw: object, check: EntryCheck = nothing) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(*raw, check=check)
    return [str(problem) for problem in caught.value.problems]


def test_an_added_task_has_the_keys_of_any_other_and_two_more() -> None:
    """It is merged with its provider's parameters and schedule, and knows that it stands in no file."""
    raw = task(params={"id": 7}, labels={"team": "ads"}, follow=True, family="f", schedule={"max": "1m"})
    (entry,) = read({**raw, "owner": "Ann, on call", "ttl": "1h30m"}).values()
    assert entry == Entry(
        "a",
        "p",
        "o",
        {"zone": "z", "id": "7"},
        {"team": "ads"},
        Policy(max=60),
        follow=True,
        source=ADDED,
        family="f",
        owner="Ann, on call",
        ttl=5400.0,
    )
    assert entry.added


def test_owner_and_ttl_may_be_left_out() -> None:
    """The task then belongs to nobody, and stays."""
    entry = read(task())["a"]
    assert (entry.owner, entry.ttl) == (None, None)


@pytest.mark.parametrize("owner", ["", "  ", "a\nb", "\x7f", "x" * 201, 5, None, ["a"], "\ud800"])
def test_an_owner_is_text_for_people(owner: object) -> None:
    """Of 1 to 200 characters."""
    (problem,) = told(task(owner=owner))
    assert problem.startswith("request:1: owner: ")
    assert problem.endswith("text of 1 to 200 characters, without control characters, is allowed")


@pytest.mark.parametrize("ttl", ["0s", "soon", "-1s", "", 60, None, True, "40000d", "1 h"])
def test_a_ttl_is_a_duration_that_is_not_nothing(ttl: object) -> None:
    """Numbers without a unit are none."""
    (problem,) = told(task(ttl=ttl))
    assert problem.startswith("request:1: ttl: ")


def test_no_file_has_the_keys_of_added_tasks(tmp_path: Any) -> None:
    """Their shape is a contract: the schema knows nothing of owner and ttl either."""
    path = tmp_path / "poller.yaml"
    path.write_text(yaml.safe_dump({"tasks": [task(owner="ann", ttl="1h")], "providers": {"p": {"kind": "k"}}}))
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert [problem.key for problem in caught.value.problems] == ["tasks[0].owner", "tasks[0].ttl"]
    assert {"owner", "ttl"}.isdisjoint(json_schema()["$defs"]["WrittenEntry"]["properties"])


def test_a_config_file_may_be_called_as_no_file_must_be(tmp_path: Any) -> None:
    """Its tasks are those of a file all the same."""
    path = tmp_path / ADDED
    path.write_text(yaml.safe_dump({"tasks": [task()], "providers": {"p": {"kind": "k"}}}))
    entry = load(path).entries["a"]
    assert (entry.added, entry.source) == (False, "./api")


def test_every_mistake_is_told_at_its_line() -> None:
    """Those in the shape, those that only specs can tell, what is no JSON, and names used twice: all in one go."""

    def check(entry: Entry) -> list[Mistake]:
        return [Mistake(("params", "id"), "missing")] if "id" not in entry.params else []

    text = '{"name": "a", "provider": "p", "operation": "o", "params": {"id": 1}}\n\n{"name": \n{"name": "b"}\n'
    text += '{"name": "c", "provider": "p", "operation": "o", "ownr": "x"}\n' + '{"name": "a"}\n[]\n'
    text += '{"name": "d", "provider": "p", "operation": "o"}'
    reading = AddedReader(EntryReader(SETTINGS), json_lines(text), check)
    assert not reading.read_some()
    with pytest.raises(ConfigError) as caught:
        reading.entries()
    assert [(problem.line, problem.key) for problem in caught.value.problems] == [
        (3, ""),
        (4, "operation"),
        (4, "provider"),
        (5, "ownr"),
        (6, "name"),
        (6, "operation"),
        (6, "provider"),
        (7, ""),
        (8, "params.id"),
    ]
    assert {problem.file for problem in caught.value.problems} == {"request"}
    assert "(did you mean 'owner'?)" in str(caught.value)


def test_a_name_used_twice_in_one_request_is_a_mistake() -> None:
    """Nobody could say which of the two is meant."""
    assert told(task(), task("b"), task()) == [
        "request:3: name: 'a', a name of its own is allowed; request:1 has this one"
    ]


def test_a_request_without_tasks_is_a_mistake() -> None:
    """As an empty file is."""
    assert told() == ["request: empty, one task a line is required"]


def test_many_tasks_are_read_in_turns() -> None:
    """So few at a time that others need not wait; mistakes, which take longer, end a turn earlier."""
    taken: list[int] = []

    def tasks(count: int, **keys: Any) -> Any:
        for number in range(count):
            taken.append(number)
            yield number, task(str(number), **keys)

    reading, turns = AddedReader(EntryReader(SETTINGS), tasks(250)), [0]
    while reading.read_some():
        turns.append(len(taken))
    assert turns == [0, ADDED_PER_TURN, 2 * ADDED_PER_TURN]
    assert len(reading.entries()) == 250
    taken.clear()
    assert AddedReader(EntryReader(SETTINGS), tasks(250, nope=1)).read_some()
    assert len(taken) == MISTAKES_PER_TURN


def test_after_very_many_mistakes_nothing_more_is_read() -> None:
    """And that not all of them are told is said."""
    problems = told(*[5] * (MOST_MISTAKES + 5_000))
    assert problems[0] == "request: more than 10,000 mistakes, the rest is not told"
    assert len(problems) == MOST_MISTAKES + 1


def test_ten_thousand_mistakes_are_all_told() -> None:
    """A typo in every line, say."""
    assert len(told(*(task(str(number), provider="q") for number in range(MOST_MISTAKES)))) == MOST_MISTAKES


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ('{\n  "name": "a",\n  oops\n}', 3, 'no JSON from column 3 on, a task is allowed, like {"name": …}'),
        ("", 1, 'no JSON from column 1 on, a task is allowed, like {"name": …}'),
        ('{"name": "a", "name": "a"}', 0, "name: a second time, once is allowed"),
        ('{"ttl": NaN}', 0, "a number too long or values nested too deep, a task is allowed"),
        ("[" * 50_000, 0, "a number too long or values nested too deep, a task is allowed"),
        (" " * 70_000, 0, "70,000 characters, at most 65,536 are allowed for a task"),
    ],
)
def test_one_task_that_is_no_json_is_told(text: str, line: int, problem: str) -> None:
    """With the line where it breaks off, where that is known. The text is never quoted."""
    position, mistake = json_task(text, LONGEST_ADDED)
    assert (position, str(mistake)) == (line, problem)


def test_one_task_stands_at_no_line() -> None:
    """There is but one."""
    assert json_task('\n{"name": "a"}\n', LONGEST_ADDED) == (0, {"name": "a"})


def test_a_line_too_long_for_a_task_is_a_mistake() -> None:
    """It would keep the daemon from polling while it is looked at."""
    lines = list(json_lines('{"name": "a"}\n' + " " * 70_000 + "x", LONGEST_ADDED))
    assert [line for line, _ in lines] == [1, 2]
    assert str(lines[1][1]) == "70,001 characters, at most 65,536 are allowed for a task"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
TASKS = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b/c"]) | JSON},
    optional=dict.fromkeys(("provider", "operation", "params", "labels", "owner", "ttl", "schedule"), JSON),
)


@given(st.lists(TASKS | JSON, max_size=4))
def test_anything_is_entries_or_mistakes(raw: list[object]) -> None:
    """Never another error, and never both."""
    try:
        entries, problems = read(*raw), []
    except ConfigError as error:
        entries, problems = {}, [str(problem) for problem in error.problems]
    assert bool(entries) != bool(problems)
    assert all(entry.added for entry in entries.values())
    assert not any("\n" in problem for problem in problems)
