"""How certificates and keys get from their files into a TLS context, and what is wrong with those that do not."""

import ssl
from pathlib import Path
from typing import NoReturn

from poller.config.textfile import reason


class UnusableError(Exception):
    """What is wrong with the file under ``key`` of the config, and what is allowed."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


def trust(context: ssl.SSLContext, key: str, path: Path) -> None:
    """Makes ``context`` trust the certificates in the file under ``key``; UnusableError when there are none."""
    _readable(key, path)
    try:
        context.load_verify_locations(cafile=path)
    except OSError:  # ssl.SSLError is one; its text names no more than OpenSSL's function.
        raise UnusableError(key, f"no certificate in {str(path)!r}, certificates in PEM are allowed") from None


def load_chain(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    """Makes ``context`` show a certificate with its key, which without a file of its own is in that of the certificate.

    UnusableError, for ``cert_file`` or ``key_file``, when it cannot.
    """
    trust(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "cert_file", cert)
    place = "cert_file" if key is None else "key_file"
    file = cert if key is None else key
    _readable(place, file)
    try:
        context.load_cert_chain(cert, key, password=_Encrypted(place))
    except ssl.SSLError as error:
        raise _unfit(error, place, file) from None
    except OSError as error:
        raise UnusableError(place, f"{str(file)!r} {reason(error)}, a file that can be read is allowed") from None


def _unfit(error: ssl.SSLError, place: str, file: Path) -> UnusableError:
    """What OpenSSL dislikes of a certificate and its key, which stands in ``file``."""
    why = (error.reason or "").upper()
    if why in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
        text = f"{str(file)!r} is not the key of the certificate in cert_file, the one that belongs to it is allowed"
        return UnusableError(place, text)
    if "TOO_SMALL" in why or "TOO_WEAK" in why:
        weak = why.lower().replace("_", " ")
        return UnusableError("cert_file", f"a certificate too weak for this system ({weak}), a stronger one is allowed")
    return UnusableError(place, f"no private key in {str(file)!r}, one in PEM is allowed")


class _Encrypted:
    """Is asked for the password of a private key. Otherwise OpenSSL would ask for it on the terminal."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __call__(self) -> NoReturn:
        raise UnusableError(self._place, "an encrypted private key, one that is not encrypted is allowed")


def _readable(key: str, path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except (OSError, ValueError) as error:
        text = f"{str(path)!r} {reason(error)}, a file that can be read is allowed"
        raise UnusableError(key, text) from None
