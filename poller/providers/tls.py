"""The TLS context of a connection to a provider, made anew when one of its files has changed."""

import ssl
from collections.abc import Callable
from pathlib import Path

from poller.config.certificates import UnusableError, load_chain, trust
from poller.config.settings import TlsClient
from poller.config.textfile import Stamp, stamp

LOOK_SECONDS = 1.0
"""Seconds between two looks at the files."""
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}


def client_context(tls: TlsClient) -> ssl.SSLContext:
    """The context that ``tls`` describes, its files read now. UnusableError when one of them cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[tls.min_version]
    context.set_alpn_protocols(["http/1.1"])
    if tls.ca_file is None:
        context.load_default_certs()
    else:
        trust(context, "ca_file", tls.ca_file)
    if tls.cert_file is not None:
        load_chain(context, tls.cert_file, tls.key_file)
    return context


class ClientContext:
    """The context of `client_context`, as the files are now. ``monotonic`` tells the time in seconds.

    While the files cannot be used, those that were in force before stay in force.
    """

    def __init__(self, tls: TlsClient, monotonic: Callable[[], float]) -> None:
        self._tls = tls
        self._monotonic = monotonic
        self._looked_at = float("-inf")
        self._stamps: list[Stamp | None] | None = None
        self._context: ssl.SSLContext | None = None
        self.problem = ""
        """What is wrong with the files as they are now; empty when nothing is."""

    def current(self) -> ssl.SSLContext:
        """The context for a connection that is made now. UnusableError when there has never been one."""
        now = self._monotonic()
        if now >= self._looked_at + LOOK_SECONDS:
            self._looked_at = now
            self._look()
        if self._context is None:
            raise UnusableError("", self.problem)
        return self._context

    def _look(self) -> None:
        tls = self._tls
        # From before the reading: what changes meanwhile is read again next time.
        stamps = [_stamp(path) for path in (tls.ca_file, tls.cert_file, tls.key_file) if path is not None]
        if stamps == self._stamps:
            return
        self._stamps = stamps
        try:
            self._context, self.problem = client_context(tls), ""
        except UnusableError as error:
            self.problem = f"tls.{error.key}: {error}"


def _stamp(path: Path) -> Stamp | None:
    try:
        return stamp(path.stat())
    except (OSError, ValueError):
        return None
