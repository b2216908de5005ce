"""Images built and run with real tools, in folders of their own, also where no image registry can be reached."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LONGEST_STEP = 180
"""Seconds, after which a tool is taken to hang."""

# What the official image of Python has beside Python itself: pip and setuptools, installed as if by pip.
BRING_PIP = """
rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED
chroot "$1" sh -c 'w=/usr/share/python-wheels; python3 $w/pip-*/pip install --no-index --find-links $w pip setuptools'
""".replace("$w/pip-*/pip", '"$(echo $w/pip-*.whl)/pip"')

# Containers start in a mount namespace whose cgroups are of version 2, whatever those of the machine are.
CLEAN_CGROUPS = 'mount -t cgroup2 none /sys/fs/cgroup && exec "$@"'


def missing() -> str | None:
    """Why no container can be built and run here; None when one can."""
    if os.geteuid() != 0:
        return "needs root"
    if lacking := [tool for tool in ("mmdebstrap", "buildah", "podman", "crun", "unshare") if not shutil.which(tool)]:
        return f"needs {', '.join(lacking)}"
    if subprocess.run(unshared("true"), capture_output=True, check=False).returncode:
        return "needs to be allowed a mount namespace"
    return None


def unshared(*command: str) -> list[str]:
    """A command in a mount namespace of its own."""
    return ["unshare", "--mount", "--propagation=private", "sh", "-c", CLEAN_CGROUPS, "sh", *command]


class Engine:
    """buildah and podman on images and containers below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = (f"--root={folder}/root", f"--runroot={folder}/run", "--storage-driver=vfs")

    def make_base(self, image: str) -> None:
        """A Debian with Python and pip, as the base of other images: unpacked only, which is enough and quick."""
        archive = self._folder / "base.tar"
        packages = "base-files,coreutils,dash,findutils,grep,libstdc++6,python3-venv"
        small = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "locale", "man")]
        run(
            *("mmdebstrap", "--variant=extract", f"--include={packages}", *small),
            *('--aptopt=Acquire::Languages "none"', f"--customize-hook={BRING_PIP}", "bookworm", str(archive)),
        )
        self.podman("import", str(archive), image)
        archive.unlink()

    def build(self, image: str, context: Path, dockerfile: Path, **arguments: str) -> None:
        """Builds an image; pip in there finds its packages where pip finds them here."""
        run(
            *("buildah", *self._store, "bud", "--isolation=chroot", "--format=docker", f"--tag={image}"),
            *(f"--build-arg={name}={value}" for name, value in arguments.items()),
            *(f"--volume={source}:{target}:ro" for source, target in self._pip_surroundings()),
            *(f"--file={dockerfile}", str(context)),
        )

    def inspect(self, image: str) -> dict[str, Any]:
        """What an image says of itself."""
        description: dict[str, Any]
        (description,) = json.loads(self.podman("image", "inspect", image))
        return description

    @contextmanager
    def running(self, name: str, image: str, log: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        """A container that runs its image's own command; signals to the process given go to it. Gone afterwards."""
        # No limit is raised and no cgroup made: a root without all capabilities may do neither.
        limits = ("--cgroups=disabled", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024", "--no-healthcheck")
        command = self._podman("run", f"--name={name}", *limits, *options, image)
        with log.open("wb") as output, subprocess.Popen(unshared(*command), stdout=output, stderr=output) as process:
            try:
                yield process
            finally:
                process.kill()
                self.podman("rm", "--force", "--volumes", "--time=0", name)

    def execute(self, name: str, *command: str) -> str:
        """What a command in a running container says on standard output; it may fail."""
        return subprocess.run(
            unshared(*self._podman("exec", name, *command)),
            capture_output=True,
            text=True,
            timeout=LONGEST_STEP,
            check=False,
        ).stdout

    def podman(self, *arguments: str) -> str:
        """What a podman command says on standard output."""
        return run(*unshared(*self._podman(*arguments)))

    def _podman(self, *arguments: str) -> tuple[str, ...]:
        quiet = ("--cgroup-manager=cgroupfs", "--events-backend=none", "--runtime=crun")
        return ("podman", *self._store, f"--tmpdir={self._folder}/tmp", *quiet, *arguments)

    def _pip_surroundings(self) -> Iterator[tuple[str, str]]:
        """This machine's configuration of pip and every file and folder that it names, each with its place in there."""
        listed = run(sys.executable, "-m", "pip", "config", "list")
        settings = dict(re.findall(r"^\S+\.(\S+)='(.*)'$", listed, re.MULTILINE))
        file = self._folder / "pip.conf"
        file.write_text("\n".join(["[global]", *(f"{key} = {value}" for key, value in settings.items())]), "utf-8")
        yield str(file), "/etc/pip.conf"
        words = [word for value in settings.values() for word in value.split()]
        # The files of an index lie beside it.
        paths = {Path(word.removeprefix("file://")).parent if "://" in word else Path(word) for word in words}
        for path in paths:
            if path.is_absolute() and path.exists():
                yield str(path), str(path)


def run(*command: str) -> str:
    """What a command says on standard output. Fails with all that it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_STEP, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4_000:]}\n{done.stderr[-4_000:]}"
    return done.stdout
