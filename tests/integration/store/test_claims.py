"""The claim statement's rules, one by one, on real rows."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from app.core.errors import Conflict, InvalidInput
from app.core.requirements import Requirements
from app.store import claims
from app.store.claims import MAX_BATCH, Claimed, Want
from app.store.db import Database
from tests import factories
from tests.factories import sql
from tests.integration.store.test_locks import blocked


def wants(node_id: str, *slots: int) -> list[Want]:
    """One want for each number of slots, named by its place."""
    return [Want(f"job_{place}", node_id, Requirements(gpus=count)) for place, count in enumerate(slots)]


async def claimed(db: Database, batch: list[Want], **options: Any) -> Claimed:
    async with db.unit() as uow:
        return await claims.claim(uow, batch, **options)


async def active(db: Database, node_id: str) -> tuple[int, int]:
    ((slots, version),) = await sql(db, "SELECT active_jobs, version FROM nodes WHERE id = $1", node_id)
    return slots, version


async def test_wants_are_served_in_order_and_a_refused_one_takes_nothing(db: Database) -> None:
    node_id = await factories.node(db, capacity=4)
    before = await active(db, node_id)
    outcome = await claimed(db, wants(node_id, 3, 2, 1, 1))
    assert outcome.granted == {"job_0", "job_2"}
    assert outcome.taken == {node_id: 4}
    row = outcome.nodes[node_id]
    assert (row.active_jobs, row.version) == (4, before[1] + 1) == await active(db, node_id)
    assert claims.before(row, 4).active_jobs == 0 and claims.before(row, 4).version == before[1]


async def test_nothing_is_refused_when_all_fit(db: Database) -> None:
    ids = [await factories.node(db, capacity=8) for _ in range(3)]
    batch = [Want(f"job_{at}", ids[at % 3], Requirements(gpus=1 + at % 4)) for at in range(9)]
    outcome = await claimed(db, batch)
    assert outcome.granted == {want.id for want in batch}
    assert outcome.taken == {node_id: row.active_jobs for node_id, row in outcome.nodes.items()}


async def test_a_full_batch_on_one_node_takes_what_there_is(db: Database) -> None:
    node_id = await factories.node(db, capacity=64, gpus=64)
    outcome = await claimed(db, wants(node_id, *(5 for _ in range(MAX_BATCH - 4)), 4, 4, 1, 1))
    # 12 fives make 60; then the first four that comes.
    assert len(outcome.granted) == 13 and f"job_{MAX_BATCH - 4}" in outcome.granted
    with pytest.raises(InvalidInput, match="at most 256"):
        await claimed(db, wants(node_id, *(1 for _ in range(MAX_BATCH + 1))))


REFUSING: list[tuple[str, dict[str, Any]]] = [
    ("state = 'draining'", {}),
    ("state = 'offline'", {}),
    ("gpu_model = 't4'", {"gpu_models": ("a100", "h100")}),
    ("gpus = 1", {"gpus": 2}),
    ("vram_gb = 24", {"min_vram_gb": 40}),
    ("capabilities = 6", {"capabilities": 3}),
    ("region = 'NA'", {"region": "EU"}),
    ("reputation = 99", {"min_reputation": 100}),
    ("reputation = 49", {}),
    ("price = 2000000001", {"max_price": 2_000_000_000}),
    ("active_jobs = 1", {"gpus": 2}),
    ("active_jobs = 1, trial = 1", {}),
]


async def test_each_requirement_is_held_against_the_true_row(db: Database) -> None:
    for change, asked in REFUSING:
        node_id = await factories.node(db, capacity=2, price=2_000_000_000)
        want = Want("job_1", node_id, Requirements(**asked))
        suits = await claimed(db, [want], floor=50)
        assert suits.granted == {"job_1"}, change
        async with db.unit() as uow:
            await claims.release(uow, suits.taken.items())
        await sql(db, f"UPDATE nodes SET {change}, version = version + 1 WHERE id = $1", node_id)
        slots = await active(db, node_id)
        outcome = await claimed(db, [want], floor=50)
        assert not outcome.granted and not outcome.taken, change
        row = outcome.nodes[node_id]
        assert (row.active_jobs, row.version) == slots == await active(db, node_id)


async def test_a_node_on_trial_takes_the_first_job_that_fits(db: Database) -> None:
    node_id = await factories.node(db, capacity=4)
    await sql(db, "UPDATE nodes SET trial = 2 WHERE id = $1", node_id)
    outcome = await claimed(db, wants(node_id, 5, 2, 1))
    assert outcome.granted == {"job_1"}
    assert outcome.nodes[node_id].free == 0
    assert not (await claimed(db, wants(node_id, 1))).granted


async def test_nodes_held_elsewhere_are_contended_and_unknown_ones_gone(db: Database) -> None:
    free, held = [await factories.node(db) for _ in range(2)]
    batch = [Want(node_id, node_id, Requirements()) for node_id in (free, held, "node_nowhere")]
    async with db.unit() as other:
        await claims.claim(other, wants(held, 1))
        outcome = await claimed(db, batch, wait=False)
    assert (outcome.granted, outcome.contended, outcome.gone) == ({free}, {held}, {"node_nowhere"})
    assert (await claimed(db, batch)).gone == {"node_nowhere"}


async def test_who_waits_decides_on_what_the_other_left(db: Database) -> None:
    taken, freed, grown = [await factories.node(db, capacity=1) for _ in range(3)]
    await claimed(db, wants(freed, 1))
    batch = [Want(node_id, node_id, Requirements()) for node_id in (taken, freed)] + wants(grown, 3)
    async with db.unit() as other:
        await claims.claim(other, wants(taken, 1))
        await claims.release(other, [(freed, 1)])
        await other.sql.execute("UPDATE nodes SET capacity = 4, version = version + 1 WHERE id = $1", grown)
        waiting = asyncio.create_task(claimed(db, batch))
        await blocked(db)
    outcome = await waiting
    assert outcome.granted == {freed, "job_0"}
    assert [outcome.nodes[node_id].active_jobs for node_id in (taken, freed, grown)] == [1, 1, 3]
    for node_id in (taken, freed, grown):
        row = outcome.nodes[node_id]
        assert (row.active_jobs, row.version) == await active(db, node_id)


async def test_who_waits_to_release_takes_from_what_the_other_left(db: Database) -> None:
    node_id = await factories.node(db, capacity=4)
    await claimed(db, wants(node_id, 1))
    async with db.unit() as other:
        await claims.claim(other, wants(node_id, 3))

        async def release() -> None:
            async with db.unit() as uow:
                await claims.release(uow, [(node_id, 4)])

        waiting = asyncio.create_task(release())
        await blocked(db)
    await waiting
    assert (await active(db, node_id))[0] == 0


async def test_batches_in_opposite_orders_do_not_deadlock(db: Database) -> None:
    ids = [await factories.node(db, capacity=64, gpus=64) for _ in range(20)]
    batch = [Want(node_id, node_id, Requirements()) for node_id in ids]
    outcomes = await asyncio.gather(*(claimed(db, batch[::step]) for step in (1, -1) for _ in range(10)))
    assert all(len(outcome.granted) == 20 for outcome in outcomes)
    assert await sql(db, "SELECT DISTINCT active_jobs FROM nodes") == [(20,)]


async def test_what_is_rolled_back_was_never_claimed(db: Database) -> None:
    node_id = await factories.node(db)
    before = await active(db, node_id)

    async def crash() -> None:
        async with db.unit() as uow:
            assert (await claims.claim(uow, wants(node_id, 1))).granted
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await crash()
    assert await active(db, node_id) == before


async def test_no_more_is_released_than_was_taken(db: Database) -> None:
    node_id = await factories.node(db)
    await claimed(db, wants(node_id, 1))
    with pytest.raises(asyncpg.CheckViolationError):
        async with db.unit() as uow:
            await claims.release(uow, [(node_id, 2)])
    with pytest.raises(Conflict, match="1 of 2 nodes"):
        async with db.unit() as uow:
            await claims.release(uow, [(node_id, 1), ("node_nowhere", 1)])
    assert (await active(db, node_id))[0] == 1
