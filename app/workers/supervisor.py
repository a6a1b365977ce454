"""Composition root of the background process: waves, view, sweeper, webhooks, hints."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

from app.services.health import rules_from
from app.services.quotas import quota_rules
from app.services.views import views_from
from app.settings import Settings
from app.store.bus import Bus, HintMessage
from app.store.db import Database
from app.store.deliveries import DeliveryRows
from app.store.deltas import DeltaStream
from app.webhooks.configured import endpoints_from
from app.webhooks.dispatcher import Dispatcher
from app.webhooks.guard import Guard
from app.webhooks.sender import Limits, Sender
from app.workers.queue import WaveLoop
from app.workers.sweeper import Sweeper
from graphs.runtime import WaveLimits, WaveRunner

log = logging.getLogger(__name__)


async def run_worker(settings: Settings, stop: asyncio.Event) -> None:
    """Run everything a worker process does until ``stop``, then end what is under way and return.

    Raises the first error that a part could not handle: the process is to be restarted then.
    """
    db = Database(
        settings.database.url,
        pool_size=settings.database.pool_size,
        pool_timeout_s=settings.database.pool_timeout_s,
        pgbouncer=settings.database.pgbouncer,
        application="hae worker",
    )
    bus = Bus(settings.redis.url)
    deltas = DeltaStream(settings.redis.url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(bus.close)
        stack.push_async_callback(deltas.close)
        stack.push_async_callback(db.close)
        db.on_commit = bus.publish
        views = views_from(settings, db, deltas)
        waves = WaveLoop(WaveRunner(db, views, _limits(settings)), settings.worker.poll_s)
        sweeper = Sweeper(
            db,
            sweep_s=settings.worker.sweep_s,
            offline_after_s=settings.nodes.offline_after_s,
            lease_s=settings.nodes.lease_s,
            idempotency_ttl_s=settings.jobs.idempotency_ttl_s,
            health_rules=rules_from(settings.nodes),
        )
        guard = Guard(settings.webhooks.allow_networks)
        limits = Limits(total_s=settings.webhooks.timeout_s, concurrency=settings.webhooks.concurrency)
        sender = await stack.enter_async_context(Sender(guard, limits))
        endpoints = endpoints_from(settings.webhooks)
        dispatcher = Dispatcher(DeliveryRows(db), sender, endpoints, poll_s=settings.webhooks.poll_s)

        async def heard(message: HintMessage) -> None:
            if message.work:
                waves.wake()
            if message.events:
                dispatcher.wake()
            if message.view:
                views.nudge()

        log.info("worker up: %d webhook endpoints", len(endpoints))
        await _together(
            stop,
            views.run(stop),
            views.listen(stop),
            waves.run(stop),
            sweeper.run(stop),
            dispatcher.run(stop),
            bus.listen(heard, stop),
        )
        log.info("worker stopped after %d moves", waves.moves)


async def _together(stop: asyncio.Event, *parts: Coroutine[Any, Any, None]) -> None:
    """Run the parts until all end; when one fails, stop the others and raise its error."""
    tasks = [asyncio.create_task(part) for part in parts]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    stop.set()
    if pending:
        await asyncio.wait(pending)
    for task in done | pending:
        task.result()


def _limits(settings: Settings) -> WaveLimits:
    return WaveLimits(
        wave_size=settings.worker.wave_size,
        offer_ttl_s=settings.jobs.offer_ttl_s,
        lease_s=settings.nodes.lease_s,
        cancel_grace_s=settings.jobs.cancel_grace_s,
        poison_tries=settings.jobs.poison_tries,
        health=rules_from(settings.nodes),
        quotas=quota_rules(settings.jobs),
    )
