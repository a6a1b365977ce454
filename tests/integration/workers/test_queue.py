"""The wave loop: a second wave runs beside a large one, and both keep what must hold."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.services import offers
from app.store.db import Database
from app.store.signals import Share
from app.workers import queue
from app.workers.queue import WaveLoop
from graphs.runtime import WaveRunner
from tests import factories
from tests.factories import sql
from tests.integration.graphs import invariants


class Watched:
    """A wave runner that knows how many of its waves were under way at once."""

    def __init__(self, runner: WaveRunner) -> None:
        self.runner = runner
        self.db = runner.db
        self.running = 0
        self.most = 0

    async def run_once(self, claimed: Any, share: Any) -> Any:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await self.runner.run_once(claimed, share)
        finally:
            self.running -= 1


async def until(db: Database, state: str, count: int) -> None:
    async with asyncio.timeout(60):
        while await sql(db, "SELECT count(*) FROM jobs WHERE state = $1", state) != [(count,)]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(("nodes", "capacity"), [(60, 8), (4, 64)])
async def test_two_waves_side_by_side_place_every_job_once(db: Database, nodes: int, capacity: int) -> None:
    for _ in range(nodes):
        await factories.node(db, capacity=capacity, gpus=capacity)
    # Small waves: so few jobs make many of them.
    watched: Any = Watched(factories.runner(db, wave_size=queue.CROWD))
    await watched.runner.views.refresh()
    await factories.submit(db, 4 * queue.CROWD)
    loop, stop = WaveLoop(watched, 0.05), asyncio.Event()
    running = asyncio.create_task(loop.run(stop))
    await until(db, "offered", 4 * queue.CROWD)
    stop.set()
    await running
    assert watched.most == 2
    assert loop.moves == 4 * queue.CROWD
    await invariants.check(db, watched.runner.views)


async def test_waves_that_want_the_same_nodes_do_not_stay_side_by_side(db: Database) -> None:
    watched: Any = Watched(factories.runner(db))
    loop = WaveLoop(watched, 0.05)
    loop._claimed(queue.CROWD)
    assert loop._crowded.is_set()
    loop._crowded.clear()
    node_id = await factories.node(db, capacity=1)
    await watched.runner.views.refresh()
    await factories.submit(db)
    async with db.unit() as other:
        await other.sql.execute("SELECT 1 FROM nodes WHERE id = $1 FOR UPDATE", node_id)
        await loop._run_wave(Share.ALL)
    loop._crowded.clear()
    loop._claimed(queue.CROWD)
    assert not loop._crowded.is_set()


async def test_an_error_that_nobody_foresaw_ends_the_loop_for_whoever_restarts_it(db: Database) -> None:
    class Broken:
        def __init__(self) -> None:
            self.db = db

        async def run_once(self, claimed: Any, share: Any) -> Any:
            claimed(queue.CROWD)
            await asyncio.sleep(0)
            raise LookupError

    broken: Any = Broken()
    async with asyncio.timeout(20):
        with pytest.raises(LookupError):
            await WaveLoop(broken, 0.05).run(asyncio.Event())


async def test_answers_are_taken_note_of_beside_jobs_that_are_placed(db: Database) -> None:
    for _ in range(60):
        await factories.node(db, capacity=8, gpus=8)
    runner = factories.runner(db, wave_size=queue.CROWD)
    await runner.views.refresh()
    await factories.submit(db, 2 * queue.CROWD)
    await factories.run_waves(runner)
    offered = await factories.all_offers(db)
    await offers.accept(db, [(offer.id, offer.node_id) for offer in offered])
    await factories.submit(db, 2 * queue.CROWD)
    placed = await runner.run_once(None, Share.PLACING)
    assert (placed.signals, placed.moves) == (queue.CROWD, queue.CROWD)
    assert await sql(db, "SELECT state, count(*) FROM jobs GROUP BY state ORDER BY state") == [
        ("offered", 3 * queue.CROWD),
        ("pending", queue.CROWD),
    ]
    noted = await runner.run_once(None, Share.FOLLOWING)
    assert (noted.signals, noted.moves) == (queue.CROWD, queue.CROWD)
    assert await sql(db, "SELECT state, count(*) FROM jobs GROUP BY state ORDER BY state") == [
        ("assigned", queue.CROWD),
        ("offered", 2 * queue.CROWD),
        ("pending", queue.CROWD),
    ]
    await invariants.check(db, runner.views)
