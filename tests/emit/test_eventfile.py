"""Files of events: whole lines only, whatever happens."""

import asyncio
import errno
import json
import os
import stat
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from poller.domain.events import Transition
from poller.emit.envelope import event
from poller.emit.eventfile import EventFile, append
from tests.emit.test_envelope import MOVED

LINE = event(MOVED) + b"\n"


def moved(*ids: str) -> Sequence[Transition]:
    return [replace(MOVED, transition_id=each) for each in ids]


def ids(path: Path) -> list[str]:
    """The ids in a file of which every line is an event."""
    text = path.read_text("utf-8")
    assert text.endswith("\n")
    return [json.loads(line)["id"] for line in text.splitlines()]


async def test_each_event_is_a_line(tmp_path: Path) -> None:
    """Behind those that are there; the file is not for everybody to read."""
    path = tmp_path / "events.jsonl"
    assert (await EventFile(path).deliver(moved("a", "b"))).error is None
    assert (await EventFile(path).deliver(moved("c"))).error is None
    assert ids(path) == ["a", "b", "c"]
    assert not stat.S_IMODE(path.stat().st_mode) & stat.S_IRWXO


async def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    """As logrotate does, with or without telling."""
    path, old = tmp_path / "events.jsonl", tmp_path / "events.jsonl.1"
    sink = EventFile(path)
    await sink.deliver(moved("a"))
    path.rename(old)
    await sink.deliver(moved("b"))
    assert (ids(old), ids(path)) == (["a"], ["b"])


@pytest.mark.parametrize("length", [1, 5, 27, 28, 200, len(LINE) - 2])
async def test_a_line_that_was_torn_is_taken_back(tmp_path: Path, length: int) -> None:
    """After a power cut in the middle of a write; its event comes again."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(LINE + LINE[:length])
    await EventFile(path).deliver(moved("b"))
    assert ids(path) == [MOVED.transition_id, "b"]


async def test_a_whole_event_without_its_end_is_ended(tmp_path: Path) -> None:
    """Only the line break was lost."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(LINE[:-1])
    await EventFile(path).deliver(moved("b"))
    assert ids(path) == [MOVED.transition_id, "b"]


@pytest.mark.parametrize("foreign", [b"a note by hand", b'{"mine": 1', b"x" * 2_000_000])
async def test_what_is_no_event_of_ours_is_left_as_it_is(tmp_path: Path, foreign: bytes) -> None:
    """Whoever names a file of another kind loses nothing of it."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(foreign)
    await EventFile(path).deliver(moved("b"))
    assert path.read_bytes().startswith(foreign + b"\n")
    assert json.loads(path.read_bytes().splitlines()[-1])["id"] == "b"


async def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a batch that does not fit; the failure concerns the whole sink, and says what is wrong."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(LINE)
    write = os.write

    def full(opened: int, data: bytes) -> int:
        if len(data) < 1_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(opened, data[:1_000])

    monkeypatch.setattr(os, "write", full)
    answer = await EventFile(path).deliver(moved("a", "b", "c"))
    assert (answer.error, answer.whole) == (f"{path}: No space left on device", True)
    assert path.read_bytes() == LINE
    monkeypatch.undo()
    await EventFile(path).deliver(moved("a"))
    assert ids(path) == [MOVED.transition_id, "a"]


async def test_what_the_disk_did_not_take_is_not_delivered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing fsync is a failure."""
    path = tmp_path / "events.jsonl"

    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    assert (await EventFile(path).deliver(moved("a"))).error == f"{path}: Input/output error"
    assert path.read_bytes() == b""


async def test_a_disk_that_hangs_keeps_nobody_from_stopping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for it can be cancelled; the write ends by itself, and its event comes again."""
    path, hanging, over = tmp_path / "events.jsonl", threading.Event(), threading.Event()

    def hang(_: int) -> None:
        hanging.set()
        over.wait(30)

    monkeypatch.setattr(os, "fsync", hang)
    delivering = asyncio.create_task(EventFile(path).deliver(moved("a")))
    await asyncio.to_thread(hanging.wait, 30)
    delivering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivering
    over.set()
    monkeypatch.undo()
    await EventFile(path).deliver(moved("a"))
    assert ids(path) == ["a", "a"]


@pytest.mark.parametrize("name", ["folder", "nowhere/events.jsonl"])
async def test_a_path_that_cannot_be_written_is_told(tmp_path: Path, name: str) -> None:
    """Where, and why; it never raises."""
    (tmp_path / "folder").mkdir()
    answer = await EventFile(tmp_path / name).deliver(moved("a"))
    assert answer.error is not None
    assert answer.error.startswith(str(tmp_path / name))


def test_a_real_full_device_is_told() -> None:
    """The system's own stand-in for a full disk."""
    with pytest.raises(OSError, match="No space left"):
        append(Path("/dev/full"), LINE)
