"""What the planted bug `unguarded_rescuer` does: put jobs back into the queue on the strength of an old look."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

PAUSE_S = 0.05
"""Between two jobs, so as not to burden the database."""

_TAKE = """WITH freed AS (UPDATE offers SET holds_slots = false, decided_at = coalesce(decided_at, now())
        WHERE job_id = $1 AND holds_slots RETURNING node_id, slots),
    given AS (UPDATE nodes SET active_jobs = active_jobs - freed.slots, version = version + 1,
        changed_in = pg_current_xact_id()::text::bigint FROM freed WHERE nodes.id = freed.node_id RETURNING 1)
    UPDATE jobs SET state = 'pending', reason = 'lease_lost', attempt = attempt + 1, failures = failures + 1,
        version = version + 1, match_tries = 0, node_id = NULL, offer_id = NULL, price = NULL, assigned_at = NULL,
        started_at = NULL, finished_at = NULL, cancel_by = NULL, cost = NULL, settlement = 'none',
        expires_at = now() + make_interval(secs => queue_ttl_s)
    FROM (SELECT (SELECT count(*) FROM given)) AS written
    WHERE id = $1 RETURNING account, type, attempt - 1, history_head, key_id, gpus"""


async def take_back(db: Any, job_ids: Sequence[str]) -> None:
    """Requeue jobs that have lost their leases: looked at together, taken back one by one, not looked at again."""
    async with db.unit() as uow:
        seen = await uow.sql.fetch("SELECT id, state, node_id FROM jobs WHERE id = ANY($1::text[])", list(job_ids))
    for job_id, state, node_id in seen:
        await _take(db, job_id, state, node_id)
        await asyncio.sleep(PAUSE_S)


async def _take(db: Any, job_id: str, state: str, node_id: str | None) -> None:
    from app.core.events import EventKind, Reason, SignalKind
    from app.core.jobs import Move
    from app.core.states import JobState
    from app.store import counts, events, signals

    async with db.unit() as uow:
        account, kind, attempt, head, key_id, gpus = await uow.sql.fetchrow(_TAKE, job_id)
        move = Move(job_id, JobState(state), JobState.PENDING, attempt, Reason.LEASE_LOST, "sweeper", node_id)
        heads = await events.add_history(uow, [move], {job_id: head})
        await uow.sql.execute("UPDATE jobs SET history_head = $2 WHERE id = $1", job_id, heads[job_id])
        told = {"job_id": job_id, "type": kind, "state": "pending", "attempt": attempt, "reason": "lease_lost"}
        await events.add(uow, [events.NewEvent(EventKind.JOB_REQUEUED, told, account, job_id, node_id)])
        tally = counts.Tally()
        tally.move(key_id, gpus, JobState(state), JobState.PENDING)
        await counts.add(uow, tally)
        await signals.add(uow, [(job_id, SignalKind.MATCH_DUE, None)])
