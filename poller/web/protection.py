"""What the web config file says now: TLS and logins that change with it, without restart.

The files are looked at with every new connection and every request, and read again when one of them has changed. As
long as what they say cannot be used, what was in force before stays in force.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from poller.config.textfile import Stamp, stamp
from poller.config.webfile import WebFile, read_web_file
from poller.domain.errors import ConfigError
from poller.web.tls import NewestContext, server_context


@dataclass(frozen=True, slots=True)
class _InForce:
    file: WebFile
    context: ssl.SSLContext | None


class Protection:
    """TLS and logins of a running server, from the web config file at ``path``.

    Raises ConfigError when it cannot be used to begin with. Later that is logged, once, and so is the end of it.
    """

    def __init__(self, path: Path, logger: FilteringBoundLogger) -> None:
        self._path = path
        self._logger = logger
        self._stamps: dict[Path, Stamp | None] = {path: _stamp(path)}
        self._rejected = ""
        self._now = self._read()

    @property
    def tls(self) -> ssl.SSLContext | None:
        """The context for listening, which follows the files; None for plain HTTP, for as long as the server runs."""
        return None if self._now.context is None else NewestContext(self._newest_context)

    def users(self) -> Mapping[str, str]:
        """The bcrypt hashes of passwords, by users' names, as they are now."""
        self._refresh()
        return self._now.file.users

    def _newest_context(self) -> ssl.SSLContext:
        self._refresh()
        assert self._now.context is not None, "TLS does not go away while the server runs"
        return self._now.context

    def _refresh(self) -> None:
        """Takes over what the files say if one of them has changed; a few system calls if none has."""
        if all(_stamp(path) == seen for path, seen in self._stamps.items()):
            return
        # Not all changes show: those that come while the files are read must make a difference next time.
        self._stamps = {path: _stamp(path) for path in self._stamps}
        try:
            read = self._read()
            self._check_restart(read)
        except ConfigError as error:
            self._reject(str(error))
            return
        self._now, self._rejected = read, ""
        self._logger.info("web.config_reloaded", file=str(self._path), users=len(read.file.users))

    def _read(self) -> _InForce:
        """What the files say; the files named there are watched from before they are read."""
        file = read_web_file(self._path)
        named = (file.tls.cert_file, file.tls.key_file, file.tls.client_ca_file) if file.tls else ()
        self._stamps = {self._path: self._stamps[self._path]} | {path: _stamp(path) for path in named if path}
        return _InForce(file, server_context(file))

    def _check_restart(self, read: _InForce) -> None:
        if (read.context is None) != (self._now.context is None):
            how = "gone" if read.context is None else "new"
            raise ConfigError([read.file.problem(("tls_server_config",), f"{how}, this needs a restart")])

    def _reject(self, why: str) -> None:
        if why != self._rejected:
            self._logger.error("web.config_rejected", file=str(self._path), reason=why)
        self._rejected = why


def _stamp(path: Path) -> Stamp | None:
    """What changes when the file does; None for a file that is not there."""
    try:
        return stamp(path.stat())
    except (OSError, ValueError):
        return None
