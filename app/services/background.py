"""Tasks that a process cannot do without."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

RESTART_S = 1.0


async def keep_running(
    part: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event, *, restart_s: float = RESTART_S
) -> None:
    """Run ``part(stop)`` until ``stop``; when it fails, log it and start it again after ``restart_s``.

    A background task that dies is noticed by nobody, and all that wait for it would wait for their time-outs.
    """
    while not stop.is_set():
        try:
            await part(stop)
        except Exception:
            log.exception("%s failed; starting it again", getattr(part, "__qualname__", part))
            await asyncio.sleep(restart_s)
