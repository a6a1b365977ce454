"""The chain's side beside waves: it waits for them, and never the other way round."""

from __future__ import annotations

import asyncio

from app.store import jobs as job_rows
from app.store import nodes as node_rows
from app.store.db import Database
from tests import factories
from tests.factories import sql
from tests.integration.services.chain_cases import ChainJobCase, ChainNodeCase, World, batch
from tests.integration.store.test_locks import blocked

HASH = "a1" * 32
JOB = ChainJobCase()
NODE = ChainNodeCase()


async def test_a_wave_that_holds_the_job_gets_the_node_that_the_batch_is_about(db: Database) -> None:
    world = World(db)
    node_id = await factories.node(db, wallet="Owner")
    await world.record(NODE.registered(1))
    (job_id,) = await factories.submit(db, requirements_hash=HASH)
    async with db.unit() as wave:
        assert [job.id for job in await job_rows.lock(wave, [job_id])] == [job_id]
        recording = asyncio.create_task(
            world.record(JOB.created(5), NODE.status("Suspended", 5), accounts=JOB.account(HASH))
        )
        await blocked(db)
        # Would wait for the batch that waits for us, if that had begun with its nodes.
        await wave.sql.execute("SET LOCAL lock_timeout = '5s'")
        assert list(await node_rows.lock(wave, [node_id])) == [node_id]
    assert await recording == 2
    assert await sql(db, "SELECT state FROM nodes") == [("suspended",)]
    assert await sql(db, "SELECT chain_job FROM jobs") == [(JOB.address,)]


async def test_a_wave_passes_by_a_job_that_is_being_linked(db: Database) -> None:
    world = World(db)
    (job_id,) = await factories.submit(db, requirements_hash=HASH)
    async with db.unit() as uow:
        await world.index.record(uow, batch([JOB.created(5)], JOB.account(HASH)))
        async with db.unit() as wave:
            assert await job_rows.lock(wave, [job_id]) == []
    await factories.run_waves(factories.runner(db))
    assert await sql(db, "SELECT chain_job, match_tries > 0 FROM jobs") == [(JOB.address, True)]
