"""Reports that come when their run is over: kept once, told of to nobody, paid for never."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from app.core.errors import Conflict
from app.core.states import OfferState
from app.services import jobs, nodes, offers
from app.services.verify import verify
from app.store import offers as offer_rows
from app.store.db import Database
from app.store.offers import OpenOffer
from tests import factories
from tests.factories import OWNER, sql
from tests.integration.graphs import invariants
from tests.integration.store.test_locks import blocked

LEASE_S = 60.0


async def silence(db: Database) -> None:
    """Whatever runs was last heard of long ago."""
    await sql(db, "UPDATE node_heartbeats SET last_seen_at = clock_timestamp() - interval '2 min'")
    await sql(
        db,
        """UPDATE offers SET created_at = created_at - interval '2 min', decided_at = decided_at - interval '2 min'
        WHERE holds_slots""",
    )


async def results(db: Database) -> list[tuple[Any, ...]]:
    return await sql(db, "SELECT offer_id, ok, late FROM results ORDER BY offer_id")


async def run(db: Database, waves: Any, count: int = 1) -> list[OpenOffer]:
    """So many jobs that run on one node, with another beside it."""
    for _ in range(2):
        await factories.node(db, capacity=32, gpus=32)
    return await factories.accepted(db, waves, count)


def good(offer: OpenOffer, body: Any = None) -> Any:
    return offers.new_report(offer.id, offer.node_id, ok=True, body=body)


async def codes(db: Database, *reports: Any) -> list[str | None]:
    return [error.code if error else None for error in await offers.report(db, reports)]


async def test_a_report_that_waits_for_the_wave_that_ends_its_run(db: Database) -> None:
    waves = factories.runner(db)
    (offer,) = await run(db, waves)
    async with db.unit() as wave:
        await offer_rows.lock(wave, [offer.id])
        reporting = asyncio.create_task(codes(db, good(offer)))
        await blocked(db)
        await wave.sql.execute("UPDATE offers SET holds_slots = false WHERE id = $1", offer.id)
    assert await reporting == ["offer_over"]
    assert await results(db) == [(offer.id, True, True)]
    assert await sql(db, "SELECT kind FROM signals WHERE kind IN ('result', 'failure')") == []


async def test_a_wave_that_waits_for_the_report_on_the_run_it_would_end(db: Database) -> None:
    waves = factories.runner(db, lease_s=LEASE_S)
    (offer,) = await run(db, waves)
    await silence(db)
    assert await nodes.sweep_leases(db, LEASE_S) == 1
    async with db.unit() as reporting:
        await reporting.sql.fetch("SELECT 1 FROM offers WHERE id = $1 FOR SHARE", offer.id)
        wave = asyncio.create_task(waves.run_once())
        await blocked(db)
        await reporting.sql.execute(
            """INSERT INTO results (offer_id, job_id, node_id, attempt, ok, digest)
            VALUES ($1, $2, $3, $4, true, $5)""",
            offer.id, offer.job_id, offer.node_id, offer.attempt, good(offer).digest,
        )  # fmt: skip
    await wave
    # In time: its lease was over, and nobody had taken the job away yet.
    assert await factories.state_of(db, offer.job_id) == "completed"
    assert await codes(db, good(offer)) == [None]
    await invariants.check(db, waves.views)


async def test_of_a_report_and_the_loss_of_its_lease_one_wins(db: Database) -> None:
    runners = [factories.runner(db, lease_s=LEASE_S) for _ in range(2)]
    running = await run(db, runners[0], 24)
    await silence(db)

    async def sweep() -> None:
        await nodes.sweep_leases(db, LEASE_S, 4)
        await asyncio.gather(*(one.run_once() for one in runners))

    async def tell(offer: OpenOffer) -> str | None:
        return (await codes(db, good(offer)))[0]

    said: list[str | None] = []
    for start in range(0, len(running), 4):
        answers, _ = await asyncio.gather(asyncio.gather(*map(tell, running[start : start + 4])), sweep())
        said += answers
    await factories.run_waves(runners[0])
    late = {row[0]: row[2] for row in await results(db)}
    for offer, answer in zip(running, said, strict=True):
        assert (answer, late[offer.id]) in ((None, False), ("offer_over", True))
        completed = await factories.state_of(db, offer.job_id) == "completed"
        assert completed is not late[offer.id]
    await invariants.check(db, *(one.views for one in runners))
    assert [one for one in (await verify(db)).violations if not one.check.startswith("feed")] == []


@pytest.mark.parametrize("ended_by", ["cancel", "lease"])
async def test_a_late_report_pays_and_moves_nothing(db: Database, ended_by: str) -> None:
    waves = factories.runner(db, lease_s=LEASE_S)
    (offer,) = await run(db, waves)
    if ended_by == "cancel":
        await jobs.cancel(db, OWNER, offer.job_id)
    else:
        await silence(db)
        await nodes.sweep_leases(db, LEASE_S)
    await factories.run_waves(waves)
    before = await sql(db, "SELECT state, attempt, version, cost, settlement FROM jobs")
    assert await codes(db, good(offer)) == ["offer_over"]
    assert await codes(db, good(offer), good(offer, "other")) == ["offer_over", "already_reported"]
    assert await results(db) == [(offer.id, True, True)]
    await factories.wake(db, [offer.job_id])
    await factories.run_waves(waves)
    assert await sql(db, "SELECT state, attempt, version, cost, settlement FROM jobs") == before
    assert (await jobs.get(db, OWNER, offer.job_id)).report is None
    await invariants.check(db, waves.views)


async def test_a_restart_says_nothing_late(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends while its node registers afresh is not reported as failed by that: its result may yet come."""
    waves = factories.runner(db, lease_s=LEASE_S)
    (offer,) = await run(db, waves)
    seen = offer_rows.waiting

    async def ended_meanwhile(*given: Any, **named: Any) -> list[OpenOffer]:
        found = await seen(*given, **named)
        await silence(db)
        await nodes.sweep_leases(db, LEASE_S)
        await waves.run_once()
        return found

    monkeypatch.setattr(offer_rows, "waiting", ended_meanwhile)
    async with db.unit() as uow:
        assert await offers.give_up_runs(uow, offer.node_id, "the node restarted") == 0
    assert await results(db) == []


async def test_declined_and_foreign_offers_take_no_late_report(db: Database) -> None:
    waves = factories.runner(db)
    await factories.node(db)
    await factories.submit(db)
    await factories.run_waves(waves)
    (offer,) = await factories.all_offers(db)
    await offers.decline(db, offer.node_id, offer.id, "busy")
    await factories.run_waves(waves)
    foreign = offers.new_report(offer.id, "node_x", ok=True)
    assert await codes(db, good(offer), foreign) == ["offer_over", "offer_not_found"]
    assert await results(db) == []


async def test_progress_renews_the_lease_and_its_token_fences_it(db: Database) -> None:
    waves = factories.runner(db, lease_s=LEASE_S)
    (offer,) = await run(db, waves)
    async with db.unit() as uow:
        token = (await offer_rows.tokens(uow, [offer.id]))[offer.id]
    assert token == offer.token
    say = partial(offers.progress, db, offer.node_id, offer.id, 10.0, "")
    with pytest.raises(Conflict) as refused:
        await say(token=token + 1)
    assert refused.value.code == "lease_lost"
    assert await sql(db, "SELECT renewed_at, started_at FROM offers") == [(None, None)]
    times = []
    for _ in range(2):
        await say(token=token)
        times += await sql(db, "SELECT started_at, renewed_at FROM offers")
    (first, renewed), (still_first, later) = times
    assert first == still_first
    assert renewed < later
    held = await sql(db, "SELECT state FROM offers WHERE holds_slots")
    assert held == [(OfferState.ACCEPTED,)]
