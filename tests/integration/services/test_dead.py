"""Jobs that the engine gave up looking at: found, looked into, tried again."""

from __future__ import annotations

import pytest

from app.core.errors import NotFound
from app.services import dead, jobs
from app.store.db import Database
from tests import factories
from tests.factories import OWNER, sql


async def poisoned(db: Database, count: int) -> list[str]:
    """Jobs under a policy that the engine does not know, parked by a real wave, in the order of their ids."""
    ids = await factories.submit(db, count)
    await sql(db, "UPDATE jobs SET policy = 'from_the_future' WHERE id = ANY($1::text[])", ids)
    waves = factories.runner(db, poison_tries=1)
    await waves.views.refresh()
    while (await waves.run_once()).signals:
        pass
    return ids


async def cured(db: Database) -> None:
    await sql(db, "UPDATE jobs SET policy = 'cheapest'")


async def test_dead_jobs_are_listed_with_their_errors_and_requeued_once_they_are_cured(db: Database) -> None:
    await factories.node(db, capacity=8)
    (well,) = await factories.submit(db)
    ids = await poisoned(db, 3)
    found = await dead.listing(db, "", 10)
    assert [one.job_id for one in found] == ids[::-1]
    assert {(one.account, one.state, one.signals, one.tries) for one in found} == {("acme", "pending", 1, 1)}
    assert found[0].error == "the job graph failed on signal submitted: InvalidInput"
    assert [one.job_id for one in await dead.listing(db, ids[1], 10)] == ids[:1]
    told = await dead.inspect(db, ids[0])
    assert [(one.kind, one.error) for one in told.signals] == [("submitted", found[0].error)]
    assert [row["to_state"] for row in told.history] == ["pending"]
    assert told.job.error == found[0].error
    await cured(db)
    done = await dead.requeue(db, [ids[0], well, "job_none"])
    assert (done.jobs, done.untouched, done.more) == ([ids[0]], [well, "job_none"], False)
    assert (await jobs.get(db, OWNER, ids[0])).job.error is None
    await factories.run_waves(factories.runner(db))
    states = dict(await sql(db, "SELECT id, state FROM jobs"))
    assert [states[job_id] for job_id in (well, *ids)] == ["offered", "offered", "pending", "pending"]
    rest = await dead.requeue(db, None)
    assert (rest.jobs, rest.more) == (ids[1:], False)
    await factories.run_waves(factories.runner(db))
    assert await sql(db, "SELECT DISTINCT state FROM jobs") == [("offered",)]
    assert await dead.listing(db, "", 10) == []
    with pytest.raises(NotFound):
        await dead.inspect(db, ids[0])


async def test_what_is_requeued_uncured_is_parked_again_after_as_many_tries(db: Database) -> None:
    ids = await poisoned(db, 1)
    await dead.requeue(db, ids)
    waves = factories.runner(db, poison_tries=2, poison_retry_s=0.0)
    await waves.views.refresh()
    while (await waves.run_once()).signals:
        pass
    assert [one.tries for one in await dead.listing(db, "", 10)] == [2]


async def test_the_error_of_a_run_stays_when_signals_are_tried_again(db: Database) -> None:
    ids = await poisoned(db, 1)
    await sql(db, "UPDATE jobs SET error = 'out of memory'")
    await dead.requeue(db, ids)
    assert (await jobs.get(db, OWNER, ids[0])).job.error == "out of memory"


async def test_cancelling_gives_a_dead_job_up(db: Database) -> None:
    ids = await poisoned(db, 1)
    await jobs.cancel(db, OWNER, ids[0])
    await factories.run_waves(factories.runner(db))
    assert await factories.state_of(db, ids[0]) == "cancelled"
    assert await dead.listing(db, "", 10) == []
    assert await sql(db, "SELECT count(*) FROM signals") == [(0,)]
