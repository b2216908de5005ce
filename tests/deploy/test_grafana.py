"""The shipped dashboard is what Grafana's own types allow, and laid out without overlaps."""

import contextlib
import hashlib
import itertools
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.deploy.dashboard import dashboard, panels, queries

pytestmark = pytest.mark.e2e

TYPES = Path(__file__).with_name("grafana")
NPM = shutil.which("npm")

Cell = tuple[int, int]


@pytest.fixture(scope="module")
def modules(pytestconfig: pytest.Config) -> Path:
    """node_modules with the two locked packages, installed once and then kept in pytest's cache."""
    if NPM is None:
        pytest.skip("npm is not installed: it brings Grafana's types")
    folder = pytestconfig.cache.mkdir("grafana-types")
    lock = (TYPES / "package-lock.json").read_bytes()
    kept = folder / hashlib.sha256(lock).hexdigest()[:16]
    if not kept.exists():
        # Complete or not there: another run of the tests may be installing as well.
        fresh = Path(tempfile.mkdtemp(dir=folder))
        _install(NPM, fresh)
        with contextlib.suppress(OSError):
            fresh.rename(kept)
    return kept / "node_modules"


def _install(npm: str, folder: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(TYPES / name, folder)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=90)
    if done.returncode:
        pytest.skip(f"npm could not install Grafana's types: {done.stderr}")


def test_grafanas_own_types_accept_the_dashboard(modules: Path, tmp_path: Path) -> None:
    """And refuse the mistakes in mistakes.ts, each of which is marked as one."""
    for name in ("schema.ts", "mistakes.ts", "tsconfig.json"):
        shutil.copy(TYPES / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(modules)
    value = json.dumps(dashboard(), indent=2)
    (tmp_path / "dashboard.ts").write_text(
        f"import type {{ OurDashboard }} from './schema';\nexport const dashboard: OurDashboard = {value};\n", "utf-8"
    )
    command = ["node", str(modules / "typescript" / "bin" / "tsc"), "--noEmit", "--strict", "--project", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_lock_names_no_place_to_download_from() -> None:
    """Whoever installs has a registry of their own."""
    assert "resolved" not in (TYPES / "package-lock.json").read_text("utf-8")


def test_panels_do_not_overlap() -> None:
    """Each stands within the 24 columns and on ground of its own."""
    taken: set[Cell] = set()
    for panel in panels():
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        cells = set(itertools.product(columns, range(place["y"], place["y"] + place["h"])))
        assert max(columns) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_panels_can_be_told_apart() -> None:
    ids = [panel["id"] for panel in panels()]
    titles = [panel["title"] for panel in panels()]
    assert len(set(ids)) == len(ids)
    assert len(set(titles)) == len(titles)


def test_every_panel_asks_the_data_source_that_was_chosen() -> None:
    """No dashboard may be tied to the machine that it was made on."""
    shown = [panel for panel in panels() if panel["type"] != "row"]
    sources = [part["datasource"] for panel in shown for part in (panel, *panel["targets"])]
    assert {source["uid"] for source in sources} == {"${datasource}"}


def test_variables_are_all_known() -> None:
    """`$__interval` and misspelt ones would reach Prometheus as they are."""
    assert [query.text for query in queries() if "$" in query.text] == []
    assert [variable["name"] for variable in dashboard()["templating"]["list"]] == ["datasource", "provider", "task"]
