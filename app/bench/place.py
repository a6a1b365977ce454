"""Placements a second, end to end: match in memory, claim and offer in PostgreSQL in one durable commit.

The peer is the query of the engine before this one, which matches without claiming, on the same nodes.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from app.bench.match import bases
from app.bench.networks import jobs, network
from app.core.ids import new_id
from app.core.jobs import Offer
from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.core.states import OfferState
from app.matchmaker.matchmaker import Matchmaker
from app.matchmaker.types import Candidate, Query
from app.matchmaker.weights import DEFAULT_WEIGHTS
from app.store import claims, offers, peers
from app.store.claims import MAX_BATCH, Want
from app.store.db import Database, UnitOfWork
from app.store.scratch import settle

CLAIMERS = 2
"""Batches under way: one is matched while the other is with PostgreSQL."""
TRIES = 6
"""Matches of one job before it counts as not placed."""
LEGACY_CONNECTIONS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Placements:
    """``placed`` of ``asked`` jobs in ``seconds``; ``oversubscribed``: nodes whose rows and offers do not add up."""

    asked: int
    placed: int
    seconds: float
    oversubscribed: int

    @property
    def per_s(self) -> float:
        return self.placed / self.seconds


class _Job:
    """One job on its way: what it asks for, the candidate it asks or got, those left of its match, matches so far."""

    __slots__ = ("candidate", "id", "left", "requirements", "tries")

    def __init__(self, requirements: Requirements) -> None:
        self.id = new_id("job")
        self.requirements = requirements
        self.tries = 0
        self.left: Iterator[Candidate] = iter(())
        self.candidate: Candidate | None = None


class Placer:
    """Places jobs on the nodes of one database. ``records`` are what it holds, and where every round begins."""

    def __init__(self, db: Database, records: Sequence[NodeRecord]) -> None:
        self.db = db
        self.records = records
        self.matchmaker = Matchmaker()
        self.matchmaker.view.upsert(records)
        self.assumed: Counter[str] = Counter()

    async def round(self, asked: Sequence[Requirements], batch: int) -> list[_Job]:
        """Place every job for which there is a node; those placed."""
        waiting = iter(asked)
        placed: list[_Job] = []

        async def claimer() -> None:
            again: list[_Job] = []
            while mine := again + [_Job(one) for one in itertools.islice(waiting, batch - len(again))]:
                again = await self._place(mine, placed)

        await asyncio.gather(*(claimer() for _ in range(CLAIMERS)))
        return placed

    async def _place(self, batch: Sequence[_Job], placed: list[_Job]) -> list[_Job]:
        """Match and claim; returns the refused jobs, to be tried again with the next batch."""
        asking = {job.id: job for job in batch if self._choose(job)}
        if not asking:
            return []
        wants = [Want(job.id, job.candidate.node_id, job.requirements) for job in asking.values() if job.candidate]
        async with self.db.unit() as uow:
            claimed = await claims.claim(uow, wants)
            won = [want for want in wants if want.id in claimed.granted]
            await offers.insert(uow, [_offer(uow, want, claimed.nodes[want.node_id]) for want in won])
        placed.extend(asking[want.id] for want in won)
        for want in wants:
            self.assumed[want.node_id] -= want.requirements.gpus
        self._learn(claimed.nodes.values())
        return [asking[want.id] for want in wants if want.id not in claimed.granted]

    def _learn(self, rows: Collection[NodeRecord]) -> None:
        """Put committed rows into the view, and on top of them what the batch under way has chosen."""
        view = self.matchmaker.view
        view.heal(rows)
        for row in rows:
            if slots := self.assumed[row.id]:
                view.adjust(row.id, min(slots, row.capacity - row.active_jobs))

    def _take(self, job: _Job, candidate: Candidate) -> None:
        job.candidate = candidate
        self.matchmaker.view.adjust(candidate.node_id, job.requirements.gpus)
        self.assumed[candidate.node_id] += job.requirements.gpus

    def _choose(self, job: _Job) -> bool:
        """Take the job's next candidate that still has room, or match it anew; False when there is no node."""
        for candidate in job.left:
            row = self.matchmaker.view.get(candidate.node_id)
            if row is not None and self.matchmaker.fits(job.requirements, row):
                self._take(job, candidate)
                return True
        if job.tries == TRIES:
            return False
        job.tries += 1
        found = self.matchmaker.match(Query(job.id, job.requirements))
        if found.best is None:
            return False
        job.left = iter(found.candidates[1:])
        self._take(job, found.best)
        return True

    async def check(self) -> int:
        """Nodes that count other slots than their offers hold on top of what they began with, or too many."""
        async with self.db.unit() as uow:
            found, held = await peers.slots_of(uow), await peers.slots_offered(uow)
        return sum(
            found[one.id][0] != one.active_jobs + held.get(one.id, 0) or found[one.id][0] > found[one.id][1]
            for one in self.records
        )

    async def undo(self, placed: Sequence[_Job]) -> None:
        """Give everything back, so that the next round begins where this one did."""
        taken: Counter[str] = Counter()
        for job in placed:
            if job.candidate is not None:
                taken[job.candidate.node_id] += job.requirements.gpus
        async with self.db.unit() as uow:
            await claims.release(uow, taken.items())
            await peers.drop_offers(uow)
        view = self.matchmaker.view
        held = [row for node_id in taken if (row := view.get(node_id)) is not None]
        view.upsert(
            [replace(row, active_jobs=row.active_jobs - taken[row.id], version=row.version + 1) for row in held]
        )


def _offer(uow: UnitOfWork, want: Want, node: NodeRecord) -> Offer:
    return Offer(
        new_id("offer"), want.id, node.id, 1, OfferState.OPEN, True, want.requirements.gpus, node.price, None, uow.now,
        uow.now + timedelta(seconds=15), None, None,
    )  # fmt: skip


async def measure(url: str, *, nodes: int, seconds: float, batch: int = MAX_BATCH) -> Placements:
    """Place on the migrated, empty database ``url`` for about ``seconds``; rounds ask for a third of the free slots."""
    db = Database(url, pool_size=CLAIMERS, application="hae bench")
    records = network(nodes)
    try:
        async with db.unit() as uow:
            await peers.load_nodes(uow, records)
        await settle(url)
        placer = Placer(db, records)
        wishes = jobs()
        asked = list(itertools.islice(wishes, min(20_000, sum(one.free for one in records) // 3)))
        total = placed = wrong = 0
        spent = 0.0
        # The first round warms up and is not counted.
        for number in itertools.count():
            began = time.perf_counter()
            done = await placer.round(asked, batch)
            took = time.perf_counter() - began
            wrong += await placer.check()
            await placer.undo(done)
            if number:
                total, placed, spent = total + len(asked), placed + len(done), spent + took
            if spent >= seconds:
                break
    finally:
        await db.close()
    return Placements(total, placed, spent, wrong)


async def measure_legacy(url: str, *, nodes: int, seconds: float) -> list[float]:
    """Matches a second of the engine before this one on the same nodes, in the empty database ``url``.

    For each number of LEGACY_CONNECTIONS, ``seconds`` on each.
    """
    db = Database(url, pool_size=max(LEGACY_CONNECTIONS), application="hae bench")
    try:
        async with db.unit() as uow:
            weights = DEFAULT_WEIGHTS
            rows = bases(network(nodes), weights)
            await peers.prepare(uow, rows, load_weight=weights.load, weights=sum(weights.quality))
        await settle(url)
        return [await _legacy(db, connections, seconds) for connections in LEGACY_CONNECTIONS]
    finally:
        await db.close()


async def _legacy(db: Database, connections: int, seconds: float) -> float:
    wishes = jobs()
    answered = 0
    began = time.perf_counter()

    async def asker() -> None:
        nonlocal answered
        async with db.unit() as uow:
            while time.perf_counter() < began + seconds:
                await peers.legacy_match(uow, next(wishes))
                answered += 1

    await asyncio.gather(*(asker() for _ in range(connections)))
    return answered / (time.perf_counter() - began)
