"""What users install holds all that poller reads at run time, and nothing else of the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
READ_AT_RUN_TIME = {
    "poller/providers/specs/http.yaml",
    "poller/providers/specs/alibaba-opensearch.yaml",
    "poller/simulator/demo.yaml",
    "poller/simulator/demo-scenario.yaml",
    "poller/web/templates/watchlist.html",
    "poller/web/templates/page.css",
    "poller/web/templates/live.js",
    "poller/store/migrations/env.py",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with wheel and sdist."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    return folder


def test_the_wheel_is_whole(built: Path) -> None:
    """Specs, templates, migrations and the demo are in it; tests are not."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert names >= READ_AT_RUN_TIME
    assert {name.split("/")[0] for name in names if not name.startswith("poller-")} == {"poller"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_sdist_builds_the_same_wheel(built: Path, tmp_path: Path) -> None:
    """Whoever packages from source gets what we publish."""
    (sdist,) = built.glob("*.tar.gz")
    subprocess.run(["tar", "-xzf", str(sdist), "-C", str(tmp_path)], check=True, timeout=60)
    (source,) = tmp_path.iterdir()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=60)
    (ours,) = built.glob("*.whl")
    (theirs,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(ours) as one, zipfile.ZipFile(theirs) as other:
        assert set(one.namelist()) == set(other.namelist())
