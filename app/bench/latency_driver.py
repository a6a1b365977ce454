"""Agents and nodes over HTTP at a steady rate: ``python -m app.bench.latency_driver`` reads one order.

Submissions leave at even times whether or not earlier ones were answered. Every node long-polls for offers, accepts at
once and reports the result at once. A job's time is from the moment its submission was due to leave until a node has
its offer.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import msgspec

from app.bench.cpu import CpuTimes
from app.bench.figures import percentile
from app.bench.obeying import obey
from app.bench.workload import RESULT, request
from app.node_worker.http1 import Http1

CALL_S = 30.0
POLL_S = 20
LATE_S = 30.0
"""How long after the last submission an offer may still come."""


@dataclass(slots=True)
class Order:
    """``per_s`` jobs a second for ``seconds``, after ``warm_up_s`` seconds of the same that do not count.

    ``pids``: processes whose CPU time is told, by name. ``postmaster``: PostgreSQL's process id.
    """

    url: str
    key: str
    nodes: list[str]
    per_s: float
    seconds: float
    warm_up_s: float
    postmaster: int
    pids: dict[str, int] = field(default_factory=dict)


class Traffic:
    """All agents and nodes of one order."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._http = Http1(order.url, None)
        self._headers = {"authorization": f"Bearer {order.key}", "content-type": "application/json"}
        self._sent: dict[str, float] = {}
        self._answered: dict[str, float] = {}
        self._offered: dict[str, float] = {}
        self._result = msgspec.json.encode({"result": RESULT})
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: list[BaseException] = []
        self._ended = 0

    async def submit(self, count: int, first: int) -> list[str]:
        """Send ``count`` submissions at even times; the ids of their jobs, once every one of them is at its end."""
        ended = self._ended
        calls = []
        began = time.perf_counter()
        for number in range(count):
            due = began + number / self._order.per_s
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            calls.append(asyncio.create_task(self._submit(first + number, due)))
        ids = [await call for call in calls]
        until = time.perf_counter() + LATE_S
        while self._ended < ended + count:
            if time.perf_counter() > until:
                raise RuntimeError(f"{count - self._ended + ended} of {count} jobs were not done in time")
            self._check()
            await asyncio.sleep(0.02)
        return ids

    def waits(self, ids: list[str]) -> list[float]:
        """Seconds from submission to offer, ascending."""
        return sorted(self._offered[job_id] - self._sent[job_id] for job_id in ids)

    def answers(self, ids: list[str]) -> list[float]:
        """Seconds from submission to its answer, ascending."""
        return sorted(self._answered[job_id] - self._sent[job_id] for job_id in ids)

    def start(self) -> None:
        """Let every node poll."""
        for node_id in self._order.nodes:
            self._spawn(self._node(node_id))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()

    async def _submit(self, number: int, due: float) -> str:
        body = msgspec.json.encode(request(number))
        answer = await self._ask("POST", "/v1/jobs", body)
        job_id: str = answer["job_id"]
        self._sent[job_id], self._answered[job_id] = due, time.perf_counter()
        return job_id

    async def _node(self, node_id: str) -> None:
        while True:
            answer = await self._ask("GET", f"/v1/node/{node_id}/offers?wait={POLL_S}")
            now = time.perf_counter()
            for offer in answer["offers"]:
                self._offered.setdefault(offer["job_id"], now)
            # The next poll would answer the same offers before they are accepted.
            await asyncio.gather(*(self._accept(node_id, offer["offer_id"]) for offer in answer["offers"]))

    async def _accept(self, node_id: str, offer_id: str) -> None:
        await self._ask("POST", f"/v1/node/{node_id}/offers/{offer_id}/accept")
        self._spawn(self._report(node_id, offer_id))

    async def _report(self, node_id: str, offer_id: str) -> None:
        await self._ask("POST", f"/v1/node/{node_id}/offers/{offer_id}/result", self._result)
        self._ended += 1

    async def _ask(self, method: str, path: str, body: bytes = b"") -> Any:
        answer = await self._http.exchange(method, path, self._headers, body, CALL_S)
        if answer.status not in (200, 201):
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.content[:300].decode(errors='replace')}")
        return msgspec.json.decode(answer.content)

    def _spawn(self, part: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(part)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed.append(error)

    def _check(self) -> None:
        if self._failed:
            raise self._failed[0]


async def play(order: Order) -> dict[str, Any]:
    """``p50_ms`` and ``p99_ms`` from submission to offer, of ``jobs``; ``answer_p50_ms`` from submission to its answer;
    ``cores`` busy meanwhile, by process."""
    traffic = Traffic(order)
    try:
        traffic.start()
        warm_up, count = (max(1, int(order.per_s * seconds)) for seconds in (order.warm_up_s, order.seconds))
        await traffic.submit(warm_up, 0)
        times = CpuTimes({**order.pids, "clients": os.getpid()}, order.postmaster)
        gc.collect()
        gc.freeze()
        before, began = times.read(), time.perf_counter()
        ids = await traffic.submit(count, warm_up)
        cores = times.cores(before, time.perf_counter() - began)
    finally:
        await traffic.close()
    waits = traffic.waits(ids)
    return {
        "answer_p50_ms": round(percentile(traffic.answers(ids), 50) * 1000, 1),
        "p50_ms": round(percentile(waits, 50) * 1000, 1),
        "p99_ms": round(percentile(waits, 99) * 1000, 1),
        "jobs": count,
        "cores": cores,
    }


if __name__ == "__main__":
    obey(lambda order: play(Order(**order)))
