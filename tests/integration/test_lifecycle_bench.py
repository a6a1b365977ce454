"""The benchmarks of whole lives, small: that they measure what they say, not how fast it is."""

from __future__ import annotations

from collections import Counter

import pytest

from app.bench import api, growth, latency, lifecycle, workload
from app.bench.api import Load
from app.bench.areas import breakdown
from app.bench.children import Processes
from app.bench.growth_rows import SHORTEST
from app.bench.peers import Size, Tuning, missing
from app.core.states import JobState
from app.store import counts
from app.store.db import Database


async def _registered(url: str, count: int) -> None:
    db = Database(url, pool_size=1)
    try:
        await workload.register(db, count)
    finally:
        await db.close()


async def test_every_job_of_the_lifecycle_bench_goes_through_every_state(
    database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = str(tmp_path_factory.mktemp("profile") / "worker.pstats")
    await _registered(database_url, 16)
    found = await lifecycle.measure(database_url, redis_url, 100, in_flight=64, profiles={0: file})
    assert found.jobs_per_s > 0 and found.waves >= 3
    assert set(found.cores) == {"worker 0", "driver", "postgres"}
    # A job that was reported before the worker had made it running has waited once only: a rare race, no more.
    assert found.merged < found.jobs / 10
    db = Database(database_url, pool_size=1)
    async with db.unit() as uow:
        rows = await uow.sql.fetch(
            """SELECT array_agg(to_state ORDER BY seq) AS states, count(*) FROM job_history GROUP BY job_id"""
        )
        matched = await uow.sql.fetchval("SELECT count(*) FROM match_decisions WHERE node_id IS NOT NULL")
    await db.close()
    warm_up = 100
    assert Counter(tuple(row["states"]) for row in rows) == {
        ("pending", "offered", "assigned", "running", "completed"): found.jobs + warm_up
    }
    assert matched == found.jobs + warm_up
    profile = breakdown(file)
    assert {"matching", "asyncpg", "LangGraph", "rows: to and from SQL"} <= profile.areas.keys()


async def test_one_api_process_takes_submissions_and_batches(database_url: str, redis_url: str) -> None:
    loads = (Load(calls=60, clients=8, warm_up=4), Load(calls=2, clients=2, batch=50, warm_up=1))
    single, many = await api.measure(database_url, redis_url, loads)
    assert single.jobs_per_s > 0 and 0 < single.p50_ms <= single.p99_ms
    assert set(single.cores) == {"api", "clients", "postgres"}
    assert many.jobs_per_s > 0
    db = Database(database_url, pool_size=1)
    async with db.unit() as uow:
        assert (await counts.read(uow)).jobs == {JobState.PENDING: 64 + 150}
    await db.close()


async def test_the_time_to_an_offer_is_measured_over_http(database_url: str, redis_url: str) -> None:
    await _registered(database_url, 8)
    found = await latency.measure(database_url, redis_url, per_s=40, seconds=1.0, warm_up_s=0.5)
    assert found.jobs == 40
    assert 0 < found.p50_ms <= found.p99_ms
    assert set(found.cores) == {"api", "worker", "clients", "postgres"}


async def test_a_grown_database_has_the_jobs_and_histories_it_says(database_url: str) -> None:
    told: list[str] = []
    rows = await growth.grow(database_url, finished=230, history=2_400, told=told.append)
    assert rows == 230 * 10 and told
    db = Database(database_url, pool_size=1)
    async with db.unit() as uow:
        states = await uow.sql.fetch("SELECT state, count(*) FROM jobs GROUP BY state")
        assert {row[0]: row[1] for row in states} == (await counts.read(uow)).jobs
        months = await uow.sql.fetchval("SELECT count(DISTINCT tableoid) FROM job_history")
        astray = await uow.sql.fetchval("SELECT count(*) FROM job_history_default")
        broken = await uow.sql.fetchval(
            """SELECT count(*) FROM (SELECT from_state, lag(to_state) OVER (PARTITION BY job_id ORDER BY seq) AS before
            FROM job_history) AS h WHERE from_state IS DISTINCT FROM before"""
        )
        ended = await uow.sql.fetchval(
            """SELECT count(*) FROM jobs j JOIN LATERAL (SELECT to_state, attempt, reason FROM job_history
                WHERE job_id = j.id ORDER BY seq DESC LIMIT 1) h
            ON (h.to_state, h.attempt, h.reason) = (j.state, j.attempt, j.reason)"""
        )
        reported = await uow.sql.fetchval(
            """SELECT count(*) FROM jobs j JOIN offers o ON o.id = j.offer_id AND o.attempt = j.attempt
            JOIN results r ON r.offer_id = o.id AND r.ok = (j.state = 'completed') AND r.attempt = o.attempt"""
        )
        ran = await uow.sql.fetchval("SELECT count(*) FROM jobs WHERE state IN ('completed', 'failed')")
    assert (months, astray, broken, ended, reported) == (13, 0, 0, 230, ran)
    await db.close()


async def test_a_growth_that_is_no_whole_life_is_refused(database_url: str) -> None:
    with pytest.raises(ValueError, match=f"at least {SHORTEST}"):
        await growth.grow(database_url, finished=10, history=10 * SHORTEST - 1, told=lambda line: None)


@pytest.mark.skipif(bool(missing()), reason="needs the bench extra")
async def test_the_langgraph_peer_brings_its_jobs_to_their_ends(empty_database_url: str) -> None:
    from app.bench import peers_langgraph

    found = await peers_langgraph.play(empty_database_url, Size(4, 1), [Tuning(2, "1 saver"), Tuning(4, "2 savers")])
    assert found["jobs_per_s"] == pytest.approx(max(found["tried"].values()), abs=0.05)
    assert set(found["tried"]) == {"1 saver, 2 at a time", "2 savers, 4 at a time"}


@pytest.mark.skipif(bool(missing()), reason="needs the bench extra")
async def test_the_dbos_peer_brings_its_jobs_to_their_ends(empty_database_url: str, redis_url: str) -> None:
    # In a process of its own: DBOS is one a process, and keeps threads. It fails unless every job is settled.
    async with Processes(empty_database_url, redis_url) as processes:
        found = await processes.play("app.bench.peers_dbos", {"jobs": 2, "warm_up": 1})
    assert len(found["tried"]) == 6 and found["jobs_per_s"] > 0
