"""How long recovery takes: after PostgreSQL's restart, after the leading listener's death, after a node's.

Each measure is asked for when its fault has just struck, and waits for the recovery, WITHIN_S at most.
"""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from app.chaos.calls import Recorder
from app.chaos.history import History
from app.chaos.world import World

WITHIN_S = 30.0
_LOOK_S = 0.05
_RECENT_S = 3.0
"""Of a sign of life of a node that has died just now."""
_JOB = {"type": "llm_inference", "prompt": "probe", "input": {"run_s": 0.1}}
_MOVED = """SELECT at FROM job_history WHERE job_id = $1 AND attempt = $2
    AND from_state IN ('assigned', 'running', 'cancelling') AND to_state NOT IN ('running', 'cancelling')
    ORDER BY seq LIMIT 1"""


async def connected(url: str) -> asyncpg.Connection[Any]:
    """A connection of the suite's own, past all proxies; waits for PostgreSQL."""
    give_up = History.now() + WITHIN_S
    while True:
        try:
            return await asyncpg.connect(url, timeout=3.0)
        except (asyncpg.PostgresError, OSError, TimeoutError):
            if History.now() > give_up:
                raise
            await asyncio.sleep(0.1)


async def after_postgres(world: World, number: int) -> float:
    """Seconds until a submit is acknowledged and a job completed, PostgreSQL having started just now."""
    began = History.now()
    acknowledged = asyncio.create_task(_submitted(world.probe, f"probe-{number}"))
    sql = await connected(world.servers.database_url)
    try:
        since = await sql.fetchval("SELECT clock_timestamp()")
        while History.now() < began + WITHIN_S:
            if await sql.fetchval("SELECT 1 FROM jobs WHERE state = 'completed' AND finished_at > $1 LIMIT 1", since):
                break
            await asyncio.sleep(_LOOK_S)
    finally:
        await sql.close()
    await acknowledged
    return History.now() - began


async def _submitted(probe: Recorder, key: str) -> None:
    """Submit one job until it is acknowledged, or patience is over."""
    give_up = History.now() + WITHIN_S
    while History.now() < give_up:
        op = probe.op(kind="submit", key=key)
        reply = await probe.caller.call("POST", "/v1/jobs", _JOB, key=key, timeout_s=2.0)
        if reply.outcome == "ok":
            op.job_id = reply.body["job_id"]
        probe.add(op, reply)
        if reply.outcome == "ok":
            return
        await asyncio.sleep(_LOOK_S)


async def after_leader(world: World, number: int) -> float | None:
    """Seconds from the leading listener's death until another one leads. None when none led."""
    if world.dethroned is None:
        return None
    epoch, died = world.dethroned
    sql = await connected(world.servers.database_url)
    try:
        while await sql.fetchval("SELECT epoch FROM chain_leader WHERE id = 1") == epoch:
            if History.now() > died + WITHIN_S:
                break
            await asyncio.sleep(_LOOK_S)
        return History.now() - died
    finally:
        await sql.close()


async def after_node(world: World, number: int) -> float | None:
    """Seconds from the last sign of life of dead nodes until the jobs that they had went on, the longest of them.

    None when none of them had a job.
    """
    doomed = [node for node in world.nodes if node.doomed]
    sql = await connected(world.servers.database_url)
    took: list[float] = []
    try:
        now, read_at = await sql.fetchval("SELECT clock_timestamp()"), History.now()
        waiting = [job for node in doomed for job in node.dead_jobs if job[2] > read_at - _RECENT_S]
        for job_id, attempt, heard in waiting:
            while True:
                moved = await sql.fetchval(_MOVED, job_id, attempt)
                if moved is not None or History.now() > heard + WITHIN_S:
                    break
                await asyncio.sleep(_LOOK_S)
            ended = read_at + (moved - now).total_seconds() if moved is not None else History.now()
            took.append(ended - heard)
    finally:
        await sql.close()
    return max(took, default=None)
