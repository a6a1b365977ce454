"""Jobs that the job graph fails on again and again do not stop their plan: it goes on by its failure policy."""

from __future__ import annotations

from app.core.plans import PlanState, UnitState
from app.services import dead
from app.services.verify import verify
from app.store.db import Database
from tests import factories
from tests.factories import sql
from tests.integration.graphs.plan_drive import Drive, check_money, request, submit, task, view


async def stuck(db: Database, drive: Drive, plan_id: str) -> str:
    """Have the job graph fail on the plan's first job, and on its cancel, too; the job's id."""
    await drive.plans.run_once()
    job_id = min((await view(db, plan_id)).jobs)
    # The next version is more than its column takes.
    await sql(db, "UPDATE jobs SET version = 2147483647 WHERE id = $1", job_id)
    drive.waves = factories.runner(db, poison_tries=1)
    await drive.waves.views.refresh()
    for kinds in (["submitted"], ["cancel_requested", "submitted"]):
        assert (await drive.waves.run_once()).failed
        parked = await sql(db, "SELECT job_id, kind FROM signals WHERE parked_at IS NOT NULL ORDER BY kind")
        assert parked == [(job_id, kind) for kind in kinds]
        assert await drive.plans.run_once() == 1
    await drive.run()
    return job_id


async def test_a_stuck_job_is_tried_again_and_its_money_stays_held_back(db: Database) -> None:
    await factories.node(db, capacity=8, gpus=8)
    drive = Drive(db)
    plan_id = await submit(db, request(task("many", for_each=[1, 2, 3]), task("last", after=["many"]), parallelism=1))
    job_id = await stuck(db, drive, plan_id)
    await sql(db, "UPDATE plan_units SET not_before = now() WHERE not_before IS NOT NULL")
    await drive.again(plan_id)
    await drive.run()
    found = await view(db, plan_id)
    assert len(found.jobs) == 5
    assert {unit.state for unit in found.units} == {UnitState.DONE}
    assert found.plan.state is PlanState.RUNNING, "it is not over while that job may cost more"
    assert found.plan.held is not None
    assert job_id in found.plan.held
    assert found.plan.reserved == found.jobs[job_id].max_cost > 0
    await check_money(db, plan_id)
    await sql(db, "UPDATE jobs SET version = 10 WHERE id = $1", job_id)
    await dead.requeue(db, [job_id])
    await drive.run()
    found = await view(db, plan_id)
    assert (found.plan.state, found.plan.held, found.plan.reserved) == (PlanState.COMPLETED, None, 0)
    assert found.jobs[job_id].state == "cancelled"
    assert (await verify(db)).violations == []


async def test_a_stuck_job_aborts_its_plan_where_failures_do(db: Database) -> None:
    await factories.node(db, capacity=8, gpus=8)
    drive = Drive(db)
    plan_id = await submit(db, request(task("one"), task("two", after=["one"]), on_failure="abort"))
    job_id = await stuck(db, drive, plan_id)
    found = await view(db, plan_id)
    assert (found.plan.state, found.plan.reason) == (PlanState.CANCELLING, "unit_failed")
    assert found.plan.error is not None
    assert f"{job_id}: the job graph failed" in found.plan.error
    assert found.plan.held is not None
    assert job_id in found.plan.held
