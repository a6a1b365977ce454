"""How many jobs are in which state: kept as changes, written with the moves they tell of: nobody counts jobs."""

from __future__ import annotations

from collections.abc import Mapping

from app.core.states import JobState
from app.store.db import UnitOfWork


async def add(uow: UnitOfWork, changes: Mapping[JobState, int], run_ms: int = 0, paid: int = 0) -> None:
    """Note that so many jobs came into (+) or left (-) each state.

    ``run_ms`` and ``paid``: of those that were completed, how long they ran together, and their cost in base units.
    """
    rows = [(state, change) for state, change in changes.items() if change]
    if rows:
        await uow.sql.execute(
            """INSERT INTO job_counts (state, change, run_ms, paid)
            SELECT state, change, CASE WHEN state = 'completed' THEN $3::int8 ELSE 0 END,
                CASE WHEN state = 'completed' THEN $4::numeric ELSE 0 END
            FROM unnest($1::text[], $2::int8[]) AS c(state, change)""",
            [state.value for state, _ in rows],
            [change for _, change in rows],
            run_ms,
            paid,
        )
