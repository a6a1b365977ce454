"""The tables that only ever grow, in partitions of a month (UTC) each: made ahead of time, dropped whole when old.

Partitions are named ``{table}_YYYY_MM``; rows of months that have none go to ``{table}_default`` and are moved when
their month gets one. Whoever comes after a lock that is waited for waits behind it: so nothing here waits longer than
LOCK_WAIT_S for those it needs, and what cannot be had is left for the next time.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import asyncpg

from app.core.errors import Forbidden, Unavailable
from app.store.db import UnitOfWork
from app.store.feed import WAITS

PARTITIONED: Final = ("job_history", "events", "feed", "deliveries")
LOCK_WAIT_S: Final = 0.2
TURN_WAIT_S: Final = 5.0
"""For another process that is at it."""
HUNG_S: Final = 5.0
"""After so long without a word from a process that has tables locked, the server ends its session."""

CLOCKS: Final = timedelta(days=1)
"""How far the clocks of processes, by which jobs get their ids, may be from the database's."""

_NAME = re.compile(r"(\w+)_(\d{4})_(\d{2})")


class TablesInUse(Unavailable):
    """Somebody has them locked, or reads them for long."""

    code = "tables_in_use"


@dataclass(frozen=True, slots=True)
class Partition:
    """One month of one table. ``month``: its first day."""

    table: str
    month: date

    @property
    def name(self) -> str:
        return f"{self.table}_{self.month:%Y_%m}"

    @property
    def begins_at(self) -> datetime:
        return _midnight(self.month)

    @property
    def ends_at(self) -> datetime:
        """The first moment after it."""
        return _midnight(following(self.month))


def following(month: date) -> date:
    """The first day of the month after that of ``month``."""
    return (month.replace(day=1) + timedelta(days=32)).replace(day=1)


def months(first: date, last: date) -> list[date]:
    """First days of the months from that of ``first`` to that of ``last``, both included."""
    found = []
    month = first.replace(day=1)
    while month <= last:
        found.append(month)
        month = following(month)
    return found


async def existing(uow: UnitOfWork) -> list[Partition]:
    """The partitions there are, oldest first, without the default ones."""
    rows = await uow.sql.fetch(
        """SELECT p.relname, c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        JOIN pg_class p ON p.oid = i.inhparent WHERE p.oid = ANY($1::text[]::regclass[]) AND p.relkind = 'p'""",
        PARTITIONED,
    )
    found = [(row[0], _NAME.fullmatch(row[1])) for row in rows]
    return sorted(
        (Partition(table, date(int(name[2]), int(name[3]), 1)) for table, name in found if name and name[1] == table),
        key=lambda one: (one.month, one.table),
    )


async def missing(uow: UnitOfWork, months_ahead: int = 2) -> list[Partition]:
    """What ``ensure`` would make."""
    return await _missing(uow, _ahead(uow, months_ahead))


async def ensure(uow: UnitOfWork, months_ahead: int = 2) -> list[Partition]:
    """Make the partitions of this month and ``months_ahead`` more, and of every month that has rows in a default
    partition; those made. Costs a look when there is nothing to do; of two at once, one does it.

    Raises TablesInUse when a lock cannot be had soon, Forbidden when the database user may not: nothing is made then.
    """
    return await ensure_months(uow, _ahead(uow, months_ahead))


async def ensure_months(uow: UnitOfWork, wanted: Sequence[date]) -> list[Partition]:
    """As ``ensure``, for the months of ``wanted`` (first days, as ``months`` gives them)."""
    async with _maintaining(uow):
        made = await _missing(uow, wanted)
        # Made apart and attached: in place it would lock out everybody who reads or writes any of the table's
        # partitions. Without the identity: a partition has its parent's.
        for one in made:
            await uow.sql.execute(f"CREATE TABLE {one.name} (LIKE {one.table} INCLUDING ALL EXCLUDING IDENTITY)")
        await _lock(uow, dict.fromkeys(f"{one.table}_default" for one in made))
        for one in made:
            await uow.sql.execute(
                f"""WITH moved AS (DELETE FROM {one.table}_default WHERE at >= $1 AND at < $2 RETURNING *)
                INSERT INTO {one.name} SELECT * FROM moved""",
                one.begins_at,
                one.ends_at,
            )
            await uow.sql.execute(
                f"""ALTER TABLE {one.table} ATTACH PARTITION {one.name}
                FOR VALUES FROM ('{one.begins_at}') TO ('{one.ends_at}')"""
            )
    return made


def _ahead(uow: UnitOfWork, count: int) -> list[date]:
    today = uow.now.astimezone(UTC).date()
    last = today
    for _ in range(count):
        last = following(last)
    return months(today, last)


async def _missing(uow: UnitOfWork, wanted: Sequence[date]) -> list[Partition]:
    there = set(await existing(uow))
    found: dict[Partition, None] = {}
    for table in PARTITIONED:
        stray = await uow.sql.fetch(f"SELECT DISTINCT date_trunc('month', at, 'UTC') FROM {table}_default")
        for month in {*wanted, *(row[0].astimezone(UTC).date() for row in stray)}:
            found[Partition(table, month)] = None
    return sorted(found.keys() - there, key=lambda one: (one.month, one.table))


async def outdated(uow: UnitOfWork, keep_days: Mapping[str, int]) -> list[Partition]:
    """The partitions that ended longer ago than their table's ``keep_days`` (0 = kept for ever) and have no more use.

    Of use are deliveries while one is pending; events until they have their places in the feed, none of them the last,
    the webhooks have come past them and no delivery that tells of them is pending; histories from the first month on in
    which a job was made that is not over.
    """
    async with _maintaining(uow):
        old = [
            one
            for one in await existing(uow)
            if keep_days[one.table] and one.ends_at <= uow.now - timedelta(days=keep_days[one.table])
        ]
        if any(one.table == "job_history" for one in old):
            # By id, which is about by age: the look ends at the first one, and passes those that were over before it.
            oldest = await uow.sql.fetchval("SELECT created_at FROM jobs WHERE finished_at IS NULL ORDER BY id LIMIT 1")
            if oldest is not None:
                old = [one for one in old if one.table != "job_history" or one.ends_at <= oldest - CLOCKS]
        return await _unused(uow, old)


async def drop(uow: UnitOfWork, old: Sequence[Partition]) -> list[Partition]:
    """Drop partitions that were ``outdated`` a moment ago, but for those that have come to use again; those dropped.

    Raises TablesInUse when a lock cannot be had soon, Forbidden when the database user may not: none is dropped then.
    """
    async with _maintaining(uow):
        there = set(await existing(uow))
        old = [one for one in old if one in there]
        await _lock(uow, dict.fromkeys(name for one in old for name in (one.table, f"{one.table}_default", one.name)))
        # A dead delivery may be tried again: with the tables locked, none will be any more.
        dropped = await _unused(uow, old)
        for one in dropped:
            await uow.sql.execute(f"DROP TABLE {one.name}")
    return dropped


async def _unused(uow: UnitOfWork, old: Sequence[Partition]) -> list[Partition]:
    there = set(await existing(uow))
    unused = []
    for one in old:
        for table, waits in _IN_USE.items():
            beside = Partition(table, one.month)
            if one.table in _IN_USE and beside in there:
                used: bool = await uow.sql.fetchval(f"SELECT EXISTS (SELECT FROM {beside.name} WHERE {waits})")
                if used:
                    break
        else:
            unused.append(one)
    return unused


_IN_USE: Final = {
    "events": WAITS,
    "feed": """position > coalesce((SELECT position FROM consumers WHERE name = 'webhooks'), 0)
        OR position >= coalesce((SELECT position FROM consumers WHERE name = 'sequencer'), 0)""",
    "deliveries": "state = 'pending'",
}
"""An event, its place in the feed and its deliveries are in partitions of the same month. Which of these rows wait, and
the feed's last place, from which the sequencer goes on."""


@asynccontextmanager
async def _maintaining(uow: UnitOfWork) -> AsyncIterator[None]:
    """Have those that make or drop partitions take turns, until the transaction ends, and wait for no other lock long:
    raises TablesInUse when one cannot be had soon."""
    await uow.sql.execute(f"SET LOCAL idle_in_transaction_session_timeout = {HUNG_S * 1000:.0f}")
    try:
        # Before the first look: a look at a table, too, is in the way of one that changes it.
        await uow.sql.execute(f"SET LOCAL lock_timeout = {TURN_WAIT_S * 1000:.0f}")
        await uow.sql.execute("SELECT pg_advisory_xact_lock(hashtextextended('hae_partitions', 0))")
        await uow.sql.execute(f"SET LOCAL lock_timeout = {LOCK_WAIT_S * 1000:.0f}")
        yield
    except (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError, asyncpg.DeadlockDetectedError) as error:
        raise TablesInUse(
            "the tables are in use for longer than maintenance waits",
            next_action="Try again later; nothing was changed.",
            retry_after=60.0,
        ) from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise Forbidden(
            "this database user may not make and drop partitions",
            code="not_the_tables_owner",
            next_action="Run `hae maintenance` regularly as the user that runs `hae migrate`.",
        ) from error


async def _lock(uow: UnitOfWork, tables: Iterable[str]) -> None:
    """Lock tables for nobody else to read or write, all of them within LOCK_WAIT_S."""
    listed = ", ".join(f"ONLY {table}" for table in tables)
    if not listed:
        return
    await uow.sql.execute(f"SET LOCAL statement_timeout = {LOCK_WAIT_S * 1000:.0f}")
    await uow.sql.execute(f"LOCK TABLE {listed} IN ACCESS EXCLUSIVE MODE")
    await uow.sql.execute("SET LOCAL statement_timeout = DEFAULT")


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
