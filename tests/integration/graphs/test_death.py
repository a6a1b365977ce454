"""SIGKILL in the middle of the work: what was not committed never happened, and whoever comes next goes on."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.services import offers
from app.store.db import Database
from tests import factories
from tests.factories import sql
from tests.integration.graphs import invariants

pytestmark = pytest.mark.chaos

TABLES = ("jobs", "offers", "nodes", "signals", "job_history", "events", "match_decisions")


@asynccontextmanager
async def doomed(url: str, mode: str) -> AsyncIterator[asyncio.StreamReader]:
    """A worker process, its output, and its death at the end of the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.graphs.wave_worker", url, mode, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield process.stdout
    finally:
        process.kill()
        await process.wait()


async def gone(db: Database) -> None:
    """Wait until PostgreSQL has noticed the death."""
    async with asyncio.timeout(20):
        while await sql(db, "SELECT 1 FROM pg_stat_activity WHERE application_name = 'doomed'"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def answer(db: Database) -> None:
    """Be the nodes: accept what is offered, complete what runs."""
    waiting = await factories.all_offers(db)
    await offers.accept(db, [(offer.id, offer.node_id) for offer in waiting])
    running = await sql(db, "SELECT id, node_id FROM offers WHERE state = 'accepted' AND holds_slots")
    await offers.report(db, [offers.new_report(*run, ok=True) for run in running])


async def test_a_wave_killed_before_its_commit_never_happened(db: Database, database_url: str) -> None:
    await factories.node(db, capacity=8)
    await factories.submit(db, 5)
    before = [await sql(db, f"SELECT t::text FROM {table} t ORDER BY 1") for table in TABLES]
    async with doomed(database_url, "hang") as output:
        assert await output.readline() == b"inside\n"
    await gone(db)
    assert [await sql(db, f"SELECT t::text FROM {table} t ORDER BY 1") for table in TABLES] == before
    waves = factories.runner(db)
    await factories.run_waves(waves)
    assert len(await factories.all_offers(db)) == 5
    await invariants.check(db, waves.views)


async def test_workers_killed_at_any_moment_lose_and_double_nothing(db: Database, database_url: str) -> None:
    draw = random.Random(11)
    for _ in range(10):
        await factories.node(db, capacity=4)
    for _ in range(4):
        # More than can be done before the kill: a worker without work prints no line.
        await factories.submit(db, 60)
        async with doomed(database_url, "run") as output:
            for _ in range(draw.randint(1, 5)):
                await output.readline()
                await answer(db)
            await asyncio.sleep(draw.random() * 0.02)
        await gone(db)
        await invariants.check(db)
    waves = factories.runner(db)
    async with asyncio.timeout(30):
        while await sql(db, "SELECT 1 FROM jobs WHERE finished_at IS NULL LIMIT 1"):
            await answer(db)
            await sql(db, "UPDATE signals SET due_at = now() WHERE kind = 'match_due'")
            await factories.run_waves(waves)
    await invariants.check(db, waves.views)
    assert await sql(db, "SELECT state, count(*) FROM jobs GROUP BY state") == [("completed", 240)]
