"""Signs of life of nodes, gathered in memory and written in batches."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from app.core.errors import HaeError
from app.services import nodes
from app.store.db import Database

log = logging.getLogger(__name__)

BATCH = 2_000


class Pulse:
    """``beat`` notes that a node was heard; ``run`` writes what was noted every ``flush_s``.

    ``waiting``: ids of the nodes whose long-poll is open, each a sign of life by itself, noted every ``interval_s``.
    What was noted but not written when the process dies is lost; the next heartbeat makes up for it.
    """

    def __init__(
        self, db: Database, *, flush_s: float, interval_s: float, waiting: Callable[[], Iterable[str]] = tuple
    ) -> None:
        self._db = db
        self._flush_s = flush_s
        self._interval_s = interval_s
        self._waiting = waiting
        self._beats: dict[str, int | None] = {}
        self._noted = 0.0

    def beat(self, node_id: str, gpu_utilization: int | None = None) -> None:
        """Note that the node was heard now; ``gpu_utilization`` in percent."""
        if gpu_utilization is not None or node_id not in self._beats:
            self._beats[node_id] = gpu_utilization

    async def run(self, stop: asyncio.Event) -> None:
        """Write until ``stop``, and what is left after it."""
        while not stop.is_set():
            try:
                await asyncio.wait_for(stop.wait(), self._flush_s)
            except TimeoutError:
                await self.flush()
        await self.flush()

    async def flush(self) -> None:
        """Write now. While the database is away, beats are dropped: they are only true for the moment."""
        if time.monotonic() - self._noted >= self._interval_s:
            self._noted = time.monotonic()
            for node_id in self._waiting():
                self.beat(node_id)
        beats, self._beats = list(self._beats.items()), {}
        try:
            for start in range(0, len(beats), BATCH):
                await nodes.heard(self._db, beats[start : start + BATCH])
        except HaeError as error:
            log.warning("%d heartbeats not recorded: %s", len(beats), error.detail)
