"""The container image: what its Dockerfile promises, and what it does when built and run."""

import asyncio
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import pytest

from tests.daemon.process import job, local_cloud, write_config
from tests.deploy.containers import Engine, missing
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy/Dockerfile"
IMAGE = "localhost/poller:test"
LONGEST_STOP = 10.0
"""Seconds that the daemon may take to end after SIGTERM."""

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
VERSION = PROJECT["version"]
LOCKED_DOWN = (
    "--network=host",
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
)

OPEN = "'(' -user 65532 -o -group 65532 -o -perm -o+w -not -perm -1000 ')'"
CHANGEABLE = f"find / -xdev -path /var/lib/poller -prune -o -not -type l {OPEN} -print"
"""Lists what the user could write to if the root were not read-only; /tmp and its like, sticky, are everyone's."""

LEFT_OVER = """
PATH=/usr/local/bin:/usr/bin:$PATH
for tool in pip pip3 gcc cc make; do command -v $tool; done
python3 -m pip --version
ls /src /dist /tools
"""
"""Lists what an image has no use for once it is built."""


def test_hadolint_finds_no_fault() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), DOCKERFILE], capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.returncode) == ("", 0)


def test_only_what_the_dockerfile_copies_is_sent_to_the_builder() -> None:
    """Whatever else lies in the tree, a secret say, cannot get into a layer."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source
        for line in DOCKERFILE.read_text("utf-8").splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    }

    assert "*" in lines
    assert allowed == copied


def test_the_image_has_the_versions_that_are_tested_and_every_one_by_its_hash() -> None:
    tested, run, build = (pins(name) for name in ("requirements.lock", "requirements.txt", "requirements-build.txt"))
    needed = {canonical(re.split(r"[^\w.-]", wanted)[0]) for wanted in PROJECT["dependencies"]}

    assert needed <= run.keys(), "run ./dev lock"
    assert run.items() | build.items() <= tested.items(), "run ./dev lock"
    assert "hatchling" in build


def pins(name: str) -> dict[str, str]:
    """The version of each package that a locked file pins."""
    text = (ROOT / name).read_text("utf-8")
    assert "://" not in text
    pinned = re.findall(r"^([\w.-]+)==(\S+)[^\\\n]*\\\n +--hash=sha256:", text, re.MULTILINE)
    assert len(pinned) == len(re.findall(r"^\w", text, re.MULTILINE))
    return {canonical(package): version for package, version in pinned}


def canonical(package: str) -> str:
    """Its name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", package).lower()


@pytest.fixture
def engine() -> Iterator[Engine]:
    """With its images, which are big, in a folder that is gone afterwards; its name is short, as podman wants it."""
    if reason := missing():
        pytest.skip(reason)
    with TemporaryDirectory(prefix="poller-", dir="/var/tmp") as folder:
        yield Engine(Path(folder))


@pytest.mark.e2e
@pytest.mark.timeout(200)
async def test_the_image_runs_read_only_without_privileges_and_ends_in_time(engine: Engine, tmp_path: Path) -> None:
    """Built from a bare Python on Debian, it polls a task to its end, can write nothing but its state, and stops."""
    engine.make_base("localhost/base:1")
    engine.build(IMAGE, ROOT, DOCKERFILE, BASE="localhost/base:1", REVISION="0123abc")
    described = engine.inspect(IMAGE)
    assert_described(described["Config"])

    url, log = f"http://127.0.0.1:{free_port()}", tmp_path / "log"
    async with local_cloud(tasks=[{"api": "job", "name": "j1", "params": {"job_id": "j1"}, "duration": "1s"}]) as (
        _,
        cloud,
    ):
        settings = {"web": {"listen": url.removeprefix("http://")}, "store": "sqlite:////var/lib/poller/poller.db"}
        write_config(tmp_path, cloud, [job("j1")], **settings)
        tmp_path.chmod(0o755)  # The user in there is none of this machine.
        with engine.running("poller", IMAGE, log, *LOCKED_DOWN, f"--volume={tmp_path}:/etc/poller:ro") as process:
            await until_answered(f"{url}/-/ready", "ready", process, log)
            await until_answered(f"{url}/api/v1/tasks/j1", '"state":"succeeded"', process, log)

            await asyncio.to_thread(assert_locked_down, engine)
            healthcheck = shlex.join(described["Healthcheck"]["Test"][1:]).replace("http://127.0.0.1:9817", url)
            assert engine.execute("poller", "sh", "-c", f"{healthcheck} && echo healthy") == "healthy\n"

            asked = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, LONGEST_STOP * 2) == 0, log.read_text("utf-8")
            assert time.monotonic() - asked < LONGEST_STOP
    assert '"event":"daemon.stopped"' in log.read_text("utf-8")


def assert_described(config: dict[str, Any]) -> None:
    """The image says who it runs as, what it runs, what it is and where its state is."""
    assert config["User"] == "65532:65532"
    assert (config["Entrypoint"], config["Cmd"]) == (["poller"], ["run"])
    assert config["Labels"]["org.opencontainers.image.version"] == VERSION
    assert config["Labels"]["org.opencontainers.image.revision"] == "0123abc"
    assert list(config["Volumes"]) == ["/var/lib/poller"]


def assert_locked_down(engine: Engine) -> None:
    """The first process is poller, without any privilege, among nothing to build with and nothing to write to."""

    def inside(script: str) -> list[str]:
        return engine.execute("poller", "sh", "-c", script).splitlines()

    assert inside("id -u; id -g; cat /proc/1/comm") == ["65532", "65532", "poller"]
    assert inside("grep -E 'CapPrm|CapBnd|NoNewPrivs' /proc/1/status | cut -f2") == ["0" * 16, "0" * 16, "1"]
    assert inside(LEFT_OVER) == []
    assert inside("touch /opt/poller/x /etc/x; poller --version") == [f"poller {VERSION}"]
    assert inside(CHANGEABLE) == []


async def until_answered(url: str, text: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until a page has a text; fails when the process ends first."""
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        while True:
            assert process.poll() is None, log.read_text("utf-8")
            try:
                async with session.get(url) as response:
                    if text in await response.text():
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
