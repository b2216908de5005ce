"""The rules of who may import whom, which import-linter checks, know every dependency."""

import importlib.metadata
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def test_no_dependency_is_missing_where_domain_forbids_them() -> None:
    project = tomllib.loads(PYPROJECT.read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    (forbidden,) = [c["forbidden_modules"] for c in contracts if c.get("source_modules") == ["poller.domain"]]
    dependencies = {Requirement(line).name for line in project["project"]["dependencies"]}
    brought = {
        module
        for module, distributions in importlib.metadata.packages_distributions().items()
        if dependencies & {name.lower() for name in distributions} and not module.startswith("_")
    }
    assert brought - set(forbidden) == set()
