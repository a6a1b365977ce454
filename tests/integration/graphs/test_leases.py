"""Leases of runs: signs of life renew them, a lost one moves its job on once, what comes too late is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.core.errors import Conflict
from app.services import nodes, offers
from app.store.db import Database
from tests import factories
from tests.factories import sql
from tests.integration.graphs import invariants

LEASE_S = 60.0


async def silence(db: Database, seconds: float) -> None:
    """Everything was last heard of that long ago."""
    await sql(
        db, "UPDATE node_heartbeats SET last_seen_at = clock_timestamp() - make_interval(secs => $1::float8)", seconds
    )
    await sql(
        db,
        """UPDATE offers SET created_at = created_at - make_interval(secs => $1::float8),
        decided_at = decided_at - make_interval(secs => $1::float8),
        renewed_at = renewed_at - make_interval(secs => $1::float8)""",
        seconds,
    )


async def run_of(db: Database, waves: Any, **wishes: Any) -> tuple[str, str, str]:
    """A job that runs: its id, its offer's and its node's."""
    await factories.node(db)
    (offer,) = await factories.accepted(db, waves, 1, **wishes)
    return offer.job_id, offer.id, offer.node_id


@pytest.mark.parametrize("renewed_by", ["heartbeat", "progress", "nobody"])
async def test_a_lease_ends_without_a_sign_of_life(db: Database, renewed_by: str) -> None:
    waves = factories.runner(db, lease_s=LEASE_S)
    job_id, offer_id, node_id = await run_of(db, waves)
    await silence(db, LEASE_S + 1)
    if renewed_by == "heartbeat":
        await nodes.heard(db, [(node_id, None)])
    elif renewed_by == "progress":
        await offers.progress(db, node_id, offer_id, 10.0, "")
    alive = renewed_by != "nobody"
    assert await nodes.sweep_leases(db, LEASE_S) == (0 if alive else 1)
    await factories.run_waves(waves)
    state, attempt = (await sql(db, "SELECT state, attempt FROM jobs WHERE id = $1", job_id))[0]
    assert (state in ("assigned", "running"), attempt) == ((True, 1) if alive else (False, 2))
    if not alive:
        reasons = await sql(db, "SELECT reason FROM job_history WHERE job_id = $1 AND to_state = 'pending'", job_id)
        assert reasons == [("submitted",), ("lease_lost",)]
    await invariants.check(db, waves.views)


async def test_a_sign_of_life_between_the_sweep_and_the_wave_keeps_the_run(db: Database) -> None:
    waves = factories.runner(db, lease_s=LEASE_S)
    job_id, _, node_id = await run_of(db, waves)
    await silence(db, LEASE_S + 1)
    assert await nodes.sweep_leases(db, LEASE_S) == 1
    # Told once: until a wave has looked, there is nothing new to say.
    assert await nodes.sweep_leases(db, LEASE_S) == 0
    await nodes.heard(db, [(node_id, None)])
    await factories.run_waves(waves)
    assert await factories.state_of(db, job_id) == "assigned"
    await invariants.check(db, waves.views)


async def test_of_many_sweepers_and_waves_one_moves_the_job_on(db: Database) -> None:
    waves = [factories.runner(db, lease_s=LEASE_S) for _ in range(3)]
    await factories.node(db, capacity=12, gpus=12)
    running = await factories.accepted(db, waves[0], 12)
    await silence(db, LEASE_S + 1)
    await asyncio.gather(*(nodes.sweep_leases(db, LEASE_S) for _ in range(6)))
    await asyncio.gather(*(one.run_once() for one in waves))
    await factories.run_waves(waves[1])
    lost = await sql(
        db, "SELECT job_id, count(*) FROM job_history WHERE reason = 'lease_lost' GROUP BY job_id ORDER BY job_id"
    )
    assert lost == [(job_id, 1) for job_id in sorted(offer.job_id for offer in running)]
    await invariants.check(db, *(one.views for one in waves))


async def test_who_lost_the_lease_can_renew_and_complete_nothing(db: Database) -> None:
    waves = factories.runner(db, lease_s=LEASE_S)
    job_id, offer_id, node_id = await run_of(db, waves)
    await silence(db, LEASE_S + 1)
    await nodes.sweep_leases(db, LEASE_S)
    await factories.run_waves(waves)
    with pytest.raises(Conflict):
        await offers.progress(db, node_id, offer_id, 50.0, "")
    (refused,) = await offers.report(db, [offers.new_report(offer_id, node_id, ok=True)])
    assert isinstance(refused, Conflict)
    await factories.run_waves(waves)
    assert (await factories.state_of(db, job_id)) in ("pending", "offered")
    await invariants.check(db, waves.views)


async def test_tokens_rise_from_offer_to_offer(db: Database) -> None:
    waves = factories.runner(db, lease_s=LEASE_S)
    job_id, _, _ = await run_of(db, waves)
    await factories.node(db)
    await silence(db, LEASE_S + 1)
    await nodes.sweep_leases(db, LEASE_S)
    await factories.run_waves(waves)
    tokens = await sql(db, "SELECT token FROM offers WHERE job_id = $1 ORDER BY attempt", job_id)
    assert len(tokens) == 2
    assert tokens == sorted(tokens)
