"""Config meets specs: what fits, and what is said of what does not."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from poller.app import load_config
from poller.config.loading import Loaded
from poller.config.watchlist import EntryReader
from poller.domain.errors import ConfigError
from poller.domain.task import ADDED, Entry
from poller.providers.binding import bind, entry_check
from poller.providers.credentials.forms import AccessKey, AuthToken, Basic, Bearer, HeaderCredential
from poller.providers.credentials.source import NoCredentialsError
from tests.providers.authority import Authority
from tests.providers.credentials.doubles import opened

KEYS = {"access_key_id": "id", "access_key_secret": "secret-of-mine"}
HUAWEI = {"access_key": "id", "secret_key": "secret-of-mine"}
SEARCH = {"kind": "alibaba-opensearch", "region": "cn-hangzhou", "credentials": KEYS}
STUDIO = {"kind": "huawei-dlf", "region": "cn-north-1", "credentials": HUAWEI, "params": {"project_id": "p"}}
SPEC = {
    "operations": {"job": {"path": "/jobs/{id}", "status": "s", "states": {"succeeded": ["ok"], "failed": ["bad"]}}}
}
JOBS = {"kind": "http", "endpoint": "https://jobs.example.com/api", "spec": SPEC}
FULL = {"appGroupIdentity": "a", "functionName": "f", "instanceName": "i", "generation": 1}


def load(folder: Path, providers: dict[str, Any], tasks: list[dict[str, Any]] | None = None, **options: Any) -> Loaded:
    path = folder / "poller.yaml"
    path.write_text(yaml.safe_dump({"providers": providers, "tasks": tasks or []}, sort_keys=False), "utf-8")
    return load_config(path, env=options.get("env", {}), skip_secrets=options.get("skip_secrets", False))


def mistakes(
    folder: Path, providers: dict[str, Any], tasks: list[dict[str, Any]] | None = None, **options: Any
) -> list[str]:
    """The mistakes without file and line."""
    with pytest.raises(ConfigError) as caught:
        load(folder, providers, tasks, **options)
    assert all(problem.line > 0 for problem in caught.value.problems)
    return [f"{problem.key}: {problem.text}" for problem in caught.value.problems]


def task(provider: str, operation: str, **params: Any) -> dict[str, Any]:
    return {"name": "t", "provider": provider, "operation": operation, "params": params}


@pytest.mark.parametrize(
    ("provider", "endpoint"),
    [
        (SEARCH, "https://opensearch.cn-hangzhou.aliyuncs.com"),
        (STUDIO, "https://dayu-dlf.cn-north-1.myhuaweicloud.com"),
        ({**STUDIO, "kind": "huawei-modelarts"}, "https://modelarts.cn-north-1.myhuaweicloud.com"),
        ({**SEARCH, "endpoint": "http://127.0.0.1:9818/prefix"}, "http://127.0.0.1:9818/prefix"),
        (JOBS, "https://jobs.example.com/api"),
    ],
)
def test_the_endpoint_follows_from_the_region_unless_given(
    tmp_path: Path, provider: dict[str, Any], endpoint: str
) -> None:
    """The documented hosts."""
    assert str(bind(load(tmp_path, {"p": provider}))["p"].endpoint) == endpoint


@pytest.mark.parametrize(
    ("provider", "credentials", "expected"),
    [
        (SEARCH, KEYS, AccessKey("id", "secret-of-mine")),
        (SEARCH, {**KEYS, "security_token": "tok"}, AccessKey("id", "secret-of-mine", "tok")),
        (SEARCH, {**KEYS, "security_token": {"env": "NO", "optional": True}}, AccessKey("id", "secret-of-mine")),
        (STUDIO, {"token": "tok"}, AuthToken("tok")),
        (STUDIO, {**HUAWEI, "security_token": "tok"}, AccessKey("id", "secret-of-mine", "tok")),
        (JOBS, {"bearer": {"env": "TOKEN"}}, Bearer("from-env")),
        (JOBS, {"basic": {"username": "u", "password": {"env": "TOKEN"}}}, Basic("u", "from-env")),
        (JOBS, {"header": {"name": "X-Key", "value": "v-1234"}}, HeaderCredential("X-Key", "v-1234")),
        (JOBS, {"token": "tok"}, AuthToken("tok")),
    ],
)
def test_every_form_of_credentials(
    tmp_path: Path, provider: dict[str, Any], credentials: dict[str, Any], expected: object
) -> None:
    """Written out, from the environment, with and without a session token."""
    env = {"TOKEN": "from-env\n"}
    loaded = load(tmp_path, {"p": {**provider, "credentials": credentials}}, env=env)
    origin = bind(loaded, env)["p"].credentials
    assert (origin.name, opened(origin).current()) == ("config", expected)


def test_left_out_credentials_come_from_the_vendors_variables(tmp_path: Path) -> None:
    """As the vendors' own tools read them; an API of one's own is then asked without."""
    env = {"HUAWEICLOUD_SDK_AK": "ak", "HUAWEICLOUD_SDK_SK": "sk-1234"}
    bare = {key: value for key, value in STUDIO.items() if key != "credentials"}
    bindings = bind(load(tmp_path, {"p": bare, "q": JOBS}, env=env), env)
    assert opened(bindings["p"].credentials).current() == AccessKey("ak", "sk-1234")
    assert opened(bindings["q"].credentials).current() is None
    assert [binding.credentials.name for binding in bindings.values()] == ["environment", "none"]


RRSA_ENV = {
    "ALIBABA_CLOUD_ROLE_ARN": "acs:ram::1:role/r",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "acs:ram::1:oidc-provider/p",
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE": "tokens/oidc",
}
NO_KEYS = {"kind": "alibaba-opensearch", "region": "cn-hangzhou"}
AGENCY_ONLY = {"kind": "huawei-dlf", "region": "cn-north-1"}
ROLE = {"role_arn": "acs:ram::1:role/r", "oidc_provider_arn": "p", "oidc_token_file": "tokens/oidc"}
USER = {"username": "ann", "password": "secret-of-mine", "domain": "acme"}


@pytest.mark.parametrize(
    ("provider", "env", "name"),
    [
        (NO_KEYS, RRSA_ENV, "RRSA role acs:ram::1:role/r"),
        (NO_KEYS, {"ALIBABA_CLOUD_ECS_METADATA": "my-role"}, "ECS role my-role"),
        (NO_KEYS, {"ALIBABA_CLOUD_CREDENTIALS_URI": "http://127.0.0.1:1/secret-of-mine"}, "credentials URI"),
        (AGENCY_ONLY, {}, "ECS agency"),
        ({**NO_KEYS, "credentials": ROLE}, {}, "RRSA role acs:ram::1:role/r"),
        ({**NO_KEYS, "credentials": {"ecs_role": {"env": "R"}}}, {"R": "mine"}, "ECS role mine"),
        ({**NO_KEYS, "credentials": {"credentials_uri": "http://127.0.0.1:1/secret-of-mine"}}, {}, "credentials URI"),
        ({**AGENCY_ONLY, "credentials": {"agency": "ecs"}}, {"HUAWEICLOUD_SDK_AK": "i"}, "ECS agency"),
        ({**STUDIO, "credentials": USER}, {}, "IAM user ann"),
        ({**AGENCY_ONLY, "credentials": {**USER, "project": "cn-north-1"}}, {}, "IAM user ann"),
    ],
)
def test_fetched_credentials_have_a_name_and_ask_nobody_yet(
    tmp_path: Path, provider: dict[str, Any], env: dict[str, str], name: str
) -> None:
    """Written out or by the vendor's variables; paths are relative to the config."""
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens/oidc").write_text("secret-of-mine\n")
    origin = bind(load(tmp_path, {"p": provider}, env=env), env)["p"].credentials
    assert origin.name == name
    with pytest.raises(NoCredentialsError, match=f"^{name}: not fetched yet; "):
        opened(origin).current()


@pytest.mark.parametrize(
    ("provider", "env", "name"),
    [
        (NO_KEYS, {}, "environment, not set"),
        (NO_KEYS, RRSA_ENV, "RRSA role acs:ram::1:role/r"),
        ({**NO_KEYS, "credentials": ROLE}, {}, "RRSA role acs:ram::1:role/r"),
        ({**NO_KEYS, "credentials": {**KEYS, "access_key_id": {"env": "NO"}}}, {}, "config"),
    ],
)
def test_without_secrets_the_origin_is_still_told(
    tmp_path: Path, provider: dict[str, Any], env: dict[str, str], name: str
) -> None:
    """For a check in CI, where neither keys nor token files are there."""
    loaded = load(tmp_path, {"p": provider}, env=env, skip_secrets=True)
    assert bind(loaded, env)["p"].credentials.name == name


ENV_MISTAKES: list[tuple[dict[str, Any], dict[str, str], str]] = [
    (
        AGENCY_ONLY,
        {"HUAWEICLOUD_SDK_SK": "secret-of-mine"},
        "providers.p.credentials: missing, and the environment has HUAWEICLOUD_SDK_SK without HUAWEICLOUD_SDK_AK",
    ),
    (
        NO_KEYS,
        RRSA_ENV,
        "providers.p.credentials: ALIBABA_CLOUD_OIDC_TOKEN_FILE: file 'tokens/oidc': does not exist,"
        " a file that holds the secret is allowed",
    ),
    (
        NO_KEYS,
        {"ALIBABA_CLOUD_CREDENTIALS_URI": "secret-of-mine"},
        "providers.p.credentials: ALIBABA_CLOUD_CREDENTIALS_URI: not a URI like http://host:port/path",
    ),
    (
        NO_KEYS,
        {"ALIBABA_CLOUD_ACCESS_KEY_ID": "i", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret-of-mine\nx"},
        "providers.p.credentials: access key secret: it holds a line break or another control character inside,"
        " credentials that can be sent are allowed in the environment",
    ),
    (
        {**JOBS, "credentials": {"bearer": "secret-of-mine\nx"}},
        {},
        "providers.p.credentials: bearer token: it holds a line break or another control character inside,"
        " credentials that can be sent are allowed",
    ),
    (
        {**NO_KEYS, "credentials": ROLE},
        {},
        "providers.p.credentials.oidc_token_file: file 'tokens/oidc': does not exist,"
        " a file that holds the secret is allowed",
    ),
    (
        {**AGENCY_ONLY, "credentials": USER},
        {},
        "providers.p.credentials.project: missing, a project's name is required here, or its id at params.project_id",
    ),
    (
        {**AGENCY_ONLY, "credentials": {"agency": "secret-of-mine"}},
        {},
        "providers.p.credentials.agency: something else, ecs is allowed",
    ),
]


@pytest.mark.parametrize(("provider", "env", "expected"), ENV_MISTAKES)
def test_mistakes_in_credentials_that_are_to_be_fetched(
    tmp_path: Path, provider: dict[str, Any], env: dict[str, str], expected: str
) -> None:
    """Offline, by key or variable."""
    assert mistakes(tmp_path, {"p": provider}, env=env) == [expected]


MISTAKES: list[tuple[str, dict[str, Any], list[dict[str, Any]], list[str]]] = [
    (
        "an unknown kind",
        {"p": {**SEARCH, "kind": "alibaba-opensaerch"}},
        [],
        [
            "providers.p.kind: 'alibaba-opensaerch', one of alibaba-opensearch, http, huawei-dlf,"
            " huawei-modelarts is allowed"
            " (did you mean 'alibaba-opensearch'?)"
        ],
    ),
    (
        "http without a spec",
        {"p": {"kind": "http", "endpoint": "http://h"}},
        [],
        ["providers.p.spec: missing, kind http requires the operations that are asked for"],
    ),
    (
        "a spec beside a built-in kind",
        {"p": {**SEARCH, "spec": SPEC}},
        [],
        ["providers.p.spec: a spec beside kind alibaba-opensearch, one is allowed for kind http"],
    ),
    (
        "neither region nor endpoint",
        {"p": {"kind": "huawei-dlf", "credentials": HUAWEI}},
        [],
        ["providers.p.region: missing, kind huawei-dlf requires a region or an endpoint"],
    ),
    (
        "http without an endpoint",
        {"p": {"kind": "http", "spec": SPEC}},
        [],
        ["providers.p.endpoint: missing, kind http requires it"],
    ),
    (
        "credentials of another vendor",
        {"p": {**SEARCH, "credentials": HUAWEI}},
        [],
        [
            "providers.p.credentials: access_key + secret_key,"
            " access_key_id + access_key_secret (+ security_token); or role_arn + oidc_provider_arn + oidc_token_file"
            " (+ role_session_name); or ecs_role; or credentials_uri is allowed"
        ],
    ),
    (
        "no credentials anywhere",
        {"p": {"kind": "alibaba-opensearch", "region": "r"}},
        [],
        [
            "providers.p.credentials: missing, required here or as variables:"
            " ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET (environment); or ALIBABA_CLOUD_ROLE_ARN,"
            " ALIBABA_CLOUD_OIDC_PROVIDER_ARN, ALIBABA_CLOUD_OIDC_TOKEN_FILE (RRSA); or ALIBABA_CLOUD_ECS_METADATA"
            " (ECS role); or ALIBABA_CLOUD_CREDENTIALS_URI (credentials URI)"
        ],
    ),
    (
        "a provider's unknown parameter",
        {"p": {**STUDIO, "params": {"projekt_id": "p"}}},
        [],
        [
            "providers.p.params.projekt_id: 'projekt_id', one of project_id, task_id, workspace is allowed"
            " (did you mean 'project_id'?)"
        ],
    ),
    (
        "an unknown operation",
        {"p": STUDIO},
        [task("p", "system-tasks", task_id="x")],
        ["tasks[0].operation: 'system-tasks', system-task is allowed (did you mean 'system-task'?)"],
    ),
    (
        "a missing parameter",
        {"p": STUDIO},
        [task("p", "system-task")],
        ["tasks[0].params.task_id: missing, operation system-task requires it"],
    ),
    (
        "an unknown parameter",
        {"p": STUDIO},
        [task("p", "system-task", task_id="x", worspace="w")],
        [
            "tasks[0].params.worspace: 'worspace', one of project_id, task_id, workspace is allowed"
            " (did you mean 'workspace'?)"
        ],
    ),
    (
        "a parameter that is no segment",
        {"p": SEARCH},
        [task("p", "function-task", **{**FULL, "instanceName": ".."})],
        ["tasks[0].params.instanceName: '..' cannot be a path segment: give a value other than '', '.' and '..'"],
    ),
    (
        "a spec with an unknown key",
        {"p": {**JOBS, "spec": {"operations": {"job": {**SPEC["operations"]["job"], "pogress": "x"}}}}},
        [],
        ["providers.p.spec.operations.job.pogress: unknown key, one of about, body, "],
    ),
    (
        "a spec with a misspelt key deep down",
        {"p": {**JOBS, "spec": {"operations": {"job": {**SPEC["operations"]["job"], "subtasks": {"item": "x"}}}}}},
        [],
        [
            "providers.p.spec.operations.job.subtasks.items: missing, it is required",
            "providers.p.spec.operations.job.subtasks.item: unknown key, one of items, name, status is allowed",
        ],
    ),
    (
        "a spec with an unknown outcome",
        {"p": {**JOBS, "spec": {**SPEC, "outcomes": [{"http": 404, "outcome": "gone"}]}}},
        [],
        ["providers.p.spec.outcomes[0].outcome: 'gone', one of answered, missing, "],
    ),
    (
        "a spec with a bad expression",
        {"p": {**JOBS, "spec": {"operations": {"job": {**SPEC["operations"]["job"], "status": "a["}}}}},
        [],
        ["providers.p.spec.operations.job.status: 'a['"],
    ),
    (
        "a spec without operations",
        {"p": {**JOBS, "spec": {"operations": {}}}},
        [],
        ["providers.p.spec.operations: none, at least one operation is required"],
    ),
    (
        "a spec that can tell no failure",
        {
            "p": {
                **JOBS,
                "spec": {"operations": {"job": {"path": "/j", "status": "s", "states": {"succeeded": ["ok"]}}}},
            }
        },
        [],
        ["providers.p.spec.operations.job.states: no status that means failed"],
    ),
    (
        "a state that no provider reports",
        {"p": {**JOBS, "spec": {"operations": {"job": {**SPEC["operations"]["job"], "states": {"done": ["ok"]}}}}}},
        [],
        ["providers.p.spec.operations.job.states.done: "],
    ),
]


@pytest.mark.parametrize(
    ("providers", "tasks", "expected"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES]
)
def test_mistakes_are_told_where_they_are(
    tmp_path: Path, providers: dict[str, Any], tasks: list[dict[str, Any]], expected: list[str]
) -> None:
    """With line, key, what was found and what is allowed."""
    told = mistakes(tmp_path, providers, tasks)
    assert len(told) == len(expected)
    for line, start in zip(told, expected, strict=True):
        assert line.startswith(start)
        assert "secret-of-mine" not in line
        assert "Input should" not in line


def test_all_mistakes_come_in_one_go(tmp_path: Path) -> None:
    """Those of the file's form and those of its meaning."""
    providers = {"p": {**SEARCH, "rate_limit": "fast"}, "q": {**STUDIO, "kind": "dlf"}, "r": STUDIO}
    told = mistakes(tmp_path, providers, [task("r", "system-task"), task("s", "x") | {"name": "u"}])
    assert [line.split(":")[0] for line in told] == [
        "providers.p.rate_limit",
        "providers.q.kind",
        "tasks[0].params.task_id",
        "tasks[1].provider",
    ]


def test_absent_secrets_can_be_overlooked(tmp_path: Path) -> None:
    """For a check in CI, where there are none; everything else is still checked."""
    bare = {key: value for key, value in STUDIO.items() if key != "credentials"}
    loaded = load(tmp_path, {"p": bare, "q": {**JOBS, "credentials": {"bearer": {"env": "NO"}}}}, skip_secrets=True)
    assert list(loaded.settings.providers) == ["p", "q"]
    told = mistakes(tmp_path, {"p": {**bare, "kind": "dlf"}}, skip_secrets=True)
    assert len(told) == 1


def test_a_providers_defaults_need_not_fit_every_operation(tmp_path: Path) -> None:
    """One provider's parameters serve operations that know different ones."""
    provider = {**SEARCH, "params": FULL}
    loaded = load(
        tmp_path, {"p": provider}, [task("p", "function-instance"), task("p", "function-task") | {"name": "u"}]
    )
    assert loaded.entries["t"].params["generation"] == "1"


# --- what a connection is made with --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "env", "expected"),
    [
        ({"proxy": "https://u:hunter2@h:1"}, {},
         "proxy: a proxy by https, http://[user:password@]host:port or none is allowed"),
        ({"proxy": {"env": "P"}}, {"P": "ftp://u:hunter2@h"},
         "proxy: a proxy by ftp, http://[user:password@]host:port or none is allowed"),
        ({}, {"HTTPS_PROXY": "socks5://u:hunter2@h"},
         "proxy: a proxy by socks5 in the environment variable HTTPS_PROXY,"
         " http://[user:password@]host:port or none is allowed"),
        ({"tls": {"ca_file": "none.pem"}}, {},
         "tls.ca_file: 'DIR/none.pem' does not exist, a file that can be read is allowed"),
        ({"tls": {"ca_file": "text"}}, {},
         "tls.ca_file: no certificate in 'DIR/text', certificates in PEM are allowed"),
        ({"tls": {"cert_file": "ca.pem"}}, {}, "tls.cert_file: no private key in 'DIR/ca.pem', one in PEM is allowed"),
        ({"tls": {"cert_file": "client.pem", "key_file": "other.pem"}}, {},
         "tls.key_file: 'DIR/other.pem' is not the key of the certificate in cert_file,"
         " the one that belongs to it is allowed"),
        ({"endpoint": "http://h", "tls": {"ca_file": "ca.pem"}}, {},
         "tls: given for http://, an endpoint with https:// is allowed"),
    ],
)  # fmt: skip
def test_a_connection_that_cannot_be_made_is_a_mistake(
    tmp_path: Path, provider: dict[str, Any], env: dict[str, str], expected: str
) -> None:
    """At the line of the key, before the daemon starts; without a word of what may be a password."""
    made_files(tmp_path)
    (told,) = mistakes(tmp_path, {"p": {**JOBS, **provider}}, env=env)
    assert told.replace(str(tmp_path), "DIR") == f"providers.p.{expected}"


def made_files(folder: Path) -> None:
    authority = Authority(folder)
    assert authority.file.name == "ca.pem"
    authority.issue("client.pem")
    authority.issue("other.pem")
    (folder / "text").write_text("text")


def test_what_a_connection_is_made_with_may_be_as_it_should(tmp_path: Path) -> None:
    """A key in the certificate's file, and a proxy by whatever secret."""
    made_files(tmp_path)
    tls = {"ca_file": "ca.pem", "cert_file": "client.pem", "server_name": "api.test", "min_version": "TLS13"}
    provider = {**JOBS, "tls": tls, "proxy": {"env": "P"}, "connect_timeout": "3s"}
    env = {"P": "http://u:p@proxy.test:3128"}
    binding = bind(load(tmp_path, {"p": provider}, env=env), env)["p"]
    assert str(binding.proxy().url) == "http://proxy.test:3128"  # type: ignore[union-attr]
    assert binding.settings.tls.cert_file == tmp_path / "client.pem"


def test_files_of_tls_are_overlooked_where_secrets_are(tmp_path: Path) -> None:
    """A check in CI has neither the key nor, mostly, the rest."""
    provider = {**JOBS, "tls": {"ca_file": "ca.pem", "cert_file": "none.pem"}, "proxy": {"env": "NO"}}
    assert list(load(tmp_path, {"p": provider}, skip_secrets=True).settings.providers) == ["p"]


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("system-task", {"task_id": "1"}),
        ("system-tasks", {"task_id": "1"}),
        ("system-task", {"task": "1"}),
        ("system-task", {"task_id": ""}),
        ("system-task", {"task_id": ".."}),
    ],
)
def test_an_entry_in_no_file_is_checked_as_one_in_a_file(
    tmp_path: Path, operation: str, params: dict[str, str]
) -> None:
    """The same is found, in the same words."""
    loaded = load(tmp_path, {"p": STUDIO})
    kinds = {name: binding.kind for name, binding in bind(loaded, {}).items()}
    entry = EntryReader(loaded.settings).read(task("p", operation, **params), ADDED)
    assert isinstance(entry, Entry)
    found = [f"tasks[0].{mistake}" for mistake in entry_check(loaded.settings, kinds)(entry)]
    if found:
        assert sorted(mistakes(tmp_path, {"p": STUDIO}, [task("p", operation, **params)])) == sorted(found)
    else:
        assert load(tmp_path, {"p": STUDIO}, [task("p", operation, **params)]).entries["t"].params == entry.params
