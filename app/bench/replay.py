"""Indexing speed: a backlog of events on a real chain into PostgreSQL, and how long a live event takes.

Three processes: the chain (app/bench/backlog_chain.py), `hae listener` as it is deployed, and this one, which only
looks into the database.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil

from app.chain.devchain.config import JOB_RECEIPT, NODE_REGISTRY, PAYMENT_SPLITTER
from app.store.chain import progress
from app.store.db import Database
from app.store.scratch import settle

START_S = 60.0
BACKLOG_S = 900.0
LIVE_S = 120.0
WARM_UP = 20
LINE_BYTES = 64 * 1024 * 1024


class ChainProcess:
    """The chain's process: an order a line, an answer a line."""

    def __init__(self, process: Process, hello: dict[str, Any]) -> None:
        self.url: str = hello["url"]
        self.ws_url: str = hello["ws_url"]
        self._process = process

    async def order(self, what: dict[str, Any], timeout_s: float = BACKLOG_S) -> dict[str, Any]:
        """Raises RuntimeError when it has ended."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        return await _line(self._process, timeout_s)


async def _line(process: Process, timeout_s: float) -> dict[str, Any]:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), timeout_s)
    if not line:
        raise RuntimeError("the chain's process has ended")
    answer: dict[str, Any] = json.loads(line)
    return answer


@asynccontextmanager
async def chain_process() -> AsyncIterator[ChainProcess]:
    """A chain without blocks, until the block ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.bench.backlog_chain", stdin=PIPE, stdout=PIPE, limit=LINE_BYTES
    )
    try:
        yield ChainProcess(process, await _line(process, START_S))
    finally:
        await _end(process)


@asynccontextmanager
async def listener_process(database_url: str, redis_url: str, chain: ChainProcess) -> AsyncIterator[psutil.Process]:
    """`hae listener` on that chain, until the block ends."""
    env = {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SOLANA_RPC_URL": chain.url,
        "SOLANA_WS_URL": chain.ws_url,
        "NODE_REGISTRY_PROGRAM_ID": NODE_REGISTRY,
        "JOB_RECEIPT_PROGRAM_ID": JOB_RECEIPT,
        "PAYMENT_SPLITTER_PROGRAM_ID": PAYMENT_SPLITTER,
        "HAE_LOG_LEVEL": "warning",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "app", "listener", env=env)
    try:
        yield psutil.Process(process.pid)
    finally:
        await _end(process)


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), 15.0)
    except TimeoutError:
        process.kill()
        await process.wait()


async def measure(database_url: str, redis_url: str, *, events: int, live: int, live_per_s: float) -> dict[str, Any]:
    """``events_per_s`` from the listener's start, its imports left out: from its first row to its last.

    ``rss_mb``: the most that the listener had in memory. ``live_ms_*``: from a block's confirmation on the chain until
    the row can be read.
    """
    db = Database(database_url, pool_size=2, application="hae bench")
    try:
        async with chain_process() as chain:
            await chain.order({"backlog": events})
            async with listener_process(database_url, redis_url, chain) as listener:
                seconds, rss = await _backlog(db, listener, events)
                # The backlog's dirty pages are not the live events' doing.
                await settle(database_url)
                # The first scan after a backlog lists its last slots again, a thousand transactions in each.
                await _live(db, chain, WARM_UP, live_per_s)
                latencies = await _live(db, chain, live, live_per_s) if live else []
                rss = max(rss, listener.memory_info().rss)
    finally:
        await db.close()
    found = {
        "events": events,
        "events_per_s": round(events / seconds, 1),
        "seconds": round(seconds, 2),
        "rss_mb": round(rss / 2**20, 1),
    }
    if latencies:
        found |= {
            "live_events": len(latencies),
            "live_ms_p50": round(latencies[len(latencies) // 2] * 1000, 1),
            "live_ms_p99": round(latencies[min(len(latencies) - 1, len(latencies) * 99 // 100)] * 1000, 1),
        }
    return found


async def _backlog(db: Database, listener: psutil.Process, events: int) -> tuple[float, int]:
    """Seconds from the first page listed until everything is in, and the listener's memory at its most."""
    began: float | None = None
    rss = 0
    end = time.monotonic() + BACKLOG_S
    while time.monotonic() < end:
        rss = max(rss, listener.memory_info().rss)
        async with db.unit() as uow:
            if began is None and await progress.begun(uow):
                began = time.monotonic()
            if began is not None and await progress.newest(uow) >= events and await progress.count(uow) >= events:
                return time.monotonic() - began, rss
        await asyncio.sleep(0.02)
    raise RuntimeError(f"not all of {events} events were indexed within {BACKLOG_S:g} s")


async def _live(db: Database, chain: ChainProcess, count: int, per_s: float) -> list[float]:
    """Seconds from confirmation to the row that others see, ascending."""
    seen: dict[str, float] = {}
    async with db.unit() as uow:
        number = await progress.newest(uow)
    told = asyncio.create_task(chain.order({"live": count, "per_s": per_s}, LIVE_S))
    end = time.monotonic() + LIVE_S
    try:
        while len(seen) < count and time.monotonic() < end:
            async with db.unit() as uow:
                signatures, number = await progress.after(uow, number)
            now = time.time()
            for signature in signatures:
                seen.setdefault(signature, now)
            await asyncio.sleep(0.002)
        confirmed = await told
    finally:
        told.cancel()
    if len(seen) < count:
        raise RuntimeError(f"{len(seen)} of {count} live events were indexed within {LIVE_S:g} s")
    return sorted(seen[signature] - at for signature, at in confirmed.items())
