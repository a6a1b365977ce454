"""Composition root of the background process: waves, view, sweeper, housekeeper, feed, webhooks, hints."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

from app.services.background import end_within
from app.services.health import rules_from
from app.services.quotas import quota_rules
from app.services.views import views_from
from app.settings import Settings
from app.store import revision
from app.store.bus import Bus, HintMessage
from app.store.db import Database
from app.store.deliveries import DeliveryRows
from app.store.deltas import DeltaStream
from app.webhooks.configured import endpoints_from
from app.webhooks.dispatcher import Dispatcher
from app.webhooks.guard import Guard
from app.webhooks.sender import Limits, Sender
from app.workers.housekeeper import Housekeeper
from app.workers.plans import plan_loop_from
from app.workers.queue import WaveLoop
from app.workers.scheduler import scheduler_from
from app.workers.sequencer import Sequencer
from app.workers.sweeper import Sweeper
from graphs.runtime import WaveLimits, WaveRunner

log = logging.getLogger(__name__)

STOP_S = 12.0
"""What is under way may take that long to end by itself; nothing is lost by what is broken off after it."""


async def run_worker(settings: Settings, stop: asyncio.Event) -> None:
    """Run everything a worker process does until ``stop``, then end what is under way and return.

    A database that does not answer yet is waited for. Raises WrongMigrations when it is older or newer than this code,
    and the first error that a part could not handle: the process is to be restarted then.
    """
    if not await revision.until_checked(settings.database.url, stop):
        return
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
            health_rules=rules_from(settings.nodes),
        )
        housekeeper = Housekeeper(db, idempotency_ttl_s=settings.jobs.idempotency_ttl_s, retention=settings.retention)
        guard = Guard(settings.webhooks.allow_networks)
        limits = Limits(total_s=settings.webhooks.timeout_s, concurrency=settings.webhooks.concurrency)
        sender = await stack.enter_async_context(Sender(guard, limits))
        endpoints = endpoints_from(settings.webhooks)
        dispatcher = Dispatcher(DeliveryRows(db), sender, endpoints, poll_s=settings.webhooks.poll_s)
        sequencer = Sequencer(db, poll_s=settings.worker.poll_s, moved=dispatcher.wake)

        plans = plan_loop_from(settings, db)

        async def heard(message: HintMessage) -> None:
            if message.work:
                waves.wake()
            if message.plans:
                plans.wake()
            if message.events:
                sequencer.wake()
            if message.feed:
                dispatcher.wake()
            if message.view:
                views.nudge()

        log.info("worker up: %d webhook endpoints", len(endpoints))
        await _together(
            stop,
            views.run(stop),
            views.listen(stop),
            waves.run(stop),
            plans.run(stop),
            sweeper.run(stop),
            housekeeper.run(stop),
            scheduler_from(settings, db).run(stop),
            sequencer.run(stop),
            dispatcher.run(stop),
            bus.listen(heard, stop),
        )
        log.info("worker stopped after %d moves", waves.moves)


async def _together(stop: asyncio.Event, *parts: Coroutine[Any, Any, None]) -> None:
    """Run the parts until ``stop`` and their ends; when one fails, stop the others and raise its error."""
    tasks = [asyncio.create_task(part) for part in parts]
    ended = asyncio.create_task(asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
    for waiting in (ended, stopping):
        waiting.cancel()
    stop.set()
    await end_within(STOP_S, tasks)
    for task in tasks:
        if task.done() and not task.cancelled():
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
