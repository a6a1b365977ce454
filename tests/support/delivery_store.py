"""Deliveries in memory, with the guarantees that the dispatcher is promised of the real store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.core.deliveries import Delivery, DeliveryOutcome, DeliveryState, Event, Fanned, WaitingHook
from app.webhooks.dispatcher import Subscriber


@dataclass
class Row:
    event: Event
    endpoint: str
    due_at: float
    state: DeliveryState = DeliveryState.PENDING
    tries: int = 0
    error: str | None = None
    status_code: int | None = None
    next_in_s: float | None = None


class MemoryStore:
    """``fail``: raised by the next calls instead of working. Leases and delays run on ``now``, moved by
    tests.
    """

    def __init__(self) -> None:
        self.feed: list[Event] = []
        self.rows: dict[str, Row] = {}
        self.now = 0.0
        self.fail: list[Exception] = []
        self.called = asyncio.Event()
        self.claims: list[tuple[int, float, str]] = []

    async def fan_out(self, endpoints: Sequence[Subscriber], limit: int) -> Fanned:
        self._maybe_fail()
        taken, self.feed = self.feed[:limit], self.feed[limit:]
        for event in taken:
            for endpoint in endpoints:
                if endpoint.wants(event.kind):
                    self.rows[f"{event.id}:{endpoint.name}"] = Row(event, endpoint.name, self.now)
        self.called.set()
        return Fanned(len(taken))

    async def claim(self, limit: int, lease_s: float, endpoint: str) -> list[Delivery]:
        self._maybe_fail()
        self.claims.append((limit, lease_s, endpoint))
        due = [
            (key, row)
            for key, row in self.rows.items()
            if row.state is DeliveryState.PENDING and row.due_at <= self.now and row.endpoint == endpoint
        ][:limit]
        for _, row in due:
            row.due_at = self.now + lease_s
            row.tries += 1
        return [Delivery(key, row.event, row.endpoint, row.tries) for key, row in due]

    async def waiting_hooks(self, after: str, busy: Sequence[str], limit: int) -> list[WaitingHook]:
        """Agents' hooks are told by the real store alone."""
        return []

    async def claim_hooks(self, endpoints: Sequence[str], each: int, lease_s: float) -> list[Delivery]:
        raise AssertionError("nothing is due to any hook")

    async def give_up_hooks(self, endpoints: Sequence[str], reason: str) -> None:
        raise AssertionError("nothing is due to any hook")

    async def settle(self, outcomes: Sequence[DeliveryOutcome]) -> None:
        self._maybe_fail()
        for outcome in outcomes:
            row = self.rows[outcome.id]
            if row.state is not DeliveryState.PENDING:
                continue
            row.state, row.error, row.status_code = outcome.state, outcome.error, outcome.status_code
            row.next_in_s = outcome.next_in_s
            if outcome.next_in_s is not None:
                row.due_at = self.now + outcome.next_in_s
        self.called.set()

    async def retire(self, endpoints: Sequence[str]) -> int:
        self._maybe_fail()
        gone = [row for row in self.rows.values() if row.state is DeliveryState.PENDING]
        gone = [row for row in gone if row.endpoint not in endpoints]
        for row in gone:
            row.state = DeliveryState.DEAD
        return len(gone)

    async def until(self, state: DeliveryState, count: int, endpoint: str | None = None) -> None:
        """Return when ``count`` deliveries (of ``endpoint``) are in ``state``."""
        await self.changed(lambda: self.count(state, endpoint) >= count)

    async def changed(self, holds: Callable[[], bool]) -> None:
        """Return once ``holds`` after a call to the store; a test that waits in vain fails."""
        async with asyncio.timeout(30):
            while not holds():
                self.called.clear()
                await self.called.wait()

    def count(self, state: DeliveryState, endpoint: str | None = None) -> int:
        return sum(row.state is state and endpoint in (None, row.endpoint) for row in self.rows.values())

    def _maybe_fail(self) -> None:
        if self.fail:
            raise self.fail.pop(0)
