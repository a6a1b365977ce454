"""The background process as a whole, with and without Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import redis.asyncio as valkey

from app.services import offers
from app.settings import Settings
from app.store.bus import STREAM, Bus
from app.store.db import Database, Hints
from app.workers.supervisor import run_worker
from tests import factories
from tests.factories import sql
from tests.support.databases import with_database

NOWHERE = "redis://127.0.0.1:1/0"
"""Nobody listens on port 1: a Valkey that was stopped."""


def settings(database_url: str, redis_url: str, **worker: float) -> Settings:
    given = {"database": {"url": database_url}, "redis": {"url": redis_url}, "worker": worker}
    return msgspec.convert(given, Settings)


@asynccontextmanager
async def working(given: Settings) -> AsyncIterator[None]:
    """A worker in this process; its failure is the test's."""
    stop = asyncio.Event()
    task = asyncio.create_task(run_worker(given, stop))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(20):
            await task


async def lead_through(db: Database, count: int) -> None:
    """Submit jobs, be their nodes, and wait for the worker to finish them."""
    await factories.submit(db, count)
    async with asyncio.timeout(30):
        while await sql(db, "SELECT 1 FROM jobs WHERE state <> 'completed' LIMIT 1"):
            given = await factories.all_offers(db)
            await offers.accept(db, [(offer.id, offer.node_id) for offer in given])
            await offers.report(db, [offers.new_report(offer.id, offer.node_id, ok=True) for offer in given])
            await asyncio.sleep(0.02)


async def test_without_valkey_jobs_are_done_by_polling(
    db: Database, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await factories.node(db, capacity=4)
    async with working(settings(database_url, NOWHERE, poll_s=0.05)):
        await lead_through(db, 8)
    assert "valkey is away" in caplog.text


async def test_with_valkey_a_hint_wakes_the_worker_long_before_it_polls(
    db: Database, database_url: str, redis_url: str
) -> None:
    await factories.node(db, capacity=4)
    bus = Bus(redis_url)
    db.on_commit = bus.publish
    try:
        # A worker that polled only would need an hour for each step.
        async with working(settings(database_url, redis_url, poll_s=60.0)):
            await wake_until_heard(db, bus)
            await lead_through(db, 8)
    finally:
        await bus.close()


async def wake_until_heard(db: Database, bus: Bus) -> None:
    """The listener hears what is said once it listens: have one job offered first."""
    (job_id,) = await factories.submit(db)
    async with asyncio.timeout(20):
        while await factories.state_of(db, job_id) == "pending":
            await bus.publish(Hints(work=True))
            await asyncio.sleep(0.02)


async def test_a_worker_outlives_the_emptying_of_valkey_and_hints_it_cannot_read(
    db: Database, database_url: str, redis_url: str
) -> None:
    await factories.node(db, capacity=4)
    bus = Bus(redis_url)
    db.on_commit = bus.publish
    try:
        async with valkey.Redis.from_url(redis_url) as client, working(settings(database_url, redis_url, poll_s=0.1)):
            await lead_through(db, 2)
            await client.flushall()
            await client.xadd(STREAM, {"h": b"\xc1 not msgpack"})
            await client.xadd(STREAM, {"other": b"field"})
            await lead_through(db, 2)
            await client.delete(STREAM)
            await lead_through(db, 2)
    finally:
        await bus.close()


async def test_a_worker_waits_for_a_database_that_is_away(databases_away: tuple[str, Database]) -> None:
    url, db = databases_away
    async with working(settings(url, NOWHERE, poll_s=0.05, sweep_s=0.05)):
        await asyncio.sleep(0.2)
        await sql(db, f'ALTER DATABASE "{url_name(url)}" WITH ALLOW_CONNECTIONS true')
        mine = Database(url)
        try:
            await factories.node(mine)
            await lead_through(mine, 2)
        finally:
            await mine.close()


def url_name(url: str) -> str:
    return url.split("?")[0].rsplit("/", 1)[1]


@pytest.fixture
async def databases_away(database_url: str) -> AsyncIterator[tuple[str, Database]]:
    """A database that refuses connections, and one from which to change that."""
    admin = Database(with_database(database_url, "postgres"))
    await sql(admin, f'ALTER DATABASE "{url_name(database_url)}" WITH ALLOW_CONNECTIONS false')
    yield database_url, admin
    await admin.close()
