"""A Debian machine with a systemd of its own, made of files: poller is installed in it, and it is booted."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

CHECKOUT = Path(__file__).parents[3]
CACHE = CHECKOUT / "build" / "boot"
"""Where the machine is kept between runs, bare; ignored by git."""

PACKAGES = "systemd,systemd-sysv,dbus,python3-venv,procps"
WITHOUT = ("doc", "i18n", "info", "locale", "man")
"""Below /usr/share: what takes a while to unpack and nobody reads here."""

PYTHON = (3, 11)
"""Of Debian 12: extension modules are copied from this environment, which must have the same."""

TOOLS = {"mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container"}
"""The commands that this takes, and the Debian packages that bring them."""

OFFLINE = ("--no-index", "--no-deps")
"""Options of pip."""

LONGEST_LIFE = 110.0
"""Seconds from power on to power off, at most."""

Program = tuple[str, frozenset[str]]


def missing() -> str | None:
    """Why no machine can be made here; None when one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs Linux and root"
    if sys.version_info[:2] != PYTHON:
        return f"needs Debian 12's Python {'.'.join(map(str, PYTHON))} in the virtual environment"
    absent = [package for command, package in TOOLS.items() if shutil.which(command) is None]
    return f"Debian packages not installed: {' '.join(absent)}" if absent else None


class Machine:
    """One in ``root``, a folder of its own; switched off."""

    def __init__(self, root: Path) -> None:
        self.root = root
        run("tar", "-C", root, "-xf", bare_machine())

    def install_program(self, readme: str, wheels: Path) -> None:
        """The program as ``readme`` says, but without a network: what it needs comes from this environment."""
        apt, venv, pip = shell_blocks(readme)[0].splitlines()
        assert apt == "sudo apt-get install python3-venv"
        assert pip == "sudo /opt/poller/bin/pip install ."
        self.run(*venv.removeprefix("sudo ").split())
        (site,) = self.root.glob("opt/poller/lib/python3*/site-packages")
        for needed in requirements("poller"):
            _copy(needed, site)
        pip_wheel = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", *OFFLINE)
        run(*pip_wheel, "--wheel-dir", wheels, CHECKOUT)
        (wheel,) = wheels.glob("*.whl")
        shutil.copy(wheel, self.root)
        self.run("/opt/poller/bin/pip", "install", "--quiet", *OFFLINE, f"/{wheel.name}")
        self.run("/opt/poller/bin/pip", "check")

    def run(self, *command: str) -> None:
        """Runs a command in the machine, without booting it."""
        run(*_nspawn(self.root), "--pipe", *command)

    def boot(self) -> None:
        """Switches it on, and waits until it switches itself off."""
        # As on every current machine, whatever this one has: one hierarchy of control groups.
        env = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        run(*_nspawn(self.root), "--console=pipe", "--boot", env=env, timeout=LONGEST_LIFE)


def shell_blocks(readme: str) -> list[str]:
    """The commands that a README tells to enter, block by block."""
    return re.findall(r"^```sh\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)


def bare_machine() -> Path:
    """An archive of the machine without poller; made when it is asked for the first time."""
    options = ["--variant=minbase", f"--include={PACKAGES}", "--dpkgopt=force-unsafe-io"]
    options += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in WITHOUT]
    archive = CACHE / f"bookworm-{hashlib.sha256(' '.join(options).encode()).hexdigest()[:12]}.tar"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        unfinished = archive.with_name(f"unfinished-{os.getpid()}-{archive.name}")
        try:
            run("mmdebstrap", "--quiet", *options, "bookworm", unfinished, timeout=240)
            unfinished.rename(archive)
        finally:
            unfinished.unlink(missing_ok=True)
    return archive


def requirements(name: str) -> Iterator[Distribution]:
    """Everything that a program says it needs, directly or not, as it is installed in this environment."""
    seen: set[Program] = set()
    todo: list[Program] = [(name, frozenset())]
    while todo:
        program = todo.pop()
        if program in seen:
            continue
        seen.add(program)
        found = distribution(program[0])
        todo += _needed(found, program[1])
        if program[0] != name:
            yield found


def _needed(program: Distribution, extras: frozenset[str]) -> Iterator[Program]:
    for requirement in map(Requirement, program.requires or ()):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield requirement.name, frozenset(requirement.extras)


def _copy(program: Distribution, site: Path) -> None:
    for file in program.files or ():
        # Commands lie outside of site-packages, and start with this environment's interpreter.
        if ".." not in file.parts:
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(program.locate_file(file)), target)


def _nspawn(root: Path) -> tuple[str | Path, ...]:
    return ("systemd-nspawn", "--quiet", "--directory", root, "--register=no", "--keep-unit", "--private-network")


def run(*command: str | Path, env: dict[str, str] | None = None, timeout: float = 60) -> None:
    """Runs a command to its end, within ``timeout`` seconds; AssertionError, with all it said, when it fails."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout.decode(errors='replace')}"
