"""Why no answer came, in words for the operator: what happened, where, and what to do about it.

Here aiohttp's, OpenSSL's and the system's errors become sentences. None of them quotes what a proxy is told.
"""

import errno
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp.http import HttpProcessingError
from yarl import URL

from poller.config.settings import TlsClient
from poller.providers.classify import cut
from poller.providers.proxy import Proxy

LONGEST_QUOTE = 200
"""Characters that are quoted of what is no HTTP."""


class EndlessError(aiohttp.ClientError):
    """More came than any answer holds."""


@dataclass(frozen=True, slots=True)
class Route:
    """How a request was to get where. Times are seconds."""

    url: URL
    timeout: float
    connect_timeout: float
    tls: TlsClient
    proxy: Proxy | None = None

    @property
    def place(self) -> str:
        """Where the request was to go: ``host:port``."""
        return f"{self.url.host_subcomponent}:{self.url.port}"

    @property
    def first_place(self) -> str:
        """Where the connection was made to: the proxy, if there is one."""
        return (
            self.place if self.proxy is None else f"the proxy {self.proxy.url.host_subcomponent}:{self.proxy.url.port}"
        )

    @property
    def peer(self) -> str:
        """Who speaks HTTP at the other end of the connection: through a proxy, without TLS, that is the proxy."""
        return self.first_place if self.url.scheme == "http" else self.place

    @property
    def name(self) -> str:
        """The name that the certificate must have."""
        return self.tls.server_name or self.url.host or ""


def complaint(error: BaseException, route: Route) -> str:
    """Why ``error`` kept an answer from coming, in one line."""
    text = " ".join(_sentence(error, route).split())
    return text if route.proxy is None else route.proxy.hide_login(text.encode()).decode()


def _sentence(error: BaseException, route: Route) -> str:
    if isinstance(error, TimeoutError):
        return _late(error, route)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return _proxy_refusal(error.status, route)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        whose = ", the proxy's," if route.proxy is not None else ""
        return f"the name {error.host}{whose} does not resolve: {_system_text(error)}"
    return _tls_failure(error, route) or _broken(error, route)


def _late(error: TimeoutError, route: Route) -> str:
    if not isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"no answer within {route.timeout:g} s"
    way = "" if route.proxy is None else f" by way of {route.first_place}"
    return f"no connection to {route.place}{way} within {route.connect_timeout:g} s"


def proxy_login_refused(route: Route) -> str:
    """What a proxy's HTTP 407 means."""
    if route.proxy is not None and route.proxy.login is not None:
        return f"{route.first_place} refuses the login (HTTP 407): check user and password in proxy"
    return f"{route.first_place} wants a login (HTTP 407): proxy takes http://user:password@host:port"


def _proxy_refusal(status: int, route: Route) -> str:
    if status == 407:
        return proxy_login_refused(route)
    if status == 403:
        return f"{route.first_place} does not allow connections to {route.place} (HTTP 403)"
    return f"{route.first_place} made no connection to {route.place} (HTTP {status})"


def _broken(error: BaseException, route: Route) -> str:
    """What is said of a connection that could not be made, or that ended before its time."""
    if isinstance(error, aiohttp.ClientConnectorError):
        refused = error.errno == errno.ECONNREFUSED
        what = "refused the connection: nothing listens there" if refused else f"not reached: {_system_text(error)}"
        return f"{route.first_place} {what}"
    if isinstance(error, EndlessError):
        return f"{route.peer} sent more than any answer holds, and no end of it"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the answer was cut short"
    if isinstance(error, HttpProcessingError | aiohttp.ClientResponseError):
        # aiohttp makes an HTTP 400 of what is no HTTP at all; nobody has said that.
        return f"what came is no HTTP: {cut(error.message, LONGEST_QUOTE)}"
    if isinstance(error, ConnectionResetError) or getattr(error, "errno", None) == errno.ECONNRESET:
        return f"{route.peer} reset the connection"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return f"{route.peer} closed the connection without an answer"
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _system_text(error: aiohttp.ClientConnectorError) -> str:
    # Under uvloop the system's own words may be behind another error's.
    text = error.strerror or str(error.os_error) or type(error.os_error).__name__
    return re.sub(r"^\[Errno -?\d+\] ", "", text)


# --- TLS -----------------------------------------------------------------------------------------------------------

_OPENSSL = re.compile(r"\[(?:SSL|X509)[^\]]*?: ([A-Z0-9_]+)\]")
_UNKNOWN_AUTHORITY = (2, 20, 21)
_SELF_SIGNED = 18
_SELF_SIGNED_AUTHORITY = 19
_MISMATCH = (62, 64)
"""Of a host name, of an IP address. These are the codes of OpenSSL's x509_vfy.h."""

_ALERTS: Mapping[str, str] = {
    "CERTIFICATE_REQUIRED": "wants a client certificate: tls.cert_file",
    "BAD_CERTIFICATE": "refuses the client certificate as unfit: see tls.cert_file",
    "UNSUPPORTED_CERTIFICATE": "refuses the client certificate as unfit: see tls.cert_file",
    "CERTIFICATE_REVOKED": "refuses the client certificate as revoked: see tls.cert_file",
    "CERTIFICATE_EXPIRED": "refuses the client certificate as expired: see tls.cert_file",
    "CERTIFICATE_UNKNOWN": "refuses the client certificate: see tls.cert_file",
    "UNKNOWN_CA": "refuses the client certificate, whose authority it does not know: see tls.cert_file",
    "ACCESS_DENIED": "does not let the client certificate in: see tls.cert_file",
    "DECRYPT_ERROR": "refuses the client certificate, whose key does not fit: see tls.key_file",
    "PROTOCOL_VERSION": "speaks only versions of TLS older than {min_version}: it must be updated{lower}",
    "INSUFFICIENT_SECURITY": "wants a stronger cipher than there is here",
    "HANDSHAKE_FAILURE": "refuses to speak TLS: no cipher in common, or it wants a client certificate (tls.cert_file)",
    "UNRECOGNIZED_NAME": "does not know the name {name}: see endpoint and tls.server_name",
    "INTERNAL_ERROR": "has an internal error in its TLS",
}
"""What the other side's alerts (RFC 8446, section 6) mean to us."""

_OWN_REASONS: Mapping[str, str] = {
    "UNSUPPORTED_PROTOCOL": _ALERTS["PROTOCOL_VERSION"],
    "WRONG_VERSION_NUMBER": "does not speak TLS there: is it http:// in endpoint, or another port?",
    "PACKET_LENGTH_TOO_LONG": "does not speak TLS there: is it http:// in endpoint, or another port?",
    "RECORD_LAYER_FAILURE": "does not speak TLS there: is it http:// in endpoint, or another port?",
    "HTTP_REQUEST": "does not speak TLS there: is it http:// in endpoint, or another port?",
    "UNEXPECTED_EOF_WHILE_READING": "ended the connection in the middle of TLS",
    "DH_KEY_TOO_SMALL": "has a key exchange too weak for this system: it must be updated",
    "EE_KEY_TOO_SMALL": "has a certificate too weak for this system: it must be renewed",
}
"""What OpenSSL finds here."""


def _tls_failure(error: BaseException, route: Route) -> str | None:
    verification = _verification(error)
    if verification is not None:
        return _untrusted(verification, route)
    found = _OPENSSL.search(str(error))
    if found is None:
        ended = isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionResetError)
        return f"{route.place} ended the connection in the middle of TLS" if ended and _is_tls(route) else None
    reason = found[1]
    text = _OWN_REASONS.get(reason) or _ALERTS.get(re.sub(r"^(SSLV3|TLSV1|TLSV13)_ALERT_|^TLSV1_", "", reason))
    if text is None:
        return f"{route.place}, TLS: {reason.lower().replace('_', ' ')}"
    lower = "" if route.tls.min_version == "TLS12" else ", or tls.min_version lowered"
    filled = text.format(name=route.name, min_version=route.tls.min_version, lower=lower)
    return f"{route.place} {filled}"


def _is_tls(route: Route) -> bool:
    return route.url.scheme == "https"


def _verification(error: BaseException) -> ssl.SSLCertVerificationError | None:
    found = error.certificate_error if isinstance(error, aiohttp.ClientConnectorCertificateError) else error
    return found if isinstance(found, ssl.SSLCertVerificationError) else None


def _untrusted(error: ssl.SSLCertVerificationError, route: Route) -> str:
    code = error.verify_code
    if code in _MISMATCH:
        return (
            f"the certificate of {route.place} is not for {route.name}: see endpoint;"
            " tls.server_name is for a certificate that rightly has another name"
        )
    return f"the certificate of {route.place}, asked for as {route.name}, is not trusted: {_distrust(error, route)}"


def _distrust(error: ssl.SSLCertVerificationError, route: Route) -> str:
    """Why a certificate is not trusted, and what to do."""
    code = error.verify_code
    if code == _SELF_SIGNED:
        return "it is self-signed; if it is the right one, put it into a file and name that in tls.ca_file"
    known = "known to this system" if route.tls.ca_file is None else "in tls.ca_file"
    if code == _SELF_SIGNED_AUTHORITY:
        return f"the authority that signed it is not {known}; tls.ca_file names a file with the authority"
    if code in _UNKNOWN_AUTHORITY:
        return (
            f"no authority that signed it is {known}, or the server leaves out those between;"
            " tls.ca_file names a file with the authority"
        )
    return f"{error.verify_message}"
