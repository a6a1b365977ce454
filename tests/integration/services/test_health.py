"""Nodes that decline, fail and come back: in the rows, whoever writes them, and in whom the next job goes to."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from app.core.errors import Unavailable
from app.core.health import HealthRules
from app.services import health, jobs, nodes, offers
from app.store.db import Database
from app.store.offers import OpenOffer
from app.workers.sweeper import Sweeper
from graphs.runtime import WaveRunner
from tests import factories
from tests.factories import OWNER, sql
from tests.integration.graphs import invariants
from tests.integration.services.chain_cases import ChainNodeCase, World

RULES = HealthRules(breaker_failures=3, trial_jobs=2)
HEALTH = "SELECT state, penalty, failures_in_row, trial, suspensions, suspended_until FROM nodes WHERE id = $1"
COOLED = "UPDATE nodes SET suspended_until = now() - interval '1 second' WHERE suspended_until IS NOT NULL"


@pytest.fixture
def waves(db: Database) -> WaveRunner:
    return factories.runner(db, health=RULES)


async def health_of(db: Database, node_id: str) -> tuple[object, ...]:
    """State, penalty, failures in a row, trial, suspensions, and for how many seconds it is shut out."""
    ((*known, until),) = await sql(db, HEALTH, node_id)
    ((now,),) = await sql(db, "SELECT now()")
    return (*known, None if until is None else round((until - now).total_seconds()))


async def run(db: Database, waves: WaveRunner, ok: bool, count: int = 1, node: str | None = None) -> list[OpenOffer]:
    """Have ``count`` jobs offered, accepted and reported, all by ``node`` if that is named."""
    given = await factories.accepted(db, waves, count, max_retries=0)
    assert node is None or {offer.node_id for offer in given} == {node}
    reports = [offers.new_report(one.id, one.node_id, ok=ok, error=None if ok else "broke") for one in given]
    assert await offers.report(db, reports) == [None] * count
    await factories.run_waves(waves)
    return given


async def offered_to(db: Database, waves: WaveRunner, *, declined: bool = False) -> str:
    """Whom a job is offered to; it is then cancelled, with whatever followed if they declined it."""
    (job_id,) = await factories.submit(db)
    await factories.run_waves(waves)
    (offer,) = await factories.all_offers(db)
    if declined:
        await offers.decline(db, offer.node_id, offer.id, "busy")
        await factories.run_waves(waves)
    await jobs.cancel(db, OWNER, job_id)
    await factories.run_waves(waves)
    return offer.node_id


async def let_back(db: Database, node_id: str) -> None:
    """The cooldown is over, the sweeper comes by, and then the node's heartbeat."""
    await sql(db, COOLED)
    assert await health.let_back(db) == 1
    await nodes.heard(db, [(node_id, None)])


async def test_runs_lost_in_a_row_suspend_the_node_and_its_jobs_go_elsewhere(db: Database, waves: WaveRunner) -> None:
    failing = await factories.node(db, capacity=4, price=1)
    (held,) = await factories.accepted(db, waves, max_retries=5)
    await run(db, waves, ok=False, count=2)
    assert await health_of(db, failing) == ("online", 200, 2, 0, 0, None)
    other = await factories.node(db, price=10**12)
    await run(db, waves, ok=False, node=failing)
    assert await health_of(db, failing) == ("suspended", 300, 0, 2, 1, 60)
    told = await sql(
        db, "SELECT from_state, to_state, reason, actor FROM node_history WHERE node_id = $1 ORDER BY id", failing
    )
    assert told[-1] == ("online", "suspended", "failing", "engine")
    assert await sql(db, "SELECT account, data->>'reason' FROM events WHERE kind = 'node_suspended'") == [
        (OWNER.account, "failing")
    ]
    # What it still had goes on elsewhere, and is not held against it a second time.
    assert await sql(db, "SELECT node_id, state FROM jobs WHERE id = $1", held.job_id) == [(other, "offered")]
    assert (await health_of(db, failing))[1:3] == (300, 0)
    await invariants.check(db, waves.views)


async def test_a_good_run_in_between_starts_the_count_anew(db: Database, waves: WaveRunner) -> None:
    node = await factories.node(db, capacity=4)
    await run(db, waves, ok=False, count=2)
    await run(db, waves, ok=True)
    assert await health_of(db, node) == ("online", 200, 0, 0, 0, None)
    await run(db, waves, ok=False, count=2)
    assert await health_of(db, node) == ("online", 400, 2, 0, 0, None)


async def test_after_its_time_it_comes_back_on_trial_one_job_at_a_time(db: Database, waves: WaveRunner) -> None:
    node = await factories.node(db, capacity=4)
    await run(db, waves, ok=False, count=3)
    await nodes.heard(db, [(node, None)])
    assert await health.let_back(db) == 0
    assert (await health_of(db, node))[0] == "suspended"
    await sql(db, COOLED)
    assert await health.let_back(db) == 1
    assert await health_of(db, node) == ("offline", 300, 0, 2, 1, None)
    await nodes.heard(db, [(node, None)])
    await factories.submit(db, 3)
    for still_to_do in (2, 1):
        await factories.run_waves(waves)
        (offer,) = await factories.all_offers(db)
        assert await health_of(db, node) == ("online", 300, 0, still_to_do, 1, None)
        await offers.accept(db, [(offer.id, node)])
        await offers.report(db, [offers.new_report(offer.id, node, ok=True)])
        await factories.run_waves(waves)
        await factories.wake(db, [row[0] for row in await sql(db, "SELECT id FROM jobs WHERE state = 'pending'")])
    await factories.submit(db, 2)
    await factories.run_waves(waves)
    assert len(await factories.all_offers(db)) == 3
    assert await health_of(db, node) == ("online", 300, 0, 0, 1, None)
    await invariants.check(db, waves.views)


async def test_a_run_lost_on_trial_suspends_it_for_twice_as_long(db: Database, waves: WaveRunner) -> None:
    node = await factories.node(db, capacity=4)
    await run(db, waves, ok=False, count=3)
    for seconds, suspensions in ((120, 2), (240, 3)):
        await let_back(db, node)
        await run(db, waves, ok=False)
        assert await health_of(db, node) == ("suspended", 100 * (2 + suspensions), 0, 2, suspensions, seconds)
    await invariants.check(db, waves.views)


async def test_a_decline_changes_who_is_chosen_next(db: Database, waves: WaveRunner) -> None:
    alike = {await factories.node(db) for _ in range(2)}
    decliner = await offered_to(db, waves, declined=True)
    (other,) = alike - {decliner}
    assert (await health_of(db, decliner))[:3] == ("online", 20, 0)
    assert {await offered_to(db, waves) for _ in range(5)} == {other}
    # Both have declined once now; two declines weigh more.
    assert await offered_to(db, waves, declined=True) == other
    twice = await offered_to(db, waves, declined=True)
    assert {await offered_to(db, waves) for _ in range(5)} == alike - {twice}


async def test_a_missed_offer_counts_as_an_answer_as_slow_as_there_could_be(db: Database, waves: WaveRunner) -> None:
    node = await factories.node(db)
    await factories.submit(db)
    await factories.run_waves(waves)
    (offer,) = await factories.all_offers(db)
    await sql(db, "UPDATE offers SET created_at = now() - interval '15 s', expires_at = now()")
    await factories.wake(db, [offer.job_id])
    await factories.run_waves(waves)
    assert await sql(db, "SELECT response_ms, penalty, jobs_failed FROM nodes WHERE id = $1", node) == [(15_000, 20, 0)]


async def test_going_away_with_many_jobs_is_one_failure(db: Database, waves: WaveRunner) -> None:
    node = await factories.node(db, capacity=4)
    await factories.accepted(db, waves, 4)
    await sql(db, "UPDATE node_heartbeats SET last_seen_at = now() - interval '1 hour'")
    assert await nodes.sweep_silent(db, 300.0) == 1
    await factories.run_waves(waves)
    assert await health_of(db, node) == ("offline", 100, 1, 0, 0, None)
    assert await sql(db, "SELECT jobs_failed FROM nodes") == [(4,)]


async def test_penalties_fall_with_time_and_leave_the_index_at_zero(db: Database, waves: WaveRunner) -> None:
    node = await factories.node(db)
    await offered_to(db, waves, declined=True)
    assert await health.decay(db, RULES) == 0
    await sql(db, "UPDATE nodes SET penalised_at = now() - interval '601 s'")
    before = await sql(db, "SELECT version FROM nodes")
    assert await health.decay(db, RULES) == 1
    assert (await health_of(db, node))[1] == 10
    await waves.views.refresh()
    held = waves.views.matchmaker.view.get(node)
    assert held is not None and (held.penalty, held.version) == (10, before[0][0] + 1)
    await sql(db, "UPDATE nodes SET penalised_at = now() - interval '1 day', suspensions = 2")
    assert await health.decay(db, RULES) == 1
    assert await sql(db, "SELECT penalty, penalised_at, suspensions FROM nodes") == [(0, None, 0)]
    assert await health.decay(db, RULES) == 0


async def test_the_sweeper_lets_back_and_lets_penalties_fall(db: Database, waves: WaveRunner) -> None:
    node = await factories.node(db, capacity=4)
    await run(db, waves, ok=False, count=3)
    sweeper = Sweeper(
        db,
        sweep_s=1.0,
        offline_after_s=300.0,
        lease_s=150.0,
        health_rules=RULES,
    )
    await sweeper.sweep_once()
    assert await health_of(db, node) == ("suspended", 300, 0, 2, 1, 60)
    await sql(db, COOLED)
    await sql(db, "UPDATE nodes SET penalised_at = now() - interval '601 s'")
    await sweeper.sweep_once()
    assert await health_of(db, node) == ("offline", 150, 0, 2, 1, None)


async def test_waves_and_sweepers_at_once_suspend_once_and_count_every_run(db: Database) -> None:
    rules = HealthRules(breaker_failures=8, half_life=timedelta(days=7))
    runners = [factories.runner(db, health=rules, wave_size=3) for _ in range(2)]
    node = await factories.node(db, capacity=16, gpus=16)
    given = await factories.accepted(db, runners[0], 10, max_retries=0)
    reports = [offers.new_report(one.id, one.node_id, ok=False, error="broke") for one in given]
    await offers.report(db, reports)

    async def sweep() -> None:
        for _ in range(10):
            await health.decay(db, rules)
            await health.let_back(db)
            await nodes.sweep_silent(db, 300.0)

    await asyncio.gather(*(factories.run_waves(runner) for runner in runners), sweep(), sweep())
    # The eighth lost run shuts it out; what is reported of it after that changes nothing.
    assert (await health_of(db, node))[:5] == ("suspended", 800, 0, 2, 1)
    assert await sql(db, "SELECT count(*) FROM node_history WHERE to_state = 'suspended'") == [(1,)]
    assert await sql(db, "SELECT jobs_failed, active_jobs FROM nodes") == [(10, 0)]
    await sql(db, COOLED)
    assert sorted(await asyncio.gather(*(health.let_back(db) for _ in range(4)))) == [0, 0, 0, 1]
    await invariants.check(db, *(runner.views for runner in runners))


async def test_a_wave_that_dies_leaves_the_node_as_it_was(
    db: Database, waves: WaveRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await factories.node(db, capacity=4)
    given = await factories.accepted(db, waves, 3, max_retries=0)
    await offers.report(db, [offers.new_report(one.id, node, ok=False, error="broke") for one in given])
    record = health.record

    async def dies(*args: object) -> None:
        await record(*args)  # type: ignore[arg-type]
        raise Unavailable("gone in the middle")

    with monkeypatch.context() as patch:
        patch.setattr(health, "record", dies)
        with pytest.raises(Unavailable):
            await waves.run_once()
    assert await health_of(db, node) == ("online", 0, 0, 0, 0, None)
    await factories.run_waves(waves)
    assert await health_of(db, node) == ("suspended", 300, 0, 2, 1, 60)
    await invariants.check(db, waves.views)


async def test_the_chain_and_the_circuit_breaker_keep_out_of_each_others_suspensions(db: Database) -> None:
    world, chain = World(db), ChainNodeCase()
    waves = factories.runner(db, health=RULES)
    node = await factories.node(db, wallet="Owner", capacity=4)
    await world.record(chain.registered(5))
    await run(db, waves, ok=False, count=3)
    # The chain calls it online: the circuit breaker does not.
    await world.record(chain.status("Online", 6))
    assert (await health_of(db, node))[0] == "suspended"
    # The chain suspends it, too: then its time is the chain's to say.
    await world.record(chain.status("Suspended", 7))
    assert await health_of(db, node) == ("suspended", 300, 0, 2, 1, None)
    await sql(db, COOLED)
    assert await health.let_back(db) == 0
    await world.record(chain.status("Online", 8))
    assert await health_of(db, node) == ("offline", 300, 0, 2, 1, None)


async def test_a_node_that_deregisters_to_come_back_sooner_is_on_trial(db: Database, waves: WaveRunner) -> None:
    node = await factories.node(db, wallet="again")
    await run(db, waves, ok=False)
    await run(db, waves, ok=False)
    await run(db, waves, ok=False)
    await sql(db, "UPDATE nodes SET state = 'deregistered'")
    await nodes.register(db, OWNER, factories.registration(wallet="again"))
    assert (await health_of(db, node))[:4] == ("online", 300, 0, 2)
    await sql(db, COOLED)
    assert await health.let_back(db) == 0
    assert await health_of(db, node) == ("online", 300, 0, 2, 1, None)
