"""Mistakes are worded in the config file's terms, on one line."""

import pytest
from pydantic import BaseModel, ValidationError

from poller.config.wording import Mistake, found, key_text, kind, mistakes, one_of
from poller.config.yamlfile import written_float


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("schedule", "growth"), "schedule.growth"),
        (("tasks", 2, "params", "a_b-c"), "tasks[2].params.a_b-c"),
        (("params", "a b"), "params['a b']"),
        (("a.b", "c"), "['a.b'].c"),
        (("", "x\ny"), "['']['x\\ny']"),
        ((0, 1), "[0][1]"),
    ],
)
def test_a_key_path_reads_as_people_write_it(path: tuple[str | int, ...], text: str) -> None:
    assert key_text(path) == text
    assert str(Mistake(path, "wrong")) == (f"{text}: wrong" if text else "wrong")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"),
        (True, "true"),
        (0, "0"),
        (0.5, "0.5"),
        (written_float("1.10"), "1.10"),
        (10**100, "a number of 100 digits"),
        ("a'b", '"a\'b"'),
        ("a\nb", "'a\\nb'"),
        ("x" * 100, "'" + "x" * 59 + "…'"),
        ([1], "a list"),
        ({}, "a mapping"),
        (object(), "something else"),
    ],
)
def test_what_was_found_is_quoted_on_one_line(value: object, text: str) -> None:
    assert found(value) == text


def test_a_kind_quotes_nothing() -> None:
    assert [kind(value) for value in ("s3cret", 5, False)] == ["text", "a number", "true or false"]


def test_choices_are_sorted_cut_and_hinted_at() -> None:
    names = ["studio", "search", "modelarts"]
    assert one_of("serch", names) == "'serch', one of modelarts, search, studio is allowed (did you mean 'search'?)"
    assert one_of("x", ["only"]) == "'x', only is allowed"
    assert one_of("x", []) == "'x', none is allowed here"
    many = one_of("x", [f"provider-{number:03}" for number in range(100)])
    assert many.endswith("provider-029, … is allowed")


def test_what_the_table_does_not_know_is_still_told_in_plain_words() -> None:
    class Model(BaseModel):
        data: bytes

    with pytest.raises(ValidationError) as raised:
        Model.model_validate({"data": ["hunter2"]})
    assert mistakes(raised.value, Model) == (Mistake(("data",), "a list, which is not allowed here"),)
