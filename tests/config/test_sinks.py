"""What a sink may be, what it means inside, and how mistakes in it are told."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from poller.config.loading import json_schema, load
from poller.config.secret import Secret
from poller.config.settings import Settings, Sink, StateName, parse_settings
from poller.config.values import Surroundings, is_webhook_url
from poller.domain.delivery import Filter
from poller.domain.errors import ConfigError
from poller.domain.state import State

SIGNING = f"whsec_{base64.b64encode(b'k' * 24).decode()}"
ENV = {"URL": "https://hooks.example.com/hunter2?key=hunter2", "SIGNING": SIGNING, "BAD": "hunter2"}
AROUND = Surroundings(Path("/etc/poller"), ENV)
HOOK = {"kind": "webhook", "url": "https://hooks.example.com/poller"}


def parsed(**sink: object) -> Sink:
    settings, wrong = parse_settings({"sinks": {"ops": sink}}, AROUND, Settings)
    assert wrong == ()
    assert list(settings.contradictions()) == []
    return settings.sinks["ops"]


def revealed(secret: Secret | None) -> str | None:
    assert secret is not None
    return secret.reveal()


def test_everything_has_its_documented_default() -> None:
    """A sink that names nothing more gets everything."""
    sink = parsed(**HOOK)
    assert (sink.timeout, sink.max_in_flight, sink.give_up_after, sink.initial) == (10, 4, 86_400, True)
    assert (sink.secret, sink.headers, sink.proxy) == ((), {}, None)
    assert sink.filter == Filter(frozenset(), frozenset(), frozenset(), {})
    assert parsed(kind="file", path="events.jsonl").path == Path("/etc/poller/events.jsonl")


def test_filters_are_read() -> None:
    """As the domain knows them."""
    given = {"states": ["failed"], "operations": ["job"], "labels": {"tier": 1}, "initial": False}
    wanted = Filter(frozenset({State.FAILED}), frozenset(), frozenset({"job"}), {"tier": "1"}, initial=False)
    assert parsed(**HOOK, **given).filter == wanted


def test_the_states_that_can_be_named_are_those_that_a_task_can_go_into() -> None:
    """All but unknown, in which it begins."""
    assert set(get_args(StateName)) == set(State) - {State.UNKNOWN}


def test_address_secrets_and_headers_may_be_secrets_and_show_nowhere() -> None:
    """Also where they stand in the config itself."""
    sink = parsed(
        kind="webhook",
        url={"env": "URL"},
        secret=[{"env": "SIGNING"}, SIGNING],
        headers={"Authorization": {"env": "BAD"}, "X-Team": "ads"},
    )
    assert revealed(sink.url) == ENV["URL"]
    assert [revealed(each) for each in sink.secret] == [SIGNING, SIGNING]
    assert revealed(sink.headers["Authorization"]) == "hunter2"
    for shown in (repr(sink), str(sink), sink.model_dump_json()):
        assert "hunter2" not in shown
        assert SIGNING not in shown
    assert [path for path, _ in sink.secrets()] == [
        *[("url",), ("secret", 0), ("secret", 1)],
        *[("headers", "Authorization"), ("headers", "X-Team")],
    ]


@pytest.mark.parametrize(
    "text",
    ["https://h", "http://127.0.0.1:80/", "https://u:p@h/a?b=c&d", "https://h/%2F/a+b;c?x=%20", "https://[::1]:1/"],
)
def test_addresses_that_events_can_be_sent_to(text: str) -> None:
    """With path, query and login, if they have them."""
    assert is_webhook_url(text)


@pytest.mark.parametrize(
    "text",
    ["", "h", "ftp://h/", "https://", "https:///p", "https://h:0/", "https://h:x/", "https://h/#f", "https://h/ü",
     "https://h/a b", "https://h/\n", "https://[::1/"],
)  # fmt: skip
def test_addresses_that_are_none(text: str) -> None:
    """A fragment is never sent."""
    assert not is_webhook_url(text)


URL_ALLOWED = "https://host[:port]/path is allowed"
SIGNING_ALLOWED = "whsec_ and behind it 24 to 64 bytes in base64 is allowed"


@pytest.mark.parametrize(
    ("sink", "said"),
    [
        ({"kind": "carrier"}, [".kind: 'carrier', one of file, webhook is allowed"]),
        ({}, [".kind: missing, it is required"]),
        ({"kind": "webhook"}, [".url: missing, kind webhook needs it"]),
        ({"kind": "file"}, [".path: missing, kind file needs it"]),
        (
            {"kind": "file", "path": "a", "url": "https://h/", "timeout": "1s"},
            [".timeout: given for kind file, which has none", ".url: given for kind file, which has none"],
        ),
        ({**HOOK, "path": "a"}, [".path: given for kind webhook, which has none"]),
        ({**HOOK, "url": "hunter2"}, [f".url: the config file holds something else, {URL_ALLOWED}"]),
        ({**HOOK, "url": {"env": "BAD"}}, [f".url: environment variable BAD holds something else, {URL_ALLOWED}"]),
        ({**HOOK, "secret": "hunter2"}, [f".secret: the config file holds something else, {SIGNING_ALLOWED}"]),
        ({**HOOK, "secret": []}, [".secret: an empty list, a secret or a list of secrets is allowed"]),
        (
            {**HOOK, "secret": [SIGNING, SIGNING.removeprefix("whsec_"), "whsec_aHVudGVyMg=="]},
            [f".secret[{index}]: the config file holds something else, {SIGNING_ALLOWED}" for index in (1, 2)],
        ),
        ({**HOOK, "headers": {"X Y": "a"}}, [".headers['X Y']: 'X Y', the name of a header is allowed"]),
        (
            {**HOOK, "headers": {"Webhook-Id": "a", "content-type": "b"}},
            [
                ".headers.Webhook-Id: 'Webhook-Id', which poller sets itself, another name is allowed",
                ".headers.content-type: 'content-type', which poller sets itself, another name is allowed",
            ],
        ),
        (
            {**HOOK, "headers": {"X": "hunter2\nY: z"}},
            [".headers.X: the config file holds something else, text on one line is allowed"],
        ),
        (
            {**HOOK, "states": ["faild"]},
            [
                ".states[0]: 'faild', one of expired, failed, missing, pending, running, stopped, succeeded is allowed "
                "(did you mean 'failed'?)"
            ],
        ),
        ({**HOOK, "states": []}, [".states: nothing in it, at least one is required"]),
        ({**HOOK, "providers": ["serch"]}, [".providers[0]: 'serch', search is allowed (did you mean 'search'?)"]),
        ({**HOOK, "give_up_after": "91d"}, [".give_up_after: 91d, at most history, here 90d, is allowed"]),
        ({**HOOK, "max_in_flight": 0}, [".max_in_flight: 0, at least 1 is allowed"]),
        ({**HOOK, "tls": {"key_file": "k"}}, [".tls.key_file: given without cert_file, both or neither is allowed"]),
    ],
)
def test_every_mistake_says_where_it_is_what_was_found_and_what_is_allowed(
    sink: Mapping[str, Any], said: list[str], tmp_path: Path
) -> None:
    """All at once, without quoting what may be a secret."""
    path = tmp_path / "poller.yaml"
    path.write_text(yaml.safe_dump({"providers": {"search": {"kind": "http"}}, "sinks": {"ops": sink}}), "utf-8")
    with pytest.raises(ConfigError) as error:
        load(path, env=ENV)
    found = [f"{problem.key}: {problem.text}" for problem in error.value.problems]
    assert sorted(found) == [f"sinks.ops{text}" for text in said]
    assert "hunter2" not in "".join(found)


def test_a_history_shorter_than_the_patience_that_nobody_gave_is_no_mistake() -> None:
    """What is given up at the end of the history is given up."""
    settings, wrong = parse_settings({"history": "1h", "sinks": {"ops": HOOK}}, AROUND, Settings)
    assert (wrong, list(settings.contradictions())) == ((), [])


def test_a_secret_that_cannot_be_had_is_a_mistake_unless_secrets_are_skipped(tmp_path: Path) -> None:
    """At its line, with all the others; in CI there are none."""
    path = tmp_path / "poller.yaml"
    path.write_text("sinks:\n  ops:\n    kind: webhook\n    url: {env: NOPE}\n    secret: {file: nope}\n", "utf-8")
    with pytest.raises(ConfigError) as error:
        load(path, env={})
    assert [(each.line, each.key) for each in error.value.problems] == [(4, "sinks.ops.url"), (5, "sinks.ops.secret")]
    assert load(path, env={}, skip_secrets=True).settings.sinks["ops"].kind == "webhook"


def test_a_sink_that_names_a_provider_with_mistakes_is_none_itself(tmp_path: Path) -> None:
    """Only the mistake is told, not what follows from it."""
    path = tmp_path / "poller.yaml"
    path.write_text(
        "providers: {search: {region: x}}\nsinks: {ops: {kind: file, path: a, providers: [search]}}\n", "utf-8"
    )
    with pytest.raises(ConfigError) as error:
        load(path, env={})
    assert {each.key for each in error.value.problems} == {"providers.search.kind"}


@pytest.mark.parametrize(
    ("sink", "fits"),
    [
        (HOOK, True),
        ({**HOOK, "url": {"env": "X"}, "secret": [{"file": "a"}, "b"], "headers": {"X": "y"}}, True),
        ({"kind": "file", "path": "a", "states": ["failed"], "give_up_after": "1d"}, True),
        ({"kind": "file"}, False),
        ({"kind": "webhook"}, False),
        ({**HOOK, "path": "a"}, False),
        ({"kind": "file", "path": "a", "url": "https://h/"}, False),
        ({**HOOK, "states": ["over"]}, False),
        ({**HOOK, "colour": "red"}, False),
    ],
)
def test_the_schema_for_editors_takes_what_is_right_and_refuses_what_is_not(
    sink: Mapping[str, Any], fits: bool
) -> None:
    """As far as a schema can tell."""
    schema = json.loads(json.dumps(json_schema()))
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid({"sinks": {"ops": sink}}) is fits
