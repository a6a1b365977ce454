"""What of plans and of keys' days may be forgotten once it is old: rows that nothing counts with any more."""

from __future__ import annotations

from typing import Final

from app.store.db import UnitOfWork

_OLD_HISTORY: Final = """FROM plan_history h WHERE at < now() - make_interval(days => $1::int)
    AND NOT EXISTS (SELECT FROM plans p WHERE p.id = h.plan_id
        AND (p.finished_at IS NULL OR p.finished_at >= now() - make_interval(days => $1::int)))"""
_OLD_DAYS: Final = """FROM key_spending WHERE day < (now() AT TIME ZONE 'UTC')::date - $1::int AND reserved = 0"""


async def forget_history(uow: UnitOfWork, days: int, limit: int) -> int:
    """Delete up to ``limit`` rows of histories of plans that have been over for ``days``; how many were deleted."""
    done = await uow.sql.execute(
        f"DELETE FROM plan_history WHERE seq IN (SELECT seq {_OLD_HISTORY} ORDER BY seq LIMIT $2)", days, limit
    )
    return int(done.removeprefix("DELETE "))


async def forget_days(uow: UnitOfWork, days: int, limit: int) -> int:
    """Delete up to ``limit`` days of keys that are ``days`` past and hold nothing back; how many were deleted.

    A day whose row is being changed is left: a job that was submitted on it is ending.
    """
    done = await uow.sql.execute(
        f"""DELETE FROM key_spending WHERE (key_id, day) IN
            (SELECT key_id, day {_OLD_DAYS} ORDER BY key_id, day LIMIT $2 FOR UPDATE SKIP LOCKED)""",
        days,
        limit,
    )
    return int(done.removeprefix("DELETE "))


async def old(uow: UnitOfWork, days: int) -> int:
    """How many rows both would delete."""
    history: int = await uow.sql.fetchval(f"SELECT count(*) {_OLD_HISTORY}", days)
    spending: int = await uow.sql.fetchval(f"SELECT count(*) {_OLD_DAYS}", days)
    return history + spending
