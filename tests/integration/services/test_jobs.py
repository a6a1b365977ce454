"""Submitting, looking and cancelling, as agents do."""

from __future__ import annotations

import asyncio

import pytest

from app.core.errors import IdempotencyClash, NotFound
from app.core.requirements import Requirements
from app.services import jobs, offers
from app.services.jobs import Submitted
from app.store import idempotency
from app.store.db import Database
from tests import factories
from tests.factories import OWNER, STRANGER, sql


async def test_equal_submissions_at_once_make_one_job(database_url: str) -> None:
    first, second = Database(database_url), Database(database_url)
    keys = ("a", "b", "c")
    try:
        wishes = [factories.submission(idempotency_key=key, payload={"prompt": key}) for key in keys]
        batches = [wishes if i % 2 else wishes[::-1] for i in range(24)]
        said = await asyncio.gather(*(jobs.submit((first, second)[i % 3 == 0], b) for i, b in enumerate(batches)))
        answers = [answer for batch in said for answer in batch]
        assert all(isinstance(answer, Submitted) for answer in answers)
        made = [answer for answer in answers if isinstance(answer, Submitted) and answer.created]
        assert len(made) == 3
        assert {answer.job_id for answer in answers if isinstance(answer, Submitted)} == {a.job_id for a in made}
        assert await sql(first, "SELECT count(*) FROM jobs") == [(3,)]
        assert await sql(first, "SELECT count(*) FROM signals") == [(3,)]
    finally:
        await first.close()
        await second.close()


async def test_a_key_belongs_to_its_account_and_its_request(db: Database) -> None:
    (mine,) = await jobs.submit(db, [factories.submission(idempotency_key="k")])
    (theirs,) = await jobs.submit(db, [factories.submission(idempotency_key="k", principal=STRANGER)])
    (other,) = await jobs.submit(db, [factories.submission(idempotency_key="k", requirements=Requirements(gpus=2))])
    assert isinstance(mine, Submitted) and isinstance(theirs, Submitted)
    assert theirs.created and mine.job_id != theirs.job_id
    assert isinstance(other, IdempotencyClash) and mine.job_id in other.detail
    async with db.unit() as uow:
        assert await idempotency.forget(uow, 3600.0) == 0
        await uow.sql.execute("UPDATE idempotency_keys SET created_at = now() - interval '2 hours'")
        assert await idempotency.forget(uow, 3600.0) == 2
    (again,) = await jobs.submit(db, [factories.submission(idempotency_key="k")])
    assert isinstance(again, Submitted) and again.created


async def test_another_accounts_job_is_not_there(db: Database) -> None:
    (job_id,) = await factories.submit(db)
    for look in (jobs.get, jobs.cancel, jobs.explain, jobs.history):
        with pytest.raises(NotFound):
            await look(db, STRANGER, job_id)
    assert (await jobs.get(db, OWNER, job_id)).payload == {"prompt": "why"}
    assert await sql(db, "SELECT cancel_requested FROM jobs") == [(False,)]


async def test_cancelling_ends_a_job_wherever_it_stands_once(db: Database) -> None:
    await factories.node(db, capacity=8)
    waves = factories.runner(db)
    (running,) = await factories.accepted(db, waves)
    (offered,) = await factories.submit(db)
    await factories.run_waves(waves)
    (pending,) = await factories.submit(db, requirements=Requirements(gpus=64))
    await factories.run_waves(waves)
    for job_id in (running.job_id, offered, pending):
        await jobs.cancel(db, OWNER, job_id)
        await jobs.cancel(db, OWNER, job_id)
    await factories.run_waves(waves)
    assert await sql(db, "SELECT DISTINCT state FROM jobs") == [("cancelled",)]
    assert await sql(db, "SELECT active_jobs FROM nodes") == [(0,)]
    assert await sql(db, "SELECT count(*) FROM events WHERE kind = 'job_cancelled'") == [(3,)]
    late = await offers.report(db, [offers.new_report(running.id, running.node_id, ok=True)])
    assert late[0] is not None and late[0].code == "offer_over"
    await jobs.cancel(db, OWNER, pending)
    assert await sql(db, "SELECT count(*) FROM signals") == [(0,)]
