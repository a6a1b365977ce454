"""Sums and counts over the whole network, for metrics and the old engine's pages. Nodes are counted, jobs are not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.core.money import MAX_AMOUNT
from app.core.states import JobState
from app.store import counts
from app.store.db import UnitOfWork


@dataclass(slots=True)
class Figures:
    """``hyper_paid``: base units. ``avg_duration_ms``: of completed jobs. ``gpu_utilization``: slots in use / slots
    of online nodes, 0..1."""

    nodes_total: int
    nodes_active: int
    slots_total: int
    slots_used: int
    jobs_by_state: dict[str, int]
    avg_duration_ms: int
    hyper_paid: int
    regions: dict[str, int]
    at: datetime

    @property
    def jobs_total(self) -> int:
        return sum(self.jobs_by_state.values())

    @property
    def gpu_utilization(self) -> float:
        return round(self.slots_used / self.slots_total, 4) if self.slots_total else 0.0


async def network(uow: UnitOfWork, active_window_s: float = 300.0) -> Figures:
    """Figures of this moment. ``nodes_active``: online and heard from within ``active_window_s``."""
    nodes = await uow.sql.fetchrow(
        """SELECT count(*) FILTER (WHERE n.state <> 'deregistered'),
            count(*) FILTER (WHERE n.state IN ('online', 'draining')
                AND h.last_seen_at > now() - make_interval(secs => $1)),
            coalesce(sum(n.capacity) FILTER (WHERE n.state IN ('online', 'draining')), 0),
            coalesce(sum(n.active_jobs) FILTER (WHERE n.state IN ('online', 'draining')), 0)
        FROM nodes n LEFT JOIN node_heartbeats h ON h.node_id = n.id""",
        float(active_window_s),
    )
    jobs = await counts.read(uow)
    completed = jobs.jobs.get(JobState.COMPLETED, 0)
    regions = await uow.sql.fetch(
        """SELECT CASE WHEN region = '' THEN 'unknown' ELSE region END, count(*) FROM nodes
        WHERE state <> 'deregistered' GROUP BY 1 ORDER BY 2 DESC"""
    )
    assert nodes is not None
    return Figures(
        nodes_total=nodes[0],
        nodes_active=nodes[1],
        slots_total=nodes[2],
        slots_used=nodes[3],
        jobs_by_state=jobs.jobs,
        avg_duration_ms=round(jobs.run_ms / completed) if completed else 0,
        hyper_paid=min(jobs.paid, MAX_AMOUNT),
        regions={row[0]: row[1] for row in regions},
        at=uow.now,
    )
