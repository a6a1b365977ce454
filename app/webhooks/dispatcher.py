"""From the feed to the receivers: fan out, claim, send, record. Several may run at once.

At least once: the feed's cursor moves in the transaction that writes the deliveries, a delivery is claimed under a
lease, and what was sent but not recorded when the process died is sent again under the same webhook-id.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from app.core.deliveries import Delivery, DeliveryOutcome, DeliveryState, Fanned
from app.core.errors import HaeError
from app.core.events import LAST_EVENTS
from app.core.retry import backoff_s
from app.webhooks.endpoints import Endpoint
from app.webhooks.hooks import HookEndpoint, HookLane, HookStore
from app.webhooks.outcome import Outcome, Verdict
from app.webhooks.schedule import next_delay_s
from app.webhooks.sender import Sender

logger = logging.getLogger(__name__)

LEASE_SLACK_S = 15.0
"""How much longer than a try a claim lasts: what is claimed is sent at once, and recorded when the try ends.
"""
FAN_OUT_LIMIT = 500
BACKOFF_S = 2.0
"""The longest wait for a database that was away: deliveries go on soon after its return."""
LINGER_S = 0.02
RETIRE_S = 3600.0
"""Between looks for deliveries to endpoints that have left the settings."""


class Subscriber(Protocol):
    """What fanning out needs to know of an endpoint."""

    @property
    def name(self) -> str: ...

    def wants(self, kind: str) -> bool: ...


class DeliveryStore(HookStore, Protocol):
    """Where deliveries are kept. Each method is one transaction."""

    async def fan_out(self, endpoints: Sequence[Subscriber], limit: int) -> Fanned:
        """Turn up to ``limit`` further events of the feed into a delivery for each endpoint, and each agent's hook,
        that wants them.

        Events that nobody wants are taken, too. Two dispatchers never take the same one.
        """
        ...

    async def claim(self, limit: int, lease_s: float, endpoint: str) -> list[Delivery]:
        """Up to ``limit`` due deliveries of ``endpoint``, oldest due first, each counted as a try.

        They are due again after ``lease_s`` unless settled; nobody else gets them before.
        """
        ...

    async def settle(self, outcomes: Sequence[DeliveryOutcome]) -> None:
        """Record what became of claimed deliveries; those unknown or already delivered stay as they are."""
        ...

    async def retire(self, endpoints: Sequence[str]) -> int:
        """Give up deliveries that are long due, of endpoints other than ``endpoints`` and hooks; how many."""
        ...


class Dispatcher:
    """``endpoints``: all of the settings, names unique; agents' hooks are found by what is due to them. ``poll_s``:
    seconds between looks when nobody wakes it.

    ``grace_s``: how long sends in flight may take to end once stopped. ``delivered`` counts this process's
    successes.
    """

    def __init__(
        self,
        store: DeliveryStore,
        sender: Sender,
        endpoints: Sequence[Endpoint],
        *,
        poll_s: float = 1.0,
        grace_s: float = 5.0,
    ) -> None:
        self._store = store
        self._sender = sender
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self._poll_s = poll_s
        self._grace_s = grace_s
        self._woken = asyncio.Event()
        self._next_poll = 0.0
        self._next_turn = math.inf
        self._feed_waits = True
        self._names = [endpoint.name for endpoint in endpoints]
        self._next_retiring = 0.0
        self._maybe_due: set[str] = set()
        self._hooks = HookLane(store, sender)
        self._sending: dict[asyncio.Task[Outcome], tuple[Endpoint, Delivery]] = {}
        self._unsettled: list[DeliveryOutcome] = []
        self.delivered = 0

    def wake(self) -> None:
        """Say that events were committed. To be called in the loop's thread."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, then end what is in flight. The store's failures are waited out."""
        try:
            await self._work(stop)
        finally:
            await self._finish()

    async def _work(self, stop: asyncio.Event) -> None:
        failures = 0
        while not stop.is_set():
            try:
                await self._round()
                failures = 0
            except Exception as error:
                failures += 1
                if isinstance(error, HaeError):
                    logger.warning("webhook deliveries are waiting: %s", error.detail)
                else:
                    logger.exception("webhook deliveries cannot be read or recorded; trying again")
                await _first_of(stop, timeout=backoff_s(failures, base_s=min(self._poll_s, BACKOFF_S), cap_s=BACKOFF_S))
            else:
                await self._rest(stop)

    async def _round(self) -> None:
        self._collect()
        await self._settle()
        now = time.monotonic()
        if now >= self._next_retiring:
            retired = await self._store.retire(self._names)
            self._next_retiring = now + RETIRE_S
            if retired:
                logger.warning("%d webhook deliveries given up: their endpoints are no longer configured", retired)
        # Another process may have made deliveries to hooks: a wake-up alone does not say so, and is no reason to look.
        self._hooks.maybe_due |= now >= self._next_poll
        if self._woken.is_set() or now >= self._next_poll:
            self._woken.clear()
            self._next_poll = now + self._poll_s
            self._feed_waits = True
            self._maybe_due = set(self._endpoints)
        if self._feed_waits:
            moved = await self._store.fan_out(list(self._endpoints.values()), FAN_OUT_LIMIT)
            self._feed_waits = moved.events >= FAN_OUT_LIMIT
            self._hooks.maybe_due |= moved.hooked
            if moved.events:
                self._maybe_due = set(self._endpoints)
        await self._claim()

    async def _claim(self) -> None:
        """Fill what is free, endpoints with the fewest sends in flight first: slow ones starve nobody."""
        self._next_turn = math.inf
        lease_s = self._sender.limits.total_s + LEASE_SLACK_S
        busy = Counter(delivery.endpoint for _, delivery in self._sending.values())
        for name in sorted(self._maybe_due, key=lambda name: (busy[name], name)):
            endpoint = self._endpoints[name]
            room = self._sender.limits.concurrency - len(self._sending)
            free = min(self._sender.capacity(endpoint) - busy[name], room)
            pause = self._sender.wait_s(endpoint)
            if pause > 0:
                self._next_turn = min(self._next_turn, time.monotonic() + pause)
            if free <= 0 or pause > 0:
                continue
            claimed = await self._store.claim(free, lease_s, name)
            self._send([(endpoint, delivery) for delivery in claimed])
            if len(claimed) < free:
                self._maybe_due.discard(name)
        room = self._sender.limits.concurrency - len(self._sending)
        self._send(await self._hooks.claim([endpoint for endpoint, _ in self._sending.values()], room, lease_s))

    def _send(self, claimed: Sequence[tuple[Endpoint, Delivery]]) -> None:
        for endpoint, delivery in claimed:
            task = asyncio.create_task(self._sender.send(endpoint, delivery.event))
            self._sending[task] = (endpoint, delivery)

    async def _rest(self, stop: asyncio.Event) -> None:
        """Until something ends, a wake-up, the next poll, or the turn of an endpoint that paces itself."""
        if self._feed_waits:
            return
        until = min(self._next_poll, self._next_turn) - time.monotonic()
        await _first_of(stop, self._woken, *self._sending, timeout=max(0.0, until))
        if self._woken.is_set():
            # A commit rarely comes alone, and one round serves many: receivers do not miss a fiftieth of a second.
            await asyncio.sleep(LINGER_S)

    async def _finish(self) -> None:
        if self._sending:
            _, late = await asyncio.wait(self._sending, timeout=self._grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._collect()
        try:
            await self._settle()
        except Exception:
            logger.exception("webhook deliveries were not recorded; their leases will bring them back")

    def _collect(self) -> None:
        for task in [task for task in self._sending if task.done()]:
            endpoint, delivery = self._sending.pop(task)
            told = self._outcome(delivery, _result(task, delivery))
            single = isinstance(endpoint, HookEndpoint) and endpoint.single
            self._unsettled.append(replace(told, last=True) if single and delivery.event.kind in LAST_EVENTS else told)

    def _outcome(self, delivery: Delivery, outcome: Outcome | None) -> DeliveryOutcome:
        if outcome is None:
            return DeliveryOutcome(delivery.id, DeliveryState.PENDING, 0.0, "stopped while sending")
        status = outcome.status_code
        if outcome.verdict is Verdict.DELIVERED:
            self.delivered += 1
            return DeliveryOutcome(delivery.id, DeliveryState.DELIVERED, status_code=status)
        reason = outcome.reason
        if outcome.verdict is Verdict.RETRY:
            delay = next_delay_s(delivery.tries, outcome.retry_after_s)
            if delay is not None:
                return DeliveryOutcome(delivery.id, DeliveryState.PENDING, delay, reason, status, failed=True)
            reason = f"{reason}; gave up after {delivery.tries} tries"
        if outcome.verdict is Verdict.DISABLED and delivery.endpoint in self._endpoints:
            del self._endpoints[delivery.endpoint]
            self._maybe_due.discard(delivery.endpoint)
            logger.warning("webhook %s is sent nothing more until the next start: %s", delivery.endpoint, reason)
        gone = outcome.verdict is Verdict.DISABLED
        return DeliveryOutcome(delivery.id, DeliveryState.DEAD, None, reason, status, failed=True, gone=gone)

    async def _settle(self) -> None:
        if self._unsettled:
            await self._store.settle(self._unsettled)
            self._unsettled = []


def _result(task: asyncio.Task[Outcome], delivery: Delivery) -> Outcome | None:
    """The send's outcome, None when it was cancelled."""
    if task.cancelled():
        return None
    error = task.exception()
    if error is None:
        return task.result()
    # The exception's text could quote the URL; its type and the event are enough to find the fault.
    name = type(error).__name__
    logger.error("webhook %s: event %s: %s in the sender", delivery.endpoint, delivery.event.id, name)
    return Outcome(Verdict.RETRY, f"internal error ({name})")


async def _first_of(*things: asyncio.Event | asyncio.Task[Outcome], timeout: float) -> None:
    """Return when the first event is set or the first task done, or after ``timeout`` seconds."""
    waits = [asyncio.ensure_future(thing.wait()) for thing in things if isinstance(thing, asyncio.Event)]
    tasks = [thing for thing in things if isinstance(thing, asyncio.Task)]
    try:
        await asyncio.wait([*waits, *tasks], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
