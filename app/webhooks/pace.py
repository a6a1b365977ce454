"""When an endpoint may be sent to next, by its receiver's limits. No clock: callers say what time it is."""

from __future__ import annotations

SLACK_INTERVAL_S = 1.0
"""Slack takes one message a second per incoming webhook (docs.slack.dev/apis/web-api/rate-limits)."""


class Pace:
    """Times are seconds of one monotonic clock. ``interval_s``: least time between two sends, 0 for none."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._next = 0.0
        self._held_until = 0.0

    def wait_s(self, now: float) -> float:
        """Seconds until a send may begin, 0 when it may begin now."""
        return max(0.0, self._next - now, self._held_until - now)

    def held_s(self, now: float) -> float:
        """Seconds for which the receiver asked to be left alone."""
        return max(0.0, self._held_until - now)

    def reserve(self, now: float) -> float:
        """Take the next send's turn; returns the seconds to wait for it."""
        turn = max(now, self._next)
        self._next = turn + self._interval_s
        return turn - now

    def hold(self, now: float, seconds: float) -> None:
        """Leave the endpoint alone for ``seconds``; a longer hold already in force stays."""
        self._held_until = max(self._held_until, now + seconds)
