"""The service on a real systemd: installed as its README says, hung, killed, and found to have lost nothing.

The checks themselves are in checks.py, which runs in the machine; ``pytest -rP`` shows their log.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.boot.machine import CHECKOUT, Machine, missing, shell_blocks

HERE = Path(__file__).parent
DEPLOY = Path("deploy/systemd")
CLOUD = "http://127.0.0.1:9818"

pytestmark = pytest.mark.e2e


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """One with the program installed, and all that README.md and checks.py want to find."""
    if reason := missing():
        pytest.skip(reason)
    # Not in tmp_path, which outlives the test.
    with tempfile.TemporaryDirectory(prefix="poller-boot-") as folder:
        machine = Machine(Path(folder))
        machine.install_program((CHECKOUT / DEPLOY / "README.md").read_text(), tmp_path)
        furnish(machine.root)
        yield machine


def furnish(root: Path) -> None:
    """Lays out the deliverables as in a checkout, what stands around them, and checks.py, to run at boot."""
    source, units = root / "checkout", root / "etc/systemd/system"
    shutil.copytree(CHECKOUT / DEPLOY, source / DEPLOY)
    config = source / DEPLOY / "poller.yaml"
    text = config.read_text()
    assert "https://jobs.example.com" in text
    config.write_text(text.replace("https://jobs.example.com", CLOUD))
    (source / "install.sh").write_text(shell_blocks((source / DEPLOY / "README.md").read_text())[1])
    sudo = root / "usr/local/bin/sudo"
    sudo.write_text('#!/bin/sh\nexec "$@"\n')
    sudo.chmod(0o755)
    for name in ("checks.py", "scenario.yaml"):
        shutil.copy(HERE / name, source)
    for name in ("checks.service", "simulator.service"):
        shutil.copy(HERE / name, units)
    (units / "poller.service.d").mkdir()
    shutil.copy(HERE / "impatient.conf", units / "poller.service.d")
    (units / "multi-user.target.wants" / "checks.service").symlink_to("../checks.service")


# The machine is made in 20 to 70 seconds when there is none yet.
@pytest.mark.timeout(400)
def test_the_service_stays_up_and_keeps_its_state(machine: Machine) -> None:
    machine.boot()
    log = (machine.root / "log").read_text()
    print(log)  # noqa: T201 - shown when the test fails, or with -rP
    assert log.splitlines()[-1].endswith("all is well")
