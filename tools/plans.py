"""Tools about plans: submit_plan, get_plan, list_plans, cancel_plan."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from app.core.access import Principal
from app.core.blueprint import Blueprint
from app.core.errors import HaeError
from app.core.money import format_hyper
from app.core.plans import PLAN_FINAL, UNIT_FINAL, Plan, PlanReason, PlanState, UnitState
from app.core.remembering import Remembered
from app.services import plans, spending
from app.services.plan_drawing import DrawnTask, mermaid
from app.services.plans import PlanView, PlanWish
from tools.answers import hyper, stamp
from tools.context import ToolContext
from tools.plan_reading import Reading, read, stored
from tools.plan_schemas import (
    CancelPlan,
    GetPlan,
    ListPlans,
    PlanAnswer,
    PlanPage,
    PlanSummary,
    SubmitPlan,
    TaskAnswer,
    UnitAnswer,
)

CANCEL_WAIT_S = 2.0
"""How long cancel_plan waits for the plan graph, so that its answer shows the end."""
SHOWN = 64 << 10
"""Bytes of a result that is shown with its plan."""
_SUBMITTED = "Call get_plan with this plan_id and wait_s=45 to follow it; cancel_plan ends it and its jobs."


async def submit_plan(context: ToolContext, principal: Principal, asked: SubmitPlan) -> PlanAnswer:
    """Check the plan, store it, and answer how it begins; with ``dry_run`` only what it would come to."""
    # Long templates take a while to look through.
    reading = await asyncio.to_thread(read, context, principal, asked)
    for task in asked.tasks:
        principal.rights.require_job_type(task.job.type)
    for one in reading.blueprint.tasks.values():
        opening = one.cost(reading.blueprint.opening(one))
        if (refusal := spending.never(principal.rights, opening // one.runs, one.runs)) is not None:
            raise refusal
    if asked.dry_run:
        answer = _dry(reading)
        answer.budget_remaining_hyper = hyper(await spending.remaining(context.db, principal))
        return answer
    wish = PlanWish(
        principal,
        asked.name,
        _request(reading),
        reading.blueprint,
        asked.deadline_s,
        asked.idempotency_key,
        asked=msgspec.to_builtins(asked),
    )
    plan_id, created = await plans.submit(context.db, wish)
    answer = await _answer(context, principal, plan_id, units=False)
    answer.created = created
    answer.budget_remaining_hyper = hyper(await spending.remaining(context.db, principal))
    answer.next_action = _SUBMITTED
    return answer


def _request(reading: Reading) -> dict[str, Any]:
    """The request as it is stored: the network's defaults of today filled in, so that it always reads alike."""
    request: dict[str, Any] = msgspec.to_builtins(reading.asked)
    for task in request["tasks"]:
        task["job"]["timeout_s"] = reading.blueprint.tasks[task["task_id"]].timeout_s
    request["idempotency_key"] = ""
    return request


async def get_plan(context: ToolContext, principal: Principal, asked: GetPlan) -> PlanAnswer:
    """The plan as it is, after up to ``wait_s`` for its end."""
    if asked.wait_s:
        await plans.check_visible(context.db, principal, asked.plan_id)
        await context.plan_desk.wait(asked.plan_id, lambda seen: seen[1], asked.wait_s)
    return await _answer(context, principal, asked.plan_id, units=asked.units)


async def list_plans(context: ToolContext, principal: Principal, asked: ListPlans) -> PlanPage:
    """Plans, newest first."""
    found = await plans.listing(context.db, principal, asked.cursor, asked.limit + 1)
    page = [
        PlanSummary(**_summary(plan, units, over, plan.spent, plan.reserved))
        for plan, units, over in found[: asked.limit]
    ]
    return PlanPage(plans=page, next_cursor=page[-1].plan_id if len(found) > asked.limit else "")


async def cancel_plan(context: ToolContext, principal: Principal, asked: CancelPlan) -> PlanAnswer:
    """Ask for the plan's end and its jobs'; one that is over stays as it is."""
    if await plans.cancel(context.db, principal, asked.plan_id):
        await context.plan_desk.wait(asked.plan_id, lambda seen: seen[1], CANCEL_WAIT_S)
    return await _answer(context, principal, asked.plan_id, units=False)


async def drawn(context: ToolContext, principal: Principal, plan_id: str) -> list[DrawnTask]:
    """The plan's tasks as they are drawn, for whoever may call get_plan."""
    principal.rights.require_tool("get_plan")
    view = await plans.view(context.db, principal, plan_id)
    return _drawn(_tasks(await _blueprint(context, view), view))


async def _answer(context: ToolContext, principal: Principal, plan_id: str, *, units: bool) -> PlanAnswer:
    view = await plans.view(context.db, principal, plan_id)
    blueprint = await _blueprint(context, view)
    tasks = _tasks(blueprint, view)
    single = {
        unit.winner: unit.task_id for unit in view.units if unit.winner and blueprint.tasks[unit.task_id].units == 1
    }
    results = await plans.results_of(context.db, sorted(single), SHOWN) if single else {}
    by_id = {task.task_id: task for task in tasks}
    for job_id, task_id in single.items():
        by_id[task_id].job_id, by_id[task_id].result = job_id, results.get(job_id)
    spent = sum(job.cost or 0 for job in view.jobs.values())
    reserved = sum(job.max_cost for job in view.jobs.values() if job.live)
    over = sum(unit.state in UNIT_FINAL for unit in view.units)
    return PlanAnswer(
        **_summary(view.plan, len(view.units), over, spent, reserved),
        forecast_hyper=format_hyper(_forecast(blueprint, view, spent)),
        worst_case_hyper=format_hyper(blueprint.worst_case),
        tasks=tasks,
        units=_units(view) if units else [],
        mermaid=mermaid(_drawn(tasks)),
    )


_blueprints: Remembered[str, Blueprint] = Remembered(100_000)
"""By plan id; weighed by tasks and their dependencies, of some hundred bytes each at most."""


async def _blueprint(context: ToolContext, view: PlanView) -> Blueprint:
    """What the plan's request came to: always the same, and long to read, so that it is remembered."""
    plan = view.plan
    blueprint = _blueprints.get(plan.id)
    if blueprint is None:
        request = await plans.request(context.db, plan.id)
        owner = Principal(plan.key_id, plan.account, frozenset())
        try:
            blueprint = (await asyncio.to_thread(read, context, owner, stored(request))).blueprint
        except (HaeError, msgspec.ValidationError):
            # Its graph cannot read it either, and gives it up; what there is of it can be told all the same.
            return Blueprint.of_units(view.units, plan.budget)
        _blueprints.put(plan.id, blueprint, sum(1 + len(task.after) for task in blueprint.tasks.values()))
    return blueprint


def _dry(reading: Reading) -> PlanAnswer:
    blueprint = reading.blueprint
    units = blueprint.new_units()
    plan = Plan(
        "", "", "", reading.asked.name, PlanState.RUNNING, PlanReason.SUBMITTED, 0, None, blueprint.budget, 0, 0, False,
        None, None, None, None,
    )  # fmt: skip
    view = PlanView(plan, units, {})
    tasks = _tasks(blueprint, view)
    fits = blueprint.worst_case <= blueprint.budget
    return PlanAnswer(
        **_summary(plan, len(units), 0, 0, 0),
        forecast_hyper=format_hyper(_forecast(blueprint, view, 0)),
        worst_case_hyper=format_hyper(blueprint.worst_case),
        tasks=tasks,
        mermaid=mermaid(_drawn(tasks)),
        dry_run=True,
        next_action="Send it again without dry_run to submit it."
        if fits
        else "If every job takes all its time at the highest price, the budget ends the plan early: raise "
        "budget_hyper, lower the price, or give jobs a shorter timeout_s. Or send it without dry_run all the same.",
    )


def _summary(plan: Plan, units: int, over: int, spent: int, reserved: int) -> dict[str, Any]:
    return {
        "plan_id": plan.id,
        "name": plan.name,
        "state": plan.state,
        "reason": plan.reason,
        "final": plan.state in PLAN_FINAL,
        "version": plan.version,
        "progress": round(over / units, 4) if units else 1.0,
        "units_total": units,
        "units_over": over,
        "budget_hyper": format_hyper(plan.budget),
        "cost_hyper": format_hyper(spent),
        "reserved_hyper": format_hyper(reserved),
        "remaining_hyper": format_hyper(plan.budget - spent - reserved),
        "created_at": stamp(plan.created_at),
        "deadline_at": stamp(plan.deadline_at),
        "finished_at": stamp(plan.finished_at),
        "error": plan.error or "",
        "held": plan.held or "",
    }


def _tasks(blueprint: Blueprint, view: PlanView) -> list[TaskAnswer]:
    counts: dict[str, Counter[UnitState]] = {name: Counter() for name in blueprint.tasks}
    for unit in view.units:
        counts[unit.task_id][unit.state] += 1
    costs: Counter[str] = Counter()
    for job in view.jobs.values():
        costs[view.units[job.number].task_id] += job.cost or 0
    return [
        TaskAnswer(
            task_id=name,
            units=task.units,
            after=[*task.after, *([task.each_of] if task.each_of and task.each_of not in task.after else [])],
            cost_hyper=format_hyper(costs[name]),
            **_states(counts[name]),
        )
        for name, task in blueprint.tasks.items()
    ]


def _states(counts: Counter[UnitState]) -> dict[str, Any]:
    return {state.value: counts[state] for state in UnitState}


def _drawn(tasks: Sequence[TaskAnswer]) -> list[DrawnTask]:
    return [
        DrawnTask(
            task.task_id,
            tuple(task.after),
            {state: getattr(task, state.value) for state in UnitState if getattr(task, state.value)},
            f"{task.cost_hyper} HYPER",
        )
        for task in tasks
    ]


def _forecast(blueprint: Blueprint, view: PlanView, spent: int) -> int:
    """What the plan will have cost, in base units: units to come at the average of their task's so far, else of all
    so far, else at their worst. Never more than the budget, for that is never exceeded."""
    if view.plan.state in PLAN_FINAL:
        return spent
    cost: Counter[str] = Counter()
    done: Counter[str] = Counter()
    for job in view.jobs.values():
        if job.cost is not None:
            cost[view.units[job.number].task_id] += job.cost
            done[view.units[job.number].task_id] += 1
    average: Mapping[str, float] = {name: cost[name] / done[name] for name in done}
    overall = sum(cost.values()) / sum(done.values()) if done else None
    ahead = 0.0
    for unit in view.units:
        if unit.state in UNIT_FINAL:
            continue
        task = blueprint.tasks[unit.task_id]
        each = average.get(unit.task_id, overall)
        ahead += task.cost(unit.bid or task.ceiling) if each is None else each * task.runs
    return min(blueprint.budget, spent + round(ahead))


def _units(view: PlanView) -> list[UnitAnswer]:
    costs: Counter[int] = Counter()
    for job in view.jobs.values():
        costs[job.number] += job.cost or 0
    return [
        UnitAnswer(
            task_id=unit.task_id,
            item=unit.item,
            state=unit.state,
            tries=unit.tries,
            bid_per_gpu_hour_hyper=hyper(unit.bid),
            cost_hyper=format_hyper(costs[unit.number]),
            job_ids=unit.job_ids,
            job_id=unit.winner or "",
            error=unit.error or "",
        )
        for unit in view.units
    ]
