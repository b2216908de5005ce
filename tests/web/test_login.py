"""Who may come in: users with the right password, on every path but health; and how little that costs."""

import base64
import threading
from collections.abc import AsyncIterator

import bcrypt
import pytest

from poller.web.login import MOST_REMEMBERED, Login
from tests.emit.fakes import watched
from tests.web.fakes import Client, World
from tests.web.test_server import PATHS


def hashed(password: str, cost: int = 4) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@pytest.fixture
def users() -> dict[str, str]:
    return {"ann": hashed("open: sesame"), "björn": hashed("schlüssel")}


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes]]:
    """The passwords and hashes that bcrypt was asked about, in a thread other than the event loop's."""
    asked: list[tuple[bytes, bytes]] = []
    check, here = bcrypt.checkpw, threading.get_ident()

    def spy(password: bytes, hashed: bytes) -> bool:
        assert threading.get_ident() != here
        asked.append((password, hashed))
        return check(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", spy)
    return asked


@pytest.fixture
async def guarded(world: World, users: dict[str, str]) -> AsyncIterator[Client]:
    world.token = "t0ken"
    world.login = Login(lambda: users, lambda: world.token)
    world.watching.shown += [watched("n")]
    async with world.client() as client:
        yield client


@pytest.mark.parametrize("path", [*PATHS, "/nothing", "/api/v1/nothing"])
async def test_every_path_but_health_needs_a_login(guarded: Client, path: str) -> None:
    async with guarded.get(path) as response:
        assert response.status == (200 if path.startswith("/-/") else 401)
        challenge = None if path.startswith("/-/") else 'Basic realm="poller", charset="UTF-8"'
        assert response.headers.get("WWW-Authenticate") == challenge
    async with guarded.get(path, headers={"Authorization": basic("ann", "open: sesame")}) as response:
        assert response.status == (404 if "nothing" in path else 200)


async def test_paths_that_resemble_those_of_health_need_a_login(guarded: Client) -> None:
    for path in ("/-/healthy/", "/-/healthyx", "/x/-/healthy", "/-/reload"):
        async with guarded.get(path) as response:
            assert response.status == 401, path


async def test_health_below_a_prefix_needs_no_login_either(world: World, users: dict[str, str]) -> None:
    world.login, world.prefix = Login(lambda: users), "/p"
    async with world.client() as client:
        for path, status in (("/p/-/ready", 200), ("/-/ready", 200), ("/p/metrics", 401), ("/metrics", 401)):
            async with client.get(path) as response:
                assert response.status == status


async def test_the_bearer_token_is_as_good_as_a_login(guarded: Client, world: World) -> None:
    async with guarded.post("/-/reload", headers={"Authorization": "Bearer t0ken"}) as response:
        assert response.status == 200
    for given in ("Bearer t0kem", "Bearer ", "Bearer é"):
        async with guarded.get("/metrics", headers={"Authorization": given}) as response:
            assert response.status == 401
    world.token = None
    async with guarded.get("/metrics", headers={"Authorization": "Bearer None"}) as response:
        assert response.status == 401


@pytest.mark.parametrize(
    ("authorization", "allowed"),
    [
        (basic("ann", "open: sesame"), True),
        (basic("björn", "schlüssel"), True),
        (basic("ann", "open: sesame").replace("Basic", "bAsIc"), True),
        (basic("ann", ""), False),
        (basic("ann", "open: sesame "), False),
        (basic("ann", "open: sesame\0"), False),
        (basic("ann", "schlüssel"), False),
        (basic("eve", "open: sesame"), False),
        (basic("", ""), False),
        ("Basic", False),
        ("Basic !!!", False),
        ("Basic é", False),
        (f"Basic {base64.b64encode(b'ann').decode()}", False),
        (f"Basic {base64.b64encode(bytes([255, 58])).decode()}", False),
        ("Digest username=ann", False),
        ("", False),
    ],
)
async def test_only_the_right_password_of_a_user_is_let_in(
    users: dict[str, str], authorization: str, allowed: bool
) -> None:
    assert await Login(lambda: users).allows(authorization) is allowed


async def test_without_users_no_login_is_needed() -> None:
    assert await Login(dict).allows("")


async def test_a_long_password_counts_as_far_as_bcrypt_reads_it() -> None:
    users = {"ann": hashed("x" * 72)}
    assert await Login(lambda: users).allows(basic("ann", "x" * 100))
    assert not await Login(lambda: users).allows(basic("ann", "x" * 71))


async def test_what_was_right_is_remembered_without_the_password(
    users: dict[str, str], checked: list[tuple[bytes, bytes]]
) -> None:
    login = Login(lambda: users)
    assert [await login.allows(basic("ann", "open: sesame")) for _ in range(5)] == [True] * 5
    assert len(checked) == 1
    assert b"sesame" not in b"".join(login._right)


async def test_another_hash_of_a_user_is_checked_anew(
    users: dict[str, str], checked: list[tuple[bytes, bytes]]
) -> None:
    login = Login(lambda: users)
    assert await login.allows(basic("ann", "open: sesame"))
    users["ann"] = hashed("changed")
    assert not await login.allows(basic("ann", "open: sesame"))
    assert await login.allows(basic("ann", "changed"))
    del users["ann"]
    assert not await login.allows(basic("ann", "changed"))


async def test_so_many_logins_are_remembered_and_no_more() -> None:
    users = {f"user{number}": hashed("x") for number in range(MOST_REMEMBERED + 5)}
    login = Login(lambda: users)
    for name in users:
        assert await login.allows(basic(name, "x"))
    assert len(login._right) == MOST_REMEMBERED


async def test_an_unknown_user_costs_as_much_as_a_wrong_password(checked: list[tuple[bytes, bytes]]) -> None:
    users = {"ann": hashed("x", 5), "bob": hashed("x", 4)}
    login = Login(lambda: users)
    for authorization in (basic("ann", "wrong"), basic("eve", "wrong"), basic("eve", "wrong")):
        assert not await login.allows(authorization)
    assert [hashed[4:6] for _, hashed in checked] == [b"05", b"05", b"05"]
