"""How many jobs and plans there are of an account: what a list of both says beside its page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from app.store.db import UnitOfWork

COUNTED: Final = 10_000
"""Of each kind, no more than that are counted."""


async def count(uow: UnitOfWork, account: str | None, job_states: Sequence[str], plan_states: Sequence[str]) -> int:
    """Jobs and plans of the account (None = of all) in these states, up to COUNTED of each."""
    found: int = await uow.sql.fetchval(
        f"""SELECT (SELECT count(*) FROM (SELECT FROM jobs WHERE ($1::text IS NULL OR account = $1)
                AND state = ANY($2::text[]) LIMIT {COUNTED}) AS j)
            + (SELECT count(*) FROM (SELECT FROM plans WHERE ($1::text IS NULL OR account = $1)
                AND state = ANY($3::text[]) LIMIT {COUNTED}) AS p)""",
        account,
        list(job_states),
        list(plan_states),
    )
    return found
