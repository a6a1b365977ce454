"""Migrations of databases that are in use: what was there is there afterwards, and the engine goes on with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from app.core.states import JobState
from app.store import counts, migrate
from app.store.db import Database
from tests import factories
from tests.factories import sql

_JOB = """INSERT INTO jobs (account, type, reason, policy, timeout_s, queue_ttl_s, expires_at, id, key_id, state,
        node_id, offer_id, price, cost, gpus, created_at, assigned_at, finished_at)
    VALUES ('acme', 'llm_inference', 'before', 'reputation_weighted', 600, 600, now() + interval '1 hour', $1, $2, $3,
        $4, $5, $6, $7, $8, $9, $10, $11)"""
_HISTORY = """INSERT INTO job_history (job_id, from_state, to_state, attempt, reason, actor, at)
    VALUES ($1, $2, $3, 1, 'before', 'engine', $4)"""
_EVENT = "INSERT INTO events (id, kind, account, job_id, data, at) VALUES ($1, $2, 'acme', $3, '{\"n\": 1}', $4)"
_DELIVERY = """INSERT INTO deliveries (event_id, endpoint, state, tries, created_at) VALUES ($1, $2, $3, 2, $4)"""
_ACROSS = ("job_history", "events", "deliveries", "jobs", "signals")


@pytest.fixture
async def old(empty_database_url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A database at 0003 in which jobs have come and gone for months: one completed, one failed, one running, two
    waiting, and an event of each of their moves, of which two are to be fanned out yet."""
    await asyncio.to_thread(migrate.upgrade, empty_database_url, "0003")
    connection = await asyncpg.connect(empty_database_url)
    now = datetime.now(UTC)
    long_ago = now - timedelta(days=100)
    minute = timedelta(minutes=1)
    for job in (
        ("job_1", "key_a", "completed", "node_1", "offer_1", 500, 700, 1, long_ago, long_ago, long_ago + 2 * minute),
        ("job_2", "key_a", "failed", "node_1", "offer_2", 500, None, 1, long_ago, long_ago, now),
        ("job_3", "key_b", "running", "node_1", "offer_3", 500, None, 4, now, now, None),
        ("job_4", "key_b", "pending", None, None, None, None, 2, now, None, None),
        ("job_5", "key_b", "pending", None, None, None, None, 2, now, None, None),
    ):
        await connection.execute(_JOB, *job)
    moves = [
        ("job_1", None, "pending", long_ago),
        ("job_2", None, "pending", long_ago),
        ("job_1", "pending", "completed", long_ago + 2 * minute),
        ("job_3", None, "pending", now - timedelta(days=40)),
        ("job_4", None, "pending", now),
        ("job_2", "pending", "failed", now),
        ("job_5", None, "pending", now),
    ]
    for number, (job_id, source, target, at) in enumerate(moves, 1):
        await connection.execute(_HISTORY, job_id, source, target, at)
        # Ids that do not follow the order in which events happened: clocks of processes differ.
        await connection.execute(_EVENT, f"evt_{9 - number}", f"job.{target}", job_id, at)
    # Between them one that another process was quicker with.
    await connection.execute("INSERT INTO outbox VALUES ('evt_4'), ('evt_2')")
    for delivery in (
        ("evt_8", "hook", "delivered", now),
        ("evt_5", "hook", "dead", now),
        ("evt_3", "hook", "pending", now),
        ("evt_3", "slack", "delivered", now),
    ):
        await connection.execute(_DELIVERY, *delivery)
    await connection.execute("INSERT INTO signals (job_id, kind) VALUES ('job_4', 'match_due'), ('job_5', 'match_due')")
    await connection.execute("UPDATE jobs SET cancel_requested = true WHERE id = 'job_5'")
    yield connection
    await connection.close()


async def test_nothing_is_lost_on_the_way_to_partitions_and_the_feed(
    old: asyncpg.Connection[Any], empty_database_url: str
) -> None:
    shared = "id, seq, kind, account, job_id, node_id, data, at"
    history = "job_id, seq, from_state, to_state, attempt, reason, actor, node_id, at"
    delivery = "event_id, endpoint, state, tries, due_at, status_code, error, created_at, delivered_at"
    before = [
        await old.fetch(f"SELECT {columns} FROM {table} ORDER BY 1, 2")
        for table, columns in (("events", shared), ("job_history", history), ("deliveries", delivery))
    ]
    await asyncio.to_thread(migrate.upgrade, empty_database_url)
    assert await asyncio.to_thread(migrate.check, empty_database_url) == []
    after = [
        await old.fetch(f"SELECT {columns} FROM {table} ORDER BY 1, 2")
        for table, columns in (("events", shared), ("job_history", history), ("deliveries", delivery))
    ]
    assert after == before
    for table in ("events", "feed", "job_history", "deliveries"):
        assert await old.fetchval(f"SELECT count(*) FROM {table}_default") == 0, "every month has its partition"
        assert await old.fetchval(f"SELECT count(DISTINCT tableoid) FROM {table}") > 1
    # A place in the feed each, in the order in which they were written.
    feed = await old.fetch("SELECT position, event_id, seq FROM feed JOIN events e USING (at) WHERE id = event_id")
    assert sorted((row[0], row[1]) for row in feed) == [(n, f"evt_{9 - n}") for n in range(1, 8)]
    assert all(row[0] == row[2] for row in feed)
    cursors = {row["name"]: row for row in await old.fetch("SELECT * FROM consumers")}
    assert cursors["sequencer"]["position"] == 7
    assert cursors["webhooks"]["position"] == 4, "evt_4 is the fifth, and the first not to be fanned out yet"
    # Deliveries stand beside their events.
    assert await old.fetchval("SELECT count(*) FROM deliveries d JOIN events e ON e.id = event_id AND e.at = d.at") == 4
    # What is written from now on comes behind, and the sequencer will find it.
    late = await old.fetchrow("INSERT INTO events (id, kind) VALUES ('evt_new', 'x') RETURNING seq, written_in")
    assert late["seq"] == 8 and late["written_in"] >= cursors["sequencer"]["horizon"]
    assert await old.fetchval("SELECT max(written_in) FROM events WHERE id <> 'evt_new'") == 0
    history_seq = """INSERT INTO job_history (job_id, to_state, attempt, reason, actor)
        VALUES ('job_9', 'pending', 1, 'x', 'x') RETURNING seq"""
    assert await old.fetchval(history_seq) == 8


async def test_the_engine_goes_on_with_the_jobs_of_before(
    old: asyncpg.Connection[Any], empty_database_url: str
) -> None:
    await asyncio.to_thread(migrate.upgrade, empty_database_url)
    db = Database(empty_database_url)
    try:
        async with db.unit() as uow:
            found = await counts.read(uow)
        assert found.jobs == {"completed": 1, "failed": 1, "running": 1, "pending": 2}
        assert (found.run_ms, found.paid) == (120_000, 700)
        await factories.node(db, capacity=8)
        await factories.run_waves(factories.runner(db))
        assert await factories.state_of(db, "job_4") == JobState.OFFERED
        assert await factories.state_of(db, "job_5") == JobState.CANCELLED
        async with db.unit() as uow:
            assert (await counts.read(uow)).jobs == dict(
                await sql(db, "SELECT state, count(*) FROM jobs GROUP BY state")
            )
        # The chain of its history begins with the first row that is written now.
        rows = await sql(db, "SELECT to_state, hash IS NULL FROM job_history WHERE job_id = 'job_4' ORDER BY seq")
        assert rows == [("pending", True), ("offered", False)]
    finally:
        await db.close()


async def test_with_an_empty_outbox_the_webhooks_are_at_the_feeds_end(
    old: asyncpg.Connection[Any], empty_database_url: str
) -> None:
    await old.execute("DELETE FROM outbox")
    await asyncio.to_thread(migrate.upgrade, empty_database_url)
    assert await old.fetchval("SELECT position FROM consumers WHERE name = 'webhooks'") == 7


async def test_the_way_back_keeps_the_rows(old: asyncpg.Connection[Any], empty_database_url: str) -> None:
    query = " UNION ALL ".join(f"SELECT '{table}', count(*) FROM {table}" for table in _ACROSS)
    before = await old.fetch(query)
    waiting = await old.fetch("SELECT event_id FROM outbox UNION SELECT 'evt_3' ORDER BY 1")
    await asyncio.to_thread(migrate.upgrade, empty_database_url)
    await asyncio.to_thread(migrate.downgrade, empty_database_url, "0003")
    assert await old.fetch(query) == before
    # Those behind the cursor are fanned out again: deliveries that are there already stay as they are.
    assert await old.fetch("SELECT event_id FROM outbox ORDER BY 1") == waiting
    await asyncio.to_thread(migrate.upgrade, empty_database_url)
    assert await old.fetchval("SELECT count(*) FROM feed") == 7
