"""Leases: how long a run stays its node's. Kept as signs of life, by the database clock, from which its end follows.

A lease's last sign of life is the latest of the offer's acceptance, its last progress and its node's last heartbeat:
one small row a node renews all of its leases, and no wave is in the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from app.core.states import NodeState
from app.store.db import UnitOfWork

_ALIVE_AT = "greatest(o.created_at, o.decided_at, o.renewed_at, h.last_seen_at)"


async def of(uow: UnitOfWork, offer_ids: Sequence[str]) -> dict[str, tuple[NodeState, datetime]]:
    """By offer, its node's state and the lease's last sign of life."""
    rows = await uow.sql.fetch(
        f"""SELECT o.id, n.state, {_ALIVE_AT} FROM offers o JOIN nodes n ON n.id = o.node_id
        LEFT JOIN node_heartbeats h ON h.node_id = o.node_id WHERE o.id = ANY($1::text[])""",
        list(offer_ids),
    )
    return {row[0]: (NodeState(row[1]), row[2]) for row in rows}


async def lapsed(uow: UnitOfWork, lease_s: float, limit: int) -> list[str]:
    """Jobs of at most ``limit`` runs whose lease is over, unreported, and that no signal tells of yet.

    Nothing is locked: the wave that takes such a job looks at the lease again, under the job's lock.
    """
    rows = await uow.sql.fetch(
        f"""SELECT o.job_id FROM offers o LEFT JOIN node_heartbeats h ON h.node_id = o.node_id
        WHERE o.holds_slots AND o.state = 'accepted'
            AND {_ALIVE_AT} < clock_timestamp() - make_interval(secs => $1)
            AND NOT EXISTS (SELECT 1 FROM results r WHERE r.offer_id = o.id)
            AND NOT EXISTS (SELECT 1 FROM signals s WHERE s.job_id = o.job_id AND s.kind = 'lease_lost')
        LIMIT $2""",
        float(lease_s),
        limit,
    )
    return [row[0] for row in rows]
