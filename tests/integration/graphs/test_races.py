"""Several runners, nodes, agents and sweepers at once on one database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import pytest

from app.core.errors import HaeError
from app.core.requirements import Requirements
from app.services import jobs, nodes, offers
from app.store import nodes as node_rows
from app.store import offers as offer_rows
from app.store.db import Database
from graphs.runtime import WaveRunner
from tests import factories
from tests.factories import OWNER, sql
from tests.integration.graphs import invariants
from tests.integration.graphs.crowd import Crowd

JOBS = 300


class Agents(Crowd):
    """Nodes, agents and sweepers, until every job is over."""

    async def answer_offers(self) -> None:
        found = await offers.waiting(self.db, self.node_ids)
        for offer in [offer for waiting in found.values() for offer in waiting]:
            draw = self.random.random()
            if draw < 0.6:
                await offers.accept(self.db, [(offer.id, offer.node_id)])
            elif draw < 0.75:
                await offers.decline(self.db, offer.node_id, offer.id, "busy")

    async def run_jobs(self) -> None:
        running = await sql(self.db, "SELECT id, node_id FROM offers WHERE state = 'accepted' AND holds_slots")
        self.random.shuffle(running)
        batch = []
        for offer_id, node_id in running[:40]:
            draw = self.random.random()
            if draw < 0.2:
                await offers.progress(self.db, node_id, offer_id, 50.0, "on it")
            ok = draw < 0.8
            batch.append(offers.new_report(offer_id, node_id, ok=ok, error=None if ok else "broke"))
        await offers.report(self.db, batch)

    async def cancel(self) -> None:
        alive = await sql(self.db, "SELECT id FROM jobs WHERE finished_at IS NULL ORDER BY random() LIMIT 1")
        for (job_id,) in alive:
            await jobs.cancel(self.db, OWNER, job_id)

    async def fall_silent(self) -> None:
        past = "UPDATE node_heartbeats SET last_seen_at = now() - interval '1 hour' WHERE node_id = $1"
        for node_id in self.random.sample(self.node_ids, 2):
            # One row a transaction: this statement is the test's, and must not deadlock by itself.
            await sql(self.db, past, node_id)
        await nodes.sweep_silent(self.db, 300.0)

    async def come_back(self) -> None:
        await nodes.heard(self.db, [(node_id, None) for node_id in self.random.sample(self.node_ids, 6)])

    async def drain_and_resume(self) -> None:
        row = await nodes.owned(self.db, OWNER, self.random.choice(self.node_ids))
        await nodes.drain(self.db, row, "operator")
        await asyncio.sleep(0.01)
        await nodes.resume(self.db, row, "operator")

    async def register_again(self) -> None:
        at = self.random.randrange(len(self.node_ids))
        capacity = self.random.randint(1, 4)
        await factories.node(self.db, wallet=f"race{at}", capacity=capacity)

    async def living(self) -> int:
        ((count,),) = await sql(self.db, "SELECT count(*) FROM jobs WHERE finished_at IS NULL")
        return int(count)

    async def until_all_over(self) -> None:
        try:
            async with asyncio.timeout(60):
                while await self.living():  # noqa: ASYNC110  (the rows tell, and they tell nobody)
                    await asyncio.sleep(0.05)
        finally:
            self.over.set()


async def keep_running(waves: WaveRunner, over: asyncio.Event) -> None:
    while not over.is_set():
        await waves.views.ensure_fresh()
        report = await waves.run_once()
        assert not report.failed
        if not report.signals:
            await asyncio.sleep(0.005)


async def deadlocks(db: Database) -> int:
    found = await sql(
        db, "SELECT pg_stat_force_next_flush(), deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    return int(found[0][1])


async def test_two_runners_and_a_crowd_break_nothing(database_url: str) -> None:
    first, second, outside = (Database(database_url) for _ in range(3))
    try:
        ids = [await factories.node(outside, wallet=f"race{i}", capacity=1 + i % 4) for i in range(12)]
        await factories.submit(outside, JOBS // 2, max_retries=2, queue_ttl_s=8)
        wide = Requirements(gpus=2)
        await factories.submit(outside, JOBS // 2, max_retries=2, queue_ttl_s=8, requirements=wide, policy="cheapest")
        runners = [
            factories.runner(first, wave_size=64, offer_ttl_s=0.2),
            factories.runner(second, wave_size=16, offer_ttl_s=0.2),
        ]
        crowd = Agents(outside, ids, seed=7)
        async with asyncio.TaskGroup() as group:
            for waves in runners:
                group.create_task(keep_running(waves, crowd.over))
            for _ in range(2):
                group.create_task(crowd.repeatedly(crowd.answer_offers, 0.02))
                group.create_task(crowd.repeatedly(crowd.run_jobs, 0.02))
                group.create_task(crowd.repeatedly(crowd.come_back, 0.02))
                group.create_task(crowd.repeatedly(crowd.drain_and_resume, 0.05))
            group.create_task(crowd.repeatedly(crowd.cancel, 0.3))
            group.create_task(crowd.repeatedly(crowd.fall_silent, 0.2))
            group.create_task(crowd.repeatedly(crowd.register_again, 0.1))
            group.create_task(crowd.until_all_over())
        for waves in runners:
            await factories.run_waves(waves)
        await invariants.check(outside, *(waves.views for waves in runners))
        assert await sql(outside, "SELECT count(*) FROM signals") == [(0,)]
        assert await deadlocks(outside) == 0
        ended = dict(await sql(outside, "SELECT state, count(*) FROM jobs GROUP BY state"))
        assert sum(ended.values()) == JOBS and {"completed", "cancelled"} <= ended.keys(), ended
    finally:
        for db in (first, second, outside):
            await db.close()


@pytest.fixture
async def waves(db: Database) -> WaveRunner:
    for _ in range(20):
        await factories.node(db, capacity=2)
    return factories.runner(db, offer_ttl_s=600.0)


async def racing(db: Database, waves: WaveRunner, rivals: Sequence[Awaitable[object]]) -> list[object]:
    """Run the rivals beside the waves, then the waves until quiet; what the rivals said."""
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(keep_running(waves, over))
        said = await asyncio.gather(*rivals)
        over.set()
    await factories.run_waves(waves)
    return said


async def after(delay_s: float, work: Callable[[], Awaitable[object]]) -> object:
    await asyncio.sleep(delay_s)
    return await work()


async def test_of_an_acceptance_and_the_expiry_exactly_one_wins(db: Database, waves: WaveRunner) -> None:
    await factories.submit(db, 40)
    await factories.run_waves(waves)
    given = await factories.all_offers(db)
    assert len(given) == 40
    soon = "now() + interval '0.3 seconds'"
    await sql(db, f"UPDATE signals SET due_at = {soon} WHERE kind = 'offer_expired'")
    await sql(db, "UPDATE offers SET expires_at = s.due_at FROM signals s WHERE s.job_id = offers.job_id")
    rivals = [
        after(0.2 + 0.005 * i, partial(offers.accept, db, [(offer.id, offer.node_id)])) for i, offer in enumerate(given)
    ]
    said = await racing(db, waves, rivals)
    for offer, answer in zip(given, said, strict=True):
        ((state, held, first),) = await sql(
            db,
            """SELECT o.state, o.holds_slots, j.offer_id = o.id FROM offers o JOIN jobs j ON j.id = o.job_id
            WHERE o.id = $1""",
            offer.id,
        )
        if answer == [None]:
            assert (state, held, first) == ("accepted", True, True)
        else:
            assert isinstance(answer, list) and isinstance(answer[0], HaeError) and answer[0].code == "offer_expired"
            assert (state, held) == ("expired", False)
    assert len({str(answer) for answer in said}) > 1, "one side won every race: the times are off"
    await invariants.check(db, waves.views)


async def test_of_a_result_and_a_cancel_exactly_one_wins(db: Database, waves: WaveRunner) -> None:
    running = await factories.accepted(db, waves, 30)
    rivals: list[Awaitable[object]] = []
    for i, offer in enumerate(running):
        gap = 0.002 * (i - 15)
        result = offers.new_report(offer.id, offer.node_id, ok=True)
        rivals.append(after(max(0.0, gap), partial(offers.report, db, [result])))
        rivals.append(after(max(0.0, -gap), partial(jobs.cancel, db, OWNER, offer.job_id)))
    said = await racing(db, waves, rivals)
    for offer, answer in zip(running, said[::2], strict=True):
        expected = "completed" if answer == [None] else "cancelled"
        assert await factories.state_of(db, offer.job_id) == expected
    await invariants.check(db, waves.views)


async def test_of_a_result_and_the_time_out_exactly_one_wins(db: Database, waves: WaveRunner) -> None:
    running = await factories.accepted(db, waves, 30, timeout_s=1, max_retries=0)
    rivals: list[Awaitable[object]] = []
    for i, offer in enumerate(running):
        result = offers.new_report(offer.id, offer.node_id, ok=True)
        rivals.append(after(0.7 + 0.02 * i, partial(offers.report, db, [result])))
    said = await racing(db, waves, rivals)
    for offer, answer in zip(running, said, strict=True):
        expected = "completed" if answer == [None] else "failed"
        assert await factories.state_of(db, offer.job_id) == expected
    await invariants.check(db, waves.views)


async def test_draining_waits_for_no_wave_that_waits_for_the_node(db: Database, waves: WaveRunner) -> None:
    await factories.submit(db)
    await factories.run_waves(waves)
    (offer,) = await factories.all_offers(db)
    row = await nodes.owned(db, OWNER, offer.node_id)
    async with asyncio.timeout(20), db.unit() as wave:
        # What a wave does: the offer first, then its node.
        await offer_rows.lock(wave, [offer.id])
        await nodes.drain(db, row, "operator")
        await node_rows.lock(wave, [offer.node_id])
    await factories.run_waves(waves)
    ((state, reason),) = await sql(
        db,
        """SELECT o.state, h.reason FROM offers o JOIN job_history h USING (job_id)
        WHERE o.id = $1 AND h.from_state = 'offered' AND h.to_state = 'pending'""",
        offer.id,
    )
    assert (state, reason) == ("withdrawn", "drained")
    (again,) = await factories.all_offers(db)
    assert again.node_id != offer.node_id
