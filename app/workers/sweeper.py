"""The sweeper: finds what no message tells of, again and again: silent nodes, leases that are over, penalties and
suspensions that run out."""

from __future__ import annotations

import asyncio
import logging
import time

from app.core.errors import HaeError
from app.core.health import HealthRules
from app.services import health, nodes
from app.store.db import Database

log = logging.getLogger(__name__)

PAUSE_SHARE = 20.0
"""How much longer than a look through the leases the pause after it is."""
UNWATCHED_S = 5.0
"""The longest time between looks for silent nodes, each of which reads all heartbeats."""


class Sweeper:
    """Every ``sweep_s``: nodes silent for ``offline_after_s`` go offline, runs whose lease of ``lease_s`` is over are
    taken from their nodes, and the jobs of both go on elsewhere; penalties fall, and suspensions by the circuit breaker
    end.

    Right after a start, or after the database was away, silence proves nothing: heartbeats could not be recorded. The
    first sweep then waits for ``offline_after_s``, at most ``grace_s``.
    """

    def __init__(
        self,
        db: Database,
        *,
        sweep_s: float,
        offline_after_s: float,
        lease_s: float,
        health_rules: HealthRules,
        grace_s: float = 30.0,
    ) -> None:
        self.db = db
        self.health_rules = health_rules
        self.sweep_s = sweep_s
        self.offline_after_s = offline_after_s
        self.lease_s = lease_s
        self.grace_s = min(grace_s, offline_after_s)
        self._lease_grace_s = min(grace_s, lease_s)
        self._not_before = 0.0
        self._leases_from = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Sweep until ``stop``; an absent database is waited out."""
        self._be_lenient()
        while not stop.is_set():
            try:
                await self.sweep_once()
            except HaeError as error:
                log.warning("the sweep is waiting: %s", error.detail)
                self._be_lenient()
            try:
                await asyncio.wait_for(stop.wait(), self.sweep_s)
            except TimeoutError:
                continue

    def _be_lenient(self) -> None:
        now = time.monotonic()
        self._not_before = now + self.grace_s
        self._leases_from = now + self._lease_grace_s

    async def _sweep_leases(self) -> None:
        began = time.monotonic()
        if began < self._leases_from:
            return
        lost = await nodes.sweep_leases(self.db, self.lease_s)
        if lost:
            log.info("%d runs have lost their leases", lost)
        # However many runs there are, looking through their leases is a small part of the work.
        now = time.monotonic()
        self._leases_from = now + PAUSE_SHARE * (now - began)

    async def sweep_once(self) -> int:
        """Sweep now; how many nodes went offline."""
        now = time.monotonic()
        gone = 0
        if now >= self._not_before:
            gone = await nodes.sweep_silent(self.db, self.offline_after_s)
            if gone:
                log.info("%d nodes fell silent and are offline", gone)
            else:
                # Nobody can be silent for long enough before the quietest is.
                quiet_s = await nodes.quietest_s(self.db)
                self._not_before = now + min(UNWATCHED_S, self.offline_after_s - quiet_s) - self.sweep_s / 2
        await self._sweep_leases()
        freed = await health.let_back(self.db)
        if freed:
            log.info("%d nodes have cooled down and may come back", freed)
        await health.decay(self.db, self.health_rules)
        return gone
