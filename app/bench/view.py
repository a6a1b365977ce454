"""How fast a process knows the network: a cold start from PostgreSQL, news of other processes' commits, looks for more.

The real ViewKeeper and the real statements on a real server. The nodes are made up (networks.py).
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from app.bench.networks import network
from app.matchmaker.matchmaker import Matchmaker
from app.services.deltas import pack, unpack
from app.services.views import ViewKeeper
from app.store import nodes
from app.store.db import Database
from app.store.nodes import SlotChange
from app.store.peers import load_nodes

PART = 50_000
COMMIT = 256
"""Nodes that one commit changes."""


async def fill(db: Database, count: int) -> list[str]:
    """Put ``count`` nodes into an empty database; their ids, shuffled."""
    records = network(count)
    for start in range(0, count, PART):
        async with db.unit() as uow:
            await load_nodes(uow, records[start : start + PART])
        print(f"{min(start + PART, count):,} of {count:,} nodes made", file=sys.stderr)
    ids = [record.id for record in records]
    random.Random(1).shuffle(ids)
    return ids


async def measure(db: Database, ids: Sequence[str], *, starts: int, commits: int) -> dict[str, float]:
    """The figures of a database filled with the nodes ``ids``; medians. ``commits``: of 256 nodes each.

    ``cold_start_s``: from nothing to a view that answers. ``bytes_per_node``: of the view's arrays. ``deltas_per_s``:
    news unpacked and taken in. ``refresh_ms_p50``: a look at the database after each commit.
    """
    times = []
    for _ in range(starts):
        keeper = ViewKeeper(db, Matchmaker(), 0.25)
        began = time.perf_counter()
        await keeper.refresh()
        times.append(time.perf_counter() - began)
        print(f"cold start in {times[-1]:.2f} s", file=sys.stderr)
    view = keeper.matchmaker.view
    parts = [ids[start : start + COMMIT] for start in range(0, len(ids), COMMIT)]
    refreshes, entries = [], []
    for number in range(commits):
        async with db.unit() as uow:
            part = parts[number % len(parts)]
            rows = await nodes.apply(uow, [SlotChange(node_id, completed=1) for node_id in part])
        entries.append(pack([replace(row, version=row.version + commits) for row in rows.values()]))
        began = time.perf_counter()
        await keeper.refresh()
        refreshes.append((time.perf_counter() - began) * 1000)
    began = time.perf_counter()
    taken = sum(view.apply(news) for entry in entries if (news := unpack(entry)) is not None)
    seconds = time.perf_counter() - began
    return {
        "nodes": len(view),
        "cold_start_s": round(statistics.median(times), 3),
        "bytes_per_node": round(view.nbytes / max(1, len(view)), 1),
        "deltas_per_s": round(taken / seconds),
        "refresh_ms_p50": round(statistics.median(refreshes), 2),
    }
