"""A file is read whole or there is a reason; nothing is raised."""

import errno
import os
from pathlib import Path

import pytest

from poller.config.textfile import Unreadable, holds_control, numbered_lines, read_text, reason


def test_reads_utf8_with_and_without_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"\xef\xbb\xbfgr\xc3\xbc\xc3\x9fe\n")
    assert read_text(file, 100) == "grüße\n"
    file.write_bytes(b"a\r\nb")
    assert read_text(file, 100) == "a\r\nb"


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    told = {
        name: read_text(tmp_path / name, 10) for name in ("nothing", ".", "file/below", "loop", "x" * 300, "nul\0byte")
    }
    allowed = "a file that can be read is allowed"
    assert told == {
        "nothing": Unreadable(f"does not exist, {allowed}"),
        ".": Unreadable(f"a directory, {allowed}"),
        "file/below": Unreadable(f"does not exist, {allowed}"),
        "loop": Unreadable(f"a symbolic link that leads in circles, {allowed}"),
        "x" * 300: Unreadable(f"a name longer than the system allows, {allowed}"),
        "nul\0byte": Unreadable(f"a name no file can have, {allowed}"),
    }


def test_other_errors_of_the_system_are_named() -> None:
    assert reason(PermissionError(errno.EACCES, "x")) == "may not be read by this user"
    assert reason(OSError(errno.EIO, "x")) == f"cannot be read ({os.strerror(errno.EIO)})"


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "a"
    with file.open("wb") as sparse:
        sparse.truncate(100 * 1024 * 1024)
    assert read_text(file, 16 * 1024 * 1024) == Unreadable("100 MiB, at most 16 MiB is allowed")
    file.write_bytes(b"12345")
    assert read_text(file, 5) == "12345"
    assert read_text(file, 4) == Unreadable("5 bytes, at most 4 bytes is allowed")


def test_a_device_without_end_is_cut_off() -> None:
    assert isinstance(read_text(Path("/dev/zero"), 3 * 1024 * 1024), Unreadable)


def test_bytes_that_are_not_utf8_are_told_with_their_line(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"a\nb\nc: \xff\n")
    assert read_text(file, 100) == Unreadable("bytes that are not UTF-8, text in UTF-8 is allowed", 3)
    file.write_bytes("a: 1".encode("utf-16"))
    assert read_text(file, 100) == Unreadable("bytes that are not UTF-8, text in UTF-8 is allowed", 1)


@pytest.mark.parametrize("text", ["a\x00", "a\nb", "\x7f", "\ud800"])
def test_control_characters_and_half_pairs_are_found(text: str) -> None:
    assert holds_control(text)


@pytest.mark.parametrize("text", ["", "plain", "\u00a0 \u3000", "任务", "😀"])
def test_other_characters_are_not(text: str) -> None:
    assert not holds_control(text)


@pytest.mark.parametrize("text", ["", "a", "a\n", "a\n\nb", "\n\n"])
def test_lines_are_numbered_from_one(text: str) -> None:
    expected = text.split("\n")
    if expected[-1] == "":
        expected.pop()
    assert list(numbered_lines(text)) == list(enumerate(expected, 1))
