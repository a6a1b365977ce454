"""Partitions: made ahead of time and for rows that had none, dropped when nobody needs them, in nobody's way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest

from app.core.events import SignalKind
from app.core.states import JobState
from app.store import migrate, partitions
from app.store.db import Database
from app.store.partitions import PARTITIONED, Partition, TablesInUse
from tests import factories
from tests.factories import sql

LONG_AGO = date(2020, 1, 1)
KEEP = dict.fromkeys(PARTITIONED, 30)


async def _names(db: Database) -> set[str]:
    async with db.unit() as uow:
        return {one.name for one in await partitions.existing(uow)}


async def _ensure(db: Database, months: Sequence[date] | None = None) -> list[str]:
    async with db.unit() as uow:
        made = await (partitions.ensure(uow) if months is None else partitions.ensure_months(uow, months))
    return [one.name for one in made]


async def _drop_old(db: Database, keep: dict[str, int] = KEEP) -> list[str]:
    async with db.unit() as uow:
        return [one.name for one in await partitions.drop(uow, await partitions.outdated(uow, keep))]


async def _event(db: Database, at: date, event_id: str, *, position: int | None, delivery: str | None) -> None:
    """An event, its place in the feed and its delivery in this state, as far as they are given."""
    moment = datetime(at.year, at.month, 15, tzinfo=UTC)
    await sql(db, "INSERT INTO events (id, at, kind, written_in) VALUES ($1, $2, 'x', 0)", event_id, moment)
    if position is not None:
        await sql(db, "INSERT INTO feed (position, at, event_id) VALUES ($1, $2, $3)", position, moment, event_id)
    if delivery is not None:
        await sql(
            db,
            "INSERT INTO deliveries (event_id, endpoint, at, state) VALUES ($1, 'hook', $2, $3)",
            event_id,
            moment,
            delivery,
        )


async def _cursors(db: Database, *, sequencer: int, webhooks: int) -> None:
    for name, position in (("sequencer", sequencer), ("webhooks", webhooks)):
        await sql(db, "UPDATE consumers SET position = $2 WHERE name = $1", name, position)


def test_months_include_both_ends_and_years_turn() -> None:
    found = partitions.months(date(2025, 11, 30), date(2026, 2, 1))
    assert found == [date(2025, 11, 1), date(2025, 12, 1), date(2026, 1, 1), date(2026, 2, 1)]
    one = Partition("feed", date(2025, 12, 1))
    assert (one.name, one.begins_at, one.ends_at) == (
        "feed_2025_12",
        datetime(2025, 12, 1, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=UTC),
    )


async def test_a_fresh_database_has_what_the_next_two_months_need(db: Database, database_url: str) -> None:
    today = datetime.now(UTC).date()
    last = partitions.following(partitions.following(today))
    wanted = {Partition(table, month).name for table in PARTITIONED for month in partitions.months(today, last)}
    assert await _names(db) == wanted
    assert await _ensure(db) == []
    before = [Partition(table, LONG_AGO).name for table in PARTITIONED]
    assert await _ensure(db, [LONG_AGO]) == sorted(before)
    assert await _names(db) == wanted | set(before)
    # Made one by one they are what the migration makes of them: with all indexes and checks of their tables.
    assert await asyncio.to_thread(migrate.check, database_url) == []
    odd = await sql(
        db,
        """SELECT parent.indexrelid::regclass::text FROM pg_index parent JOIN pg_class t ON t.oid = parent.indrelid
        WHERE t.relname = ANY($1) AND (SELECT count(*) FROM pg_inherits i WHERE i.inhparent = parent.indexrelid)
            <> (SELECT count(*) FROM pg_inherits i WHERE i.inhparent = t.oid)""",
        PARTITIONED,
    )
    assert odd == []


async def test_rows_of_a_month_without_a_partition_move_into_it(db: Database) -> None:
    ahead = datetime.now(UTC) + timedelta(days=200)
    for number in range(3):
        await sql(
            db,
            """INSERT INTO job_history (job_id, at, to_state, attempt, reason, actor)
            VALUES ('job_1', $1, 'pending', 1, 'submitted', 'me')""",
            ahead + timedelta(seconds=number),
        )
    before = await sql(db, "SELECT * FROM job_history ORDER BY seq")
    assert len(await sql(db, "SELECT FROM job_history_default")) == 3
    assert await _ensure(db) == [f"job_history_{ahead:%Y_%m}"]
    assert await sql(db, "SELECT FROM job_history_default") == []
    assert await sql(db, "SELECT * FROM job_history ORDER BY seq") == before
    # The sequence goes on, in the new partition as everywhere.
    await sql(
        db,
        """INSERT INTO job_history (job_id, at, to_state, attempt, reason, actor)
        VALUES ('job_2', $1, 'pending', 1, 'submitted', 'me')""",
        ahead,
    )
    assert [row[1] for row in await sql(db, "SELECT * FROM job_history ORDER BY seq")] == [1, 2, 3, 4]
    assert len(await sql(db, f"SELECT FROM job_history_{ahead:%Y_%m}")) == 4


async def test_of_several_that_make_the_same_partitions_one_does(db: Database) -> None:
    wanted = partitions.months(LONG_AGO, date(2020, 3, 1))
    made = await asyncio.gather(*(_ensure(db, wanted) for _ in range(4)))
    assert sorted(map(len, made)) == [0, 0, 0, 3 * len(PARTITIONED)]


async def test_only_whole_months_older_than_they_are_kept_are_dropped(db: Database) -> None:
    today = (await sql(db, "SELECT (now() AT TIME ZONE 'UTC')::date"))[0][0]
    month = today.replace(day=1)
    for _ in range(3):
        month = (month - timedelta(days=1)).replace(day=1)
    await _ensure(db, partitions.months(month, today))
    there = await _names(db)
    ended = (today - partitions.following(month)).days
    assert await _drop_old(db, dict.fromkeys(PARTITIONED, 0)) == []
    assert await _drop_old(db, dict.fromkeys(PARTITIONED, ended + 1)) == []
    assert await _drop_old(db, {**dict.fromkeys(PARTITIONED, 0), "feed": ended}) == [f"feed_{month:%Y_%m}"]
    assert await _names(db) == there - {f"feed_{month:%Y_%m}"}


async def test_events_stay_until_everybody_is_done_with_them(db: Database) -> None:
    await _ensure(db, [LONG_AGO])
    mine = [Partition(table, LONG_AGO).name for table in ("deliveries", "events", "feed")]
    await _event(db, LONG_AGO, "evt_1", position=7, delivery="pending")
    await _cursors(db, sequencer=8, webhooks=6)
    keep = {**KEEP, "job_history": 0}
    assert await _drop_old(db, keep) == [], "a delivery is pending, the webhooks have not come past the event"
    await sql(db, "UPDATE deliveries SET state = 'dead'")
    assert await _drop_old(db, keep) == [], "the webhooks have not come past the event"
    await _cursors(db, sequencer=7, webhooks=7)
    assert await _drop_old(db, keep) == [], "it is the feed's last event"
    await _cursors(db, sequencer=8, webhooks=8)
    await sql(db, "UPDATE deliveries SET state = 'pending'")
    assert await _drop_old(db, keep) == [], "a delivery is pending"
    await sql(db, "UPDATE deliveries SET state = 'delivered'")
    await sql(db, "UPDATE events SET written_in = (SELECT horizon FROM consumers WHERE name = 'sequencer')")
    assert await _drop_old(db, keep) == [], "the event has no place in the feed yet"
    await sql(db, "UPDATE events SET written_in = 0")
    assert await _drop_old(db, keep) == mine
    assert await sql(db, "SELECT FROM events") == []


async def test_a_delivery_tried_again_at_the_last_moment_keeps_its_month(db: Database) -> None:
    await _ensure(db, [LONG_AGO])
    await _event(db, LONG_AGO, "evt_1", position=1, delivery="dead")
    await _cursors(db, sequencer=2, webhooks=2)
    async with db.unit() as uow:
        old = await partitions.outdated(uow, {**KEEP, "job_history": 0})
    assert [one.table for one in old] == ["deliveries", "events", "feed"]
    await sql(db, "UPDATE deliveries SET state = 'pending'")
    async with db.unit() as uow:
        assert await partitions.drop(uow, old) == []
    assert len(await sql(db, "SELECT FROM events JOIN deliveries ON event_id = id")) == 1


async def test_histories_of_jobs_that_are_not_over_are_kept(db: Database) -> None:
    await factories.node(db)
    waves = factories.runner(db)
    ((job_id),) = await factories.submit(db)
    long_ago = datetime(2020, 1, 20, tzinfo=UTC)
    await _ensure(db, partitions.months(date(2019, 12, 1), date(2020, 2, 1)))
    await sql(db, "UPDATE jobs SET created_at = $1", long_ago)
    await sql(db, "UPDATE job_history SET at = $1", long_ago)
    keep = {**dict.fromkeys(PARTITIONED, 0), "job_history": 30}
    # The months before it came go, its own and those after stay.
    assert await _drop_old(db, keep) == ["job_history_2019_12"]
    await factories.run_waves(waves)
    assert await factories.state_of(db, job_id) == JobState.OFFERED
    assert await _drop_old(db, keep) == []
    await factories.wake(db, [job_id])
    await sql(db, "UPDATE jobs SET cancel_requested = true")
    await factories.wake(db, [job_id], SignalKind.CANCEL_REQUESTED)
    await factories.run_waves(waves)
    assert await factories.state_of(db, job_id) == JobState.CANCELLED
    assert await _drop_old(db, keep) == ["job_history_2020_01", "job_history_2020_02"]


async def test_tables_in_use_are_left_alone_and_nobody_waits_behind(db: Database, database_url: str) -> None:
    await _ensure(db, [LONG_AGO])
    there = await _names(db)
    reader = await asyncpg.connect(database_url)
    try:
        await reader.execute("BEGIN; SELECT count(*) FROM job_history; SELECT count(*) FROM feed")
        with pytest.raises(TablesInUse):
            await _ensure(db, [date(2020, 2, 1)])
        with pytest.raises(TablesInUse):
            await _drop_old(db)
        assert await _names(db) == there
        # What waited has let go: others read and write on.
        await factories.submit(db)
        await reader.execute("COMMIT")
    finally:
        await reader.close()
    assert len(await _ensure(db, [date(2020, 2, 1)])) == len(PARTITIONED)
    assert len(await _drop_old(db, {**KEEP, "job_history": 0})) == 6


async def test_partitions_are_made_beside_transactions_that_write_to_others(db: Database, database_url: str) -> None:
    writer = await asyncpg.connect(database_url)
    try:
        await writer.execute("BEGIN; INSERT INTO events (id, kind) VALUES ('evt_1', 'x')")
        assert len(await _ensure(db, [LONG_AGO])) == len(PARTITIONED)
        await writer.execute("INSERT INTO events (id, kind) VALUES ('evt_2', 'x'); COMMIT")
    finally:
        await writer.close()
    assert await sql(db, "SELECT id FROM events ORDER BY id") == [("evt_1",), ("evt_2",)]
