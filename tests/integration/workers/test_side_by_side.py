"""Several workers on one database: their sweepers and waves meet on the same rows, and each thing happens once."""

from __future__ import annotations

import asyncio

from app.core.health import HealthRules
from app.services import health, nodes
from app.store.db import Database
from tests import factories
from tests.factories import sql
from tests.integration.graphs import invariants

WORKERS = 4
LEASE_S = 60.0
OFFLINE_S = 90.0


async def sweep(db: Database) -> int:
    """What a sweeper does in a round; how many nodes went offline."""
    gone = await nodes.sweep_silent(db, OFFLINE_S)
    await nodes.sweep_leases(db, LEASE_S)
    await health.let_back(db)
    await health.decay(db, HealthRules())
    return gone


async def silence(db: Database, node_ids: list[str], seconds: float) -> None:
    """These nodes and their runs were last heard of that long ago."""
    ago = "make_interval(secs => $1::float8)"
    await sql(
        db,
        f"UPDATE node_heartbeats SET last_seen_at = last_seen_at - {ago} WHERE node_id = ANY($2)",
        seconds,
        node_ids,
    )
    await sql(
        db,
        f"""UPDATE offers SET created_at = created_at - {ago}, decided_at = decided_at - {ago},
        renewed_at = renewed_at - {ago} WHERE node_id = ANY($2)""",
        seconds,
        node_ids,
    )


async def test_sweepers_and_waves_at_once_move_each_node_and_each_job_once(db: Database) -> None:
    """Some nodes fall silent for so long that they are offline, others only for longer than their leases."""
    waves = [factories.runner(db, lease_s=LEASE_S) for _ in range(WORKERS)]
    silent, quiet, living = [[await factories.node(db, capacity=3) for _ in range(3)] for _ in range(3)]
    given = await factories.accepted(db, waves[0], 27)
    await silence(db, silent, OFFLINE_S + 5)
    await silence(db, quiet, LEASE_S + 5)

    gone = await asyncio.gather(*(sweep(db) for _ in range(WORKERS)))
    for one in waves:
        await one.views.refresh()
    await asyncio.gather(*(one.run_once() for one in waves), *(sweep(db) for _ in range(WORKERS)))
    await factories.run_waves(waves[0])

    assert sum(gone) == len(silent)
    offline = await sql(db, "SELECT node_id, count(*) FROM node_history WHERE to_state = 'offline' GROUP BY node_id")
    assert sorted(offline) == sorted((node_id, 1) for node_id in silent)
    lost = sorted(offer.job_id for offer in given if offer.node_id not in living)
    moved = await sql(
        db,
        """SELECT job_id, count(*) FROM job_history WHERE to_state = 'pending' AND from_state IS NOT NULL
        GROUP BY job_id ORDER BY job_id""",
    )
    assert (len(lost), moved) == (18, [(job_id, 1) for job_id in lost])
    assert await sql(db, "SELECT id FROM jobs WHERE attempt = 2 ORDER BY id") == [(job_id,) for job_id in lost]
    assert await sql(db, "SELECT count(*) FROM jobs WHERE attempt = 1") == [(9,)]
    await invariants.check(db, waves[0].views)
