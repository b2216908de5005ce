"""Files that change, in every way that files are changed."""

import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

from poller.runtime import filewatch

pytestmark = pytest.mark.looptime


class Ear:
    """Counts the changes that are heard of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "poller.yaml"
        self.file.write_text("a: 1\n")
        (folder / "watchlist.d").mkdir()
        self.heard = 0
        self.known: filewatch.Stamp = frozenset()

    def sources(self) -> tuple[list[Path], list[str]]:
        return [self.file], [str(self.folder / "watchlist.d" / "*.yaml")]

    async def listen(self) -> None:
        async for _ in filewatch.changes(self.sources, lambda: self.known):
            self.heard += 1
            self.read()

    def read(self) -> None:
        """Reads the files, as far as anybody who watches them can tell."""
        self.known = filewatch.stamp(self.sources)

    async def hears(self, change: Callable[[], object]) -> int:
        """How many changes are heard of ``change``."""
        self.heard = 0
        self.read()
        listening = asyncio.create_task(self.listen())
        await asyncio.sleep(5)
        made = change()
        if inspect.isawaitable(made):
            await made
        await asyncio.sleep(60)
        listening.cancel()
        return self.heard


@pytest.fixture
def ear(tmp_path: Path) -> Ear:
    return Ear(tmp_path)


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

    async def write_slowly() -> None:
        with ear.file.open("w") as file:
            for number in range(20):
                file.write(f"k{number}: 1\n")
                file.flush()
                await asyncio.sleep(0.2)

    assert await ear.hears(write_slowly) == 1


async def test_what_is_no_source_is_not_heard_of(ear: Ear) -> None:
    """Another file in the same folder, such as the store, changes all the time; a folder of includes is no other."""

    def elsewhere() -> None:
        for number in range(5):
            (ear.folder / "poller.db").write_text(str(number))
            (ear.folder / "watchlist.d" / "poller.db").write_text(str(number))
        ear.file.write_text("a: 4\n")

    assert await ear.hears(elsewhere) == 1


async def test_what_somebody_else_has_read_is_no_change(ear: Ear) -> None:
    """Who writes a file and asks for a reload has it read once, also when the change was noticed before he asked."""

    def write_and_read() -> None:
        ear.file.write_text("a: 5\n")
        ear.read()

    async def write_and_read_later() -> None:
        await asyncio.sleep(0.5)
        ear.file.write_text("a: 6\n")
        await asyncio.sleep(0.6)  # Noticed 0.1 s ago, and not at rest for 0.2 s yet.
        ear.read()

    assert await ear.hears(write_and_read) == 0
    assert await ear.hears(write_and_read_later) == 0


async def test_what_changes_while_it_is_read_is_heard_of(ear: Ear) -> None:
    """It may have been read as it was before."""

    def write_again() -> None:
        ear.file.write_text("a: 7\n")
        ear.read()
        ear.file.write_text("a: 78\n")

    assert await ear.hears(write_again) == 1


async def test_a_file_that_is_watched_from_now_on(ear: Ear) -> None:
    """Is as it is; what changed of the others while that became known is heard of."""
    before = filewatch.stamp(ear.sources)
    other = ear.folder / "watchlist.d" / "c.yaml"
    other.write_text("tasks: []\n")
    assert filewatch.since(before, filewatch.stamp(ear.sources)) == filewatch.stamp(ear.sources)
    ear.file.write_text("a: 89\n")
    assert filewatch.since(before, filewatch.stamp(ear.sources)) != filewatch.stamp(ear.sources)
    before = filewatch.stamp(ear.sources)
    other.unlink()
    assert filewatch.since(before, filewatch.stamp(ear.sources)) == filewatch.stamp(ear.sources)
