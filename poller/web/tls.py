"""TLS contexts from a web config file, and the one that always is the newest."""

import ssl
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from poller.config.textfile import reason
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


class _UnusableError(Exception):
    """What is wrong with the file under ``key``, and what is allowed."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


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
    except _UnusableError as error:
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
    _trust(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "cert_file", tls.cert_file)
    _load_chain(context, tls.cert_file, tls.key_file)
    if tls.verifies_clients and tls.client_ca_file is not None:
        context.verify_mode = _VERIFY[tls.client_auth_type]
        _trust(context, "client_ca_file", tls.client_ca_file)
    return context


def _trust(context: ssl.SSLContext, key: str, path: Path) -> None:
    """Makes ``context`` trust the certificates in a file; also tells whether there are any."""
    _readable(key, path)
    try:
        context.load_verify_locations(cafile=path)
    except OSError:  # ssl.SSLError is one; its text names no more than OpenSSL's function.
        raise _UnusableError(key, f"no certificate in {str(path)!r}, certificates in PEM are allowed") from None


def _load_chain(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    _readable("key_file", key)
    try:
        context.load_cert_chain(cert, key, password=_encrypted)
    except ssl.SSLError as error:
        why = (error.reason or "").upper()
        if why in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            text = f"{str(key)!r} is not the key of the certificate in cert_file, the one that belongs to it is allowed"
            raise _UnusableError("key_file", text) from None
        if "TOO_SMALL" in why or "TOO_WEAK" in why:
            text = (
                f"a certificate too weak for this system ({why.lower().replace('_', ' ')}), a stronger one is allowed"
            )
            raise _UnusableError("cert_file", text) from None
        raise _UnusableError("key_file", f"no private key in {str(key)!r}, one in PEM is allowed") from None
    except OSError as error:
        raise _UnusableError("key_file", f"{str(key)!r} {reason(error)}, a file that can be read is allowed") from None


def _encrypted() -> NoReturn:
    # Otherwise OpenSSL would ask for the password on the terminal.
    raise _UnusableError("key_file", "an encrypted private key, one that is not encrypted is allowed")


def _readable(key: str, path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except (OSError, ValueError) as error:
        text = f"{str(path)!r} {reason(error)}, a file that can be read is allowed"
        raise _UnusableError(key, text) from None
