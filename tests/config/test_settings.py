"""What each key may hold, what it means inside, and what it means when left out."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from poller.config.secret import Secret
from poller.config.settings import MissingAfter, Provider, Schedule, Settings, parse_settings
from poller.config.values import Address, Surroundings, UnixAddress
from poller.config.wording import Mistake
from poller.domain.task import Policy

AROUND = Surroundings(Path("/etc/poller"), {"TOKEN": "hunter2"})


def parsed(data: Mapping[str, object]) -> Settings:
    settings, wrong = parse_settings(data, AROUND, Settings)
    assert wrong == ()
    return settings


def mistakes_in(data: Mapping[str, object]) -> list[str]:
    return [str(mistake) for mistake in parse_settings(data, AROUND, Settings)[1]]


def test_everything_has_its_documented_default() -> None:
    settings = parsed({"providers": {"p": {"kind": "http"}}})
    assert settings.web.listen == (Address("127.0.0.1", 9817),)
    assert settings.web.api_token is None
    assert settings.store.url == "sqlite:////etc/poller/poller.db"
    assert (settings.log.level, settings.log.format) == ("info", "auto")
    assert settings.policy() == Policy()
    assert (settings.retention.succeeded, settings.retention.unsuccessful) == (86_400, 604_800)
    assert settings.history == 90 * 86_400
    assert settings.include == []
    provider = settings.providers["p"]
    assert (provider.rate_limit, provider.max_in_flight, provider.timeout) == (50, 32, 10)
    assert (provider.auth_pause, provider.max_pause) == (300, 3_600)
    assert (provider.credentials, provider.spec, provider.params) == (None, None, {})


def test_settings_and_their_sections_do_not_change() -> None:
    settings = parsed({})
    with pytest.raises(ValidationError):
        settings.history = 5.0  # type: ignore[misc]
    with pytest.raises(ValidationError):
        settings.log.level = "debug"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("store", "inside"),
    [
        ("sqlite:///poller.db", "sqlite:////etc/poller/poller.db"),
        ("sqlite:///../lib/a b.db", "sqlite:////etc/lib/a b.db"),
        ("sqlite:////var/lib/poller.db", "sqlite:////var/lib/poller.db"),
        ("postgresql://user@host/db", "postgresql://user@host/db"),
        ("postgresql://u:p@h:5432/db?sslmode=require", "postgresql://u:p@h:5432/db?sslmode=require"),
        ("postgresql:///db", "postgresql:///db"),
    ],
)
def test_the_store_is_a_url_with_an_absolute_path(store: str, inside: str) -> None:
    assert parsed({"store": store}).store.url == inside


@pytest.mark.parametrize(
    "store",
    [
        "poller.db", "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///a?mode=ro", "mysql://h/hunter2",
        "postgresql://u:hunter2@h", "postgresql://u:hunter2@h/", "postgresql://u:hunter2@h:x/db", "postgres://h/db",
        "sqlite:///a\nb",
    ],
)  # fmt: skip
def test_other_stores_are_refused_and_never_quoted(store: str) -> None:
    (mistake,) = mistakes_in({"store": store})
    assert mistake.endswith("sqlite:///FILE or postgresql://USER@HOST/DATABASE is allowed")
    assert "hunter2" not in mistake


def test_showing_settings_shows_no_password() -> None:
    data = {
        "store": "postgresql://u:hunter2@h/db",
        "web": {"api_token": "hunter2"},
        "providers": {
            "p": {"kind": "k", "credentials": {"a": "hunter2", "b": {"c": "hunter2", "d": {"env": "TOKEN"}}}}
        },
    }
    settings = parsed(data)
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings)
    assert "hunter2" not in settings.model_dump_json(exclude={"store"})
    with pytest.raises(TypeError):
        json.dumps(settings.model_dump())


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:9817", Address("127.0.0.1", 9817)),
        ("[::1]:80", Address("::1", 80)),
        (":9817", Address("", 9817)),
        ("localhost:0", Address("localhost", 0)),
    ],
)
def test_listen_is_a_host_and_a_port(listen: str, address: Address) -> None:
    assert parsed({"web": {"listen": listen}}).web.listen == (address,)
    assert str(address) == listen


@pytest.mark.parametrize(
    "listen", ["9817", "host", "host:", "h:99999", "::1:80", "[::g]:80", "[:::]:80", "h:1/x", "a b:1", 9817]
)
def test_other_listens_are_refused(listen: object) -> None:
    (mistake,) = mistakes_in({"web": {"listen": listen}})
    assert mistake.endswith("HOST:PORT or unix:PATH is allowed, like 127.0.0.1:9817, [::1]:9817 or unix:web.sock")


@pytest.mark.parametrize(
    ("listen", "path"), [("unix:/run/web.sock", "/run/web.sock"), ("unix:web.sock", "/etc/poller/web.sock")]
)
def test_listen_may_be_a_unix_socket_beside_the_config(listen: str, path: str) -> None:
    assert parsed({"web": {"listen": listen}}).web.listen == (UnixAddress(Path(path)),)


def test_listen_may_be_several_addresses() -> None:
    web = parsed({"web": {"listen": [":9817", "unix:/run/web.sock", "[::1]:0", "[::1]:0"]}}).web
    assert [str(address) for address in web.listen] == [":9817", "unix:/run/web.sock", "[::1]:0", "[::1]:0"]
    assert web.model_dump(mode="json")["listen"] == [":9817", "unix:/run/web.sock", "[::1]:0", "[::1]:0"]


def test_the_path_of_a_unix_socket_is_as_long_as_the_system_takes() -> None:
    (mistake,) = mistakes_in({"web": {"listen": f"unix:/{'x' * 107}"}})
    assert mistake == "web.listen: a path of 108 bytes, for a socket at most 107 are allowed"
    assert parsed({"web": {"listen": f"unix:/{'x' * 106}"}}).web.listen


@pytest.mark.parametrize(
    ("prefix", "inside"), [("/", "/"), ("/poller", "/poller"), ("/a/b-c.d_~/", "/a/b-c.d_~"), ("/...", "/...")]
)
def test_the_route_prefix_is_a_path(prefix: str, inside: str) -> None:
    assert parsed({"web": {"route_prefix": prefix}}).web.route_prefix == inside


@pytest.mark.parametrize(
    "prefix", ["", "a", "a/", "//", "/a//b", "/..", "/./a", "/a b", "/%61", "/{a}", "http://h/a", "/a?b", 1]
)
def test_other_route_prefixes_are_refused(prefix: object) -> None:
    (mistake,) = mistakes_in({"web": {"route_prefix": prefix}})
    assert "a path like /poller is allowed" in mistake


def test_the_web_config_file_is_beside_the_config() -> None:
    assert parsed({"web": {"config_file": "web.yml"}}).web.config_file == Path("/etc/poller/web.yml")
    assert parsed({"web": {"config_file": "/srv/web.yml"}}).web.config_file == Path("/srv/web.yml")


@pytest.mark.parametrize(
    ("endpoint", "inside"),
    [
        ("https://jobs.example.com", "https://jobs.example.com"),
        ("https://jobs.example.com/", "https://jobs.example.com"),
        ("http://127.0.0.1:8080/api/v1/", "http://127.0.0.1:8080/api/v1"),
        ("https://[::1]:8443/a%20b", "https://[::1]:8443/a%20b"),
        ("http://my_service:80", "http://my_service:80"),
    ],
)
def test_an_endpoint_has_a_host_and_may_have_a_prefix(endpoint: str, inside: str) -> None:
    assert parsed({"providers": {"p": {"kind": "k", "endpoint": endpoint}}}).providers["p"].endpoint == inside


@pytest.mark.parametrize(
    "endpoint",
    [
        "jobs.example.com", "ftp://h", "https://", "https://h:0", "https://h:99999", "https://u:hunter2@h",
        "https://h/?hunter2", "https://h/#x", "https://h/../x", "https://h/./x", "https://h//x", "https://h/a b",
        "https://h\n", "HTTPS://", 5, None,
    ],
)  # fmt: skip
def test_other_endpoints_are_refused(endpoint: object) -> None:
    (mistake,) = mistakes_in({"providers": {"p": {"kind": "k", "endpoint": endpoint}}})
    assert mistake.endswith("https://host[:port][/prefix] is allowed")
    assert "hunter2" not in mistake


@pytest.mark.parametrize("region", ["", "CN-North", "a.b", "evil.example/", "-a", "a-", "x" * 64, 5])
def test_a_region_is_one_part_of_a_host_name(region: object) -> None:
    (mistake,) = mistakes_in({"providers": {"p": {"kind": "k", "region": region}}})
    assert mistake.endswith("lower-case letters, digits and dashes are allowed, like cn-hangzhou")


# --- credentials ---------------------------------------------------------------------------------------------------


def credentials(value: object) -> Any:
    return parsed({"providers": {"p": {"kind": "k", "credentials": value}}}).providers["p"].credentials


def test_credentials_are_secrets_by_name(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from file\n")
    held = credentials(
        {
            "literal": " text ",
            "env": {"x": "nested, since x is no secret's key"},
            "variable": {"env": "TOKEN"},
            "file": {"file": str(tmp_path / "token")},
            "absent": {"env": "NOPE", "optional": True},
            "basic": {"username": "me", "password": {"env": "TOKEN"}},
        }
    )
    assert held["literal"].reveal() == "text"
    assert held["env"]["x"].reveal() == "nested, since x is no secret's key"
    assert held["variable"].reveal() == "hunter2"
    assert held["file"].reveal() == "from file"
    assert (held["absent"].reveal(), held["absent"].missing) == (None, None)
    assert {key: secret.reveal() for key, secret in held["basic"].items()} == {"username": "me", "password": "hunter2"}


def test_every_secret_is_found_with_its_path() -> None:
    settings = parsed(
        {
            "web": {"api_token": "t"},
            "providers": {"p": {"kind": "k", "credentials": {"a": "x", "basic": {"password": {"env": "NOPE"}}}}},
        }
    )
    assert [path for path, _ in settings.secrets()] == [
        ("web", "api_token"),
        ("providers", "p", "credentials", "a"),
        ("providers", "p", "credentials", "basic", "password"),
    ]
    text = "environment variable NOPE is not set, one that holds the secret is allowed"
    assert list(settings.unresolved()) == [Mistake(("providers", "p", "credentials", "basic", "password"), text)]


SECRET = "a secret (text, {env: NAME} or {file: PATH}) is allowed"


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("", f"empty text, {SECRET}"),
        (" \n", f"empty text, {SECRET}"),
        ({}, f"an empty mapping, {SECRET}"),
        (None, f"nothing, {SECRET}"),
        (31337, f"a number, {SECRET} (quote it)"),
        (True, f"true or false, {SECRET} (quote it)"),
        (["hunter2"], f"a list, {SECRET}"),
        ({"env": "A", "file": "b"}, "env and file, one of env and file is allowed"),
        ({"optional": True}, "optional alone, one of env and file is allowed"),
        ({"env": "hunter2!"}, "env: not a variable's name, letters, digits and _ are allowed"),
        ({"env": None}, "env: not a variable's name, letters, digits and _ are allowed"),
        ({"file": ""}, "file: not a file's name, the path of a file is allowed"),
        ({"file": "a\0b"}, "file: not a file's name, the path of a file is allowed"),
        ({"env": "A", "optional": "yes"}, "optional: text, true or false is allowed"),
        ({"file": "a", "hunter2": None}, "a mapping with an unknown key, env or file (and optional) is allowed"),
        (
            {"file": "a", "optionl": True},
            "a mapping with an unknown key, env or file (and optional) is allowed (did you mean 'optional'?)",
        ),
    ],
)
def test_what_is_no_secret_is_refused_without_quoting_it(secret: object, text: str) -> None:
    data = {"providers": {"p": {"kind": "k", "credentials": {"key": secret, "basic": {"password": secret}}}}}
    assert mistakes_in(data) == [
        f"providers.p.credentials.key: {text}",
        f"providers.p.credentials.basic.password: {text}",
    ]


def test_a_literal_in_the_wrong_place_is_not_quoted() -> None:
    for wrong in ("hunter2", ["hunter2"], 31337):
        assert "hunter2" not in str(mistakes_in({"providers": {"p": {"kind": "k", "credentials": wrong}}}))
    assert "hunter2" not in str(mistakes_in({"web": {"api_token": {"hunter2": None}}}))
    assert "hunter2" not in str(mistakes_in({"web": "hunter2"}))


SOURCES = st.dictionaries(st.sampled_from(["env", "file", "optional", "x"]), st.none() | st.booleans() | st.text())


@hypothesis.settings(max_examples=50)
@given(st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()) | SOURCES)
def test_whatever_stands_for_a_secret_is_one_or_a_mistake(value: object) -> None:
    settings, wrong = parse_settings({"web": {"api_token": value}}, AROUND, Settings)
    assert isinstance(settings.web.api_token, Secret) != bool(wrong)


# --- the schedule --------------------------------------------------------------------------------------------------


def test_a_schedule_overrides_key_by_key() -> None:
    settings = parsed(
        {
            "schedule": {"initial": "1s", "missing_after": {"polls": 5}},
            "providers": {"p": {"kind": "k", "schedule": {"max": "1h", "missing_after": {"time": "2m"}}}},
        }
    )
    assert settings.policy() == Policy(initial=1, missing_polls=5)
    assert settings.policy("p") == Policy(initial=1, max=3_600, missing_polls=5, missing_time=120)


def test_an_override_with_the_default_overrides() -> None:
    below = Policy(initial=7, growth=3.0)
    assert Schedule(growth=1.5).over(below) == Policy(initial=7, growth=1.5)
    assert Schedule().over(below) is below
    assert Schedule(missing_after=MissingAfter()).over(below) is below


def test_every_key_of_the_schedule_is_one_of_the_policy() -> None:
    every = {key: "1m" for key in Schedule.model_fields if key not in ("growth", "jitter", "adaptive", "missing_after")}
    schedule = Schedule.model_validate(
        {**every, "growth": 2, "jitter": 0, "adaptive": False, "missing_after": {"polls": 1, "time": "0s"}}
    )
    assert schedule.over(Policy()) == Policy(60, 60, 2.0, 0.0, 60, 60, 60, 60, 1, 0.0, False)


@pytest.mark.parametrize(
    ("schedule", "below", "mistakes"),
    [
        ({"initial": "5m"}, Policy(), ()),
        ({"initial": "6m"}, Policy(), (Mistake(("initial",), "6m, at most max, here 5m, is allowed"),)),
        ({"max": "1s"}, Policy(), (Mistake(("max",), "1s, at least initial, here 2s, is allowed"),)),
        ({"initial": "3s", "max": "1s"}, Policy(), (Mistake(("initial",), "3s, at most max, here 1s, is allowed"),)),
        ({"growth": 2}, Policy(initial=9, max=3), ()),
    ],
)
def test_a_contradiction_is_told_where_it_is_made(
    schedule: Mapping[str, object], below: Policy, mistakes: tuple[Mistake, ...]
) -> None:
    assert Schedule.model_validate(schedule).contradictions(below) == mistakes


def test_contradictions_of_settings_have_their_paths() -> None:
    data = {"schedule": {"initial": "1h"}, "providers": {"p": {"kind": "k", "schedule": {"max": "1s"}}}}
    assert [mistake.path for mistake in parsed(data).contradictions()] == [
        ("schedule", "initial"),
        ("providers", "p", "schedule", "max"),
    ]


# --- mistakes ------------------------------------------------------------------------------------------------------


def test_what_is_right_is_kept_beside_what_is_wrong() -> None:
    data = {
        "web": {"listen": "x", "api_token": "t"},
        "schedule": {"initial": "1s", "max": 5},
        "history": None,
        "nope": 1,
        "include": ["a.yaml", 5],
        "providers": {"good": {"kind": "k"}, "bad": {"kind": 5}, "b d": {"kind": "k"}},
        "log": [],
    }
    settings, wrong = parse_settings(data, AROUND, Settings)
    assert len(wrong) == 8
    assert settings.web.api_token == Secret.literal("t")
    assert settings.policy() == Policy(initial=1)
    assert settings.include == ["a.yaml"]
    assert list(settings.providers) == ["good"]


@pytest.mark.parametrize(
    "data",
    [
        {"providers": []},
        {"providers": {"p": None}},
        {"providers": {"": {}}},
        {"include": "a"},
        {"": {}},
        {"schedule": None},
    ],
)
def test_mistakes_of_every_shape_leave_settings(data: Mapping[str, object]) -> None:
    settings, wrong = parse_settings(data, AROUND, Settings)
    assert wrong
    assert settings.providers == {}


KEYS = st.sampled_from(
    [*Settings.model_fields, *Provider.model_fields, *Schedule.model_fields, "p", "env", "file", "x"]
)
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["5s", "1/s", "a.yaml"])


DATA = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner), max_leaves=6)


@hypothesis.settings(max_examples=50)
@given(st.dictionaries(KEYS, DATA))
def test_any_data_is_settings_or_mistakes_in_plain_words(data: dict[str, object]) -> None:
    settings, wrong = parse_settings(data, AROUND, Settings)
    assert all(math.isfinite(value) for value in (settings.history, settings.policy().growth, settings.policy().jitter))
    assert not any("Input should" in mistake.text or "\n" in str(mistake) for mistake in wrong)
    json.dumps([str(mistake) for mistake in wrong]).encode()
