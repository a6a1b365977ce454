"""Schedules: what is due makes one job a time, whoever fires it, however late, and whatever became of its request."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.core.access import Principal
from app.core.errors import IdempotencyClash, InvalidInput, NotFound
from app.services import jobs, keys, offers, schedules
from app.services.quotas import QuotaRules, Quotas
from app.services.schedules import Plan, fire_due
from app.settings import JobsSettings
from app.store.db import Database
from app.store.schedules import ScheduleRow
from app.workers.scheduler import Scheduler
from tests import factories
from tests.factories import OWNER, STRANGER, sql
from tools.context import NetworkDefaults
from tools.schedules import preparer, schedule_answer

JOB = {"type": "llm_inference", "prompt": "why"}
YEARLY = "0 0 1 1 *"
"""Not due while a test runs, but on one night."""
prepare = preparer(NetworkDefaults(JobsSettings(), "reputation_weighted"))


def plan(**changes: Any) -> Plan:
    given = {"name": "", "cron": YEARLY, "timezone": "UTC", "overlap": "allow", "request": JOB, "paused": False}
    return Plan(**{**given, **changes})


async def scheduled(db: Database, principal: Principal = OWNER, **changes: Any) -> str:
    row, created = await schedules.create(db, principal, plan(**changes))
    assert created
    return row.id


async def missed(db: Database, years: int = 0) -> datetime:
    """Have every schedule be due since the start of the year, or as many years before; that start."""
    ((start,),) = await sql(db, "SELECT date_trunc('year', now())")
    assert isinstance(start, datetime)
    await sql(db, "UPDATE schedules SET next_at = $1", start.replace(year=start.year - years))
    return start


def following(start: datetime) -> datetime:
    return start.replace(year=start.year + 1)


async def fire(db: Database, rules: QuotaRules | None = None) -> int:
    return await fire_due(db, prepare, Quotas(rules or QuotaRules()))


async def read(db: Database, schedule_id: str) -> ScheduleRow:
    return await schedules.get(db, OWNER, schedule_id)


async def test_what_is_due_makes_a_job_and_what_is_not_waits(db: Database) -> None:
    schedule_id = await scheduled(db, request={**JOB, "priority": 4, "max_attempts": 2})
    assert await fire(db) == 0
    start = await missed(db)
    assert await fire(db) == 1
    row = await read(db, schedule_id)
    assert (row.runs, row.last_at, row.next_at, row.error) == (1, start, following(start), None)
    assert row.last_job_id is not None
    view = await jobs.get(db, OWNER, row.last_job_id)
    assert (view.job.schedule_id, view.job.state, view.job.priority, view.job.max_attempts) == (
        schedule_id, "pending", 4, 2,
    )  # fmt: skip
    assert (view.job.key_id, view.payload) == (OWNER.key_id, {"prompt": "why"})
    assert await sql(db, "SELECT source FROM jobs") == [("schedule",)]
    assert await fire(db) == 0


async def test_of_all_the_times_an_outage_missed_the_latest_gets_its_job(db: Database) -> None:
    schedule_id = await scheduled(db)
    start = await missed(db, 20)
    await fire(db)
    row = await read(db, schedule_id)
    assert (row.runs, row.last_at, row.next_at) == (1, start, following(start))


async def test_schedulers_at_once_make_one_job_a_schedule_and_time(database_url: str) -> None:
    dbs = [Database(database_url) for _ in range(3)]
    try:
        for _ in range(30):
            await scheduled(dbs[0])
        await missed(dbs[0], 2)
        looked = await asyncio.gather(*(fire_due(db, prepare, Quotas(QuotaRules()), 10) for db in dbs * 3))
        looked += [await fire(dbs[0])]
        assert sum(looked) == 30
        assert await sql(dbs[0], "SELECT count(*), count(DISTINCT schedule_id) FROM jobs") == [(30, 30)]
        assert await sql(dbs[0], "SELECT DISTINCT runs FROM schedules") == [(1,)]
    finally:
        for db in dbs:
            await db.close()


async def test_who_dies_before_the_commit_has_done_nothing(db: Database) -> None:
    schedule_id = await scheduled(db)
    await missed(db)
    before = await read(db, schedule_id)

    class Dies(Quotas):
        async def admit(self, *_: Any) -> Any:
            raise ConnectionResetError

    with pytest.raises(Exception, match="database cannot take"):
        await fire_due(db, prepare, Dies(QuotaRules()))
    assert await read(db, schedule_id) == before
    assert await sql(db, "SELECT count(*) FROM jobs") == [(0,)]
    await fire(db)
    assert (await read(db, schedule_id)).runs == 1


async def test_with_overlap_skip_no_job_is_made_while_the_last_one_is_not_over(db: Database) -> None:
    schedule_id, other = await scheduled(db, overlap="skip"), await scheduled(db, overlap="allow")
    for _ in range(3):
        await missed(db)
        await fire(db)
    row = await read(db, schedule_id)
    assert (row.runs, row.skipped) == (1, 2)
    assert ((await read(db, other)).runs, (await read(db, other)).skipped) == (3, 0)
    waves = factories.runner(db)
    await factories.node(db, capacity=8)
    await factories.run_waves(waves)
    for offer in await factories.all_offers(db):
        await offers.accept(db, [(offer.id, offer.node_id)])
        await offers.report(db, [offers.new_report(offer.id, offer.node_id, ok=True)])
    await factories.run_waves(waves)
    await missed(db)
    await fire(db)
    row = await read(db, schedule_id)
    assert (row.runs, row.skipped) == (2, 2)


async def test_what_can_make_no_job_says_why_and_goes_on(db: Database) -> None:
    key_id, _ = await keys.create(db, "acme", ["agent"])
    revoked = await scheduled(db, Principal(key_id, "acme", OWNER.scopes))
    await keys.revoke(db, key_id)
    unknown = await scheduled(db, request={**JOB, "policy": "of_the_past"})
    unread = await scheduled(db, request={"type": 7})
    good = await scheduled(db)
    start = await missed(db, 1)
    assert await fire(db) == 4
    told = {each: await read(db, each) for each in (revoked, unknown, unread, good)}
    assert {row.next_at for row in told.values()} == {following(start)}
    assert [row.runs for row in told.values()] == [0, 0, 0, 1]
    assert "revoked" in (told[revoked].error or "")
    assert "of_the_past" in (told[unknown].error or "")
    assert "no longer valid" in (told[unread].error or "")
    assert told[good].error is None
    assert schedule_answer(told[unread]).error == told[unread].error


async def test_a_job_that_the_database_refuses_keeps_no_other_from_being_made(db: Database) -> None:
    await sql(db, "ALTER TABLE jobs ADD CONSTRAINT refused CHECK (priority <> 9)")
    good = [await scheduled(db) for _ in range(3)]
    bad = await scheduled(db, request={**JOB, "priority": 9})
    start = await missed(db)
    assert await fire(db) == 4
    assert [(await read(db, each)).runs for each in (*good, bad)] == [1, 1, 1, 0]
    row = await read(db, bad)
    assert (row.error, row.next_at) == ("the job could not be stored: CheckViolationError", following(start))
    assert await sql(db, "SELECT count(*) FROM jobs") == [(3,)]


async def test_a_full_queue_makes_no_job(db: Database) -> None:
    schedule_id = await scheduled(db)
    await missed(db)
    await fire(db, QuotaRules(max_queued=1))
    await missed(db)
    await fire(db, QuotaRules(max_queued=1))
    row = await read(db, schedule_id)
    assert row.runs == 1
    assert "1 jobs of this API key are waiting" in (row.error or "")


async def test_a_pause_ends_with_nothing_made_up_for(db: Database) -> None:
    schedule_id = await scheduled(db)
    paused = await schedules.change(db, OWNER, schedule_id, {"paused": True})
    assert (paused.paused, paused.next_at) == (True, None)
    await sql(db, "UPDATE schedules SET created_at = now() - interval '1 year'")
    assert await fire(db) == 0
    resumed = await schedules.change(db, OWNER, schedule_id, {"paused": False})
    assert resumed.next_at is not None and resumed.next_at > datetime.now(UTC)
    assert await fire(db) == 0


async def test_a_change_of_time_does_not_repeat_one_that_was_even_if_the_clock_was_set_back(db: Database) -> None:
    schedule_id = await scheduled(db)
    start = await missed(db)
    await fire(db)
    await sql(db, "UPDATE schedules SET last_at = $1", following(start) + timedelta(days=2))
    changed = await schedules.change(db, OWNER, schedule_id, {"cron": "30 * * * *"})
    assert changed.next_at == following(start) + timedelta(days=2, minutes=30)
    other = await schedules.change(db, OWNER, schedule_id, {"name": "nightly", "request": {"type": "render"}})
    assert (other.next_at, other.name, other.request) == (changed.next_at, "nightly", {"type": "render"})
    with pytest.raises(InvalidInput):
        await schedules.change(db, OWNER, schedule_id, {"cron": "never"})
    assert (await read(db, schedule_id)).cron == "30 * * * *"


async def test_schedules_are_made_once_a_key_and_are_their_accounts(db: Database) -> None:
    made = [await schedules.create(db, OWNER, plan(), "k") for _ in range(2)]
    assert made[0][0].id == made[1][0].id
    assert [created for _, created in made] == [True, False]
    with pytest.raises(IdempotencyClash):
        await schedules.create(db, OWNER, plan(name="other"), "k")
    (clash,) = await jobs.submit(db, [factories.submission(idempotency_key="k")])
    assert isinstance(clash, IdempotencyClash)
    for look in (schedules.get, schedules.delete):
        with pytest.raises(NotFound):
            await look(db, STRANGER, made[0][0].id)
    assert await schedules.listing(db, STRANGER, "", 10) == []
    await schedules.delete(db, OWNER, made[0][0].id)
    with pytest.raises(NotFound):
        await schedules.delete(db, OWNER, made[0][0].id)


async def test_the_scheduler_fires_until_it_is_stopped(db: Database) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(Scheduler(db, prepare, Quotas(QuotaRules()), every_s=0.01).run(stop))
    schedule_id = await scheduled(db)
    await missed(db)
    async with asyncio.timeout(20):
        while not (await read(db, schedule_id)).runs:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    stop.set()
    await asyncio.wait_for(running, 20)
    assert (await read(db, schedule_id)).runs == 1
