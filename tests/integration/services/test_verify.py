"""The check of a whole database: silent on what the engine made, and by name on whatever was done to it afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from app.core.requirements import Requirements
from app.services import jobs, nodes, offers
from app.services.verify import verify
from app.store import migrate
from app.store import verify as store
from app.store.db import Database, UnitOfWork
from tests import factories
from tests.factories import OWNER, sql
from tests.support.databases import Databases

LEASE_S = 60.0


async def checks(db: Database, **given: Any) -> set[str]:
    """The names of what does not hold."""
    return {one.check for one in (await verify(db, **given)).violations}


class Within(Database):
    """A database whose units are all one transaction, already open: what was done in it, and was never committed."""

    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__("")
        self._uow = uow

    def reader(self) -> Database:
        return self

    @asynccontextmanager
    async def unit(self) -> AsyncIterator[UnitOfWork]:
        yield self._uow


class Undo(Exception):
    """Roll it back."""


async def make_busy(url: str) -> None:
    """A job in every state, by every way to come there, on a network with slots to spare."""
    db = Database(url)
    try:
        await _make_busy(db)
        await _feed(db)
    finally:
        await db.close()


async def _make_busy(db: Database) -> None:
    waves = factories.runner(db, cancel_grace_s=3600.0, lease_s=LEASE_S)
    for _ in range(4):
        await factories.node(db, capacity=8, gpus=8)
    # One loses its lease and goes on elsewhere; what its node then reports is late.
    (lost,) = await factories.accepted(db, waves)
    await silence(db)
    await factories.run_waves(waves)
    for node_id, *_ in await sql(db, "SELECT id FROM nodes"):
        await nodes.heard(db, [(node_id, None)])
    (refused,) = await offers.report(db, [offers.new_report(lost.id, lost.node_id, ok=True, body="late")])
    assert refused is not None
    # Two completed, one failed for good, one failed and offered again.
    ended = await factories.accepted(db, waves, 3, max_retries=0)
    (again,) = await factories.accepted(db, waves, 1, max_retries=2)
    await offers.progress(db, ended[0].node_id, ended[0].id, 5.0, "on it")
    reports = [offers.new_report(one.id, one.node_id, ok=True, body={"n": 1}) for one in ended[:2]]
    reports += [offers.new_report(one.id, one.node_id, ok=False, error="broke") for one in (ended[2], again)]
    assert await offers.report(db, reports) == [None] * 4
    # One declined, one expired in the queue, one cancelled before anything happened, one to be stopped.
    stopping, stopped = await factories.accepted(db, waves, 2)
    for one in (stopping, stopped):
        await jobs.cancel(db, OWNER, one.job_id)
    nowhere = Requirements(gpu_models=("none",))
    _, expiring, cancelled = await factories.submit(db, 3, requirements=nowhere)
    await sql(db, "UPDATE jobs SET expires_at = now() WHERE id = $1", expiring)
    await factories.wake(db, [expiring])
    await jobs.cancel(db, OWNER, cancelled)
    await factories.run_waves(waves)
    assert await offers.report(db, [offers.new_report(stopped.id, stopped.node_id, ok=False, error="cancelled")]) == [
        None
    ]
    (declining,) = await factories.submit(db, 1)
    await factories.run_waves(waves)
    (asked,) = [offer for offer in await factories.all_offers(db) if offer.job_id == declining]
    await offers.decline(db, asked.node_id, asked.id, "busy")
    # One assigned, one that runs, one that is to start later.
    await factories.accepted(db, waves)
    (running,) = await factories.accepted(db, waves)
    await offers.progress(db, running.node_id, running.id, 5.0, "on it")
    await factories.submit(db, 1, delay_s=3600)
    # Two at a time on a node that has nothing to do afterwards.
    await factories.node(db, capacity=2, gpus=2, gpu_model="solo")
    pair = await factories.accepted(db, waves, 2, requirements=Requirements(gpu_models=("solo",)))
    assert await offers.report(db, [offers.new_report(one.id, one.node_id, ok=True, body=1) for one in pair]) == [
        None,
        None,
    ]
    await factories.run_waves(waves)
    states = {state for (state,) in await sql(db, "SELECT DISTINCT state FROM jobs")}
    assert states == {
        "scheduled", "pending", "offered", "assigned", "running", "cancelling", "completed", "failed", "cancelled",
        "expired",
    }  # fmt: skip


async def silence(db: Database) -> None:
    """All that runs loses its lease."""
    await sql(
        db,
        """UPDATE offers SET created_at = created_at - interval '5 min', decided_at = decided_at - interval '5 min'
        WHERE holds_slots""",
    )
    await sql(db, "UPDATE node_heartbeats SET last_seen_at = clock_timestamp() - interval '2 min'")
    assert await nodes.sweep_leases(db, LEASE_S) > 0


async def _feed(db: Database) -> None:
    """Every event has its position, as the sequencer gives them."""
    await sql(
        db,
        """INSERT INTO feed (position, at, event_id, account)
        SELECT row_number() OVER (ORDER BY seq), at, id, account FROM events""",
    )
    await sql(
        db,
        """UPDATE consumers SET position = (SELECT max(position) FROM feed),
            horizon = pg_current_xact_id()::text::bigint WHERE name = 'sequencer'""",
    )


@pytest.fixture(scope="module")
def busy_url(databases: Databases) -> Iterator[str]:
    """A busy database, to be copied or left as it is."""
    url = databases.clone(migrate.upgrade)
    asyncio.run(make_busy(url))
    yield url
    databases.drop(url)


@pytest.fixture
async def untouched(busy_url: str) -> AsyncIterator[Database]:
    """The busy database: nothing is to be committed."""
    opened = Database(busy_url, pool_size=1)
    yield opened
    await opened.close()


@pytest.fixture
async def busy(databases: Databases, busy_url: str) -> AsyncIterator[Database]:
    """A busy database of the test's own."""
    url = await asyncio.to_thread(databases.create, urlsplit(busy_url).path.lstrip("/"))
    opened = Database(url)
    yield opened
    await opened.close()
    await asyncio.to_thread(databases.drop, url)


async def test_a_busy_database_holds_together(busy: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "BATCH", 3)
    told: list[tuple[int, int]] = []
    report = await verify(busy, told=lambda done, about: told.append((done, about)))
    assert report.violations == []
    ((count,),) = await sql(busy, "SELECT count(*) FROM jobs")
    assert (report.jobs, report.found, report.cut, report.whole) == (count, 0, 0, True)
    assert report.rows > 5 * count
    assert len(told) == -(-count // 3)
    assert told[-1] == (count, count)


async def test_an_empty_database_holds_together(db: Database) -> None:
    report = await verify(db)
    assert (report.jobs, report.rows, report.violations) == (0, 0, [])


async def test_writers_are_neither_held_up_nor_seen(busy: Database) -> None:
    waves = factories.runner(busy)
    seen = []

    def told(done: int, about: int) -> None:
        seen.append(asyncio.ensure_future(more()))

    async def more() -> None:
        await factories.submit(busy, 2)
        await factories.run_waves(waves)

    before = (await verify(busy)).jobs
    report = await verify(busy, told=told)
    await asyncio.gather(*seen)
    assert (report.jobs, report.violations) == (before, [])
    assert len(seen) == 1


DONE = "(SELECT id FROM jobs WHERE state = 'completed' ORDER BY id LIMIT 1)"
DONE_OFFER = "(SELECT offer_id FROM jobs WHERE state = 'completed' ORDER BY id LIMIT 1)"
ASSIGNED = "(SELECT id FROM jobs WHERE state = 'assigned')"
ROW = f"job_history WHERE job_id = {DONE} AND to_state"
TAMPERED = {
    "another reason": (f"UPDATE job_history SET reason = 'operator' WHERE job_id = {DONE} AND to_state = 'offered'",
        {"history_hash"}),
    "another actor": (f"UPDATE job_history SET actor = 'somebody' WHERE job_id = {DONE} AND from_state IS NULL",
        {"history_hash"}),
    "another time": (
        f"UPDATE job_history SET at = at + interval '1 us' WHERE job_id = {DONE} AND to_state = 'assigned'",
        {"history_hash"}),
    "another node": (f"UPDATE job_history SET node_id = 'node_x' WHERE job_id = {DONE} AND to_state = 'offered'",
        {"history_hash", "offer_history"}),
    "no hash": (f"UPDATE job_history SET hash = NULL WHERE job_id = {DONE} AND to_state = 'offered'",
        {"history_hash", "history_unhashed"}),
    "a hash of its own": (f"UPDATE job_history SET hash = sha256('x') WHERE job_id = {DONE} AND to_state = 'completed'",
        {"history_hash", "history_head"}),
    "a chain made unknown": (
        f"WITH h AS (UPDATE job_history SET hash = NULL WHERE job_id = {DONE} RETURNING job_id) "
        f"UPDATE jobs SET history_head = NULL WHERE id = {DONE}", {"history_unhashed"}),
    "another head": (f"UPDATE jobs SET history_head = sha256('x') WHERE id = {DONE}", {"history_head"}),
    "the last row gone": (f"DELETE FROM {ROW} = 'completed'",
        {"history_head", "job_state", "job_reason", "event_off"}),
    "the first row gone": (f"DELETE FROM {ROW} = 'pending'", {"history_cut", "event_off"}),
    "a row in the middle gone": (f"DELETE FROM {ROW} = 'assigned'", {"history_hash", "history_order", "event_off"}),
    "all rows gone": (f"DELETE FROM job_history WHERE job_id = {DONE}",
        {"history_missing", "offer_history", "event_off"}),
    "an illegal move": (
        f"UPDATE job_history SET to_state = 'expired' WHERE job_id = {DONE} AND to_state = 'completed'",
        {"history_hash", "history_move", "job_state", "event_off"}),
    "an attempt that jumps": (
        f"UPDATE job_history SET attempt = 2 WHERE job_id = {DONE} AND to_state = 'completed'",
        {"history_hash", "history_attempt", "job_attempt"}),
    "another attempt": (f"UPDATE jobs SET attempt = attempt + 1 WHERE id = {DONE}", {"job_attempt", "result_missing"}),
    "another reason of the job": (f"UPDATE jobs SET reason = 'stopped' WHERE id = {DONE}", {"job_reason"}),
    "another state": ("UPDATE jobs SET state = 'cancelled' WHERE state = 'failed'", {"job_state", "job_counts"}),
    "a job gone": ("DELETE FROM jobs WHERE state = 'failed'", {"stray_rows", "job_counts"}),
    "paid too much": (f"UPDATE jobs SET cost = cost + 1 WHERE id = {DONE}", {"job_cost", "job_counts"}),
    "a failure that costs": ("UPDATE jobs SET cost = 5 WHERE state = 'failed'", {"job_cost"}),
    "no result": (f"DELETE FROM results WHERE offer_id = {DONE_OFFER}", {"result_missing"}),
    "a late result": (f"UPDATE results SET late = true WHERE offer_id = {DONE_OFFER}", {"result_missing"}),
    "a late result that counts": ("UPDATE results SET late = false WHERE late", {"result_lost"}),
    "a result of another node": (f"UPDATE results SET node_id = 'node_x' WHERE offer_id = {DONE_OFFER}",
        {"result_offer"}),
    "a result of nothing": (f"UPDATE results SET offer_id = 'offer_x' WHERE offer_id = {DONE_OFFER}",
        {"stray_rows", "result_missing"}),
    "late, and its run goes on": (
        f"INSERT INTO results (offer_id, job_id, node_id, attempt, ok, digest, late) "
        f"SELECT id, job_id, node_id, attempt, true, '', true FROM offers WHERE job_id = {ASSIGNED}", {"result_late"}),
    "slots given back twice": (f"UPDATE offers SET holds_slots = false WHERE job_id = {ASSIGNED}",
        {"offer_job", "node_slots"}),
    "slots never given back": (f"UPDATE offers SET holds_slots = true WHERE id = {DONE_OFFER}",
        {"offer_job", "node_slots"}),
    "another counter": ("UPDATE nodes SET active_jobs = active_jobs + 1 WHERE id = (SELECT min(id) FROM nodes)",
        {"node_slots"}),
    "more slots than asked": (f"UPDATE offers SET slots = slots + 1 WHERE job_id = {ASSIGNED}",
        {"offer_slots", "node_slots"}),
    "an offer not accepted": (f"UPDATE offers SET state = 'open' WHERE job_id = {ASSIGNED}", {"offer_state"}),
    "an offer never told of": (
        f"INSERT INTO offers (id, job_id, node_id, attempt, state, holds_slots, slots, price, expires_at) "
        f"SELECT 'offer_x', job_id, node_id, 9, 'declined', false, 1, 1, now() FROM offers WHERE id = {DONE_OFFER}",
        {"offer_history"}),
    "counted wrongly": ("INSERT INTO job_counts (state, change) VALUES ('failed', 1)", {"job_counts"}),
    "slots counted wrongly": ("UPDATE job_counts SET slots = slots + 1 WHERE id = (SELECT min(id) FROM job_counts)",
        {"job_counts"}),
    "a settlement from nowhere": (f"UPDATE jobs SET settlement = 'settled' WHERE id = {DONE}",
        {"settlement_state", "payment_unpaid"}),
    "a settlement that jumps": (
        f"INSERT INTO settlement_history (job_id, from_state, to_state, reason, actor) "
        f"VALUES ({DONE}, 'awaiting', 'settled', 'x', 'x')", {"settlement_move", "settlement_state", "event_off"}),
    "a settlement out of order": (
        f"INSERT INTO settlement_history (job_id, from_state, to_state, reason, actor) "
        f"VALUES ({DONE}, 'observed', 'settled', 'x', 'x')", {"settlement_order", "settlement_state", "event_off"}),
    "an event gone": (
        f"DELETE FROM events WHERE job_id = {DONE} AND kind = 'job_completed'", {"event_off", "feed_strange"}),
    "a position gone": ("DELETE FROM feed WHERE position = 7", {"feed_gap", "feed_missed"}),
    "the first position gone": ("DELETE FROM feed WHERE position = 1", {"feed_missed"}),
    "an event told twice": (
        "INSERT INTO feed (position, at, event_id) SELECT (SELECT max(position) + 1 FROM feed), at, event_id FROM feed "
        "WHERE position = 3", {"feed_twice", "feed_end"}),
    "a position of nothing": ("UPDATE feed SET event_id = 'evt_x' WHERE position = 4", {"feed_strange", "feed_missed"}),
    "the sequencer put back": ("UPDATE consumers SET position = 3 WHERE name = 'sequencer'", {"feed_end"}),
    "a state that there is not": (
        "UPDATE job_history SET to_state = 'done' WHERE to_state = 'assigned' AND job_id = (SELECT job_id FROM "
        "job_history WHERE to_state = 'completed' ORDER BY seq LIMIT 1)",
        {"history_hash", "history_move", "history_order", "event_off"}),
    "a node that has too little": (
        "UPDATE nodes SET capacity = 1 WHERE gpu_model = 'solo'", {"node_capacity"}),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERED)
async def test_what_was_done_to_it_is_found(untouched: Database, what: str) -> None:
    statement, expected = TAMPERED[what]
    with suppress(Undo):
        async with untouched.unit() as uow:
            await uow.sql.execute(statement)
            found = await checks(Within(uow))
            raise Undo
    assert found == expected


async def test_two_offers_that_hold_slots_for_one_job(busy: Database) -> None:
    await sql(busy, "DROP INDEX offers_held")
    await sql(
        busy,
        f"""INSERT INTO offers (id, job_id, node_id, attempt, state, slots, price, expires_at)
        SELECT 'offer_x', job_id, node_id, 9, 'open', 1, 1, now() FROM offers WHERE job_id = {ASSIGNED}""",
    )
    assert {"offer_doubled", "offer_job", "node_slots", "offer_history"} <= await checks(busy)


async def test_two_results_that_count(busy: Database) -> None:
    await sql(
        busy,
        f"""WITH o AS (INSERT INTO offers (id, job_id, node_id, attempt, state, holds_slots, slots, price, expires_at)
            SELECT 'offer_x', job_id, node_id, 9, 'accepted', false, 1, 1, now() FROM offers WHERE id = {DONE_OFFER}
            RETURNING id)
        INSERT INTO results (offer_id, job_id, node_id, attempt, ok, digest)
        SELECT 'offer_x', job_id, node_id, 9, true, '' FROM offers WHERE id = {DONE_OFFER}""",
    )
    assert await checks(busy) == {"result_doubled", "offer_history"}


async def test_a_node_that_held_too_much_at_one_moment(busy: Database) -> None:
    """One job of the past took its slots, by the record, before another had given them back."""
    ((node_id, most),) = await sql(
        busy, "SELECT node_id, count(*) FROM offers GROUP BY node_id ORDER BY 2 DESC, 1 LIMIT 1"
    )
    assert await checks(busy) == set()
    await sql(busy, "UPDATE offers SET slots = 8 WHERE node_id = $1 AND NOT holds_slots", node_id)
    assert most > 1
    found = [one for one in (await verify(busy)).violations if one.check == "node_capacity"]
    assert [one.id for one in found] == [node_id]
    # A node may have had more slots then.
    await sql(busy, "UPDATE nodes SET capacity_max = 16 WHERE id = $1", node_id)
    assert (await verify(busy)).violations == []


async def test_an_old_job_begins_with_the_first_row_that_is_kept(busy: Database) -> None:
    """Retention drops whole months: of older jobs nothing is missed, but what is there must follow."""
    await sql(busy, f"UPDATE jobs SET created_at = created_at - interval '400 days' WHERE id = {DONE}")
    await sql(busy, f"DELETE FROM job_history WHERE job_id = {DONE} AND to_state IN ('pending', 'offered')")
    report = await verify(busy)
    assert (report.violations, report.cut) == ([], 1)
    await sql(busy, f"DELETE FROM job_history WHERE job_id = {DONE} AND to_state = 'running'")
    assert await checks(busy) <= {"history_order", "history_hash"}
    await sql(busy, f"DELETE FROM job_history WHERE job_id = {DONE}")
    assert await checks(busy) == {"history_missing"}
    await sql(
        busy,
        f"""UPDATE jobs SET assigned_at = assigned_at - interval '400 days',
        finished_at = finished_at - interval '400 days' WHERE id = {DONE}""",
    )
    assert await checks(busy) == set()


async def test_histories_from_before_there_were_hashes(busy: Database) -> None:
    """They have none, and the chain goes on after them."""
    await sql(busy, "DELETE FROM jobs WHERE state NOT IN ('completed', 'assigned')")
    await sql(busy, "UPDATE job_history SET hash = NULL")
    await sql(busy, "UPDATE jobs SET history_head = NULL")
    assert await checks(busy) & {"history_hash", "history_head", "history_unhashed"} == set()
    waves = factories.runner(busy)
    (offer_id, node_id), *_ = await sql(busy, f"SELECT id, node_id FROM offers WHERE job_id = {ASSIGNED}")
    await offers.report(busy, [offers.new_report(offer_id, node_id, ok=True)])
    await factories.run_waves(waves)
    assert await checks(busy) & {"history_hash", "history_head", "history_unhashed"} == set()
    await sql(busy, "UPDATE job_history SET actor = 'x' WHERE hash IS NOT NULL")
    assert "history_hash" in await checks(busy)


async def test_only_some_jobs(busy: Database) -> None:
    await sql(busy, f"UPDATE jobs SET cost = cost + 1 WHERE id = {DONE}")
    await factories.submit(busy, 2, principal=replace(OWNER, account="other"))
    whole = await verify(busy)
    assert {one.check for one in whole.violations} == {"job_cost", "job_counts"}
    mine, other = await verify(busy, account="acme"), await verify(busy, account="other")
    assert ({one.check for one in mine.violations}, mine.whole) == ({"job_cost"}, False)
    assert (other.violations, other.jobs, mine.jobs) == ([], 2, whole.jobs - 2)
    later = datetime.now(UTC) + timedelta(hours=1)
    assert (await verify(busy, since=later)).jobs == 0
