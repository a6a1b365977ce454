"""The transactions that the engine sends, each a row: which are called for, which are due, and every move of theirs.

Nothing here is safe by itself: callers guard each transaction by their epoch (cursors.guard), so that one leader at a
time builds and moves. A move names the state and the signature that it was decided on, and does nothing to any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.core.chain import OutgoingKind, OutgoingState
from app.core.states import JOB_FINAL, JobState
from app.store.db import UnitOfWork


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A row that is due, and what its job comes to now.

    ``address``: the job's account on chain, None while it has none (any more). ``slot``: where that account changed
    last. ``operator``, ``node_name``: whom the job is assigned to, by the names they have on chain; None without a
    node. ``payable``: the operator that completed the job on chain, None unless it is ours and is to be paid.
    """

    job_id: str
    kind: OutgoingKind
    state: OutgoingState
    signature: str | None
    wire: bytes | None
    last_valid_block_height: int | None
    builds: int
    job_state: JobState
    address: str | None
    slot: int
    operator: str | None
    node_name: str | None
    payable: str | None

    @property
    def over(self) -> bool:
        """Whether the job ended without a result, so that nothing is to be sent for it."""
        return self.job_state in JOB_FINAL and self.job_state is not JobState.COMPLETED


@dataclass(frozen=True, slots=True)
class Built:
    """A signed transaction, to be kept before it is sent. ``address``: the job's account that it names."""

    row: Outgoing
    address: str
    signature: str
    wire: bytes
    last_valid_block_height: int


@dataclass(frozen=True, slots=True)
class Move:
    """What becomes of a row. ``wait_s``: until it is looked at again. ``builds``: None leaves the count as it is."""

    row: Outgoing
    state: OutgoingState
    wait_s: float = 0.0
    error: str | None = None
    builds: int | None = None


_SETTLEABLE = """c.status = 'completed' AND c.finalized AND c.payment = 'none' AND c.mismatch IS NULL
    AND c.completed_operator IN (n.wallet, cn.owner)
    AND (c.assigned_operator IS NULL OR c.assigned_operator IN (n.wallet, cn.owner))"""
_ASSIGNABLE = "c.status = 'pending' AND j.state IN ('assigned', 'running', 'completed')"
_NODE = "LEFT JOIN nodes n ON n.id = j.node_id LEFT JOIN chain_nodes cn ON cn.node_id = j.node_id"
# An operator is a public key; a node that only the engine knows may have anything as its wallet.
_OPERATOR = "coalesce(cn.owner, substring(n.wallet FROM '^[1-9A-HJ-NP-Za-km-z]{32,44}$'))"


async def plan(uow: UnitOfWork, *, settle: bool) -> int:
    """Add a row for every transaction that is called for and has none yet; how many.

    assign_job: a job runs on a node of ours, and on chain it still waits for one. settle_job (if ``settle``): a job is
    completed on both sides, finally on chain, by the operator that we chose, and nobody has paid for it.
    """
    tag = await uow.sql.execute(
        f"""WITH c AS MATERIALIZED (
            SELECT address, job_id, status, finalized, payment, mismatch, assigned_operator, completed_operator,
                CASE status WHEN 'pending' THEN 'assign_job' ELSE 'settle_job' END AS kind
            FROM chain_jobs
            WHERE payment = 'none' AND job_id IS NOT NULL AND status = ANY($1::text[]) AND NOT EXISTS (
                SELECT FROM chain_outgoing o WHERE o.job_id = chain_jobs.job_id
                    AND o.kind = CASE status WHEN 'pending' THEN 'assign_job' ELSE 'settle_job' END))
        INSERT INTO chain_outgoing (job_id, kind, address)
        SELECT j.id, c.kind, c.address FROM c JOIN jobs j ON j.id = c.job_id AND j.chain_job = c.address {_NODE}
        WHERE ({_ASSIGNABLE} AND {_OPERATOR} IS NOT NULL) OR (j.state = 'completed' AND {_SETTLEABLE})
        ON CONFLICT DO NOTHING""",
        ["pending", "completed"] if settle else ["pending"],
    )
    return int(tag.split()[-1])


async def due(uow: UnitOfWork, limit: int) -> list[Outgoing]:
    """Up to ``limit`` rows that are due, those that have waited longest first."""
    rows = await uow.sql.fetch(
        f"""SELECT o.job_id, o.kind, o.state, o.signature, o.wire, o.last_valid_block_height, o.builds, j.state,
            c.address, coalesce(c.slot, 0), {_OPERATOR}, coalesce(cn.chain_node_id, n.id),
            CASE WHEN {_SETTLEABLE} THEN c.completed_operator END
        FROM chain_outgoing o JOIN jobs j ON j.id = o.job_id
        LEFT JOIN chain_jobs c ON c.address = j.chain_job AND c.job_id = j.id AND c.status <> 'orphaned' {_NODE}
        WHERE o.state IN ('ready', 'sent') AND o.due_at <= now() ORDER BY o.due_at, o.job_id, o.kind LIMIT $1""",
        limit,
    )
    return [
        Outgoing(
            job_id, OutgoingKind(kind), OutgoingState(state), signature, wire, height, builds, JobState(job), *rest
        )
        for job_id, kind, state, signature, wire, height, builds, job, *rest in rows
    ]


async def keep_built(uow: UnitOfWork, built: Sequence[Built], look_s: float) -> list[Built]:
    """Keep what is about to be sent, due again in ``look_s``; those that were kept, the only ones that may be sent."""
    rows = await uow.sql.fetch(
        """UPDATE chain_outgoing o SET state = 'sent', address = u.address, signature = u.signature, wire = u.wire,
            last_valid_block_height = u.height, builds = o.builds + 1, error = NULL,
            due_at = now() + make_interval(secs => $7), updated_at = now()
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::int8[])
            AS u(job_id, kind, address, signature, wire, height)
        WHERE o.job_id = u.job_id AND o.kind = u.kind AND o.state = 'ready' RETURNING o.signature""",
        [one.row.job_id for one in built],
        [one.row.kind.value for one in built],
        [one.address for one in built],
        [one.signature for one in built],
        [one.wire for one in built],
        [one.last_valid_block_height for one in built],
        look_s,
    )
    kept = {row[0] for row in rows}
    return [one for one in built if one.signature in kept]


async def move(uow: UnitOfWork, moves: Sequence[Move]) -> None:
    """Carry out ``moves`` on the rows that still are as they were when it was decided.

    A row that goes back to ready forgets its bytes: only what is provably expired may.
    """
    await uow.sql.execute(
        """UPDATE chain_outgoing o SET state = u.target, error = u.error, builds = coalesce(u.builds, o.builds),
            signature = CASE WHEN u.target <> 'ready' THEN o.signature END,
            last_valid_block_height = CASE WHEN u.target <> 'ready' THEN o.last_valid_block_height END,
            wire = CASE WHEN u.target = 'sent' THEN o.wire END,
            due_at = now() + make_interval(secs => u.wait_s), updated_at = now()
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::float8[], $7::text[], $8::int2[])
            AS u(job_id, kind, source, signature, target, wait_s, error, builds)
        WHERE o.job_id = u.job_id AND o.kind = u.kind AND o.state = u.source
            AND o.signature IS NOT DISTINCT FROM u.signature""",
        [one.row.job_id for one in moves],
        [one.row.kind.value for one in moves],
        [one.row.state.value for one in moves],
        [one.row.signature for one in moves],
        [one.state.value for one in moves],
        [one.wait_s for one in moves],
        [one.error for one in moves],
        [one.builds for one in moves],
    )
