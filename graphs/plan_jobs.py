"""From units of plans to jobs: filled in, held against the key's limits, submitted in the plan wave's transaction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.core.access import Principal, Rights, Scope
from app.core.errors import HaeError, InvalidInput
from app.core.ids import new_id
from app.core.jobs import NewJob
from app.core.money import run_cost
from app.core.plan_work import Work
from app.core.plans import FailurePolicy, PlanReason, Unit, UnitState
from app.services import jobs, plans, spending
from app.services.quotas import Quotas
from app.services.submissions import new_job
from app.store import keys
from app.store import plans as rows
from app.store import spending as store_spending
from app.store.db import UnitOfWork
from app.store.rows import to_json
from tools.context import Defaults
from tools.plan_reading import Reading, unit_job
from tools.plan_templates import Unresolvable

_BYTES = 16 << 20
"""What the jobs of a wave are given to work on, in all: more comes in the next."""
_RESULTS = 64 << 20
"""Bytes of results that are held at a time, and that one unit may refer to."""
_AGAIN_S = 5.0
"""Until a plan that its key's limits held up is looked at again."""


class Submitter:
    """Releases the units of one wave's plans."""

    def __init__(self, uow: UnitOfWork, readings: Mapping[str, Reading], defaults: Defaults, quotas: Quotas) -> None:
        self._uow = uow
        self._readings = readings
        self._defaults = defaults
        self._quotas = quotas
        self._fresh: list[NewJob] = []
        self._bytes = 0
        self._rights: dict[str, Rights | None] = {}
        self._results: dict[str, Any] = {}
        self._held = 0

    async def cancel(self, works: Sequence[Work]) -> None:
        """Ask for the end of jobs that are of no more use. Before anything is held back from keys' caps: the waves that
        hold these jobs' rows may be about to give back to the same caps."""
        await plans.cancel_jobs(self._uow, (job_id for work in works for job_id in work.cancels))
        for work in works:
            work.cancels = []

    async def take_turns(self, works: Sequence[Work]) -> None:
        """Lock what the limits of the releasing plans' keys are kept in, all keys at once, in everybody's order."""
        names = sorted({work.plan.key_id for work in works if work.releases})
        rights = {name: found for name in names if (found := await self._rights_of(name)) is not None}
        await self._quotas.take_turns(self._uow, list(rights))
        await spending.take_turns(self._uow, rights)

    async def release(self, work: Work) -> bool:
        """Prepare the jobs of the units that ``work`` releases. Whether some failed by what they are filled with, so
        that there is more to decide."""
        units, work.releases = work.releases, []
        rights = await self._rights_of(work.plan.key_id)
        if rights is None:
            work.give_up(PlanReason.UNIT_FAILED, "the API key that made the plan is revoked")
            return False
        failed = False
        for unit in units:
            if self._bytes > _BYTES:
                work.look_again(0.0)
                break
            try:
                await self._read_results(work, unit)
                made = self._jobs(work, unit, rights)
                if not await self._admitted(work, rights, made):
                    break
            except (Unresolvable, HaeError, ValueError, RecursionError) as error:
                failed = True
                _refuse(work, unit, error)
                continue
            self._bytes += sum(len(to_json(job.payload)) for job in made)
            self._fresh += made
            work.submitted += sum(job.max_cost or 0 for job in made)
            work.fresh.update(job.id for job in made)
            unit.job_ids = [job.id for job in made]
            work.move_unit(unit, UnitState.RUNNING, PlanReason.RELEASED, bid=unit.bid, job_id=made[0].id)
        return failed

    async def enter(self) -> None:
        """Submit what was prepared."""
        if self._fresh:
            await jobs.enter(self._uow, self._fresh)

    def _jobs(self, work: Work, unit: Unit, rights: Rights) -> list[NewJob]:
        plan, task = work.plan, work.task(unit)
        principal = Principal(plan.key_id, plan.account, frozenset({Scope.AGENT.value}))
        submission = unit_job(
            self._readings[plan.id], self._defaults, principal, unit, lambda name, item: self._result(work, name, item)
        )
        rights.require_job_type(submission.type)
        bid = unit.bid or task.ceiling
        made = []
        for _ in range(task.runs):
            job = new_job(new_id("job"), submission, None)
            job.requirements = replace(job.requirements, max_price=bid)
            job.source = "plan"
            job.plan_id, job.plan_unit = plan.id, unit.number
            job.max_cost = run_cost(bid, task.gpus, task.timeout_s * 1000)
            job.excluded = list(unit.excluded)
            if work.blueprint.step and bid < task.ceiling:
                job.queue_ttl_s = work.blueprint.raise_after_s
            if plan.deadline_at is not None:
                job.deadline_s = max(1, math.ceil((plan.deadline_at - work.now).total_seconds()))
            made.append(job)
        return made

    async def _admitted(self, work: Work, rights: Rights, made: list[NewJob]) -> bool:
        """Whether the key's limits let these jobs in, all or none of them."""
        key_id = work.plan.key_id
        # Those that were prepared before wait, too, though they are not in the database yet.
        before = sum(job.key_id == key_id for job in self._fresh)
        asked = await self._quotas.admit(self._uow, [key_id] * (before + len(made)))
        verdicts: list[HaeError | None] = list(asked[before:])
        if not any(verdicts):
            verdicts = list(await spending.reserve(self._uow, work.plan.key_id, rights, made))
            if any(verdicts):
                admitted = [job for job, refused in zip(made, verdicts, strict=True) if refused is None]
                await store_spending.settle(
                    self._uow, [(job.key_id, job.spend_day, job.max_cost or 0, 0) for job in admitted if job.spend_day]
                )
        refused = next((verdict for verdict in verdicts if verdict is not None), None)
        if refused is None:
            return True
        if (hopeless := spending.never(rights, made[0].max_cost or 0, len(made))) is not None:
            raise hopeless
        work.held = refused.detail
        work.look_again(_AGAIN_S)
        return False

    async def _rights_of(self, key_id: str) -> Rights | None:
        """What the key may do; None when it was revoked."""
        if key_id not in self._rights:
            # A key that has no row is the settings' own.
            found = await keys.by_ids(self._uow, [key_id])
            revoked = bool(found) and found[0].revoked_at is not None
            self._rights[key_id] = None if revoked else found[0].rights if found else Rights()
        return self._rights[key_id]

    async def _read_results(self, work: Work, unit: Unit) -> None:
        """Read the results that this unit refers to. Raises InvalidInput when they are too large together."""
        task = work.task(unit)
        of = [work.blueprint.tasks[name] for name in self._readings[work.plan.id].sources[unit.task_id]]
        winners = {one.winner for source in of for one in work.units[source.first : source.first + source.units]}
        if task.each_of:
            winners.add(work.units[work.blueprint.tasks[task.each_of].first + unit.item].winner)
        missing = sorted(winner for winner in winners if winner and winner not in self._results)
        if not missing:
            return
        size = await rows.results_size(self._uow, missing)
        if size > _RESULTS:
            raise InvalidInput(f"the results that it refers to come to {size} bytes, and {_RESULTS} are the most")
        if self._held + size > _RESULTS:
            self._results, self._held = {}, 0
            missing = sorted(filter(None, winners))
        self._held += size
        self._results |= await rows.results(self._uow, missing)

    def _result(self, work: Work, task_id: str, item: int) -> Any:
        unit = work.units[work.blueprint.tasks[task_id].first + item]
        return self._results.get(unit.winner) if unit.winner else None


def _refuse(work: Work, unit: Unit, error: Exception) -> None:
    """Fail a unit that no job can be made of: to try it again would come to the same."""
    unit.error = str(error)[:2000]
    if work.task(unit).policy is FailurePolicy.SKIP:
        work.move_unit(unit, UnitState.SKIPPED, PlanReason.UNIT_FAILED)
    else:
        work.move_unit(unit, UnitState.FAILED, PlanReason.UNIT_FAILED)
        work.give_up(PlanReason.UNIT_FAILED, f"{unit.task_id}[{unit.item}]: {unit.error}")
