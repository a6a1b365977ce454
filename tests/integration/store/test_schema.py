"""The database refuses by itself what the code must never write, and agrees with the models."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from app.store import migrate, revision
from app.store.db import Database
from tests import factories
from tests.factories import sql

_RESULT = """INSERT INTO results (offer_id, job_id, node_id, attempt, ok, digest)
    VALUES ('', '', '', 1, false, '')"""
REFUSED = [
    ("nodes_active_jobs", "UPDATE nodes SET active_jobs = capacity + 1"),
    ("nodes_active_jobs", "UPDATE nodes SET active_jobs = -1"),
    ("nodes_active_jobs", "UPDATE nodes SET capacity = 1, active_jobs = 2"),
    ("nodes_capacity", "UPDATE nodes SET capacity = 65"),
    ("nodes_capacity", "UPDATE nodes SET gpus = -1"),
    ("nodes_reputation", "UPDATE nodes SET reputation = 1001"),
    ("nodes_amounts", "UPDATE nodes SET price = 0"),
    ("nodes_amounts", "UPDATE nodes SET stake = -1"),
    ("nodes_counts", "UPDATE nodes SET jobs_completed = -1"),
    ("nodes_state", "UPDATE nodes SET state = 'asleep'"),
    ("jobs_state", "UPDATE jobs SET state = 'lost', finished_at = NULL"),
    ("jobs_type", "UPDATE jobs SET type = 'mining'"),
    ("jobs_settlement", "UPDATE jobs SET settlement = 'paid'"),
    ("jobs_finished_at", "UPDATE jobs SET state = 'failed'"),
    ("jobs_finished_at", "UPDATE jobs SET finished_at = now()"),
    ("jobs_on_node", "UPDATE jobs SET offer_id = NULL"),
    ("jobs_off_node", "UPDATE jobs SET state = 'pending'"),
    ("jobs_completed_cost", "UPDATE jobs SET state = 'completed', finished_at = now()"),
    ("jobs_attempt", "UPDATE jobs SET attempt = 0"),
    ("jobs_attempt", "UPDATE jobs SET failures = attempt + 1"),
    ("jobs_gpus", "UPDATE jobs SET gpus = 0"),
    ("jobs_max_price", "UPDATE jobs SET max_price = 0"),
    ("jobs_cost", "UPDATE jobs SET cost = -1"),
    ("offers_state", "UPDATE offers SET state = 'lost', holds_slots = false"),
    ("offers_open_holds", "UPDATE offers SET holds_slots = false"),
    ("offers_closed_free", "UPDATE offers SET state = 'expired'"),
    ("offers_closed_free", "UPDATE offers SET state = 'withdrawn'"),
    ("offers_positive", "UPDATE offers SET slots = 0"),
    ("offers_positive", "UPDATE offers SET price = 0"),
    ("signals_kind", "UPDATE signals SET kind = 'rumour'"),
    ("results_error", _RESULT),
    ("deliveries_state", "INSERT INTO deliveries (event_id, endpoint, at, state) VALUES ('e', 'x', now(), 'lost')"),
]  # fmt: skip


@pytest.fixture
async def offered(db: Database) -> Database:
    """A database with one node and one job that is offered to it."""
    await factories.node(db)
    waves = factories.runner(db)
    await factories.submit(db)
    await factories.run_waves(waves)
    return db


async def test_illegal_rows_are_refused(offered: Database) -> None:
    for constraint, statement in REFUSED:
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            await sql(offered, statement)
        assert refused.value.constraint_name == constraint, statement


async def test_a_job_holds_one_node_and_has_one_offer_an_attempt(offered: Database) -> None:
    again = """INSERT INTO offers (id, job_id, node_id, attempt, slots, price, expires_at)
        SELECT 'offer_2', job_id, node_id, {}, slots, price, expires_at FROM offers"""
    for constraint, attempt in (("offers_held", "attempt + 1"), ("offers_job_attempt", "attempt")):
        with pytest.raises(asyncpg.UniqueViolationError) as refused:
            await sql(offered, again.format(attempt))
        assert refused.value.constraint_name == constraint
    with pytest.raises(asyncpg.UniqueViolationError):
        await sql(offered, 'INSERT INTO nodes SELECT (jsonb_populate_record(n, \'{"id": "node_2"}\')).* FROM nodes n')


def test_models_and_migrations_agree(database_url: str) -> None:
    assert migrate.check(database_url) == []


def test_migrating_twice_and_at_once_is_migrating_once(empty_database_url: str) -> None:
    async def both() -> None:
        await asyncio.gather(*(asyncio.to_thread(migrate.upgrade, empty_database_url) for _ in range(2)))

    assert revision.status(empty_database_url).current is None
    asyncio.run(both())
    assert revision.status(empty_database_url).up_to_date
    migrate.upgrade(empty_database_url)
    assert migrate.check(empty_database_url) == []
