"""The wave loop: runs the job graph whenever signals are due."""

from __future__ import annotations

import asyncio
import logging

from app.core.errors import HaeError
from app.core.retry import backoff_s
from app.store import signals
from graphs.runtime import WaveRunner

log = logging.getLogger(__name__)

FULL = 32
LINGER_S = 0.01


class WaveLoop:
    """Runs waves until there is nothing due, then sleeps until a wake-up, the next timer, or ``poll_s``."""

    def __init__(self, runner: WaveRunner, poll_s: float) -> None:
        self.runner = runner
        self.poll_s = poll_s
        self.moves = 0
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Say that signals were committed. To be called in the loop's thread."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop``; the wave under way is finished first. An absent database is waited out."""
        failures = 0
        while not stop.is_set():
            try:
                self._woken.clear()
                report = await self.runner.run_once()
                failures = 0
                self.moves += report.moves
                if report.signals == 0 or report.failed:
                    await self._sleep(stop, await self._until_next())
                else:
                    # A moment for more signals to gather: waves of a few cost almost as much as waves of many. The
                    # first signal after a rest never waits, and full waves follow each other at once.
                    await asyncio.sleep(0 if report.signals >= FULL else LINGER_S)
            except HaeError as error:
                failures += 1
                log.warning("waves are waiting: %s", error.detail)
                await self._sleep(stop, backoff_s(failures, base_s=0.1, cap_s=2.0))

    async def _until_next(self) -> float:
        """Seconds to the next timer, at most ``poll_s``: a lost wake-up costs no more than that."""
        async with self.runner.db.unit() as uow:
            due = await signals.next_due(uow)
        # A signal that is due but was not claimed is held by another worker: no reason to spin.
        return self.poll_s if due is None else min(self.poll_s, max(due, 0.01))

    async def _sleep(self, stop: asyncio.Event, seconds: float) -> None:
        tasks = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(self._woken.wait())]
        try:
            await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
