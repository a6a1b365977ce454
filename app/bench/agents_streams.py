"""Many agents that follow their account by server-sent events: ``python -m app.bench.agents_streams`` reads one order.

Every stream gets every event. An event's time counts from just before the transaction that writes it begins until a
client has read the whole event from its socket.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import psutil

from app.bench.cpu import CpuTimes
from app.bench.figures import percentile
from app.bench.obeying import obey
from app.bench.workload import submission
from app.services import jobs
from app.store.bus import Bus
from app.store.db import Database

OPEN_S = 60.0
LATE_S = 30.0
"""How long after the last event a stream may still get one."""
RSS_EVERY_S = 0.1
_EVENT = re.compile(rb'id: (\d+)\r\nevent: job_submitted\r\ndata: [^\r]*?"job_id":"([^"]+)"')
_END = b"\r\n\r\n"


@dataclass(slots=True)
class Order:
    """``clients`` streams, as many of each key, while ``per_s`` events a second are written for ``seconds``.

    ``warm_up_s`` seconds of the same go before, and do not count. ``server``: process id of the API. ``pids``:
    processes whose CPU time is told, by name. ``postmaster``: PostgreSQL's process id.
    """

    url: str
    keys: list[str]
    database_url: str
    redis_url: str
    clients: int
    per_s: float
    seconds: float
    warm_up_s: float
    server: int
    postmaster: int
    pids: dict[str, int] = field(default_factory=dict)


class Arrivals:
    """When which event came to how many streams."""

    def __init__(self) -> None:
        self.jobs: dict[int, str] = {}
        self.times: dict[int, array[float]] = {}
        self.count = 0

    def note(self, position: int, job_id: bytes, now: float) -> None:
        times = self.times.get(position)
        if times is None:
            self.jobs[position] = job_id.decode()
            times = self.times[position] = array("d")
        times.append(now)
        self.count += 1


class Stream(asyncio.Protocol):
    """One connection that follows the feed. ``failed``: why it is not to be counted on."""

    def __init__(self, request: bytes, arrivals: Arrivals, opened: asyncio.Future[None]) -> None:
        self._request = request
        self._arrivals = arrivals
        self._opened = opened
        self._rest = b""
        self._position = 0
        self.failed = ""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        data = self._rest + data
        if not self._opened.done():
            if b": open" not in data:
                self._rest = data
                return
            if not data.startswith(b"HTTP/1.1 200"):
                self.failed = data[:300].decode(errors="replace")
            self._opened.set_result(None)
        # Whatever frames the chunks stands between whole events.
        end = data.rfind(_END) + len(_END)
        if end < len(_END):
            self._rest = data
            return
        self._rest = data[end:]
        for found, job_id in _EVENT.findall(data[:end]):
            position = int(found)
            if position <= self._position:
                self.failed = f"event {position} came after {self._position}"
            self._position = position
            self._arrivals.note(position, job_id, now)

    def connection_lost(self, error: Exception | None) -> None:
        self.failed = self.failed or f"the stream broke off: {error or self._rest[-300:]!r}"
        if not self._opened.done():
            self._opened.set_result(None)


class Crowd:
    """All streams of one order."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self.arrivals = Arrivals()
        self._streams: list[Stream] = []

    async def open(self) -> None:
        """Connect them, a few at a time. Raises RuntimeError when one is refused."""
        parts = urlsplit(self._order.url)
        loop = asyncio.get_running_loop()
        room = asyncio.Semaphore(16)

        async def one(number: int) -> None:
            key = self._order.keys[number % len(self._order.keys)]
            request = (
                f"GET /v1/events?after=latest HTTP/1.1\r\nhost: {parts.netloc}\r\naccept: text/event-stream\r\n"
                f"authorization: Bearer {key}\r\n\r\n"
            )
            opened = loop.create_future()
            async with room, asyncio.timeout(OPEN_S):
                _, stream = await loop.create_connection(
                    lambda: Stream(request.encode(), self.arrivals, opened), parts.hostname or "", parts.port or 80
                )
                self._streams.append(stream)
                await opened

        await asyncio.gather(*(one(number) for number in range(self._order.clients)))
        self.check()

    def check(self) -> None:
        failed = [stream.failed for stream in self._streams if stream.failed]
        if failed:
            raise RuntimeError(f"{len(failed)} of {len(self._streams)} streams failed, the first: {failed[0]}")

    async def got(self, events: int) -> None:
        """Wait until every stream has got so many events. Raises RuntimeError when one does not."""
        until = time.perf_counter() + LATE_S
        while self.arrivals.count < events * self._order.clients:
            self.check()
            if time.perf_counter() > until:
                raise RuntimeError(f"{events * self._order.clients - self.arrivals.count} events did not arrive")
            await asyncio.sleep(0.02)
        self.check()

    def close(self) -> None:
        for stream in self._streams:
            stream.transport.abort()


class Writer:
    """Writes events at even times: each a job's submission, in a transaction of its own."""

    def __init__(self, db: Database, per_s: float) -> None:
        self._db = db
        self._per_s = per_s
        self.began: dict[str, float] = {}

    async def write(self, count: int) -> list[str]:
        """Ids of the jobs that ``count`` events are about, once they are all committed."""
        calls = []
        start = time.perf_counter()
        for number in range(count):
            wait = start + number / self._per_s - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            calls.append(asyncio.create_task(self._one(len(self.began) + number)))
        return [await call for call in calls]

    async def _one(self, number: int) -> str:
        began = time.perf_counter()
        (answer,) = await jobs.submit(self._db, [submission(number)])
        if isinstance(answer, Exception):
            raise answer
        self.began[answer.job_id] = began
        return answer.job_id


async def _most_rss(pid: int, most: list[int]) -> None:
    process = psutil.Process(pid)
    while True:
        most[0] = max(most[0], process.memory_info().rss)
        await asyncio.sleep(RSS_EVERY_S)


def _waits(arrivals: Arrivals, began: dict[str, float], ids: Sequence[str]) -> list[float]:
    """Seconds until each event of these jobs was read by each stream, ascending."""
    counted = set(ids)
    return sorted(
        at - began[job_id]
        for position, job_id in arrivals.jobs.items()
        if job_id in counted
        for at in arrivals.times[position]
    )


async def play(order: Order) -> dict[str, Any]:
    """``p50_ms`` and ``p99_ms`` from event to client over all ``deliveries``, the server's ``rss_mb`` at its most,
    ``open_s`` until all streams were open, and ``cores`` busy meanwhile."""
    db = Database(order.database_url, pool_size=4, application="hae bench")
    bus = Bus(order.redis_url)
    db.on_commit = bus.publish
    crowd, writer, most = Crowd(order), Writer(db, order.per_s), [0]
    watching = asyncio.create_task(_most_rss(order.server, most))
    try:
        began = time.perf_counter()
        await crowd.open()
        open_s = time.perf_counter() - began
        warm_up, count = (max(1, int(order.per_s * seconds)) for seconds in (order.warm_up_s, order.seconds))
        await writer.write(warm_up)
        await crowd.got(warm_up)
        gc.collect()
        gc.freeze()
        times = CpuTimes({**order.pids, "clients": os.getpid()}, order.postmaster)
        before, began = times.read(), time.perf_counter()
        ids = await writer.write(count)
        seconds = time.perf_counter() - began
        cores = times.cores(before, seconds)
        await crowd.got(warm_up + count)
    finally:
        watching.cancel()
        crowd.close()
        await bus.close()
        await db.close()
    waits = _waits(crowd.arrivals, writer.began, ids)
    return {
        "clients": order.clients,
        "events_per_s": round(count / seconds, 1),
        "deliveries": len(waits),
        "p50_ms": round(percentile(waits, 50) * 1000, 1),
        "p99_ms": round(percentile(waits, 99) * 1000, 1),
        "rss_mb": round(most[0] / 1e6, 1),
        "open_s": round(open_s, 2),
        "cores": cores,
    }


if __name__ == "__main__":
    obey(lambda order: play(Order(**order)))
