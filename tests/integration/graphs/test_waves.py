"""Waves: what they decide, that a failing one harms nobody else, and that the graph takes only drawn edges."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.core.chain import PaymentState
from app.core.events import SignalKind
from app.core.money import MAX_AMOUNT
from app.core.requirements import Requirements
from app.core.states import JOB_MOVES, SETTLEMENT_MOVES, JobState, Settlement
from app.services import jobs, nodes, offers
from app.store import nodes as node_rows
from app.store import signals
from app.store.db import Database
from graphs import drawing
from graphs.runtime import WaveLimits, WaveRunner
from tests import factories
from tests.factories import OWNER, sql
from tests.integration.graphs import invariants
from tests.support import chain_rows

UNREACHED = {JobState.BLOCKED, JobState.SCHEDULED, JobState.CANCELLING}
"""States that this life does not come by: plans come later, test_patience.py is about the others."""


async def finish(db: Database, waves: WaveRunner) -> None:
    """Accept and complete whatever is offered."""
    given = await factories.all_offers(db)
    await offers.accept(db, [(offer.id, offer.node_id) for offer in given])
    await offers.report(db, [offers.new_report(offer.id, offer.node_id, ok=True, body=1) for offer in given])
    await factories.run_waves(waves)


async def test_a_timer_is_not_claimed_before_its_time_by_the_waves_own_clock(db: Database) -> None:
    job_id = "job_1"
    async with db.unit() as wave:
        async with db.unit() as other:
            await signals.add(other, [(job_id, SignalKind.OFFER_EXPIRED, None)])
        # Due by now, yet after the moment by which this wave would decide what has run out.
        assert await signals.claim_due(wave, 10) == []
    async with db.unit() as wave:
        assert [row[1] for row in await signals.claim_due(wave, 10)] == [job_id]


async def test_an_offer_nobody_answers_runs_out_and_the_job_goes_to_the_next_node(db: Database) -> None:
    first = await factories.node(db, price=1)
    second = await factories.node(db, price=2)
    waves = factories.runner(db, offer_ttl_s=0.5)
    (job_id,) = await factories.submit(db, policy="cheapest")
    await factories.run_waves(waves)
    waves.limits = WaveLimits(offer_ttl_s=600.0)
    await asyncio.sleep(0.5)
    await factories.run_waves(waves)
    assert await sql(db, "SELECT node_id, state FROM offers WHERE job_id = $1 ORDER BY attempt", job_id) == [
        (first, "expired"),
        (second, "open"),
    ]
    await invariants.check(db, waves.views)


async def test_a_job_that_waits_keeps_one_timer_however_often_it_is_looked_at(db: Database) -> None:
    waves = factories.runner(db)
    (job_id,) = await factories.submit(db)
    for _ in range(5):
        await factories.run_waves(waves)
        await factories.wake(db, [job_id], SignalKind.OFFER_EXPIRED)
    await factories.run_waves(waves)
    assert await sql(db, "SELECT kind FROM signals WHERE job_id = $1", job_id) == [("match_due",)]


async def test_two_jobs_refused_by_one_node_spoil_neither_wave_nor_view(db: Database) -> None:
    node_id = await factories.node(db, capacity=2)
    waves = factories.runner(db)
    await waves.views.refresh()
    # The view still thinks that both fit.
    await sql(db, "UPDATE nodes SET state = 'offline', version = version + 1 WHERE id = $1", node_id)
    await factories.submit(db, 2)
    report = await waves.run_once()
    assert (report.signals, report.moves, report.failed) == (2, 0, False)
    held = waves.views.matchmaker.view.get(node_id)
    assert held is not None and (held.active_jobs, held.state) == (0, "offline")


async def test_a_job_that_breaks_its_wave_is_parked_and_its_wave_mates_go_on(
    db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await factories.node(db, capacity=8)
    waves = factories.runner(db, poison_tries=2, poison_retry_s=0.0)
    ids = await factories.submit(db, 7)
    # A policy that this version of the engine does not know.
    await sql(db, "UPDATE jobs SET policy = 'from_the_future' WHERE id = $1", ids[3])
    await waves.views.refresh()
    assert (await waves.run_once()).failed
    assert len(await factories.all_offers(db)) == 6
    assert (await waves.run_once()).failed
    assert (await waves.run_once()).signals == 0
    parked = await sql(db, "SELECT job_id, tries, error FROM signals WHERE parked_at IS NOT NULL")
    assert parked == [(ids[3], 2, "the job graph failed on signal submitted: InvalidInput")]
    assert await sql(db, "SELECT error FROM jobs WHERE id = $1", ids[3]) == [(parked[0][2],)]
    await finish(db, waves)
    assert await sql(db, "SELECT state, count(*) FROM jobs GROUP BY state ORDER BY 1") == [
        ("completed", 6),
        ("pending", 1),
    ]
    await invariants.check_view(db, waves.views)
    assert "is parked after 2 tries" in caplog.text


async def test_a_value_the_database_cannot_take_is_poison_and_no_outage(db: Database) -> None:
    await factories.node(db)
    waves = factories.runner(db, poison_tries=1)
    await factories.submit(db)
    await factories.run_waves(waves)
    (offer,) = await factories.all_offers(db)
    await sql(db, "UPDATE jobs SET match_tries = 2147483647, offer_id = NULL, state = 'pending', node_id = NULL")
    await sql(db, "UPDATE nodes SET state = 'offline', version = version + 1")
    await factories.wake(db, [offer.job_id])
    await waves.views.refresh()
    assert (await waves.run_once()).failed
    assert (await sql(db, "SELECT count(*) FROM signals WHERE parked_at IS NOT NULL")) == [(1,)]


async def test_the_dearest_run_can_be_stored(db: Database) -> None:
    await factories.node(db, price=MAX_AMOUNT)
    waves = factories.runner(db)
    (offer,) = await factories.accepted(db, waves)
    await sql(db, "UPDATE offers SET decided_at = now() - interval '9 hours'")
    await sql(db, "UPDATE jobs SET assigned_at = now() - interval '9 hours'")
    await offers.report(db, [offers.new_report(offer.id, offer.node_id, ok=True)])
    await factories.run_waves(waves)
    assert await sql(db, "SELECT state, cost FROM jobs") == [("completed", MAX_AMOUNT)]


class Traced:
    """The job graph, noting the edges that its runs take."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.edges: set[tuple[str, str]] = set()

    async def ainvoke(self, state: Any, *, context: Any) -> None:
        at = "__start__"
        async for step in self.graph.astream(state, context=context, stream_mode="updates"):
            (node,) = step
            self.edges.add((at, node))
            at = node
        self.edges.add((at, "__end__"))


async def varied_life(db: Database, waves: WaveRunner) -> None:
    """Lead jobs along every path there is."""
    near, far = [await factories.node(db, price=price, capacity=4) for price in (1, 2)]
    wishes: dict[str, Any] = {"policy": "cheapest", "max_retries": 1}
    expiring, cancelled, declined = await factories.submit(db, 3, **wishes)
    await factories.run_waves(waves)
    offer_of = {offer.job_id: offer for offer in await factories.all_offers(db)}
    await offers.decline(db, near, offer_of[declined].id, "busy")
    await jobs.cancel(db, OWNER, cancelled)
    await sql(db, "UPDATE offers SET expires_at = now() WHERE id = $1", offer_of[expiring].id)
    await factories.wake(db, [expiring])
    await factories.run_waves(waves)
    # Both went on to the far node; one runs, fails there, and has no node left until its time in the queue ends.
    for offer in await factories.all_offers(db):
        assert offer.node_id == far
        await offers.accept(db, [(offer.id, far)])
    await factories.run_waves(waves)
    running = {row[0]: row[1] for row in await sql(db, "SELECT job_id, id FROM offers WHERE state = 'accepted'")}
    await offers.progress(db, far, running[declined], 1.0, "")
    await factories.run_waves(waves)
    failure = offers.new_report(running[declined], far, ok=False, error="broke")
    await offers.report(db, [failure, offers.new_report(running[expiring], far, ok=True)])
    await factories.run_waves(waves)
    await sql(db, "UPDATE jobs SET expires_at = now() WHERE id = $1", declined)
    await factories.wake(db, [declined])
    await factories.run_waves(waves)
    # Two jobs in every phase at once, a contended node, a cancelled run, a run whose node falls silent twice.
    for _ in range(2):
        await one_of_each(db, waves)
    third = await factories.node(db, price=1, capacity=1)
    await factories.submit(db, 1, **wishes)
    for held in ([third, near], [third, near, far]):
        # The next candidate is free, or none is and the wave matches anew.
        async with db.unit() as other:
            await node_rows.lock(other, held)
            await waves.views.refresh()
            await waves.run_once()
        (late,) = await factories.submit(db, 1, **wishes)
    await factories.wake(db, [late])
    await factories.run_waves(waves)
    await factories.wake(db, [declined])
    await factories.run_waves(waves)
    # Accepted and done before any wave looks.
    await finish(db, waves)
    await payments(db, waves)


async def payments(db: Database, waves: WaveRunner) -> None:
    """Payments alone, and beside a job for every phase that may come before."""
    paid = [row[0] for row in await sql(db, "SELECT id FROM jobs WHERE state = 'completed' ORDER BY id LIMIT 6")]
    for job_id in paid:
        await chain_rows.link(db, job_id)
    one, *others, last = paid
    for payment in (PaymentState.OBSERVED, PaymentState.NONE, PaymentState.INVALID, PaymentState.VALID):
        await chain_rows.say(db, one, payment)
        await factories.run_waves(waves)
    failing, stopped, done = await factories.accepted(db, waves, 3, max_retries=0)
    starting = await factories.submit(db, 1)
    await factories.run_waves(waves)
    (offer,) = [offer for offer in await factories.all_offers(db) if offer.job_id in starting]
    # Before the payment is looked at: a run that failed for good, an acceptance, a job to place, one to end.
    await offers.report(db, [offers.new_report(failing.id, failing.node_id, ok=False, error="broke")])
    await chain_rows.say(db, others[0], PaymentState.VALID)
    await waves.run_once()
    await offers.accept(db, [(offer.id, offer.node_id)])
    await chain_rows.say(db, others[1], PaymentState.VALID)
    await waves.run_once()
    await factories.submit(db, 1, requirements=Requirements(gpus=64))
    await chain_rows.say(db, others[2], PaymentState.VALID)
    await waves.run_once()
    await jobs.cancel(db, OWNER, stopped.job_id)
    await chain_rows.link(db, done.job_id, payment=PaymentState.OBSERVED.value)
    await offers.report(db, [offers.new_report(done.id, done.node_id, ok=True)])
    await chain_rows.say(db, last, PaymentState.OBSERVED)
    await waves.run_once()
    await everything_cancelled(db, waves)


async def one_of_each(db: Database, waves: WaveRunner) -> None:
    """Waves with and without something to match, to start and to finish."""
    wishes: dict[str, Any] = {"policy": "cheapest", "max_retries": 0}
    done, failed, stopped, late, lost = await factories.accepted(db, waves, 5, **wishes)
    await offers.report(db, [offers.new_report(done.id, done.node_id, ok=True)])
    await offers.progress(db, stopped.node_id, stopped.id, 1.0, "")
    await jobs.cancel(db, OWNER, stopped.job_id)
    await jobs.cancel(db, OWNER, late.job_id)
    await factories.run_waves(waves)
    # Nothing to match: the last run failed.
    await offers.report(db, [offers.new_report(failed.id, failed.node_id, ok=False, error="broke")])
    await factories.run_waves(waves)
    # Nothing to match, but to start: one run times out while the other's node accepts.
    (other,) = await factories.submit(db, 1, **wishes)
    await factories.run_waves(waves)
    (offer,) = await factories.all_offers(db)
    await sql(db, "UPDATE offers SET decided_at = now() - interval '1 hour' WHERE id = $1", lost.id)
    await factories.wake(db, [lost.job_id])
    await offers.accept(db, [(offer.id, offer.node_id)])
    await factories.run_waves(waves)
    # Runs that said that they run, and ended either way.
    told = await factories.accepted(db, waves, 2, **wishes)
    for offer in told:
        await offers.progress(db, offer.node_id, offer.id, 1.0, "")
    await factories.run_waves(waves)
    await offers.report(db, [offers.new_report(told[0].id, told[0].node_id, ok=True)])
    await offers.report(db, [offers.new_report(told[1].id, told[1].node_id, ok=False, error="broke")])
    await factories.run_waves(waves)
    # A node lost in the middle of a run, and jobs for every phase in the same wave.
    retried = await factories.accepted(db, waves, 2, policy="cheapest", max_retries=1)
    await offers.progress(db, retried[0].node_id, retried[0].id, 1.0, "")
    await factories.run_waves(waves)
    await sql(db, "UPDATE node_heartbeats SET last_seen_at = now() - interval '1 hour'")
    await nodes.sweep_silent(db, 300.0)
    await jobs.cancel(db, OWNER, other)
    await factories.run_waves(waves)
    await nodes.heard(db, [(node_id, None) for (node_id,) in await sql(db, "SELECT node_id FROM node_heartbeats")])
    await factories.run_waves(waves)
    # Declined when its time in the queue is over: nothing to match, but to finish.
    await everything_cancelled(db, waves)
    (hasty,) = await factories.submit(db, 1, **wishes)
    await factories.run_waves(waves)
    (offer,) = await factories.all_offers(db)
    await sql(db, "UPDATE jobs SET expires_at = now() WHERE id = $1", hasty)
    await offers.decline(db, offer.node_id, offer.id, "busy")
    await factories.run_waves(waves)
    # One to match beside one to start, one to match beside one to finish.
    started, ended = await factories.submit(db, 2, **wishes)
    await factories.run_waves(waves)
    for offer in await factories.all_offers(db):
        if offer.job_id == started:
            await offers.accept(db, [(offer.id, offer.node_id)])
    await factories.submit(db, 1, **wishes)
    await factories.run_waves(waves)
    await jobs.cancel(db, OWNER, ended)
    await factories.submit(db, 1, requirements=Requirements(gpus=64))
    await factories.run_waves(waves)
    await everything_cancelled(db, waves)


async def everything_cancelled(db: Database, waves: WaveRunner) -> None:
    for (job_id,) in await sql(db, "SELECT id FROM jobs WHERE finished_at IS NULL"):
        await jobs.cancel(db, OWNER, job_id)
    await factories.run_waves(waves)


async def test_every_move_is_in_the_table_and_every_edge_is_drawn_and_taken(db: Database) -> None:
    waves = factories.runner(db)
    traced: Any = Traced(waves._graph)
    waves._graph = traced
    await varied_life(db, waves)
    await invariants.check(db, waves.views)
    assert traced.edges <= drawing.edges("job")
    assert drawing.edges("job") - traced.edges == set()
    taken = {
        (JobState(row[0]), JobState(row[1]))
        for row in await sql(db, "SELECT DISTINCT from_state, to_state FROM job_history WHERE from_state IS NOT NULL")
    }
    table = {(source, target) for source, targets in JOB_MOVES.items() for target in targets}
    assert taken <= table
    reachable = {(source, target) for source, target in table if not UNREACHED & {source, target}}
    assert reachable - taken == {(JobState.PENDING, JobState.FAILED)}, "moves that no wave makes"
    settled = {
        (Settlement(row[0]), Settlement(row[1]))
        for row in await sql(db, "SELECT DISTINCT from_state, to_state FROM settlement_history")
    }
    assert settled == {(source, target) for source, targets in SETTLEMENT_MOVES.items() for target in targets} - {
        (Settlement.NONE, Settlement.AWAITING)
    }
