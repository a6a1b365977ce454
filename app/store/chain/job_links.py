"""What a job's account on chain says, seen from the job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from app.core.chain import ChainView, PaymentState
from app.core.lifecycle import operator_mismatch
from app.store.db import UnitOfWork


@dataclass(frozen=True, slots=True)
class JobLink:
    """A job's account on chain. ``price``: base units of HYPER for the whole job. ``signatures``: of its payments."""

    address: str
    chain_job_id: str
    price: int | None
    status: str
    payment: str
    payment_reason: str | None
    mismatch: str | None
    signatures: list[str]


async def views(uow: UnitOfWork, job_ids: Sequence[str]) -> dict[str, ChainView]:
    """By job: what its account on chain comes to. Locks nothing: who changes an account signals its job.

    The operator on chain is compared with the node that has the job now, which may be another than when the chain's
    side compared last; its word stands where there is no node to compare with.
    """
    rows = await uow.sql.fetch(
        """SELECT j.id, c.address, c.payment, c.payment_reason, c.mismatch, c.price, c.assigned_operator,
            c.completed_operator, n.wallet, cn.owner,
            (SELECT p.signature FROM chain_payments p WHERE p.address = c.address AND p.commitment <> 'orphaned'
                ORDER BY p.slot DESC, p.signature LIMIT 1) AS signature
        FROM jobs j JOIN chain_jobs c ON c.address = j.chain_job AND c.job_id = j.id
        LEFT JOIN nodes n ON n.id = j.node_id LEFT JOIN chain_nodes cn ON cn.node_id = j.node_id
        WHERE j.id = ANY($1::text[])""",
        job_ids,
    )
    found: dict[str, ChainView] = {}
    for job_id, address, payment, reason, mismatch, price, assigned, completed, wallet, owner, signature in rows:
        ours = {wallet, owner} - {None}
        if ours:
            mismatch = operator_mismatch(ours, assigned, completed)
        found[job_id] = ChainView(address, PaymentState(payment), reason, mismatch, signature, whole(price))
    return found


async def link(uow: UnitOfWork, job_id: str) -> JobLink | None:
    """The job's account on chain, None while it has none."""
    row = await uow.sql.fetchrow(
        """SELECT c.address, c.chain_job_id, c.price, c.status, c.payment, c.payment_reason, c.mismatch,
            ARRAY(SELECT p.signature FROM chain_payments p WHERE p.address = c.address AND p.commitment <> 'orphaned'
                GROUP BY p.signature ORDER BY max(p.slot), p.signature) AS signatures
        FROM chain_jobs c JOIN jobs j ON j.chain_job = c.address AND j.id = c.job_id WHERE j.id = $1""",
        job_id,
    )
    if row is None:
        return None
    address, chain_job_id, price, status, payment, reason, mismatch, signatures = row
    return JobLink(address, chain_job_id, whole(price), status, payment, reason, mismatch, list(signatures))


async def payment_signatures(uow: UnitOfWork, job_ids: Sequence[str]) -> dict[str, str]:
    """By job: the transaction of its latest payment; jobs without one are left out."""
    rows = await uow.sql.fetch(
        """SELECT DISTINCT ON (c.job_id) c.job_id, p.signature
        FROM chain_jobs c JOIN chain_payments p ON p.address = c.address AND p.commitment <> 'orphaned'
        WHERE c.job_id = ANY($1::text[]) ORDER BY c.job_id, p.slot DESC, p.signature""",
        job_ids,
    )
    return dict(rows)


def whole(amount: Decimal | None) -> int | None:
    """A u64 as an integer."""
    return None if amount is None else int(amount)
