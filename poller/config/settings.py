"""The config file's settings: everything in it but the watchlist, and what holds where a key is left out.

Every key that is given has a value: nothing at all (``null``) is a mistake everywhere.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from poller.config.secret import Secret
from poller.config.values import (
    Address,
    Credentials,
    Endpoint,
    FilePath,
    Given,
    GivenWait,
    HeaderName,
    HeaderValue,
    HostName,
    Lease,
    Listens,
    Name,
    Proxy,
    Rate,
    RawMapping,
    Region,
    RoutePrefix,
    ScalarText,
    SecretValue,
    SigningSecrets,
    Span,
    Store,
    Surroundings,
    Wait,
    WebhookUrl,
)
from poller.config.wording import KeyPath, Mistake, mistakes, one_of
from poller.domain.delivery import Filter
from poller.domain.durations import format_duration
from poller.domain.state import State
from poller.domain.task import Policy

STORE = "sqlite:///poller.db"
"""The store when none is configured; beside the config file, as every relative path."""

WEBHOOK_KEYS = ("url", "secret", "headers", "timeout", "max_in_flight", "proxy", "tls")
"""The keys of a sink that only a webhook has."""

StateName = Literal["pending", "running", "succeeded", "failed", "stopped", "missing", "expired"]
"""What a task may go into."""

_POLICY = Policy()


class Section(BaseModel):
    """A mapping of the config file. Unknown keys are mistakes, and no value is taken for one of another type."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        arbitrary_types_allowed=True,
    )


class Web(Section):
    """The web server: metrics, API and status page."""

    listen: Listens = (Address("127.0.0.1", 9817),)
    """HOST:PORT or unix:PATH to listen on, or a list of them; without a host every address, port 0: any free port."""
    config_file: FilePath = None
    """A file with TLS and basic auth, as in the Prometheus exporter-toolkit; read again when it changes."""
    route_prefix: RoutePrefix = "/"
    """The path below which everything is served, as a reverse proxy may want it."""
    api_token: SecretValue = None
    """Bearer token for requests that change something; without it they are refused."""


class Log(Section):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important level that is logged."""
    format: Literal["auto", "console", "json", "logfmt"] = "auto"
    """auto: console on a terminal, json elsewhere."""


class MissingAfter(Section):
    """When "no such task" is believed: after so many polls in a row, over at least so long."""

    polls: int = Field(_POLICY.missing_polls, ge=1)
    """Answers in a row; at least 1."""
    time: Span = _POLICY.missing_time
    """From the first of them to the last, at least."""


class Schedule(Section):
    """When to ask, and when to draw conclusions. A provider and a task may override each key."""

    initial: Wait = _POLICY.initial
    """Shortest delay between polls of one task; at most max."""
    max: Wait = _POLICY.max
    """Longest delay between polls of one task."""
    growth: float = Field(_POLICY.growth, ge=1.0, allow_inf_nan=False)
    """What the delay is multiplied by from poll to poll; it starts anew when the state changes."""
    jitter: float = Field(_POLICY.jitter, ge=0.0, le=1.0)
    """Share of each delay, 0 to 1, by which it is shortened or lengthened at random."""
    deadline: Wait = _POLICY.deadline
    """From the reported start of a run, else from first sight; past it the task is overdue."""
    unreachable_after: Wait = _POLICY.unreachable_after
    """No answer of any kind for so long: unreachable."""
    stalled_after: Wait = _POLICY.stalled_after
    """Progress has moved before, but not for so long: stalled."""
    give_up_after: Wait = _POLICY.give_up_after
    """No answer for so long: expired."""
    missing_after: MissingAfter = MissingAfter()
    """When "no such task" is believed."""
    adaptive: bool = _POLICY.adaptive
    """Whether requests are placed where the end is likely, once that can be forecast."""

    def over(self, below: Policy) -> Policy:
        """``below`` with the keys given here in their place."""
        given = {key: getattr(self, key) for key in self.model_fields_set - {"missing_after"}}
        missing = {f"missing_{key}": getattr(self.missing_after, key) for key in self.missing_after.model_fields_set}
        return replace(below, **given, **missing) if given or missing else below

    def contradictions(self, below: Policy) -> tuple[Mistake, ...]:
        """The mistakes that only show when this is merged over ``below``, each at the key given here that makes it."""
        merged = self.over(below)
        if merged.initial <= merged.max:
            return ()
        initial, longest = format_duration(merged.initial), format_duration(merged.max)
        if "initial" in self.model_fields_set:
            return (Mistake(("initial",), f"{initial}, at most max, here {longest}, is allowed"),)
        if "max" in self.model_fields_set:
            return (Mistake(("max",), f"{longest}, at least initial, here {initial}, is allowed"),)
        return ()


class Retention(Section):
    """How long a finished task stays in /metrics and lists."""

    succeeded: Span = 86_400.0
    """After it succeeded."""
    unsuccessful: Span = 604_800.0
    """After any other end."""


class CredentialEndpoints(Section):
    """Servers to fetch credentials from, in place of the vendor's: partitions, private networks, tests."""

    sts: Endpoint = None
    """Where Alibaba Cloud roles are assumed."""
    metadata: Endpoint = None
    """The metadata server of either vendor's ECS instances."""
    iam: Endpoint = None
    """Where Huawei Cloud users get a token."""


class TlsClient(Section):
    """How connections to a provider are encrypted. The files are read again when they change."""

    ca_file: FilePath = None
    """The authorities, in PEM, whose certificates the provider may show, in place of the system's."""
    cert_file: FilePath = None
    """A certificate to show to the provider, in PEM, and behind it those that lead to one that it trusts."""
    key_file: FilePath = None
    """The private key of that certificate, in PEM, not encrypted; left out, it is in cert_file as well."""
    server_name: HostName = None
    """The name that the provider's certificate must have, in place of the one in the endpoint."""
    min_version: Literal["TLS12", "TLS13"] = "TLS12"
    """The oldest version of TLS that is spoken."""

    def contradictions(self) -> tuple[Mistake, ...]:
        """The mistakes that no key makes alone."""
        if self.key_file is not None and self.cert_file is None:
            return (Mistake(("key_file",), "given without cert_file, both or neither is allowed"),)
        return ()


class Provider(Section):
    """A connection to a provider's API. Its kind's spec says which operations, parameters and credentials there are."""

    kind: Given
    """Which API it speaks: a built-in one, one of your own from provider_specs, or http with a spec right here."""
    region: Region = None
    """The vendor's region, from which the endpoint follows."""
    endpoint: Endpoint = None
    """https://host[:port][/prefix]. Beside a region: polls go here, and the region serves for fetching credentials."""
    credentials: Credentials = None
    """What requests are signed with, as the kind wants it. Left out: the vendor's own default chain."""
    credential_endpoints: CredentialEndpoints = CredentialEndpoints()
    """Where credentials are fetched, where that is not the vendor's own server."""
    params: dict[Given, ScalarText] = Field(default_factory=dict)
    """Defaults for the parameters of this provider's tasks."""
    rate_limit: Rate = 50.0
    """Polls sent, at most."""
    max_in_flight: int = Field(32, ge=1, le=10_000)
    """Polls under way at once, at most."""
    timeout: Wait = 10.0
    """For the whole of one poll."""
    connect_timeout: GivenWait = None
    """For getting a connection, TLS and the way through a proxy included; at most timeout, which is the default."""
    proxy: Proxy = None
    """http://[user:password@]host:port, or none. Left out: as HTTPS_PROXY, HTTP_PROXY and NO_PROXY say."""
    tls: TlsClient = TlsClient()
    """How connections are encrypted, and what is trusted."""
    auth_pause: Wait = 300.0
    """How long the connection pauses when its credentials are refused."""
    max_pause: Wait = 3_600.0
    """No Retry-After is followed for longer."""
    schedule: Schedule = Schedule()
    """Overrides of the schedule for this provider's tasks."""
    spec: RawMapping = None
    """For kind http: the operations, and how their answers are read."""

    def contradictions(self, below: Policy) -> Iterator[Mistake]:
        """The mistakes that no key makes alone; ``below`` is the schedule that its own overrides."""
        yield from _below(("schedule",), self.schedule.contradictions(below))
        yield from _below(("tls",), self.tls.contradictions())
        if self.connect_timeout is not None and self.connect_timeout > self.timeout:
            given, whole = format_duration(self.connect_timeout), format_duration(self.timeout)
            yield Mistake(("connect_timeout",), f"{given}, at most timeout, here {whole}, is allowed")

    def secrets(self) -> Iterator[tuple[tuple[str, ...], Secret]]:
        """Every secret among the credentials, with its path below the provider."""
        for key, credential in (self.credentials or {}).items():
            if isinstance(credential, Secret):
                yield ("credentials", key), credential
            else:
                yield from ((("credentials", key, inner), secret) for inner, secret in credential.items())


class Sink(Section):
    """Another system that is told of transitions. Without any of the filters it is told of all."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"kind": {"const": "file"}}},
            "then": {"required": ["path"], "properties": dict.fromkeys(WEBHOOK_KEYS, False)},
            "else": {"required": ["url"], "properties": {"path": False}},
        }
    )

    kind: Literal["webhook", "file"]
    """How it is told: a POST for each event, or a line of a file."""
    url: WebhookUrl = None
    """Where a webhook's events are posted: https://host[:port]/path, a secret if a key is in it."""
    secret: SigningSecrets = ()
    """What they are signed with, as Standard Webhooks has it (whsec_...); a list while it is rotated. Left out: not."""
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    """Headers to send along; their values may be secrets."""
    path: FilePath = None
    """The file that gets a line of JSON for each event."""
    states: list[StateName] = Field(default_factory=list, min_length=1)
    """Only transitions to these states."""
    providers: list[Name] = Field(default_factory=list, min_length=1)
    """Only those of tasks of these providers."""
    operations: list[Given] = Field(default_factory=list, min_length=1)
    """Only those of tasks with these operations."""
    labels: dict[Given, ScalarText] = Field(default_factory=dict, min_length=1)
    """Only those of tasks with all of these labels."""
    initial: bool = True
    """Whether it is told of tasks that had ended before they were first seen."""
    timeout: Wait = 10.0
    """For the whole of one attempt."""
    max_in_flight: int = Field(4, ge=1, le=1_000)
    """Attempts under way at once, at most."""
    give_up_after: Wait = 86_400.0
    """When an event has failed, or was held back by one before it, for so long, it is given up; at most history."""
    proxy: Proxy = None
    """http://[user:password@]host:port, or none. Left out: as HTTPS_PROXY, HTTP_PROXY and NO_PROXY say."""
    tls: TlsClient = TlsClient()
    """How connections are encrypted, and what is trusted."""

    @property
    def filter(self) -> Filter:
        """Which transitions it is told of."""
        return Filter(
            states=frozenset(map(State, self.states)),
            providers=frozenset(self.providers),
            operations=frozenset(self.operations),
            labels=self.labels,
            initial=self.initial,
        )

    def contradictions(self, providers: Iterable[str]) -> Iterator[Mistake]:
        """The mistakes that no key makes alone; ``providers`` are those that there are."""
        needed, strange = ("path", WEBHOOK_KEYS) if self.kind == "file" else ("url", ("path",))
        if needed not in self.model_fields_set:
            yield Mistake((needed,), f"missing, kind {self.kind} needs it")
        for key in strange:
            if key in self.model_fields_set:
                yield Mistake((key,), f"given for kind {self.kind}, which has none")
        for index, name in enumerate(self.providers):
            if name not in providers:
                yield Mistake(("providers", index), one_of(name, providers))
        yield from _below(("tls",), self.tls.contradictions())

    def secrets(self) -> Iterator[tuple[KeyPath, Secret]]:
        """Every secret in it, with its path below the sink."""
        if self.url is not None:
            yield ("url",), self.url
        for index, secret in enumerate(self.secret):
            yield ("secret", index) if len(self.secret) > 1 else ("secret",), secret
        yield from ((("headers", name), secret) for name, secret in self.headers.items())
        if isinstance(self.proxy, Secret):
            yield ("proxy",), self.proxy


class Replicas(Section):
    """Several daemons on one PostgreSQL store, each of which watches some of the tasks."""

    lease: Lease = 15.0
    """After a replica has died, the others have taken its tasks over within so long; at least 2s."""


class TaskMetrics(Section):
    """Which tasks have series of their own in /metrics. Totals count all of them, whatever stands here."""

    max_tasks: Annotated[int, Field(ge=0, le=1_000_000)] = 20_000
    """So many tasks at most, the first by name; how many are left out, a metric tells."""
    tasks: Literal["active", "all", "none"] = "all"
    """Those that are polled, also those that have ended, or none."""


class Settings(Section):
    """The settings of poller. Relative paths are relative to the file they stand in."""

    web: Web = Web()
    """The web server."""
    store: Store = Field(STORE, validate_default=True, repr=False)
    """Where what must not be lost is kept: sqlite:///FILE, or postgresql://USER@HOST/DATABASE for several replicas.

    Also a mapping: ``url``, and ``password``, a secret.
    """
    replicas: Replicas = Replicas()
    """How several daemons on one PostgreSQL store share the tasks out."""
    log: Log = Log()
    """The log."""
    schedule: Schedule = Schedule()
    """When to ask: the defaults for every task."""
    retention: Retention = Retention()
    """How long finished tasks are shown."""
    metrics: TaskMetrics = TaskMetrics()
    """Which tasks have series of their own in /metrics."""
    history: Wait = 7_776_000.0
    """How long transitions, events of sinks, and tasks no longer watched, stay in the store."""
    providers: dict[Name, Provider] = Field(default_factory=dict)
    """The connections to providers, by names of your own."""
    provider_specs: list[Given] = Field(default_factory=list)
    """Files that describe APIs, or folders of such files (`*.yaml`): kinds of your own, for providers to name."""
    sinks: dict[Name, Sink] = Field(default_factory=dict)
    """Other systems that are told of transitions, by names of your own."""
    include: list[Given] = Field(default_factory=list)
    """More files, or patterns of their names: `.yaml` with a list under `tasks`, `.jsonl` with one task a line."""

    def policy(self, provider: str | None = None) -> Policy:
        """The schedule for a provider's tasks, or for all tasks, as far as they do not override it themselves."""
        policy = self.schedule.over(_POLICY)
        return policy if provider is None else self.providers[provider].schedule.over(policy)

    def contradictions(self) -> Iterator[Mistake]:
        """The mistakes that no key makes alone."""
        yield from _below(("schedule",), self.schedule.contradictions(_POLICY))
        policy = self.policy()
        for name, provider in self.providers.items():
            yield from _below(("providers", name), provider.contradictions(policy))
        for name, sink in self.sinks.items():
            yield from _below(("sinks", name), sink.contradictions(self.providers))
            if sink.give_up_after > self.history and "give_up_after" in sink.model_fields_set:
                longest = format_duration(self.history)
                text = f"{format_duration(sink.give_up_after)}, at most history, here {longest}, is allowed"
                yield Mistake(("sinks", name, "give_up_after"), text)

    def unresolved(self) -> Iterator[Mistake]:
        """The secrets that could not be had and are not optional."""
        for path, secret in self.secrets():
            if secret.missing is not None:
                yield Mistake(path, secret.missing)

    def secrets(self) -> Iterator[tuple[KeyPath, Secret]]:
        """Every secret, with its path."""
        if self.store.password is not None:
            yield ("store", "password"), self.store.password
        if self.web.api_token is not None:
            yield ("web", "api_token"), self.web.api_token
        for name, provider in self.providers.items():
            yield from ((("providers", name, *path), secret) for path, secret in provider.secrets())
            if isinstance(provider.proxy, Secret):
                yield ("providers", name, "proxy"), provider.proxy
        for name, sink in self.sinks.items():
            yield from ((("sinks", name, *path), secret) for path, secret in sink.secrets())


def parse_settings(
    data: Mapping[str, object], around: Surroundings, model: type[BaseModel]
) -> tuple[Settings, tuple[Mistake, ...]]:
    """The settings in ``data``, and every mistake in them; ``model`` describes the whole of the file, for the hints.

    Where there are mistakes, the settings are those that the rest of the data makes: a wrong value's default stands,
    and what lacks something that it needs is not there.
    """
    try:
        return Settings.model_validate(data, context=around), ()
    except ValidationError as error:
        wrong = mistakes(error, model)
    settings, _ = parse_settings(_pruned(data, [mistake.path for mistake in wrong]), around, model)
    return settings, wrong


def _pruned(data: Mapping[str, object], wrong: Iterable[KeyPath]) -> dict[str, object]:
    """``data`` without the values at the paths ``wrong``; what is not there takes along what it is missing from."""
    below: dict[str | int, list[KeyPath]] = {}
    for path in wrong:
        below.setdefault(path[0], []).append(path[1:])
    kept = {key: _kept(value, below[key]) if key in below else value for key, value in data.items()}
    return {key: value for key, value in kept.items() if value is not None or key not in below}


def _kept(value: object, wrong: list[KeyPath]) -> object:
    """What is left of ``value``; None when nothing is."""
    if any(not path for path in wrong):
        return None
    if isinstance(value, dict):
        return _pruned(value, wrong) if all(path[0] in value for path in wrong) else None
    indexes = {path[0] for path in wrong}
    return [item for index, item in enumerate(value) if index not in indexes] if isinstance(value, list) else None


def _below(path: KeyPath, found_there: Iterable[Mistake]) -> Iterator[Mistake]:
    return (Mistake((*path, *mistake.path), mistake.text) for mistake in found_there)
