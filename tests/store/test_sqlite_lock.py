"""One daemon to an SQLite file, whatever becomes of it."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from poller.domain.errors import StoreError, StoreLockedError
from poller.store import open_store
from tests.store.lives import batch_of, daemon


async def test_a_second_store_on_one_file_is_refused(tmp_path: Path) -> None:
    """With the file and who holds it; the first one goes on, and the second gets its turn afterwards."""
    file = tmp_path / "poller.db"
    first, second = open_store(f"sqlite:///{file}"), open_store(f"sqlite:///{file}")
    await first.open()
    with pytest.raises(StoreLockedError) as caught:
        await second.open()
    assert str(caught.value) == (
        f"{file}: another poller (process {os.getpid()}) works on it: "
        "stop that one, or name another file for this store"
    )
    await first.commit(batch_of("a"))
    await first.close()
    await second.open()
    assert len(await second.untold()) == 1
    await second.close()


async def test_two_names_of_one_file_are_one_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative, absolute, and through a symbolic link."""
    (tmp_path / "link").symlink_to(tmp_path / "poller.db")
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///poller.db")
    await store.open()
    for other in ("link", tmp_path / "poller.db", tmp_path / "link"):
        with pytest.raises(StoreLockedError):
            await open_store(f"sqlite:///{other}").open()
    await store.close()


async def test_a_store_is_refused_while_another_process_holds_it_and_free_once_that_is_killed(tmp_path: Path) -> None:
    """SIGKILL leaves nothing to clean up."""
    url = f"sqlite:///{tmp_path}/poller.db"
    store = open_store(url)
    with daemon(url, "waits") as holder:
        with pytest.raises(StoreLockedError, match=rf"process {holder.pid}\)"):
            await store.open()
        holder.kill()
        await store.open()
    await store.close()


async def test_the_refusal_does_without_the_process_id_if_that_is_not_known(tmp_path: Path) -> None:
    """The lock is what counts, not what stands in its file."""
    url = f"sqlite:///{tmp_path}/poller.db"
    store = open_store(url)
    await store.open()
    (tmp_path / "poller.db.lock").write_text("rubbish")
    with pytest.raises(StoreLockedError, match="another poller works on it"):
        await open_store(url).open()
    await store.close()


async def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems have none; no store is opened unguarded."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreError, match=r"poller\.db: no locks available"):
        await open_store(f"sqlite:///{tmp_path}/poller.db").open()


async def test_a_lock_file_that_was_left_behind_hinders_nobody(tmp_path: Path) -> None:
    """Nor does the process id in it, be it that of a living process."""
    (tmp_path / "poller.db.lock").write_text("1\n")
    store = open_store(f"sqlite:///{tmp_path}/poller.db")
    await store.open()
    assert (tmp_path / "poller.db.lock").read_text() == f"{os.getpid()}\n"
    await store.close()


async def test_stores_in_memory_know_nothing_of_each_other() -> None:
    """Any number at a time."""
    first, second = open_store("sqlite://"), open_store("sqlite://")
    await first.open()
    await second.open()
    await first.commit(batch_of("a"))
    assert await second.untold() == []
    await first.close()
    await second.close()
