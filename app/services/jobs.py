"""Use cases of agents: submit, look, cancel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.core.access import Principal, Rights
from app.core.errors import BudgetExceeded, Forbidden, HaeError, IdempotencyClash, InvalidInput, NotFound, QuotaExceeded
from app.core.events import EventKind, Reason, SignalKind
from app.core.ids import new_id
from app.core.jobs import Job, Move, NewJob
from app.core.states import JobState
from app.services import spending
from app.services.quotas import Quotas
from app.services.rerun import retold
from app.services.submissions import Submission, new_job, start_of
from app.store import counts, events, idempotency, jobs, results, settlements, signals
from app.store.chain import job_links
from app.store.chain.job_links import JobLink
from app.store.counts import Tally
from app.store.db import Database, UnitOfWork
from app.store.events import NewEvent, StoredEvent


@dataclass(slots=True)
class Submitted:
    """``created`` is False when the idempotency key had made the job before; ``state`` is its present one.

    ``remaining``: what the key's cap of the day leaves for further jobs, base units of HYPER; None without one.
    """

    job_id: str
    created: bool
    state: JobState = JobState.PENDING
    requirements_hash: str = ""
    remaining: int | None = None


@dataclass(slots=True)
class JobView:
    """A job with what an agent may want to see of it."""

    job: Job
    payload: dict[str, Any]
    report: dict[str, Any] | None = None
    chain: JobLink | None = None


Refusal = IdempotencyClash | QuotaExceeded | InvalidInput | BudgetExceeded | Forbidden


async def submit(
    db: Database, submissions: Sequence[Submission], quotas: Quotas | None = None
) -> list[Submitted | Refusal]:
    """Take jobs in, all in one transaction; an answer each, in order.

    An idempotency key used before answers with its job, or with IdempotencyClash when the request was another one. Past
    what an API key may have waiting by ``quotas`` (None = nobody has any), QuotaExceeded: nothing is kept of such a
    request, and the same idempotency key may be sent again. So it is with BudgetExceeded past the key's caps, with
    Forbidden for a type of job that it may not submit, and with InvalidInput for a start after the deadline.
    """
    made = [(new_id("job"), submission) for submission in submissions]
    async with db.unit() as uow:
        starts = [_may_start(one, uow.now) for one in submissions]
        keyed: dict[tuple[str, str], tuple[str, str, str, str]] = {}
        for (job_id, one), start in zip(made, starts, strict=True):
            if one.idempotency_key and not isinstance(start, HaeError):
                key = (one.principal.account, one.idempotency_key)
                keyed.setdefault(key, (*key, one.digest(), job_id))
        taken = await idempotency.claim(uow, list(keyed.values()))
        answers: list[Submitted | Refusal] = []
        fresh: list[NewJob] = []
        for (job_id, one), start in zip(made, starts, strict=True):
            if isinstance(start, HaeError):
                answers.append(start)
                continue
            key = (one.principal.account, one.idempotency_key)
            first = taken.get(key) or (keyed[key][2:] if one.idempotency_key else None)
            if first is not None and first[1] != job_id:
                answers.append(_repeated(first, one))
                continue
            fresh.append(new_job(job_id, one, start))
            answers.append(Submitted(job_id, True, fresh[-1].first_state, one.requirements_hash))
        if fresh:
            refused = await _refused(uow, quotas, fresh, {job_id: one.principal.rights for job_id, one in made})
            if refused:
                fresh = [job for job in fresh if job.id not in refused]
                answers = [refused.get(one.job_id, one) if isinstance(one, Submitted) else one for one in answers]
                claimed = [(*key, first[3]) for key, first in keyed.items() if first[3] in refused]
                await idempotency.release(uow, claimed)
        if fresh:
            await enter(uow, fresh)
        repeated = [one for one in answers if isinstance(one, Submitted) and not one.created]
        if repeated:
            known = await jobs.asked_for(uow, [one.job_id for one in repeated])
            for again in repeated:
                again.state, again.requirements_hash = known.get(again.job_id, (again.state, ""))
        await _tell_remaining(uow, submissions, answers)
    return answers


def _may_start(one: Submission, now: datetime) -> datetime | InvalidInput | Forbidden | None:
    """When the job starts, None = at once, or why it may not be."""
    try:
        one.principal.rights.require_job_type(one.type)
    except Forbidden as error:
        return error
    return start_of(one, now)


async def take_in(uow: UnitOfWork, submissions: Sequence[Submission], chain_jobs: Sequence[str | None]) -> list[str]:
    """Make jobs within the caller's transaction, each linked to its address of ``chain_jobs``; their ids, in order.

    Idempotency keys and start times play no part: the caller sees to it that it comes once, and when.
    """
    made = [
        new_job(new_id("job"), one, None, chain_job) for one, chain_job in zip(submissions, chain_jobs, strict=True)
    ]
    if made:
        await enter(uow, made)
    return [job.id for job in made]


async def take_in_paid(uow: UnitOfWork, submissions: Sequence[Submission]) -> list[str | spending.Refusal]:
    """As take_in, with each job held against its key's caps: its id, or why it was not made."""
    fresh = [new_job(new_id("job"), one, None) for one in submissions]
    verdicts = await spending.reserve_each(
        uow, [(job.key_id, one.principal.rights, job) for job, one in zip(fresh, submissions, strict=True)]
    )
    admitted = [job for job, verdict in zip(fresh, verdicts, strict=True) if verdict is None]
    if admitted:
        await enter(uow, admitted)
    return [verdict or job.id for job, verdict in zip(fresh, verdicts, strict=True)]


async def _refused(
    uow: UnitOfWork, quotas: Quotas | None, fresh: list[NewJob], rights: Mapping[str, Rights]
) -> dict[str, Refusal]:
    """By job id why it may not be: past what may wait, or past what its key may spend. ``rights`` by job id."""
    refused: dict[str, Refusal] = {}
    if quotas is not None:
        verdicts = await quotas.admit(uow, [job.key_id for job in fresh])
        refused |= {job.id: verdict for job, verdict in zip(fresh, verdicts, strict=True) if verdict is not None}
    paying = [job for job in fresh if job.id not in refused]
    bills = await spending.reserve_each(uow, [(job.key_id, rights[job.id], job) for job in paying])
    return refused | {job.id: bill for job, bill in zip(paying, bills, strict=True) if bill is not None}


async def _tell_remaining(
    uow: UnitOfWork, submissions: Sequence[Submission], answers: list[Submitted | Refusal]
) -> None:
    """Set what is left of today's caps, as it is after all of these jobs."""
    left: dict[str, int | None] = {}
    for one, answer in zip(submissions, answers, strict=True):
        principal = one.principal
        if principal.rights.cap_day is None or not isinstance(answer, Submitted):
            continue
        if principal.key_id not in left:
            left[principal.key_id] = (await spending.of_day(uow, principal)).remaining
        answer.remaining = left[principal.key_id]


def _repeated(first: tuple[str, str], one: Submission) -> Submitted | IdempotencyClash:
    digest, job_id = first
    if digest == one.digest():
        return Submitted(job_id, False)
    return IdempotencyClash.of(job_id)


async def enter(uow: UnitOfWork, fresh: Sequence[NewJob]) -> None:
    """Store these jobs with their first history, events, counts and signals; everything about them was decided."""
    heads = await events.add_history(uow, [_first_move(job) for job in fresh], {})
    await jobs.insert(uow, fresh, heads)
    await events.add(
        uow,
        [
            NewEvent(
                EventKind.JOB_SUBMITTED,
                {
                    "job_id": job.id,
                    "node_id": None,
                    "type": job.type,
                    "state": job.first_state.value,
                    "attempt": 1,
                },
                job.account,
                job.id,
            )
            for job in fresh
        ],
    )
    tally = Tally()
    for job in fresh:
        tally.move(job.key_id, job.requirements.gpus, None, job.first_state)
    await counts.add(uow, tally)
    await signals.add(
        uow,
        [
            (job.id, SignalKind.SUBMITTED if job.start_at is None else SignalKind.START_DUE, job.start_at)
            for job in fresh
        ],
    )


def _first_move(job: NewJob) -> Move:
    reason = Reason.SUBMITTED if job.start_at is None else Reason.SCHEDULED
    return Move(job.id, None, job.first_state, 1, reason, job.key_id, None)


async def get(db: Database, principal: Principal, job_id: str) -> JobView:
    """The job, its payload and its result if there is one. Raises NotFound, also for another account's job."""
    async with db.unit() as uow:
        found = await jobs.get(uow, job_id, principal.sees)
        if found is None:
            raise no_such_job(job_id)
        job, payload = found
        report = await results.full(uow, job.offer_id) if job.offer_id else None
        chain = await job_links.link(uow, job_id) if job.chain_job else None
    return JobView(job, payload, report, chain)


async def explain(db: Database, principal: Principal, job_id: str) -> dict[str, Any]:
    """Why the job's node was chosen, or why none was. Raises NotFound; empty before the first match."""
    async with db.unit() as uow:
        await _visible(uow, principal, job_id)
        found = await events.decisions(uow, job_id, latest=True)
    if not found:
        return {}
    (last,) = found
    return {"attempt": last.attempt, "node_id": last.node_id, "at": last.at, **retold(last)}


async def history(db: Database, principal: Principal, job_id: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The job's transitions, and those of its settlement since it awaited its payment; both oldest first.

    Raises NotFound.
    """
    async with db.unit() as uow:
        await _visible(uow, principal, job_id)
        return await events.history(uow, job_id), await settlements.history(uow, job_id)


async def events_after(db: Database, principal: Principal, job_id: str, after: int) -> list[StoredEvent]:
    """The job's events with a sequence number above ``after``. Raises NotFound."""
    async with db.unit() as uow:
        await _visible(uow, principal, job_id)
        return await events.of_job(uow, job_id, after, 500)


async def listing(
    db: Database,
    principal: Principal,
    *,
    states: Sequence[str],
    types: Sequence[str],
    before: str,
    limit: int,
) -> tuple[list[Job], str]:
    """Jobs the caller may see, newest first, with ids below ``before``, and the ``before`` of the next page, empty at
    the end. A page may be short before that, even empty: each looks through so many jobs at most."""
    async with db.unit() as uow:
        return await jobs.page(uow, principal.sees, states=states, types=types, before=before, limit=limit)


async def cancel(db: Database, principal: Principal, job_id: str) -> Job:
    """Ask for the job's end; the job graph ends it. Asking again, or for a job that is over, changes nothing.

    Raises NotFound.
    """
    async with db.unit() as uow:
        job = await _visible(uow, principal, job_id)
        if await jobs.request_cancel(uow, job_id, job.account):
            await signals.add(uow, [(job_id, SignalKind.CANCEL_REQUESTED, None)])
    return job


async def _visible(uow: UnitOfWork, principal: Principal, job_id: str) -> Job:
    found = await jobs.get(uow, job_id, principal.sees)
    if found is None:
        raise no_such_job(job_id)
    return found[0]


def no_such_job(job_id: str) -> NotFound:
    return NotFound(
        f"there is no job {job_id[:60]} that this key may see",
        code="job_not_found",
        field="job_id",
        next_action="List your jobs with list_jobs or GET /v1/jobs, and use a job_id as it stands there.",
    )
