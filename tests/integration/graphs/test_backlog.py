"""Who gets what becomes free: by rank and share, within quotas, and in time."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

from app.core.access import Principal
from app.core.events import SignalKind
from app.core.requirements import Requirements
from app.services import jobs, keys, offers
from app.services.jobs import Submitted
from app.services.keys import Limits
from app.store import backlog
from app.store.db import Database
from graphs.runtime import WaveRunner
from tests import factories
from tests.factories import sql
from tests.integration.graphs import invariants


async def agent(db: Database, **limits: Any) -> Principal:
    """A caller with a key of its own."""
    key_id, _ = await keys.create(db, "acme", ["agent"], limits=Limits(**limits))
    return Principal(key_id, "acme", frozenset({"agent"}))


async def silence(db: Database) -> None:
    """Put off all timers of waiting jobs: only what becomes free can call them now."""
    await sql(db, "UPDATE signals SET due_at = now() + interval '1 hour' WHERE kind = 'match_due'")


async def take_all(db: Database, waves: WaveRunner) -> list[str]:
    """Accept every open offer; the ids of the jobs."""
    given = await factories.all_offers(db)
    assert await offers.accept(db, [(one.id, one.node_id) for one in given]) == [None] * len(given)
    await factories.run_waves(waves)
    return [one.job_id for one in given]


async def finish(db: Database, waves: WaveRunner, job_ids: list[str]) -> None:
    """Have these running jobs report well, and what becomes free given out."""
    running = await sql(
        db,
        "SELECT id, node_id FROM offers WHERE job_id = ANY($1::text[]) AND state = 'accepted' AND holds_slots",
        job_ids,
    )
    assert len(running) == len(job_ids)
    await offers.report(db, [offers.new_report(offer_id, node_id, ok=True) for offer_id, node_id in running])
    await factories.run_waves(waves)


async def offered(db: Database) -> set[str]:
    return {row[0] for row in await sql(db, "SELECT id FROM jobs WHERE state = 'offered'")}


async def test_a_slot_that_becomes_free_goes_to_the_most_urgent_and_leaves_the_others_as_they_were(
    db: Database,
) -> None:
    await factories.node(db, capacity=1)
    waves = factories.runner(db)
    (first,) = [one.job_id for one in await factories.accepted(db, waves)]
    plain = await factories.submit(db, 3)
    (urgent,) = await factories.submit(db, priority=5)
    await factories.run_waves(waves)
    await silence(db)
    before = await sql(db, "SELECT * FROM signals WHERE job_id = ANY($1::text[]) ORDER BY id", plain)
    await finish(db, waves, [first])
    assert await offered(db) == {urgent}
    assert await sql(db, "SELECT * FROM signals WHERE job_id = ANY($1::text[]) ORDER BY id", plain) == before
    await invariants.check(db, waves.views)


async def test_waiting_makes_up_for_priority(db: Database) -> None:
    await factories.node(db, capacity=1)
    waves = factories.runner(db)
    (first,) = [one.job_id for one in await factories.accepted(db, waves)]
    (old,) = await factories.submit(db)
    # A step of priority counts like a minute of waiting.
    await sql(db, "UPDATE jobs SET created_at = created_at - interval '10 minutes' WHERE id = $1", old)
    (young,) = await factories.submit(db, priority=9)
    await factories.run_waves(waves)
    await silence(db)
    await finish(db, waves, [first])
    assert await offered(db) == {old}
    await finish(db, waves, await take_all(db, waves))
    assert await offered(db) == {young}


async def test_a_waiter_for_one_kind_of_node_is_not_hidden_by_many_who_wait_for_another(db: Database) -> None:
    await factories.node(db, gpu_model="t4", capacity=1)
    await factories.node(db, gpu_model="a100", capacity=1)
    waves = factories.runner(db)
    t4, a100 = Requirements(gpu_models=("t4",)), Requirements(gpu_models=("a100",))
    (on_t4,) = [one.job_id for one in await factories.accepted(db, waves, requirements=t4)]
    await factories.accepted(db, waves, requirements=a100)
    await factories.submit(db, 80, requirements=a100, priority=9)
    (behind,) = await factories.submit(db, requirements=t4)
    await factories.run_waves(waves)
    await silence(db)
    await finish(db, waves, [on_t4])
    assert await offered(db) == {behind}


async def test_a_node_that_comes_wakes_those_who_wait(db: Database) -> None:
    waves = factories.runner(db)
    await factories.node(db, capacity=1)
    await factories.accepted(db, waves)
    waiting = await factories.submit(db, 2)
    await factories.run_waves(waves)
    await silence(db)
    await factories.node(db, capacity=2)
    await factories.run_waves(waves)
    assert await offered(db) == set(waiting)


async def test_keys_share_what_is_scarce_by_their_weights(db: Database) -> None:
    for _ in range(4):
        await factories.node(db, capacity=2)
    waves = factories.runner(db)
    many, few = await agent(db, weight=3), await agent(db, weight=1)
    # In one transaction, so that all have waited as long. The light key's come first.
    wishes = [factories.submission(principal=key) for key in (few, many) for _ in range(40)]
    taken = [one for one in await jobs.submit(db, wishes) if isinstance(one, Submitted)]
    whose = {one.job_id: wish.principal.key_id for one, wish in zip(taken, wishes, strict=True)}
    await factories.run_waves(waves)
    await silence(db)
    served: Counter[str] = Counter()
    for _ in range(5):
        running = await take_all(db, waves)
        assert Counter(whose[job_id] for job_id in running) == {many.key_id: 6, few.key_id: 2}
        served.update(whose[job_id] for job_id in running)
        await finish(db, waves, running)
    assert served == {many.key_id: 30, few.key_id: 10}
    # Slots that become free one by one go the same way.
    running = await take_all(db, waves)
    for job_id in running[:4]:
        await finish(db, waves, [job_id])
        await take_all(db, waves)
    held = await sql(
        db, "SELECT key_id, count(*) FROM jobs JOIN offers ON offers.id = jobs.offer_id WHERE holds_slots GROUP BY 1"
    )
    assert dict(held) == {many.key_id: 6, few.key_id: 2}
    await invariants.check(db, waves.views)


async def test_a_quota_holds_however_many_workers_place_its_jobs(db: Database) -> None:
    for _ in range(6):
        await factories.node(db, capacity=2)
    workers = [factories.runner(db, wave_size=4) for _ in range(3)]
    bounded, free = await agent(db, max_active=3), await agent(db)
    mine = await factories.submit(db, 12, principal=bounded)
    theirs = await factories.submit(db, 5, principal=free)

    async def work(waves: WaveRunner) -> None:
        await waves.views.refresh()
        while (await waves.run_once()).signals:
            pass

    await asyncio.gather(*(work(waves) for waves in workers))
    assert len(await offered(db) & set(mine)) == 3
    assert await offered(db) >= set(theirs)
    verdicts = await sql(
        db,
        "SELECT DISTINCT explanation->>'verdict' FROM match_decisions WHERE node_id IS NULL AND job_id = ANY($1)",
        mine,
    )
    assert verdicts == [("quota",)]
    await silence(db)
    # What it gives back it may have again, at once, and no more.
    waves = workers[0]
    running = await take_all(db, waves)
    await finish(db, waves, [job_id for job_id in running if job_id in mine][:2])
    assert len(await offered(db) & set(mine)) == 2
    await invariants.check(db)


async def test_a_job_that_no_node_fits_stays_out_of_the_backlog(db: Database) -> None:
    await factories.node(db)
    waves = factories.runner(db)
    await factories.submit(db, 3, requirements=Requirements(gpu_models=("unheard of",)))
    await factories.run_waves(waves)
    assert await sql(db, "SELECT DISTINCT rank_at FROM signals WHERE kind = 'match_due'") == [(None,)]
    async with db.unit() as uow:
        assert (await backlog.pull(uow, 10, None)).signals == []


async def test_a_backlog_that_nothing_helps_is_looked_at_once(db: Database) -> None:
    await factories.node(db, capacity=1, gpu_model="t4")
    await factories.node(db, capacity=1)
    waves = factories.runner(db)
    a100 = Requirements(gpu_models=("a100",))
    await factories.accepted(db, waves, requirements=a100)
    await factories.submit(db, 30, requirements=a100)
    await factories.run_waves(waves)
    await silence(db)
    before = await sql(db, "SELECT * FROM signals ORDER BY id")
    version = waves.views.matchmaker.view.version
    for _ in range(3):
        await waves.views.refresh()
        assert (await waves.run_once()).signals == 0
    assert waves.views.matchmaker.view.version == version
    assert await sql(db, "SELECT * FROM signals ORDER BY id") == before


async def test_the_whole_of_a_long_backlog_is_looked_at_while_there_is_something_free(db: Database) -> None:
    nodes = [await factories.node(db, capacity=1, price=price) for price in (1, 2)]
    waves = factories.runner(db)
    running = await factories.accepted(db, waves, 2)
    # Each alike only to itself, and of no use to the node that becomes free: it is too dear for all but the last.
    wishes = [factories.submission(requirements=Requirements(max_price=1, min_vram_gb=n % 40)) for n in range(40)]
    await jobs.submit(db, wishes)
    (last,) = await factories.submit(db)
    await factories.run_waves(waves)
    await silence(db)
    scanned, backlog.SCANNED = backlog.SCANNED, 8  # type: ignore[misc]
    try:
        await finish(db, waves, [one.job_id for one in running if one.node_id == nodes[1]])
    finally:
        backlog.SCANNED = scanned  # type: ignore[misc]
    assert await offered(db) == {last}


async def test_a_poisoned_waiter_leaves_the_backlog_and_spoils_no_wave_for_long(db: Database) -> None:
    await factories.node(db, capacity=1)
    waves = factories.runner(db, poison_tries=1)
    (first,) = [one.job_id for one in await factories.accepted(db, waves)]
    bad, good = await factories.submit(db, 2)
    await factories.run_waves(waves)
    await silence(db)
    await sql(db, "UPDATE jobs SET policy = 'from_the_future' WHERE id = $1", bad)
    ((offer_id, node_id),) = await sql(db, "SELECT id, node_id FROM offers WHERE job_id = $1", first)
    await offers.report(db, [offers.new_report(offer_id, node_id, ok=True)])
    await waves.views.refresh()
    reports = [await waves.run_once() for _ in range(3)]
    assert any(report.failed for report in reports)
    assert await offered(db) == {good}
    assert await sql(db, "SELECT rank_at FROM signals WHERE parked_at IS NOT NULL") == [(None,)]


async def deadline_in(db: Database, job_id: str, seconds: float) -> None:
    """Have the job's deadline come then, as if it had been submitted with it."""
    at = timedelta(seconds=seconds)
    await sql(
        db,
        "UPDATE jobs SET deadline_at = now() + $2, expires_at = least(expires_at, now() + $2) WHERE id = $1",
        job_id,
        at,
    )


async def test_a_job_ends_when_its_deadline_passes_wherever_it_stands(db: Database) -> None:
    node_id = await factories.node(db, capacity=2)
    waves = factories.runner(db)
    (running,) = [one.job_id for one in await factories.accepted(db, waves)]
    (open_offer,) = await factories.submit(db)
    await factories.run_waves(waves)
    (waiting,) = await factories.submit(db)
    await factories.run_waves(waves)
    everyone = [running, open_offer, waiting]
    for job_id in everyone:
        await deadline_in(db, job_id, 0)
    await factories.wake(db, everyone, SignalKind.DEADLINE)
    await factories.run_waves(waves)
    assert await sql(db, "SELECT DISTINCT state, reason, failures, excluded FROM jobs") == [
        ("expired", "deadline_passed", 0, [])
    ]
    assert await sql(db, "SELECT active_jobs, jobs_failed, penalty FROM nodes WHERE id = $1", node_id) == [(0, 0, 0)]
    await invariants.check(db, waves.views)


async def test_no_offer_and_no_run_outlasts_the_deadline(db: Database) -> None:
    await factories.node(db)
    waves = factories.runner(db, offer_ttl_s=600.0)
    (job_id,) = await factories.submit(db, deadline_s=30, timeout_s=3600)
    await factories.run_waves(waves)
    (offer,) = await factories.all_offers(db)
    assert 0 < offer.timeout_s <= 30
    assert await sql(db, "SELECT offers.expires_at - deadline_at FROM offers, jobs") == [(timedelta(0),)]
    await take_all(db, waves)
    timers = await sql(
        db, "SELECT due_at - deadline_at FROM signals JOIN jobs ON jobs.id = job_id WHERE kind = 'deadline'"
    )
    assert timers == [(timedelta(0),)]
    assert await sql(
        db, "SELECT deadline_at - created_at, expires_at - deadline_at FROM jobs WHERE id = $1", job_id
    ) == [(timedelta(seconds=30), timedelta(0))]
    await invariants.check(db, waves.views)
