"""Everybody who acts on a network at once, until something is over."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from app.core.errors import HaeError, Unavailable
from app.store.db import Database


class Crowd:
    """Only refusals are expected, no server errors. ``random``: of the seed; ``over``: set when all may stop."""

    def __init__(self, db: Database, node_ids: list[str], seed: int) -> None:
        self.db = db
        self.node_ids = node_ids
        self.random = random.Random(seed)
        self.over = asyncio.Event()

    async def repeatedly(self, act: Callable[[], Awaitable[object]], pause_s: float) -> None:
        """Do it again and again, with pauses of up to ``pause_s``."""
        while not self.over.is_set():
            try:
                await act()
            except Unavailable:
                raise
            except HaeError:
                # Refused, as it should be: someone else was first.
                pass
            await asyncio.sleep(pause_s * self.random.random())
