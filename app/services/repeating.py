"""Use case of agents: run a job that is over once more, as a new one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.core.access import Principal
from app.core.errors import Conflict
from app.services import jobs
from app.services.jobs import Submitted
from app.services.quotas import Quotas
from app.services.submissions import repeated
from app.store.db import Database


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be different from the first time; None = nothing. ``deadline_s``: 0 = none, counts from now."""

    priority: int | None = None
    timeout_s: int | None = None
    queue_ttl_s: int | None = None
    deadline_s: int | None = None
    max_retries: int | None = None


async def rerun(
    db: Database,
    principal: Principal,
    job_id: str,
    changes: Changes,
    *,
    idempotency_key: str = "",
    quotas: Quotas | None = None,
) -> Submitted:
    """Submit the job's request again under a new id, for the account that it is of, at once.

    Raises NotFound; Conflict while the job is not over; IdempotencyClash; QuotaExceeded. A changed request no longer is
    the one that the requirements hash tells of: such a job has none.
    """
    view = await jobs.get(db, principal, job_id)
    if not view.job.final:
        raise Conflict(
            f"the job is {view.job.state} and not over yet",
            code="job_not_over",
            next_action="Wait for its end, or cancel it; to have it twice, submit it again.",
        )
    # Nothing follows a final state, so that what was read just now still holds.
    owner = replace(principal, account=view.job.account)
    first = repeated(view.job, view.payload, owner, "rerun")
    changed = {name: value for name in Changes.__slots__ if (value := getattr(changes, name)) is not None}
    again = replace(first, **changed, rerun_of=job_id, idempotency_key=idempotency_key)
    if any(getattr(again, name) != getattr(first, name) for name in changed):
        again = replace(again, requirements_hash="")
    (answer,) = await jobs.submit(db, [again], quotas)
    if isinstance(answer, Submitted):
        return answer
    raise answer
