"""Moments of a script as the providers write them."""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Timestamps:
    """Turns seconds since the simulator's start, which was at ``origin`` (epoch seconds), into what answers hold."""

    origin: float

    def millis(self, t: float) -> int:
        """Epoch milliseconds."""
        return round((self.origin + t) * 1000)

    def rfc3339(self, t: float) -> str:
        """RFC 3339 in UTC, with milliseconds."""
        moment = datetime.fromtimestamp(self.millis(t) / 1000, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
