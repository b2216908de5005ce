"""One daemon to a file: a lock that the kernel gives back however the daemon ends, `kill -9` included."""

import fcntl
import os
from pathlib import Path


class FileLock:
    """An exclusive lock on a file of its own, made at ``path``, which tells the process id of the holder.

    The file stays when the lock is given back: were it removed, two daemons could each hold "the" lock, on two files.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Takes the lock and says whether that worked: not while someone else holds it. OSError as files have them."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Gives the lock back, if it is held."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        os.close(descriptor)

    def holder(self) -> int | None:
        """The process id of who holds the lock, if that is known."""
        try:
            return int(self._path.read_text())
        except (OSError, ValueError):
            return None
