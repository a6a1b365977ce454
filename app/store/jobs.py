"""The jobs table: insert, lock, guarded moves, reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from app.core.errors import Conflict
from app.core.events import Reason
from app.core.jobs import Job, NewJob, Visit
from app.core.states import JobState
from app.store.copying import copy_rows
from app.store.db import UnitOfWork
from app.store.rows import JOB_COLUMNS, job_from, to_json

LOOKED_THROUGH: Final = 10_000
"""Jobs that a page of a listing is filled from, some 30 ms."""


async def insert(uow: UnitOfWork, jobs: Sequence[NewJob], heads: Mapping[str, bytes]) -> None:
    """Insert jobs in their first states. Ids must be new. ``heads``: hash of each job's first history row."""
    await copy_rows(uow, "jobs", _NEW_COLUMNS, [_new_row(uow, job, heads[job.id]) for job in jobs])


_NEW_COLUMNS = (
    "id", "account", "key_id", "source", "type", "state", "reason", "payload", "gpu_models", "gpus", "min_vram_gb",
    "capabilities", "region", "min_reputation", "max_price", "policy", "priority", "timeout_s", "max_retries",
    "queue_ttl_s", "expires_at", "requirements_hash", "chain_job", "deadline_at", "start_at", "max_attempts",
    "retry_backoff_s", "retry_backoff_max_s", "exclude_nodes", "rerun_of", "schedule_id", "history_head", "plan_id",
    "plan_unit", "max_cost", "spend_day", "excluded",
)  # fmt: skip


def _new_row(uow: UnitOfWork, job: NewJob, head: bytes) -> tuple[Any, ...]:
    asked = job.requirements
    deadline_at = uow.now + timedelta(seconds=job.deadline_s) if job.deadline_s else None
    expires_at = (job.start_at or uow.now) + timedelta(seconds=job.queue_ttl_s)
    reason = Reason.SUBMITTED if job.start_at is None else Reason.SCHEDULED
    return (
        job.id, job.account, job.key_id, job.source, job.type, job.first_state.value, reason.value,
        to_json(job.payload), asked.gpu_models, asked.gpus, asked.min_vram_gb, asked.capabilities, asked.region,
        asked.min_reputation, asked.max_price, job.policy, job.priority, job.timeout_s, job.max_retries,
        job.queue_ttl_s, expires_at if deadline_at is None else min(expires_at, deadline_at), job.requirements_hash,
        job.chain_job, deadline_at, job.start_at, job.max_attempts, job.retry_backoff_s, job.retry_backoff_max_s,
        job.exclude_nodes.value, job.rerun_of, job.schedule_id, head, job.plan_id, job.plan_unit,
        job.max_cost, job.spend_day, job.excluded,
    )  # fmt: skip


async def lock(uow: UnitOfWork, ids: Iterable[str]) -> list[Job]:
    """The jobs of ``ids`` in id order, locked until the transaction ends; those another wave holds are left out."""
    rows = await uow.sql.fetch(
        f"SELECT {JOB_COLUMNS} FROM jobs WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
        sorted(set(ids)),
    )
    return [job_from(row) for row in rows]


async def existing(uow: UnitOfWork, ids: Sequence[str]) -> set[str]:
    """Which of ``ids`` exist, whether locked or not."""
    rows = await uow.sql.fetch("SELECT id FROM jobs WHERE id = ANY($1::text[])", ids)
    return {row[0] for row in rows}


async def save(uow: UnitOfWork, visits: Sequence[Visit]) -> None:
    """Write what a wave made of its jobs, each guarded by the state, attempt and version that the wave read.

    Raises Conflict when a guard does not hold; the rows are locked by the wave, so that means a bug elsewhere.
    """
    if not visits:
        return
    # One JSON document: as 21 arrays, encoding them was a tenth of a wave's CPU.
    written = await uow.sql.fetchval(
        """WITH u AS (SELECT * FROM json_to_recordset($1::json) AS r(id text, was_state text, was_attempt int,
            was_version int, state text, reason text, attempt int, failures int, version int, excluded text[],
            match_tries int, node_id text, offer_id text, price int8, cost int8, settlement text, error text,
            assigned_at timestamptz, started_at timestamptz, finished_at timestamptz, expires_at timestamptz,
            not_before timestamptz, cancel_by timestamptz, head text)),
        moved AS (UPDATE jobs SET state = u.state, reason = u.reason, attempt = u.attempt, failures = u.failures,
            version = u.version, excluded = u.excluded, match_tries = u.match_tries, node_id = u.node_id,
            offer_id = u.offer_id, price = u.price, cost = u.cost, settlement = u.settlement, error = u.error,
            assigned_at = u.assigned_at, started_at = u.started_at, finished_at = u.finished_at,
            expires_at = u.expires_at, not_before = u.not_before, cancel_by = u.cancel_by,
            history_head = coalesce(decode(u.head, 'hex'), jobs.history_head)
        FROM u WHERE jobs.id = u.id AND jobs.state = u.was_state AND jobs.attempt = u.was_attempt
            AND jobs.version = u.was_version
        RETURNING jobs.id)
        SELECT count(*) FROM moved""",
        to_json([_saved(visit) for visit in visits]),
    )
    if written != len(visits):
        raise Conflict(f"{len(visits) - written} of {len(visits)} guarded moves lost their race", code="lost_race")


def _saved(visit: Visit) -> dict[str, Any]:
    job = visit.job
    was_state, was_attempt, was_version = visit.origin
    return {
        "id": job.id,
        "was_state": was_state,
        "was_attempt": was_attempt,
        "was_version": was_version,
        "state": job.state,
        "reason": job.reason,
        "attempt": job.attempt,
        "failures": job.failures,
        "version": job.version,
        "excluded": job.excluded,
        "match_tries": job.match_tries,
        "node_id": job.node_id,
        "offer_id": job.offer_id,
        "price": job.price,
        "cost": job.cost,
        "settlement": job.settlement,
        "error": job.error,
        "assigned_at": job.assigned_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "expires_at": job.expires_at,
        "not_before": job.not_before,
        "cancel_by": job.cancel_by,
        "head": None if job.history_head is None else job.history_head.hex(),
    }


async def request_cancel(uow: UnitOfWork, job_id: str, account: str) -> bool:
    """Ask for a job's end. False when the job is over, is not there, or was asked before."""
    found = await uow.sql.fetchval(
        """UPDATE jobs SET cancel_requested = true WHERE id = $1 AND account = $2 AND NOT cancel_requested
        AND finished_at IS NULL RETURNING id""",
        job_id,
        account,
    )
    return found is not None


async def poison(uow: UnitOfWork, job_id: str, error: str) -> str | None:
    """Keep the error of a parked signal on its job, unless that is over; the plan that it is a job of."""
    plan_id: str | None = await uow.sql.fetchval(
        "UPDATE jobs SET error = $2 WHERE id = $1 AND finished_at IS NULL RETURNING plan_id", job_id, error[:2000]
    )
    return plan_id


async def get(uow: UnitOfWork, job_id: str, account: str | None) -> tuple[Job, dict[str, Any]] | None:
    """A job and its payload; None when there is none or it belongs to another account (None = any account)."""
    row = await uow.sql.fetchrow(
        f"""SELECT {JOB_COLUMNS}, payload FROM jobs WHERE id = $1 AND ($2::text IS NULL OR account = $2)""",
        job_id,
        account,
    )
    return None if row is None else (job_from(row), row["payload"])


async def lost_by_hash(uow: UnitOfWork, hashes: Sequence[str]) -> list[tuple[Job, str, dict[str, Any]]]:
    """For each requirements hash the latest job that failed or expired and has no account on chain: the job, the key
    that submitted it, its payload."""
    rows = await uow.sql.fetch(
        f"""SELECT DISTINCT ON (requirements_hash) {JOB_COLUMNS}, key_id, payload FROM jobs
        WHERE requirements_hash = ANY($1::text[]) AND requirements_hash <> '' AND chain_job IS NULL
            AND state IN ('failed', 'expired') ORDER BY requirements_hash, id DESC""",
        hashes,
    )
    return [(job_from(row), row["key_id"], row["payload"]) for row in rows]


async def states_of(uow: UnitOfWork, ids: Sequence[str]) -> dict[str, tuple[JobState, int]]:
    """State and version of each job of ``ids``: what long-polls and streams watch."""
    rows = await uow.sql.fetch("SELECT id, state, version FROM jobs WHERE id = ANY($1::text[])", ids)
    return {row[0]: (JobState(row[1]), row[2]) for row in rows}


async def asked_for(uow: UnitOfWork, ids: Sequence[str]) -> dict[str, tuple[JobState, str]]:
    """State and requirements hash of each job of ``ids``: what a repeated submission is answered with."""
    rows = await uow.sql.fetch("SELECT id, state, requirements_hash FROM jobs WHERE id = ANY($1::text[])", ids)
    return {row[0]: (JobState(row[1]), row[2]) for row in rows}


async def page(
    uow: UnitOfWork,
    account: str | None,
    *,
    states: Sequence[str],
    types: Sequence[str],
    before: str,
    limit: int,
) -> tuple[list[Job], str]:
    """Jobs, newest first, with ids below ``before`` (empty = from the top), and the ``before`` of the next page, empty
    at the end; empty filters mean any.

    No page looks at more than LOOKED_THROUGH jobs: one that filters for what is rare may be short, even empty.
    """
    # Each condition only where it is asked for: a plan for any of them would go through the whole table.
    mine, given = "true", list[Any]()
    for wanted, condition in ((account, "account = "), (before or None, "id < ")):
        if wanted is not None:
            given.append(wanted)
            mine += f" AND {condition}${len(given)}"
    stretch = f"jobs WHERE {mine} ORDER BY id DESC"
    at = len(given)
    rows = await uow.sql.fetch(
        f"""SELECT {JOB_COLUMNS} FROM (SELECT * FROM {stretch} LIMIT {LOOKED_THROUGH}) AS jobs
        WHERE (cardinality(${at + 1}::text[]) = 0 OR state = ANY(${at + 1}))
            AND (cardinality(${at + 2}::text[]) = 0 OR type = ANY(${at + 2}))
        ORDER BY id DESC LIMIT ${at + 3}""",
        *given,
        list(states),
        list(types),
        limit,
    )
    found = [job_from(row) for row in rows]
    if len(found) == limit:
        return found, found[-1].id
    seen_to: str | None = await uow.sql.fetchval(
        f"SELECT id FROM {stretch} LIMIT 1 OFFSET {LOOKED_THROUGH - 1}", *given
    )
    return found, seen_to or ""


async def request_cancels(uow: UnitOfWork, ids: Sequence[str], account: str | None) -> list[str]:
    """Ask for the end of those of ``ids`` that belong to ``account`` (None = any); those that were neither over nor
    asked before, in id order."""
    rows = await uow.sql.fetch(
        """WITH mine AS MATERIALIZED (SELECT id FROM jobs WHERE id = ANY($1::text[])
            AND ($2::text IS NULL OR account = $2) AND NOT cancel_requested AND finished_at IS NULL
            ORDER BY id FOR NO KEY UPDATE)
        UPDATE jobs SET cancel_requested = true FROM mine WHERE jobs.id = mine.id RETURNING jobs.id""",
        ids,
        account,
    )
    return sorted(row[0] for row in rows)


async def visible(uow: UnitOfWork, ids: Sequence[str], account: str | None) -> set[str]:
    """Which of ``ids`` exist and belong to ``account`` (None = any)."""
    rows = await uow.sql.fetch(
        "SELECT id FROM jobs WHERE id = ANY($1::text[]) AND ($2::text IS NULL OR account = $2)", ids, account
    )
    return {row[0] for row in rows}


async def live(
    uow: UnitOfWork,
    account: str | None,
    *,
    states: Sequence[str],
    types: Sequence[str],
    created_before: datetime | None,
    schedule_id: str,
    limit: int,
) -> list[str]:
    """Ids of up to ``limit`` jobs that are not over and were not asked to end, oldest first; empty filters mean any."""
    # Whatever is not over has a signal or a timer: far fewer rows than there are jobs, which nobody goes through.
    rows = await uow.sql.fetch(
        """WITH waiting AS MATERIALIZED (SELECT DISTINCT job_id FROM signals)
        SELECT id FROM waiting CROSS JOIN LATERAL (SELECT * FROM jobs WHERE jobs.id = waiting.job_id OFFSET 0) j
        WHERE finished_at IS NULL AND NOT cancel_requested
            AND ($1::text IS NULL OR account = $1) AND (cardinality($2::text[]) = 0 OR state = ANY($2))
            AND (cardinality($3::text[]) = 0 OR type = ANY($3)) AND ($4::timestamptz IS NULL OR created_at < $4)
            AND ($5 = '' OR schedule_id = $5)
        ORDER BY id LIMIT $6""",
        account,
        list(states),
        list(types),
        created_before,
        schedule_id,
        limit,
    )
    return [row[0] for row in rows]


async def forgive(uow: UnitOfWork, errors: Mapping[str, Iterable[str]]) -> None:
    """Take the error off these jobs where it still is one of those given: a parked signal's, that is tried again."""
    pairs = sorted((job_id, error) for job_id, each in errors.items() for error in each)
    await uow.sql.execute(
        """WITH told AS (SELECT * FROM unnest($1::text[], $2::text[]) AS t(id, error)),
        mine AS MATERIALIZED (SELECT jobs.id FROM jobs JOIN told USING (id, error) WHERE finished_at IS NULL
            ORDER BY jobs.id FOR NO KEY UPDATE OF jobs)
        UPDATE jobs SET error = NULL FROM mine WHERE jobs.id = mine.id""",
        [pair[0] for pair in pairs],
        [pair[1] for pair in pairs],
    )
