"""A secret can be asked for, and shows itself nowhere else."""

import copy
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from poller.config.secret import LARGEST_SECRET, Secret

VALUE = "hunter2-s3cret"


def secret_file(folder: Path, value: str = VALUE) -> Path:
    file = folder / "token"
    file.write_text(value)
    return file


def rotate(file: Path, value: str) -> None:
    """Put another file in its place, as careful writers do."""
    new = file.with_name("new")
    new.write_text(value)
    new.replace(file)


@pytest.fixture(params=["literal", "env", "file"])
def secret(request: pytest.FixtureRequest, tmp_path: Path) -> Secret:
    if request.param == "literal":
        return Secret.literal(VALUE)
    if request.param == "env":
        return Secret.from_env("TOKEN", {"TOKEN": VALUE})
    secret_file(tmp_path)
    return Secret.from_file("token", tmp_path, {})


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{:>20}".format, "%s".__mod__, lambda s: repr([s]), ascii])
def test_nothing_shows_it(secret: Secret, show: Callable[[Secret], str]) -> None:
    assert secret.reveal() == VALUE
    assert VALUE not in show(secret)


def test_tells_where_it_comes_from(secret: Secret) -> None:
    assert secret.source in ("the config file", "environment variable TOKEN", "file token")


@pytest.mark.parametrize("keep", [pickle.dumps, json.dumps])
def test_nothing_serializes_it(secret: Secret, keep: Callable[[Secret], object]) -> None:
    with pytest.raises(TypeError) as raised:
        keep(secret)
    assert VALUE not in str(raised.value)


def test_copies_are_the_secret_itself(secret: Secret) -> None:
    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret


@pytest.mark.parametrize("text", [f"{VALUE}\n", f"\r\n {VALUE}\t\r\n"])
def test_blanks_and_line_breaks_around_it_do_not_count(text: str, tmp_path: Path) -> None:
    secret_file(tmp_path, text)
    assert Secret.literal(text).reveal() == VALUE
    assert Secret.from_env("A", {"A": text}).reveal() == VALUE
    assert Secret.from_file("token", tmp_path, {}).reveal() == VALUE


def test_the_environment_is_read_once() -> None:
    env = {"TOKEN": "old"}
    secret = Secret.from_env("TOKEN", env)
    env["TOKEN"] = "new"
    assert secret.reveal() == "old"


def test_a_changed_file_is_read_again_and_counted(tmp_path: Path) -> None:
    file = secret_file(tmp_path, "one")
    secret = Secret.from_file("token", tmp_path, {})
    assert (secret.reveal(), secret.version) == ("one", 0)
    rotate(file, "two")
    assert (secret.reveal(), secret.version) == ("two", 1)
    rotate(file, "two\n")
    assert (secret.reveal(), secret.version) == ("two", 1)
    file.write_text("three")
    assert (secret.reveal(), secret.version) == ("three", 2)


def test_a_link_that_is_turned_to_another_file_is_noticed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(name)
    link = tmp_path / "now"
    link.symlink_to("a")
    secret = Secret.from_file("now/token", tmp_path, {})
    (tmp_path / "next").symlink_to("b")
    (tmp_path / "next").replace(link)
    assert (secret.reveal(), secret.version) == ("b", 1)


def test_an_unchanged_file_costs_one_stat_and_no_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret_file(tmp_path)
    secret = Secret.from_file("token", tmp_path, {})
    stats = []
    real = os.stat

    def counted(path: str, **options: bool) -> os.stat_result:
        stats.append(path)
        return real(path, **options)

    monkeypatch.setattr(os, "stat", counted)
    monkeypatch.setattr(Path, "open", None)
    assert secret.reveal() == VALUE
    assert len(stats) == 1


@pytest.mark.parametrize(
    "spoil", [Path.unlink, lambda file: file.write_text(" \n"), lambda file: file.write_bytes(b"\xff")]
)
def test_the_last_good_value_stands_while_a_file_gives_none(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    file = secret_file(tmp_path, "old")
    secret = Secret.from_file("token", tmp_path, {})
    spoil(file)
    assert (secret.reveal(), secret.version) == ("old", 0)
    file.write_text("new")
    assert (secret.reveal(), secret.version) == ("new", 1)


def test_an_optional_file_may_come_later(tmp_path: Path) -> None:
    secret = Secret.from_file("token", tmp_path, {}, optional=True)
    assert (secret.reveal(), secret.missing) == (None, None)
    secret_file(tmp_path, "now")
    assert (secret.reveal(), secret.version) == ("now", 1)


def test_variables_in_the_path_are_expanded(tmp_path: Path) -> None:
    secret_file(tmp_path)
    env = {"DIR": str(tmp_path), "NAME": "token"}
    assert Secret.from_file("$DIR/${NAME}", Path("/nowhere"), env).reveal() == VALUE


ALLOWED = "a file that holds the secret is allowed"


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("nope", "file 'nope': does not exist"),
        (".", "file '.': a directory"),
        ("blank", "file 'blank': empty"),
        ("bytes", "file 'bytes': not UTF-8 text"),
        ("large", f"file 'large': larger than {LARGEST_SECRET} bytes"),
        ("pipe", "file 'pipe': not a regular file"),
        ("$NOPE/a", "file '$NOPE/a': environment variable 'NOPE' in its path is not set"),
        ("${}", "file '${}': environment variable '' in its path is not set"),
    ],
)
def test_a_file_without_a_secret_says_why(tmp_path: Path, name: str, missing: str) -> None:
    (tmp_path / "blank").write_text("\n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_text("x" * (LARGEST_SECRET + 1))
    os.mkfifo(tmp_path / "pipe")
    secret = Secret.from_file(name, tmp_path, {})
    assert (secret.reveal(), secret.missing) == (None, f"{missing}, {ALLOWED}")
    optional = Secret.from_file(name, tmp_path, {}, optional=True)
    assert (optional.reveal(), optional.missing) == (None, None)


@pytest.mark.parametrize(("env", "state"), [({}, "not set"), ({"A": ""}, "empty"), ({"A": " \n"}, "empty")])
def test_an_environment_without_a_secret_says_why(env: dict[str, str], state: str) -> None:
    secret = Secret.from_env("A", env)
    assert secret.missing == f"environment variable A is {state}, one that holds the secret is allowed"
    assert secret.reveal() is None
    assert Secret.from_env("A", env, optional=True).missing is None


def test_an_empty_literal_is_missing() -> None:
    assert Secret.literal(" ").missing == "empty, text is allowed"


def test_equal_are_those_of_the_same_origin_and_value() -> None:
    assert Secret.literal("a") == Secret.literal("a")
    assert hash(Secret.literal("a")) == hash(Secret.literal("b"))
    assert Secret.literal("a") != Secret.literal("b")
    assert Secret.from_env("A", {"A": "x"}) == Secret.from_env("A", {"A": "x"})
    assert Secret.from_env("A", {"A": "x"}) != Secret.from_env("B", {"B": "x"})
    assert Secret.literal("a") != "a"
