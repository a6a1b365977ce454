"""The housekeeper: what keeps the tables small and in order, and is urgent for nobody: partitions to make and to drop,
changes of counts to merge, old idempotency keys. A task of its own, so that nothing urgent waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import time

from app.core.errors import HaeError
from app.services import maintenance
from app.settings import RetentionSettings
from app.store import idempotency
from app.store.db import Database

log = logging.getLogger(__name__)

ROUND_S = 1.0
HOUSEKEEPING_S = 60.0
MAINTENANCE_S = 3600.0
PAUSE_SHARE = 20.0
"""How much longer than a look through the counts the pause after it is."""
MANY_COUNTS = 200
"""Changes of counts that are worth merging."""
FORGOTTEN_AT_ONCE = 5000
"""Idempotency keys."""


class Housekeeper:
    """Any number of workers may run one each: they take turns where that is needed."""

    def __init__(self, db: Database, *, idempotency_ttl_s: float, retention: RetentionSettings) -> None:
        self.db = db
        self.idempotency_ttl_s = idempotency_ttl_s
        self.retention = retention
        self._counts_from = 0.0
        self._keys_from = 0.0
        self._maintenance_from = 0.0
        self._left: list[str] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Keep house until ``stop``; an absent database is waited out."""
        while not stop.is_set():
            try:
                await self.keep_once()
            except HaeError as error:
                log.warning("housekeeping is waiting: %s", error.detail)
            try:
                await asyncio.wait_for(stop.wait(), ROUND_S)
            except TimeoutError:
                continue

    async def keep_once(self) -> None:
        """Do what is due by now."""
        now = time.monotonic()
        if now >= self._counts_from:
            await maintenance.fold_counts(self.db, at_least=MANY_COUNTS)
            ended = time.monotonic()
            self._counts_from = ended + PAUSE_SHARE * (ended - now)
        if now >= self._keys_from:
            async with self.db.unit() as uow:
                forgotten = await idempotency.forget(uow, self.idempotency_ttl_s, FORGOTTEN_AT_ONCE)
            if forgotten < FORGOTTEN_AT_ONCE:
                self._keys_from = now + HOUSEKEEPING_S
        if now >= self._maintenance_from:
            # Whatever comes of it, the next try is not before that.
            self._maintenance_from = now + HOUSEKEEPING_S
            await self._maintain()

    async def _maintain(self) -> None:
        done = await maintenance.run(self.db, self.retention)
        for name in done.made:
            log.info("made %s", name)
        for name in done.dropped:
            log.info("dropped %s", name)
        if done.left != self._left:
            for line in done.left:
                log.warning("maintenance %s", line)
        self._left = done.left
        if not done.left:
            self._maintenance_from = time.monotonic() + MAINTENANCE_S
