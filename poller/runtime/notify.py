"""What the service manager is told: that the daemon is ready, reloads, stops, and still makes progress (sd_notify).

The protocol is one datagram of ``KEY=value`` lines to the socket in ``$NOTIFY_SOCKET``: sd_notify(3).
"""

import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

import anyio

from poller.domain.state import State

STATUS_EVERY = 20.0
"""Seconds between two looks at how things are, where no watchdog asks for more."""


class Notifier:
    """Tells the service manager that listens at ``address``; without one nothing happens.

    Nothing here waits or raises: what cannot be told is lost. ``clock`` is CLOCK_MONOTONIC in nanoseconds.
    """

    def __init__(self, address: str | None, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """``address``: a socket's path, or ``@`` and an abstract name."""
        self._address = "\0" + address[1:] if address and address[0] == "@" else address
        self._clock = clock

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Notifier":
        """The one for the service manager that started this process, if one did."""
        return cls(env.get("NOTIFY_SOCKET"))

    @property
    def listened_to(self) -> bool:
        """Whether there is anyone to tell."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """The start, or a reload, is finished."""
        self._send("READY=1", _status(status))

    def reloading(self) -> None:
        """A reload begins; `ready` must follow, whether it succeeds or not."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={self._clock() // 1_000}")

    def stopping(self, status: str) -> None:
        """The end begins."""
        self._send("STOPPING=1", _status(status))

    def status(self, text: str) -> None:
        """How things are, for `systemctl status`."""
        self._send(_status(text))

    def alive(self, status: str) -> None:
        """Feeds the watchdog, and tells how things are."""
        self._send("WATCHDOG=1", _status(status))

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.sendto("\n".join(lines).encode(errors="replace"), self._address)


def watchdog_interval(env: Mapping[str, str], pid: int | None = None) -> float | None:
    """Seconds between two feeds of the watchdog, a third of what it waits; None where none watches this process."""
    microseconds, watched = env.get("WATCHDOG_USEC", ""), env.get("WATCHDOG_PID")
    if not (microseconds.isascii() and microseconds.isdigit() and int(microseconds)):
        return None
    if watched and watched != str(os.getpid() if pid is None else pid):
        return None
    return int(microseconds) / 3e6


async def watchdog(
    notifier: Notifier, stalled: Callable[[], Sequence[str]], summary: Callable[[], str], interval: float | None
) -> None:
    """Feeds the watchdog every ``interval`` seconds for as long as nothing has stalled, and tells how things are.

    It runs on the event loop that polls, so that a loop which hangs feeds nothing either. Without an interval it only
    tells. Returns at once where nobody listens, else never.
    """
    while notifier.listened_to:
        if sentences := stalled():
            notifier.status(f"stalled: {'; '.join(sentences)}")
        else:
            notifier.alive(summary())
        await anyio.sleep(STATUS_EVERY if interval is None else interval)


def summarize(states: Iterable[State]) -> str:
    """How many tasks there are, and in which states: ``3 tasks: 1 running, 2 succeeded``."""
    counts = Counter(states)
    parts = ", ".join(f"{counts[state]} {state.value}" for state in State if counts[state])
    total = counts.total()
    return f"{total} {'task' if total == 1 else 'tasks'}{': ' if parts else ''}{parts}"


def _status(text: str) -> str:
    """``text`` as the one line that the protocol allows."""
    return f"STATUS={' '.join(text.split())}"
