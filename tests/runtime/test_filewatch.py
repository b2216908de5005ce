"""Files that change, in every way that files are changed."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from poller.runtime import filewatch


class Ear:
    """Counts the changes that are heard of."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(filewatch, "SETTLE_SECONDS", 0.1)
        monkeypatch.setattr(filewatch, "LOOK_SECONDS", 0.1)
        self.folder = folder
        self.file = folder / "poller.yaml"
        self.file.write_text("a: 1\n")
        (folder / "watchlist.d").mkdir()
        self.heard = 0

    def sources(self) -> tuple[list[Path], list[Path]]:
        return [self.file], [self.folder / "watchlist.d"]

    async def listen(self) -> None:
        last = filewatch.stamp(self.sources)
        async for _ in filewatch.changes(self.sources, last):
            self.heard += 1

    async def hears(self, change: Callable[[], object]) -> int:
        """How many changes are heard of ``change``."""
        listening = asyncio.create_task(self.listen())
        try:
            await asyncio.sleep(0.05)
            await asyncio.to_thread(change)
            async with asyncio.timeout(10):
                while not self.heard:
                    await asyncio.sleep(0.02)
            await asyncio.sleep(0.5)
            return self.heard
        finally:
            listening.cancel()


@pytest.fixture
def ear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ear:
    return Ear(tmp_path, monkeypatch)


async def test_a_file_written_in_place(ear: Ear) -> None:
    """Is one change."""
    assert await ear.hears(lambda: ear.file.write_text("a: 2\n")) == 1


async def test_a_file_replaced_at_once(ear: Ear) -> None:
    """As editors and configuration management do."""

    def replace() -> None:
        other = ear.folder / "new"
        other.write_text("a: 3\n")
        other.replace(ear.file)

    assert await ear.hears(replace) == 1


async def test_a_symlink_that_is_swapped(ear: Ear) -> None:
    """As Kubernetes does with a ConfigMap: the file's own folder entry stays as it is."""
    for version in ("1", "2"):
        (ear.folder / version).mkdir()
        (ear.folder / version / "poller.yaml").write_text(f"a: {version}\n")
    (ear.folder / "..data").symlink_to("1")
    ear.file.unlink()
    ear.file.symlink_to("..data/poller.yaml")

    def swap() -> None:
        (ear.folder / "..tmp").symlink_to("2")
        (ear.folder / "..tmp").replace(ear.folder / "..data")

    assert await ear.hears(swap) == 1


async def test_a_file_that_comes_into_a_folder(ear: Ear) -> None:
    """Patterns of includes look there."""
    assert await ear.hears(lambda: (ear.folder / "watchlist.d" / "b.yaml").write_text("tasks: []\n")) == 1


async def test_a_slow_writer_is_waited_for(ear: Ear) -> None:
    """Half a file is not read."""

    def write_slowly() -> None:
        with ear.file.open("w") as file:
            for number in range(8):
                file.write(f"k{number}: 1\n")
                file.flush()
                os.fsync(file.fileno())
                _pause()

    assert await ear.hears(write_slowly) == 1


def _pause() -> None:
    import threading

    threading.Event().wait(0.06)


async def test_what_is_no_source_is_not_heard_of(ear: Ear) -> None:
    """Another file in the same folder, such as the store, changes all the time."""

    def elsewhere() -> None:
        for number in range(5):
            (ear.folder / "poller.db").write_text(str(number))
        ear.file.write_text("a: 4\n")

    assert await ear.hears(elsewhere) == 1
