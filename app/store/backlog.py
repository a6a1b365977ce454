"""The backlog: jobs that wait for slots, as the timers that hold their ranks. Whose turn it is to
count what a key holds and has waiting (app/store/counts.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.store.db import UnitOfWork

SCANNED: Final = 1024
"""Waiting jobs looked at in one pull, from the front and as many from further back."""

Place = tuple[datetime, int]
"""Where in the backlog: rank, and the signal's id among equals."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """``signals`` as ``(id, job_id, kind)``, locked. ``seen_to``: where the look ended, None at the backlog's end."""

    signals: list[tuple[int, str, str]]
    seen_to: Place | None


async def pull(uow: UnitOfWork, limit: int, after: Place | None) -> Pulled:
    """Lock up to ``limit`` timers of waiting jobs, most urgent first, whether due or not; those held elsewhere are
    skipped.

    Jobs alike, of one key with the same requirements, take turns with the others: a thousand that wait for one kind of
    node hide nobody who waits for another. Looks at the front, and at a stretch behind ``after``, where the last look
    ended.
    """
    rows = await uow.sql.fetch(_PULL, SCANNED, after[0] if after else None, after[1] if after else 0, limit)
    if not rows or rows[0][3] is None:
        return Pulled([], None)
    seen_to = (rows[0][3], rows[0][4]) if rows[0][5] >= SCANNED else None
    return Pulled([(row[0], row[1], row[2]) for row in rows if row[0] is not None], seen_to)


_WAITS = "rank_at IS NOT NULL AND parked_at IS NULL"
_ALIKE = "j.key_id, j.gpu_models, j.gpus, j.min_vram_gb, j.capabilities, j.region, j.min_reputation, j.max_price"
_PULL = f"""
    WITH front AS MATERIALIZED (SELECT id, job_id, rank_at FROM signals WHERE {_WAITS}
        ORDER BY rank_at, id LIMIT $1),
    back AS MATERIALIZED (SELECT id, job_id, rank_at FROM signals
        WHERE {_WAITS} AND $2::timestamptz IS NOT NULL AND (rank_at, id) > ($2, $3::bigint)
        ORDER BY rank_at, id LIMIT $1),
    stretch AS MATERIALIZED (SELECT * FROM back UNION ALL SELECT * FROM front WHERE $2 IS NULL),
    turns AS (SELECT s.id, s.rank_at, row_number() OVER (PARTITION BY {_ALIKE} ORDER BY s.rank_at, s.id) AS turn
        FROM (SELECT * FROM front UNION SELECT * FROM back) s JOIN jobs j ON j.id = s.job_id),
    chosen AS (SELECT id FROM turns ORDER BY turn, rank_at, id LIMIT $4),
    held AS (SELECT signals.id, job_id, kind FROM signals JOIN chosen USING (id) WHERE {_WAITS}
        FOR UPDATE OF signals SKIP LOCKED),
    seen AS (SELECT (SELECT count(*) FROM stretch) AS count, rank_at, id FROM stretch
        ORDER BY rank_at DESC, id DESC LIMIT 1)
    SELECT held.id, held.job_id, held.kind, seen.rank_at, seen.id, seen.count FROM seen LEFT JOIN held ON true"""


async def lock_held(uow: UnitOfWork, key_ids: Sequence[str]) -> None:
    """Have waves that place jobs of these keys take turns, until the transaction ends.

    To be taken after all row locks that are waited for, and with nothing waited for afterwards.
    """
    await _lock(uow, key_ids, "held")


async def lock_waiting(uow: UnitOfWork, key_ids: Sequence[str]) -> None:
    """Have submissions under these keys take turns, until the transaction ends."""
    await _lock(uow, key_ids, "waiting")


async def _lock(uow: UnitOfWork, key_ids: Sequence[str], space: str) -> None:
    # In key order: two that name the same keys in other orders would wait for each other for ever.
    await uow.sql.fetch(
        """SELECT pg_advisory_xact_lock(hashtextextended($2 || ' ' || key_id, 0))
        FROM unnest($1::text[]) AS given(key_id)""",
        sorted(set(key_ids)),
        space,
    )
