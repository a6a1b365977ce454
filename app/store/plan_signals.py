"""The inbox of the plan graph: reasons to look at plans, now or later. Waves consume them in their own commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


_LOCKED: Final = "FOR UPDATE OF s SKIP LOCKED FOR NO KEY UPDATE OF p SKIP LOCKED"


async def claim_due(
    uow: UnitOfWork, limit: int, most_units: int, most_bytes: int
) -> tuple[list[tuple[int, str]], bool]:
    """Up to ``limit`` due signals as ``(id, plan_id)``, locked with their plans until the transaction ends; whether
    plans that are due were left out.

    The plans come to ``most_units`` units and ``most_bytes`` of requests, as they are stored, at most: the one that is
    due first is among them, others as far as they fit; the rest is for other workers and the next wave. Signals of
    plans that another wave holds are passed over: they are that wave's or the next one's.
    """
    turn = uow.sql.transaction()
    await turn.start()
    rows = await uow.sql.fetch(f"{_DUE} ORDER BY s.due_at, s.id LIMIT $1 {_LOCKED}", limit)
    due = list(dict.fromkeys(row[1] for row in rows))
    fitting = _fitting(due, await _sizes(uow, due), most_units, most_bytes) if len(due) > 1 else due
    if len(fitting) == len(due):
        await turn.commit()
        return [(row[0], row[1]) for row in rows], len(rows) == limit
    # Back to before the locks, so that nobody waits with the others for this wave.
    await turn.rollback()
    return await claim_of(uow, fitting), True


def _fitting(due: Sequence[str], sizes: Mapping[str, tuple[int, int]], most_units: int, most_bytes: int) -> list[str]:
    fitting = list(due[:1])
    units, size = sizes.get(due[0], (0, 0))
    for plan_id in due[1:]:
        own = sizes.get(plan_id, (0, 0))
        if units + own[0] <= most_units and size + own[1] <= most_bytes:
            units, size = units + own[0], size + own[1]
            fitting.append(plan_id)
    return fitting


async def _sizes(uow: UnitOfWork, plan_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """``(units, bytes)`` of plans: told by the last unit's number and by the row, without reading either."""
    rows = await uow.sql.fetch(
        """SELECT id, coalesce((SELECT max(number) + 1 FROM plan_units u WHERE u.plan_id = p.id), 0),
            pg_column_size(request) FROM plans p WHERE id = ANY($1::text[])""",
        plan_ids,
    )
    return {row[0]: (row[1], row[2]) for row in rows}


async def claim_of(uow: UnitOfWork, plan_ids: Sequence[str]) -> list[tuple[int, str]]:
    """The due signals of these plans, locked with them; those that another wave holds are passed over."""
    rows = await uow.sql.fetch(f"{_DUE} AND s.plan_id = ANY($1::text[]) ORDER BY s.id {_LOCKED}", plan_ids)
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
