"""The web config file: TLS and logins of the web server, in the format of the Prometheus exporter-toolkit.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md says what the keys mean. Those of
them that would go unheeded here are refused as unknown, but for ``http2``: that only allows what nobody needs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import Field, ValidationError

from poller.config.settings import Section
from poller.config.textfile import MIB
from poller.config.values import BcryptHash, FilePath, Surroundings, User
from poller.config.wording import KeyPath, Mistake, kind, mistakes
from poller.config.yamlfile import Document, read_yaml
from poller.domain.errors import ConfigError, Problem

TlsVersion: TypeAlias = Literal["TLS10", "TLS11", "TLS12", "TLS13"]

_ORDER = ("TLS10", "TLS11", "TLS12", "TLS13")
_VERIFYING = ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")


class TlsServer(Section):
    """How connections are encrypted, and which certificates clients must show."""

    cert_file: FilePath = None
    """The server's certificate, in PEM, and behind it those that lead to one that clients trust."""
    key_file: FilePath = None
    """The private key of the certificate, in PEM, not encrypted."""
    client_auth_type: Literal[
        "NoClientCert",
        "RequestClientCert",
        "RequireAnyClientCert",
        "VerifyClientCertIfGiven",
        "RequireAndVerifyClientCert",
    ] = "NoClientCert"
    """RequestClientCert would look at no certificate, and so none is asked for; RequireAnyClientCert is refused."""
    client_ca_file: FilePath = None
    """The authorities, in PEM, whose certificates clients may show."""
    min_version: TlsVersion = "TLS12"
    max_version: TlsVersion = "TLS13"

    @property
    def verifies_clients(self) -> bool:
        """Whether a certificate that a client shows must be one of an authority in ``client_ca_file``."""
        return self.client_auth_type in _VERIFYING

    def contradictions(self) -> Iterator[Mistake]:
        """The mistakes that no key makes alone."""
        for key in ("cert_file", "key_file"):
            if key not in self.model_fields_set:
                yield Mistake((key,), "missing, it is required")
        if _ORDER.index(self.min_version) > _ORDER.index(self.max_version):
            key = "min_version" if "min_version" in self.model_fields_set else "max_version"
            text = f"{getattr(self, key)}, a min_version of at most max_version is allowed"
            yield Mistake((key,), text)
        yield from self._unverifiable()

    def _unverifiable(self) -> Iterator[Mistake]:
        if self.client_auth_type == "RequireAnyClientCert":
            # The ssl module has no way to take a certificate without verifying it, which proves nothing anyway.
            text = (
                "RequireAnyClientCert, which verifies nothing, is not supported, RequireAndVerifyClientCert is allowed"
            )
            yield Mistake(("client_auth_type",), text)
        elif self.verifies_clients and self.client_ca_file is None:
            yield Mistake(("client_ca_file",), f"missing, client_auth_type {self.client_auth_type} requires it")
        elif self.client_auth_type == "NoClientCert" and self.client_ca_file is not None:
            text = "given without a client_auth_type that asks for certificates, RequireAndVerifyClientCert is allowed"
            yield Mistake(("client_ca_file",), text)


class HttpServer(Section):
    """How HTTP is spoken."""

    http2: bool = True
    """Heeded by other exporters; HTTP/1.1 is spoken here, whatever stands here."""


class WrittenWebFile(Section):
    """The web config file. Relative paths are relative to it."""

    tls_server_config: TlsServer = TlsServer()
    """TLS; without it, HTTP is spoken in the clear."""
    http_server_config: HttpServer = HttpServer()
    """How HTTP is spoken."""
    basic_auth_users: dict[User, BcryptHash] = Field(default_factory=dict, repr=False)
    """Who may log in: bcrypt hashes of passwords, by users' names. Without any, no login is needed."""


@dataclass(frozen=True, slots=True)
class WebFile:
    """What a web config file says: None for no TLS, no users for no logins."""

    tls: TlsServer | None
    users: Mapping[str, str] = field(repr=False)
    _document: Document = field(repr=False)

    def problem(self, path: KeyPath, text: str) -> Problem:
        """A mistake at ``path`` of the file: what was found, and what is allowed."""
        return self._document.problem(path, text)


def read_web_file(path: Path) -> WebFile:
    """The web config file at ``path``, an absolute one. ConfigError with every mistake in it.

    An empty file is a mistake: it may be one that is being written, and would take all protection away.
    """
    document = read_yaml(path, str(path), MIB)
    if document.problems:
        raise ConfigError(document.problems)
    if not isinstance(document.data, dict):
        found = "empty" if document.data is None else kind(document.data)
        raise ConfigError([document.problem((), f"{found}, a mapping with tls_server_config and the like is allowed")])
    written = _validated(document, path.parent)
    tls = written.tls_server_config if "tls_server_config" in written.model_fields_set else None
    wrong = () if tls is None else tls.contradictions()
    if problems := [document.problem(("tls_server_config", *each.path), each.text) for each in wrong]:
        raise ConfigError(problems)
    # Without the data, which has the hashes in it.
    return WebFile(tls, written.basic_auth_users, replace(document, data=None))


def _validated(document: Document, folder: Path) -> WrittenWebFile:
    try:
        return WrittenWebFile.model_validate(document.data, context=Surroundings(folder))
    except ValidationError as error:
        wrong = mistakes(error, WrittenWebFile)
    raise ConfigError([document.problem(each.path, each.text) for each in wrong])
