"""A database as it is after a year of work: finished jobs with offers, results and long histories.

All is made on the server, oldest first as it would have come, by two connections with half a year each. Of a job's
offers only the last is made, and neither its events nor its match decisions. Histories have no hashes, as those from
before there were any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from app.bench.growth_rows import COST, DROP_ID, ENDS, MAKE, MAKE_ID, RUN_MS, SHORTEST, parameters
from app.core.states import JobState
from app.store import counts, partitions
from app.store.counts import Tally
from app.store.db import Database

PERIOD = timedelta(days=365)
CHUNK = 20_000
"""Jobs in one transaction."""
CONNECTIONS = 2
JOB_BYTES, ROW_BYTES = 2_200, 220
"""On disk with their indexes, measured: a job with its offer and result, and a row of its history."""


def disk_bytes(finished: int, history: int) -> int:
    """About what so much takes on disk, with room for the write-ahead log and for vacuuming."""
    return 2 * 1024**3 + finished * JOB_BYTES + history * ROW_BYTES


async def grow(url: str, *, finished: int, history: int, told: Callable[[str], None]) -> int:
    """Put ``finished`` jobs with ``history`` history rows into the migrated database ``url``; how many rows they got,
    as each gets the same.

    ``told`` hears of the progress. Raises ValueError when there are less than SHORTEST rows a job.
    """
    length = history // finished
    if length < SHORTEST:
        raise ValueError(f"a finished job has at least {SHORTEST} history rows: {finished * SHORTEST:,} in all")
    db = Database(url, pool_size=CONNECTIONS, application="hae bench")
    try:
        async with db.unit() as uow:
            until = uow.now.astimezone(UTC)
            await partitions.ensure_months(uow, partitions.months((until - PERIOD).date(), until.date()))
            await uow.sql.execute(MAKE_ID)
        maker = _Maker(db, finished, length, until - PERIOD, told)
        bounds = [finished * part // CONNECTIONS for part in range(CONNECTIONS + 1)]
        await asyncio.gather(*(maker.make(first, last) for first, last in pairwise(bounds)))
        async with db.unit() as uow:
            await counts.add(uow, _tally(finished))
            await uow.sql.execute(DROP_ID)
    finally:
        await db.close()
    return finished * length


class _Maker:
    def __init__(
        self, db: Database, finished: int, length: int, first_at: datetime, told: Callable[[str], None]
    ) -> None:
        self._db = db
        self._finished = finished
        self._length = length
        # The last day is left to what the benchmark itself does.
        self._when = (first_at, (PERIOD - timedelta(days=1)) / finished)
        self._told = told
        self._made = 0

    async def make(self, first: int, last: int) -> None:
        given = parameters(self._length)
        for start in range(first, last, CHUNK):
            chunk = (start, min(start + CHUNK, last), *self._when)
            async with self._db.unit() as uow:
                # A crash would end the benchmark anyway.
                await uow.sql.execute("SET LOCAL synchronous_commit = off")
                await uow.sql.execute(MAKE, *chunk, *given)
            self._made += chunk[1] - chunk[0]
            rows = self._made * self._length
            self._told(f"{self._made:,} of {self._finished:,} finished jobs made, with {rows:,} history rows")


def _tally(finished: int) -> Tally:
    tally = Tally()
    whole, rest = divmod(finished, 100)
    below = 0
    for up_to, state in ENDS:
        number = whole * (up_to - below) + max(0, min(rest, up_to) - below)
        tally.jobs[state, ""] = number
        if state is JobState.COMPLETED:
            tally.run_ms, tally.paid = number * RUN_MS, number * COST
        below = up_to
    return tally
