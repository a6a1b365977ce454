"""What the jobs of keys with a cap cost in a UTC day: one row a key and day, locked by whoever changes it.

Rows are locked in the order of key and day, after everything else that a transaction locks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from app.store.db import UnitOfWork


async def lock(uow: UnitOfWork, key_ids: Sequence[str], day: date) -> dict[str, tuple[int, int]]:
    """``(reserved, spent)`` in base units by key, as they stand now; nobody else changes them until the commit."""
    rows = await uow.sql.fetch(
        """INSERT INTO key_spending (key_id, day)
        SELECT key_id, $2 FROM unnest($1::text[]) AS k(key_id) ORDER BY key_id
        ON CONFLICT (key_id, day) DO UPDATE SET reserved = key_spending.reserved
        RETURNING key_id, reserved, spent""",
        sorted(set(key_ids)),
        day,
    )
    return {row[0]: (row[1], row[2]) for row in rows}


async def add_reserved(uow: UnitOfWork, day: date, amounts: Mapping[str, int]) -> None:
    """Add base units to what these keys have reserved; the caller has locked their rows."""
    await uow.sql.execute(
        """UPDATE key_spending SET reserved = reserved + added FROM unnest($1::text[], $2::int8[]) AS a(key, added)
        WHERE key_id = a.key AND day = $3""",
        list(amounts),
        list(amounts.values()),
        day,
    )


async def settle(uow: UnitOfWork, ended: Sequence[tuple[str, date, int, int]]) -> None:
    """Turn the reservations of jobs that are over into what they cost: ``(key_id, day, max_cost, cost)`` each.

    To be called in the transaction whose guarded move ends the job, so that it counts once.
    """
    if not ended:
        return
    await uow.sql.execute(
        """WITH ended AS (SELECT key_id, day, sum(held)::int8 AS held, sum(cost)::int8 AS cost
            FROM unnest($1::text[], $2::date[], $3::int8[], $4::int8[]) AS e(key_id, day, held, cost)
            GROUP BY key_id, day),
        mine AS MATERIALIZED (SELECT key_id, day, ended.held, ended.cost FROM key_spending k
            JOIN ended USING (key_id, day) ORDER BY key_id, day FOR NO KEY UPDATE OF k)
        UPDATE key_spending k SET reserved = k.reserved - mine.held, spent = k.spent + mine.cost
        FROM mine WHERE k.key_id = mine.key_id AND k.day = mine.day""",
        *(list(column) for column in zip(*ended, strict=True)),
    )


async def read(uow: UnitOfWork, key_id: str, day: date) -> tuple[int, int]:
    """``(reserved, spent)`` of the key on that day, in base units."""
    row = await uow.sql.fetchrow("SELECT reserved, spent FROM key_spending WHERE key_id = $1 AND day = $2", key_id, day)
    return (0, 0) if row is None else (row[0], row[1])
