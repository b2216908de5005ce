"""All addresses are listened on, or none; a unix socket comes and goes with its server."""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from poller.config.values import Address, UnixAddress
from poller.domain.errors import PollerError
from poller.web.listening import serve, url

LOCAL = Address("127.0.0.1", 0)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this host has no ::1")


def app() -> web.Application:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    made = web.Application()
    made.router.add_get("/", hello)
    return made


async def greeted(address: Address | UnixAddress) -> str:
    unix = isinstance(address, UnixAddress)
    connector = aiohttp.UnixConnector(str(address.path)) if isinstance(address, UnixAddress) else None
    async with aiohttp.ClientSession(connector=connector) as session:
        async with session.get("http://localhost/" if unix else f"http://{address}/") as response:
            return await response.text()


@pytest.fixture
def dead(tmp_path: Path) -> UnixAddress:
    """A socket that a daemon left behind when it was killed."""
    path = tmp_path / "web.sock"
    with closing(socket.socket(socket.AF_UNIX)) as left:
        left.bind(str(path))
        left.listen()
    return UnixAddress(path)


@pytest.fixture
def alive(tmp_path: Path) -> Iterator[UnixAddress]:
    path = tmp_path / "alive.sock"
    with closing(socket.socket(socket.AF_UNIX)) as other:
        other.bind(str(path))
        other.listen()
        yield UnixAddress(path)


async def test_every_address_is_listened_on(tmp_path: Path) -> None:
    async with serve(app(), [LOCAL, LOCAL, UnixAddress(tmp_path / "web.sock")]) as bound:
        assert len(set(bound)) == 3
        assert [await greeted(each) for each in bound] == ["hello"] * 3


@needs_ipv6
async def test_ipv6_is_listened_on_beside_ipv4_on_the_same_port() -> None:
    async with serve(app(), [Address("::1", 0)]) as (six,):
        assert isinstance(six, Address)
        async with serve(app(), [Address("127.0.0.1", six.port)]) as (four,):
            assert (await greeted(six), await greeted(four)) == ("hello", "hello")


@needs_ipv6
async def test_no_host_means_every_address_of_both_kinds() -> None:
    async with serve(app(), [Address("", 0)]) as (bound,):
        assert isinstance(bound, Address)
        for host in ("127.0.0.1", "::1"):
            assert await greeted(Address(host, bound.port)) == "hello"


async def test_no_host_means_ipv4_where_there_is_no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    async with serve(app(), [Address("", 0)]) as (bound,):
        assert isinstance(bound, Address)
        assert (bound.host, await greeted(Address("127.0.0.1", bound.port))) == ("0.0.0.0", "hello")


async def test_a_name_means_all_its_addresses_with_one_port() -> None:
    async with serve(app(), [Address("localhost", 0)]) as bound:
        assert len({each.port for each in bound if isinstance(each, Address)}) == 1
        assert {await greeted(each) for each in bound} == {"hello"}


async def test_what_cannot_be_listened_on_is_told_and_nothing_else_is_left(tmp_path: Path) -> None:
    unix = UnixAddress(tmp_path / "web.sock")
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = Address("127.0.0.1", other.getsockname()[1])
        with pytest.raises(PollerError, match=f"^web.listen: cannot listen on {taken}: something else listens there"):
            async with serve(app(), [unix, LOCAL, taken]):
                pass
    assert not unix.path.exists()


async def test_a_name_that_leads_nowhere_is_told() -> None:
    with pytest.raises(PollerError, match=r"^web.listen: cannot listen on nowhere\.invalid:80: .*set web.listen"):
        async with serve(app(), [Address("nowhere.invalid", 80)]):
            pass


async def test_a_unix_socket_is_open_to_its_group_and_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    async with serve(app(), [UnixAddress(path)]):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert not path.exists()


async def test_the_socket_of_a_dead_daemon_makes_room(dead: UnixAddress) -> None:
    async with serve(app(), [dead]) as bound:
        assert bound == (dead,)
        assert await greeted(dead) == "hello"


async def test_the_socket_of_a_living_daemon_is_refused_and_stays(alive: UnixAddress) -> None:
    with pytest.raises(PollerError, match=f"^web.listen: cannot listen on {alive}: something else listens there"):
        async with serve(app(), [alive]):
            pass
    assert alive.path.exists()


async def test_what_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("x", "utf-8")
    with pytest.raises(PollerError, match=r"something that is no socket is there; set web\.listen to a path"):
        async with serve(app(), [UnixAddress(path)]):
            pass
    assert path.read_text("utf-8") == "x"


async def test_a_socket_in_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PollerError, match=f"{os.strerror(errno.ENOENT)}; set web.listen to a path in a folder"):
        async with serve(app(), [UnixAddress(tmp_path / "no" / "web.sock")]):
            pass


async def test_a_successors_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    async with serve(app(), [UnixAddress(path)]):
        path.rename(tmp_path / "old.sock")
        path.write_text("the successor's", "utf-8")
    assert path.exists()


@pytest.mark.parametrize(
    ("address", "tls", "prefix", "expected"),
    [
        (Address("127.0.0.1", 80), False, "/", "http://127.0.0.1:80"),
        (Address("::1", 80), True, "/p", "https://[::1]:80/p"),
        (UnixAddress(Path("/run/web.sock")), True, "/p", "unix:/run/web.sock"),
    ],
)
def test_where_a_server_is_found(address: Address | UnixAddress, tls: bool, prefix: str, expected: str) -> None:
    assert url(address, tls, prefix) == expected
