"""The config file and all it includes are loaded at once, or every mistake in them is told, each on one line."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from poller.config.loading import ConfigFile, Loaded, json_schema, load
from poller.config.watchlist import WrittenEntry
from poller.domain.errors import ConfigError, Problem
from poller.domain.task import Policy

DATA = Path(__file__).parent / "data"
ENV = {"EMPTY": "", "TOKEN": "hunter2"}
PROVIDER = "providers:\n  p: {kind: http, schedule: {initial: 1s}}\n"
TASK = "tasks:\n- {name: a, provider: p, operation: o, "


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, newline="")


def loaded(text: str, name: str = "poller.yaml", **options: Any) -> Loaded:
    written({name: text})
    return load(Path(name), env=ENV, **options)


def told(text: str, name: str = "poller.yaml", **options: Any) -> list[str]:
    """The mistakes in a config file, as they are printed."""
    try:
        loaded(text, name, **options)
    except ConfigError as error:
        return str(error).split("\n")
    return []


# --- what is read again --------------------------------------------------------------------------------------------

LISTED = PROVIDER + "include: [tasks.jsonl, more.jsonl]\n"
LINES = [
    json.dumps({"name": name, "provider": "p", "operation": "o", "params": {"id": name}, "schedule": {"max": "1m"}})
    for name in "abcdef"
]
CHANGES = {
    "nothing": (LINES, LISTED),
    "a label": (['{"labels": {"x": "y"}, ' + LINES[0][1:], *LINES[1:]], LISTED),
    "one less": (LINES[1:], LISTED),
    "one more in between": ([LINES[0], LINES[1].replace('"b"', '"g"'), "", *LINES[1:]], LISTED),
    "another order": (LINES[::-1], LISTED),
    "one twice": ([*LINES, LINES[0]], LISTED),
    "no JSON": ([*LINES, "{"], LISTED),
    "a mistake": ([*LINES, LINES[0].replace('"a"', '"z"').replace("operation", "operations")], LISTED),
    "no lines": ([], LISTED),
    "a parameter of the provider": (LINES, LISTED.replace("kind: http", "kind: http, params: {region: x}")),
    "the schedule of the provider": (LINES, LISTED.replace("initial: 1s", "initial: 2s")),
    "the schedule of all": (LINES, f"{LISTED}schedule: {{deadline: 2h}}\n"),
    "a schedule that contradicts": (LINES, LISTED.replace("initial: 1s", "initial: 2m")),
    "another provider": (LINES, LISTED.replace("p: {", "q: {")),
    "another file": (LINES, LISTED.replace("tasks.jsonl", "other.jsonl")),
}


@pytest.mark.parametrize(("lines", "config"), CHANGES.values(), ids=CHANGES)
def test_what_is_read_again_is_as_if_it_were_read_for_the_first_time(lines: list[str], config: str) -> None:
    """Whatever changed; and what did not is the very same object, so that nobody need compare it."""
    written({"tasks.jsonl": "\n".join(LINES), "more.jsonl": LINES[0].replace('"a"', '"m"')})
    before = loaded(LISTED)
    written({"tasks.jsonl": "\n".join(lines), "other.jsonl": "\n".join(lines)})
    assert told(config, before=before) == told(config)
    if told(config):
        return
    again, anew = loaded(config, before=before), loaded(config)
    assert again.entries == anew.entries
    assert list(again.entries) == list(anew.entries)
    same = {name for name, entry in again.entries.items() if entry is before.entries.get(name)}
    equal = {name for name, entry in anew.entries.items() if entry == before.entries.get(name)}
    assert same == equal
    # What is found beyond the file is told at the lines as they are now.
    for name in anew.entries:
        assert again.entry_problem(name, (), "x") == anew.entry_problem(name, (), "x")


def test_what_was_read_again_is_known_the_next_time() -> None:
    """Entries that took the place of equal ones included."""
    written({"tasks.jsonl": "\n".join(LINES), "more.jsonl": ""})
    config = LISTED.replace(", more.jsonl", "")
    first = loaded(config)
    written({"tasks.jsonl": "\n".join(LINES[1:])})
    second = loaded(config, before=first)
    written({"tasks.jsonl": "\n".join(LINES)})
    third = loaded(config, before=second)
    assert [third.entries[name] is first.entries[name] for name in "abcdef"] == [False, *(True,) * 5]
    assert third.entries == first.entries


# --- what is right -------------------------------------------------------------------------------------------------


def test_settings_and_tasks_of_all_files_come_together() -> None:
    written(
        {
            "etc/watch/b.yaml": "tasks:\n- {name: b, provider: p, operation: o}\n",
            "etc/watch/a.yaml": "tasks:\n- {name: a, provider: p, operation: o, schedule: {max: 1m}}\n",
            "etc/big.jsonl": '{"name":"j","provider":"p","operation":"o"}\n',
        }
    )
    config = loaded(
        PROVIDER + "include: [./watch/*.yaml, big.jsonl]\ntasks:\n- {name: own, provider: p, operation: o}\n",
        "etc/poller.yaml",
    )
    assert {name: (entry.source, entry.policy) for name, entry in config.entries.items()} == {
        "own": ("poller.yaml", Policy(initial=1)),
        "a": ("watch/a.yaml", Policy(initial=1, max=60)),
        "b": ("watch/b.yaml", Policy(initial=1)),
        "j": ("big.jsonl", Policy(initial=1)),
    }
    assert [str(path) for path in config.files] == [
        "etc/poller.yaml",
        "etc/watch/a.yaml",
        "etc/watch/b.yaml",
        "etc/big.jsonl",
    ]
    assert config.patterns == ("etc/watch/*.yaml",)
    assert config.settings.store.url == f"sqlite:///{Path.cwd()}/etc/poller.db"


def test_a_file_is_read_once_however_often_it_is_named() -> None:
    written({"a.yaml": "tasks:\n- {name: a, provider: p, operation: o}\n"})
    Path("b.yaml").symlink_to("a.yaml")
    config = loaded(PROVIDER + "include: [a.yaml, ./a.yaml, '*.yaml', '**/*.yaml', poller.yaml]\n")
    assert list(config.entries) == ["a"]
    assert len(config.files) == 2


def test_a_pattern_may_match_nothing_in_a_folder_that_is_there() -> None:
    Path("watch").mkdir()
    config = loaded("include: [watch/*.yaml, watch/**/*.jsonl]\n")
    assert (config.entries, config.patterns) == ({}, ("watch/*.yaml", "watch/**/*.jsonl"))


def test_a_name_with_brackets_may_be_a_files() -> None:
    written({"a[1].yaml": "tasks: []\n"})
    assert loaded("include: ['a[1].yaml']\n").files[-1] == Path("a[1].yaml")


def test_an_absolute_path_is_one(tmp_path: Path) -> None:
    written({"sub/a.yaml": "tasks: []\n", "sub/b.yaml": "tasks: []\n"})
    config = loaded(f"include: [{tmp_path}/sub/a.yaml, {tmp_path}/s*/*.yaml]\n", "etc/poller.yaml")
    assert config.files[1:] == (tmp_path / "sub/a.yaml", tmp_path / "sub/b.yaml")


def test_secrets_are_read_relative_to_the_file() -> None:
    written({"etc/token": "hunter2\n"})
    token = loaded("web: {api_token: {file: token}}\n", "etc/poller.yaml").settings.web.api_token
    assert token is not None
    assert token.reveal() == "hunter2"


def test_secrets_stay_readable_in_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    written({"token": "one"})
    token = loaded("web: {api_token: {file: token}}\n").settings.web.api_token
    Path("token").write_text("other")
    monkeypatch.chdir("/")
    assert token is not None
    assert token.reveal() == "other"


def test_without_secrets_nothing_is_missing() -> None:
    text = "web: {api_token: {env: NOPE}}\n"
    assert told(text)
    config = loaded(text, skip_secrets=True)
    assert config.settings.web.api_token is not None
    assert config.settings.web.api_token.reveal() is None


def test_showing_what_was_loaded_shows_no_secret() -> None:
    text = "web: {api_token: hunter2}\nstore: postgresql://u:hunter2@h/d\n"
    assert "hunter2" not in repr(loaded(text))


# --- what is wrong -------------------------------------------------------------------------------------------------

MISTAKES = [
    (text, [f"poller.yaml{line}" for line in said.splitlines()])
    for text, said in (
        case.split("-" * 20 + "\n") for case in (DATA / "config-mistakes.txt").read_text().split("=" * 20 + "\n")[1:]
    )
]


def test_the_table_of_mistakes_is_there() -> None:
    assert len(MISTAKES) > 120


@pytest.mark.parametrize(("text", "problems"), MISTAKES)
def test_a_mistake_is_told_where_it_is(text: str, problems: list[str]) -> None:
    assert told(text) == problems


def test_no_mistake_speaks_of_anything_but_the_file() -> None:
    """None quotes a secret, wraps, or says what only somebody who knows the libraries behind would understand."""
    jargon = re.compile(
        r"hunter2|31337|[Ii]nput|valid|pydantic|Error|://[a-z]+\.dev|\bdict|\bstr\b|\bNone\b|_type|_error"
    )
    shape = re.compile(r"poller\.yaml(:\d+)?: [^,]+, .+")
    for _, problems in MISTAKES:
        assert [problem for problem in problems if jargon.search(problem) or not shape.fullmatch(problem)] == []


def test_all_mistakes_of_all_files_come_at_once() -> None:
    written(
        {
            "watch/a.yaml": "tasks:\n- {name: a, provider: q, operation: o}\n"
            "- {name: own, provider: p, operation: o}\n",
            "watch/b.yaml": "tasks: [\n",
            "watch/c.yaml": "",
            "big.jsonl": '{"name":"j"\n\n{"name":"own","provider":"p","operation":"o","params":{"x":null}}\n',
        }
    )
    text = """\
web: {listen: nowhere}
schedule: {growth: 0.5}
providers:
  p: {kind: http, credentials: {bearer: {env: NOPE}}}
  q: {kind: http, tiemout: 5s, schedule: {max: 1s}, credentials: {bearer: {env: NOPE}}}
  r: {kind: http, tiemout: 5s, credentials: {bearer: {env: NOPE}, basic: 5}}
include: [5, watch/*.yaml, nope.yaml, big.jsonl]
tasks:
- {name: own, provider: p, operation: o}
- {name: x, provider: r, operation: o}
- {name: y, provider: s, operation: o, nope: 1}
"""
    seen = []

    def check(config: Loaded) -> Iterator[Problem]:
        seen.append((list(config.settings.providers), list(config.entries)))
        yield config.problem(("providers", "p", "kind"), "'http', another is allowed")
        yield config.entry_problem("own", ("operation",), "'o', another is allowed")

    allowed = (
        "auth_pause, connect_timeout, credential_endpoints, credentials, endpoint, kind, max_in_flight, max_pause, "
        "params, proxy, rate_limit, region, schedule, spec, timeout, tls is allowed (did you mean 'timeout'?)"
    )
    missing = "environment variable NOPE is not set, one that holds the secret is allowed"
    assert told(text, check=check) == [
        'big.jsonl:1: no JSON from column 12 on, one task a line is allowed, like {"name": …}',
        "big.jsonl:3: name: 'own', a name of its own is allowed; poller.yaml:9 has this one",
        "big.jsonl:3: params.x: nothing, a single value (text, a number, true or false) is allowed",
        "poller.yaml:1: web.listen: 'nowhere', HOST:PORT or unix:PATH is allowed, like 127.0.0.1:9817, [::1]:9817 or "
        "unix:web.sock",
        "poller.yaml:2: schedule.growth: 0.5, at least 1.0 is allowed",
        f"poller.yaml:4: providers.p.credentials.bearer: {missing}",
        "poller.yaml:4: providers.p.kind: 'http', another is allowed",
        f"poller.yaml:5: providers.q.credentials.bearer: {missing}",
        f"poller.yaml:5: providers.q.tiemout: unknown key, one of {allowed}",
        "poller.yaml:6: providers.r.credentials.basic: a number, a secret (text, {env: NAME} or {file: PATH}) is"
        " allowed (quote it)",
        f"poller.yaml:6: providers.r.credentials.bearer: {missing}",
        f"poller.yaml:6: providers.r.tiemout: unknown key, one of {allowed}",
        "poller.yaml:7: include[0]: 5, text is allowed (quote it)",
        "poller.yaml:7: include[2]: 'nope.yaml' does not exist, a file or a pattern like watchlist.d/*.yaml is allowed",
        "poller.yaml:9: tasks[0].operation: 'o', another is allowed",
        "poller.yaml:11: tasks[2].nope: unknown key, one of family, follow, labels, name, operation, params, provider,"
        " schedule is allowed",
        "poller.yaml:11: tasks[2].provider: 's', one of p, q, r is allowed",
        "watch/a.yaml:3: tasks[1].name: 'own', a name of its own is allowed; poller.yaml:9 has this one",
        "watch/b.yaml:1: something that is not YAML, a value is expected here",
        "watch/c.yaml: empty, a list under 'tasks' is required",
    ]
    assert seen == [(["p"], ["own"])]


def test_a_contradiction_in_a_provider_with_other_mistakes_is_told_too() -> None:
    text = "providers:\n  p: {kind: http, tiemout: 5s, schedule: {max: 1s}}\n"
    assert "poller.yaml:2: providers.p.schedule.max: 1s, at least initial, here 2s, is allowed" in told(text)


@pytest.mark.parametrize(
    "text",
    [
        "schedule: {max: forever}\nproviders:\n  p: {kind: http, schedule: {initial: 10m}}\n",
        "providers:\n  p: {kind: http, schedule: {initial: 10m, max: forever}}\n",
        "schedule: {max: forever}\n" + PROVIDER + TASK + "schedule: {initial: 1h}}\n",
        PROVIDER + TASK + "schedule: {initial: 1h, max: forever}}\n",
    ],
)
def test_a_mistake_makes_no_others_up(text: str) -> None:
    (problem,) = told(text)
    assert "'forever'" in problem


def test_files_are_called_what_the_user_calls_them(tmp_path: Path) -> None:
    written({"etc/a.yaml": ""})
    relative, absolute = "etc/poller.yaml", f"{tmp_path}/etc/poller.yaml"
    assert told("include: [a.yaml]\n", relative) == ["etc/a.yaml: empty, a list under 'tasks' is required"]
    assert told("include: [a.yaml]\n", absolute) == [f"{tmp_path}/etc/a.yaml: empty, a list under 'tasks' is required"]


def test_a_config_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    def problem(name: str) -> str:
        with pytest.raises(ConfigError) as raised:
            load(tmp_path / name)
        return str(raised.value).removeprefix(f"{tmp_path}/")

    with Path("large.yaml").open("wb") as sparse:
        sparse.truncate(100 * 1024 * 1024)
    Path("latin.yaml").write_bytes(b"a: 1\nb: \xe9\n")
    Path("folder.yaml").mkdir()
    assert problem("nope.yaml") == "nope.yaml: does not exist, a file that can be read is allowed"
    assert problem("folder.yaml") == "folder.yaml: a directory, a file that can be read is allowed"
    assert problem("latin.yaml") == "latin.yaml:2: bytes that are not UTF-8, text in UTF-8 is allowed"
    assert problem("large.yaml") == "large.yaml: 100 MiB, at most 16 MiB is allowed"


def test_odd_file_names_stay_on_one_line() -> None:
    name = os.fsdecode(b"a\n\xff.yaml")
    written({name: ""})
    assert told("include: ['a*.yaml']\n") == ["a??.yaml: empty, a list under 'tasks' is required"]


# --- later checks --------------------------------------------------------------------------------------------------

LOCATED = """\
providers:
  p:
    kind: http
    params: {app: x}
    spec:
      operations:
        job:
          states:
            running:
              - a
              - 1
include: [big.jsonl]
tasks:
- name: a
  provider: p
  operation: o
  params: {x: y}
"""


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("providers", "p", "kind"), "poller.yaml:3: providers.p.kind"),
        (("providers", "p", "region"), "poller.yaml:2: providers.p.region"),
        (
            ("providers", "p", "spec", "operations", "job", "states", "running", 1),
            "poller.yaml:11: providers.p.spec.operations.job.states.running[1]",
        ),
        (("web", "listen"), "poller.yaml:1: web.listen"),
        ((), "poller.yaml:1"),
    ],
)
def test_a_later_mistake_in_the_config_has_its_place(path: tuple[str | int, ...], place: str) -> None:
    written({"big.jsonl": '{"name":"j","provider":"p","operation":"o"}\n'})
    assert str(loaded(LOCATED).problem(path, "x, y is allowed")) == f"{place}: x, y is allowed"


@pytest.mark.parametrize(
    ("name", "path", "place"),
    [
        ("a", ("params", "x"), "poller.yaml:17: tasks[0].params.x"),
        ("a", ("params", "app"), "poller.yaml:17: tasks[0].params.app"),
        ("a", ("labels", "x"), "poller.yaml:14: tasks[0].labels.x"),
        ("j", ("params", "x"), "big.jsonl:2: params.x"),
        ("j", (), "big.jsonl:2"),
    ],
)
def test_a_later_mistake_in_an_entry_has_its_place(name: str, path: tuple[str | int, ...], place: str) -> None:
    written({"big.jsonl": '\n{"name":"j","provider":"p","operation":"o"}\n'})
    assert str(loaded(LOCATED).entry_problem(name, path, "x, y is allowed")) == f"{place}: x, y is allowed"


def test_a_check_that_finds_nothing_lets_pass() -> None:
    assert loaded("{}", check=lambda config: []).entries == {}


# --- the schema and the examples -----------------------------------------------------------------------------------

EXAMPLES = Path(__file__).parents[2] / "config"
CONTRACT = {
    "": {
        "web", "store", "replicas", "log", "schedule", "retention", "metrics", "history", "providers", "provider_specs",
        "include", "tasks", "sinks",
    },
    "Sink": {
        "kind", "url", "secret", "headers", "path", "states", "providers", "operations", "labels", "initial", "timeout",
        "max_in_flight", "give_up_after", "proxy", "tls",
    },
    "Web": {"listen", "config_file", "route_prefix", "api_token"},
    "Log": {"level", "format"},
    "Replicas": {"lease"},
    "Schedule": {
        "initial", "max", "growth", "jitter", "deadline", "unreachable_after", "stalled_after", "give_up_after",
        "missing_after", "adaptive",
    },
    "MissingAfter": {"polls", "time"},
    "Retention": {"succeeded", "unsuccessful"},
    "TaskMetrics": {"max_tasks", "tasks"},
    "Provider": {
        "kind", "region", "endpoint", "credentials", "credential_endpoints", "params", "rate_limit", "max_in_flight",
        "timeout", "auth_pause", "max_pause", "schedule", "spec", "connect_timeout", "proxy", "tls",
    },
    "CredentialEndpoints": {"sts", "metadata", "iam"},
    "TlsClient": {"ca_file", "cert_file", "key_file", "server_name", "min_version"},
    "WrittenEntry": {"name", "provider", "operation", "params", "labels", "family", "follow", "schedule"},
}  # fmt: skip


def test_the_schema_knows_every_key_and_describes_it() -> None:
    schema = json_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert {"": set(schema["properties"])} | {k: set(v["properties"]) for k, v in schema["$defs"].items()} == CONTRACT
    for model in (schema, *schema["$defs"].values()):
        assert model["additionalProperties"] is False
        assert all(described["description"] for described in model["properties"].values())
    assert schema["$defs"]["Provider"]["required"] == ["kind"]
    assert schema["$defs"]["WrittenEntry"]["required"] == ["name", "provider", "operation"]


def defaults(schema: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], object]]:
    for model in (schema, *schema["$defs"].values()):
        yield from ((key, key["default"]) for key in model["properties"].values() if "default" in key)


def test_the_schemas_defaults_are_as_the_file_would_write_them() -> None:
    found = list(defaults(json_schema()))
    assert len(found) == 33
    for described, default in found:
        kind = described["type"] if isinstance(described["type"], str) else described["type"][0]
        assert type(default) is {"string": str, "boolean": bool, "integer": int, "number": float}[kind]
        assert re.search(described.get("pattern", ""), str(default))
    assert json_schema()["$defs"]["Schedule"]["properties"]["max"]["default"] == "5m"


def test_the_schema_shows_what_a_secret_and_a_duration_look_like() -> None:
    properties = json_schema()["$defs"]["Web"]["properties"]
    assert [kind["type"] for kind in properties["api_token"]["anyOf"]] == ["string", "object", "object"]
    duration = re.compile(json_schema()["properties"]["history"]["pattern"])
    assert all(duration.search(text) for text in ("500ms", "1h30m", "7d", "1.5h"))
    assert not any(duration.search(text) for text in ("", "5", "5 s", "-1s", "1w"))


def test_the_example_shows_every_key_and_holds_no_mistake() -> None:
    config = load(EXAMPLES / "poller.yaml", skip_secrets=True, env={})
    assert {"ctr-model-3", "nightly-export", "segments-us"} <= set(config.entries)
    text = (EXAMPLES / "poller.yaml").read_text()
    for keys in CONTRACT.values():
        assert all(re.search(rf"^[ #-]*(\w+: {{)?{key}:", text, re.MULTILINE) for key in keys), keys


def test_the_example_says_the_defaults() -> None:
    config = load(EXAMPLES / "poller.yaml", skip_secrets=True, env={})
    plain = loaded("providers: {search: {kind: alibaba-opensearch}}\n").settings
    for key in ("log", "retention", "history"):
        assert getattr(config.settings, key) == getattr(plain, key)
    assert config.settings.web.listen == plain.web.listen
    assert config.settings.policy() == plain.policy()
    search, default = config.settings.providers["search"], plain.providers["search"]
    assert search.connect_timeout == default.timeout
    for key in ("rate_limit", "max_in_flight", "timeout", "auth_pause", "max_pause", "tls"):
        assert getattr(search, key) == getattr(default, key)


def test_models_describe_themselves_in_the_files_terms() -> None:
    for model in (ConfigFile, WrittenEntry):
        assert all(field.description for field in model.model_fields.values())


# --- anything at all -----------------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    ["web", "store", "schedule", "providers", "tasks", "include", "name", "p", "max", "5s", "a", "[key]"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | WORDS
CONFIGS = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner), max_leaves=8)


def settles(text: str) -> None:
    for problem in told(text):
        assert "\n" not in problem
        problem.encode()


@hypothesis.settings(max_examples=60, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@given(st.dictionaries(WORDS, CONFIGS))
def test_any_data_is_a_config_or_mistakes(data: object) -> None:
    settles(yaml.safe_dump(data))


@hypothesis.settings(max_examples=60, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_a_config_or_mistakes(text: str) -> None:
    settles(text)
