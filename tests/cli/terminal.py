"""A command on a terminal, as a person has it."""

import asyncio
import fcntl
import os
import pty
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Terminal:
    """What a command wrote to its terminal so far, and how to press Ctrl-C."""

    def __init__(self, fd: int, process: asyncio.subprocess.Process) -> None:
        self._fd = fd
        self._process = process
        self.written = b""
        asyncio.get_running_loop().add_reader(fd, self._read)

    def _read(self) -> None:
        try:
            got = os.read(self._fd, 65_536)
        except OSError:
            got = b""
        if not got:
            asyncio.get_running_loop().remove_reader(self._fd)
        self.written += got

    async def until(self, holds: Callable[[str], bool]) -> None:
        """Waits until what was written is such."""
        async with asyncio.timeout(30):
            while not holds(self.written.decode(errors="replace")):
                await asyncio.sleep(0.02)

    async def interrupted(self) -> tuple[int, str]:
        """Presses Ctrl-C; the exit status, and all that was written."""
        os.write(self._fd, b"\x03")
        async with asyncio.timeout(10):
            status = await self._process.wait()
        await asyncio.sleep(0.05)
        return status, self.written.decode(errors="replace")


@asynccontextmanager
async def terminal(*arguments: str, rows: int = 24, columns: int = 100) -> AsyncIterator[Terminal]:
    """`poller` with these arguments on a terminal of this size; gone afterwards whatever happens."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def take() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        # Whoever runs the tests in the background has them ignore Ctrl-C.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "poller", *arguments),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color"} | {"COLUMNS": str(columns), "LINES": str(rows)},
        preexec_fn=take,
    )
    os.close(theirs)
    shown = Terminal(ours, process)
    try:
        yield shown
    finally:
        asyncio.get_running_loop().remove_reader(ours)
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)
