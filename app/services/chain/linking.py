"""Jobs on chain and the engine's jobs: which belong together, and which of the former become new ones of the latter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from app.core.access import Principal, Scope
from app.core.chain import CHAIN_ACCOUNT, LinkedBy, OnChain
from app.core.requirements import TYPE_CAPABILITIES, JobType, Requirements
from app.services import jobs, specs
from app.services.chain.rules import Rules
from app.services.submissions import Submission
from app.store.chain import links
from app.store.chain.projections import JobRow
from app.store.db import UnitOfWork

ACTOR = "chain"
"""Who acts, in histories, and the key of jobs that no key submitted."""


async def link(uow: UnitOfWork, rules: Rules, rows: Sequence[JobRow]) -> list[JobRow]:
    """Give those of the accounts, oldest first, their job that can have one now; those that got one.

    Looked for in this order: the job that the account is named after, the oldest one with its requirements hash, a
    stored spec with that hash, which makes a job. What finds none waits a while, and then makes a job by defaults. Jobs
    that are over on chain make none: there is nothing left to run.
    """
    waiting = [row for row in rows if row.status is not OnChain.ORPHANED]
    linked = await _claim(uow, await _by_id(uow, waiting), LinkedBy.ID)
    linked += await _claim(uow, await _by_hash(uow, [row for row in waiting if row.job_id is None]), LinkedBy.HASH)
    linked += await _make(uow, rules, [row for row in waiting if row.job_id is None])
    for row in waiting:
        if row.job_id is not None or not _to_run(row) or row.client is None:
            row.spec_due_at = None
        elif row.spec_due_at is None:
            row.spec_due_at = uow.now + rules.grace
    return linked


def _to_run(row: JobRow) -> bool:
    return row.status in (OnChain.PENDING, OnChain.ASSIGNED) and not row.over


async def _claim(uow: UnitOfWork, found: dict[str, JobRow], how: LinkedBy) -> list[JobRow]:
    won = await links.claim(uow, {job_id: row.address for job_id, row in found.items()})
    linked = [(job_id, row) for job_id, row in found.items() if job_id in won]
    for job_id, row in linked:
        row.job_id, row.linked_by = job_id, how
    return [row for _, row in linked]


async def _by_id(uow: UnitOfWork, rows: Sequence[JobRow]) -> dict[str, JobRow]:
    """By job, the account that is named after it, and asks for the same as far as is known."""
    hashes = await links.unlinked_by_id(uow, [row.chain_job_id for row in rows if row.chain_job_id.startswith("job_")])
    found: dict[str, JobRow] = {}
    for row in rows:
        asked = hashes.get(row.chain_job_id)
        if asked is not None and row.requirements_hash in (None, asked):
            found.setdefault(row.chain_job_id, row)
    return found


async def _by_hash(uow: UnitOfWork, rows: Sequence[JobRow]) -> dict[str, JobRow]:
    """By job, the account that asks for the same. A cancelled account looks for none, one that is over on chain for
    one that a node has taken: a job that nobody runs yet is another one."""
    asking = [row for row in rows if row.requirements_hash and row.status is not OnChain.CANCELLED]
    wanted = Counter((row.requirements_hash or "") for row in asking)
    over = {row.requirements_hash or "" for row in asking if not _to_run(row)}
    open_ = {row.requirements_hash or "" for row in asking if _to_run(row)}
    candidates = await links.unlinked_by_hash(
        uow, [(one, taken, wanted[one]) for taken, hashes in ((False, open_), (True, over)) for one in sorted(hashes)]
    )
    found: dict[str, JobRow] = {}
    for row in asking:
        ids = candidates.get((row.requirements_hash or "", not _to_run(row)), [])
        while ids:
            if (job_id := ids.pop(0)) not in found:
                found[job_id] = row
                break
    return found


async def _make(uow: UnitOfWork, rules: Rules, rows: Sequence[JobRow]) -> list[JobRow]:
    """Make jobs of what is to be run: by spec, or by defaults once the wait is over."""
    to_run = [row for row in rows if _to_run(row)]
    stored = await specs.known(uow, sorted({row.requirements_hash for row in to_run if row.requirements_hash}))
    making: list[tuple[JobRow, Submission, LinkedBy]] = []
    for row in to_run:
        spec = stored.get(row.requirements_hash or "")
        if spec is not None:
            making.append((row, spec, LinkedBy.SPEC))
        elif row.client is not None and (row.spec_due_at or uow.now + rules.grace) <= uow.now:
            making.append((row, _by_defaults(rules, row), LinkedBy.DEFAULTS))
    ids = await jobs.take_in(uow, [one for _, one, _ in making], [row.address for row, _, _ in making])
    for (row, _, how), job_id in zip(making, ids, strict=True):
        row.job_id, row.linked_by = job_id, how
    return [row for row, _, _ in making]


def _by_defaults(rules: Rules, row: JobRow) -> Submission:
    kind = JobType(row.type) if row.type else JobType.GENERIC_COMPUTE
    return Submission(
        principal=Principal(ACTOR, f"{CHAIN_ACCOUNT}{row.client}", frozenset({Scope.AGENT.value})),
        type=kind.value,
        payload={},
        requirements=Requirements(capabilities=int(TYPE_CAPABILITIES[kind])),
        policy=rules.defaults.policy,
        priority=rules.defaults.priority,
        timeout_s=rules.defaults.timeout_s,
        max_retries=rules.defaults.max_retries,
        queue_ttl_s=rules.defaults.queue_ttl_s,
        source=ACTOR,
        requirements_hash=row.requirements_hash or "",
    )


async def take_back(uow: UnitOfWork, rows: Sequence[JobRow]) -> list[str]:
    """Undo the links of accounts whose creation was taken back; ids of jobs whose end was asked for by that.

    What the chain had made and is not over, ends: should the account come again, it makes a new one. A job that was
    submitted here goes on without the account. One whose payment was seen keeps it.
    """
    mine = await links.linked(uow, [row.job_id for row in rows if row.job_id], locked=True)
    ending, free = [], []
    for row in rows:
        job = mine.get(row.job_id or "")
        made_here = job is not None and job.source == ACTOR
        if job is None or (made_here and job.final) or (not made_here and job.settlement in links.MOVED):
            continue
        if made_here:
            ending.append(job.id)
        free.append(job.id)
        row.job_id = row.linked_by = None
    await links.release(uow, free)
    return await links.request_cancel(uow, ending)
