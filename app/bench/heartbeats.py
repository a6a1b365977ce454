"""Heartbeats a second through the real flush: noted one by one, coalesced, written in batches, every commit durable."""

from __future__ import annotations

import random
import time

from app.bench.networks import network
from app.services.pulse import Pulse
from app.store import peers
from app.store.db import Database
from app.store.scratch import settle

REPEATED = 0.1
"""Share of the nodes that are heard twice before the flush, which writes them once."""


async def measure(url: str, *, nodes: int, seconds: float, seed: int = 1) -> float:
    """Rows written a second on the migrated, empty database ``url``, over rounds in which every node is heard.

    Raises RuntimeError when some node's row is not newer after a round.
    """
    rng = random.Random(seed)
    db = Database(url, pool_size=2, application="hae bench")
    ids = [record.id for record in network(nodes)]
    pulse = Pulse(db, flush_s=1.0, interval_s=3600.0)
    rows, spent = 0, 0.0
    try:
        async with db.unit() as uow:
            await peers.load_nodes(uow, network(nodes))
        await settle(url)
        # The first round warms up, brings those back that were away, and is not counted.
        for counted in (False, *(True for _ in range(1000))):
            heard = [*ids, *rng.sample(ids, int(nodes * REPEATED))]
            rng.shuffle(heard)
            async with db.unit() as uow:
                began_at = uow.now
            began = time.perf_counter()
            for node_id in heard:
                pulse.beat(node_id, rng.randrange(101))
            await pulse.flush()
            took = time.perf_counter() - began
            async with db.unit() as uow:
                written = await peers.heard_since(uow, began_at)
            if written != nodes:
                raise RuntimeError(f"{nodes - written} of {nodes} heartbeats were not written")
            if counted:
                rows, spent = rows + nodes, spent + took
            if spent >= seconds:
                break
    finally:
        await db.close()
    return rows / spent
