"""What a job may wait for by its own wish: a start time, a pause after a lost run, the end of a cancelled one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.core.states import ExcludeNodes
from app.services import jobs, offers
from app.store.db import Database
from tests import factories
from tests.factories import OWNER, sql
from tests.integration.graphs import invariants

GRACE_S = 600.0


async def row(db: Database, job_id: str, columns: str) -> tuple[Any, ...]:
    return (await sql(db, f"SELECT {columns} FROM jobs WHERE id = $1", job_id))[0]


async def moves(db: Database, job_id: str) -> list[str]:
    return [one[0] for one in await sql(db, "SELECT to_state FROM job_history WHERE job_id = $1 ORDER BY seq", job_id)]


async def fail(db: Database, waves: Any, job_id: str) -> None:
    """Have the job's node accept what it was offered, and fail."""
    (offer,) = [one for one in await factories.all_offers(db) if one.job_id == job_id]
    await offers.accept(db, [(offer.id, offer.node_id)])
    await offers.report(db, [offers.new_report(offer.id, offer.node_id, ok=False, error="broke")])
    await factories.run_waves(waves)


@pytest.mark.parametrize("ok", [True, False])
async def test_a_cancelled_run_may_still_report(db: Database, ok: bool) -> None:
    waves = factories.runner(db, cancel_grace_s=GRACE_S)
    await factories.node(db)
    (offer,) = await factories.accepted(db, waves)
    await jobs.cancel(db, OWNER, offer.job_id)
    await factories.run_waves(waves)
    assert await factories.state_of(db, offer.job_id) == "cancelling"
    await invariants.check(db, waves.views)
    report = offers.new_report(offer.id, offer.node_id, ok=ok, error=None if ok else "cancelled")
    assert await offers.report(db, [report]) == [None]
    await factories.run_waves(waves)
    state, reason = await row(db, offer.job_id, "state, reason")
    assert (state, reason) == (("completed", "result") if ok else ("cancelled", "stopped"))
    await invariants.check(db, waves.views)


@pytest.mark.parametrize("signal", ["cancel_due", "match_due"])
async def test_a_cancelled_run_that_says_nothing_ends_with_its_grace(db: Database, signal: str) -> None:
    waves = factories.runner(db, cancel_grace_s=GRACE_S)
    await factories.node(db)
    (offer,) = await factories.accepted(db, waves)
    await jobs.cancel(db, OWNER, offer.job_id)
    await factories.run_waves(waves)
    await factories.wake(db, [offer.job_id])
    await factories.run_waves(waves)
    assert await factories.state_of(db, offer.job_id) == "cancelling", "its time is not over"
    await sql(db, "UPDATE jobs SET cancel_by = now() WHERE id = $1", offer.job_id)
    await sql(db, "UPDATE signals SET due_at = now(), kind = $2 WHERE job_id = $1", offer.job_id, signal)
    await factories.run_waves(waves)
    assert await row(db, offer.job_id, "state, reason") == ("cancelled", "cancel_grace_over")
    (late,) = await offers.report(db, [offers.new_report(offer.id, offer.node_id, ok=True)])
    assert late is not None
    await factories.run_waves(waves)
    assert await row(db, offer.job_id, "state, cost") == ("cancelled", None)
    await invariants.check(db, waves.views)


async def test_a_lost_run_waits_twice_as_long_each_time(db: Database) -> None:
    waves = factories.runner(db)
    await factories.node(db)
    (job_id,) = await factories.submit(
        db, exclude_nodes=ExcludeNodes.NONE, max_retries=9, retry_backoff_s=40, retry_backoff_max_s=100
    )
    await factories.run_waves(waves)
    waits = []
    for _ in range(3):
        await fail(db, waves, job_id)
        state, wait = await row(
            db,
            job_id,
            "state, extract(epoch FROM not_before - (SELECT max(at) FROM job_history h WHERE h.job_id = id))::int",
        )
        assert state == "pending"
        waits.append(wait)
        # Neither a stray look nor a free slot cuts the wait short.
        await factories.wake(db, [job_id])
        await factories.run_waves(waves)
        assert await factories.state_of(db, job_id) == "pending"
        await invariants.check(db, waves.views)
        await sql(db, "UPDATE jobs SET not_before = now() WHERE id = $1", job_id)
        await sql(db, "UPDATE signals SET due_at = now() WHERE job_id = $1", job_id)
        await factories.run_waves(waves)
    assert waits == [40, 80, 100]


@pytest.mark.parametrize(
    ("exclude", "expected"), [(ExcludeNodes.FAILED, 2), (ExcludeNodes.LAST, 1), (ExcludeNodes.NONE, 0)]
)
async def test_which_nodes_are_out_is_the_jobs_choice(db: Database, exclude: ExcludeNodes, expected: int) -> None:
    waves = factories.runner(db)
    for price in (1, 2):
        await factories.node(db, price=price)
    (job_id,) = await factories.submit(db, exclude_nodes=exclude, max_retries=5)
    await factories.run_waves(waves)
    for _ in range(2):
        await fail(db, waves, job_id)
        await sql(db, "UPDATE jobs SET not_before = now() WHERE id = $1", job_id)
        await factories.wake(db, [job_id])
        await factories.run_waves(waves)
    assert len((await row(db, job_id, "excluded"))[0]) == expected
    await invariants.check(db, waves.views)


async def test_a_job_gets_no_more_offers_than_it_may(db: Database) -> None:
    waves = factories.runner(db)
    for price in (1, 2, 3):
        await factories.node(db, price=price)
    (job_id,) = await factories.submit(db, max_attempts=2)
    await factories.run_waves(waves)
    (offer,) = await factories.all_offers(db)
    await offers.decline(db, offer.node_id, offer.id, "busy")
    await factories.run_waves(waves)
    await fail(db, waves, job_id)
    assert await row(db, job_id, "state, reason, attempt, error") == ("failed", "attempts_exhausted", 2, "broke")
    await invariants.check(db, waves.views)


async def test_a_job_starts_at_its_time_and_not_before(db: Database) -> None:
    waves = factories.runner(db)
    await factories.node(db)
    later = datetime.now(UTC) + timedelta(hours=2)
    started, cancelled = await factories.submit(db, 2, start_at=later, queue_ttl_s=60)
    await factories.wake(db, [started])
    await factories.run_waves(waves)
    assert await row(db, started, "state, expires_at") == ("scheduled", later + timedelta(seconds=60))
    await invariants.check(db, waves.views)
    await jobs.cancel(db, OWNER, cancelled)
    await sql(db, "UPDATE jobs SET start_at = now() WHERE id = $1", started)
    await sql(db, "UPDATE signals SET due_at = now() WHERE job_id = $1", started)
    await factories.run_waves(waves)
    assert await moves(db, started) == ["scheduled", "pending", "offered"]
    assert await moves(db, cancelled) == ["scheduled", "cancelled"]
    kinds = [one[0] for one in await sql(db, "SELECT kind FROM events WHERE job_id = $1 ORDER BY seq", started)]
    assert kinds == ["job_submitted", "job_released", "job_offered"]
    await invariants.check(db, waves.views)


async def test_a_pause_does_not_outlast_the_jobs_deadline(db: Database) -> None:
    waves = factories.runner(db)
    await factories.node(db)
    (job_id,) = await factories.submit(db, deadline_s=60, retry_backoff_s=3600, retry_backoff_max_s=3600)
    await factories.run_waves(waves)
    await fail(db, waves, job_id)
    ((looked_at, deadline),) = await sql(
        db, "SELECT s.due_at, j.deadline_at FROM jobs j JOIN signals s ON s.job_id = j.id WHERE j.id = $1", job_id
    )
    assert looked_at == deadline
    await sql(db, "UPDATE jobs SET deadline_at = now(), expires_at = now() WHERE id = $1", job_id)
    await factories.wake(db, [job_id])
    await factories.run_waves(waves)
    assert await row(db, job_id, "state, reason") == ("expired", "deadline_passed")
