"""Heartbeats: who is alive, by the database clock. Flushed in batches; never touches the rows that waves lock,
save for nodes that come back or fall silent."""

from __future__ import annotations

from collections.abc import Sequence

from app.core.states import NodeState
from app.store.db import UnitOfWork


async def flush(uow: UnitOfWork, beats: Sequence[tuple[str, int | None]]) -> list[tuple[str, NodeState]]:
    """Record ``(node_id, gpu_utilization %)`` as heard now; returns nodes that are to come online, with their state.

    Unknown ids are ignored.
    """
    ordered = sorted(dict(beats).items())
    # Nodes before heartbeats, each in id order, as registering does: other orders deadlock.
    rows = await uow.sql.fetch(
        """SELECT id, state FROM nodes WHERE id = ANY($1::text[]) AND state IN ('registered', 'offline')
        ORDER BY id FOR NO KEY UPDATE""",
        [node_id for node_id, _ in ordered],
    )
    await uow.sql.execute(
        """WITH held AS (SELECT node_id FROM node_heartbeats WHERE node_id = ANY($1::text[])
            ORDER BY node_id FOR NO KEY UPDATE)
        UPDATE node_heartbeats h SET last_seen_at = clock_timestamp(),
            gpu_utilization = coalesce(u.load, h.gpu_utilization)
        FROM unnest($1::text[], $2::int[]) AS u(id, load), held WHERE h.node_id = u.id AND held.node_id = u.id""",
        [node_id for node_id, _ in ordered],
        [load for _, load in ordered],
    )
    return [(row[0], NodeState(row[1])) for row in rows]


async def start(uow: UnitOfWork, node_id: str) -> None:
    """Make the heartbeat row of a node just registered. It has not been heard from: the row only says since when."""
    await uow.sql.execute("INSERT INTO node_heartbeats (node_id) VALUES ($1) ON CONFLICT DO NOTHING", node_id)


async def silent(uow: UnitOfWork, offline_after_s: float, limit: int) -> list[tuple[str, str, NodeState]]:
    """Nodes online or draining and not heard from for that long: ``(id, account, state)``, locked.

    Nodes that a wave holds are left for the next sweep.
    """
    rows = await uow.sql.fetch(
        """SELECT n.id, n.account, n.state FROM node_heartbeats h JOIN nodes n ON n.id = h.node_id
        WHERE h.last_seen_at < clock_timestamp() - make_interval(secs => $1) AND n.state IN ('online', 'draining')
        LIMIT $2 FOR NO KEY UPDATE OF n SKIP LOCKED""",
        float(offline_after_s),
        limit,
    )
    return [(row[0], row[1], NodeState(row[2])) for row in rows]


async def quietest_s(uow: UnitOfWork) -> float:
    """Seconds since the last sign of life of the node that has been quiet longest, of those online or draining."""
    seconds = await uow.sql.fetchval(
        """SELECT extract(epoch FROM clock_timestamp() - min(h.last_seen_at))::float8
        FROM node_heartbeats h JOIN nodes n ON n.id = h.node_id WHERE n.state IN ('online', 'draining')"""
    )
    return 0.0 if seconds is None else float(seconds)


async def jobs_on(uow: UnitOfWork, node_ids: Sequence[str]) -> list[str]:
    """Jobs that hold slots of these nodes."""
    rows = await uow.sql.fetch(
        "SELECT job_id FROM offers WHERE node_id = ANY($1::text[]) AND holds_slots", list(node_ids)
    )
    return [row[0] for row in rows]
