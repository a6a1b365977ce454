"""Claims a second: batches of wants on the nodes of a network, granted or refused by PostgreSQL, every commit durable.

A round makes the same claims on four connections, is checked node by node, and is undone off the clock, so that the
network never runs dry.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from app.bench.networks import jobs, network
from app.core.nodes import NodeRecord
from app.matchmaker.filters import first_failure
from app.store import claims, peers
from app.store.claims import MAX_BATCH, Want
from app.store.db import Database
from app.store.scratch import settle

CONNECTIONS = 4
"""More of them wait for each other's rows and commits, and claim less."""
MOST_SLOTS = 60_000
"""Slots that a round asks for, and at most half of those that are free."""
CARELESS = 0.02
PROBES = 200


@dataclass(frozen=True, slots=True)
class Claims:
    """``granted`` of ``wanted`` claims in ``seconds``; ``oversubscribed``: nodes whose slots do not add up."""

    wanted: int
    granted: int
    seconds: float
    oversubscribed: int

    @property
    def per_s(self) -> float:
        return self.granted / self.seconds


async def measure(url: str, *, nodes: int, seconds: float, batch: int = MAX_BATCH) -> Claims:
    """Claim on the migrated, empty database ``url`` for about ``seconds``."""
    db = Database(url, pool_size=CONNECTIONS, application="hae bench")
    records = network(nodes)
    wants = planned(records)
    wanted = granted = wrong = 0
    spent = 0.0
    try:
        async with db.unit() as uow:
            await peers.load_nodes(uow, records)
        await settle(url)
        # The first round warms the connections up and is not counted.
        for number in itertools.count():
            began = time.perf_counter()
            won = await _round(db, wants, batch)
            took = time.perf_counter() - began
            wrong += await _check(db, records, won)
            await _undo(db, won)
            if number:
                wanted += len(wants)
                granted += len(won)
                spent += took
            if spent >= seconds:
                break
    finally:
        await db.close()
    return Claims(wanted, granted, spent, wrong)


def planned(records: Sequence[NodeRecord], seed: int = 1) -> list[Want]:
    """A round's wants, each on a random node that suits it; one in fifty minds nobody and may find no slots left."""
    rng = random.Random(seed)
    room = {record.id: record.free for record in records}
    left = min(MOST_SLOTS, sum(room.values()) // 2)
    wants: list[Want] = []
    for asked in jobs(seed):
        if left <= 0:
            break
        careless = rng.random() < CARELESS
        for node in (rng.choice(records) for _ in range(PROBES)):
            if first_failure(node, asked, 0) is None and (careless or room[node.id] >= asked.gpus):
                wants.append(Want(f"job_{len(wants):08d}", node.id, asked))
                room[node.id] -= asked.gpus
                left -= asked.gpus
                break
    return wants


async def _round(db: Database, wants: Sequence[Want], batch: int) -> list[Want]:
    """Make every claim on all connections; those granted. Wants on nodes held elsewhere are made again, as in waves."""
    pending = deque(wants)
    won: list[Want] = []

    async def claimer() -> None:
        while pending:
            mine = [pending.popleft() for _ in range(min(batch, len(pending)))]
            async with db.unit() as uow:
                claimed = await claims.claim(uow, mine, wait=False)
            won.extend(want for want in mine if want.id in claimed.granted)
            pending.extend(want for want in mine if want.node_id in claimed.contended)

    await asyncio.gather(*(claimer() for _ in range(CONNECTIONS)))
    return won


def _slots(won: Sequence[Want]) -> Counter[str]:
    taken: Counter[str] = Counter()
    for want in won:
        taken[want.node_id] += want.requirements.gpus
    return taken


async def _check(db: Database, records: Sequence[NodeRecord], won: Sequence[Want]) -> int:
    """Nodes that do not hold exactly what was granted on top of what they held, or more than they have."""
    async with db.unit() as uow:
        found = await peers.slots_of(uow)
    taken = _slots(won)
    return sum(
        found[record.id][0] != record.active_jobs + taken[record.id] or found[record.id][0] > record.capacity
        for record in records
    )


async def _undo(db: Database, won: Sequence[Want]) -> None:
    async with db.unit() as uow:
        await claims.release(uow, _slots(won).items())
