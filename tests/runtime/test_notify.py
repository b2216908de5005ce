"""What a service manager gets to read: every test binds the socket that it would listen on."""

import os
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from poller.domain.state import State
from poller.runtime.notify import STATUS_EVERY, Notifier, summarize, watchdog, watchdog_interval


class Manager:
    """A service manager that listens at ``address``."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """Every datagram since the last look."""
        told = []
        while True:
            try:
                told.append(self._socket.recv(65_536).decode())
            except BlockingIOError:
                return told

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """One at a path, and one at an abstract address."""
    manager = Manager(str(tmp_path / "notify") if request.param == "path" else f"@poller-{uuid.uuid4()}")
    yield manager
    manager.close()


def test_each_message_is_one_datagram(manager: Manager) -> None:
    notifier = Notifier.from_env({"NOTIFY_SOCKET": manager.address})
    assert notifier.listened_to
    notifier.ready("1 task")
    notifier.status("2 tasks")
    notifier.alive("3 tasks")
    notifier.stopping("SIGTERM")
    assert manager.heard() == [
        "READY=1\nSTATUS=1 task",
        "STATUS=2 tasks",
        "WATCHDOG=1\nSTATUS=3 tasks",
        "STOPPING=1\nSTATUS=SIGTERM",
    ]


def test_a_reload_tells_when_it_began(manager: Manager) -> None:
    """In microseconds: without that, systemd takes an older reload's end for this one's."""
    Notifier(manager.address, clock=lambda: 7_000_001_999).reloading()
    assert manager.heard() == ["RELOADING=1\nMONOTONIC_USEC=7000001"]


def test_the_time_of_a_reload_is_the_clock_that_systemd_reads(manager: Manager) -> None:
    """sd_notify(3): CLOCK_MONOTONIC."""
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
    Notifier(manager.address).reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
    (told,) = manager.heard()
    assert before <= int(told.rpartition("=")[2]) <= after


def test_a_status_cannot_smuggle_in_another_message(manager: Manager) -> None:
    Notifier(manager.address).status("stalled\nREADY=1\r\nMAINPID=1 \ud800")
    assert manager.heard() == ["STATUS=stalled READY=1 MAINPID=1 ?"]


@pytest.mark.parametrize("env", [{}, {"NOTIFY_SOCKET": ""}])
async def test_without_a_manager_nothing_happens(env: dict[str, str]) -> None:
    notifier = Notifier.from_env(env)
    assert not notifier.listened_to
    tell_everything(notifier)

    def never() -> str:
        raise AssertionError("nobody reads it")

    await watchdog(notifier, list, never, 1.0)


@pytest.mark.parametrize("address", ["/no/such/socket", "@poller-nobody-listens", "/" + "x" * 200, "relative", "a\0b"])
def test_what_cannot_be_told_is_lost_without_a_word(address: str) -> None:
    tell_everything(Notifier(address))


def test_a_manager_that_does_not_listen_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Its queue is full after a while: what comes then is lost."""
    manager = Manager(str(tmp_path / "notify"))
    notifier = Notifier(manager.address)
    for _ in range(5_000):
        notifier.status("x" * 100)
    assert 0 < len(manager.heard()) < 5_000
    manager.close()


def tell_everything(notifier: Notifier) -> None:
    notifier.ready("")
    notifier.reloading()
    notifier.status("")
    notifier.alive("")
    notifier.stopping("")


@pytest.mark.parametrize(
    ("env", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 20.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, 20.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "nonsense"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "²"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": ""}, None),
    ],
)
def test_the_watchdog_is_fed_three_times_in_its_patience(env: dict[str, str], interval: float | None) -> None:
    """And not at all when it watches another process, or nobody."""
    assert watchdog_interval(env, pid=7) == interval


def test_the_process_that_is_watched_is_this_one() -> None:
    assert watchdog_interval({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}) == 1.0


@pytest.mark.looptime
async def test_the_watchdog_is_fed_while_polling_makes_progress(manager: Manager) -> None:
    states = [State.RUNNING]
    async with anyio.create_task_group() as group:
        group.start_soon(watchdog, Notifier(manager.address), list, lambda: summarize(states), 20.0)
        await anyio.sleep(30)
        assert manager.heard() == ["WATCHDOG=1\nSTATUS=1 task: 1 running"] * 2
        states[0] = State.SUCCEEDED
        await anyio.sleep(20)
        assert manager.heard() == ["WATCHDOG=1\nSTATUS=1 task: 1 succeeded"]
        group.cancel_scope.cancel()


@pytest.mark.looptime
async def test_the_watchdog_starves_while_something_has_stalled(manager: Manager) -> None:
    """The status tells what; where polls come back in time, so does the food."""
    stalled: list[str] = []
    async with anyio.create_task_group() as group:
        group.start_soon(watchdog, Notifier(manager.address), lambda: stalled, lambda: "", 20.0)
        await anyio.sleep(10)
        assert manager.heard() == ["WATCHDOG=1\nSTATUS="]
        stalled += ["jobs: nothing came back for 41 s", "search: nor here"]
        await anyio.sleep(40)
        assert manager.heard() == ["STATUS=stalled: jobs: nothing came back for 41 s; search: nor here"] * 2
        stalled.clear()
        await anyio.sleep(20)
        assert manager.heard() == ["WATCHDOG=1\nSTATUS="]
        group.cancel_scope.cancel()


@pytest.mark.looptime
async def test_without_a_watchdog_the_status_is_told_all_the_same(manager: Manager) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(watchdog, Notifier(manager.address), list, lambda: "1 task", None)
        await anyio.sleep(STATUS_EVERY * 2.5)
        assert len(manager.heard()) == 3
        group.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("states", "told"),
    [
        ([], "0 tasks"),
        ([State.RUNNING], "1 task: 1 running"),
        ([State.SUCCEEDED, State.RUNNING, State.SUCCEEDED], "3 tasks: 1 running, 2 succeeded"),
    ],
)
def test_the_summary_counts_the_states_that_there_are(states: list[State], told: str) -> None:
    assert summarize(states) == told
