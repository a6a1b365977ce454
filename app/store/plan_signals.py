"""The inbox of the plan graph: reasons to look at plans, now or later. Waves consume them in their own commit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from app.core.plans import PlanSignalKind
from app.store.copying import copy_rows
from app.store.db import UnitOfWork

_DUE: Final = """SELECT s.id, s.plan_id FROM plan_signals s JOIN plans p ON p.id = s.plan_id
    WHERE s.parked_at IS NULL AND s.due_at <= now()"""


async def add(uow: UnitOfWork, signals: Iterable[tuple[str, PlanSignalKind, datetime | None]]) -> None:
    """Insert ``(plan_id, kind, due_at)`` rows; ``due_at`` None is now. Wakes the workers after the commit."""
    rows = [(plan_id, kind.value, at or uow.now) for plan_id, kind, at in signals]
    if rows:
        await copy_rows(uow, "plan_signals", ("plan_id", "kind", "due_at"), rows)
        uow.hints.plans.update(row[0] for row in rows)


async def claim_due(uow: UnitOfWork, limit: int) -> list[tuple[int, str]]:
    """Up to ``limit`` due signals as ``(id, plan_id)``, locked with their plans until the transaction ends.

    Signals of plans that another wave holds are passed over: they are that wave's or the next one's.
    """
    rows = await uow.sql.fetch(
        f"{_DUE} ORDER BY s.due_at, s.id LIMIT $1 FOR UPDATE OF s SKIP LOCKED FOR NO KEY UPDATE OF p SKIP LOCKED",
        limit,
    )
    return [(row[0], row[1]) for row in rows]


async def claim_of(uow: UnitOfWork, plan_id: str) -> list[tuple[int, str]]:
    """The due signals of one plan, locked with it: to run a failed wave again plan by plan."""
    rows = await uow.sql.fetch(
        f"{_DUE} AND s.plan_id = $1 ORDER BY s.id FOR UPDATE OF s SKIP LOCKED FOR NO KEY UPDATE OF p SKIP LOCKED",
        plan_id,
    )
    return [(row[0], row[1]) for row in rows]


async def consume(uow: UnitOfWork, ids: Sequence[int], finished: Sequence[str]) -> None:
    """Delete the consumed signals, and the timers left of plans that are over."""
    await uow.sql.execute("DELETE FROM plan_signals WHERE id = ANY($1::bigint[])", ids)
    if finished:
        # SKIP LOCKED: another wave may hold a late signal of such a plan; it will find nothing to do.
        await uow.sql.execute(
            """DELETE FROM plan_signals WHERE id IN
            (SELECT id FROM plan_signals WHERE plan_id = ANY($1::text[]) FOR UPDATE SKIP LOCKED)""",
            finished,
        )


async def mark_poisoned(uow: UnitOfWork, plan_id: str, error: str, *, max_tries: int, retry_s: float) -> bool:
    """Count a failed try of a plan's due signals; park them after ``max_tries``. Whether some are parked now."""
    rows = await uow.sql.fetch(
        """UPDATE plan_signals SET tries = tries + 1, error = $2,
            due_at = now() + make_interval(secs => $4::float8 * (tries + 1)),
            parked_at = CASE WHEN tries + 1 >= $3 THEN now() END
        WHERE plan_id = $1 AND parked_at IS NULL AND due_at <= now() RETURNING parked_at""",
        plan_id,
        error[:2000],
        max_tries,
        retry_s,
    )
    return any(row[0] is not None for row in rows)


async def next_due(uow: UnitOfWork) -> float | None:
    """Seconds until the earliest waiting signal is due (0 when one is due now), None when none waits."""
    seconds = await uow.sql.fetchval(
        """SELECT extract(epoch FROM due_at - clock_timestamp())::float8 FROM plan_signals
        WHERE parked_at IS NULL ORDER BY due_at LIMIT 1"""
    )
    return None if seconds is None else max(0.0, float(seconds))
