"""Expressions find what they name, however a provider spells its keys."""

import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.providers.expressions import Document, Folding, compile_expression

EXACT = Folding()
FOLDED = Folding(keys=True)
OPAQUE = Folding(keys=True, opaque=["extendInfo"])
EXACT_OPAQUE = Folding(opaque=["extendInfo"])


def find(text: str, value: object, folding: Folding = EXACT) -> Any:
    """What ``text`` finds in ``value``."""
    return compile_expression(text, folding).find(Document(value, folding))


class TestPath:
    @pytest.mark.parametrize(
        ("text", "value", "found"),
        [
            ("a", {"a": 1}, 1),
            ("a.b.c", {"a": {"b": {"c": "x"}}}, "x"),
            ("a.b", {"a": {"b": None}}, None),
            ("a.b", {"a": None}, None),
            ("a.b", {"a": [{"b": 1}]}, None),
            ("a.b", {"a": "b"}, None),
            ("a", {}, None),
            ("a", [1], None),
            ("a", None, None),
            ("a", "a", None),
            ("a", {"a": {}}, {}),
            ("a", {"a": 0}, 0),
            ("a", {"A": 1}, None),
            ("a_b", {"aB": 1}, None),
            ("true", {"true": 1}, 1),
            ("length", {"length": 1}, 1),
        ],
    )
    def test_is_followed_through_objects(self, text: str, value: object, found: object) -> None:
        """A plain path leads through objects, key by key as they are spelled; where it ends early there is nothing."""
        assert find(text, value) == found

    @pytest.mark.parametrize("key", ["startTime", "StartTime", "start_time", "START_TIME", "starttime", "Start_Time_"])
    def test_ignores_case_and_underscores_when_folded(self, key: str) -> None:
        """With folding every usual spelling of a key is the same, at every level."""
        assert find("result.startTime", {"RESULT": {key: 1}}, FOLDED) == 1
        assert find(f"result.{key}", {"RESULT": {"start_Time": 1}}, FOLDED) == 1

    def test_prefers_the_exact_spelling(self) -> None:
        """Where two keys are the same when folded, a path means the one it spells, else the first."""
        assert find("status", {"Status": 1, "status": 2}, FOLDED) == 2
        assert find("status", {"Status": 1, "STATUS": 2}, FOLDED) == 1


class TestSearch:
    @pytest.mark.parametrize(
        ("text", "value", "found"),
        [
            ("a || b", {"b": 1}, 1),
            ("a || b", {"a": "", "b": 1}, 1),
            ("a && b", {"a": 1, "b": 2}, 2),
            ("!a", {"a": []}, True),
            ("a == 'x'", {"a": "x"}, True),
            ("a > `1`", {"a": "x"}, None),
            ("a[0].b", {"a": [{"b": 1}, {"b": 2}]}, 1),
            ("a[-1].b", {"a": [{"b": 1}, {"b": 2}]}, 2),
            ("a[5].b", {"a": [{"b": 1}]}, None),
            ("a[*].b", {"a": [{"b": 1}, {}, {"b": 2}]}, [1, 2]),
            ("a[].b[]", {"a": [{"b": [1]}, {"b": [2, 3]}]}, [1, 2, 3]),
            ("a[?b == 'x'].c | [0]", {"a": [{"b": "y", "c": 1}, {"b": "x", "c": 2}]}, 2),
            ("*.a", {"x": {"a": 1}, "y": {"a": 2}}, [1, 2]),
            ('"a-b"', {"a-b": 1}, 1),
            ('"a b".c', {"a b": {"c": 1}}, 1),
            ("[0].a", [{"a": 1}], 1),
            ("@", 5, 5),
            ("{n: a}", {"a": 1}, {"n": 1}),
            ("[a, b]", {"a": 1}, [1, None]),
            ("length(a)", {"a": [1, 2]}, 2),
            ("max_by(a, &b).b", {"a": [{"b": 1}, {"b": 2}]}, 2),
            ("to_number(a)", {"a": "5"}, 5),
        ],
    )
    def test_speaks_jmespath(self, text: str, value: object, found: object) -> None:
        """Whatever is no plain path is JMESPath."""
        assert find(text, value) == found

    @pytest.mark.parametrize(
        "text",
        [
            "length(a)",
            "sum(a)",
            "avg(a)",
            "max(a)",
            "abs(a)",
            "ceil(a)",
            "floor(a)",
            "join(',',a)",
            "join(a,b)",
            "keys(a)",
            "values(a)",
            "merge(a,b)",
            "reverse(a)",
            "sort(a)",
            "sort_by(a,&b)",
            "min_by(a,&b)",
            "map(&b,a)",
            "starts_with(a,'x')",
            "ends_with('x',a)",
            "contains(a,'x')",
            "a[::0]",
            "not_null(abs(a))",
            "b||abs(a)",
            "a.b",
            "a[0]",
            "a[*].b",
            "a[?b]",
            "a[]",
        ],
    )
    def test_finds_nothing_in_values_of_another_type(self, text: str) -> None:
        """A function that is given what it cannot take finds nothing; no answer of a provider's is an error of ours."""
        assert find(text, {"a": True}) is None
        others: tuple[object, ...] = (None, [{"b": []}, 1, "x"], [[], {}], {"b": {}}, "x")
        for value in others:
            find(text, {"a": value})

    @pytest.mark.parametrize("text", ["abs(a)", "starts_with(a,'x')", "length(a) > `1`", "sum(a)", "merge(a,b)"])
    def test_finds_nothing_in_nothing(self, text: str) -> None:
        """Nor is it an error where there is nothing to be given."""
        nothing: tuple[object, ...] = ({}, None, [], "a", 5)
        assert [find(text, value) for value in nothing] == [None] * 5

    @pytest.mark.parametrize(
        ("text", "value", "found"),
        [
            ("a_b || c_d", {"CD": 1}, 1),
            ("Items[0].startTime", {"items": [{"start_time": 1}]}, 1),
            ("items[?isCurrent].start_time", {"Items": [{"IS_CURRENT": True, "StartTime": 1}]}, [1]),
            ("items[*].[a_b, c]", {"items": [{"aB": 1, "C": 2}]}, [[1, 2]]),
            ("max_by(items, &end_time).id", {"items": [{"endTime": 1, "Id": 1}, {"EndTime": 2, "Id": 2}]}, 2),
            ("{a_b: start_time}.a_b", {"startTime": 1}, 1),
            ('"start_time" || x', {"startTime": 1}, 1),
            ("*.a_b", {"x": {"aB": 1}}, [1]),
        ],
    )
    def test_ignores_case_and_underscores_when_folded(self, text: str, value: object, found: object) -> None:
        """Folding reaches lists, filters, functions and names that an expression gives itself."""
        assert find(text, value, FOLDED) == found

    def test_takes_the_first_of_keys_that_fold_alike(self) -> None:
        """Where two keys are the same when folded, the first one counts."""
        assert find("(status)", {"Status": 1, "status": 2}, FOLDED) == 1

    def test_is_bounded_in_depth(self) -> None:
        """An answer nested without end is folded only so far, and costs no recursion without end."""
        answer = orjson.loads(b'{"A":' * 900 + b"1" + b"}" * 900)
        assert find("(" + ".".join(["a"] * 60) + ")", answer, FOLDED) is not None
        assert find("(" + ".".join(["a"] * 70) + ")", answer, FOLDED) is None


class TestOpaque:
    @pytest.mark.parametrize("folding", [OPAQUE, EXACT_OPAQUE], ids=["folded", "exact"])
    @pytest.mark.parametrize(
        ("written", "read"),
        [
            ('{"errors":[1]}', {"errors": [1]}),
            (r"{\"errors\":[1]}", {"errors": [1]}),
            (r"{\"errors\":\"C:\\\\temp\"}", {"errors": "C:\\temp"}),
            ('{"errors":"say \\"no\\""}', {"errors": 'say "no"'}),
            ('{"errors":', '{"errors":'),
            (r"{\"errors\":", r"{\"errors\":"),
            ("plain words", "plain words"),
            ("", ""),
            ("[1]", [1]),
            ("null", None),
            ({"errors": [1]}, {"errors": [1]}),
            ([1], [1]),
            (7, 7),
            (None, None),
        ],
    )
    def test_is_read_as_json(self, written: object, read: object, folding: Folding) -> None:
        """JSON in a string is read, escaped once or twice; what is none stays text, what is no text stays as it is."""
        assert find("extendInfo", {"extendInfo": written}, folding) == read

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("extendInfo.a_b", 1),
            ("extendInfo.aB", 2),
            ("extend_info.ab", None),
            ("(extendInfo).a_b", 1),
            ("extendInfo.list[0].c_d", 3),
            ("extendInfo.list[*].c_d", [3, 4]),
            ("extendInfo.list[].c_d", [3, 4]),
            ("extendInfo.list[?c_d == `4`].e_f | [0]", 5),
            ("extendInfo.list[1:].c_d", [4]),
            ("extendInfo.*.g_h", [6]),
            ("extendInfo | a_b", 1),
            ("extendInfo.[a_b, aB]", [1, 2]),
            ("list[?extend_info.a_b == `1`].start_time", [8]),
            ("list[?extendInfo] | [0].start_time", 8),
            ("list[*].extendInfo.a_b", [1]),
            ("list[?start_time == `8`].extendInfo.a_b", [1]),
            ("start_time || extendInfo.a_b", 7),
        ],
    )
    def test_keeps_its_own_keys(self, text: str, found: object) -> None:
        """Inside an opaque value keys are the caller's own: compared as they are spelled; outside they are folded."""
        inner = {"a_b": 1, "aB": 2, "list": [{"c_d": 3}, {"c_d": 4, "e_f": 5}], "map": {"g_h": 6}}
        document = {
            "ExtendInfo": orjson.dumps(inner).decode(),
            "StartTime": 7,
            "List": [{"ExtendInfo": {"a_b": 1}, "StartTime": 8}],
        }
        assert find(text, document, OPAQUE) == found

    def test_may_be_anywhere(self) -> None:
        """An opaque key is opaque at every level."""
        assert find("a.b.extendInfo.x_y", {"A": {"B": {"EXTEND_INFO": '{"x_y":1,"xy":2}'}}}, OPAQUE) == 1


class TestRefusal:
    @pytest.mark.parametrize(
        "text", ["", " ", "a.", "a..b", "a[", "a[?b", "a b", "a |", "'a", "{a}", "a-b", "1", "a.1", "&"]
    )
    def test_says_where(self, text: str) -> None:
        """What is no JMESPath is refused when it is compiled, on one line."""
        with pytest.raises(ValueError, match=r"\Ano JMESPath expression: [^\n]+\Z"):
            compile_expression(text, FOLDED)

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("lenght(a)", "no JMESPath function: lenght"),
            ("a || b[?lenght(c) > `1`]", "no JMESPath function: lenght"),
            ("length()", "JMESPath function length: 0 arguments, 1 expected"),
            ("length(a, b)", "JMESPath function length: 2 arguments, 1 expected"),
            ("not_null()", "JMESPath function not_null: 0 arguments, 1 expected"),
            ("map(&a)", "JMESPath function map: 1 arguments, 2 expected"),
        ],
    )
    def test_knows_functions(self, text: str, why: str) -> None:
        """A function that there is not, or not with so many arguments, would find nothing for ever: it is refused."""
        with pytest.raises(ValueError, match=re.escape(why)):
            compile_expression(text, EXACT)

    def test_leaves_what_takes_any_number(self) -> None:
        """Functions of any number of arguments take any number."""
        assert find("not_null(a, b, c, d)", {"d": 1}) == 1


class TestDocument:
    def test_is_left_as_it_is_without_folding(self) -> None:
        """Nothing is copied where nothing is to be folded."""
        value = {"A": [1]}
        assert Document(value, EXACT).folded is value

    def test_is_not_changed_by_folding(self) -> None:
        """Folding makes another document; the answer stays as it came."""
        value = {"A_b": [{"ExtendInfo": '{"X":1}'}]}
        assert Document(value, OPAQUE).folded == {"ab": [{"extendinfo": {"X": 1}}]}
        assert value == {"A_b": [{"ExtendInfo": '{"X":1}'}]}


# --- both ways of finding agree ------------------------------------------------------------------------------------

names = st.sampled_from(["a", "b", "A", "B", "a_b", "aB", "Ab", "extendInfo", "extend_info"])
leaves = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["x", "", '{"a_b":{"A":1}}', r"{\"b\":2}"])
values = st.recursive(
    leaves,
    lambda inner: (
        st.dictionaries(names, inner, max_size=4)
        | st.dictionaries(names, inner, max_size=4)
        | st.lists(inner, max_size=2)
    ),
    max_leaves=12,
)
foldings = st.sampled_from([EXACT, FOLDED, OPAQUE, EXACT_OPAQUE])
paths = st.lists(names, min_size=1, max_size=4).map(".".join)


def unambiguous(value: object, folding: Folding) -> object:
    """``value`` without the keys that fold like one before them."""
    if isinstance(value, list):
        return [unambiguous(item, folding) for item in value]
    if not isinstance(value, dict):
        return value
    first = {folding.fold(key): key for key in reversed(value)}
    return {key: unambiguous(value[key], folding) for key in value if first[folding.fold(key)] == key}


class TestAgreement:
    @given(values, paths, foldings)
    def test_of_path_and_search(self, value: object, path: str, folding: Folding) -> None:
        """A plain path finds what the same path finds as JMESPath, in any document, folded or not."""
        document = unambiguous(value, folding)
        by_path = find(path, document, folding)
        by_search = find(f"({path})", document, folding)
        inside = any(folding.fold(key) in folding.opaque for key in path.split("."))
        assert by_search == (by_path if inside else Document(by_path, folding).folded)

    @given(values, paths, foldings)
    def test_of_path_and_hand(self, value: object, path: str, folding: Folding) -> None:
        """A path finds what is found by hand, one key that is the same when folded after the other."""
        document = unambiguous(value, folding)
        found: object = document
        for key in path.split("."):
            found = step(found, key, folding)
        if not folding.opaque:
            assert find(path, document, folding) == found


def step(value: object, key: str, folding: Folding) -> object:
    """One step of a path, by the book."""
    if not isinstance(value, dict):
        return None
    return next((item for name, item in value.items() if folding.fold(name) == folding.fold(key)), None)
