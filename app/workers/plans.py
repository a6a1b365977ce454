"""The plan loop: runs the plan graph whenever signals of plans are due."""

from __future__ import annotations

import asyncio
import logging

from app.core.errors import HaeError
from app.core.retry import backoff_s
from app.services.quotas import Quotas, quota_rules
from app.settings import Settings
from app.store import plan_signals
from app.store.db import Database
from graphs.plan_runtime import WAVE, PlanRunner
from tools.context import NetworkDefaults

log = logging.getLogger(__name__)

LINGER_S = 0.05
"""A moment for more jobs of a plan to end: each wave reads the whole plan."""


class PlanLoop:
    """Runs waves until nothing is due, then sleeps until a wake-up, the next timer, or ``poll_s``."""

    def __init__(self, runner: PlanRunner, poll_s: float) -> None:
        self.runner = runner
        self.poll_s = poll_s
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
                taken = await self.runner.run_once()
                failures = 0
                if taken < WAVE and not self.runner.left:
                    await self._sleep(stop, LINGER_S if taken else await self._until_next(), deaf=taken > 0)
            except HaeError as error:
                failures += 1
                log.warning("plans are waiting: %s", error.detail)
                await self._sleep(stop, backoff_s(failures, base_s=0.1, cap_s=2.0))

    async def _until_next(self) -> float:
        async with self.runner.db.unit() as uow:
            due = await plan_signals.next_due(uow)
        # One that is due but was not claimed is held by another worker: no reason to spin.
        return self.poll_s if due is None else min(self.poll_s, max(due, LINGER_S))

    async def _sleep(self, stop: asyncio.Event, seconds: float, *, deaf: bool = False) -> None:
        waits = [stop] if deaf else [stop, self._woken]
        tasks = [asyncio.ensure_future(one.wait()) for one in waits]
        try:
            await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()


def plan_loop_from(settings: Settings, db: Database) -> PlanLoop:
    """A plan loop as these settings have it."""
    defaults = NetworkDefaults(settings.jobs, settings.matchmaker.algorithm)
    quotas = Quotas(quota_rules(settings.jobs))
    return PlanLoop(PlanRunner(db, defaults, quotas), settings.worker.poll_s)
