"""The signals inbox: reasons to look at jobs, now or later. Waves consume them in their own commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from app.core.events import SignalKind
from app.store.copying import copy_rows
from app.store.db import UnitOfWork


class Share(Enum):
    """Which signals: of jobs that want a node, of those that have one, or all."""

    ALL = auto()
    PLACING = auto()
    FOLLOWING = auto()


_UNRANKED: Mapping[str, datetime] = {}


async def add(
    uow: UnitOfWork,
    signals: Iterable[tuple[str, SignalKind, datetime | None]],
    *,
    wake: bool = True,
    ranks: Mapping[str, datetime] = _UNRANKED,
) -> None:
    """Insert ``(job_id, kind, due_at)`` rows; ``due_at`` None is now. Wakes the workers after the commit.

    ``ranks``: by job id, of the jobs that wait for slots: puts their match_due timers into the backlog.
    """
    rows = list(signals)
    if not rows:
        return
    due = [
        (job_id, kind.value, at or uow.now, ranks.get(job_id) if kind is SignalKind.MATCH_DUE else None)
        for job_id, kind, at in rows
    ]
    await copy_rows(uow, "signals", ("job_id", "kind", "due_at", "rank_at"), due)
    if wake:
        uow.hints.work = True


async def claim_due(uow: UnitOfWork, limit: int, share: Share = Share.ALL) -> list[tuple[int, str, str]]:
    """Up to ``limit`` due signals as ``(id, job_id, kind)``, locked until the transaction ends; others skip them."""
    # By now(), as all of the wave's decisions: a timer claimed a moment early would find nothing due, and be consumed.
    rows = await uow.sql.fetch(
        f"""SELECT id, job_id, kind FROM signals
        WHERE parked_at IS NULL AND due_at <= now() {_OF_SHARE[share]}
        ORDER BY due_at, id LIMIT $1 FOR UPDATE SKIP LOCKED""",
        limit,
    )
    return [(row[0], row[1], row[2]) for row in rows]


_WANT_A_NODE = "('submitted', 'match_due', 'start_due')"
_OF_SHARE = {
    Share.ALL: "",
    Share.PLACING: f"AND kind IN {_WANT_A_NODE}",
    Share.FOLLOWING: f"AND kind NOT IN {_WANT_A_NODE}",
}


async def claim_ids(uow: UnitOfWork, ids: Sequence[int]) -> list[tuple[int, str, str]]:
    """The signals of ``ids`` that still wait, locked: to run a failed wave again in halves."""
    rows = await uow.sql.fetch(
        """SELECT id, job_id, kind FROM signals WHERE id = ANY($1::bigint[]) AND parked_at IS NULL
        ORDER BY due_at, id FOR UPDATE SKIP LOCKED""",
        ids,
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def consume(uow: UnitOfWork, ids: Sequence[int], finished_jobs: Sequence[str]) -> None:
    """Delete the consumed signals, and the timers left of jobs that are over.

    What the chain says of a job may come as the wave runs that ends it, and matters afterwards: it is left.
    """
    await uow.sql.execute("DELETE FROM signals WHERE id = ANY($1::bigint[])", ids)
    if finished_jobs:
        # SKIP LOCKED: another wave may hold a late signal of such a job; it will find nothing to do.
        await uow.sql.execute(
            """DELETE FROM signals WHERE id IN (SELECT id FROM signals
                WHERE job_id = ANY($1::text[]) AND kind NOT LIKE 'chain%' FOR UPDATE SKIP LOCKED)""",
            finished_jobs,
        )


async def drop_timers(uow: UnitOfWork, job_ids: Sequence[str]) -> None:
    """Delete the timers of these jobs: a caller that sets a new one needs no other."""
    if job_ids:
        await uow.sql.execute(
            """DELETE FROM signals WHERE id IN
            (SELECT id FROM signals WHERE job_id = ANY($1::text[]) AND parked_at IS NULL
                AND kind IN ('match_due', 'offer_expired', 'deadline') FOR UPDATE SKIP LOCKED)""",
            job_ids,
        )


async def mark_poisoned(uow: UnitOfWork, ids: Sequence[int], error: str, *, max_tries: int, retry_s: float) -> bool:
    """Count a failed try; park the signals after ``max_tries``. Returns whether they are parked now.

    They leave the backlog: their next try is by their own time, not by what becomes free.
    """
    rows = await uow.sql.fetch(
        """UPDATE signals SET tries = tries + 1, error = $2,
            due_at = now() + make_interval(secs => $4::float8 * (tries + 1)), rank_at = NULL,
            parked_at = CASE WHEN tries + 1 >= $3 THEN now() END
        WHERE id = ANY($1::bigint[]) RETURNING parked_at""",
        ids,
        error[:2000],
        max_tries,
        retry_s,
    )
    return any(row[0] is not None for row in rows)


async def next_due(uow: UnitOfWork) -> float | None:
    """Seconds until the earliest waiting signal is due (0 when one is due now), None when none waits."""
    seconds = await uow.sql.fetchval(
        """SELECT extract(epoch FROM due_at - clock_timestamp())::float8 FROM signals
        WHERE parked_at IS NULL ORDER BY due_at LIMIT 1"""
    )
    return None if seconds is None else max(0.0, float(seconds))


@dataclass(frozen=True, slots=True)
class ParkedJob:
    """A job with parked signals. ``tries``: of the signal with the most; ``error``: of the one parked last; ``since``:
    when the first was."""

    job_id: str
    account: str
    type: str
    state: str
    signals: int
    tries: int
    error: str
    since: datetime


@dataclass(frozen=True, slots=True)
class SignalRow:
    """A signal as it waits, or is parked."""

    id: int
    kind: str
    due_at: datetime
    tries: int
    error: str | None
    parked_at: datetime | None


async def parked(uow: UnitOfWork, before: str, limit: int) -> list[ParkedJob]:
    """Jobs with parked signals, newest first, with ids below ``before`` (empty = from the top)."""
    rows = await uow.sql.fetch(
        """SELECT j.id, j.account, j.type, j.state, count(*), max(s.tries),
            (array_agg(coalesce(s.error, '') ORDER BY s.parked_at DESC))[1], min(s.parked_at)
        FROM signals s JOIN jobs j ON j.id = s.job_id
        WHERE s.parked_at IS NOT NULL AND ($1 = '' OR j.id < $1) GROUP BY j.id ORDER BY j.id DESC LIMIT $2""",
        before,
        limit,
    )
    return [ParkedJob(*row) for row in rows]


async def of_job(uow: UnitOfWork, job_id: str) -> list[SignalRow]:
    """All signals of a job, by their ids."""
    rows = await uow.sql.fetch(
        "SELECT id, kind, due_at, tries, error, parked_at FROM signals WHERE job_id = $1 ORDER BY id", job_id
    )
    return [SignalRow(*row) for row in rows]


async def unpark(uow: UnitOfWork, job_ids: Sequence[str] | None, limit: int) -> dict[str, set[str]]:
    """Have up to ``limit`` parked signals of these jobs (None = of all) tried again at once, as if for the first time.

    The jobs, each with the errors that its signals were parked with.
    """
    rows = await uow.sql.fetch(
        """WITH found AS MATERIALIZED (SELECT id, job_id, error FROM signals
            WHERE parked_at IS NOT NULL AND ($1::text[] IS NULL OR job_id = ANY($1))
            ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED)
        UPDATE signals SET parked_at = NULL, tries = 0, error = NULL, due_at = now() FROM found
        WHERE signals.id = found.id RETURNING found.job_id, coalesce(found.error, '')""",
        job_ids,
        limit,
    )
    if rows:
        uow.hints.work = True
    errors: dict[str, set[str]] = {}
    for job_id, error in rows:
        errors.setdefault(job_id, set()).add(error)
    return errors
