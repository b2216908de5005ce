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

    def sources(self) -> tuple[list[Path], list[str]]:
        return [self.file], [str(self.folder / "watchlist.d" / "*.yaml")]

    async def listen(self) -> None:
        last = filewatch.stamp(self.sources)
        async for _ in filewatch.changes(self.sources, last):
            self.heard += 1

    async def hears(self, change: Callable[[], object]) -> int:
        """How many changes are heard of ``change``."""
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
