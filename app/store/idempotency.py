"""Idempotency keys: which job a key made, kept in the transaction that made it."""

from __future__ import annotations

from collections.abc import Sequence

from app.store.db import UnitOfWork


async def claim(uow: UnitOfWork, rows: Sequence[tuple[str, str, str, str]]) -> dict[tuple[str, str], tuple[str, str]]:
    """Claim ``(account, key, digest, job_id)``; returns ``{(account, key): (digest, job_id)}`` of those taken before.

    Waits for a transaction that is just claiming the same key, so that two equal requests make one job.
    """
    if not rows:
        return {}
    # In key order: two batches with the same keys in other orders would wait for each other.
    ordered = sorted(rows)
    mine = await uow.sql.fetch(
        """INSERT INTO idempotency_keys (account, key, digest, job_id)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
        ON CONFLICT DO NOTHING RETURNING account, key""",
        [row[0] for row in ordered],
        [row[1] for row in ordered],
        [row[2] for row in ordered],
        [row[3] for row in ordered],
    )
    won = {(row[0], row[1]) for row in mine}
    lost = [row for row in ordered if (row[0], row[1]) not in won]
    if not lost:
        return {}
    taken = await uow.sql.fetch(
        """SELECT k.account, k.key, k.digest, k.job_id FROM idempotency_keys k
        JOIN unnest($1::text[], $2::text[]) AS a(account, key) USING (account, key)""",
        [row[0] for row in lost],
        [row[1] for row in lost],
    )
    return {(row[0], row[1]): (row[2], row[3]) for row in taken}


async def release(uow: UnitOfWork, rows: Sequence[tuple[str, str, str]]) -> None:
    """Forget ``(account, key, job_id)`` that the caller's transaction claimed for jobs that it does not make."""
    if rows:
        await uow.sql.execute(
            """DELETE FROM idempotency_keys WHERE (account, key, job_id) IN
            (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]))""",
            *(list(column) for column in zip(*rows, strict=True)),
        )


async def forget(uow: UnitOfWork, older_than_s: float, limit: int = 1000) -> int:
    """Drop keys older than that; how many went."""
    done: str = await uow.sql.execute(
        """DELETE FROM idempotency_keys WHERE ctid = ANY(ARRAY(SELECT ctid FROM idempotency_keys
            WHERE created_at < now() - make_interval(secs => $1)
            ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED))""",
        float(older_than_s),
        limit,
    )
    return int(done.split()[-1])
