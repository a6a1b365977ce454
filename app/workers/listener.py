"""Composition root of the listener process: the chain's events into the database, while it leads."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack

from app.chain.configured import ChainSetup, chain_from
from app.chain.listener import Listener, ListenerOptions
from app.chain.rpc import RpcClient
from app.chain.scanning import ScanLimits
from app.chain.submit import Submitter
from app.core.money import parse_price
from app.services.background import end_within
from app.services.chain import ChainIndex, JobDefaults
from app.settings import Settings
from app.store import revision
from app.store.bus import Bus
from app.store.db import Database
from app.store.leader import Leadership

log = logging.getLogger(__name__)

LEADER_LOCK = "hae chain listener"
STOP_S = 12.0
"""What is under way may take that long to end by itself; nothing is lost by what is broken off after it."""


def index_from(settings: Settings, setup: ChainSetup) -> ChainIndex:
    """What turns events into rows, with the settings' defaults for jobs that come from the chain."""
    jobs = settings.jobs
    return ChainIndex(
        hyper_mint=setup.hyper_mint,
        treasury=setup.treasury,
        incentive_pool=setup.incentive_pool,
        spec_grace_s=settings.chain.spec_grace_s,
        defaults=JobDefaults(
            policy=settings.matchmaker.algorithm,
            timeout_s=jobs.run_timeout_s,
            max_retries=jobs.max_retries,
            queue_ttl_s=jobs.queue_ttl_s,
        ),
        default_price=parse_price(settings.nodes.default_price_hyper),
    )


def rpc_from(settings: Settings, setup: ChainSetup) -> RpcClient:
    """The client of the chain's nodes."""
    return RpcClient(setup.endpoints, timeout_s=settings.chain.timeout_s, batch=settings.chain.batch)


def leadership_from(settings: Settings) -> Leadership:
    """The lock that one listener of this database holds."""
    return Leadership(settings.database.direct_url or settings.database.url, LEADER_LOCK)


def limits_from(settings: Settings) -> ScanLimits:
    chain = settings.chain
    return ScanLimits(overlap_slots=chain.overlap_slots, start_slot=chain.start_slot)


def submitter_from(setup: ChainSetup, rpc: RpcClient, db: Database) -> Callable[[int], Submitter] | None:
    """What makes the sender of assign_job and settle_job; None unless ``chain.submit`` asks for it."""
    keypair = setup.keypair
    if keypair is None:
        return None
    tokens = (setup.hyper_mint, setup.treasury, setup.incentive_pool)
    return lambda epoch: Submitter(rpc, db, setup.programs, keypair, *tokens, epoch)


async def run_listener(settings: Settings, stop: asyncio.Event) -> None:
    """Read the chain until ``stop``, leading or standing by; a database that does not answer yet is waited for.

    Raises SettingsError for settings of no use, and WrongMigrations when the database is older or newer than this code.
    """
    setup = chain_from(settings)
    if not await revision.until_checked(settings.database.url, stop):
        return
    db = Database(
        settings.database.url,
        pool_size=min(settings.database.pool_size, 6),
        pool_timeout_s=settings.database.pool_timeout_s,
        pgbouncer=settings.database.pgbouncer,
        application="hae listener",
    )
    bus = Bus(settings.redis.url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(bus.close)
        stack.push_async_callback(db.close)
        db.on_commit = bus.publish
        rpc = await stack.enter_async_context(rpc_from(settings, setup))
        listener = Listener(
            db=db,
            leadership=leadership_from(settings),
            rpc=rpc,
            programs=setup.programs,
            index=index_from(settings, setup),
            options=ListenerOptions(
                ws_url=setup.ws_url,
                scan_s=settings.chain.scan_s,
                limits=limits_from(settings),
                holder=f"{socket.gethostname()}:{os.getpid()}",
                submitter=submitter_from(setup, rpc, db),
            ),
        )
        log.info("listener up: %d programs", len(setup.programs.ids))
        await _until_ended(listener, stop)
        log.info("listener stopped")


async def _until_ended(listener: Listener, stop: asyncio.Event) -> None:
    running = asyncio.create_task(listener.run(stop))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await end_within(STOP_S, [running])
    if running.done() and not running.cancelled():
        running.result()
