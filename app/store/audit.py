"""Read-only questions over the whole history: for audits, which judge what happened from what was written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.core.events import Reason
from app.store.db import UnitOfWork
from app.store.feed import UNSEQUENCED

FALLBACK = (Reason.OFFER_DECLINED, Reason.OFFER_EXPIRED, Reason.NODE_OFFLINE)
"""Why a job left a node that did not run it to an end: it declined, was late, or went away."""


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job's end as stored. ``assigned_ms``: from submission to the first assignment in its history, None without.

    ``given``: what its agent had put into ``input``. ``chain_job``: its account on chain, if it has one.
    ``matched_at``: when it was first offered to a node.
    """

    id: str
    state: str
    assigned_ms: float | None
    finished_at: datetime | None
    given: dict[str, Any] = field(default_factory=dict)
    chain_job: str | None = None
    settlement: str = "none"
    matched_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OfferRow:
    """An offer and how long it held its node's slots: from ``created_at`` until ``released_at``, None = still.

    ``taken`` and ``freed``: numbers of the history rows that tell of both; on one node, which each transaction locks,
    they rise in the order of what happened, as times do not: those are of the transactions' beginnings.
    ``accepted``: whether the node took it. ``ended``: why the job left this attempt, a reason code, None = it did not.
    ``completed``: whether the job was completed in this attempt.
    """

    job_id: str
    wallet: str
    attempt: int
    slots: int
    accepted: bool
    holds_slots: bool
    created_at: datetime
    released_at: datetime | None
    ended: str | None
    completed: bool
    taken: int
    freed: int | None


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node's slot counters beside the slots that its live offers hold. ``stake``: base units of HYPER."""

    id: str
    wallet: str
    capacity: int
    active_jobs: int
    held: int
    stake: int = 0


@dataclass(frozen=True, slots=True)
class Traffic:
    """``fallbacks``: jobs sent on because a node declined, was late or went away, so far. ``undelivered``: webhook
    messages still to be sent. ``online``: nodes. ``indexed``: events from the chain that stand, ``final`` of them for
    good. ``settled``, ``disputed``: jobs by what became of their payment.
    """

    fallbacks: int
    undelivered: int
    online: int
    indexed: int
    final: int
    settled: int
    disputed: int


async def jobs(uow: UnitOfWork) -> list[JobRow]:
    """Every job."""
    rows = await uow.sql.fetch(
        """SELECT j.id, j.state, (extract(epoch FROM h.assigned - j.created_at) * 1000)::float8, j.finished_at,
            coalesce(j.payload -> 'input', '{}'), j.chain_job, j.settlement, h.offered
        FROM jobs j LEFT JOIN (SELECT job_id, min(at) FILTER (WHERE to_state = 'assigned') AS assigned,
                min(at) FILTER (WHERE to_state = 'offered') AS offered
            FROM job_history WHERE to_state IN ('assigned', 'offered') GROUP BY job_id) h ON h.job_id = j.id"""
    )
    return [JobRow(*row) for row in rows]


async def offers(uow: UnitOfWork) -> list[OfferRow]:
    """Every offer ever made, oldest first."""
    # An attempt is over, and its slots are free, with the first move after its offer that ends the job or requeues it.
    rows = await uow.sql.fetch(
        """SELECT o.job_id, n.wallet, o.attempt, o.slots, o.state = 'accepted', o.holds_slots, o.created_at,
            h.at, h.reason, coalesce(h.to_state = 'completed', false),
            (SELECT min(seq) FROM job_history WHERE job_id = o.job_id AND attempt = o.attempt AND to_state = 'offered'),
            h.seq
        FROM offers o JOIN nodes n ON n.id = o.node_id
        LEFT JOIN LATERAL (SELECT at, reason, to_state, seq FROM job_history
            WHERE job_id = o.job_id AND attempt = o.attempt AND from_state IS NOT NULL
                AND to_state IN ('pending', 'completed', 'failed', 'cancelled', 'expired')
            ORDER BY seq LIMIT 1) h ON true
        ORDER BY o.created_at, o.id"""
    )
    return [OfferRow(*row) for row in rows]


async def nodes(uow: UnitOfWork) -> list[NodeRow]:
    """Every node."""
    rows = await uow.sql.fetch(
        """SELECT n.id, n.wallet, n.capacity, n.active_jobs, coalesce(sum(o.slots), 0)::int, n.stake
        FROM nodes n LEFT JOIN offers o ON o.node_id = n.id AND o.holds_slots
        GROUP BY n.id ORDER BY n.id"""
    )
    return [NodeRow(*row) for row in rows]


async def events_by_kind(uow: UnitOfWork, kinds: Sequence[str]) -> dict[str, int]:
    """How many events of each of ``kinds`` there are."""
    rows = await uow.sql.fetch(
        "SELECT kind, count(*) FROM events WHERE kind = ANY($1::text[]) GROUP BY kind", list(kinds)
    )
    return {row[0]: row[1] for row in rows}


async def traffic(uow: UnitOfWork) -> Traffic:
    """Counts of this moment."""
    row = await uow.sql.fetchrow(
        f"""SELECT (SELECT count(*) FROM job_history WHERE to_state = 'pending' AND reason = ANY($1::text[])),
            (SELECT count(*) {UNSEQUENCED}) + (SELECT max(position) FILTER (WHERE name = 'sequencer')
                - max(position) FILTER (WHERE name = 'webhooks') FROM consumers)
                + (SELECT count(*) FROM deliveries WHERE state = 'pending'),
            (SELECT count(*) FROM nodes WHERE state = 'online'),
            e.standing, e.final, j.settled, j.disputed
        FROM (SELECT count(*) FILTER (WHERE commitment <> 'orphaned') AS standing,
                count(*) FILTER (WHERE commitment = 'finalized') AS final FROM chain_events) e,
            (SELECT count(*) FILTER (WHERE settlement = 'settled') AS settled,
                count(*) FILTER (WHERE settlement = 'disputed') AS disputed FROM jobs) j""",
        [reason.value for reason in FALLBACK],
    )
    assert row is not None
    return Traffic(*row)
