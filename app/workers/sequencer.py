"""The sequencer: gives committed events their positions in the feed, soon after they are committed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from app.core.errors import HaeError
from app.core.retry import backoff_s
from app.services import feed
from app.store.db import Database

log = logging.getLogger(__name__)

PAUSE_S = 0.01
"""Between two looks: one serves all that was committed meanwhile."""
WAITING_S = 0.02
"""Until the next look while committed events wait for transactions that are under way, whose end nobody tells."""
BACKOFF_S = 2.0


class Sequencer:
    """Any number of processes may run one: each look is a transaction, and one looks at a time.

    ``poll_s``: seconds between looks that nobody asked for. ``moved`` is called when positions were given.
    """

    def __init__(self, db: Database, *, poll_s: float, moved: Callable[[], None]) -> None:
        self._db = db
        self._poll_s = poll_s
        self._moved = moved
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Say that events were committed. To be called in the loop's thread."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Look until ``stop``. The database's absence is waited out."""
        failures = 0
        while not stop.is_set():
            self._woken.clear()
            try:
                found = await feed.sequence(self._db)
                failures = 0
            except HaeError as error:
                failures += 1
                log.warning("events wait for their places in the feed: %s", error.detail)
                await _either(stop, timeout=backoff_s(failures, base_s=min(self._poll_s, BACKOFF_S), cap_s=BACKOFF_S))
                continue
            if found is not None and found.given:
                self._moved()
            if found is not None and found.more:
                continue
            await _either(stop, timeout=PAUSE_S)
            waiting = found is not None and found.waiting
            await _either(stop, self._woken, timeout=WAITING_S if waiting else self._poll_s)


async def _either(*events: asyncio.Event, timeout: float) -> None:
    """Return when the first of them is set, or after ``timeout`` seconds."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
