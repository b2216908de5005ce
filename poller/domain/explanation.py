"""Why an attempt was taken for what it was taken for, for people who ask."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trial:
    """A rule that was tried on an answer, whether it matched, and what it saw there."""

    rule: str
    matched: bool
    saw: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one attempt sent, what came back, and every rule tried on that in its order, of which the last one decided.

    Without any secret. ``at`` is when it was judged, ``server_time`` what the server's clock said (its `Date`), both
    epoch seconds. ``request`` is method and URL, None if nothing was sent; ``answer`` the body as text, cut short, None
    if none came.
    """

    at: float
    trials: tuple[Trial, ...]
    request: str | None = None
    http_status: int | None = None
    server_time: float | None = None
    content_type: str | None = None
    answer: str | None = None

    @property
    def clock_ahead(self) -> float | None:
        """Seconds that the clock here is ahead of the server's, to the second or so; None if that was not told."""
        return None if self.server_time is None else self.at - self.server_time
