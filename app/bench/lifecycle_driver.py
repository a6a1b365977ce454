"""An agent and all nodes, in a process of their own: ``python -m app.bench.lifecycle_driver`` reads one order.

They call the service layer in batches, as the API's routes do after their group commits, and hear of offers and of
starts by the hints over Valkey, as the API does. A node takes a job as the operators' worker does: the hand-out is
acceptance and start in one. It reports only once the worker has made the job running, so that each job truly waits
twice: for the answer to its offer, and for its result.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.bench.cpu import CpuTimes, postmaster
from app.bench.obeying import obey
from app.bench.workload import PRINCIPAL, RESULT, submission
from app.core.errors import HaeError
from app.core.events import SignalKind
from app.services import jobs, offers
from app.services.submissions import Submission
from app.store import offers as offer_rows
from app.store import signals
from app.store.bus import Bus, HintMessage
from app.store.db import Database
from app.store.feed import UNSEQUENCED

BATCH = 256
QUIET_S = 1.0
"""After so long without a hint the driver asks the database, as the API does: hints may be lost."""
STUCK_S = 60.0


@dataclass(slots=True)
class Order:
    """``warm_up`` jobs before the clock starts, then ``jobs``; at most ``in_flight`` at a time.

    ``pids``: processes whose CPU time is told, by name; PostgreSQL's and the driver's are told in any case.
    ``profiled``: those that run under app/bench/profiled.py.
    """

    jobs: int
    in_flight: int
    warm_up: int
    pids: dict[str, int] = field(default_factory=dict)
    profiled: list[int] = field(default_factory=list)


class Driver:
    """Plays one order. All in one event loop: submits, hand-outs and reports go on side by side."""

    def __init__(self, db: Database, bus: Bus, in_flight: int) -> None:
        self.db = db
        self.bus = bus
        self.in_flight = in_flight
        self.node_ids: list[str] = []
        self.reported = 0
        self._submitted = 0
        self._offered: set[str] = set()
        self._running: dict[str, tuple[str, str, float]] = {}
        self._started: set[str] = set()
        self._wake: dict[str, asyncio.Event] = {name: asyncio.Event() for name in ("room", "offers", "starts")}
        self._heard_at = time.monotonic()

    async def prepare(self) -> None:
        """Learn which nodes there are."""
        async with self.db.unit() as uow:
            rows = await uow.sql.fetch("SELECT id FROM nodes WHERE account = $1", PRINCIPAL.account)
        self.node_ids = [row[0] for row in rows]

    async def heard(self, message: HintMessage) -> None:
        """Offers for nodes, and jobs that have moved since they were handed out."""
        self._heard_at = time.monotonic()
        if message.nodes:
            self._offered.update(message.nodes)
            self._wake["offers"].set()
        started = self._running.keys() & message.jobs
        if started:
            self._started |= started
            self._wake["starts"].set()

    async def drive(self, submissions: list[Submission]) -> float:
        """Bring these jobs to their ends; how many seconds that took."""
        before = await self._completed()
        done = self.reported + len(submissions)
        began = time.perf_counter()
        parts = asyncio.gather(self._submit(submissions), self._hand_out(done), self._report(done))
        doubting = asyncio.create_task(self._doubt())
        try:
            ended, _ = await asyncio.wait(
                (parts, doubting), timeout=STUCK_S + len(submissions) / 50, return_when=asyncio.FIRST_COMPLETED
            )
            if not ended:
                raise RuntimeError(f"{done - self.reported} of {len(submissions)} jobs are stuck")
            await ended.pop()
            # Nothing tells of a commit but a look: hints may be lost.
            while await self._completed() < before + len(submissions):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            # Told, too: every event has its place in the feed.
            while await self._waiting():  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        finally:
            for task in (doubting, parts):
                task.cancel()
        return time.perf_counter() - began

    async def _submit(self, submissions: list[Submission]) -> None:
        at = 0
        while at < len(submissions):
            batch = submissions[at : at + BATCH]
            if self._submitted - self.reported + len(batch) > max(self.in_flight, BATCH):
                await self._woken("room")
                continue
            _raise_first(await jobs.submit(self.db, batch))
            self._submitted += len(batch)
            at += len(batch)

    async def _hand_out(self, done: int) -> None:
        handed = self.reported
        while handed < done:
            await self._woken("offers")
            asked, self._offered = self._offered, set()
            found = [one for some in (await offers.waiting(self.db, list(asked))).values() for one in some]
            for start in range(0, len(found), BATCH):
                batch = found[start : start + BATCH]
                await self._accept([(one.id, one.node_id) for one in batch])
                # Only now: until here, news of a job are of its offer.
                now = time.monotonic()
                self._running |= {one.job_id: (one.id, one.node_id, now) for one in batch}
                handed += len(batch)

    async def _accept(self, pairs: list[tuple[str, str]]) -> None:
        # As app/services/handout.py, many at a time.
        async with self.db.unit() as uow:
            won = await offer_rows.accept(uow, pairs)
            if len(won) != len(pairs):
                raise RuntimeError(f"{len(pairs) - len(won)} of {len(pairs)} offers could not be accepted any more")
            await uow.sql.execute(
                "UPDATE offers SET started_at = now() WHERE id = ANY($1::text[])", [one.offer_id for one in won]
            )
            await signals.add(uow, [(one.job_id, SignalKind.OFFER_ACCEPTED, None) for one in won])

    async def _report(self, done: int) -> None:
        while self.reported < done:
            await self._woken("starts")
            ready = [self._running.pop(job_id) for job_id in list(self._started)[:BATCH]]
            if not ready:
                continue
            self._started &= self._running.keys()
            if self._started:
                self._wake["starts"].set()
            reports = [offers.new_report(offer_id, node_id, ok=True, body=RESULT) for offer_id, node_id, _ in ready]
            _raise_first(await offers.report(self.db, reports))
            self.reported += len(reports)
            self._wake["room"].set()

    async def _doubt(self) -> None:
        while True:
            await asyncio.sleep(QUIET_S)
            now = time.monotonic()
            doubtful = [job_id for job_id, (_, _, at) in self._running.items() if now - at > QUIET_S]
            if doubtful:
                async with self.db.unit() as uow:
                    rows = await uow.sql.fetch(
                        "SELECT id FROM jobs WHERE id = ANY($1::text[]) AND state = 'running'", doubtful
                    )
                self._started |= self._running.keys() & {row[0] for row in rows}
                if self._started:
                    self._wake["starts"].set()
            if now - self._heard_at > QUIET_S:
                self._offered.update(self.node_ids)
                self._wake["offers"].set()

    async def _woken(self, name: str) -> None:
        await self._wake[name].wait()
        self._wake[name].clear()

    async def _waiting(self) -> bool:
        async with self.db.unit() as uow:
            return await uow.sql.fetchval(f"SELECT 1 {UNSEQUENCED} LIMIT 1") is not None

    async def _completed(self) -> int:
        async with self.db.unit() as uow:
            count: int = await uow.sql.fetchval(
                "SELECT coalesce(sum(change), 0)::bigint FROM job_counts WHERE state = 'completed'"
            )
        return count


def _raise_first(answers: list[Any]) -> None:
    refusal = next((answer for answer in answers if isinstance(answer, HaeError)), None)
    if refusal is not None:
        raise refusal


async def play(order: Order, database_url: str, redis_url: str) -> dict[str, Any]:
    """``seconds`` that the order's jobs took, ``cores`` busy meanwhile, by process, ``waves`` and ``merged`` jobs."""
    db = Database(database_url, pool_size=6, application="hae bench")
    bus = Bus(redis_url)
    db.on_commit = bus.publish
    driver = Driver(db, bus, order.in_flight)
    stop = asyncio.Event()
    listening = asyncio.create_task(bus.listen(driver.heard, stop))
    try:
        await driver.prepare()
        times = CpuTimes({**order.pids, "driver": os.getpid()}, await postmaster(db))
        made = [submission(number) for number in range(order.warm_up + order.jobs)]
        await driver.drive(made[: order.warm_up])
        gc.collect()
        gc.freeze()
        async with db.unit() as uow:
            began_at = uow.now
        _tell(order.profiled, signal.SIGUSR1)
        before = times.read()
        seconds = await driver.drive(made[order.warm_up :])
        cores = times.cores(before, seconds)
        _tell(order.profiled, signal.SIGUSR2)
        waves, merged = await _waves(db, began_at)
    finally:
        stop.set()
        await listening
        await bus.close()
        await db.close()
    return {"seconds": seconds, "cores": cores, "waves": waves, "merged": merged}


def _tell(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, number)


async def _waves(db: Database, since: datetime) -> tuple[int, int]:
    """How many waves have moved jobs, and how many jobs started and ended in one wave: those waited only once."""
    async with db.unit() as uow:
        waves: int = await uow.sql.fetchval(
            "SELECT count(DISTINCT at) FROM job_history WHERE at >= $1 AND from_state IS NOT NULL", since
        )
        merged: int = await uow.sql.fetchval(
            """SELECT count(*) FROM job_history a JOIN job_history b USING (job_id, at)
            WHERE at >= $1 AND a.to_state = 'running' AND b.to_state = 'completed'""",
            since,
        )
    return waves, merged


if __name__ == "__main__":
    obey(lambda order: play(Order(**order), os.environ["DATABASE_URL"], os.environ["REDIS_URL"]))
