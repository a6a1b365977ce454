"""Several plan runners, wave runners and nodes at once, with failures, cancels and little money: the sums hold."""

from __future__ import annotations

import asyncio
import random

import pytest

from app.core.plans import PLAN_FINAL, PlanState, UnitState
from app.services import offers, plans
from app.store.db import Database
from app.store.results import NewReport
from graphs.runtime import WaveRunner
from tests import factories
from tests.factories import OWNER, sql
from tests.integration.graphs import invariants
from tests.integration.graphs.crowd import Crowd
from tests.integration.graphs.plan_drive import check_money, plan_runner, request, submit, task, view

PLANS = 8


class Players(Crowd):
    """Nodes of every kind, and nobody who waits, until every plan is over."""

    async def accept(self) -> None:
        found = await offers.waiting(self.db, self.node_ids)
        for offer in [offer for waiting in found.values() for offer in waiting]:
            if self.random.random() < 0.8:
                await offers.accept(self.db, [(offer.id, offer.node_id)])
            else:
                await offers.decline(self.db, offer.node_id, offer.id, "busy")

    async def report(self) -> None:
        running = await sql(self.db, "SELECT id, node_id FROM offers WHERE state = 'accepted' AND holds_slots")
        self.random.shuffle(running)
        reports = [
            NewReport(offer_id, node_id, True, f"digest {offer_id}", {"n": self.random.randint(1, 2)})
            if self.random.random() < 0.8
            else NewReport(offer_id, node_id, False, f"digest {offer_id}", error="broken")
            for offer_id, node_id in running[:20]
        ]
        await offers.report(self.db, reports)

    async def hurry(self) -> None:
        """Nobody waits for back-offs and bids here, nor runs of a unit for the nodes that other runs leave."""
        await sql(self.db, "UPDATE signals SET due_at = now() WHERE due_at > now() AND kind = 'match_due'")
        await sql(self.db, "UPDATE plan_units SET not_before = now() WHERE not_before > now()")
        await sql(self.db, "UPDATE plan_signals SET due_at = now() WHERE due_at > now()")


@pytest.mark.parametrize("seed", [1, 2])
async def test_no_budget_is_exceeded_whoever_runs_at_once(database_url: str, seed: int) -> None:
    db = Database(database_url, pool_size=12)
    chance = random.Random(seed)
    node_ids = [await factories.node(db, capacity=8, gpus=8) for _ in range(5)]
    crowd = Players(db, node_ids, seed)
    plan_ids = [
        await submit(
            db,
            request(
                task("a", for_each=list(range(chance.randint(1, 8)))),
                task("b", "of {{item.n}}", for_each_of="a"),
                task("c", "all {{tasks.b.results}}"),
                budget_hyper=str(chance.choice([0.35, 0.5, 1, 100])),
                parallelism=chance.randint(1, 6),
                on_failure=chance.choice(["retry", "replace", "skip"]),
                redundancy=chance.choice([1, 1, 3]),
            ),
        )
        for _ in range(PLANS)
    ]
    waves = [factories.runner(db, wave_size=16, offer_ttl_s=60.0) for _ in range(2)]
    runners = [plan_runner(db) for _ in range(3)]

    async def watch() -> None:
        for plan_id in plan_ids:
            await check_money(db, plan_id)
        if chance.random() < 0.05:
            await plans.cancel(db, OWNER, chance.choice(plan_ids))
        over = [(await view(db, plan_id)).plan.state in PLAN_FINAL for plan_id in plan_ids]
        if all(over):
            crowd.over.set()

    async def wave(runner: WaveRunner) -> None:
        await runner.views.refresh()
        assert not (await runner.run_once()).failed

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for runner in waves:
            group.create_task(crowd.repeatedly(lambda runner=runner: wave(runner), 0.02))  # type: ignore[misc]
        for plan in runners:
            group.create_task(crowd.repeatedly(plan.run_once, 0.02))
        for act in (crowd.accept, crowd.report, crowd.hurry, watch):
            group.create_task(crowd.repeatedly(act, 0.03))
    for plan_id in plan_ids:
        await check_money(db, plan_id)
        found = await view(db, plan_id)
        assert not any(job.live for job in found.jobs.values())
        if found.plan.state is PlanState.COMPLETED:
            assert {unit.state for unit in found.units} <= {UnitState.DONE, UnitState.SKIPPED}
        for unit in found.units:
            # A unit's result is one of its own jobs', and is completed.
            assert (unit.winner is not None) == (unit.state is UnitState.DONE)
            if unit.winner:
                assert found.jobs[unit.winner].number == unit.number
                assert found.jobs[unit.winner].state.value == "completed"
    # Runs of one round are submitted at once: no two of them have come to a result on the same node.
    shared = await sql(
        db,
        """SELECT plan_id, plan_unit FROM jobs WHERE state = 'completed' AND plan_id IS NOT NULL
        GROUP BY plan_id, plan_unit, node_id, created_at HAVING count(*) > 1""",
    )
    assert shared == []
    ((spent, reserved),) = await sql(db, "SELECT sum(spent)::int8, sum(reserved)::int8 FROM plans")
    ((cost,),) = await sql(db, "SELECT sum(cost)::int8 FROM jobs")
    assert (spent, reserved) == (cost, 0)
    await invariants.check(db)
    await db.close()
