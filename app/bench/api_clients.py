"""Many clients of one API, in a process of their own: ``python -m app.bench.api_clients`` reads one order.

Every client is a connection of its own that is kept alive, and sends its next request when the last is answered.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from dataclasses import dataclass
from typing import Any

import msgspec

from app.bench.cpu import CpuTimes
from app.bench.figures import percentile
from app.bench.obeying import obey
from app.bench.workload import request
from app.node_worker.http1 import Http1

CALL_S = 60.0


@dataclass(slots=True)
class Order:
    """``calls`` of ``batch`` jobs each by ``clients`` at a time; a batch of 0 is a plain submission.

    ``warm_up`` calls come before the clock starts. ``server``: process id of the API; with ``profiled`` it runs under
    app/bench/profiled.py. ``postmaster``: PostgreSQL's process id.
    """

    url: str
    key: str
    clients: int
    calls: int
    batch: int
    warm_up: int
    server: int
    postmaster: int
    profiled: bool = False


class _BatchAnswer(msgspec.Struct):
    """What counts of a batch's answer; the rest is not even read."""

    created: int


class Clients:
    """Sends one order's calls."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._http = Http1(order.url, None)
        self._headers = {"authorization": f"Bearer {order.key}", "content-type": "application/json"}
        self._path = "/v1/jobs:batch" if order.batch else "/v1/jobs"

    def bodies(self, calls: int, first: int) -> list[bytes]:
        """Made before the clock starts."""
        size = self._order.batch
        if not size:
            return [msgspec.json.encode(request(first + number)) for number in range(calls)]
        return [
            msgspec.json.encode({"jobs": [request(first + call * size + number) for number in range(size)]})
            for call in range(calls)
        ]

    async def send(self, bodies: list[bytes]) -> tuple[float, list[float]]:
        """Seconds that all calls took, and each call's own, ascending."""
        waits: list[float] = []
        left = iter(bodies)

        async def client() -> None:
            for body in left:
                sent = time.perf_counter()
                answer = await self._http.exchange("POST", self._path, self._headers, body, CALL_S)
                waits.append(time.perf_counter() - sent)
                self._check(answer.status, answer.content)

        began = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(self._order.clients)))
        return time.perf_counter() - began, sorted(waits)

    def _check(self, status: int, content: bytes) -> None:
        if status not in (200, 201):
            raise RuntimeError(f"POST {self._path}: {status} {content[:500].decode(errors='replace')}")
        if self._order.batch:
            made = msgspec.json.decode(content, type=_BatchAnswer).created
            if made != self._order.batch:
                raise RuntimeError(f"{made} of {self._order.batch} jobs of a batch were made: {content[:500]!r}")

    async def close(self) -> None:
        await self._http.aclose()


async def play(order: Order) -> dict[str, Any]:
    """``jobs_per_s``, the calls' ``p50_ms`` and ``p99_ms``, and ``cores`` busy meanwhile, by process."""
    clients = Clients(order)
    try:
        await clients.send(clients.bodies(order.warm_up, 0))
        bodies = clients.bodies(order.calls, order.warm_up * max(1, order.batch))
        times = CpuTimes({"api": order.server, "clients": os.getpid()}, order.postmaster)
        gc.collect()
        gc.freeze()
        if order.profiled:
            os.kill(order.server, signal.SIGUSR1)
        before = times.read()
        seconds, waits = await clients.send(bodies)
        cores = times.cores(before, seconds)
        if order.profiled:
            os.kill(order.server, signal.SIGUSR2)
    finally:
        await clients.close()
    return {
        "jobs_per_s": order.calls * max(1, order.batch) / seconds,
        "seconds": seconds,
        "p50_ms": round(percentile(waits, 50) * 1000, 1),
        "p99_ms": round(percentile(waits, 99) * 1000, 1),
        "cores": cores,
    }


if __name__ == "__main__":
    obey(lambda order: play(Order(**order)))
