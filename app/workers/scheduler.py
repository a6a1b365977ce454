"""The scheduler: makes the jobs of schedules that are due."""

from __future__ import annotations

import asyncio
import logging

from app.core.errors import HaeError
from app.services.quotas import Quotas, quota_rules
from app.services.schedules import Prepare, fire_due
from app.settings import Settings
from app.store.db import Database
from tools.context import NetworkDefaults
from tools.schedules import preparer

log = logging.getLogger(__name__)

BATCH = 64


class Scheduler:
    """Looks every ``every_s`` for schedules that are due. Any number may run at once: they share the work out."""

    def __init__(self, db: Database, prepare: Prepare, quotas: Quotas, *, every_s: float) -> None:
        self.db = db
        self.prepare = prepare
        self.quotas = quotas
        self.every_s = every_s

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop``; an absent database is waited out."""
        while not stop.is_set():
            try:
                while not stop.is_set() and await fire_due(self.db, self.prepare, self.quotas, BATCH) == BATCH:
                    pass
            except HaeError as error:
                log.warning("schedules are waiting: %s", error.detail)
            try:
                await asyncio.wait_for(stop.wait(), self.every_s)
            except TimeoutError:
                continue


def scheduler_from(settings: Settings, db: Database) -> Scheduler:
    """A scheduler as these settings have it."""
    defaults = NetworkDefaults(settings.jobs, settings.matchmaker.algorithm)
    quotas = Quotas(quota_rules(settings.jobs))
    return Scheduler(db, preparer(defaults), quotas, every_s=settings.worker.sweep_s)
