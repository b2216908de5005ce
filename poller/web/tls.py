"""TLS contexts from a web config file, and the one that always is the newest."""

import ssl
import warnings
from collections.abc import Callable
from typing import Any

from poller.config.certificates import UnusableError, load_chain, trust
from poller.config.webfile import TlsServer, WebFile
from poller.domain.errors import ConfigError

_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_VERIFY = {
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


class NewestContext(ssl.SSLContext):
    """Stands for the context that ``newest`` gives when a connection comes in; connections keep the one they have."""

    newest: Callable[[], ssl.SSLContext]

    def __new__(cls, newest: Callable[[], ssl.SSLContext]) -> "NewestContext":
        """The protocol is that of every server."""
        made = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        made.newest = newest
        return made

    def __init__(self, newest: Callable[[], ssl.SSLContext]) -> None:
        """Nothing is left to do."""

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """What the event loop calls for each new connection."""
        return self.newest().wrap_bio(*args, **kwargs)


def server_context(file: WebFile) -> ssl.SSLContext | None:
    """The TLS context that ``file`` describes, its certificates and keys read now; None when it describes none.

    ConfigError when they cannot be used.
    """
    if file.tls is None:
        return None
    try:
        return _context(file.tls)
    except UnusableError as error:
        problem = file.problem(("tls_server_config", error.key), str(error))
    raise ConfigError([problem])


def _context(tls: TlsServer) -> ssl.SSLContext:
    assert tls.cert_file is not None
    assert tls.key_file is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        # TLS 1.0 and 1.1 are deprecated, which whoever asks for them knows.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSIONS[tls.min_version]
        context.maximum_version = _VERSIONS[tls.max_version]
    context.set_alpn_protocols(["http/1.1"])
    load_chain(context, tls.cert_file, tls.key_file)
    if tls.verifies_clients and tls.client_ca_file is not None:
        context.verify_mode = _VERIFY[tls.client_auth_type]
        trust(context, "client_ca_file", tls.client_ca_file)
    return context
