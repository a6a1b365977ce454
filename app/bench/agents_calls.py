"""Agents that read through tools over HTTP: ``python -m app.bench.agents_calls`` reads one order.

Measured twice: what a call costs over the plain query that answers it, by one client that takes turns between the two;
and how many calls a second many clients get.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, field
from typing import Any

import msgspec

from app.bench.cpu import CpuTimes
from app.bench.figures import percentile
from app.bench.obeying import obey
from app.bench.workload import PRINCIPAL, submission
from app.node_worker.http1 import Http1
from app.services import jobs
from app.store.db import Database

CALL_S = 30.0
PLAIN = "SELECT * FROM jobs WHERE id = $1"


@dataclass(slots=True)
class Order:
    """``turns`` of one call and one plain query, then ``calls`` by ``clients`` at a time, after ``warm_up`` of them.

    ``jobs``: how many there are to read. ``pids``: processes whose CPU time is told. ``postmaster``: PostgreSQL's.
    """

    url: str
    key: str
    database_url: str
    jobs: int
    turns: int
    calls: int
    clients: int
    warm_up: int
    postmaster: int
    pids: dict[str, int] = field(default_factory=dict)


class Agents:
    """Calls get_job for one job after the other."""

    def __init__(self, order: Order, job_ids: list[str]) -> None:
        self._http = Http1(order.url, None)
        self._headers = {"authorization": f"Bearer {order.key}", "content-type": "application/json"}
        self._ids = job_ids
        self._bodies = [msgspec.json.encode({"job_id": one}) for one in job_ids]

    async def call(self, number: int) -> float:
        """Seconds that call ``number`` took. Raises RuntimeError on an answer that is not that job."""
        at = number % len(self._ids)
        sent = time.perf_counter()
        answer = await self._http.exchange("POST", "/v1/tools/get_job", self._headers, self._bodies[at], CALL_S)
        took = time.perf_counter() - sent
        if answer.status != 200 or self._ids[at].encode() not in answer.content:
            raise RuntimeError(f"get_job: {answer.status} {answer.content[:300].decode(errors='replace')}")
        return took

    async def many(self, calls: int, clients: int) -> list[float]:
        """Seconds that each of ``calls`` took, ascending; ``clients`` send their next when the last is answered."""
        left = iter(range(calls))
        taken: list[float] = []

        async def client() -> None:
            for number in left:
                took = await self.call(number)
                taken.append(took)

        await asyncio.gather(*(client() for _ in range(clients)))
        return sorted(taken)

    async def close(self) -> None:
        await self._http.aclose()


async def _submitted(url: str, count: int) -> list[str]:
    db = Database(url, pool_size=1, application="hae bench")
    try:
        answers = await jobs.submit(db, [submission(number) for number in range(count)])
    finally:
        await db.close()
    ids = []
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
        ids.append(answer.job_id)
    return ids


async def _in_turns(agents: Agents, url: str, ids: list[str], turns: int) -> tuple[list[float], list[float]]:
    """Seconds of each call, and of each plain query on a connection of its own, both ascending."""
    db = Database(url, pool_size=1, application="hae bench")
    called, plain = [], []
    try:
        for number in range(-min(turns, 50), turns):
            took = await agents.call(number)
            # Only the query: what the transaction around it takes is left out.
            async with db.unit() as uow:
                began = time.perf_counter()
                row = await uow.sql.fetchrow(PLAIN, ids[number % len(ids)])
                queried = time.perf_counter() - began
            assert row is not None and row["account"] == PRINCIPAL.account
            if number >= 0:
                called.append(took)
                plain.append(queried)
    finally:
        await db.close()
    return sorted(called), sorted(plain)


async def play(order: Order) -> dict[str, Any]:
    """``calls_per_s`` with their ``p50_ms`` and ``p99_ms``; of one client alone ``call_ms_p50``, ``query_ms_p50`` and
    their difference ``overhead_ms_p50``; ``cores`` busy during the many."""
    ids = await _submitted(order.database_url, order.jobs)
    agents = Agents(order, ids)
    try:
        called, plain = await _in_turns(agents, order.database_url, ids, order.turns)
        await agents.many(order.warm_up, order.clients)
        times = CpuTimes({**order.pids, "clients": os.getpid()}, order.postmaster)
        before, began = times.read(), time.perf_counter()
        taken = await agents.many(order.calls, order.clients)
        seconds = time.perf_counter() - began
        cores = times.cores(before, seconds)
    finally:
        await agents.close()
    call_ms, query_ms = (percentile(each, 50) * 1000 for each in (called, plain))
    return {
        "calls_per_s": round(order.calls / seconds, 1),
        "p50_ms": round(percentile(taken, 50) * 1000, 1),
        "p99_ms": round(percentile(taken, 99) * 1000, 1),
        "call_ms_p50": round(call_ms, 2),
        "query_ms_p50": round(query_ms, 2),
        "overhead_ms_p50": round(call_ms - query_ms, 2),
        "cores": cores,
    }


if __name__ == "__main__":
    obey(lambda order: play(Order(**order)))
