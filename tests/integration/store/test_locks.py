"""Lock orders that deadlocked, or would: each pair runs through, in the interleaving that hurts."""

from __future__ import annotations

import asyncio

from app.services import nodes, offers
from app.store import heartbeats, results
from app.store import nodes as node_rows
from app.store.db import Database
from tests import factories
from tests.factories import OWNER, sql


async def blocked(db: Database) -> None:
    """Return when some other transaction waits for a lock."""
    waits = """SELECT 1 FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()"""
    async with asyncio.timeout(20):
        while not await sql(db, waits):  # noqa: ASYNC110  (only the server can tell)
            await asyncio.sleep(0.005)


async def test_a_node_that_registers_again_while_it_is_heard(db: Database) -> None:
    node_id = await factories.node(db, wallet="mine")
    await sql(db, "UPDATE nodes SET state = 'offline' WHERE id = $1", node_id)
    async with db.unit() as registering:
        await node_rows.lock(registering, [node_id])
        heard = asyncio.create_task(nodes.heard(db, [(node_id, 10)]))
        await blocked(db)
        # Would wait for the one that waits for us, if that had taken the heartbeat first.
        await registering.sql.execute("SET LOCAL lock_timeout = '5s'")
        await heartbeats.flush(registering, [(node_id, 20)])
    await heard
    assert await sql(db, "SELECT state FROM nodes WHERE id = $1", node_id) == [("online",)]


async def test_heartbeats_of_the_same_nodes_from_two_servers(db: Database) -> None:
    ids = sorted([await factories.node(db) for _ in range(30)])
    beats: list[tuple[str, int | None]] = [(node_id, 5) for node_id in ids]
    await asyncio.gather(*(nodes.heard(db, beats[::step]) for step in (1, -1) for _ in range(20)))
    assert await sql(db, "SELECT DISTINCT gpu_utilization FROM node_heartbeats") == [(5,)]


async def test_batches_that_repeat_each_others_reports(db: Database) -> None:
    await factories.node(db, capacity=32, gpus=32)
    running = await factories.accepted(db, factories.runner(db), 30)
    batch = [offers.new_report(offer.id, offer.node_id, ok=True) for offer in running]
    first, last = sorted(batch, key=lambda report: report.offer_id)[:: len(batch) - 1]
    async with db.unit() as uow:
        await uow.sql.execute("SET LOCAL lock_timeout = '5s'")
        assert len(await results.insert(uow, [first])) == 1
        other = asyncio.create_task(offers.report(db, batch[::-1]))
        await blocked(db)
        # Would wait for the other batch, if that had begun at its own end.
        assert len(await results.insert(uow, [last])) == 1
    assert await other == [None] * 30
    assert await sql(db, "SELECT count(*) FROM results") == [(30,)]


async def test_declining_and_accepting_in_two_orders(db: Database) -> None:
    await factories.node(db, capacity=32, gpus=32)
    waves = factories.runner(db)
    await factories.submit(db, 30)
    await factories.run_waves(waves)
    pairs = [(offer.id, offer.node_id) for offer in await factories.all_offers(db)]
    answers = await asyncio.gather(*(offers.accept(db, pairs[::step]) for step in (1, -1) for _ in range(5)))
    assert all(answer == [None] * 30 for answer in answers)
    assert await sql(db, "SELECT count(*) FROM signals WHERE kind = 'offer_accepted'") == [(30,)]


async def test_draining_what_meanwhile_came_online(db: Database) -> None:
    node_id = await factories.node(db)
    stale = await nodes.owned(db, OWNER, node_id)
    await sql(db, "UPDATE nodes SET state = 'offline' WHERE id = $1", node_id)
    assert await nodes.drain(db, stale, "operator") == "draining"
    assert await sql(db, "SELECT state FROM nodes") == [("draining",)]
    stale.node.state = type(stale.node.state)("online")
    assert await nodes.resume(db, stale, "operator") == "online"
    assert await sql(db, "SELECT state FROM nodes") == [("online",)]
