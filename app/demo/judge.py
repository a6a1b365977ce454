"""Holds what the database recorded against the trace: pure functions, no engine code in between."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.core.states import JOB_FINAL
from app.demo.trace import TraceJob, TraceNode, violations
from app.services.audit import Record
from app.store.audit import FALLBACK, NodeRow, OfferRow

MAX_REPUTATION = 1000


@dataclass(frozen=True, slots=True)
class Findings:
    """``violations``, ``oversubscribed``, ``lost`` and ``duplicates`` are faults, the others are figures.

    ``violations``: offers to a node that lacks a requirement. ``oversubscribed``: nodes that ever had, or have, more
    slots taken than they have GPUs, or whose counter is off. ``lost``: acknowledged jobs that did not come to an end,
    and those that the engine has none of.
    ``duplicates``: jobs nobody was told of. ``unplaced_feasible``: jobs that expired although a node could have run
    them. ``assigned_ms``: from submission to first assignment, ascending.
    ``first_completed``: Unix seconds.
    """

    states: dict[str, int]
    violations: int
    oversubscribed: int
    lost: int
    duplicates: int
    unplaced_feasible: int
    fallbacks: int
    reruns: int
    assigned_ms: list[float]
    first_completed: float | None

    @property
    def clean(self) -> bool:
        return not (self.violations or self.oversubscribed or self.lost or self.duplicates)


def judge(
    record: Record, acknowledged: Mapping[str, TraceJob], nodes: Mapping[str, TraceNode], missing: int = 0
) -> Findings:
    """``acknowledged``: the job of the trace by the id the engine gave it; ``nodes``: the trace's, by wallet.

    ``missing``: jobs that the engine should have, and has not.
    """
    states = {row.id: row.state for row in record.jobs}
    final = {state.value for state in JOB_FINAL}
    gave_up = {reason.value for reason in FALLBACK}
    last = {offer.job_id: offer.attempt for offer in sorted(record.offers, key=lambda offer: offer.attempt)}
    earlier = [offer for offer in record.offers if offer.attempt < last[offer.job_id]]
    return Findings(
        states=dict(Counter(states.values())),
        violations=_violations(record.offers, acknowledged, nodes),
        oversubscribed=len(oversubscribed(record.offers, record.nodes, nodes)),
        lost=missing + sum(states.get(job_id) not in final for job_id in acknowledged),
        duplicates=sum(job_id not in acknowledged for job_id in states),
        unplaced_feasible=sum(
            _feasible(acknowledged[job_id], nodes)
            for job_id, state in states.items()
            if state == "expired" and job_id in acknowledged
        ),
        fallbacks=sum(offer.ended in gave_up for offer in earlier),
        reruns=sum(offer.ended not in gave_up for offer in earlier),
        assigned_ms=sorted(row.assigned_ms for row in record.jobs if row.assigned_ms is not None),
        first_completed=min(
            (row.finished_at.timestamp() for row in record.jobs if row.state == "completed" and row.finished_at),
            default=None,
        ),
    )


def _feasible(job: TraceJob, nodes: Mapping[str, TraceNode]) -> bool:
    """Whether some node of the trace, were it alone, could run the job."""
    return any(not violations(job, node, node.reputation) for node in nodes.values())


def _violations(
    offers: Sequence[OfferRow], acknowledged: Mapping[str, TraceJob], nodes: Mapping[str, TraceNode]
) -> int:
    """A node's reputation rises with each job it completes, so it may have grown since the trace."""
    completed = defaultdict(list)
    for offer in offers:
        if offer.completed and offer.freed is not None:
            completed[offer.wallet].append(offer.freed)
    found = 0
    for offer in offers:
        job, node = acknowledged.get(offer.job_id), nodes.get(offer.wallet)
        if job is None or node is None:
            found += 1
            continue
        earned = sum(freed < offer.taken for freed in completed[offer.wallet])
        reputation = min(MAX_REPUTATION, node.reputation + earned)
        found += bool(violations(job, node, reputation)) or offer.slots != job.gpus
    return found


def oversubscribed(offers: Sequence[OfferRow], rows: Sequence[NodeRow], nodes: Mapping[str, TraceNode]) -> set[str]:
    """Wallets whose slots were ever taken twice, by replaying every offer's interval, or whose counter is wrong now."""
    found = {row.wallet for row in rows if row.active_jobs != row.held or row.active_jobs > row.capacity}
    # By node and transaction, which a moment stands for: the first of its rows, and what it changed. A wave gives back
    # and takes at once, and only what that comes to counts.
    steps: dict[str, dict[datetime, tuple[int, int]]] = defaultdict(dict)
    for offer in offers:
        _step(steps[offer.wallet], offer.created_at, offer.taken, offer.slots)
        if offer.released_at is not None and offer.freed is not None:
            _step(steps[offer.wallet], offer.released_at, offer.freed, -offer.slots)
        elif not offer.holds_slots:
            found.add(offer.wallet)
    for wallet, moves in steps.items():
        taken, capacity = 0, nodes[wallet].capacity if wallet in nodes else 0
        for _, slots in sorted(moves.values()):
            taken += slots
            if taken > capacity:
                found.add(wallet)
    return found


def _step(steps: dict[datetime, tuple[int, int]], at: datetime, number: int, change: int) -> None:
    first, before = steps.get(at, (number, 0))
    steps[at] = (min(first, number), before + change)


def percentile(ascending: Sequence[float], share: float) -> float:
    """Nearest-rank percentile, 0 for no values."""
    if not ascending:
        return 0.0
    return ascending[min(len(ascending), max(1, math.ceil(share * len(ascending)))) - 1]
