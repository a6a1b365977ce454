"""Plans from submission to end: order, results as inputs, bids, budgets, failures, redundancy, cancelling."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from app.core.access import Rights
from app.core.errors import IdempotencyClash, NotFound
from app.core.money import UNIT
from app.core.plans import PlanState, UnitState
from app.services import keys, plans
from app.services.verify import verify
from app.store import verify_money
from app.store.db import Database
from tests import factories
from tests.factories import OWNER, STRANGER, sql
from tests.integration.graphs import invariants
from tests.integration.graphs.plan_drive import Drive, check_money, plan_runner, request, submit, task, view


class Undo(Exception):
    """Roll it back."""


async def prompts(db: Database, plan_id: str) -> list[str]:
    rows = await sql(db, "SELECT payload->>'prompt' FROM jobs WHERE plan_id = $1 ORDER BY id", plan_id)
    return [row[0] for row in rows]


async def test_results_become_inputs_and_everything_comes_in_order(db: Database) -> None:
    await factories.node(db, capacity=8, gpus=8)

    def answer(job_id: str, payload: dict[str, Any]) -> Any:
        text = payload["prompt"]
        return {"parts": ["a", "b"]} if text == "split" else {"text": text.upper()}

    drive = Drive(db, answer)
    plan_id = await submit(
        db,
        request(
            task("join", "join {{tasks.each.results}} of {{tasks.split.result.parts.0}}"),
            task("each", "do {{item}} at {{index}}", for_each=["x", "y", {"z": 1}]),
            task("again", "again {{item.text}}", for_each_of="each"),
            task("split", "split"),
        ),
    )
    await drive.run()
    found = await view(db, plan_id)
    assert found.plan.state is PlanState.COMPLETED
    assert {unit.state for unit in found.units} == {UnitState.DONE}
    said = await prompts(db, plan_id)
    assert sorted(said) == sorted(
        [
            "split",
            "do x at 0",
            "do y at 1",
            'do {"z":1} at 2',
            "again DO X AT 0",
            "again DO Y AT 1",
            'again DO {"Z":1} AT 2',
            'join [{"text":"DO X AT 0"},{"text":"DO Y AT 1"},{"text":"DO {\\"Z\\":1} AT 2"}] of a',
        ]
    )
    assert said.index("split") < len(said) - 1
    await check_money(db, plan_id)
    await invariants.check(db)


async def test_bids_are_raised_until_a_node_takes_the_job(db: Database) -> None:
    await factories.node(db, price=4 * UNIT)
    drive = Drive(db)
    plan_id = await submit(
        db,
        request(
            task("one"),
            start_price_per_gpu_hour_hyper="1",
            raise_step_hyper="1.25",
            max_price_per_gpu_hour_hyper="6",
            raise_after_s=1,
        ),
    )
    await drive.settle()
    for _ in range(3):
        # The wait for a node is over, by the database's clock.
        await sql(db, "UPDATE jobs SET expires_at = now() WHERE plan_id = $1 AND state = 'pending'", plan_id)
        ids = [row[0] for row in await sql(db, "SELECT id FROM jobs WHERE state = 'pending'")]
        await factories.wake(db, ids)
        await drive.settle()
    await drive.run()
    offered = [row[0] for row in await sql(db, "SELECT max_price FROM jobs WHERE plan_id = $1 ORDER BY id", plan_id)]
    assert offered == [1 * UNIT, 2 * UNIT + UNIT // 4, 3 * UNIT + UNIT // 2, 4 * UNIT + UNIT * 3 // 4]
    assert (await view(db, plan_id)).plan.state is PlanState.COMPLETED
    await check_money(db, plan_id)


async def test_jobs_wait_for_budget_that_others_hold_back(db: Database) -> None:
    await factories.node(db, capacity=8, gpus=8)
    drive = Drive(db)
    # A minute at 6 HYPER an hour is 0.1 HYPER: money for three at once, and runs cost next to nothing.
    plan_id = await submit(db, request(task("many", for_each=list(range(10))), budget_hyper="0.35"))
    await drive.settle()
    assert len((await view(db, plan_id)).jobs) == 3
    await check_money(db, plan_id)
    await drive.run()
    found = await view(db, plan_id)
    assert (found.plan.state, len(found.jobs)) == (PlanState.COMPLETED, 10)
    await check_money(db, plan_id)


async def test_a_plan_ends_when_its_budget_is_spent(db: Database) -> None:
    await factories.node(db, capacity=8, gpus=8, price=6 * UNIT)
    drive = Drive(db, lambda job_id, payload: None)
    plan_id = await submit(db, request(task("many", for_each=list(range(4))), budget_hyper="0.25", parallelism=2))
    await drive.work()
    # Both runs took all their time, and more.
    await sql(
        db,
        """UPDATE jobs SET assigned_at = assigned_at - interval '10 minutes' WHERE plan_id = $1
        AND assigned_at IS NOT NULL""",
        plan_id,
    )
    drive.answer = lambda job_id, payload: {"ok": True}
    await drive.run()
    found = await view(db, plan_id)
    assert (found.plan.state, found.plan.reason) == (PlanState.FAILED, "budget_exhausted")
    assert Counter(unit.state for unit in found.units) == {UnitState.DONE: 2, UnitState.CANCELLED: 2}
    assert found.plan.spent == UNIT // 5
    await check_money(db, plan_id)


@pytest.mark.parametrize(
    ("policy", "state", "jobs"),
    [("retry", PlanState.FAILED, 3), ("skip", PlanState.COMPLETED, 1), ("abort", PlanState.FAILED, 1)],
)
async def test_failures_end_as_their_policy_says(db: Database, policy: str, state: PlanState, jobs: int) -> None:
    await factories.node(db, capacity=8, gpus=8)
    drive = Drive(db, lambda job_id, payload: RuntimeError("broken") if payload["prompt"] == "bad" else {"ok": 1})
    plan_id = await submit(
        db, request(task("bad", "bad"), task("after", "got {{tasks.bad.result}}"), on_failure=policy)
    )
    await drive.run()
    for _ in range(3):
        await sql(db, "UPDATE plan_units SET not_before = now() WHERE not_before IS NOT NULL")
        await sql(db, "UPDATE plan_signals SET due_at = now()")
        await drive.run()
    found = await view(db, plan_id)
    assert found.plan.state is state
    assert sum(unit.tries for unit in found.units if unit.task_id == "bad") == jobs
    if policy == "skip":
        assert "got null" in await prompts(db, plan_id)
    else:
        assert found.plan.error is not None and "broken" in found.plan.error
    await check_money(db, plan_id)


async def test_a_failed_job_is_replaced_on_another_node(db: Database) -> None:
    for _ in range(3):
        await factories.node(db)
    tried: list[str] = []

    def answer(job_id: str, payload: dict[str, Any]) -> Any:
        tried.append(job_id)
        return RuntimeError("this node cannot") if len(tried) < 3 else {"ok": True}

    drive = Drive(db, answer)
    plan_id = await submit(db, request(task("one"), on_failure="replace"))
    await drive.run()
    for _ in range(3):
        await sql(db, "UPDATE plan_units SET not_before = now() WHERE not_before IS NOT NULL")
        await sql(db, "UPDATE plan_signals SET due_at = now()")
        await drive.run()
    assert (await view(db, plan_id)).plan.state is PlanState.COMPLETED
    nodes = [row[0] for row in await sql(db, "SELECT node_id FROM offers ORDER BY created_at, id")]
    assert len(set(nodes)) == len(nodes) == 3


async def test_most_runs_decide_and_a_lone_voice_does_not(db: Database) -> None:
    for _ in range(3):
        await factories.node(db, capacity=8, gpus=8)
    answers = iter([{"n": 1}, {"n": 2}, {"n": 1}])
    drive = Drive(db, lambda job_id, payload: next(answers))
    plan_id = await submit(db, request(task("vote"), redundancy=3))
    await drive.run()
    found = await view(db, plan_id)
    assert (found.plan.state, len(found.jobs)) == (PlanState.COMPLETED, 3)
    assert (await plans.results_of(db, [found.units[0].winner or ""])) == {found.units[0].winner: {"n": 1}}


async def test_without_a_majority_a_round_failed(db: Database) -> None:
    for _ in range(3):
        await factories.node(db, capacity=8, gpus=8)
    count = iter(range(100))
    drive = Drive(db, lambda job_id, payload: {"n": next(count)})
    plan_id = await submit(db, request(task("vote"), redundancy=3, on_failure="abort"))
    await drive.run()
    found = await view(db, plan_id)
    assert (found.plan.state, found.plan.reason) == (PlanState.FAILED, "no_majority")
    await check_money(db, plan_id)


async def test_cancelling_a_plan_cancels_its_jobs(db: Database) -> None:
    await factories.node(db, capacity=2)
    drive = Drive(db, lambda job_id, payload: None)
    plan_id = await submit(db, request(task("many", for_each=list(range(5))), parallelism=4))
    await drive.work()
    assert len((await view(db, plan_id)).jobs) == 4
    assert await plans.cancel(db, OWNER, plan_id)
    assert not await plans.cancel(db, OWNER, plan_id)
    await drive.run()
    found = await view(db, plan_id)
    assert found.plan.state is PlanState.CANCELLED
    assert {job.state.value for job in found.jobs.values()} == {"cancelled"}
    assert {unit.state for unit in found.units} == {UnitState.CANCELLED}
    assert await sql(db, "SELECT id FROM plan_signals") == []
    kinds = [row[0] for row in await sql(db, "SELECT kind FROM events WHERE kind LIKE 'plan%' ORDER BY seq")]
    assert kinds == ["plan_submitted", "plan_cancelled"]
    await check_money(db, plan_id)
    await invariants.check(db)


async def test_a_late_plan_ends_with_what_it_has(db: Database) -> None:
    await factories.node(db)
    drive = Drive(db, lambda job_id, payload: None)
    plan_id = await submit(db, request(task("one"), task("two", after=["one"]), deadline_s=600))
    await drive.work()
    await sql(db, "UPDATE plans SET deadline_at = now() WHERE id = $1", plan_id)
    await sql(db, "UPDATE plan_signals SET due_at = now() WHERE plan_id = $1", plan_id)
    await drive.run()
    found = await view(db, plan_id)
    assert (found.plan.state, found.plan.reason) == (PlanState.FAILED, "deadline_passed")


async def test_a_path_that_leads_nowhere_fails_the_unit_without_another_try(db: Database) -> None:
    await factories.node(db)
    drive = Drive(db, lambda job_id, payload: {"parts": []})
    plan_id = await submit(db, request(task("a"), task("b", "{{tasks.a.result.parts.0}}")))
    await drive.run()
    found = await view(db, plan_id)
    assert found.plan.state is PlanState.FAILED
    assert found.plan.error is not None and "leads nowhere" in found.plan.error
    assert len(found.jobs) == 1


async def test_a_check_of_the_database_knows_what_plans_cost(db: Database) -> None:
    await factories.node(db, capacity=4, gpus=4)
    plan_id = await submit(db, request(task("many", for_each=[1, 2])))
    running = await submit(db, request(task("one")))
    drive = Drive(db)
    await drive.run()
    assert (await view(db, running)).plan.state is PlanState.COMPLETED
    assert (await verify(db)).violations == []
    damages = {
        "UPDATE plans SET spent = spent + 1 WHERE id = $1": {"plan_money"},
        "UPDATE plan_units SET winner = (SELECT id FROM jobs WHERE plan_id <> $1 LIMIT 1) WHERE plan_id = $1": {
            "plan_results"
        },
        "UPDATE jobs SET spend_day = current_date, max_cost = 7000000000 WHERE plan_id = $1": {"key_spending"},
    }
    for damage, named in damages.items():
        with suppress(Undo):
            async with db.unit() as uow:
                await uow.sql.execute(damage, plan_id)
                found = {
                    "plan_money": await verify_money.plans(uow),
                    "plan_results": await verify_money.winners(uow),
                    "key_spending": await verify_money.days(uow),
                }
                raise Undo
        assert {check for check, what in found.items() if what} == named


async def test_a_plan_given_up_while_it_is_filled_in_ends_the_jobs_under_way(db: Database) -> None:
    await factories.node(db, capacity=4, gpus=4)
    drive = Drive(db, lambda job_id, payload: None if payload["prompt"] == "long" else {"x": 1})
    asked = request(task("a", "a"), task("long", "long"), task("b", "{{tasks.a.result.nowhere}}"))
    plan_id = await submit(db, asked)
    await drive.run()
    found = await view(db, plan_id)
    assert found.plan.state is PlanState.FAILED
    assert sorted(job.state.value for job in found.jobs.values()) == ["cancelled", "completed"]


async def test_redundant_runs_of_which_some_found_no_node_offer_more(db: Database) -> None:
    await factories.node(db, price=UNIT, capacity=1, gpus=1)
    for _ in range(2):
        await factories.node(db, price=2 * UNIT, capacity=2, gpus=2)
    drive = Drive(db, lambda job_id, payload: None)
    asked = request(
        task("vote"),
        redundancy=3,
        start_price_per_gpu_hour_hyper="1",
        raise_step_hyper="1",
        max_price_per_gpu_hour_hyper="2",
        raise_after_s=1,
    )
    plan_id = await submit(db, asked)
    await drive.work()
    await sql(db, "UPDATE jobs SET expires_at = now() WHERE plan_id = $1 AND state = 'pending'", plan_id)
    await factories.wake(db, [row[0] for row in await sql(db, "SELECT id FROM jobs WHERE state = 'pending'")])
    await drive.settle()
    drive.answer = lambda job_id, payload: {"ok": True}
    await drive.run()
    found = await view(db, plan_id)
    assert found.plan.state is PlanState.COMPLETED
    assert (found.units[0].bid, found.units[0].tries) == (2 * UNIT, 0)


async def test_the_same_key_makes_one_plan(db: Database) -> None:
    asked = request(task("one"), idempotency_key="k")
    first = await submit(db, asked)
    assert await submit(db, asked) == first
    with pytest.raises(IdempotencyClash):
        await submit(db, request(task("two"), idempotency_key="k"))
    with pytest.raises(NotFound):
        await plans.view(db, STRANGER, first)


async def test_a_poisoned_plan_stops_no_other_and_ends_with_its_jobs(db: Database) -> None:
    await factories.node(db, capacity=4, gpus=4)
    drive = Drive(db, lambda job_id, payload: None)
    sick = await submit(db, request(task("one"), task("two", after=["one"])))
    await drive.work()
    well = await submit(db, request(task("one")))
    await sql(db, "UPDATE plans SET request = '{\"tasks\": 7}' WHERE id = $1", sick)
    drive.plans = plan_runner(db)
    assert await plans.cancel(db, OWNER, sick)
    drive.answer = lambda job_id, payload: {"ok": True} if job_id in done else None
    done = (await view(db, well)).jobs.keys()
    for _ in range(8):
        await sql(db, "UPDATE plan_signals SET due_at = now() WHERE parked_at IS NULL")
        await drive.plans.run_once()
        done = (await view(db, well)).jobs.keys()
        await drive.run()
    found = await view(db, sick)
    assert (found.plan.state, found.plan.reason) == (PlanState.FAILED, "poisoned")
    assert [job.state.value for job in found.jobs.values()] == ["cancelled"]
    assert {unit.state for unit in found.units} == {UnitState.CANCELLED}
    assert (await view(db, well)).plan.state is PlanState.COMPLETED
    assert await sql(db, "SELECT id FROM plan_signals") == []
    await check_money(db, sick)


async def test_a_plan_keeps_to_its_keys_limits(db: Database) -> None:
    await factories.node(db, capacity=2)
    _, secret = await keys.create(
        db, "acme", ["agent"], limits=keys.Limits(max_queued=3), rights=Rights(cap_day=UNIT // 2)
    )
    owner = await keys.Authenticator(db).principal(secret)
    drive = Drive(db, lambda job_id, payload: None)
    plan_id = await submit(db, request(task("many", for_each=list(range(12)))), owner)
    await drive.plans.run_once()
    assert len((await view(db, plan_id)).jobs) == 3
    await drive.settle()
    await drive.again(plan_id)
    # Five of 0.1 HYPER each are what the key may spend today.
    assert len((await view(db, plan_id)).jobs) == 5
    drive.answer = lambda job_id, payload: {"ok": True}
    for _ in range(12):
        await drive.run()
        await drive.again(plan_id)
    found = await view(db, plan_id)
    assert (found.plan.state, len(found.jobs)) == (PlanState.COMPLETED, 12)
    ((reserved, spent),) = await sql(db, "SELECT reserved, spent FROM key_spending")
    assert (reserved, spent) == (0, found.plan.spent)
    assert (await verify(db)).violations == []


async def test_what_a_keys_limits_never_let_in_fails_and_what_waits_says_so(db: Database) -> None:
    await factories.node(db, capacity=8, gpus=8)
    _, secret = await keys.create(db, "acme", ["agent"], rights=Rights(cap_day=UNIT, cap_job=UNIT // 20))
    owner = await keys.Authenticator(db).principal(secret)
    dear = await submit(db, request(task("one"), on_failure="abort"), owner)
    await plan_runner(db).run_once()
    found = await view(db, dear)
    assert found.plan.state is PlanState.FAILED
    assert found.plan.error is not None and "0.05" in found.plan.error
    _, secret = await keys.create(db, "acme", ["agent"], limits=keys.Limits(max_queued=1))
    waits = await submit(db, request(task("one", for_each=[1, 2])), await keys.Authenticator(db).principal(secret))
    await plan_runner(db).run_once()
    found = await view(db, waits)
    assert (len(found.jobs), found.plan.state) == (1, PlanState.RUNNING)
    assert found.plan.held is not None and "waiting for a node" in found.plan.held


async def test_results_too_large_to_refer_to_fail_the_unit(db: Database) -> None:
    await factories.node(db, capacity=8, gpus=8)
    drive = Drive(db, lambda job_id, payload: {"text": "x" * (300 << 10)})
    asked = request(task("many", for_each=list(range(5))), task("all", "{{tasks.many.results}}"), on_failure="skip")
    plan_id = await submit(db, asked)
    await drive.run()
    found = await view(db, plan_id)
    assert found.plan.state is PlanState.COMPLETED
    assert found.units[-1].state is UnitState.SKIPPED
    assert found.units[-1].error is not None and "1048576" in found.units[-1].error


async def test_many_units_are_released_over_several_waves(db: Database) -> None:
    plan_id = await submit(db, request(task("many", for_each=list(range(1200))), parallelism=1100))
    runner = plan_runner(db)
    counted = []
    for _ in range(4):
        await runner.run_once()
        counted.append(len((await view(db, plan_id)).jobs))
    assert counted == [500, 1000, 1100, 1100]
