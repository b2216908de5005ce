"""A rate limit, as a provider's gateway keeps it."""


class RateLimit:
    """A token bucket that holds one second's worth of requests, or one request where the rate is lower than that."""

    def __init__(self, rate: float, now: float) -> None:
        """``rate`` in requests per second."""
        self.rate = rate
        self._capacity = max(1.0, rate)
        self._level = self._capacity
        self._at = now

    def take(self, now: float) -> float:
        """0 if a request may pass at ``now`` (epoch seconds), else the seconds until the next one may."""
        self._level = min(self._capacity, self._level + max(0.0, now - self._at) * self.rate)
        self._at = now
        if self._level < 1.0:
            return (1.0 - self._level) / self.rate
        self._level -= 1.0
        return 0.0

    def __str__(self) -> str:
        """The limit in the words of Huawei's gateway: ``limit:60,time:1 minute``."""
        if self.rate >= 1:
            return f"limit:{self.rate:g},time:1 second"
        return f"limit:{self.rate * 60:g},time:1 minute"
