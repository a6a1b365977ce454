"""Runs of a redundant unit are on different nodes, whichever waves place them; what happens where nodes are too few."""

from __future__ import annotations

import asyncio
from typing import Any

from app.core.money import UNIT
from app.core.plans import PlanState
from app.core.states import JobState
from app.services import offers
from app.services.rerun import Outcome, rerun
from app.store import plan_runs
from app.store.db import Database
from tests import factories
from tests.factories import sql
from tests.integration.graphs import invariants
from tests.integration.graphs.plan_drive import Drive, request, submit, task, view


async def offered(db: Database) -> list[str]:
    """The nodes of open and accepted offers, one entry an offer."""
    return [row[0] for row in await sql(db, "SELECT node_id FROM offers WHERE holds_slots ORDER BY id")]


async def test_runs_of_a_unit_are_on_different_nodes(db: Database) -> None:
    """However much better one of them is, and though all are placed in one wave with others."""
    best = await factories.node(db, capacity=16, gpus=16, price=UNIT // 100)
    others = [await factories.node(db, capacity=16, gpus=16, price=5 * UNIT) for _ in range(2)]
    drive = Drive(db)
    plan_id = await submit(db, request(task("vote", for_each=[1, 2]), task("plain", redundancy=1), redundancy=3))
    await drive.settle()
    rows = await sql(db, "SELECT plan_unit, node_id FROM jobs WHERE plan_id = $1 ORDER BY plan_unit, node_id", plan_id)
    nodes: dict[int, list[str]] = {}
    for unit, node_id in rows:
        nodes.setdefault(unit, []).append(node_id)
    assert sorted(nodes.values(), key=len) == [[best], *[sorted([best, *others])] * 2]
    await drive.run()
    assert (await view(db, plan_id)).plan.state is PlanState.COMPLETED
    for job_id in (await view(db, plan_id)).jobs:
        assert [one.outcome for one in await rerun(db, job_id)] == [Outcome.IDENTICAL]
    await invariants.check(db)


async def test_a_run_that_lost_its_node_goes_to_none_that_another_run_has(db: Database) -> None:
    for _ in range(4):
        await factories.node(db, capacity=8, gpus=8)
    drive = Drive(db)
    plan_id = await submit(db, request(task("vote"), redundancy=3))
    await drive.settle()
    first = (await factories.all_offers(db))[0]
    await offers.decline(db, first.node_id, first.id, "busy")
    await drive.settle()
    held = await offered(db)
    assert len(held) == len(set(held)) == 3
    assert first.node_id not in held
    await drive.run()
    assert (await view(db, plan_id)).plan.state is PlanState.COMPLETED


async def test_runs_wait_where_nodes_are_too_few_and_say_why(db: Database) -> None:
    """Two nodes are enough for two of three to agree; one is not, and the unit fails once no run waits any more."""
    await factories.node(db, capacity=8, gpus=8)
    drive = Drive(db)
    plan_id = await submit(db, request(task("vote"), redundancy=3, on_failure="abort"))
    await drive.run()
    found = await view(db, plan_id)
    states = sorted(job.state for job in found.jobs.values())
    assert (found.plan.state, states) == (
        PlanState.RUNNING,
        sorted([JobState.COMPLETED, JobState.PENDING, JobState.PENDING]),
    )
    waiting = sorted(job.id for job in found.jobs.values() if job.live)
    for job_id in waiting:
        (decision,) = await rerun(db, job_id)
        assert (decision.outcome, decision.verdict) == (Outcome.IDENTICAL, "declined")
    ((told,),) = await sql(db, "SELECT explanation FROM match_decisions WHERE job_id = $1", waiting[0])
    assert told["apart"] == 1
    await factories.node(db, capacity=8, gpus=8)
    await drive.waves.views.refresh()
    await factories.wake(db, waiting)
    await drive.run()
    found = await view(db, plan_id)
    assert found.plan.state is PlanState.COMPLETED
    assert sorted(job.state for job in found.jobs.values()) == sorted(
        [JobState.CANCELLED, JobState.COMPLETED, JobState.COMPLETED]
    )


async def test_without_nodes_enough_for_a_majority_the_unit_fails_in_its_time(db: Database) -> None:
    await factories.node(db, capacity=8, gpus=8)
    drive = Drive(db)
    plan_id = await submit(db, request(task("vote"), redundancy=3, on_failure="abort"))
    await drive.run()
    await sql(db, "UPDATE jobs SET expires_at = now() WHERE plan_id = $1 AND state = 'pending'", plan_id)
    await factories.wake(db, [row[0] for row in await sql(db, "SELECT id FROM jobs WHERE state = 'pending'")])
    await drive.run()
    found = await view(db, plan_id)
    assert (found.plan.state, found.plan.reason) == (PlanState.FAILED, "unplaced")


async def test_waves_that_place_runs_of_one_unit_take_turns(db: Database) -> None:
    """A wave that comes to a unit while another places a run of it goes on from where that left off."""
    for _ in range(2):
        await factories.node(db, capacity=8, gpus=8)
    drive = Drive(db)
    plan_id = await submit(db, request(task("vote"), redundancy=3))
    await drive.plans.run_once()
    taken, release = asyncio.Event(), asyncio.Event()

    async def hold() -> Any:
        async with db.unit() as uow:
            found = await plan_runs.take_turns(uow, [(plan_id, 0)])
            taken.set()
            await release.wait()
            return found

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        holder = group.create_task(hold())
        await taken.wait()
        wave = group.create_task(factories.run_waves(drive.waves))
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while (await sql(db, waits))[0][0] == 0:
            assert not wave.done()
        release.set()
    assert sorted(holder.result()[(plan_id, 0)]) == sorted((await view(db, plan_id)).jobs)
    held = await offered(db)
    assert len(held) == len(set(held)) == 2
