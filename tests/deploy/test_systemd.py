"""The unit and its example config, as systemd's own tools and poller read them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from poller.config.loading import load

pytestmark = pytest.mark.e2e

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNIT = FOLDER / "poller.service"
DROP_IN = FOLDER / "notify-reload.conf"

INSTALLED = "/opt/poller/bin/poller"
"""Where README.md installs the program."""

MOST_EXPOSED = 1.5
"""The exposure, of 10, above which the sandbox has a hole that it need not have."""

NOTIFY_RELOAD_SINCE = 253
"""The first systemd that knows Type=notify-reload."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (Debian package systemd)"
)


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs `systemd-analyze`."""
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60)


def version() -> int:
    """Of systemd: the number in "systemd 252 (252.38-1~deb12u1)"."""
    return int(analyze("--version").stdout.split()[1])


def assert_sound(unit: Path) -> None:
    """Whatever systemd has to say against a unit goes to its standard error, at times with exit status 0."""
    found = analyze("verify", "--man=no", "--recursive-errors=no", unit)
    assert (found.returncode, found.stderr) == (0, ""), found.stderr


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that is there in place of the one that is yet to be installed."""
    program = tmp_path / "poller"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = UNIT.read_text()
    assert f"\nExecStart={INSTALLED} " in text
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace(INSTALLED, str(program)))
    return copy


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_unit(unit: Path) -> None:
    assert_sound(unit)


@needs_systemd
def test_the_check_of_the_unit_finds_a_misspelt_key(unit: Path) -> None:
    """Or it would prove nothing."""
    unit.write_text(unit.read_text().replace("WatchdogSec=", "WatchDogSec="))
    with pytest.raises(AssertionError, match=r"Unknown key .*'WatchDogSec'"):
        assert_sound(unit)


@needs_systemd
def test_the_drop_in_for_a_newer_systemd_is_sound(unit: Path) -> None:
    """An older one says that it does not know the type, and nothing else."""
    folder = unit.with_name(f"{unit.name}.d")
    folder.mkdir()
    shutil.copy(DROP_IN, folder)
    if version() >= NOTIFY_RELOAD_SINCE:
        assert_sound(unit)
        return
    said = analyze("verify", "--man=no", "--recursive-errors=no", unit).stderr.splitlines()
    assert [line.rpartition(": ")[2] for line in said] == ["notify-reload"]


@needs_systemd
def test_the_unit_is_locked_in() -> None:
    """Without a network it would score better, and poll nothing."""
    found = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED * 10:.0f}", "--no-pager", UNIT)
    assert (found.returncode, found.stderr) == (0, ""), found.stdout


@needs_systemd
def test_the_check_of_the_sandbox_finds_a_hole(tmp_path: Path) -> None:
    """Or it would prove nothing."""
    hole = tmp_path / UNIT.name
    hole.write_text(UNIT.read_text().replace("CapabilityBoundingSet=\n", "").replace("PrivateUsers=yes\n", ""))
    assert analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED * 10:.0f}", hole).returncode != 0


def test_the_example_config_holds_no_mistake(tmp_path: Path) -> None:
    """Installed as README.md says, with the credential that the unit hands over."""
    (tmp_path / "watchlist.d").mkdir()
    shutil.copy(FOLDER / "poller.yaml", tmp_path)
    (tmp_path / "jobs-token").write_text("s3cret")
    assert "\nLoadCredential=jobs-token:/etc/poller/secrets/jobs-token\n" in UNIT.read_text()
    loaded = load(tmp_path / "poller.yaml", env={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert loaded.settings.store.url == "sqlite:////var/lib/poller/poller.db"
