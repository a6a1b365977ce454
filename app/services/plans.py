"""Use cases of plans: submit, look, cancel; and what a wave of the plan graph reads and writes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec

from app.core import planning
from app.core.access import Principal
from app.core.blueprint import Blueprint
from app.core.errors import IdempotencyClash, NotFound
from app.core.events import EventKind, SignalKind
from app.core.ids import new_id
from app.core.plan_work import PlanJob, PlanMove, Work
from app.core.plans import PLAN_FINAL, Plan, PlanReason, PlanSignalKind, PlanState, Unit, UnitState
from app.services.canonical import canonical_json, content_hash
from app.store import events, idempotency, jobs, plan_signals, plans, signals
from app.store.db import Database, UnitOfWork
from app.store.events import NewEvent

_EVENTS = {
    PlanState.COMPLETED: EventKind.PLAN_COMPLETED,
    PlanState.FAILED: EventKind.PLAN_FAILED,
    PlanState.CANCELLED: EventKind.PLAN_CANCELLED,
}


@dataclass(frozen=True, slots=True)
class PlanWish:
    """A checked wish for a plan. ``request``: as it is stored, to be read again by every wave; ``asked``: as it was
    made, before defaults that may be others tomorrow, None for the same."""

    principal: Principal
    name: str
    request: dict[str, Any]
    blueprint: Blueprint
    deadline_s: int = 0
    idempotency_key: str = ""
    asked: dict[str, Any] | None = None

    def digest(self) -> str:
        """sha256 of what is asked for: equal requests have equal digests."""
        asked = ["plan", {**(self.asked or self.request), "idempotency_key": ""}]
        return hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).hexdigest()


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan with its units in order and all its jobs by id."""

    plan: Plan
    units: list[Unit]
    jobs: Mapping[str, PlanJob]


async def submit(db: Database, wish: PlanWish) -> tuple[str, bool]:
    """Store a plan; its id, and whether this call made it: False when its idempotency key had.

    Raises IdempotencyClash when the key was used for another request.
    """
    principal = wish.principal
    plan_id = new_id("plan")
    async with db.unit() as uow:
        deadline_at = uow.now + timedelta(seconds=wish.deadline_s) if wish.deadline_s else None
        plan = Plan(
            plan_id, principal.account, principal.key_id, wish.name, PlanState.RUNNING, PlanReason.SUBMITTED, 1,
            wish.request, wish.blueprint.budget, 0, 0, False, None, uow.now, deadline_at, None,
        )  # fmt: skip
        if wish.idempotency_key:
            key = (principal.account, wish.idempotency_key)
            taken = await idempotency.claim(uow, [(*key, wish.digest(), plan_id)])
            if key in taken:
                return _made_before(wish, *taken[key]), False
        await plans.insert(uow, plan)
        units = wish.blueprint.new_units()
        await plans.insert_units(uow, plan_id, units)
        await plans.add_history(uow, plan_id, [PlanMove(None, None, PlanState.RUNNING, PlanReason.SUBMITTED)])
        await events.add(uow, [_event(EventKind.PLAN_SUBMITTED, plan, 0, len(units), 0)])
        timers = [(plan_id, PlanSignalKind.SUBMITTED, None), (plan_id, PlanSignalKind.DEADLINE, deadline_at)]
        await plan_signals.add(uow, [timer for timer in timers if timer[1] is not PlanSignalKind.DEADLINE or timer[2]])
    return plan_id, True


def _made_before(wish: PlanWish, digest: str, made: str) -> str:
    if digest != wish.digest():
        raise IdempotencyClash.of(made)
    return made


async def view(db: Database, principal: Principal, plan_id: str) -> PlanView:
    """The plan as it is. Raises NotFound, also for another account's."""
    async with db.unit() as uow:
        plan = await plans.get(uow, plan_id, principal.sees)
        if plan is None:
            raise no_such_plan(plan_id)
        units = await plans.units(uow, [plan_id])
        own = await plans.jobs(uow, [plan_id])
    return PlanView(plan, units[plan_id], own[plan_id])


async def check_visible(db: Database, principal: Principal, plan_id: str) -> None:
    """Raises NotFound for a plan that the caller may not see."""
    async with db.unit() as uow:
        if await plans.get(uow, plan_id, principal.sees) is None:
            raise no_such_plan(plan_id)


async def request(db: Database, plan_id: str) -> dict[str, Any]:
    """The request of a plan that the caller was let see, as it was stored."""
    async with db.unit() as uow:
        return await plans.request(uow, plan_id)


async def results_of(db: Database, job_ids: Sequence[str], most: int | None = None) -> dict[str, Any]:
    """The results, of ``most`` bytes at most, of completed jobs by job id: of a plan that the caller was let see."""
    async with db.unit() as uow:
        return await plans.results(uow, job_ids, most)


async def listing(db: Database, principal: Principal, before: str, limit: int) -> list[tuple[Plan, int, int]]:
    """``(plan, units, units that are over)`` of the caller's plans below id ``before``, newest first."""
    async with db.unit() as uow:
        return await plans.listing(uow, principal.sees, before, limit)


async def cancel(db: Database, principal: Principal, plan_id: str) -> bool:
    """Ask for a plan's end; the plan graph ends it, and its jobs. False when it is over or was asked before.

    Raises NotFound.
    """
    async with db.unit() as uow:
        if await plans.request_cancel(uow, plan_id, principal.sees):
            await plan_signals.add(uow, [(plan_id, PlanSignalKind.CANCEL_REQUESTED, None)])
            return True
        if await plans.get(uow, plan_id, principal.sees) is None:
            raise no_such_plan(plan_id)
        return False


async def versions(db: Database, plan_ids: list[str]) -> dict[str, tuple[int, bool]]:
    """``(version, over)`` of these plans: what waiters wait for."""
    async with db.unit() as uow:
        return await plans.versions(uow, plan_ids)


def no_such_plan(plan_id: str) -> NotFound:
    return NotFound(
        f"there is no plan {plan_id[:60]}",
        code="plan_not_found",
        field="plan_id",
        next_action="list_plans shows the plans of this account.",
    )


@dataclass(slots=True)
class PlanWave:
    """The plans of one wave. ``consumed``: ids of the signals that it takes."""

    works: list[Work] = field(default_factory=list)
    consumed: list[int] = field(default_factory=list)


async def open_wave(
    uow: UnitOfWork,
    due: Sequence[tuple[int, str]],
    blueprint_of: Callable[[Plan], Blueprint],
    digests: dict[str, str],
) -> PlanWave:
    """Read what the plans have come to that signals ``(id, plan_id)`` are due for, which were claimed with their plans.

    Signals of plans that are over are consumed, too. ``digests``: of results by job id, those that are known; others
    are added.
    """
    locked = await plans.lock(uow, [plan_id for _, plan_id in due])
    wave = PlanWave(consumed=[signal_id for signal_id, _ in due])
    live = [plan for plan in locked if plan.state not in PLAN_FINAL]
    ids = [plan.id for plan in live]
    if not ids:
        return wave
    units = await plans.units(uow, ids)
    # After the lock: whatever ends from here on sends a signal of its own.
    own = await plans.jobs(uow, ids)
    for plan in live:
        work = Work(plan, blueprint_of(plan), units[plan.id], own[plan.id], uow.now)
        redundant = [
            job_id
            for unit in work.units
            if unit.state is UnitState.RUNNING and work.task(unit).runs > 1
            for job_id in unit.job_ids
        ]
        bodies = await plans.results(uow, [job_id for job_id in redundant if job_id not in digests])
        digests |= {job_id: content_hash(canonical_json(body)) for job_id, body in bodies.items()}
        work.digests = {job_id: digests[job_id] for job_id in redundant if job_id in digests}
        wave.works.append(work)
    return wave


async def save_wave(uow: UnitOfWork, wave: PlanWave) -> None:
    """Write everything the graph decided: units, plans, history, cancels, events, timers, the consumed signals."""
    finished = []
    told: list[NewEvent] = []
    timers: list[tuple[str, PlanSignalKind, Any]] = []
    for work in wave.works:
        plan = work.plan
        over = plan.state in PLAN_FINAL
        plan.held = work.held or None
        await plans.save_units(uow, plan.id, list(work.changed.values()))
        await plans.add_history(uow, plan.id, work.moves)
        await plans.save(uow, plan, work.spent, work.reserved + work.submitted, over=over)
        if over:
            finished.append(plan.id)
            done = sum(unit.state is UnitState.DONE for unit in work.units)
            told.append(_event(_EVENTS[plan.state], plan, work.spent, len(work.units), done))
        elif work.look_at is not None:
            timers.append((plan.id, PlanSignalKind.RETRY_DUE, work.look_at))
    await events.add(uow, told)
    await plan_signals.add(uow, timers)
    await plan_signals.consume(uow, wave.consumed, finished)
    uow.hints.plans.update(work.plan.id for work in wave.works)


async def fail(uow: UnitOfWork, plan_id: str, told: str, *, max_tries: int, retry_s: float) -> bool:
    """Note that the plan graph failed on a plan; whether the plan is given up.

    After ``max_tries`` it is, without its request, which may be what cannot be read: its jobs are asked to end, and it
    has failed once they have.
    """
    plan = await plans.lock_one(uow, plan_id)
    parked = await plan_signals.mark_poisoned(uow, plan_id, told, max_tries=max_tries, retry_s=retry_s)
    if plan is None or plan.state in PLAN_FINAL or not (parked or plan.reason == PlanReason.POISONED):
        return False
    units, own = await plans.units(uow, [plan_id]), await plans.jobs(uow, [plan_id])
    work = Work(plan, Blueprint.of_units(units[plan_id], plan.budget), units[plan_id], own[plan_id], uow.now)
    work.give_up(PlanReason.POISONED, told)
    await cancel_jobs(uow, (job.id for job in work.live))
    work.asked = True
    planning.finish(work)
    await save_wave(uow, PlanWave([work]))
    return True


async def cancel_jobs(uow: UnitOfWork, job_ids: Iterable[str]) -> None:
    """Ask for the end of jobs of plans, all in the order of their ids: others who cancel many go by it, too."""
    wanted = sorted(set(job_ids))
    if wanted:
        asked = await jobs.request_cancels(uow, wanted, None)
        await signals.add(uow, [(job_id, SignalKind.CANCEL_REQUESTED, None) for job_id in asked])


def _event(kind: EventKind, plan: Plan, spent: int, units: int, done: int) -> NewEvent:
    data = {
        "plan_id": plan.id,
        "name": plan.name,
        "state": plan.state.value,
        "reason": plan.reason,
        "units": units,
        "done": done,
        "cost": spent,
        "error": plan.error,
    }
    return NewEvent(kind, data, plan.account)
