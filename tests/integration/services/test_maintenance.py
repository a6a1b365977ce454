"""Maintenance as a whole, by hand and by the sweeper: what it does, what it leaves, and that it says so."""

from __future__ import annotations

import asyncio
import logging
from datetime import date

import asyncpg
import pytest

from app.services import maintenance
from app.services.maintenance import Done
from app.settings import RetentionSettings
from app.store import partitions
from app.store.db import Database
from app.store.partitions import PARTITIONED
from app.workers.housekeeper import Housekeeper
from tests import factories
from tests.factories import sql

FOR_EVER = RetentionSettings(history_days=0, events_days=0, deliveries_days=0)
SHORT = RetentionSettings(history_days=1, events_days=1, deliveries_days=1)


@pytest.fixture
async def old(db: Database) -> list[str]:
    """Partitions of a month long ago; their names, in the order in which they are dropped."""
    async with db.unit() as uow:
        made = await partitions.ensure_months(uow, [date(2020, 1, 1)])
    # An event with its place in the feed and its delivery, which everybody is done with.
    await sql(db, "INSERT INTO events (id, at, kind, written_in) VALUES ('evt_1', '2020-01-15', 'x', 0)")
    await sql(db, "INSERT INTO feed (position, at, event_id) VALUES (1, '2020-01-15', 'evt_1')")
    await sql(
        db, "INSERT INTO deliveries (event_id, endpoint, at, state) VALUES ('evt_1', 'hook', '2020-01-15', 'delivered')"
    )
    await sql(db, "UPDATE consumers SET position = 2")
    assert len(made) == len(PARTITIONED)
    return sorted(one.name for one in made)


async def _partitions(db: Database) -> set[str]:
    async with db.unit() as uow:
        return {one.name for one in await partitions.existing(uow)}


async def test_it_makes_drops_and_folds_as_it_said_it_would(db: Database, old: list[str]) -> None:
    await sql(db, "DROP TABLE feed_2020_01")
    await factories.submit(db, 1)
    await factories.submit(db, 1)
    there = await _partitions(db)
    (newest,) = (max(name for name in there if name.startswith("events_")),)
    await sql(db, f"DROP TABLE {newest}")
    assert await maintenance.run(db, FOR_EVER) == Done([newest], [], folded=1)
    await factories.submit(db, 1)
    old.remove("feed_2020_01")
    planned = await maintenance.plan(db, SHORT)
    assert planned == Done([], ["deliveries_2020_01", "events_2020_01", "job_history_2020_01"], folded=1)
    assert await _partitions(db) == there - {"feed_2020_01"} | {newest}, "a plan does nothing"
    done = await maintenance.run(db, SHORT)
    assert sorted(done.dropped) == old
    assert (done.made, done.folded, done.left) == ([], 1, [])
    assert await maintenance.run(db, SHORT) == Done()


async def test_events_and_their_places_go_together(db: Database, old: list[str]) -> None:
    reader = await asyncpg.connect(db.url)
    try:
        await reader.execute("BEGIN; SELECT FROM feed_2020_01")
        done = await maintenance.run(db, SHORT)
        assert sorted(done.dropped) == ["deliveries_2020_01", "job_history_2020_01"]
        assert [line.partition(":")[0] for line in done.left] == ["could not drop events_2020_01, feed_2020_01"]
    finally:
        await reader.close()
    assert (await maintenance.run(db, SHORT)).dropped == ["events_2020_01", "feed_2020_01"]


async def test_tables_in_use_are_tried_again(db: Database, old: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    reader = await asyncpg.connect(db.url)
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await reader.execute("COMMIT")

    await reader.execute("BEGIN; SELECT FROM deliveries")
    monkeypatch.setattr(maintenance, "pause", pause)
    try:
        done = await maintenance.run(db, SHORT, tries=3)
    finally:
        await reader.close()
    assert pauses == [maintenance.PAUSE_S]
    assert (sorted(done.dropped), done.left) == (old, [])


async def test_several_at_once_do_everything_once(db: Database, old: list[str]) -> None:
    done = await asyncio.gather(*(maintenance.run(db, SHORT, tries=10) for _ in range(3)))
    assert sorted(name for one in done for name in one.dropped) == old
    assert [one.left for one in done] == [[], [], []]


async def test_a_user_who_may_not_is_told_who_should(db: Database, old: list[str]) -> None:
    role = f"hae_reader_{db.url.rpartition('hae_test_')[2].partition('?')[0]}"
    await sql(db, f"CREATE ROLE {role} LOGIN")
    await sql(db, f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
    lesser = Database(db.url.replace("//hae@", f"//{role}@", 1))
    try:
        done = await maintenance.run(lesser, SHORT)
    finally:
        await lesser.close()
        await sql(db, f"DROP OWNED BY {role}")
        await sql(db, f"DROP ROLE {role}")
    assert done.made == done.dropped == []
    assert done.left and all("may not make and drop partitions" in line for line in done.left)


async def test_housekeeping_does_it_and_tells(db: Database, old: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    housekeeper = Housekeeper(db, idempotency_ttl_s=600.0, retention=SHORT)
    await factories.submit(db, 1, idempotency_key="kept")
    await sql(db, "INSERT INTO idempotency_keys VALUES ('acme', 'old', '', 'job_1', now() - interval '601 s')")
    reader = await asyncpg.connect(db.url)
    try:
        await reader.execute("BEGIN; SELECT FROM deliveries")
        await housekeeper.keep_once()
    finally:
        await reader.close()
    assert await sql(db, "SELECT key FROM idempotency_keys") == [("kept",)]
    assert "maintenance could not drop deliveries_2020_01" in caplog.text
    assert "dropped events_2020_01" in caplog.text and "dropped deliveries_2020_01" not in caplog.text
    # What was left is tried again much sooner than the rest.
    housekeeper._maintenance_from = 0.0
    await housekeeper.keep_once()
    assert "dropped deliveries_2020_01" in caplog.text
