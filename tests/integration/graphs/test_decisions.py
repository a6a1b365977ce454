"""Decisions as they are kept: what was refused on the way, why a job waits, and the same again when made again."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.errors import NotFound
from app.core.events import SignalKind
from app.core.money import UNIT
from app.core.requirements import Requirements
from app.services import jobs, offers
from app.services.rerun import Outcome, rerun
from app.store.db import Database
from graphs.runtime import WaveRunner
from tests import factories
from tests.factories import sql


async def explanation(db: Database, job_id: str) -> dict[str, Any]:
    """Of the job's latest decision."""
    return await jobs.explain(db, factories.OWNER, job_id)


async def look(db: Database, waves: WaveRunner, job_id: str) -> dict[str, Any]:
    """Have the job looked at now; what is told of it."""
    await factories.wake(db, [job_id])
    await waves.views.refresh()
    assert not (await waves.run_once()).failed
    return await explanation(db, job_id)


async def test_a_node_that_another_wave_holds_is_told_as_refused(db: Database) -> None:
    best = await factories.node(db, price=1)
    other = await factories.node(db, price=2)
    waves = factories.runner(db)
    await waves.views.refresh()
    (job_id,) = await factories.submit(db, policy="cheapest")
    async with db.unit() as holder:
        await holder.sql.execute("SELECT 1 FROM nodes WHERE id = $1 FOR UPDATE", best)
        await waves.run_once()
    told = await explanation(db, job_id)
    assert told["chosen"]["node_id"] == other
    assert told["refused"] == [{"node_id": best, "reason": "contended"}]
    assert f"Tried before in vain: {best}: another wave held its row." in told["told"]
    (made,) = await rerun(db, job_id)
    assert (made.outcome, made.differences) == (Outcome.IDENTICAL, [])


@pytest.mark.parametrize(
    ("change", "reason"),
    [("price = 9000000000", "price"), ("active_jobs = capacity", "busy"), ("state = 'draining'", "offline")],
)
async def test_a_row_that_no_longer_fits_is_told_with_what_it_failed(db: Database, change: str, reason: str) -> None:
    best = await factories.node(db, price=UNIT)
    other = await factories.node(db, price=2 * UNIT)
    waves = factories.runner(db)
    await waves.views.refresh()
    await sql(db, f"UPDATE nodes SET {change}, version = version + 1 WHERE id = $1", best)
    (job_id,) = await factories.submit(db, policy="cheapest", requirements=Requirements(max_price=3 * UNIT))
    await waves.run_once()
    told = await explanation(db, job_id)
    assert told["chosen"]["node_id"] == other
    assert told["refused"] == [{"node_id": best, "reason": reason}]
    assert [one.outcome for one in await rerun(db, job_id)] == [Outcome.IDENTICAL]


async def test_the_price_in_the_row_counts_and_is_noted(db: Database) -> None:
    node_id = await factories.node(db, price=UNIT)
    waves = factories.runner(db)
    await waves.views.refresh()
    await sql(db, "UPDATE nodes SET price = 2000000000, version = version + 1 WHERE id = $1", node_id)
    (job_id,) = await factories.submit(db)
    await waves.run_once()
    (made,) = await rerun(db, job_id)
    assert (made.outcome, made.differences) == (Outcome.IDENTICAL, [])
    assert made.notes == ["the node's price was 1 in the view and 2 in its row, which counts"]


async def test_a_job_that_waits_is_told_what_would_place_it(db: Database) -> None:
    small = [await factories.node(db, vram_gb=vram, capacity=1) for vram in (24, 40, 40)]
    waves = factories.runner(db)
    (job_id,) = await factories.submit(db, requirements=Requirements(min_vram_gb=48))
    await factories.run_waves(waves)
    told = await explanation(db, job_id)
    assert (told["verdict"], told["chosen"], told["top"]) == ("never_fits", None, [])
    assert told["feasible"] + sum(told["rejects"].values()) == len(small)
    assert [change["text"] for change in told["relaxations"]] == ["vram 48 → 40: 2 nodes"]
    # One that would do, taken by another job: now it waits for a slot, and says so.
    await factories.node(db, vram_gb=80, capacity=1)
    (other,) = await factories.submit(db, requirements=Requirements(min_vram_gb=80))
    await sql(db, "DELETE FROM signals WHERE job_id <> $1", other)
    await factories.run_waves(waves)
    told = await look(db, waves, job_id)
    assert (told["verdict"], told["busy"], told["offline"]) == ("busy", 1, 0)
    assert told["told"].startswith("1 node would do, but too few")
    # Away altogether: offline. Asked before and declined: declined.
    ((node_id,),) = await sql(db, "SELECT node_id FROM jobs WHERE id = $1", other)
    await sql(
        db,
        """UPDATE nodes SET state = 'offline', version = version + 1, changed_in = pg_current_xact_id()::text::bigint
        WHERE id = $1""",
        node_id,
    )
    told = await look(db, waves, job_id)
    assert (told["verdict"], told["busy"], told["offline"]) == ("offline", 0, 1)
    await sql(db, "UPDATE jobs SET excluded = ARRAY[$2] WHERE id = $1", job_id, node_id)
    told = await look(db, waves, job_id)
    assert told["verdict"] == "declined"
    (made,) = await rerun(db, job_id)
    assert (made.outcome, made.verdict, made.node_id, made.notes) == (Outcome.IDENTICAL, "declined", "", [])
    await sql(db, 'UPDATE match_decisions SET explanation = (explanation::jsonb || \'{"verdict": "busy"}\')::json')
    made = next(one for one in await rerun(db, job_id) if one.verdict == "busy")
    assert (made.outcome, made.differences) == (
        Outcome.DIFFERING,
        ["the job waited for busy, now it would for declined"],
    )


async def test_every_attempt_is_made_again_and_tampering_shows(db: Database) -> None:
    for price in (1, 2, 3):
        await factories.node(db, price=price * UNIT)
    waves = factories.runner(db)
    (job_id,) = await factories.submit(db)
    for _ in range(2):
        await factories.run_waves(waves)
        (offer,) = await factories.all_offers(db)
        await offers.decline(db, offer.node_id, offer.id, "not today")
    await factories.run_waves(waves)
    made = await rerun(db, job_id)
    assert [(one.attempt, one.outcome) for one in made] == [(n, Outcome.IDENTICAL) for n in (1, 2, 3)]
    assert [one.node_id for one in made] == [
        row[0] for row in await sql(db, "SELECT node_id FROM offers WHERE job_id = $1 ORDER BY attempt", job_id)
    ]

    async def after(statement: str) -> tuple[Outcome, str]:
        await sql(db, statement, job_id)
        last = (await rerun(db, job_id))[-1]
        return last.outcome, "; ".join([*last.differences, *last.notes])

    where = "WHERE job_id = $1 AND attempt = 3"
    outcome, said = await after(f"UPDATE offers SET price = price + 1 {where}")
    assert outcome is Outcome.DIFFERING
    assert "the offer's price is" in said
    await after(f"UPDATE offers SET price = price - 1 {where}")
    outcome, said = await after(
        f"UPDATE match_decisions SET explanation = jsonb_set(explanation::jsonb, '{{top,0,1}}', '1')::json {where}"
    )
    assert (outcome, "total was 1, is" in said) == (Outcome.DIFFERING, True)
    outcome, said = await after(f"UPDATE match_decisions SET inputs = NULL {where}")
    assert (outcome, said) == (Outcome.UNKNOWN, "made before decisions kept what they were made from")
    with pytest.raises(NotFound):
        await rerun(db, "job_none")


async def test_a_job_that_fits_nowhere_is_looked_at_rarely_and_ends_in_time(db: Database) -> None:
    await factories.node(db)
    waves = factories.runner(db)
    (job_id,) = await factories.submit(db, requirements=Requirements(gpus=64, min_vram_gb=1024))
    await waves.views.refresh()
    waits = []
    for _ in range(10):
        await waves.run_once()
        ((kind, wait),) = await sql(
            db,
            """SELECT kind, extract(epoch FROM due_at - at)::float8 FROM signals JOIN match_decisions USING (job_id)
            WHERE job_id = $1""",
            job_id,
        )
        assert kind == SignalKind.MATCH_DUE
        waits.append(wait)
        await sql(db, "UPDATE signals SET due_at = now() WHERE job_id = $1", job_id)
    assert waits == pytest.approx([min(30, waits[0] * 2**looks) for looks in range(10)])
    assert waits[-1] == 30
    assert (await explanation(db, job_id))["verdict"] == "never_fits"
    await sql(db, "UPDATE jobs SET expires_at = now() WHERE id = $1", job_id)
    await waves.run_once()
    assert await sql(db, "SELECT state, reason FROM jobs WHERE id = $1", job_id) == [("expired", "no_node_in_time")]
    assert await sql(db, "SELECT 1 FROM signals WHERE job_id = $1", job_id) == []
