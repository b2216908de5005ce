"""What is wrong with the store, told once: when it begins, and when all is well again."""

from structlog.typing import FilteringBoundLogger


class Trouble:
    """Everybody who works with the store says how that goes; the log has a line when the first one fails.

    Another one follows when the last one who failed succeeds again.
    """

    def __init__(self, logger: FilteringBoundLogger) -> None:
        self._logger = logger
        self._failing: set[str] = set()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._failing)

    def begin(self, what: str, error: Exception) -> None:
        """The store does not do ``what`` it was asked to."""
        if not self._failing:
            self._logger.error("store.failing", error=str(error) or "the store does not answer in time")
        self._failing.add(what)

    def end(self, what: str) -> None:
        """The store does ``what`` it was asked to."""
        if what in self._failing:
            self._failing.remove(what)
            if not self._failing:
                self._logger.info("store.recovered")
