"""How many streams there may be: of one API key, and in one process."""

from __future__ import annotations

from collections import Counter

from app.core.access import Principal
from app.core.errors import QuotaExceeded, Unavailable

RETRY_S = 5.0


class Seats:
    """Counts open streams. A stream takes a seat before it begins, and gives it back once."""

    def __init__(self, *, per_key: int, per_process: int) -> None:
        self._per_key = per_key
        self._per_process = per_process
        self._taken: Counter[str] = Counter()
        self.total = 0

    def take(self, principal: Principal) -> Seat:
        """Raises QuotaExceeded when the key has as many streams as it may, Unavailable when the process has."""
        if self._taken[principal.key_id] >= self._per_key:
            raise QuotaExceeded(
                f"this API key has {self._per_key} streams open here, the most it may have",
                code="too_many_streams",
                retry_after=RETRY_S,
                next_action="Close streams that you do not read; one WebSocket follows many jobs and plans.",
            )
        if self.total >= self._per_process:
            raise Unavailable(
                f"this server has {self._per_process} streams open, the most it takes",
                code="server_full",
                retry_after=RETRY_S,
                next_action="Come back later, or read pages of the feed meanwhile: GET /v1/events?wait_s=45.",
            )
        self._taken[principal.key_id] += 1
        self.total += 1
        return Seat(self, principal.key_id)

    def give_back(self, key_id: str) -> None:
        self.total -= 1
        self._taken[key_id] -= 1
        if not self._taken[key_id]:
            del self._taken[key_id]


class Seat:
    """One open stream's."""

    def __init__(self, seats: Seats, key_id: str) -> None:
        self._seats: Seats | None = seats
        self._key_id = key_id

    def leave(self) -> None:
        """Give the seat back; again, nothing happens."""
        seats, self._seats = self._seats, None
        if seats is not None:
            seats.give_back(self._key_id)
