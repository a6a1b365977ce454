"""What a recording of the network is made of: every node as it is, the jobs of a time and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.core.nodes import NodeRecord
from app.core.requirements import Requirements
from app.store.db import UnitOfWork
from app.store.rows import NODE_COLUMNS, node_from


@dataclass(frozen=True, slots=True)
class JobSeen:
    """One job. ``waited_ms``: from submission to its first assignment, None without one.

    ``ran_from``, ``ran_to``: its last run, None while there is none and while it is not over.
    """

    key_id: str
    requirements: Requirements
    priority: int
    state: str
    created_at: datetime
    waited_ms: int | None
    ran_from: datetime | None
    ran_to: datetime | None


async def read_only(uow: UnitOfWork) -> None:
    """Let the rest of the transaction write nothing."""
    await uow.sql.execute("SET TRANSACTION READ ONLY")


async def nodes(uow: UnitOfWork) -> list[NodeRecord]:
    """Every node, by id."""
    rows = await uow.sql.fetch(f"SELECT {NODE_COLUMNS} FROM nodes ORDER BY id")
    return [node_from(row) for row in rows]


async def jobs(uow: UnitOfWork, since: datetime) -> list[JobSeen]:
    """Jobs submitted after ``since``, and those that were on a node then; oldest first."""
    rows = await uow.sql.fetch(
        """SELECT j.key_id, j.gpu_models, j.gpus, j.min_vram_gb, j.capabilities, j.region, j.min_reputation,
            j.max_price, j.priority, j.state, j.created_at, j.assigned_at,
            CASE WHEN j.assigned_at IS NOT NULL THEN j.finished_at END,
            (extract(epoch FROM h.at - j.created_at) * 1000)::int8
        FROM jobs j LEFT JOIN LATERAL (SELECT min(at) AS at FROM job_history
            WHERE job_id = j.id AND to_state = 'assigned') h ON true
        WHERE j.created_at > $1
            OR (j.assigned_at <= $1 AND (j.finished_at IS NULL OR j.finished_at > $1))
        ORDER BY j.created_at, j.id""",
        since,
    )
    return [
        JobSeen(
            key_id=row[0],
            requirements=Requirements(tuple(row[1]), *list(row.values())[2:8]),
            priority=row[8],
            state=row[9],
            created_at=row[10],
            waited_ms=row[13],
            ran_from=row[11],
            ran_to=row[12],
        )
        for row in rows
    ]
