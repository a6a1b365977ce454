"""Keeps a process's matchmaker view current from Postgres."""

from __future__ import annotations

import asyncio
import logging
import time

from app.core.errors import HaeError
from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.policy import Weights
from app.settings import MatchmakerSettings
from app.store import nodes
from app.store.db import Database, UnitOfWork

log = logging.getLogger(__name__)


class ViewKeeper:
    """Refreshes ``matchmaker.view`` with the rows changed since the last look.

    ``lock`` is held by whoever changes the view or relies on it standing still (a wave, a refresh).
    """

    def __init__(self, db: Database, matchmaker: Matchmaker, refresh_s: float) -> None:
        self.db = db
        self.matchmaker = matchmaker
        self.refresh_s = refresh_s
        self.lock = asyncio.Lock()
        self._since = 0
        self._refreshed = float("-inf")

    @property
    def age_s(self) -> float:
        """Seconds since the last refresh, infinite before the first."""
        return time.monotonic() - self._refreshed

    async def refresh(self) -> None:
        """Bring the view up to now. Raises Unavailable when Postgres is away; the view then keeps its last state."""
        async with self.lock, self.db.unit() as uow:
            await self.refresh_in(uow)

    async def refresh_in(self, uow: UnitOfWork) -> None:
        """As refresh, within a transaction and with the lock already held."""
        rows, self._since = await nodes.changed_since(uow, self._since)
        self.matchmaker.view.upsert(rows)
        self._refreshed = time.monotonic()

    async def ensure_fresh(self) -> None:
        """Refresh when the view is older than ``refresh_s``."""
        if self.age_s <= self.refresh_s:
            return
        async with self.lock:
            # Of many that found it old, the first has refreshed it for all.
            if self.age_s > self.refresh_s:
                async with self.db.unit() as uow:
                    await self.refresh_in(uow)

    async def run(self, stop: asyncio.Event) -> None:
        """Refresh every ``refresh_s`` until ``stop``; an absent database is tried again, never fatal."""
        stale = False
        while not stop.is_set():
            try:
                await self.refresh()
                stale = False
            except HaeError as error:
                # Four times a second: said once.
                if not stale:
                    log.warning("the view stands still: %s", error.detail)
                stale = True
            try:
                await asyncio.wait_for(stop.wait(), self.refresh_s)
            except TimeoutError:
                continue


def matchmaker_from(settings: MatchmakerSettings) -> Matchmaker:
    """A matchmaker with the configured weights, floor and breadth. Raises InvalidInput on senseless weights."""
    weights = settings.weights
    return Matchmaker(
        Weights(
            reputation=weights.reputation,
            stake=weights.stake,
            completion=weights.completion,
            load=weights.load,
            response=weights.response,
            price=weights.price,
        ),
        settings.min_reputation,
        settings.top_n,
    )
