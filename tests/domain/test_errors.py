"""The errors, and how mistakes in files read."""

import pytest

from poller.domain.errors import (
    ConfigError,
    NoSuchSinkError,
    NoSuchTaskError,
    PollerError,
    Problem,
    StartError,
    StoppingError,
    StoreError,
    StoreLockedError,
    UnstartableError,
    WatchlistError,
)
from poller.domain.observation import Observation, Outcome

LATE = Problem("b.yaml", 10, "tasks[0].name", "is empty")
EARLY = Problem("b.yaml", 9, "store", "found 7, a URL is allowed")
OTHER_FILE = Problem("a.yaml", 11, "", "no YAML")


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (EARLY, "b.yaml:9: store: found 7, a URL is allowed"),
        (OTHER_FILE, "a.yaml:11: no YAML"),
        (Problem("a.yaml", 0, "", "cannot be read"), "a.yaml: cannot be read"),
        (Problem("a.yaml", 0, "web.listen", "is missing"), "a.yaml: web.listen: is missing"),
    ],
)
def test_a_problem_reads_as_file_line_key_and_text(problem: Problem, line: str) -> None:
    """A mistake is one line that editors can jump to; what is not known is left out."""
    assert str(problem) == line


def test_a_config_error_tells_every_mistake_once_in_the_order_of_the_files() -> None:
    """Line 9 comes before line 10, and a mistake found twice is one mistake."""
    error = ConfigError(iter([LATE, EARLY, OTHER_FILE, LATE]))
    assert error.problems == [OTHER_FILE, EARLY, LATE]
    assert str(error) == f"{OTHER_FILE}\n{EARLY}\n{LATE}"


def test_the_tree_of_errors() -> None:
    """One `except PollerError` catches all that the user is told; a locked store is a store's error."""
    assert issubclass(ConfigError, PollerError)
    assert issubclass(StoreError, PollerError)
    assert issubclass(StoreLockedError, StoreError)
    assert not issubclass(ConfigError, StoreError)


def test_a_start_that_failed_keeps_what_the_provider_said() -> None:
    """Nothing, where nobody asked it."""
    seen = Observation(Outcome.REJECTED, code="Forbidden.RAM")
    assert StartError("refused", seen).seen is seen
    assert UnstartableError("nothing to start").seen is None
    assert isinstance(StoppingError("no"), PollerError)


def test_an_unknown_task_is_named() -> None:
    """In the words, and for programs."""
    error = NoSuchTaskError("ctr model")
    assert (str(error), error.name) == ("no task 'ctr model' is known", "ctr model")


def test_an_unknown_sink_is_named() -> None:
    """In the words, and for programs."""
    error = NoSuchSinkError("pager")
    assert (str(error), error.name) == ("no sink 'pager' is in the config", "pager")


def test_a_refused_change_of_the_watchlist_names_the_tasks() -> None:
    """In the order given, however they are given."""
    error = WatchlistError("two are in files", (name for name in ("b", "a")))
    assert (str(error), error.tasks) == ("two are in files", ("b", "a"))
