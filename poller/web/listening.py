"""The sockets that the web server listens on: all of them, or none."""

import errno
import os
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio
from aiohttp import web

from poller.config.values import Address, UnixAddress
from poller.domain.errors import PollerError

SHUTDOWN_SECONDS = 0.25
"""How long answers under way may still take when the server closes; aiohttp waits for it twice."""

_SOCKET_MODE = 0o660
_BACKLOG = 128
_IN_USE = "something else listens there; stop it, or set web.listen to another"


@asynccontextmanager
async def serve(
    app: web.Application, listen: Sequence[Address | UnixAddress], tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Address | UnixAddress, ...]]:
    """Listens while the context lasts and gives the addresses; port 0 finds a free one. Closes within a second.

    A unix socket speaks plain HTTP even with ``tls``: what guards it is who may open its file.
    Raises PollerError, which says which, when one of the addresses cannot be listened on.
    """
    with ExitStack() as stack:
        sockets = [each for address in listen for each in await _bound(stack, address)]
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            for each in sockets:
                context = None if each.family == socket.AF_UNIX else tls
                await web.SockSite(runner, each, ssl_context=context, backlog=_BACKLOG).start()
            yield tuple(dict.fromkeys(_address(each) for each in sockets))
        finally:
            await runner.cleanup()


def url(address: Address | UnixAddress, tls: bool, prefix: str = "/") -> str:
    """Where a server at ``address`` is found, with the path that it serves below; a unix socket as in the config."""
    path = "" if prefix == "/" else prefix
    if isinstance(address, UnixAddress):
        return str(address)
    return f"{'https' if tls else 'http'}://{address}{path}"


async def _bound(stack: ExitStack, address: Address | UnixAddress) -> list[socket.socket]:
    """The sockets for one address, closed with ``stack``; those of a name may be several."""
    try:
        if isinstance(address, UnixAddress):
            return [stack.enter_context(_unix_socket(address.path))]
        if not address.host:
            return [stack.enter_context(_on_every_address(address.port))]
        return await _named(stack, address)
    except OSError as error:
        raise PollerError(f"web.listen: cannot listen on {address}: {_advice(error, address)}") from error


def _advice(error: OSError, address: Address | UnixAddress) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{_IN_USE} {'path' if isinstance(address, UnixAddress) else 'port'}"
    said = error.strerror or str(error)
    if isinstance(address, UnixAddress):
        return f"{said}; set web.listen to a path in a folder that this user may write to"
    return f"{said}; set web.listen to an address of this host and a port allowed to this user"


def _on_every_address(port: int) -> socket.socket:
    """One socket for IPv6 and IPv4 where the system can do that."""
    if socket.has_dualstack_ipv6():
        return _tcp(socket.AF_INET6, ("::", port), both=True)
    return _tcp(socket.AF_INET, ("", port))


async def _named(stack: ExitStack, address: Address) -> list[socket.socket]:
    """A socket for each address of a host, all with one port; those this host lacks do not count beside others."""
    found = await anyio.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AddressInfo.AI_PASSIVE
    )
    bound: list[socket.socket] = []
    lacking: OSError | None = None
    for family, _, _, _, where in dict.fromkeys(found):
        port = address.port or (bound[0].getsockname()[1] if bound else 0)
        try:
            bound.append(stack.enter_context(_tcp(family, (where[0], port, *where[2:]))))
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
            lacking = error
    if lacking is not None and not bound:
        raise lacking
    return bound


def _tcp(family: int, where: tuple[object, ...], both: bool = False) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        bound.bind(where)
        # Now, for with SO_REUSEADDR it only shows here that another socket has the port.
        bound.listen(_BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


@contextmanager
def _unix_socket(path: Path) -> Iterator[socket.socket]:
    """A socket at ``path``, which is gone afterwards; a dead one that is in the way makes room."""
    _remove_dead(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bound:
        bound.bind(str(path))
        made = path.lstat()
        try:
            # Nobody can connect before it listens, and so nobody sneaks in under the mode it was made with.
            path.chmod(_SOCKET_MODE)
            bound.listen(_BACKLOG)
            yield bound
        finally:
            _remove_own(path, made)


def _remove_dead(path: Path) -> None:
    """Removes a socket that nobody listens on. OSError for one that is alive, and for what is no socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "something that is no socket is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A full queue of connections, which would be waited for, is a sign of life as well.
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except BlockingIOError:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)) from None
        else:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _remove_own(path: Path, made: os.stat_result) -> None:
    """Removes the socket file, unless another has taken its place."""
    with suppress(OSError):
        there = path.lstat()
        if (there.st_dev, there.st_ino) == (made.st_dev, made.st_ino):
            path.unlink()


def _address(bound: socket.socket) -> Address | UnixAddress:
    where = bound.getsockname()
    if bound.family == socket.AF_UNIX:
        return UnixAddress(Path(where))
    return Address(*where[:2])
