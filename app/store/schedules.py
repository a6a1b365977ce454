"""The schedules table: jobs that are submitted again and again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.store.db import UnitOfWork
from app.store.rows import to_json


@dataclass(slots=True)
class ScheduleRow:
    """A schedule. ``request``: the job as its agent asked for it; ``cron`` in ``timezone``; ``overlap``: allow or skip.

    ``next_at``: when it is due, None while paused or at an end. ``runs``: jobs made, the last one of them
    ``last_job_id`` for ``last_at``; ``skipped``: times without one because of ``overlap``; ``error``: why the last time
    made none.
    """

    id: str
    account: str
    key_id: str
    name: str
    cron: str
    timezone: str
    overlap: str
    request: dict[str, Any]
    paused: bool
    next_at: datetime | None
    created_at: datetime
    runs: int = 0
    skipped: int = 0
    error: str | None = None
    last_at: datetime | None = None
    last_job_id: str | None = None


_COLUMNS = ", ".join(ScheduleRow.__dataclass_fields__)


@asynccontextmanager
async def savepoint(uow: UnitOfWork) -> AsyncIterator[None]:
    """What the block writes is undone alone when it raises; the transaction goes on."""
    async with uow.sql.transaction():
        yield


async def insert(uow: UnitOfWork, row: ScheduleRow) -> None:
    """Insert a schedule; its id must be new."""
    await uow.sql.execute(
        """INSERT INTO schedules (id, account, key_id, name, cron, timezone, overlap, request, paused, next_at,
            created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)""",
        row.id,
        row.account,
        row.key_id,
        row.name,
        row.cron,
        row.timezone,
        row.overlap,
        to_json(row.request),
        row.paused,
        row.next_at,
        row.created_at,
    )


async def count(uow: UnitOfWork, account: str) -> int:
    """How many schedules the account has."""
    found: int = await uow.sql.fetchval("SELECT count(*) FROM schedules WHERE account = $1", account)
    return found


async def get(uow: UnitOfWork, schedule_id: str, account: str | None, *, lock: bool = False) -> ScheduleRow | None:
    """A schedule of ``account`` (None = of any), locked until the transaction ends if so wanted."""
    row = await uow.sql.fetchrow(
        f"""SELECT {_COLUMNS} FROM schedules WHERE id = $1 AND ($2::text IS NULL OR account = $2)
        {"FOR UPDATE" if lock else ""}""",
        schedule_id,
        account,
    )
    return None if row is None else ScheduleRow(*row.values())


async def page(uow: UnitOfWork, account: str | None, before: str, limit: int) -> list[ScheduleRow]:
    """Schedules of ``account`` (None = of any), newest first, with ids below ``before`` (empty = from the top)."""
    rows = await uow.sql.fetch(
        f"""SELECT {_COLUMNS} FROM schedules WHERE ($1::text IS NULL OR account = $1) AND ($2 = '' OR id < $2)
        ORDER BY id DESC LIMIT $3""",
        account,
        before,
        limit,
    )
    return [ScheduleRow(*row.values()) for row in rows]


async def change(uow: UnitOfWork, row: ScheduleRow) -> None:
    """Write what agents may change of a schedule that the caller has locked."""
    await uow.sql.execute(
        """UPDATE schedules SET name = $2, cron = $3, timezone = $4, overlap = $5, request = $6, paused = $7,
            next_at = $8, error = $9 WHERE id = $1""",
        row.id,
        row.name,
        row.cron,
        row.timezone,
        row.overlap,
        to_json(row.request),
        row.paused,
        row.next_at,
        row.error,
    )


async def delete(uow: UnitOfWork, schedule_id: str, account: str | None) -> bool:
    """Delete a schedule of ``account`` (None = of any). False when there is none."""
    found = await uow.sql.fetchval(
        "DELETE FROM schedules WHERE id = $1 AND ($2::text IS NULL OR account = $2) RETURNING id", schedule_id, account
    )
    return found is not None


async def lock_due(uow: UnitOfWork, limit: int) -> list[ScheduleRow]:
    """Up to ``limit`` schedules that are due, locked until the transaction ends; others skip them."""
    rows = await uow.sql.fetch(
        f"""SELECT {_COLUMNS} FROM schedules WHERE next_at <= now()
        ORDER BY next_at LIMIT $1 FOR UPDATE SKIP LOCKED""",
        limit,
    )
    return [ScheduleRow(*row.values()) for row in rows]


async def save_fired(uow: UnitOfWork, rows: Sequence[ScheduleRow]) -> None:
    """Write what became of due schedules that the caller has locked."""
    await uow.sql.executemany(
        """UPDATE schedules SET next_at = $2, runs = $3, skipped = $4, error = $5, last_at = $6, last_job_id = $7
        WHERE id = $1""",
        [(row.id, row.next_at, row.runs, row.skipped, row.error, row.last_at, row.last_job_id) for row in rows],
    )
