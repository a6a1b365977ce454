"""Tasks that a process cannot do without."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, Generic, TypeVar

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
RESTART_S = 1.0
CANCEL_S = 1.0


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


async def end_within(seconds: float, tasks: Collection[asyncio.Task[Any]]) -> None:
    """Wait for tasks that have been told to stop; those that take longer are cancelled, and left after CANCEL_S.

    What waits for a server that hangs cannot even be cancelled until its connection is cut, which comes next.
    """
    _, late = await asyncio.wait(tasks, timeout=seconds) if tasks else (None, set())
    if late:
        log.warning("%d tasks did not end within %g s and are broken off", len(late), seconds)
        for task in late:
            task.cancel()
        await asyncio.wait(late, timeout=CANCEL_S)


class Probe(Generic[Answer]):
    """A question to a server that may hang: asked once at a time, however many want to know."""

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, Answer]]) -> None:
        self._ask = ask
        self._asking: asyncio.Task[Answer] | None = None

    async def within(self, seconds: float) -> Answer | None:
        """The answer; None when there is none in time. Raises what the question raises."""
        # Not cancelled when it takes too long: taking a statement back needs the server's answer, too.
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        asking = self._asking
        await asyncio.wait((asking,), timeout=seconds)
        return asking.result() if asking.done() else None
