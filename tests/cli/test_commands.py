"""The list of commands says what they say themselves, and costs none of them."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from poller.cli import COMMANDS, app

HEAVY = ("aiohttp", "sqlalchemy", "pydantic", "structlog", "jinja2")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_listed_with_its_own_words(name: str) -> None:
    """The first line of its help; and every one has an example."""
    result = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"})
    words = " ".join(result.output.split())
    assert result.exit_code == 0
    assert COMMANDS[name][1] in words
    assert "Example: poller " in words


def test_help_imports_no_command() -> None:
    """Nor anything that takes time."""
    code = "import sys; from poller.cli import app; app(['--help'], standalone_mode=False); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    modules = set(out.splitlines()[-1].split())
    assert not modules.intersection(HEAVY)
    assert {name for name in modules if name.startswith("poller.cli")} == {"poller.cli"}
    assert all(name in out for name in COMMANDS)


def test_a_command_that_is_not_there_is_wrong_usage() -> None:
    """Which is told."""
    result = CliRunner().invoke(app, ["statsu"])
    assert (result.exit_code, "No such command 'statsu'" in result.output) == (2, True)
