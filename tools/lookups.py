"""Tools that look things up: list_jobs, job_history, get_budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core.access import Principal
from app.core.requirements import JobType
from app.services import jobs, spending
from tools.answers import hyper, job_summary, stamp
from tools.context import ToolContext
from tools.reading_schemas import (
    BudgetAnswer,
    GetBudget,
    HistoryAnswer,
    HistoryStep,
    JobPage,
    ListJobs,
    ReadHistory,
)

_LONGEST_MATCH = 600


async def list_jobs(context: ToolContext, principal: Principal, asked: ListJobs) -> JobPage:
    """The caller's jobs, newest first; a page that filters for what is rare may be short before the end."""
    found, following = await jobs.listing(
        context.db,
        principal,
        states=[one.value for one in asked.state],
        types=[one.value for one in asked.type],
        before=asked.cursor,
        limit=asked.limit,
    )
    return JobPage([job_summary(job) for job in found], following)


async def job_history(context: ToolContext, principal: Principal, asked: ReadHistory) -> HistoryAnswer:
    """What became of a job, and why. Raises NotFound."""
    steps, payments = await jobs.history(context.db, principal, asked.job_id)
    match = await jobs.explain(context.db, principal, asked.job_id)
    return HistoryAnswer(
        job_id=asked.job_id,
        steps=[_step(row) for row in steps],
        payment_steps=[_step(row) for row in payments],
        match=str(match.get("told", ""))[:_LONGEST_MATCH],
    )


def _step(row: Mapping[str, Any]) -> HistoryStep:
    return HistoryStep(
        from_state=row["from_state"] or "",
        to_state=row["to_state"],
        attempt=row.get("attempt", 0),
        reason=row["reason"],
        actor=row["actor"],
        node_id=row.get("node_id") or "",
        at=stamp(row["at"]),
    )


async def get_budget(context: ToolContext, principal: Principal, asked: GetBudget) -> BudgetAnswer:
    """What the calling key may do, and what of it is left today."""
    async with context.db.unit() as uow:
        now = await spending.of_day(uow, principal)
        limits = await context.quotas.of(uow, principal.key_id)
        day = spending.day_of(uow.now).isoformat()
    rights = principal.rights
    return BudgetAnswer(
        day=day,
        cap_day_hyper=hyper(rights.cap_day),
        spent_hyper=hyper(now.spent),
        reserved_hyper=hyper(now.reserved),
        remaining_hyper=hyper(now.remaining),
        cap_job_hyper=hyper(rights.cap_job),
        tools=sorted(rights.tools),
        job_types=[kind.value for kind in JobType if not rights.job_types or kind.value in rights.job_types],
        max_active_gpus=limits[0],
        max_waiting_jobs=limits[1],
    )
