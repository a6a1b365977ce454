"""The agent_runs table: runs of the agent graph, each of one server process, whose lease on it tells that it lives.

States: pending → running → success | error | interrupted, and pending → interrupted | error. The process that has a
run moves it; only to ``error`` may anybody, once the lease is over. Every move names the states it is from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.store.db import UnitOfWork
from app.store.rows import to_json

UNDER_WAY = ("pending", "running")


@dataclass(frozen=True, slots=True)
class RunMark:
    """What those who wait for a run look at: it differs whenever the run has changed."""

    status: str
    cancel_requested: bool
    changed_at: datetime | None

    @property
    def over(self) -> bool:
        return self.status not in UNDER_WAY


GONE = RunMark("gone", False, None)
"""Of a run that was deleted."""


@dataclass(slots=True)
class RunRow:
    """A run. ``thread_id``: None of a run alone. ``request``: what was asked for; ``output``: how far it has come, None
    before it starts; ``error``: why it ended in error or was interrupted."""

    id: str
    thread_id: str | None
    account: str
    key_id: str
    status: str
    request: dict[str, Any]
    output: dict[str, Any] | None
    error: str | None
    cancel_requested: bool
    created_at: datetime
    updated_at: datetime

    @property
    def mark(self) -> RunMark:
        return RunMark(self.status, self.cancel_requested, self.updated_at)

    @property
    def over(self) -> bool:
        return self.status not in UNDER_WAY


_COLUMNS = ", ".join(RunRow.__dataclass_fields__)
_UNDER_WAY = "status IN ('pending', 'running')"


async def insert(uow: UnitOfWork, row: RunRow, lease_s: float) -> RunRow:
    """Add a pending run; the row as it is now. Its place among the runs of a locked thread is the last."""
    found = await uow.sql.fetchrow(
        f"""INSERT INTO agent_runs
            (id, thread_id, account, key_id, status, request, lease_until, created_at, updated_at)
        SELECT $1, $2, $3, $4, 'pending', $5, moment + make_interval(secs => $6), moment, moment
        FROM (SELECT clock_timestamp() AS moment) clock RETURNING {_COLUMNS}""",
        row.id,
        row.thread_id,
        row.account,
        row.key_id,
        to_json(row.request),
        lease_s,
    )
    return RunRow(*found.values())


async def get(uow: UnitOfWork, run_id: str, account: str) -> RunRow | None:
    row = await uow.sql.fetchrow(f"SELECT {_COLUMNS} FROM agent_runs WHERE id = $1 AND account = $2", run_id, account)
    return None if row is None else RunRow(*row.values())


async def of_thread(
    uow: UnitOfWork, thread_id: str, status: str = "", limit: int = 10, offset: int = 0
) -> list[RunRow]:
    """Runs of a thread, newest first, with this status (empty = any)."""
    rows = await uow.sql.fetch(
        f"""SELECT {_COLUMNS} FROM agent_runs WHERE thread_id = $1 AND ($2 = '' OR status = $2)
        ORDER BY created_at DESC, id DESC LIMIT $3 OFFSET $4""",
        thread_id,
        status,
        limit,
        offset,
    )
    return [RunRow(*row.values()) for row in rows]


async def started(uow: UnitOfWork, thread_id: str, limit: int, before: datetime | None = None) -> list[RunRow]:
    """Runs of a thread that have started, newest first, those added before ``before`` (None = any)."""
    rows = await uow.sql.fetch(
        f"""SELECT {_COLUMNS} FROM agent_runs WHERE thread_id = $1 AND output IS NOT NULL
        AND ($3::timestamptz IS NULL OR created_at < $3) ORDER BY created_at DESC, id DESC LIMIT $2""",
        thread_id,
        limit,
        before,
    )
    return [RunRow(*row.values()) for row in rows]


async def under_way(uow: UnitOfWork, thread_id: str) -> list[str]:
    """Ids of the runs of a thread that are not over, oldest first."""
    rows = await uow.sql.fetch(
        f"SELECT id FROM agent_runs WHERE thread_id = $1 AND {_UNDER_WAY} ORDER BY created_at, id", thread_id
    )
    return [row[0] for row in rows]


async def under_way_of(uow: UnitOfWork, account: str, status: str = "") -> list[str]:
    """Ids of the runs of an account that are not over, with this status (empty = any)."""
    rows = await uow.sql.fetch(
        f"SELECT id FROM agent_runs WHERE account = $1 AND {_UNDER_WAY} AND ($2 = '' OR status = $2) ORDER BY id",
        account,
        status,
    )
    return [row[0] for row in rows]


async def bury(uow: UnitOfWork, run_ids: Sequence[str], thread_id: str | None, error: str) -> None:
    """End in ``error`` those of these runs, and of the thread's, whose server died; others may do so at once."""
    await uow.sql.execute(
        f"""UPDATE agent_runs r SET status = 'error', error = $3, updated_at = clock_timestamp() FROM
        (SELECT id FROM agent_runs WHERE (id = ANY($1::text[]) OR thread_id = $2) AND {_UNDER_WAY}
            AND lease_until < clock_timestamp() ORDER BY id FOR UPDATE SKIP LOCKED) dead
        WHERE r.id = dead.id""",
        list(run_ids),
        thread_id,
        error,
    )


async def start(uow: UnitOfWork, run_id: str, output: dict[str, Any]) -> bool:
    """pending → running. False when it is over, was cancelled, or an earlier run of its thread is not over.

    To be repeated where the commit got no answer: a run that has just been started is started once more.
    """
    found = await uow.sql.fetchval(
        f"""UPDATE agent_runs r SET status = 'running', output = $2, updated_at = clock_timestamp()
        WHERE id = $1 AND {_UNDER_WAY} AND NOT cancel_requested AND NOT EXISTS (
            SELECT FROM agent_runs earlier WHERE earlier.thread_id = r.thread_id AND earlier.{_UNDER_WAY}
            AND (earlier.created_at, earlier.id) < (r.created_at, r.id))
        RETURNING id""",
        run_id,
        to_json(output),
    )
    return found is not None


async def save(uow: UnitOfWork, run_id: str, output: dict[str, Any]) -> bool:
    """Write how far a run has come. False when it is not running any more."""
    found = await uow.sql.fetchval(
        """UPDATE agent_runs SET output = $2, updated_at = clock_timestamp() WHERE id = $1 AND status = 'running'
        RETURNING id""",
        run_id,
        to_json(output),
    )
    return found is not None


async def finish(
    uow: UnitOfWork, run_id: str, status: str, output: dict[str, Any] | None, error: str | None
) -> dict[str, Any] | None:
    """End a run; its request. None when it was over already, or is gone."""
    found: dict[str, Any] | None = await uow.sql.fetchval(
        f"""UPDATE agent_runs SET status = $2, output = $3, error = $4, updated_at = clock_timestamp()
        WHERE id = $1 AND {_UNDER_WAY} RETURNING request""",
        run_id,
        status,
        None if output is None else to_json(output),
        error,
    )
    return found


async def request_cancel(uow: UnitOfWork, run_ids: Sequence[str], account: str, *, rollback: bool) -> list[str]:
    """Have those of these runs that are not over cancelled by the processes that have them; their ids."""
    rows = await uow.sql.fetch(
        f"""UPDATE agent_runs r SET cancel_requested = true, updated_at = clock_timestamp(),
            request = CASE WHEN $3 THEN (r.request::jsonb || '{{"rollback": true}}')::json ELSE r.request END
        FROM (SELECT id FROM agent_runs WHERE id = ANY($1::text[]) AND account = $2 AND {_UNDER_WAY}
            ORDER BY id FOR UPDATE) wanted
        WHERE r.id = wanted.id RETURNING r.id""",
        list(run_ids),
        account,
        rollback,
    )
    return [row[0] for row in rows]


async def renew(uow: UnitOfWork, run_ids: Sequence[str], lease_s: float) -> None:
    """Prolong the lease on runs that are not over."""
    await uow.sql.execute(
        f"""UPDATE agent_runs r SET lease_until = clock_timestamp() + make_interval(secs => $2) FROM
        (SELECT id FROM agent_runs WHERE id = ANY($1::text[]) AND {_UNDER_WAY} ORDER BY id FOR UPDATE) mine
        WHERE r.id = mine.id""",
        list(run_ids),
        lease_s,
    )


async def marks(uow: UnitOfWork, run_ids: Sequence[str]) -> dict[str, RunMark]:
    """The marks of runs, GONE of those that are not there."""
    rows = await uow.sql.fetch(
        "SELECT id, status, cancel_requested, updated_at FROM agent_runs WHERE id = ANY($1::text[])", list(run_ids)
    )
    found = {row[0]: RunMark(row[1], row[2], row[3]) for row in rows}
    return {run_id: found.get(run_id, GONE) for run_id in run_ids}


async def delete(uow: UnitOfWork, run_id: str) -> bool:
    """Delete a run that is over; whether there was one."""
    found = await uow.sql.fetchval(f"DELETE FROM agent_runs WHERE id = $1 AND NOT {_UNDER_WAY} RETURNING id", run_id)
    return found is not None


async def prune(uow: UnitOfWork, keep_s: float, limit: int) -> int:
    """Delete runs alone that began longer than ``keep_s`` ago and are over; how many."""
    rows = await uow.sql.fetch(
        f"""DELETE FROM agent_runs WHERE id IN (SELECT id FROM agent_runs WHERE thread_id IS NULL
            AND created_at < clock_timestamp() - make_interval(secs => $1) AND NOT {_UNDER_WAY}
            ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING id""",
        keep_s,
        limit,
    )
    return len(rows)
