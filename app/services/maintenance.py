"""What has to be done about the database now and then: partitions made ahead and dropped when old, counts merged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from app.core.errors import Forbidden
from app.settings import RetentionSettings
from app.store import counts, partitions, plan_retention
from app.store.db import Database, UnitOfWork
from app.store.partitions import Partition, TablesInUse

MONTHS_AHEAD: Final = 2
PAUSE_S: Final = 1.0
"""Between tries to get at tables that are in use."""
FORGOTTEN_AT_ONCE: Final = 5000
"""Rows that are deleted in one transaction."""

pause = asyncio.sleep


@dataclass(slots=True)
class Done:
    """Names of the partitions ``made`` and ``dropped``; how many rows of counts were ``folded`` into fewer; ``left``: a
    sentence on each thing that could not be done. ``forgotten``: rows of plans' histories and keys' days deleted."""

    made: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    folded: int = 0
    left: list[str] = field(default_factory=list)
    forgotten: int = 0


def keep_days(retention: RetentionSettings) -> dict[str, int]:
    """For how many days each partitioned table keeps its rows, 0 = for ever."""
    return {
        "job_history": retention.history_days,
        "events": retention.events_days,
        "feed": retention.events_days,
        "deliveries": retention.deliveries_days,
    }


async def run(db: Database, retention: RetentionSettings, *, tries: int = 1) -> Done:
    """Do all of it; several processes may at once. ``tries``: to get at tables that are in use, PAUSE_S apart.

    Each month is dropped in a transaction of its own, so that no table is locked while another one is waited for.
    """
    done = Done()

    async def make(uow: UnitOfWork) -> Sequence[Partition]:
        return await partitions.ensure(uow, MONTHS_AHEAD)

    done.made += await _attempt(db, make, "make the coming months' partitions", done, tries)
    async with db.unit() as uow:
        old = await partitions.outdated(uow, keep_days(retention))
    for month in _together(old):

        async def drop(uow: UnitOfWork, month: list[Partition] = month) -> Sequence[Partition]:
            return await partitions.drop(uow, month)

        done.dropped += await _attempt(db, drop, f"drop {', '.join(one.name for one in month)}", done, tries)
    done.folded = await fold_counts(db)
    done.forgotten = await _forget(db, retention.history_days)
    return done


async def plan(db: Database, retention: RetentionSettings) -> Done:
    """What ``run`` would do now."""
    async with db.unit() as uow:
        made = await partitions.missing(uow, MONTHS_AHEAD)
        dropped = await partitions.outdated(uow, keep_days(retention))
        forgotten = await plan_retention.old(uow, retention.history_days) if retention.history_days else 0
        return Done(
            [one.name for one in made], [one.name for one in dropped], await counts.foldable(uow), forgotten=forgotten
        )


async def _forget(db: Database, days: int) -> int:
    """Delete what is to be kept for ``days`` (0 = for ever) and has no partitions, a piece at a time; how many rows."""
    forgotten = 0
    for forget in (plan_retention.forget_history, plan_retention.forget_days) if days else ():
        last = FORGOTTEN_AT_ONCE
        while last == FORGOTTEN_AT_ONCE:
            async with db.unit() as uow:
                last = await forget(uow, days, FORGOTTEN_AT_ONCE)
            forgotten += last
    return forgotten


async def fold_counts(db: Database, at_least: int = 1) -> int:
    """Merge the changes of the counts, where that saves ``at_least`` so many rows; how many fewer there are."""
    async with db.unit() as uow:
        if await counts.foldable(uow) < at_least:
            return 0
        # Not those that are written meanwhile, or this would have no end.
        up_to = await counts.newest(uow)
    fewer = 0
    while True:
        async with db.unit() as uow:
            taken, written = await counts.fold(uow, up_to)
        if not taken:
            return fewer
        fewer += taken - written


def _together(old: Sequence[Partition]) -> Iterator[list[Partition]]:
    """A month at a time, its events and their places in the feed together: one is of no use without the other."""

    def kept(one: Partition) -> tuple[str, str]:
        return f"{one.month}", "events" if one.table == "feed" else one.table

    for _, month in groupby(sorted(old, key=kept), kept):
        yield list(month)


async def _attempt(
    db: Database, work: Callable[[UnitOfWork], Awaitable[Sequence[Partition]]], what: str, done: Done, tries: int
) -> list[str]:
    for attempt in range(1, tries + 1):
        try:
            async with db.unit() as uow:
                return [one.name for one in await work(uow)]
        except TablesInUse as error:
            if attempt == tries:
                done.left.append(f"could not {what}: {error.detail}")
            else:
                await pause(PAUSE_S)
        except Forbidden as error:
            done.left.append(f"could not {what}: {error.detail}. {error.next_action}")
            break
    return []
