"""Between accounts on chain and the engine's own jobs and nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.core.states import Settlement
from app.store.chain import events
from app.store.db import UnitOfWork


@dataclass(frozen=True, slots=True)
class LinkedJob:
    """What a job that has an account on chain says to it. ``wallets``: of the node that has taken the job, as it is
    known here and on chain; empty while none has."""

    id: str
    account: str
    type: str
    source: str
    settlement: Settlement
    final: bool
    node_id: str | None
    wallets: frozenset[str]


MOVED = frozenset({Settlement.OBSERVED, Settlement.SETTLED, Settlement.DISPUTED})
"""Settlements that have seen a payment."""

_SETTLEMENT = {one.value: one for one in Settlement}
_TAKEN = ("assigned", "running", "cancelling", "completed", "failed")


async def linked(uow: UnitOfWork, job_ids: Sequence[str], *, locked: bool = False) -> dict[str, LinkedJob]:
    """These jobs, by id; ``locked``: they stay as they are until the transaction ends."""
    if not job_ids:
        return {}
    if locked:
        await lock(uow, job_ids)
    rows = await uow.sql.fetch(
        """SELECT j.id, j.account, j.type, j.source, j.settlement, j.finished_at IS NOT NULL, j.state, j.node_id,
            n.wallet, c.owner
        FROM jobs j LEFT JOIN nodes n ON n.id = j.node_id LEFT JOIN chain_nodes c ON c.node_id = j.node_id
        WHERE j.id = ANY($1::text[])""",
        job_ids,
    )
    return {
        job_id: LinkedJob(
            job_id, account, kind, source, _SETTLEMENT[settlement], final, node_id,
            frozenset({wallet, owner} - {None}) if state in _TAKEN else frozenset(),
        )
        for job_id, account, kind, source, settlement, final, state, node_id, wallet, owner in rows
    }  # fmt: skip


async def lock(uow: UnitOfWork, job_ids: Sequence[str]) -> None:
    """Keep these jobs as they are until the transaction ends; waits for waves that hold them."""
    if job_ids:
        await uow.sql.execute("SELECT 1 FROM jobs WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE", job_ids)


async def unlinked_by_id(uow: UnitOfWork, ids: Sequence[str]) -> dict[str, str]:
    """Those of the jobs that have no account on chain yet: ``id → requirements hash``."""
    if not ids:
        return {}
    rows = await uow.sql.fetch(
        "SELECT id, requirements_hash FROM jobs WHERE id = ANY($1::text[]) AND chain_job IS NULL", ids
    )
    return {row[0]: row[1] for row in rows}


async def unlinked_by_hash(
    uow: UnitOfWork, wanted: Sequence[tuple[str, bool, int]]
) -> dict[tuple[str, bool], list[str]]:
    """For each ``(requirements hash, taken, count)``, up to that many jobs without an account on chain, oldest first:
    those that a node has taken, or all. Jobs that came to nothing, or are about to, are left out.
    """
    if not wanted:
        return {}
    rows = await uow.sql.fetch(
        """SELECT w.hash, w.taken, j.id
        FROM unnest($1::text[], $2::bool[], $3::int[]) AS w(hash, taken, count), LATERAL (
            SELECT id FROM jobs WHERE requirements_hash = w.hash AND requirements_hash <> '' AND chain_job IS NULL
                AND NOT cancel_requested AND state NOT IN ('cancelled', 'failed', 'expired')
                AND (NOT w.taken OR state IN ('assigned', 'running', 'cancelling', 'completed'))
            ORDER BY id LIMIT w.count) j ORDER BY j.id""",
        *(list(column) for column in zip(*wanted, strict=True)),
    )
    found: dict[tuple[str, bool], list[str]] = {}
    for spec_hash, taken, job_id in rows:
        found.setdefault((spec_hash, taken), []).append(job_id)
    return found


async def claim(uow: UnitOfWork, pairs: Mapping[str, str]) -> set[str]:
    """Link jobs to accounts, given as ``job_id → address``; the ids of those that had none until now."""
    if not pairs:
        return set()
    rows = await uow.sql.fetch(
        """WITH u AS (SELECT * FROM unnest($1::text[], $2::text[]) AS u(id, address)),
        held AS (SELECT j.id FROM jobs j JOIN u ON u.id = j.id WHERE j.chain_job IS NULL
            ORDER BY j.id FOR NO KEY UPDATE OF j)
        UPDATE jobs SET chain_job = u.address FROM u, held WHERE jobs.id = u.id AND held.id = u.id RETURNING jobs.id""",
        list(pairs),
        list(pairs.values()),
    )
    return {row[0] for row in rows}


async def release(uow: UnitOfWork, job_ids: Sequence[str]) -> None:
    """Undo links. The jobs must be locked."""
    if job_ids:
        await uow.sql.execute("UPDATE jobs SET chain_job = NULL WHERE id = ANY($1::text[])", job_ids)


async def request_cancel(uow: UnitOfWork, job_ids: Sequence[str]) -> list[str]:
    """Ask for the end of these jobs; those that are not over and were not asked before."""
    if not job_ids:
        return []
    rows = await uow.sql.fetch(
        """WITH held AS (SELECT id FROM jobs WHERE id = ANY($1::text[]) AND NOT cancel_requested
            AND finished_at IS NULL ORDER BY id FOR NO KEY UPDATE)
        UPDATE jobs SET cancel_requested = true FROM held WHERE jobs.id = held.id RETURNING jobs.id""",
        job_ids,
    )
    return sorted(row[0] for row in rows)


async def waiting(uow: UnitOfWork, limit: int) -> list[str]:
    """Addresses of jobs whose wait is over, or for which a job or a spec is there now."""
    await events.by_index(uow)
    # One look by index for each that waits; joins of whole tables take many times longer as soon as a guess is wrong.
    rows = await uow.sql.fetch(
        """SELECT c.address FROM chain_jobs c
        LEFT JOIN LATERAL (SELECT true AS there FROM specs WHERE hash = c.requirements_hash) s ON true
        LEFT JOIN LATERAL (SELECT true AS there FROM jobs WHERE requirements_hash = c.requirements_hash
            AND requirements_hash <> '' AND chain_job IS NULL AND NOT cancel_requested
            AND state NOT IN ('cancelled', 'failed', 'expired') LIMIT 1) h ON true
        LEFT JOIN LATERAL (SELECT true AS there FROM jobs WHERE id = c.chain_job_id AND chain_job IS NULL
            AND requirements_hash = coalesce(c.requirements_hash, requirements_hash) LIMIT 1) i ON true
        WHERE c.spec_due_at IS NOT NULL AND (c.spec_due_at <= now() OR s.there OR h.there OR i.there)
        ORDER BY c.spec_due_at LIMIT $1""",
        limit,
    )
    return [row[0] for row in rows]


async def nodes_by_wallet(uow: UnitOfWork, wallets: Sequence[str]) -> dict[str, str]:
    """``wallet → node id`` of those that have a node."""
    rows = await uow.sql.fetch("SELECT wallet, id FROM nodes WHERE wallet = ANY($1::text[])", wallets)
    return {row[0]: row[1] for row in rows}


async def nodes_held(uow: UnitOfWork, node_ids: Sequence[str]) -> set[str]:
    """Those of the nodes that have an account on chain which is registered."""
    rows = await uow.sql.fetch(
        "SELECT node_id FROM chain_nodes WHERE node_id = ANY($1::text[]) AND registered", node_ids
    )
    return {row[0] for row in rows}


async def give_up_nodes(uow: UnitOfWork, node_ids: Sequence[str]) -> None:
    """Free these nodes from whatever account on chain they had."""
    await uow.sql.execute("UPDATE chain_nodes SET node_id = NULL WHERE node_id = ANY($1::text[])", node_ids)


async def accounts_of(uow: UnitOfWork, node_ids: Sequence[str]) -> dict[str, str]:
    """The account that owns each of the nodes."""
    rows = await uow.sql.fetch("SELECT id, account FROM nodes WHERE id = ANY($1::text[])", node_ids)
    return {row[0]: row[1] for row in rows}
