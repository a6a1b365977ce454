"""Keeps a process's matchmaker view current: from Postgres, and ahead of it from the news that other processes send."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from app.core.errors import HaeError
from app.core.nodes import NodeRecord
from app.matchmaker.batch import NodeBatch
from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.policy import Weights
from app.services.deltas import pack, unpack
from app.settings import MatchmakerSettings, Settings
from app.store import node_feed
from app.store.db import Database, UnitOfWork
from app.store.deltas import DeltaStream

log = logging.getLogger(__name__)

SPARED = 8
REPAIR_S = 2.0
"""While news come in by the stream and none calls for a look, one look in SPARED is made, at least every REPAIR_S."""
PATIENCE_S = 10.0
"""The stream's word counts for the view's age only this long after the last look: what it lost, nobody knows."""
BEAT_MARGIN_S = 2.0
"""Signs of life are read again from so long before the last look: they are committed later than they are stamped."""
HEAR_AT_ONCE = 50_000


class Turn:
    """One wave's hold on a view's lock: taken once, given up once, whatever is called how often."""

    def __init__(self, lock: asyncio.Lock) -> None:
        self._lock = lock
        self._held = False

    async def take(self) -> None:
        """Wait for the lock, unless it is held already."""
        if not self._held:
            await self._lock.acquire()
            self._held = True

    def give_up(self) -> None:
        if self._held:
            self._held = False
            self._lock.release()


class ViewKeeper:
    """Refreshes ``matchmaker.view`` with the rows changed since the last look, and with the news in between.

    Without ``stream``, or with Valkey away, it looks at the database every ``refresh_s``; otherwise every REPAIR_S, and
    within ``refresh_s`` when somebody says that rows have changed which are no news (``nudge``). ``lock`` is held by
    whoever relies on the view standing still (a wave from its matches to its claims, a refresh). Rows that a commit has
    made true go in at any time.
    """

    def __init__(
        self, db: Database, matchmaker: Matchmaker, refresh_s: float, stream: DeltaStream | None = None
    ) -> None:
        self.db = db
        self.matchmaker = matchmaker
        self.refresh_s = refresh_s
        self.lock = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._stream = stream
        self._since = 0
        self._refreshed = float("-inf")
        self._heard_s = 0.0
        self._beats_read = float("-inf")
        self._fed: set[str] = set()
        self._nudged = asyncio.Event()

    @property
    def version(self) -> int:
        """Of the view: rises with all that changes it."""
        return self.matchmaker.view.version

    @property
    def age_s(self) -> float:
        """Seconds since the view was known to be current: since the last look at the database, or the last answer of a
        stream that has nothing more; infinite before the first look."""
        looked = time.monotonic() - self._refreshed
        if self._stream is None or self._nudged.is_set() or looked > PATIENCE_S:
            return looked
        return min(looked, self._stream.silence_s)

    def nudge(self) -> None:
        """Somebody has changed rows of which no news comes: look soon."""
        self._nudged.set()

    def committed(self, rows: Sequence[NodeRecord]) -> None:
        """Take over rows just committed here, and tell the others."""
        self.matchmaker.view.upsert(rows)
        if self._stream is not None and rows:
            self._stream.send(pack(rows))

    async def refresh(self) -> None:
        """Bring the view up to now. Raises Unavailable when Postgres is away; the view then keeps its last state."""
        # The connection first, as waves do: who waits for one must not keep the view from those who have theirs.
        async with self.db.unit() as uow, self.lock:
            await self.refresh_in(uow)

    async def refresh_in(self, uow: UnitOfWork) -> None:
        """As refresh, within a transaction and with the lock already held."""
        self._nudged.clear()
        view = self.matchmaker.view
        if self._since or len(view):
            rows, since = await node_feed.changed_since(uow, self._since)
            # News say little of a node: it may have got its version with an older price. The row of that version heals
            # it, and is among these, as its transaction was open or to come at the last look.
            view.heal([row for row in rows if row.id in self._fed])
            view.upsert([row for row in rows if row.id not in self._fed])
            self._fed.clear()
            self._since = since
        else:
            await self._load(uow)
        if view.offline_after_s != float("inf"):
            await self._hear(uow)
        self._refreshed = time.monotonic()

    async def ensure_fresh(self) -> None:
        """Return with a view that is current to ``refresh_s``: a look not older than that, or the stream's word that
        there is nothing new since a look not older than REPAIR_S. Looks, if need be; raises Unavailable as refresh."""
        if self._is_fresh():
            return
        async with self._looking:
            # Of many that found it old, the first has refreshed it for all.
            if not self._is_fresh():
                await self.refresh()

    async def run(self, stop: asyncio.Event, every_s: float | None = None) -> None:
        """Refresh until ``stop``, or only every ``every_s`` seconds; an absent database is tried again, never fatal."""
        stale = False
        while not stop.is_set():
            try:
                if every_s is None:
                    await self.refresh()
                else:
                    await self.ensure_fresh()
                stale = False
            except HaeError as error:
                # Four times a second: said once.
                if not stale:
                    log.warning("the view stands still: %s", error.detail)
                stale = True
            await self._pause(stop, self.refresh_s if every_s is None else every_s)

    async def listen(self, stop: asyncio.Event) -> None:
        """Take in the stream's news until ``stop``."""
        if self._stream is None:
            await stop.wait()
        else:
            await self._stream.listen(self._take, stop)

    @property
    def _repair_s(self) -> float:
        """The longest time between looks as things stand."""
        if self._stream is None or not self._stream.alive or self._nudged.is_set():
            return self.refresh_s
        return max(self.refresh_s, min(REPAIR_S, SPARED * self.refresh_s))

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._refreshed <= self._repair_s

    async def _pause(self, stop: asyncio.Event, least_s: float) -> None:
        """Wait for ``stop`` at least so long; then until a look is due."""
        if await _set_within(least_s, stop):
            return
        rest = self._repair_s - (time.monotonic() - self._refreshed)
        if rest > 0:
            await _set_within(rest, stop, self._nudged)

    async def _load(self, uow: UnitOfWork) -> None:
        network, horizon = await node_feed.load_all(uow)
        if network is not None:
            batch = NodeBatch(network.ids, network.models, network.regions, **network.columns)
            self.matchmaker.view.load(batch)
            self._since = horizon
        else:
            rows, self._since = await node_feed.changed_since(uow, 0)
            self.matchmaker.view.upsert(rows)
        self._fed.clear()

    async def _hear(self, uow: UnitOfWork) -> None:
        """Read the last signs of life, and only then let the silent go: a database that was away proves nothing."""
        if time.monotonic() - self._beats_read < min(REPAIR_S, SPARED * self.refresh_s):
            return
        view = self.matchmaker.view
        ids, seen = await node_feed.heard_since(uow, self._heard_s)
        for start in range(0, len(ids), HEAR_AT_ONCE):
            view.hear(ids[start : start + HEAR_AT_ONCE], seen[start : start + HEAR_AT_ONCE])
            await asyncio.sleep(0)
        now_s = uow.now.timestamp()
        view.expire(now_s)
        self._heard_s = max(0.0, now_s - BEAT_MARGIN_S)
        self._beats_read = time.monotonic()

    async def _take(self, entries: Sequence[bytes]) -> None:
        news = [deltas for entry in entries if (deltas := unpack(entry)) is not None]
        async with self.lock:
            for deltas in news:
                if self.matchmaker.view.apply(deltas):
                    self._fed.update(deltas.ids)


async def _set_within(seconds: float, *events: asyncio.Event) -> bool:
    """Wait until one of the events is set, or for so long; whether one is."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
    return bool(done)


def views_from(settings: Settings, db: Database, stream: DeltaStream) -> ViewKeeper:
    """A process's view, as configured. Raises InvalidInput on senseless weights."""
    matchmaker = matchmaker_from(settings.matchmaker)
    matchmaker.view.offline_after_s = settings.nodes.offline_after_s
    return ViewKeeper(db, matchmaker, settings.matchmaker.refresh_s, stream)


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
