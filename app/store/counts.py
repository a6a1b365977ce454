"""How many jobs are in which state, and what each API key has waiting and holds: kept as changes, written with the
moves they tell of. Nobody counts jobs, and nobody waits for a counter that others write to.

The sum of all rows is the truth at any moment; a fold merges them, so that there are never many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from app.core.states import JOB_FINAL, JOB_ON_NODE, JobState
from app.store.db import UnitOfWork

FOLDED_AT_ONCE: Final = 10_000
_WAITING: Final = ("blocked", "scheduled", "pending")


@dataclass(slots=True)
class Tally:
    """What a transaction changes about the counts."""

    jobs: dict[tuple[JobState, str], int] = field(default_factory=dict)
    slots: dict[tuple[JobState, str], int] = field(default_factory=dict)
    run_ms: int = 0
    paid: int = 0

    def move(self, key_id: str, slots: int, source: JobState | None, target: JobState) -> None:
        """Note that a job of this key, which takes so many slots, came from ``source`` (None = it is new) to
        ``target``."""
        if source is not None:
            self._change(key_id, slots, source, -1)
        self._change(key_id, slots, target, 1)

    def complete(self, run_ms: int, cost: int) -> None:
        """Note of a job that was completed how long it ran, and its cost in base units."""
        self.run_ms += run_ms
        self.paid += cost

    def _change(self, key_id: str, slots: int, state: JobState, sign: int) -> None:
        # Of jobs that are over nobody asks whose they were: a row for each key would stay for ever.
        key = (state, "" if state in JOB_FINAL else key_id)
        self.jobs[key] = self.jobs.get(key, 0) + sign
        if state in JOB_ON_NODE:
            self.slots[key] = self.slots.get(key, 0) + sign * slots


@dataclass(frozen=True, slots=True)
class Counts:
    """``jobs`` by state; of those that were completed ``run_ms``, how long they ran, and ``paid``, what they cost in
    base units."""

    jobs: dict[str, int]
    run_ms: int
    paid: int


async def add(uow: UnitOfWork, tally: Tally) -> None:
    """Write the changes that this transaction makes."""
    changed = {key: (change, tally.slots.get(key, 0)) for key, change in tally.jobs.items()}
    rows = [(*key, *change, 0, 0) for key, change in changed.items() if change != (0, 0)]
    if tally.run_ms or tally.paid:
        rows.append((JobState.COMPLETED, "", 0, 0, tally.run_ms, tally.paid))
    if rows:
        await uow.sql.execute(
            """INSERT INTO job_counts (state, key_id, change, slots, run_ms, paid) SELECT * FROM
            unnest($1::text[], $2::text[], $3::int8[], $4::int8[], $5::int8[], $6::numeric[])""",
            *(list(column) for column in zip(*rows, strict=True)),
        )


async def read(uow: UnitOfWork) -> Counts:
    """The counts of this moment, exactly; states that no job is in are left out."""
    rows = await uow.sql.fetch(
        "SELECT state, sum(change)::int8, sum(run_ms)::int8, sum(paid) FROM job_counts GROUP BY state"
    )
    return Counts(
        {row[0]: row[1] for row in rows if row[1]}, sum(row[2] for row in rows), int(sum(row[3] for row in rows))
    )


async def waiting(uow: UnitOfWork, key_ids: Sequence[str]) -> dict[str, int]:
    """Jobs of each of these keys that want a node; keys without any are left out."""
    rows = await uow.sql.fetch(
        """SELECT key_id, sum(change)::int8 FROM job_counts
        WHERE key_id = ANY($1::text[]) AND key_id <> '' AND state = ANY($2::text[])
        GROUP BY key_id HAVING sum(change) <> 0""",
        key_ids,
        _WAITING,
    )
    return {row[0]: row[1] for row in rows}


async def slots_held(uow: UnitOfWork, key_ids: Sequence[str]) -> dict[str, int]:
    """Slots that the jobs of each of these keys hold now, without those that hold none."""
    rows = await uow.sql.fetch(
        """SELECT key_id, sum(slots)::int8 FROM job_counts
        WHERE key_id = ANY($1::text[]) AND key_id <> '' AND state = ANY($2::text[])
        GROUP BY key_id HAVING sum(slots) <> 0""",
        key_ids,
        [state.value for state in JOB_ON_NODE],
    )
    return {row[0]: row[1] for row in rows}


async def newest(uow: UnitOfWork) -> int:
    """The latest row's number, 0 when there is none."""
    found: int = await uow.sql.fetchval("SELECT coalesce(max(id), 0) FROM job_counts")
    return found


async def fold(uow: UnitOfWork, up_to: int) -> tuple[int, int]:
    """Merge up to FOLDED_AT_ONCE rows, with numbers up to ``up_to``: how many were taken, and how many are there for
    them. Rows that stand alone are left. Two at once share the rest out; whoever reads meanwhile sees the same sums."""
    row = await uow.sql.fetchrow(
        """WITH several AS (SELECT state, key_id FROM job_counts WHERE id <= $1
            GROUP BY state, key_id HAVING count(*) > 1),
        taken AS (DELETE FROM job_counts WHERE id IN
            (SELECT id FROM job_counts c JOIN several USING (state, key_id) WHERE id <= $1
                ORDER BY state, key_id LIMIT $2 FOR UPDATE OF c SKIP LOCKED)
            RETURNING state, key_id, change, slots, run_ms, paid),
        merged AS (INSERT INTO job_counts (state, key_id, change, slots, run_ms, paid)
            SELECT state, key_id, sum(change), sum(slots), sum(run_ms), sum(paid) FROM taken GROUP BY state, key_id
            HAVING sum(change) <> 0 OR sum(slots) <> 0 OR sum(run_ms) <> 0 OR sum(paid) <> 0 RETURNING id)
        SELECT (SELECT count(*) FROM taken), (SELECT count(*) FROM merged)""",
        up_to,
        FOLDED_AT_ONCE,
    )
    assert row is not None
    return row[0], row[1]


async def foldable(uow: UnitOfWork) -> int:
    """How many rows fewer there would be after a fold, or more."""
    found: int = await uow.sql.fetchval(
        """SELECT coalesce(sum(rows - 1), 0)::int8
        FROM (SELECT count(*) AS rows FROM job_counts GROUP BY state, key_id) AS kept"""
    )
    return found
