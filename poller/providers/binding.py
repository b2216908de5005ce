"""A config's providers and entries, bound to the specs of their kinds; and every mistake in what does not fit."""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from structlog.typing import FilteringBoundLogger
from yarl import URL

from poller.config.certificates import UnusableError
from poller.config.loading import Loaded
from poller.config.secret import Secret
from poller.config.settings import Provider, Settings, TlsClient
from poller.config.watchlist import EntryCheck
from poller.config.wording import Mistake, mistakes, one_of
from poller.domain.errors import Problem
from poller.domain.task import Entry
from poller.protocols import Clock
from poller.providers.catalog import ANY_HTTP, inline_kind
from poller.providers.client import HttpProvider
from poller.providers.credentials.source import Means, Origin
from poller.providers.credentials.static import no_origin
from poller.providers.credentials.table import (
    Form,
    FormError,
    Link,
    Site,
    allowed_forms,
    default_link,
    form_for,
)
from poller.providers.proxy import ProxySource, no_proxy, proxy_source
from poller.providers.request import encode_segment
from poller.providers.signing import SIGNERS
from poller.providers.spec import Kind, SpecError, SpecModel, fill, template_params
from poller.providers.specfiles import Kinds, all_kinds
from poller.providers.tls import client_context
from poller.providers.transport import HttpTransport


class _UnfitError(Exception):
    """The mistakes that keep a provider from being bound, located below its name."""

    def __init__(self, *wrong: Mistake) -> None:
        super().__init__()
        self.wrong = wrong


@dataclass(frozen=True, slots=True)
class Binding:
    """A provider of the config bound to its kind: everything a connection is made of."""

    name: str
    settings: Provider
    kind: Kind
    endpoint: URL
    credentials: Origin
    proxy: ProxySource = no_proxy

    def connect(self, clock: Clock, logger: FilteringBoundLogger, repeats: bool = True) -> HttpProvider:
        """A connection; nothing is sent before its first poll. See `HttpProvider` for ``repeats``."""
        means = Means(clock, logger.bind(provider=self.name), self._transport)
        return HttpProvider(
            operations=self.kind.operations,
            endpoint=self.endpoint,
            signer=SIGNERS[self.kind.signer],
            credentials=self.credentials.open(means),
            transport=self._transport(),
            clock=clock,
            repeats=repeats,
        )

    def _transport(self) -> HttpTransport:
        """For polls, and for whatever else goes their way."""
        settings = self.settings
        return HttpTransport(
            timeout=settings.timeout,
            max_in_flight=settings.max_in_flight,
            connect_timeout=settings.connect_timeout,
            tls=settings.tls,
            proxy=self.proxy,
        )


def check(loaded: Loaded, env: Mapping[str, str] = os.environ, skip_secrets: bool = False) -> Iterator[Problem]:
    """Every mistake in spec files, and those in providers and entries that only their kinds' specs can tell."""
    known = all_kinds(loaded.specs)
    yield from known.problems
    kinds: dict[str, Kind] = {}
    for name, provider in loaded.settings.providers.items():
        try:
            kinds[name] = _kind(provider, known)
        except _UnfitError as error:
            yield from _located(loaded, name, error)
            continue
        credentials = _Credentials(_folder(loaded), env, skip_secrets)
        for part in (_endpoint, _unknown_params, credentials, _Proxy(env), _Tls(skip_secrets)):
            try:
                part(provider, kinds[name])
            except _UnfitError as error:
                yield from _located(loaded, name, error)
    for entry in loaded.entries.values():
        if entry.provider in kinds:
            params = loaded.settings.providers[entry.provider].params
            wrong = _entry_mistakes(entry, kinds[entry.provider], params)
            yield from (loaded.entry_problem(entry.name, mistake.path, mistake.text) for mistake in wrong)


def entry_check(settings: Settings, kinds: Mapping[str, Kind]) -> EntryCheck:
    """Finds what `check` finds in an entry, for entries that are in no file; ``kinds`` are those of the providers."""

    def found(entry: Entry) -> Iterator[Mistake]:
        return _entry_mistakes(entry, kinds[entry.provider], settings.providers[entry.provider].params)

    return found


def bind(loaded: Loaded, env: Mapping[str, str] = os.environ) -> dict[str, Binding]:
    """The providers of a config that `check` found no mistake in, by name."""
    known, credentials = all_kinds(loaded.specs), _Credentials(_folder(loaded), env, skip_missing=True)
    return {
        name: _bind(name, provider, _kind(provider, known), credentials, env)
        for name, provider in loaded.settings.providers.items()
    }


def _bind(name: str, provider: Provider, kind: Kind, credentials: "_Credentials", env: Mapping[str, str]) -> Binding:
    endpoint = _endpoint(provider, kind)
    return Binding(name, provider, kind, endpoint, credentials(provider, kind), proxy_source(provider, endpoint, env))


def _folder(loaded: Loaded) -> Path:
    """Where relative paths in the config start from."""
    return loaded.files[0].parent.absolute()


def _located(loaded: Loaded, name: str, error: _UnfitError) -> Iterator[Problem]:
    return (loaded.problem(("providers", name, *wrong.path), wrong.text) for wrong in error.wrong)


def _kind(provider: Provider, kinds: Kinds) -> Kind:
    if provider.kind not in kinds.known:
        if kinds.may_be_spoilt(provider.kind):
            raise _UnfitError
        raise _UnfitError(Mistake(("kind",), one_of(provider.kind, kinds.known)))
    if provider.kind != ANY_HTTP:
        if provider.spec is not None:
            raise _UnfitError(
                Mistake(("spec",), f"a spec beside kind {provider.kind}, one is allowed for kind {ANY_HTTP}")
            )
        return kinds.known[provider.kind]
    if provider.spec is None:
        raise _UnfitError(Mistake(("spec",), f"missing, kind {ANY_HTTP} requires the operations that are asked for"))
    return _inline_kind(provider.spec)


def _inline_kind(spec: Mapping[str, Any]) -> Kind:
    try:
        kind = inline_kind(spec)
    except SpecError as error:
        raise _UnfitError(Mistake(("spec", *error.key), str(error))) from None
    except ValidationError as error:
        raise _UnfitError(
            *(Mistake(("spec", *wrong.path), wrong.text) for wrong in mistakes(error, SpecModel))
        ) from None
    if not kind.operations:
        raise _UnfitError(Mistake(("spec", "operations"), "none, at least one operation is required"))
    return kind


def _endpoint(provider: Provider, kind: Kind) -> URL:
    if provider.endpoint is not None:
        return URL(provider.endpoint, encoded=True)
    if kind.endpoint is None:
        raise _UnfitError(Mistake(("endpoint",), f"missing, kind {kind.name} requires it"))
    if provider.region is None and template_params(kind.endpoint):
        raise _UnfitError(Mistake(("region",), f"missing, kind {kind.name} requires a region or an endpoint"))
    return URL(fill(kind.endpoint, {"region": provider.region or ""}), encoded=True)


def _unknown_params(provider: Provider, kind: Kind) -> None:
    wrong = [
        Mistake(("params", name), one_of(name, sorted(kind.params)))
        for name in provider.params
        if name not in kind.params
    ]
    if wrong:
        raise _UnfitError(*wrong)


class _Credentials:
    """Tells where a provider's credentials come from: from what is written in the config, else by the default chain.

    With ``skip_missing`` secrets that cannot be had are no mistake; the connection is then made without credentials.
    """

    def __init__(self, folder: Path, env: Mapping[str, str], skip_missing: bool) -> None:
        self._folder = folder
        self._env = env
        self._skip_missing = skip_missing

    def __call__(self, provider: Provider, kind: Kind) -> Origin:
        site = self._site(provider)
        written = _written(provider)
        return self._from_config(written, kind, site) if written else self._from_chain(kind, site)

    def _site(self, provider: Provider) -> Site:
        endpoints = provider.credential_endpoints.model_dump(exclude_none=True)
        return Site(provider.region, provider.params.get("project_id"), provider.timeout, endpoints, self._env)

    def _from_config(self, written: Mapping[str, Secret], kind: Kind, site: Site) -> Origin:
        form = form_for(kind.signer, set(written))
        if form is None:
            allowed = "; or ".join(allowed_forms(kind.signer))
            raise _UnfitError(Mistake(("credentials",), f"{' + '.join(written)}, {allowed} is allowed"))
        if any(secret.missing for secret in written.values()):
            return no_origin("config")
        try:
            return self._origin(form, written, site, "config")
        except FormError as error:
            raise _UnfitError(Mistake(("credentials", error.key), str(error))) from None
        except ValueError as error:
            raise _UnfitError(Mistake(("credentials",), f"{error}, credentials that can be sent are allowed")) from None

    def _from_chain(self, kind: Kind, site: Site) -> Origin:
        try:
            link = default_link(kind.signer, site)
            return no_origin() if link is None else self._from_link(link, kind, site)
        except FormError as error:
            if self._skip_missing:
                return no_origin("environment, not set")
            raise _UnfitError(Mistake(("credentials",), str(error))) from None
        except ValueError as error:
            text = f"{error}, credentials that can be sent are allowed in the environment"
            raise _UnfitError(Mistake(("credentials",), text)) from None

    def _from_link(self, link: Link, kind: Kind, site: Site) -> Origin:
        variables = {**link.variables, **link.optional}
        secrets = {key: Secret.from_env(name, self._env, key in link.optional) for key, name in variables.items()}
        secrets |= {key: Secret.literal(value) for key, value in link.fixed.items()}
        form = form_for(kind.signer, set(secrets))
        assert form is not None
        try:
            return self._origin(form, secrets, site, link.name)
        except FormError as error:
            raise FormError("", f"{variables[error.key]}: {error}") from None

    def _origin(self, form: Form, secrets: Mapping[str, Secret], site: Site, name: str) -> Origin:
        opened = {key: self._file(secrets[key]) for key in form.files}
        for key, secret in opened.items():
            if secret.missing and not self._skip_missing:
                raise FormError(key, secret.missing)
        return form.origin({**secrets, **opened}, site, name)

    def _file(self, path: Secret) -> Secret:
        return Secret.from_file(path.reveal() or "", self._folder, self._env)


class _Proxy:
    """Looks whether what names a proxy, in the config or the environment, is one."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    def __call__(self, provider: Provider, kind: Kind) -> None:
        endpoint = _known_endpoint(provider, kind)
        if endpoint is None or (isinstance(provider.proxy, Secret) and provider.proxy.missing):
            return
        try:
            proxy_source(provider, endpoint, self._env)()
        except ValueError as error:
            raise _UnfitError(Mistake(("proxy",), str(error))) from None


class _Tls:
    """Looks into the files of TLS; with ``skip_missing`` it does not, for the key of a certificate is a secret."""

    def __init__(self, skip_missing: bool) -> None:
        self._skip_missing = skip_missing

    def __call__(self, provider: Provider, kind: Kind) -> None:
        endpoint = _known_endpoint(provider, kind)
        if endpoint is None or provider.tls == TlsClient():
            return
        if endpoint.scheme != "https":
            raise _UnfitError(
                Mistake(("tls",), f"given for {endpoint.scheme}://, an endpoint with https:// is allowed")
            )
        try:
            if not self._skip_missing:
                client_context(provider.tls)
        except UnusableError as error:
            raise _UnfitError(Mistake(("tls", error.key), str(error))) from None


def _known_endpoint(provider: Provider, kind: Kind) -> URL | None:
    """None where there is none, which is told already."""
    try:
        return _endpoint(provider, kind)
    except _UnfitError:
        return None


def _written(provider: Provider) -> dict[str, Secret]:
    """The secrets by their keys, dotted where nested. None where all of them are optional and absent."""
    secrets = {".".join(path[1:]): secret for path, secret in provider.secrets()}
    return secrets if any(secret.missing or secret.reveal() for secret in secrets.values()) else {}


def _entry_mistakes(entry: Entry, kind: Kind, inherited: Collection[str]) -> Iterator[Mistake]:
    """What only the kind's spec can tell; ``inherited`` are the provider's parameters, which need not fit."""
    operation = kind.operations.get(entry.operation)
    if operation is None:
        yield Mistake(("operation",), one_of(entry.operation, sorted(kind.operations)))
        return
    known = {*operation.required, *operation.optional}
    for name, value in entry.params.items():
        if name not in known and name not in inherited:
            yield Mistake(("params", name), one_of(name, sorted(known)))
        elif name in operation.required and (reason := _unsendable(value)):
            yield Mistake(("params", name), reason)
    for name in operation.required:
        if name not in entry.params:
            yield Mistake(("params", name), f"missing, operation {operation.name} requires it")


def _unsendable(value: str) -> str | None:
    try:
        encode_segment(value)
    except ValueError as error:
        return str(error)
    return None
