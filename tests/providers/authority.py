"""Certificates, and servers that show them, for the tests of connections over TLS."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NOW = datetime.now(UTC)
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n" + b'{"status": "ok"}'


@dataclass
class Authority:
    """An authority of the test's own, whose files stand in ``folder``."""

    folder: Path
    ca: trustme.CA = field(default_factory=trustme.CA)

    @property
    def file(self) -> Path:
        """The authority's own certificate."""
        path = self.folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(path))
        return path

    def issue(self, file: str, name: str = "poller.test", **more: Any) -> Path:
        """A certificate and its key, in one file."""
        return self.write(file, self.ca.issue_cert(name, **more))

    def write(self, file: str, cert: trustme.LeafCert) -> Path:
        """Puts a certificate and its key into a file, in place of what was there."""
        path = self.folder / file
        new = path.with_suffix(".new")
        new.write_bytes(cert.private_key_and_cert_chain_pem.bytes())
        return new.replace(path)

    def context(
        self, *names: str, mutual: bool = False, newest: ssl.TLSVersion | None = None, **more: Any
    ) -> ssl.SSLContext:
        """What a server shows: a certificate for ``names``, 127.0.0.1 by default."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*(names or ("127.0.0.1",)), **more).configure_cert(context)
        if mutual:
            context.verify_mode = ssl.CERT_REQUIRED
            self.ca.configure_trust(context)
        if newest is not None:
            context.maximum_version = newest
        return context


def self_signed(file: Path) -> ssl.SSLContext:
    """What a server shows that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "self")])
    names = x509.SubjectAlternativeName([x509.DNSName("self.test")])
    cert = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(cert.public_bytes(pem) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@dataclass
class TlsServer:
    """Answers over TLS from a thread of its own: unlike asyncio's servers, OpenSSL's tell a client why they refuse it.

    ``shown`` are the names in the certificates that clients showed, ``asked`` the server names they asked for.
    """

    context: ssl.SSLContext
    port: int = 0
    shown: list[str | None] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    requests: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://127.0.0.1:{self.port}"

    def serve(self, listener: socket.socket) -> None:
        """Answers whoever comes until the listener is closed."""
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            client.settimeout(5)
            self._speak_tls(client)

    def _speak_tls(self, client: socket.socket) -> None:
        self.context.sni_callback = lambda _socket, name, _context: self.asked.append(name)
        with self.context.wrap_socket(client, server_side=True, do_handshake_on_connect=False) as stream:
            try:
                stream.do_handshake()
                self._converse(stream)
            except ssl.SSLError:
                # Not with a reset, which would overtake the alert.
                socket.socket.shutdown(stream, socket.SHUT_WR)
                while socket.socket.recv(stream, 4096):
                    pass

    def _converse(self, stream: ssl.SSLSocket) -> None:
        shown: Any = stream.getpeercert() or {}
        self.shown.append(shown["subjectAltName"][0][1] if shown else None)
        while stream.recv(65536):
            self.requests += 1
            stream.sendall(ANSWER)


@contextmanager
def tls_server(context: ssl.SSLContext) -> Iterator[TlsServer]:
    """A server that shows what ``context`` says."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = TlsServer(context, listener.getsockname()[1])
        thread = threading.Thread(target=server.serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            # Wakes the thread where it waits for a client.
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)
