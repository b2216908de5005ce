"""YAML is plain data with lines, or mistakes; and nothing in it is taken for what it only looks like."""

import math
import string
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from poller.config import yamlfile
from poller.config.yamlfile import Document, WrittenFloat, parse_yaml, read_yaml
from poller.domain.errors import Problem


def told(text: str) -> list[str]:
    return [str(problem) for problem in parse_yaml(text, "f").problems]


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def _either_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yamlfile, "_LOADER", getattr(yaml, request.param))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("NULL", None),
        ("true", True), ("False", False), ("TRUE", True),
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("Off", "Off"), ("y", "y"), ("n", "n"),
        ("0", 0), ("-3", -3), ("123456789012345678", 123456789012345678),
        ("1234567890123456789", "1234567890123456789"),
        ("007", "007"), ("0o17", "0o17"), ("0x1F", "0x1F"), ("1_000", "1_000"), ("+5", "+5"), ("-0", "-0"),
        ("1:30", "1:30"), ("1:30:00", "1:30:00"), ("2026-11-21", "2026-11-21"), ("2026-11-21T10:00:00Z",) * 2,
        ("1.5", 1.5), ("-0.25", -0.25), (".5", ".5"), ("5.", "5."), ("1e5", "1e5"), ("1.0e5", "1.0e5"),
        (".inf", ".inf"), (".nan", ".nan"), ("'5'", "5"), ('"true"', "true"), ("!!str 5", "5"), ("! 5", "5"),
        ("=", "="), ("<<", "<<"), ("-", [None]), ("|\n  5\n", "5\n"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("_either_parser")
def test_plain_scalars_mean_what_they_do_in_json(text: str, value: object) -> None:
    document = parse_yaml(text, "f")
    assert (document.data, document.problems) == (value, ())
    assert type(document.data) is type(value)


@pytest.mark.parametrize("text", ["1.10", "0.50", "-2.0000"])
def test_fractions_remember_how_they_were_written(text: str) -> None:
    number = parse_yaml(text, "f").data
    assert isinstance(number, WrittenFloat)
    assert (number, number.text) == (float(text), text)


def test_keys_are_text() -> None:
    data = parse_yaml("1: a\ntrue: b\nnull: c\n1.50: d\n2026-11-21: e\n", "f").data
    assert data == {"1": "a", "true": "b", "null": "c", "1.50": "d", "2026-11-21": "e"}


TREE = """\
a: 1            # 1
b:
  - x           # 3
  - y: 2        # 4
    z:
      - {k: 5}  # 6
c: >
  text

d: &d {e: 1}    # 10
f: *d           # 11
g:
  <<: *d        # 13
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 1), (("a",), 1), (("b",), 2), (("b", 0), 3), (("b", 1), 4), (("b", 1, "y"), 4), (("b", 1, "z"), 5),
        (("b", 1, "z", 0, "k"), 6), (("c",), 7), (("d", "e"), 10), (("f",), 11), (("f", "e"), 10), (("g", "e"), 10),
        (("nope",), 1), (("b", 1, "nope", 3), 4), (("b", 9), 2), (("b", -1), 2), (("b", "x"), 2), (("a", "x"), 1),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("_either_parser")
def test_every_value_has_the_line_of_its_key(path: tuple[str | int, ...], line: int) -> None:
    assert parse_yaml(TREE, "f").problem(path, "x").line == line


def test_a_key_may_have_an_anchor() -> None:
    assert parse_yaml("&a x: *a", "f").data == {"x": "x"}


def test_merge_keys_fill_in_what_is_not_given() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 3}\nd: {'<<': 1}\n"
    data: Any = parse_yaml(text, "f").data
    assert data["c"] == {"x": 3, "y": 1, "z": 2}
    assert data["d"] == {"<<": 1}


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("a: 1\na: 2\na: 3\n", [
            "f:2: a: a second time, once is allowed; the first is in line 1",
            "f:3: a: a second time, once is allowed; the first is in line 1",
        ]),
        ("a:\n  - {1: x, '1': y}\n", ["f:2: a[0].1: a second time, once is allowed; the first is in line 2"]),
        ("a: !!int 5", ["f:1: a: a tag (!), plain values are allowed; quote text that starts with '!'"]),
        ("a: !hunter2", ["f:1: a: a tag (!), plain values are allowed; quote text that starts with '!'"]),
        ("!hunter2 a: b", ["f:1: a tag (!) on a key, text is allowed"]),
        ("!!python/object:os.system {}", [
            "f:1: a tag (!), plain values are allowed; quote text that starts with '!'",
        ]),
        ("a: *hunter2", [
            "f:1: a: an alias (*) without an anchor (&) before it, quote text that starts with '*'",
        ]),
        ("a: &a [1, *a]", [
            "f:1: a[1]: an alias (*) inside of what it stands for, quote text that starts with '*'",
        ]),
        ("a: {<<: 5}", ["f:1: a: something to merge (<<) that is no mapping, an alias of a mapping is allowed"]),
        ("a: {<<: [5]}", ["f:1: a: something to merge (<<) that is no mapping, an alias of a mapping is allowed"]),
        ("? [a]\n: b", ["f:1: a key that is no text, text is allowed"]),
        ("a: 1\n---\nb: 2\n", ["f:2: a second document, one in a file is allowed"]),
        ("[" * 60 + "]" * 60, ["f:1: nested deeper than 50 levels, which is the most allowed"]),
        ("a: b\x07", ["f:1: a control character, printable text is allowed"]),
        ("a: 1\nb: \x00", ["f:2: a control character, printable text is allowed"]),
        ("a:\n\tb: 1", ["f:2: a tab, indentation with blanks is allowed"]),
        ("a: @hunter2", ["f:1: a value that starts with '@', which only quoted text is allowed to"]),
        ("a: 'hunter2\nb: c\n", ["f:1: a quote that is never closed, it must end before the end of the file"]),
        ("a: b: c", ["f:1: a ': ' or an indentation that fits nothing, text that holds ': ' must be quoted"]),
        ("a: - b", ["f:1: a '- ' behind a key, list items are allowed on lines of their own"]),
        ("a: [1, 2\n", ["f:1: a list in brackets that is not closed, a ',' or ']' is expected"]),
        ("a: {b: 2\n", ["f:1: a mapping in braces that is not closed, a ',' or '}' is expected"]),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("_either_parser")
def test_mistakes_are_told_without_quoting_values(text: str, problems: list[str]) -> None:
    assert told(text) == problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('a: "\\q"', "f:1: an unknown escape in double quotes, use single quotes or write \\\\ for a backslash"),
        ("a:\n  b: 1\n c: 2", "f:3: a line that does not fit, a key at the indentation of the others is expected"),
        ("- a\nb: 1", "f:2: a line that is no list item, a '- ' at the indentation of the others is expected"),
        ("%YAML 3.0\n---\na", "f:1: an unknown version of YAML, 1.1 and 1.2 are allowed"),
        ("}", "f:1: something that is not YAML, a value is expected here"),
        ("a: 'x' y", "f:1: a line that does not fit, a key at the indentation of the others is expected"),
    ],
)
def test_syntax_is_told_in_our_own_words(text: str, problem: str) -> None:
    assert told(text) == [problem]


def test_mistakes_that_leave_the_syntax_whole_leave_the_data() -> None:
    assert parse_yaml("a: 1\na: 2\nb: !x 3\n", "f").data == {"a": 1, "b": "3"}


def test_a_bomb_of_aliases_is_not_expanded() -> None:
    lines = ["a0: &a0 [" + ", ".join("x" * 10) + "]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 30)]
    (problem,) = told("\n".join(lines))
    assert problem.endswith("aliases for more than 100000 values, which is the most allowed")


def test_an_empty_file_is_no_mistake_here() -> None:
    for text in ("", "# only a comment\n", "---\n"):
        assert parse_yaml(text, "f") == Document("f", lines=parse_yaml(text, "f").lines)


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    allowed = "a file that can be read is allowed"
    assert read_yaml(tmp_path / "a", "a").problems == (Problem("a", 0, "", f"does not exist, {allowed}"),)
    (tmp_path / "a").write_text("b: 1")
    assert read_yaml(tmp_path / "a", "a").data == {"b": 1}


def test_showing_a_document_shows_no_data() -> None:
    assert "hunter2" not in repr(parse_yaml("token: hunter2", "f"))


def plain(value: object) -> bool:
    """Whether a value is what JSON could say."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and plain(inner) for key, inner in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    return value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))


YAMLISH = st.text(alphabet=st.sampled_from("ab1:-[]{}#&*!|>'\"%@`,?~<.\\\n\t 0x\x00é😀"), max_size=60)


@pytest.mark.usefixtures("_either_parser")
@given(st.one_of(st.text(), YAMLISH))
@example("&a *a")
@example("? ? ? a")
@example('"\\ud800"')
@example("\ud800")
@example("- &a a\n- {*a : b}")
def test_any_text_is_plain_data_or_mistakes(text: str) -> None:
    document = parse_yaml(text, "f")
    assert plain(document.data)
    assert all("\n" not in str(problem) for problem in document.problems)
    assert all(0 <= problem.line <= text.count("\n") + 2 for problem in document.problems)


SCALARS = st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(string.printable)
DATA = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(string.ascii_letters), inner))


@given(DATA)
def test_what_others_write_is_read_back(data: object) -> None:
    assert parse_yaml(yaml.safe_dump(data), "f").data == data


def test_ten_thousand_tasks_keep_their_lines() -> None:
    """However long the file."""
    item = "  - name: job-{0}\n    provider: p\n    operation: o\n    params: {{a: x, b: {0}}}\n    labels: {{a: b}}\n"
    text = "tasks:\n" + "".join(item.format(number) for number in range(10_000))
    document = parse_yaml(text, "f")
    assert document.lines.at(("tasks", 9_999, "params", "b")) == 2 + 9_999 * 5 + 3
