"""Counts of jobs: what is written along with the moves is what there is, at any moment, whoever folds it meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import asyncpg

from app.core.errors import HaeError
from app.core.money import MAX_AMOUNT
from app.core.requirements import Requirements
from app.core.states import JobState
from app.services import jobs, maintenance, offers
from app.store import counts, figures
from app.store.counts import Tally
from app.store.db import Database, UnitOfWork
from graphs.runtime import WaveRunner
from tests import factories
from tests.factories import OWNER, sql

KEYS = ("key_one", "key_two", "key_three")
JOBS = 90


async def _differences(uow: UnitOfWork) -> list[str]:
    """Where the counts are not what a look at all jobs says, in the transaction's one view of the database."""
    there = dict(await uow.sql.fetch("SELECT state, count(*) FROM jobs GROUP BY state"))
    paid = await uow.sql.fetchval("SELECT coalesce(sum(cost), 0) FROM jobs WHERE state = 'completed'")
    waiting = await uow.sql.fetch(
        """SELECT key_id, count(*) FROM jobs WHERE state IN ('blocked', 'scheduled', 'pending') GROUP BY key_id"""
    )
    held = await uow.sql.fetch(
        """SELECT key_id, sum(o.slots)::int8 FROM offers o JOIN jobs j ON j.id = job_id
        WHERE holds_slots GROUP BY key_id"""
    )
    found = await counts.read(uow)
    compared = {
        "states": (found.jobs, there),
        "paid": (found.paid, paid),
        "waiting": (await counts.waiting(uow, KEYS), dict(waiting)),
        "held": (await counts.slots_held(uow, KEYS), dict(held)),
    }
    return [f"{what}: {told} counted, {seen} there" for what, (told, seen) in compared.items() if told != seen]


class _Traffic:
    """Waves, nodes, agents and folds at once, until all jobs are over; ``differences`` of all that was looked at."""

    def __init__(self, db: Database, database_url: str) -> None:
        self.db = db
        self.url = database_url
        self.over = asyncio.Event()
        self.looks = 0
        self.folded = 0
        self.differences: list[str] = []

    async def repeatedly(self, act: Callable[[], Awaitable[object]]) -> None:
        while not self.over.is_set():
            await act()
            await asyncio.sleep(0.002)

    async def waves(self, runner: WaveRunner) -> None:
        await runner.views.ensure_fresh()
        assert not (await runner.run_once()).failed

    async def nodes(self) -> None:
        """Every third offer is declined, every fourth run fails."""
        for number, offer in enumerate(await factories.all_offers(self.db)):
            try:
                if number % 3 == 2:
                    await offers.decline(self.db, offer.node_id, offer.id, "busy")
                else:
                    await offers.accept(self.db, [(offer.id, offer.node_id)])
            except HaeError:
                # Somebody cancelled the job.
                continue
        running = await sql(
            self.db, "SELECT id, node_id FROM offers WHERE state = 'accepted' AND holds_slots ORDER BY id"
        )
        await offers.report(
            self.db,
            [
                offers.new_report(offer_id, node_id, ok=bool(number % 4), error=None if number % 4 else "broke")
                for number, (offer_id, node_id) in enumerate(running)
            ],
        )

    async def cancels(self) -> None:
        for (job_id,) in await sql(self.db, "SELECT id FROM jobs WHERE finished_at IS NULL ORDER BY id DESC LIMIT 1"):
            await jobs.cancel(self.db, OWNER, job_id)
        await asyncio.sleep(0.1)

    async def folds(self) -> None:
        self.folded += await maintenance.fold_counts(self.db)

    async def looks_on(self) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                now = await connection.fetchval("SELECT now()")
                self.differences += await _differences(UnitOfWork(connection, now))
        finally:
            await connection.close()
        self.looks += 1

    async def watch(self) -> None:
        async with asyncio.timeout(60):
            # Nobody tells when all are over.
            while await sql(self.db, "SELECT 1 FROM jobs WHERE finished_at IS NULL LIMIT 1"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        self.over.set()


async def test_they_are_exact_at_every_moment_of_a_busy_time(db: Database, database_url: str) -> None:
    for _ in range(4):
        await factories.node(db, capacity=4)
    for number, key_id in enumerate(KEYS):
        who = replace(OWNER, key_id=key_id)
        asked = Requirements(gpus=1 + number)
        await factories.submit(db, JOBS // 3, principal=who, requirements=asked, max_retries=1, queue_ttl_s=20)
    traffic = _Traffic(db, database_url)
    async with asyncio.TaskGroup() as group:
        for size in (7, 32):
            runner = factories.runner(db, wave_size=size, offer_ttl_s=1.0)
            group.create_task(traffic.repeatedly(lambda runner=runner: traffic.waves(runner)))  # type: ignore[misc]
        for act in (traffic.nodes, traffic.cancels, traffic.folds, traffic.folds, traffic.looks_on):
            group.create_task(traffic.repeatedly(act))
        group.create_task(traffic.watch())
    assert traffic.differences == []
    assert traffic.looks > 3 and traffic.folded > 0
    async with db.unit() as uow:
        assert await _differences(uow) == []
        found = await counts.read(uow)
    assert sum(found.jobs.values()) == JOBS and {"completed", "cancelled"} <= found.jobs.keys()
    await maintenance.fold_counts(db)
    # Nobody has anything any more: no row of a key is left.
    assert await sql(db, "SELECT DISTINCT key_id FROM job_counts") == [("",)]
    assert await sql(db, "SELECT count(*) - count(DISTINCT state) FROM job_counts") == [(0,)]


async def test_a_fold_changes_no_sum_and_ends_with_a_row_a_state_and_key(db: Database) -> None:
    for number in range(30):
        tally = Tally()
        tally.move(f"key_{number % 2}", 2, None, JobState.PENDING)
        tally.move(f"key_{number % 2}", 2, JobState.PENDING, JobState.OFFERED)
        tally.move("key_9", 1, None, JobState.FAILED)
        tally.complete(10, MAX_AMOUNT)
        async with db.unit() as uow:
            await counts.add(uow, tally)
    async with db.unit() as uow:
        before = await counts.read(uow)
        held = await counts.slots_held(uow, ["key_0", "key_1", "key_9", ""])
        rows = await uow.sql.fetchval("SELECT count(*) FROM job_counts")
        assert await counts.foldable(uow) == rows - 4
    assert held == {"key_0": 30, "key_1": 30}
    assert before.jobs == {"offered": 30, "failed": 30}
    assert (before.run_ms, before.paid) == (300, 30 * MAX_AMOUNT), "sums go beyond what one amount may be"
    assert await maintenance.fold_counts(db, at_least=rows - 3) == 0, "not worth it"
    assert await maintenance.fold_counts(db) == rows - 4
    async with db.unit() as uow:
        assert await counts.read(uow) == before
        assert await counts.slots_held(uow, ["key_0", "key_1"]) == held
        assert await counts.foldable(uow) == 0


async def test_a_fold_leaves_what_another_one_has(db: Database) -> None:
    await factories.submit(db, 1)
    await factories.submit(db, 1)
    async with db.unit() as uow:
        up_to = await counts.newest(uow)
        assert await counts.fold(uow, up_to) == (2, 1)
        async with db.unit() as other:
            assert await counts.fold(other, up_to) == (0, 0)
            assert (await counts.read(other)).jobs == {"pending": 2}


async def test_the_networks_figures_come_from_them(db: Database) -> None:
    await factories.node(db, capacity=4)
    waves = factories.runner(db)
    given = await factories.accepted(db, waves, 2)
    await offers.report(db, [offers.new_report(one.id, one.node_id, ok=True) for one in given])
    await factories.run_waves(waves)
    ((paid, run_ms),) = await sql(
        db, "SELECT sum(cost)::int8, avg(extract(epoch FROM finished_at - assigned_at) * 1000)::float8 FROM jobs"
    )
    await factories.submit(db, 1)
    async with db.unit() as uow:
        found = await figures.network(uow)
    assert found.jobs_by_state == {"completed": 2, "pending": 1}
    assert found.jobs_total == 3
    assert found.hyper_paid == paid > 0
    assert abs(found.avg_duration_ms - run_ms) <= 1
