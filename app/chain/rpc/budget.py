"""A rate limit kept by ourselves, before an endpoint has to refuse. No clock: callers say what time it is."""

from __future__ import annotations

_BURST_S = 0.25


class Budget:
    """A token bucket that lends: requests get their turns in order, however many tokens one takes.

    ``per_s``: requests a second, 0 for no limit. A quarter of a second's worth (at least one) is free at once, so that
    any stretch of t seconds sees at most ``per_s`` × (t + 0.25) requests. Times are seconds of one monotonic clock.
    """

    def __init__(self, per_s: float) -> None:
        self.per_s = per_s
        self._burst = max(1.0, per_s * _BURST_S)
        self._tokens = self._burst
        self._at: float | None = None

    def reserve(self, cost: int, now: float) -> float:
        """Take ``cost`` tokens; returns the seconds to wait until they are there."""
        if self.per_s <= 0:
            return 0.0
        if self._at is not None and now > self._at:
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self.per_s)
        self._at = now
        self._tokens -= cost
        return max(0.0, -self._tokens / self.per_s)
