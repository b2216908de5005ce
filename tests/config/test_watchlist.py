"""Tasks become entries, or mistakes with their places; and two watchlists are compared."""

import gc
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poller.config.settings import Settings
from poller.config.watchlist import (
    Collected,
    Collector,
    Diff,
    EntryReader,
    TaskFile,
    diff,
    json_lines,
    keep_equal,
    numbered,
    read_tasks,
)
from poller.config.wording import Mistake
from poller.config.yamlfile import written_float
from poller.domain.errors import Problem
from poller.domain.task import Entry, Policy

SETTINGS = Settings.model_validate(
    {
        "providers": {
            "p": {"kind": "k", "params": {"app": "default", "zone": "z"}, "schedule": {"initial": "1s"}},
            "q": {"kind": "k"},
        }
    }
)


def task(name: str = "a", **keys: object) -> dict[str, object]:
    return {"name": name, "provider": "p", "operation": "o", **keys}


def entry(raw: object) -> Entry:
    read = EntryReader(SETTINGS).read(raw, "file")
    assert isinstance(read, Entry)
    return read


def mistakes_in(raw: object) -> list[str]:
    read = EntryReader(SETTINGS).read(raw, "file")
    assert not isinstance(read, Entry)
    return [str(mistake) for mistake in read]


# --- one entry -----------------------------------------------------------------------------------------------------


def test_an_entry_is_merged_with_what_holds_above_it() -> None:
    raw = task(params={"app": "own", "generation": 3}, labels={"team": "ads"}, follow=True, schedule={"max": "1m"})
    assert entry({**raw, "family": "trainings"}) == Entry(
        name="a",
        provider="p",
        operation="o",
        params={"app": "own", "zone": "z", "generation": "3"},
        labels={"team": "ads"},
        policy=Policy(initial=1, max=60),
        follow=True,
        source="file",
        family="trainings",
    )


def test_what_is_left_out_is_the_providers_or_nothing() -> None:
    assert entry(task()) == Entry("a", "p", "o", {"app": "default", "zone": "z"}, {}, Policy(initial=1), False, "file")


def test_values_are_text_as_they_were_written() -> None:
    params = {"text": "no", "number": 7, "fraction": written_float("1.10"), "truth": True, "empty": ""}
    text = {"text": "no", "number": "7", "fraction": "1.10", "truth": "true", "empty": ""}
    read = entry({**task(params=params, labels=params), "provider": "q"})
    assert (read.params, read.labels) == (text, text)


def test_equal_things_are_one_object() -> None:
    reader = EntryReader(SETTINGS)
    raw = [task(f"{n}", params={"x": f"{n % 1}y"}, labels={"team": "a" * 3}, schedule={"max": "9m"}) for n in range(2)]
    one, two = (reader.read({**item, "family": "b" * 3}, "file") for item in raw)
    assert isinstance(one, Entry)
    assert isinstance(two, Entry)
    assert one.policy is two.policy
    assert one.labels is two.labels
    assert (one.provider is two.provider, one.operation is two.operation) == (True, True)
    assert all(mine is other for mine, other in zip(one.params, two.params, strict=True))
    assert one.params["x"] is two.params["x"]
    assert one.family is two.family


def test_every_mistake_of_a_task_is_told() -> None:
    wrong = {"name": "a b", "provider": "pp", "params": {"x": None, "": 1}, "folow": 1, "schedule": {"growth": 0.5}}
    assert mistakes_in(wrong) == [
        "name: 'a b', 1 to 200 characters out of A-Z a-z 0-9 . _ : @ / + - are allowed",
        "operation: missing, it is required",
        "params.x: nothing, a single value (text, a number, true or false) is allowed",
        "params['']: '', text that is not empty, without control characters, is allowed",
        "schedule.growth: 0.5, at least 1.0 is allowed",
        "folow: unknown key, one of family, follow, labels, name, operation, params, provider, schedule is allowed"
        " (did you mean 'follow'?)",
        "provider: 'pp', one of p, q is allowed (did you mean 'p'?)",
    ]


@pytest.mark.parametrize("name", ["a", "A.b_c:d@e/f+g-h", "0", "x" * 200])
def test_names_of_every_allowed_sort(name: str) -> None:
    assert entry(task(name)).name == name


@pytest.mark.parametrize("name", ["", "a b", "ä", "a\n", "x" * 201, 'a"b', "a,b", 5, None, ["a"]])
def test_other_names_are_refused(name: object) -> None:
    (mistake,) = mistakes_in({**task(), "name": name})
    assert mistake.startswith("name: ")


@pytest.mark.parametrize("family", ["", "a b", "a?b=c", "x" * 201, 5, ["a"], None])
def test_a_family_is_a_name(family: object) -> None:
    (mistake,) = mistakes_in(task(family=family))
    assert mistake.startswith("family: ")


def test_a_contradiction_is_told_below_the_task() -> None:
    assert mistakes_in(task(schedule={"max": "500ms"})) == [
        "schedule.max: 0.5s, at least initial, here 1s, is allowed",
    ]
    trusting = EntryReader(SETTINGS, trust_schedule=False)
    assert isinstance(trusting.read(task(schedule={"max": "500ms"}), "file"), Entry)


def test_a_contradiction_beside_other_mistakes_is_told_too() -> None:
    assert mistakes_in(task(nope=1, schedule={"max": "500ms"}))[1:] == [
        "schedule.max: 0.5s, at least initial, here 1s, is allowed",
    ]
    assert len(mistakes_in(task(nope=1, schedule={"max": "500"}))) == 2
    assert len(mistakes_in({**task(nope=1, schedule={"max": "500ms"}), "provider": ["p"]})) == 2


def test_a_task_of_a_provider_with_mistakes_is_neither_entry_nor_mistake() -> None:
    assert EntryReader(SETTINGS, frozenset({"r"})).read({**task(), "provider": "r"}, "file") == ()
    assert EntryReader(SETTINGS, None).read({**task(), "provider": "r"}, "file") == ()


def test_without_providers_that_is_said() -> None:
    assert EntryReader(Settings()).read(task(), "file") == (
        Mistake(("provider",), "'p', a provider is allowed, and the config file has none"),
    )


# --- files ---------------------------------------------------------------------------------------------------------


def collect(*paths: Path) -> Collected:
    collector = Collector(EntryReader(SETTINGS).read)
    problems: list[Problem] = []
    for path in paths:
        read = read_tasks(path, f"conf/{path.name}", path.name)
        collector.add(read.file, read.tasks)
        problems += read.problems
    collected = collector.collected()
    return Collected(collected.entries, collected.places, (*problems, *collected.problems))


def told(*paths: Path) -> list[str]:
    return [str(problem) for problem in collect(*paths).problems]


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


YAML = "tasks:\n- {name: a, provider: p, operation: o}\n- name: b\n  provider: p\n  operation: o\n  labels: {x: no}\n"
JSONL = '{"name":"c","provider":"p","operation":"o"}\n\n  \r\n{"name":"d","provider":"p","operation":"o"}'


def test_both_kinds_of_files_are_read(tmp_path: Path) -> None:
    collected = collect(written(tmp_path, "a.yaml", YAML), written(tmp_path, "b.jsonl", "\ufeff" + JSONL))
    assert collected.problems == ()
    assert {name: entry.source for name, entry in collected.entries.items()} == {
        "a": "a.yaml",
        "b": "a.yaml",
        "c": "b.jsonl",
        "d": "b.jsonl",
    }
    assert collected.entries["b"].labels == {"x": "no"}


@pytest.mark.parametrize(
    ("name", "place"), [("a", "a.yaml:2"), ("b", "a.yaml:3"), ("c", "b.jsonl:1"), ("d", "b.jsonl:4")]
)
def test_an_entry_is_found_again_in_its_file(tmp_path: Path, name: str, place: str) -> None:
    places = collect(written(tmp_path, "a.yaml", YAML), written(tmp_path, "b.jsonl", JSONL)).places
    assert places.shown(places.of(name)) == f"conf/{place}"


def test_a_mistake_in_an_entry_has_its_line_and_key(tmp_path: Path) -> None:
    places = collect(written(tmp_path, "a.yaml", YAML), written(tmp_path, "b.jsonl", JSONL)).places

    def problem(name: str, *path: str) -> str:
        return str(places.problem(places.of(name), Mistake(path, "wrong")))

    assert problem("b", "operation") == "conf/a.yaml:5: tasks[1].operation: wrong"
    assert problem("b", "params", "from_provider") == "conf/a.yaml:3: tasks[1].params.from_provider: wrong"
    assert problem("d", "operation") == "conf/b.jsonl:4: operation: wrong"


def test_a_name_used_twice_names_both_places(tmp_path: Path) -> None:
    other = written(tmp_path, "b.jsonl", JSONL.replace('"c"', '"a"').replace('"d"', '"a"'))
    assert told(written(tmp_path, "a.yaml", YAML), other) == [
        "conf/b.jsonl:1: name: 'a', a name of its own is allowed; conf/a.yaml:2 has this one",
        "conf/b.jsonl:4: name: 'a', a name of its own is allowed; conf/a.yaml:2 has this one",
    ]


def test_a_name_is_taken_even_by_a_task_with_mistakes(tmp_path: Path) -> None:
    lines = '{"name":"a","provider":"p"}\n{"name":"a","provider":"p","operation":"o"}\n{"name":"a"}\n'
    problems = told(written(tmp_path, "b.jsonl", lines))
    assert "conf/b.jsonl:2: name: 'a', a name of its own is allowed; conf/b.jsonl:1 has this one" in problems
    assert "conf/b.jsonl:3: name: 'a', a name of its own is allowed; conf/b.jsonl:1 has this one" in problems


def test_many_repeats_are_told_in_a_moment() -> None:
    collector = Collector(EntryReader(SETTINGS).read)
    collector.add(TaskFile("f", "f"), enumerate(task(f"{n // 2}") for n in range(20_000)))
    assert len(collector.collected().problems) == 10_000


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("[]", "a list, a mapping is allowed"),
        ("5", "a number, a mapping is allowed"),
        ("null", "nothing, a mapping is allowed"),
        ("{'a': 1}", 'no JSON from column 2 on, one task a line is allowed, like {"name": …}'),
        ('{"name": "hunter2', 'no JSON from column 10 on, one task a line is allowed, like {"name": …}'),
        ("{} {}", 'no JSON from column 4 on, one task a line is allowed, like {"name": …}'),
        ("name: a", 'no JSON from column 1 on, one task a line is allowed, like {"name": …}'),
        ('{"name": "a", "name": "b"}', "name: a second time, once is allowed"),
        ('{"params": {"x": 1, "x": 2}}', "x: a second time, once is allowed"),
        ('{"a": NaN}', "a number too long or values nested too deep, a task is allowed"),
        ('{"a": 1e999}', "a number too long or values nested too deep, a task is allowed"),
        ('{"a": ' + "9" * 5000 + "}", "a number too long or values nested too deep, a task is allowed"),
        ("[" * 100_000, "a number too long or values nested too deep, a task is allowed"),
    ],
)
def test_a_line_that_is_no_task_is_told(tmp_path: Path, line: str, problem: str) -> None:
    assert told(written(tmp_path, "b.jsonl", f"\n{line}\n")) == [f"conf/b.jsonl:2: {problem}"]


@pytest.mark.parametrize(
    ("name", "text", "problems"),
    [
        ("a.yaml", "", ["conf/a.yaml: empty, a list under 'tasks' is required"]),
        ("a.yml", "# nothing\n", ["conf/a.yml: empty, a list under 'tasks' is required"]),
        ("a.yaml", "tasks:\n", ["conf/a.yaml:1: tasks: nothing, a list is allowed"]),
        ("a.yaml", "tasks: {a: b}\n", ["conf/a.yaml:1: tasks: a mapping, a list is allowed"]),
        ("a.yaml", "- name: a\n", ["conf/a.yaml:1: a list, a mapping with a list under 'tasks' is allowed"]),
        ("a.yaml", "hunter2\n", ["conf/a.yaml:1: text, a mapping with a list under 'tasks' is allowed"]),
        ("a.yaml", "tasks: [a\n", ["conf/a.yaml:1: a list in brackets that is not closed, a ',' or ']' is expected"]),
        ("a.yaml", "task: []\n", [
            "conf/a.yaml:1: task: unknown key, tasks is allowed (did you mean 'tasks'?)",
            "conf/a.yaml:1: tasks: missing, it is required",
        ]),
        ("a.yaml", "tasks: []\n", []),
        ("a.jsonl", "", ["conf/a.jsonl: empty, one task a line is required"]),
        ("a.jsonl", "\n \n", ["conf/a.jsonl: empty, one task a line is required"]),
        ("a.txt", "x", ["conf/a.txt: a file of another kind, one that ends in .yaml, .yml or .jsonl is allowed"]),
    ],
)  # fmt: skip
def test_a_file_without_tasks_is_a_mistake(tmp_path: Path, name: str, text: str, problems: list[str]) -> None:
    assert told(written(tmp_path, name, text)) == problems


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_bytes(b'{"name": "a"}\n{"name": "\xff"}\n')
    (tmp_path / "dir.yaml").mkdir()
    assert told(tmp_path / "a.yaml", tmp_path / "b.jsonl", tmp_path / "dir.yaml") == [
        "conf/a.yaml: does not exist, a file that can be read is allowed",
        "conf/b.jsonl:2: bytes that are not UTF-8, text in UTF-8 is allowed",
        "conf/dir.yaml: a directory, a file that can be read is allowed",
    ]


def test_what_is_no_list_has_no_tasks() -> None:
    assert list(numbered(["a"])) == [(0, "a")]
    assert list(numbered({"a": 1})) == []


class Pairs(list[tuple[str, object]]):
    """What stands in an object: keys may come twice."""


_TEXTS = st.sampled_from(["a", "b", "", ":", '":', "\\", "é", "a:b", "\ud800", "\0", " "])
_VALUES = st.recursive(
    st.one_of(_TEXTS, st.booleans(), st.none(), st.integers(), st.floats(allow_nan=False)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.lists(st.tuples(_TEXTS, inner), max_size=3).map(Pairs)),
    max_leaves=6,
)


def as_json(value: object, blank: str) -> str:
    if isinstance(value, Pairs):
        inner = ",".join(f"{as_json(key, blank)}{blank}:{blank}{as_json(each, blank)}" for key, each in value)
        return f"{{{inner}}}"
    if isinstance(value, list):
        return f"[{','.join(as_json(each, blank) for each in value)}]"
    return json.dumps(value)


@given(_VALUES, st.sampled_from(["", " "]))
@example(Pairs([("a", "x"), ("a", "x")]), "")
@example(Pairs([("a", Pairs([("b", "x"), ("b", "y")]))]), " ")
@example(Pairs([("a", ":"), ("b", 12345678901234567890123)]), "")
def test_a_line_is_read_as_it_stands(value: object, blank: str) -> None:
    """Whichever way is taken: what Python's own decoder reads, or a mistake for a key that comes twice."""
    text = as_json(value, blank)
    twice: list[str] = []

    def noting(pairs: list[tuple[str, object]]) -> dict[str, object]:
        keys = [key for key, _ in pairs]
        twice.extend(key for key in keys if keys.count(key) > 1)
        return dict(pairs)

    expected = json.loads(text, object_pairs_hook=noting)
    ((_, read),) = json_lines(text)
    if twice:
        assert isinstance(read, Mistake)
    else:
        assert read == expected


@given(st.text(st.characters(exclude_categories=["Cs"])))
@example('{"name":"\\ud800","provider":"\\ud800","operation":"o","params":{"\\ud800":1},"\\ud800":1}')
@example('{"name":"a","provider":"p","operation":"\\ud800","labels":{"a":"\\ud800"}}')
def test_any_lines_are_entries_or_mistakes(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_text(text, newline="")
    for problem in told(path):
        assert "\n" not in problem
        problem.encode()


def test_many_lines_are_compact(tmp_path: Path) -> None:
    """446 bytes each were measured; the limit only notices another order of magnitude."""
    count = 20_000
    line = (
        '{{"name":"team/job-{0}","provider":"p","operation":"o","params":{{"a":"x","b":"inst-{0}"}},'
        '"labels":{{"team":"ads"}}}}\n'
    )
    path = written(tmp_path, "big.jsonl", "".join(line.format(number) for number in range(count)))
    tracemalloc.start()
    collected = collect(path)
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(collected.entries) == count
    assert held / count < 700


# --- two watchlists ------------------------------------------------------------------------------------------------


def test_a_diff_tells_what_to_do() -> None:
    same, gone = Entry("same", "p", "o", {"x": "1"}), Entry("gone", "p", "o")
    old = [same, gone, Entry("moved", "p", "o", {"x": "1"}), Entry("relabelled", "p", "o"), Entry("other", "p", "o")]
    new = [
        Entry("new", "p", "o"),
        Entry("other", "p", "o2"),
        Entry("relabelled", "p", "o", labels={"a": "b"}, family="f"),
        Entry("moved", "p", "o", {"x": "2"}),
        Entry("same", "p", "o", {"x": "1"}),
    ]
    assert diff({e.name: e for e in old}, {e.name: e for e in new}) == Diff(
        added=("new",),
        changed=("other", "relabelled", "moved"),
        removed=("gone",),
        restarted=("other", "moved"),
    )


def test_no_difference_is_false() -> None:
    entries = {"a": Entry("a", "p", "o")}
    assert not diff(entries, dict(entries))
    assert diff(entries, {})
    assert diff({}, entries)


NAMES = st.sampled_from("abcd")
ENTRIES = st.dictionaries(
    NAMES, st.builds(Entry, NAMES, NAMES, st.just("o"), st.dictionaries(NAMES, NAMES), follow=st.booleans())
)


@given(ENTRIES, ENTRIES)
def test_a_diff_accounts_for_every_name_once(old: dict[str, Entry], new: dict[str, Entry]) -> None:
    told = diff(old, new)
    untouched = {name for name in new if old.get(name) == new[name]}
    assert sorted([*told.added, *told.changed, *told.removed, *untouched]) == sorted({*old, *new})
    assert set(told.restarted) <= set(told.changed)


def test_entries_that_stay_the_same_are_not_there_twice() -> None:
    """After a reload those from before are kept; what differs is the new one, and nothing goes or comes by that."""
    old = {name: Entry(name, "p", "o", {"id": "1"}) for name in "abc"}
    new = {name: Entry(name, "p", "o", {"id": "2" if name == "b" else "1"}) for name in "bcd"}
    changed, added = new["b"], new["d"]
    keep_equal(old, new)
    assert (list(new), new["c"] is old["c"], new["b"] is changed, new["d"] is added) == (
        ["b", "c", "d"],
        True,
        True,
        True,
    )
